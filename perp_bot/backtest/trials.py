"""What counts as a trial: earlier runs of the same strategy and timeframe that saw some of the same data.

Data is the same where coins and closes overlap, not where it is equal to the row: a search does not begin anew with
`--to` an hour earlier or with one more stored candle. Settings that were tried on it count once, however often and
over whichever part of it they were run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from perp_bot.backtest import stored_run
from perp_bot.backtest.honesty import Trials
from perp_bot.backtest.market import Market
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.stored_run import StoredRun
from perp_bot.config.model import Config
from perp_bot.core.timeframes import close_of

_SECTIONS = ("trading", "signals", "macd", "risk", "execution", "prediction", "backtest")
# Settings that change no trade, and the strategy, which an option may name instead.
_NOT_TRIED = {
    "trading": ("strategy",),
    "backtest": ("cluster", "export_trades_csv", "train_days", "test_days", "step_days"),
}
# What a sweep adds to the settings: the plan of it, not its results, which one more candle changes.
_PLANS: dict[str, tuple[str, ...]] = {
    "backtest": (),
    "sensitivity": ("mode", "axes"),
    "walkforward": ("train_days", "test_days", "step_days", "anchored", "objective", "axes"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run looked at: its strategy, and the closes it decided on. None: not known."""

    strategy: str
    timeframe: str
    symbols: frozenset[str]
    from_ms: int | None
    to_ms: int | None

    @classmethod
    def by(cls, result: BacktestResult, span_ms: tuple[int, int] | None = None) -> Seen:
        """Return what a result was made from; `span_ms` where it looked at more closes than it has."""
        about = stored_run.describe(result)
        first_ms, last_ms = span_ms or (about["from_ms"], about["to_ms"])
        return cls(result.strategy, result.timeframe, frozenset(result.symbols), first_ms, last_ms)

    @classmethod
    def on(cls, market: Market, strategy: str, from_ms: int | None, to_ms: int | None) -> Seen:
        """Return what a run over the closes of a market in (from_ms, to_ms] looks at."""
        held = [item.candles.open_ms for item in market.symbols if len(item.candles)]
        first_ms = close_of(market.timeframe, int(min(times[0] for times in held)))
        last_ms = close_of(market.timeframe, int(max(times[-1] for times in held)))
        return cls(
            strategy,
            market.timeframe,
            frozenset(item.symbol for item in market.symbols),
            first_ms if from_ms is None else max(first_ms, from_ms + 1),
            last_ms if to_ms is None else min(last_ms, to_ms),
        )

    @classmethod
    def in_run(cls, record: StoredRun) -> Seen:
        """Return what a stored run looked at."""
        about = record.result or {}
        first_ms, last_ms = record.span_ms or (about.get("from_ms"), about.get("to_ms"))
        timeframe = about.get("timeframe") or record.config.get("data", {}).get("primary_timeframe", "")
        symbols = about.get("symbols") or record.config.get("trading", {}).get("symbols", ())
        return cls(record.strategy, timeframe, frozenset(symbols), first_ms, last_ms)

    @property
    def span_ms(self) -> tuple[int, int] | None:
        """First and last close, None when not known."""
        return None if self.from_ms is None or self.to_ms is None else (self.from_ms, self.to_ms)

    def overlaps(self, other: Seen) -> bool:
        """Whether both looked at some of the same data with the same strategy; an unknown span may have."""
        if (self.strategy, self.timeframe) != (other.strategy, other.timeframe) or not self.symbols & other.symbols:
            return False
        mine, theirs = self.span_ms, other.span_ms
        return mine is None or theirs is None or (mine[0] <= theirs[1] and theirs[0] <= mine[1])


def count_trials(judged: Seen, records: Iterable[StoredRun], but: Config | None = None) -> Trials:
    """Return what was tried with the strategy on data that overlaps with that of the run that is judged.

    `but` are the settings of the judged backtest itself, when it is not stored yet: earlier runs of them are not
    trials besides it. Of runs that tried the same the one that finished most speaks.
    """
    found: dict[str, StoredRun] = {}
    for record in records:
        if not Seen.in_run(record).overlaps(judged):
            continue
        key = _tried(record.config, record.kind, record.extra)
        known = found.get(key)
        if known is None or _finished(record) >= _finished(known):
            found[key] = record
    if but is not None:
        found.pop(_tried(stored_run.settings_of(but), "backtest", {}), None)
    sharpes = [value for record in found.values() for value in record.trial_sharpes]
    return Trials(sum(record.trials for record in found.values()), tuple(sharpes))


def _finished(record: StoredRun) -> tuple[int, int]:
    return record.trials, (record.result or {}).get("closes") or 0


def _tried(settings: Mapping[str, Any], kind: str, extra: Mapping[str, Any]) -> str:
    """Name what was tried: the settings that decide a trade, and the plan of a sweep."""
    relevant = {
        section: {
            name: value
            for name, value in (settings.get(section) or {}).items()
            if name not in _NOT_TRIED.get(section, ())
        }
        for section in _SECTIONS
    }
    plan = {name: extra.get(name) for name in _PLANS.get(kind, extra)}
    if kind == "walkforward":
        plan["final"] = (extra.get("final") or {}).get("used")
    said = msgspec.json.encode([relevant, kind, plan], order="sorted")
    return hashlib.sha256(said).hexdigest()
