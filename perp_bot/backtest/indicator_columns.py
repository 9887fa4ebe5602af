"""Indicator columns for the strategy kernels, straight from the grid: no copies, one pass for what shares a window.

Bit for bit what `indicators.batch` gives (a test compares them): the same kernels on the same numbers. A grid holds
finite prices or NaN, so nothing has to be cleaned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.grid import Grid
from perp_bot.indicators import compiled, kernels
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import wilder_memory

Matrix = NDArray[np.float64]


def scores_and_bands(grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
    """Return z-score and Bollinger bands, (symbols, bars) each."""
    out = {name: np.empty(grid.close.shape) for name in ("zscore", "upper", "middle", "lower")}
    offset, sigma = np.empty(grid.bars), np.empty(grid.bars)
    kernel, finish = compiled.load(), research_kernel(finish_scores)
    for row in range(len(grid.close)):
        close = grid.close[row]
        for n, is_score, is_band in (
            (params.zscore_lookback, True, params.bollinger_period == params.zscore_lookback),
            (params.bollinger_period, False, params.bollinger_period != params.zscore_lookback),
        ):
            if not (is_score or is_band):
                continue
            first = min(n - 1, grid.bars)
            offset[:first] = sigma[:first] = np.nan
            if grid.bars >= n:
                kernel.window_moments(close, n, offset[n - 1 :], sigma[n - 1 :])
            finish(
                close, offset, sigma, params.bollinger_std, is_score, is_band,
                out["zscore"][row], out["upper"][row], out["middle"][row], out["lower"][row],
            )  # fmt: skip
    return out


def rsi(grid: Grid, n: int) -> Matrix:
    """Return Wilder's RSI."""
    out, kernel = np.empty(grid.close.shape), compiled.load()
    for row in range(len(out)):
        kernel.rsi(grid.close[row], n, wilder_memory(n), np.zeros(kernels.RSI_STATE), out[row])
    return out


def adx(grid: Grid, n: int) -> Matrix:
    """Return Wilder's ADX."""
    out, kernel = np.empty(grid.close.shape), compiled.load()
    for row in range(len(out)):
        state = np.zeros(kernels.ADX_STATE)
        kernel.adx(grid.high[row], grid.low[row], grid.close[row], n, wilder_memory(n), state, out[row])
    return out


def finish_scores(close, offset, sigma, k, is_score, is_band, zscore, upper, middle, lower):  # type: ignore[no-untyped-def]
    """Fill scores and bands from the moments of the windows; a flat window has no score."""
    for i in range(len(close)):
        o = offset[i]
        s = sigma[i]
        if is_score:
            zscore[i] = (0.0 - o) / s if (s > 0.0) & (s < np.inf) else np.nan
        if is_band:
            m = close[i] + o
            width = k * s
            middle[i] = m
            upper[i] = m + width
            lower[i] = m - width
