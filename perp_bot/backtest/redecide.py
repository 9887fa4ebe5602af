"""Every stored decision of a session made again, offline, and compared (I3a): the first part of `perpbot compare`."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from perp_bot.config.model import Config
from perp_bot.core.types import Candle, DecisionRecord, Hold
from perp_bot.data.db.reader import Reader
from perp_bot.decision.redecide import redecide
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies import registry
from perp_bot.strategies.conditions import ConditionReport, condition_report
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Evaluation, Strategy

_EARLIEST_MS = 0
_PROGRESS_EVERY = 16  # decisions


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

    asked: int
    decisions: int  # of these, made again: fewer when it was interrupted
    identical: int
    differences: tuple[Difference, ...]
    first_ms: int
    last_ms: int
    conditions: ConditionReport  # of the evaluations without a position

    @property
    def is_reproduced(self) -> bool:
        """Whether every decision that was made again came out the same."""
        return self.decisions == self.identical

    @property
    def is_partial(self) -> bool:
        """Whether it was interrupted."""
        return self.decisions < self.asked


def redecide_all(
    config: Config, reader: Reader, records: Sequence[DecisionRecord], progress: Callable[[float], None] | None = None
) -> Report:
    """Make stored decisions (at least one, oldest first) again from stored candles and their recorded account state.

    An interrupt ends it; what came before is kept, marked partial.
    """
    differences: list[Difference] = []
    done = 0
    try:
        for found in _each_again(config, reader, records):
            done += 1
            if found is not None:
                differences.append(found)
            if progress is not None and done % _PROGRESS_EVERY == 0:
                progress(done / len(records))
    except KeyboardInterrupt:
        if done == 0:
            raise
    made = records[:done]
    flat = (record for record in made if record.account.get("position_side") is None)
    return Report(
        asked=len(records),
        decisions=done,
        identical=done - len(differences),
        differences=tuple(differences),
        first_ms=made[0].close_ms,
        last_ms=made[-1].close_ms,
        conditions=condition_report(Evaluation(Hold(r.symbol, r.reason), r.conditions, r.thresholds) for r in flat),
    )


def _each_again(config: Config, reader: Reader, records: Sequence[DecisionRecord]) -> Iterator[Difference | None]:
    """Yield what is different about each decision, None where nothing is."""
    series: dict[tuple[str, str], tuple[list[Candle], list[int]]] = {}
    strategies: dict[str, Strategy] = {}
    for record in records:
        key = (record.symbol, record.timeframe)
        if key not in series:
            rows = reader.candles(record.symbol, record.timeframe, _EARLIEST_MS, records[-1].close_ms)
            series[key] = (rows, [row.close_ms for row in rows])
        if record.strategy not in strategies:
            strategies[record.strategy] = registry.create(record.strategy, config)
        yield _again(record, *series[key], config, strategies[record.strategy])


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
