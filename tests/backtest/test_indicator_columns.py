"""The columns of the kernels are those of the indicators, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from market_rig import wandering

from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.indicator_columns import adx, rsi, scores_and_bands
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams


@pytest.mark.parametrize("bollinger", [20, 25], ids=["one window", "two windows"])
@pytest.mark.parametrize("bars", [12, 700])
def test_columns_are_those_of_batch(bollinger: int, bars: int) -> None:
    """Two coins, holes, windows longer than the series."""
    grid = grid_of(wandering(9, bars, coins=2, holes=3))
    params = IndicatorParams(bollinger_period=bollinger)
    ours = scores_and_bands(grid, params) | {"rsi": rsi(grid, 14), "adx": adx(grid, 14)}
    for row in range(2):
        high, low, close = grid.high[row], grid.low[row], grid.close[row]
        upper, middle, lower = batch.bollinger(close, bollinger, 2.0)
        expected = {
            "zscore": batch.zscore(close, 20),
            "upper": upper,
            "middle": middle,
            "lower": lower,
            "rsi": batch.rsi(close, 14),
            "adx": batch.adx(high, low, close, 14),
        }
        for name, column in expected.items():
            assert np.array_equal(ours[name][row], column, equal_nan=True), name
            known = ~np.isnan(column)
            assert (ours[name][row][known].view(np.int64) == column[known].view(np.int64)).all(), name
