"""What a strategy must offer to run compiled: exit bits of every bar, and the bars it may enter with their numbers.

An entry is a conjunction of strict comparisons: every value of a candidate below the limit of its side and regime.
Candidates are listed once for the loosest limits of all parameter sets; each set then asks its own limits. Values that
carry a memory (RSI, ADX, MACD) come from one pass over the whole series and may differ from a decision's own window in
the last digits: where that could tip a comparison they are computed again from exactly that window (`settle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.grid import Grid
from perp_bot.config.model import Config
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.row import IndicatorParams, IndicatorRow
from perp_bot.indicators.warmup import decision_window

Matrix = NDArray[np.float64]
Column = NDArray[np.float64]
Limits = NDArray[np.float64]  # (sets; side, as `Candidates` has them; regime; value)
TIE = 1e-6  # far above the 1e-9 that a forgotten start may weigh


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Bars at which a strategy may enter, sorted by bar, then symbol. Stop and target are NaN where it names none."""

    bar: NDArray[np.int64]
    symbol: NDArray[np.int32]
    side: NDArray[np.int8]  # 0 long, 1 short; 2, 3: long, short, for an entry of that side that waits already
    values: Matrix  # (candidates, values)
    stop: NDArray[np.float64]
    target: NDArray[np.float64]


class StrategyKernel(Protocol):
    """The compiled form of one strategy.

    `values` are columns of settings that differ between parameter sets, by dotted key, all of one length (empty: one
    set, the config itself). Only `threshold_keys` may be among them: what else differs needs a config of its own.
    """

    @property
    def threshold_keys(self) -> frozenset[str]:
        """Settings that change limits and exit thresholds alone, so that sets share columns and candidates."""

    @property
    def exit_reasons(self) -> tuple[str, str]:
        """The strategy's reasons behind EXIT_* and STOP_* bits."""

    def params(self, config: Config) -> IndicatorParams:
        """Return the indicator periods."""

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
        """Return the indicator columns it reads, each (symbols, bars), NaN before warm-up where entries need it."""

    def exit_thresholds(self, config: Config, values: Mapping[str, Column]) -> Matrix:
        """Return what the exit bits depend on beside the columns, (sets, thresholds)."""

    def exits(self, grid: Grid, columns: dict[str, Matrix], thresholds: Column) -> NDArray[np.uint8]:
        """Return the exit bits of one row of `exit_thresholds`, (symbols, bars)."""

    def limits(self, config: Config, values: Mapping[str, Column]) -> Limits:
        """Return the limits of every set."""

    def candidates(self, grid: Grid, columns: dict[str, Matrix], config: Config, limits: Limits) -> Candidates:
        """Return every bar that any of the sets enters, settled."""

    def trailing(self, config: Config) -> tuple[float, float, float]:
        """Return (after, distance, step) of its trailing stop as fractions; (0, 0, 0) for none."""

    def trades_a_day(self, config: Config) -> int:
        """Return the most entries of a UTC day; 0: no limit."""


def column_of(config: Config, values: Mapping[str, Column], key: str) -> Column:
    """Return a setting of every set: its column, or the config's one value."""
    if key in values:
        return values[key]
    section, _, name = key.partition(".")
    return np.full(
        max((len(column) for column in values.values()), default=1), float(getattr(getattr(config, section), name))
    )


def warm_from(grid: Grid, params: IndicatorParams) -> NDArray[np.bool_] | int:
    """Return the first warm bar; where candles are missing a mask (symbols, bars): enough bars in a row behind it."""
    window = decision_window(params)
    usable = np.isfinite(grid.high) & np.isfinite(grid.low) & np.isfinite(grid.close)
    if usable.all():
        return window - 1
    bars = np.arange(1, grid.bars + 1)
    last_hole = np.maximum.accumulate(np.where(usable, 0, bars), axis=1)
    return np.asarray(bars - last_hole >= window)


def make_cold(column: Matrix, warm: NDArray[np.bool_] | int) -> None:
    """Set what is before warm-up to NaN, in place."""
    if isinstance(warm, int):
        column[:, :warm] = np.nan
    else:
        column[~warm] = np.nan


def flagged(flags: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (bars, symbols) of what is not 0, sorted by bar, then symbol."""
    if len(flags) == 1:
        bars = np.flatnonzero(flags[0] != 0)  # numpy finds flags of one bit many times faster than bytes
        return bars, np.zeros(len(bars), np.int64)
    bars, symbols = np.nonzero(flags.T)
    return np.ascontiguousarray(bars), np.ascontiguousarray(symbols)  # a strided view would be compiled for anew


def near_a_limit(values: NDArray[np.float64], limits: NDArray[np.float64], slack: float = TIE) -> NDArray[np.bool_]:
    """Return which values are so close to any of the limits that their last digits could tip the comparison."""
    known = np.unique(limits)
    right = np.searchsorted(known, values)
    above = known[np.minimum(right, len(known) - 1)]
    below = known[np.maximum(right - 1, 0)]
    return np.asarray((np.abs(values - above) <= slack) | (np.abs(values - below) <= slack))


def exact_row(grid: Grid, symbol: int, bar: int, params: IndicatorParams) -> IndicatorRow:
    """Return the values that a decision at the bar is made on."""
    begin = max(0, bar + 1 - decision_window(params))
    span = slice(begin, bar + 1)
    prices = (grid.high[symbol, span], grid.low[symbol, span], grid.close[symbol, span])
    return decision_row(*prices, params, grid.volume[symbol, span])
