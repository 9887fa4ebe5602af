"""What a strategy is: declared inputs, one pure function from view to decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from perp_bot.core.types import Candle, Enter, Exit, Hold, Position, Regime, Side
from perp_bot.indicators.row import IndicatorRow


@dataclass(frozen=True, slots=True)
class Needs:
    """Inputs a strategy declares; the daemon refuses to start, or marks it starved, when one has no producer."""

    timeframes: tuple[str, ...]
    warmup_bars: int
    trades: bool = False
    open_interest: bool = False
    funding: bool = False
    spot: bool = False
    options: bool = False
    book: bool = False


@dataclass(frozen=True, slots=True)
class MarketView:
    """The only window a strategy has: nothing in it is later than `close_ms`."""

    symbol: str
    timeframe: str
    close_ms: int
    candle: Candle
    bars: int
    indicators: IndicatorRow
    regime: Regime
    position: Position | None
    provisional: bool = False
    signals: dict[str, float | int | str | None] | None = None
    waiting: Side | None = None  # of an entry decided at an earlier close that is delayed or still works


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a strategy made of a view: the decision, with each condition and threshold that led to it."""

    decision: Enter | Exit | Hold
    conditions: dict[str, bool | None] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)


class Strategy(Protocol):
    """A trading idea. Pure: no clock, no I/O, no state beyond its parameters."""

    @property
    def name(self) -> str:
        """Stable name, used in the journal, on screens and in `--strategy`."""

    @property
    def needs(self) -> Needs:
        """Declared inputs."""

    @property
    def max_trades_per_day(self) -> int | None:
        """Most entries of a UTC day; None: no limit of its own."""

    def on_candle(self, view: MarketView) -> Evaluation:
        """Evaluate the newest closed candle.

        Where `view.waiting` names a side the question is whether the conditions of that entry still hold: what is
        true of one candle alone (a cross) is asked in its lasting form (still crossed).
        """
