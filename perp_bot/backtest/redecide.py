"""Every stored decision of a session made again, offline, and compared (I3a): the first part of `perpbot compare`."""

from __future__ import annotations

import bisect
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from perp_bot.config.model import Config
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, StoreError
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Candle, DecisionRecord, Hold
from perp_bot.data.db.reader import Reader
from perp_bot.decision.redecide import redecide
from perp_bot.indicators import compiled
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies import registry
from perp_bot.strategies.conditions import ConditionReport, condition_report
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Evaluation, Strategy

_ALL = 1_000_000_000
_EARLIEST_MS = 0


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that did not come out the same."""

    decision_id: str
    field: str
    stored: Any
    again: Any

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.decision_id}: {self.field} was {self.stored!r}, is {self.again!r}"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of re-deciding a session."""

    decisions: int
    identical: int
    differences: tuple[Difference, ...]
    first_ms: int | None
    last_ms: int | None
    conditions: ConditionReport  # of the evaluations without a position

    @property
    def is_reproduced(self) -> bool:
        """Whether every decision came out the same."""
        return self.decisions == self.identical


def redecide_all(config: Config, reader: Reader) -> Report:
    """Make every stored decision again from stored candles and its recorded account state."""
    records = reader.decisions(_ALL)
    differences: list[Difference] = []
    identical = 0
    series: dict[tuple[str, str], tuple[list[Candle], list[int]]] = {}
    for record in records:
        key = (record.symbol, record.timeframe)
        if key not in series:
            rows = reader.candles(record.symbol, record.timeframe, _EARLIEST_MS, records[-1].close_ms)
            series[key] = (rows, [row.close_ms for row in rows])
        strategy = registry.create(record.strategy, config)
        found = _again(record, *series[key], config, strategy)
        if isinstance(found, Difference):
            differences.append(found)
        else:
            identical += 1
    first_ms, last_ms = (records[0].close_ms, records[-1].close_ms) if records else (None, None)
    flat = (record for record in records if record.account.get("position_side") is None)
    conditions = condition_report(Evaluation(Hold(r.symbol, r.reason), r.conditions, r.thresholds) for r in flat)
    return Report(len(records), identical, tuple(differences), first_ms, last_ms, conditions)


def _again(
    record: DecisionRecord, rows: list[Candle], closes: list[int], config: Config, strategy: Strategy
) -> Difference | None:
    end = bisect.bisect_right(closes, record.close_ms)
    window = decision_window(params_of(config))
    try:
        again = redecide(record, rows[max(0, end - window) : end], config, strategy)
    except ValueError as error:
        return Difference(record.decision_id, "candles", "stored", str(error))
    for item in fields(DecisionRecord):
        was, now = getattr(record, item.name), getattr(again, item.name)
        if was != now:
            return Difference(record.decision_id, item.name, was, now)
    return None


def main(config: Config, as_json: bool) -> int:
    """Print the report; exit code 1 when a decision could not be reproduced."""
    if not config.data.db_path.exists():
        raise StoreError(f"{config.data.db_path} does not exist: no session to check; run `perpbot trade` first")
    compiled.load()
    with Reader(config.data.db_path) as reader:
        report = redecide_all(config, reader)
        trades = reader.trades()
    if as_json:
        print(json.dumps({**asdict(report), "is_reproduced": report.is_reproduced, "trades": len(trades)}, default=str))
        return EXIT_OK if report.is_reproduced else EXIT_FAILURE
    if report.first_ms is None or report.last_ms is None:
        print("no decision is stored yet")
        return EXIT_OK
    span = f"{iso(report.first_ms)} to {iso(report.last_ms)}"
    print(f"{report.identical} of {report.decisions} decisions reproduced, {span}")
    for difference in report.differences[:20]:
        print(f"  {difference.text}")
    if len(report.differences) > 20:
        print(f"  and {len(report.differences) - 20} more")
    for line in report.conditions.lines():
        print(f"  {line}")
    for trade in trades:
        print(
            f"  {iso(trade.opened_ms)} {trade.side:5} {trade.size} {trade.symbol} {trade.entry_px:.8g} -> "
            f"{trade.exit_px:.8g} {trade.exit_reason}: net {trade.net_usd:+.2f} USD"
        )
    return EXIT_OK if report.is_reproduced else EXIT_FAILURE
