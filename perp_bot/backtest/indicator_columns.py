"""Indicator columns for the strategy kernels, straight from the grid: no copies.

Bit for bit what `indicators.batch` gives (a test compares them): the same kernels on the same numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.grid import Grid
from perp_bot.indicators import compiled
from perp_bot.indicators.kernels.wilder import ADX_STATE, RSI_STATE
from perp_bot.indicators.kernels.windows import moments_scratch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import wilder_memory

Matrix = NDArray[np.float64]


def scores_and_bands(grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
    """Return z-score and Bollinger bands, (symbols, bars) each."""
    out = {name: np.empty(grid.close.shape) for name in ("zscore", "upper", "middle", "lower")}
    kernel = compiled.on_demand()
    z, bands = params.zscore_lookback, params.bollinger_period
    for name, column in out.items():
        column[:, : (z if name == "zscore" else bands) - 1] = np.nan
    scratch = np.empty(moments_scratch(max(z, bands)))
    for row in range(len(grid.close)):
        close = grid.close[row]
        scores = out["zscore"][row, z - 1 :]
        upper, middle, lower = (out[name][row, bands - 1 :] for name in ("upper", "middle", "lower"))
        if z == bands and grid.bars >= z:
            kernel.scores_and_bands(close, z, params.bollinger_std, scratch, scores, upper, middle, lower)
            continue
        if grid.bars >= z:
            kernel.zscore(close, z, scratch, scores)
        if grid.bars >= bands:
            kernel.bollinger(close, bands, params.bollinger_std, scratch, upper, middle, lower)
    return out


def rsi(grid: Grid, n: int) -> Matrix:
    """Return Wilder's RSI."""
    out, kernel = np.empty(grid.close.shape), compiled.on_demand()
    for row in range(len(out)):
        kernel.rsi(grid.close[row], n, wilder_memory(n), np.zeros(RSI_STATE), out[row])
    return out


def adx(grid: Grid, n: int) -> Matrix:
    """Return Wilder's ADX."""
    out, kernel = np.empty(grid.close.shape), compiled.on_demand()
    for row in range(len(out)):
        state = np.zeros(ADX_STATE)
        kernel.adx(grid.high[row], grid.low[row], grid.close[row], n, wilder_memory(n), state, out[row])
    return out
