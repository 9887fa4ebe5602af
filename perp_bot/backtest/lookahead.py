"""Look-ahead and unsettled warm-up, disproved bar by bar through the one decision path, or the bar named.

For every bar the decision flat, long and short is made four times: as research makes it (the strategy's maker is handed
the whole series), from exactly the declared warm-up window with the future removed, and from that window with a lawful
and a wild future behind it. All must be the same row, field by field. Where one is not, the decision with the whole
past and no future tells which it is: different as well, the strategy looked ahead; equal, its value still depends on
where the history starts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum

from perp_bot.config.model import Config
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Action, Book, BookLevel, Candle, DecisionRecord, Instrument, Position, Regime, Side
from perp_bot.decision.path import Boundary, SymbolInput, decide_boundary
from perp_bot.decision.view import CandleColumns, build_view, columns_of
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import decision_window
from perp_bot.risk.limits import RiskView
from perp_bot.risk.state import RiskState
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Strategy

# Research hands a strategy's maker the whole series; that is where a cheater finds the future.
Maker = Callable[[Sequence[Candle]], Strategy]
Advance = Callable[[float], None]

AHEAD = 48  # candles of noise behind the bar in question
_WILD = (0.2, 5.0)  # of the last close


class Kind(StrEnum):
    """What was found."""

    LOOK_AHEAD = "look-ahead"
    UNSETTLED = "unsettled warm-up"


@dataclass(frozen=True, slots=True)
class Finding:
    """The first bar that is wrong."""

    name: str  # strategy or indicator
    kind: Kind
    bar: int  # place in the series
    close_ms: int
    detail: str

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.kind} of {self.name} at bar {self.bar} ({iso(self.close_ms)}): {self.detail}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check came to; `entries` and `exits` say that it was not empty."""

    what: str
    bars: int
    decisions: int
    entries: int
    exits: int
    finding: Finding | None


def check_path(
    config: Config,
    make: Maker,
    candles: Sequence[Candle],
    instrument: Instrument,
    *,
    bars: int,
    advance: Advance | None = None,
) -> Checked:
    """Check the newest `bars` of one series through `decision.path`; stops at the first bar that is wrong."""
    whole, params = make(candles), params_of(config)
    declared = whole.needs.warmup_bars
    columns = columns_of(candles)
    first = max(declared - 1, len(candles) - bars, 0)
    decisions = entries = exits = 0
    finding = None
    for bar in range(first, len(candles)):
        past = candles[max(0, bar + 1 - declared) : bar + 1]
        case = _Case(config, params, instrument, candles[bar], declared < decision_window(params))
        start = bar + 1 - len(past)
        plain = case.decide(whole, _slice(columns, 0, bar + 1))
        alone = _slice(columns, start, bar + 1)
        variants = (
            ("with the future removed", past),
            ("with a lawful future", [*past, *lawful_noise(candles[bar], AHEAD, bar)]),
            ("with a wild future", [*past, *wild_noise(candles[bar], AHEAD, bar)]),
        )
        entries += sum(row.action in (Action.ENTER, Action.BLOCKED) for row in plain)
        exits += sum(row.action is Action.EXIT for row in plain)
        for words, series in variants:
            decisions += len(plain)
            found = case.decide(make(series), alone)
            if found != plain:
                finding = _explained(case, make, candles, columns, bar, plain, found, words)
                break
        if finding is not None:
            break
        if advance is not None:
            advance((bar + 1 - first) / (len(candles) - first))
    checked = len(candles) - first if finding is None else finding.bar + 1 - first
    return Checked(f"decision path of {whole.name}", max(0, checked), decisions, entries, exits, finding)


