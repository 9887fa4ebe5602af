"""What qualifies every result on the same data: rules, ranges, holes, warm-up, generated prices, regimes, odd candles.

`notes_of` is what all commands of research say; the engines put it into their results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from perp_bot.backtest.grid import Grid
from perp_bot.backtest.market import Candles, Market, SymbolMarket
from perp_bot.backtest.regimes import max_age_ms, regime_note
from perp_bot.config.model import Config
from perp_bot.core.counting import counted
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import DAY_MS, iso, length_ms
from perp_bot.data.checking import Finding, oddities
from perp_bot.data.columns import CandleArrays, read_candles
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies.parameters import params_of

_EVER_MS = 2**62


def notes_of(grid: Grid, config: Config, begin: int, end: int, missing_hours: int = 0) -> tuple[str, ...]:
    """Return what qualifies any result on the bars `begin`..`end` - 1 of this grid, one sentence each."""
    market = grid.market
    notes = [*market.notes, *grid.notes]
    sources = sorted({item.instrument_source for item in market.symbols})
    notes.append(f"tick, lot and margin rules: {', '.join(sources)}")
    notes += _range_notes(market)
    notes += _warm_up_notes(market, config, grid.close_ms(begin), grid.close_ms(end - 1))
    notes += _generated_notes(market)
    if missing_hours:
        notes.append(funding_note(missing_hours))
    notes.append(regime_note(market.regimes, grid.close_ms(begin), grid.close_ms(end - 1), grid.step_ms))
    return tuple(notes)


def funding_note(hours: int) -> str:
    """Return what hours without a rate mean."""
    were = counted(hours, "hour was", "hours were")
    return f"{were} held without a known funding rate: figures with funding are incomplete"


def annotated(config: Config, market: Market) -> Market:
    """Return a loaded market with what its store says beside the columns: labels of the path, ages, odd candles."""
    symbols = tuple(replace(item, generated_fine_rows=_generated_inside(config, item)) for item in market.symbols)
    regimes = None if market.regimes is None else replace(market.regimes, max_age_ms=max_age_ms(config))
    return replace(market, symbols=symbols, regimes=regimes, notes=(*market.notes, *odd_candles(market)))


def _generated_inside(config: Config, item: SymbolMarket) -> int:
    """Return how many of the finer candles a generator made."""
    fine = item.fine
    if fine is None or not len(fine):
        return 0
    first_ms, last_ms = int(fine.open_ms[0]), int(fine.open_ms[-1])
    return read_candles(config.data.db_path, item.symbol, fine.timeframe, first_ms, last_ms + 1).generated_rows


def _generated_notes(market: Market) -> Iterator[str]:
    for item in market.symbols:
        if item.generated_rows:
            share = item.generated_rows / max(1, len(item.candles))
            yield f"{item.symbol}: {share:.1%} of the candles are generated, not recorded"
        if item.fine is not None and item.generated_fine_rows:
            share = item.generated_fine_rows / max(1, len(item.fine))
            yield (
                f"{item.symbol}: {share:.1%} of the {item.fine.timeframe} candles inside are generated, not recorded: "
                "stops and limits follow a path there that was made up"
            )


# ------------------------------------------------------------ ranges and holes


def _range_notes(market: Market) -> Iterator[str]:
    step = length_ms(market.timeframe)
    held = [item for item in market.symbols if len(item.candles)]
    ranges = {(int(item.candles.open_ms[0]), int(item.candles.open_ms[-1]) + step) for item in held}
    if len(ranges) > 1:
        parts = ", ".join(
            f"{item.symbol} {iso(int(item.candles.open_ms[0]))} to {iso(int(item.candles.open_ms[-1]) + step)}"
            for item in held
        )
        yield f"the coins are stored over different ranges, each is traded within its own: {parts}"
    for item in held:
        open_ms = item.candles.open_ms
        holes = (int(open_ms[-1]) - int(open_ms[0])) // step + 1 - len(open_ms)
        if holes:
            yield (
                f"{item.symbol}: {counted(holes, 'candle is', 'candles are')} missing: no decision there, and a new "
                "warm-up behind each hole"
            )


# ------------------------------------------------------------ warm-up


def refuse_undecidable(market: Market, config: Config, from_ms: int | None, to_ms: int | None) -> None:
    """Raise UsageError when no close in (from_ms, to_ms] has its warm-up behind it: nothing could be decided."""
    first_ms, last_ms = -_EVER_MS if from_ms is None else from_ms + 1, _EVER_MS if to_ms is None else to_ms
    can, _ = _decidable(market, config, first_ms, last_ms)
    if can:
        return
    window = decision_window(params_of(config))
    days = window * length_ms(market.timeframe) / DAY_MS
    longest = max((run for item in market.symbols for run in _run_lengths(item.candles, last_ms)), default=0)
    raise UsageError(
        f"nothing can be decided: the warm-up takes {window:,} {market.timeframe} candles in a row ({days:.1f} days), "
        f"and at most {longest:,} are stored up to the end of the span; fetch more (perpbot backfill, perpbot data "
        "import), take a shorter --timeframe, or shorter periods (signals.*, macd.*)"
    )


def _warm_up_notes(market: Market, config: Config, first_ms: int, last_ms: int) -> Iterator[str]:
    can, there = _decidable(market, config, first_ms, last_ms)
    if can < there:
        window = decision_window(params_of(config))
        yield (
            f"the warm-up takes {window:,} candles in a row: {can:,} of {there:,} candles can be decided, nothing is "
            "entered at the others"
        )


def _decidable(market: Market, config: Config, first_ms: int, last_ms: int) -> tuple[int, int]:
    """Return how many candles that close from `first_ms` to `last_ms` have their warm-up, and how many there are."""
    step, window = length_ms(market.timeframe), decision_window(params_of(config))
    can = there = 0
    for item in market.symbols:
        for begin_ms, end_ms in _runs(item.candles):
            can += _closes_between(begin_ms + window * step, end_ms, first_ms, last_ms, step)
            there += _closes_between(begin_ms + step, end_ms, first_ms, last_ms, step)
    return can, there


def _closes_between(earliest_ms: int, latest_ms: int, first_ms: int, last_ms: int, step: int) -> int:
    """Return how many of the closes `earliest_ms`, + step, ... `latest_ms` are in [first_ms, last_ms]."""
    skipped = max(0, -(-(first_ms - earliest_ms) // step))
    return max(0, (min(latest_ms, last_ms) - earliest_ms) // step + 1 - skipped)


def _run_lengths(candles: Candles, last_ms: int) -> Iterator[int]:
    step = length_ms(candles.timeframe)
    for begin_ms, end_ms in _runs(candles):
        yield max(0, (min(end_ms, last_ms) - begin_ms) // step)


def _runs(candles: Candles) -> Iterator[tuple[int, int]]:
    """Yield (first open, last close) of each stretch without a hole."""
    open_ms, step = candles.open_ms, length_ms(candles.timeframe)
    if not len(open_ms):
        return
    if int(open_ms[-1]) - int(open_ms[0]) == (len(open_ms) - 1) * step:
        yield int(open_ms[0]), int(open_ms[-1]) + step
        return
    breaks = np.flatnonzero(np.diff(open_ms) != step)
    starts, ends = open_ms[np.concatenate(([0], breaks + 1))], open_ms[np.concatenate((breaks, [-1]))]
    yield from zip(starts.tolist(), (ends + step).tolist(), strict=True)


# ------------------------------------------------------------ odd candles


def odd_candles(market: Market) -> tuple[str, ...]:
    """Return what is lawful and still odd about the candles: nothing is smoothed, so it is said."""
    notes = []
    for item in market.symbols:
        kinds: dict[str, list[Finding]] = {}
        for found in oddities(_as_stored(item.symbol, item.candles)):
            kinds.setdefault(found.kind, []).append(found)
        for same in kinds.values():
            more = f", and {len(same) - 1:,} more like it (perpbot data check)" if len(same) > 1 else ""
            notes.append(f"odd candles, {item.symbol} {market.timeframe}: {same[0].text}{more}")
    return tuple(notes)


def _as_stored(symbol: str, candles: Candles) -> CandleArrays:
    columns = (candles.open_ms, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return CandleArrays(symbol, candles.timeframe, *columns, np.zeros(len(candles), np.bool_), 0)
