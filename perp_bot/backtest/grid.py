"""A market on one regular grid of bars, as the engines walk it: NaN where a candle is missing, never a shifted row."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.market import Column, Market, Regimes, SymbolMarket, Times
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, iso, length_ms
from perp_bot.core.types import Regime

Matrix = NDArray[np.float64]
MOST_BARS = 50_000_000

REGIMES = tuple(Regime)
_NORMAL = REGIMES.index(Regime.NORMAL)


@dataclass(frozen=True, slots=True, eq=False)
class Fine:
    """The finest path inside the bars, (symbols, bars x per_bar): candles, and what stops trigger on."""

    step_ms: int
    per_bar: int
    open: Matrix
    high: Matrix
    low: Matrix
    trigger_low: Matrix
    trigger_high: Matrix
    is_whole: NDArray[np.uint8]  # (symbols, bars): every slot of the bar is there


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Bars of equal length from `first_ms` on; matrices are (symbols, bars)."""

    market: Market
    first_ms: int
    step_ms: int
    open: Matrix
    high: Matrix
    low: Matrix
    close: Matrix
    volume: Matrix
    trigger_low: Matrix  # what stops and targets see of a bar: recorded marks where there are, else the candle
    trigger_high: Matrix
    fine: Fine | None
    first_hour_ms: int
    rates: Matrix  # (symbols, hours)
    oracles: Matrix
    regimes: NDArray[np.int8]  # (bars,) or empty: NORMAL throughout
    notes: tuple[str, ...]

    @property
    def bars(self) -> int:
        """Length of the grid."""
        return int(self.close.shape[1])

    def close_ms(self, bar: int) -> int:
        """Return the close of a bar."""
        return self.first_ms + (bar + 1) * self.step_ms

    def place(self, close_ms: int) -> int:
        """Return the bar that closes at or first after `close_ms`."""
        return max(0, -(-(close_ms - self.first_ms) // self.step_ms) - 1)


def symbol_key(symbol: str) -> int:
    """Return the number that a symbol's luck is drawn with: the same in every account that it is part of."""
    return zlib.crc32(symbol.encode())


def grid_of(market: Market) -> Grid:
    """Lay a market on its grid.

    Raises:
        UsageError: no candles at all, or a span of more than 50 million bars.
    """
    held = [item.candles for item in market.symbols if len(item.candles)]
    if not held:
        raise UsageError(f"there are no {market.timeframe} candles to run on; see: perpbot data list")
    if market.timeframe == "1M":
        raise UsageError("months have no fixed length; run a backtest on 1w or shorter")
    step = length_ms(market.timeframe)
    first = min(int(candles.open_ms[0]) for candles in held)
    last = max(int(candles.open_ms[-1]) for candles in held)
    bars = (last - first) // step + 1
    if bars > MOST_BARS:
        raise UsageError(f"{bars:,} bars from {iso(first)} to {iso(last)} are too many; the most is {MOST_BARS:,}")
    for item in market.symbols:
        _check_times(item, first, step)
    names = ("open", "high", "low", "close", "volume")
    spread = {name: _spread(market, name, first, step, bars) for name in names}
    fine, trigger_low, trigger_high, notes = _path(market, first, step, bars, spread)
    first_hour, rates, oracles = _hours(market, first, step, bars, spread["close"])
    return Grid(
        market=market,
        first_ms=first,
        step_ms=step,
        **spread,
        trigger_low=trigger_low,
        trigger_high=trigger_high,
        fine=fine,
        first_hour_ms=first_hour,
        rates=rates,
        oracles=oracles,
        regimes=_regimes(market, first, step, bars),
        notes=notes,
    )


def _check_times(item: SymbolMarket, first: int, step: int) -> None:
    """Refuse candles out of order, twice, or off the grid: they would be laid on another bar's place."""
    open_ms = item.candles.open_ms
    if not len(open_ms):
        return
    is_regular = int(open_ms[-1] - open_ms[0]) == (len(open_ms) - 1) * step and (open_ms[0] - first) % step == 0
    steps = np.diff(open_ms)
    if len(steps) and int(steps.min()) <= 0:
        place = int(np.argmin(steps)) + 1
        raise UsageError(f"{item.symbol}: the candle at {iso(int(open_ms[place]))} is out of order or there twice")
    if is_regular and (not len(steps) or int(steps.min()) == step):
        return
    off = np.flatnonzero((open_ms - first) % step)
    if len(off):
        at = iso(int(open_ms[off[0]]))
        raise UsageError(f"{item.symbol}: the candle at {at} does not open on a {item.candles.timeframe} boundary")


def _spread(market: Market, name: str, first: int, step: int, bars: int) -> Matrix:
    """Return one column of all symbols on the grid; a single series without a gap is not copied."""
    if len(market.symbols) == 1 and len(market.symbols[0].candles) == bars:
        column: Column = getattr(market.symbols[0].candles, name)
        if column.flags.c_contiguous and column.flags.writeable:
            return column.reshape(1, bars)
    out = np.full((len(market.symbols), bars), np.nan)
    for row, item in enumerate(market.symbols):
        candles = item.candles
        if len(candles):
            out[row, (candles.open_ms - first) // step] = getattr(candles, name)
    return out


def _path(
    market: Market, first: int, step: int, bars: int, spread: dict[str, Matrix]
) -> tuple[Fine | None, Matrix, Matrix, tuple[str, ...]]:
    fine_ms = _fine_step(market, step)
    if fine_ms is None:
        return None, spread["low"], spread["high"], ()
    per_bar = step // fine_ms
    shape = (len(market.symbols), bars * per_bar)
    columns = {name: np.full(shape, np.nan) for name in ("open", "high", "low", "trigger_low", "trigger_high")}
    marked = 0
    for row, item in enumerate(market.symbols):
        marked += _fill_path(item, first, fine_ms, {name: matrix[row] for name, matrix in columns.items()})
    is_there = np.isfinite(columns["open"]) & np.isfinite(columns["trigger_low"])
    by_bar = is_there.reshape(len(market.symbols), bars, per_bar)
    is_whole = by_bar.all(axis=2)
    with np.errstate(invalid="ignore"):
        low = np.fmin.reduce(columns["trigger_low"].reshape(by_bar.shape), axis=2)
        high = np.fmax.reduce(columns["trigger_high"].reshape(by_bar.shape), axis=2)
    # Where the path has holes the candle's own extremes count as well.
    trigger_low = np.where(is_whole, low, np.fmin(low, spread["low"]))
    trigger_high = np.where(is_whole, high, np.fmax(high, spread["high"]))
    share = float(is_whole[np.isfinite(spread["close"])].mean()) if np.isfinite(spread["close"]).any() else 0.0
    notes = [f"{share:.1%} of the bars have a whole path of {fine_ms // MINUTE_MS} min inside"]
    notes.append(f"stops trigger on recorded marks in {marked:,} minutes, on candle extremes elsewhere")
    fine = Fine(fine_ms, per_bar, **columns, is_whole=np.ascontiguousarray(is_whole).view(np.uint8))
    return fine, np.ascontiguousarray(trigger_low), np.ascontiguousarray(trigger_high), tuple(notes)


def _fine_step(market: Market, step: int) -> int | None:
    found = [length_ms(item.fine.timeframe) for item in market.symbols if item.fine is not None and len(item.fine)]
    found += [MINUTE_MS for item in market.symbols if item.minutes is not None and len(item.minutes.minute_ms)]
    usable = [fine for fine in found if fine < step and step % fine == 0]
    return min(usable, default=None)


def _fill_path(item: SymbolMarket, first: int, fine_ms: int, into: dict[str, Column]) -> int:
    """Write one symbol's path; return how many of its slots trigger on a recorded mark."""
    slots = len(into["open"])
    if item.fine is not None and length_ms(item.fine.timeframe) == fine_ms:
        place = (item.fine.open_ms - first) // fine_ms
        inside = (place >= 0) & (place < slots)
        for name in ("open", "high", "low"):
            into[name][place[inside]] = getattr(item.fine, name)[inside]
        into["trigger_low"][:] = into["low"]
        into["trigger_high"][:] = into["high"]
    if item.minutes is None or fine_ms != MINUTE_MS:
        return 0
    minutes = item.minutes
    place = (minutes.minute_ms - first) // MINUTE_MS
    known = np.isfinite(minutes.mark_low) & np.isfinite(minutes.mark_high) & (place >= 0) & (place < slots)
    place, low, high = place[known], minutes.mark_low[known], minutes.mark_high[known]
    into["trigger_low"][place] = low
    into["trigger_high"][place] = high
    bare = ~np.isfinite(into["open"][place])  # marks without a candle: they are the price as well
    into["open"][place[bare]] = minutes.mark_open[known][bare]
    into["low"][place[bare]] = low[bare]
    into["high"][place[bare]] = high[bare]
    return len(place)


def _hours(market: Market, first: int, step: int, bars: int, close: Matrix) -> tuple[int, Matrix, Matrix]:
    """Return (first whole hour, rates, oracle prices) of the span; an oracle not recorded is the last close."""
    first_hour = first - first % HOUR_MS
    count = (first + bars * step - first_hour) // HOUR_MS + 1
    rates = np.full((len(market.symbols), count), np.nan)
    oracles = np.full_like(rates, np.nan)
    hours: Times = first_hour + np.arange(count, dtype=np.int64) * HOUR_MS
    for row, item in enumerate(market.symbols):
        place = (item.funding.hour_ms - first_hour) // HOUR_MS
        inside = (place >= 0) & (place < count)
        rates[row, place[inside]] = item.funding.rate[inside]
        oracles[row] = _last_close(close[row], hours, first, step)
        if item.minutes is not None:
            _recorded_oracle(item, first_hour, oracles[row])
    return first_hour, rates, oracles


def _last_close(close: Column, hours: Times, first: int, step: int) -> Column:
    """Return at each hour the close of the newest bar that had closed; NaN before the first."""
    is_known = np.isfinite(close)
    if is_known.all():
        newest = np.minimum((hours - first) // step, len(close)) - 1
        return np.where(newest >= 0, close[np.maximum(newest, 0)], np.nan)
    known = np.flatnonzero(is_known)
    if not len(known):
        return np.full(len(hours), np.nan)
    newest = np.searchsorted(first + (known + 1) * step, hours, side="right") - 1
    return np.where(newest >= 0, close[known[np.maximum(newest, 0)]], np.nan)


def _recorded_oracle(item: SymbolMarket, first_hour: int, into: Column) -> None:
    minutes = item.minutes
    assert minutes is not None
    for offset_ms, name in ((MINUTE_MS, "oracle_close"), (0, "oracle_open")):  # the minute at the hour wins
        at_ms = minutes.minute_ms + offset_ms
        place, values = (at_ms - first_hour) // HOUR_MS, getattr(minutes, name)
        known = (at_ms % HOUR_MS == 0) & (place >= 0) & (place < len(into)) & np.isfinite(values)
        into[place[known]] = values[known]


def _regimes(market: Market, first: int, step: int, bars: int) -> NDArray[np.int8]:
    recorded = market.regimes
    if recorded is None or not (recorded.regime != _NORMAL).any():
        return np.empty(0, np.int8)
    return regimes_at(recorded, first + (np.arange(bars, dtype=np.int64) + 1) * step)


def regimes_at(recorded: Regimes | None, close_ms: Times) -> NDArray[np.int8]:
    """Return the regime (place in `REGIMES`) that was known at each close; NORMAL where none was."""
    if recorded is None or not len(recorded.venue_ms):
        return np.full(len(close_ms), _NORMAL, np.int8)
    newest = np.searchsorted(recorded.venue_ms, close_ms, side="right") - 1
    place = np.maximum(newest, 0)
    is_known = newest >= 0
    if recorded.max_age_ms is not None:
        is_known &= close_ms - recorded.venue_ms[place] <= recorded.max_age_ms
    return np.where(is_known, recorded.regime[place], np.int8(_NORMAL)).astype(np.int8)