@dataclass(frozen=True, slots=True)
class _Case:
    """One bar."""

    config: Config
    params: IndicatorParams
    instrument: Instrument
    candle: Candle
    is_short: bool  # less than the indicators' window is declared: those that the strategy does not ask for may lack

    def decide(self, strategy: Strategy, columns: CandleColumns) -> tuple[DecisionRecord, ...]:
        """Return the rows flat, long and short."""
        candle = self.candle
        view = build_view(candle, columns, self.params, regime=Regime.NORMAL, position=None)
        book = Book(candle.symbol, candle.close_ms, (BookLevel(candle.close, 1e6),), (BookLevel(candle.close, 1e6),))
        capital = self.config.trading.capital_usd
        state = RiskState(day_start_ms=0, day_start_equity_usd=capital, last_equity_usd=capital, peak_usd=capital)
        risk = RiskView(0, state, capital)
        rows = []
        for side in (None, Side.LONG, Side.SHORT):
            held = None if side is None else _held(strategy.name, candle, side)
            item = SymbolInput(candle.symbol, view, self.instrument, book, held)
            boundary = Boundary(
                candle.timeframe, candle.close_ms, candle.close_ms, "backtest", Regime.NORMAL, (item,), risk
            )
            row = decide_boundary(self.config, strategy, boundary).decided[0].record
            rows.append(replace(row, indicators={}, account={}) if self.is_short else row)
        return tuple(rows)


def _held(strategy: str, candle: Candle, side: Side) -> Position:
    # entered well below (above) the close, so that a trailing stop is at work
    entry = candle.close * (0.97 if side is Side.LONG else 1.03)
    stop = entry * (0.95 if side is Side.LONG else 1.05)
    return Position(
        candle.symbol,
        side,
        Decimal(1),
        Decimal(f"{entry:.5g}"),
        candle.open_ms,
        strategy,
        "backtest",
        stop,
        None,
        "held",
    )


def _slice(columns: CandleColumns, begin: int, end: int) -> CandleColumns:
    return CandleColumns(
        columns.open_ms[begin:end], columns.high[begin:end], columns.low[begin:end], columns.close[begin:end],
        columns.volume[begin:end],
    )  # fmt: skip


def _explained(
    case: _Case,
    make: Maker,
    candles: Sequence[Candle],
    columns: CandleColumns,
    bar: int,
    plain: tuple[DecisionRecord, ...],
    found: tuple[DecisionRecord, ...],
    words: str,
) -> Finding:
    """Tell look-ahead from unsettled warm-up, by the decision with the whole past and no future."""
    known = candles[: bar + 1]
    past_only = case.decide(make(known), _slice(columns, 0, bar + 1))
    kind = Kind.UNSETTLED
    if past_only != plain:
        kind, found, words = Kind.LOOK_AHEAD, past_only, "with the future removed"
    elif words != "with the future removed":
        kind = Kind.LOOK_AHEAD  # only a future was added, and something changed
    else:
        words = "from the declared warm-up alone"
    name = plain[0].strategy
    return Finding(name, kind, bar, case.candle.close_ms, f"{words} {_difference(plain, found)}")


def _difference(plain: tuple[DecisionRecord, ...], found: tuple[DecisionRecord, ...]) -> str:
    for was, now in zip(plain, found, strict=True):
        for item in sorted(fields(DecisionRecord), key=lambda item: item.name != "action"):
            a, b = getattr(was, item.name), getattr(now, item.name)
            if a != b:
                return f"{item.name} is {b!r}, not {a!r}"
    return "another row"


# ------------------------------------------------------------ futures


def lawful_noise(last: Candle, count: int, seed: int) -> list[Candle]:
    """Return candles that could follow: a random walk from the last close."""
    rng, price, made = random.Random(seed), last.close, []
    length = last.close_ms - last.open_ms
    for place in range(1, count + 1):
        opened, price = price, price * (1 + rng.gauss(0, 0.01))
        high, low = max(opened, price) * 1.002, min(opened, price) * 0.998
        made.append(_after(last, place * length, opened, high, low, price, rng.uniform(0, 3 * last.volume + 1)))
    return made


def wild_noise(last: Candle, count: int, seed: int) -> list[Candle]:
    """Return candles that are lawful one by one, and as a series out of all proportion."""
    rng, made = random.Random(~seed), []
    length = last.close_ms - last.open_ms
    for place in range(1, count + 1):
        low, opened, closed, high = sorted(last.close * rng.uniform(*_WILD) for _ in range(4))
        made.append(_after(last, place * length, opened, high, low, closed, rng.uniform(0, 1e6)))
    return made


def _after(last: Candle, later_ms: int, opened: float, high: float, low: float, close: float, volume: float) -> Candle:
    return replace(last, open_ms=last.open_ms + later_ms, open=opened, high=high, low=low, close=close, volume=volume)
