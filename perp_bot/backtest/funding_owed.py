"""What one coin held long pays in funding, hour by hour, for comparisons that trade nothing themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.market import SymbolMarket
from perp_bot.core.timeframes import length_ms

Column = NDArray[np.float64]
Times = NDArray[np.int64]


def funding_owed(item: SymbolMarket, begin_ms: int, at_ms: Times) -> tuple[Column, int]:
    """Return what a coin held from `begin_ms` has paid by each of `at_ms`, and how many hours had a known rate.

    An hour is priced at the last close up to it; an hour without a rate pays nothing.
    """
    candles, rates = item.candles, item.funding
    first, last = np.searchsorted(rates.hour_ms, [begin_ms, at_ms[-1]], "right")
    hours = rates.hour_ms[first:last]
    closes_ms = candles.open_ms + length_ms(candles.timeframe)
    prices = candles.close[np.maximum(np.searchsorted(closes_ms, hours, "right") - 1, 0)]
    # looking for the hours among the closes takes a quarter of looking for the closes among the hours
    due = np.searchsorted(at_ms, hours, "left")
    paid = np.bincount(due, weights=prices * rates.rate[first:last], minlength=len(at_ms))
    return np.cumsum(paid), len(hours)
