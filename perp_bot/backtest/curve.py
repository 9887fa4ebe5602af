"""What one look at an equity curve gives: the moments of its returns, its drawdown, and the time spent in the market.

A return is that of one candle: equity at its close over equity at the close before (the start equity before the first)
less 1. After ruin (equity of 0 or less) nothing is left that could earn: returns are 0 from there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.compiled import research_kernel

Column = NDArray[np.float64]


class CurveSums(NamedTuple):
    """Sums over the returns of a curve, and places (indices of boundaries; -1 is the start) in its drawdowns."""

    candles: int
    mean: float  # of the returns
    second: float  # central moments: sums of (return - mean) to the power of 2, 3, 4
    third: float
    fourth: float
    downside: float  # sum of min(return, 0) squared
    held: int  # boundaries with an open position
    equity_sum: float
    drawdown: float  # deepest fall from a peak, fraction of the peak, at least 0
    drawdown_usd: float  # largest fall from a peak, USD (may be another fall than the deepest)
    peak: int  # of the deepest fall
    trough: int
    recovered: int  # first boundary back at the peak's equity or above, or -1 when there is none
    longest: int  # most boundaries between a peak and its recovery (or the end)


def curve_sums(start_equity_usd: float, equity_usd: Column, held_usd: Column) -> CurveSums:
    """Return the sums of a curve; `held_usd` is the notional of open positions at the same boundaries."""
    if not len(equity_usd):
        return CurveSums(0, *(0.0,) * 5, 0, *(0.0,) * 3, -1, -1, -1, 0)
    equity = np.ascontiguousarray(equity_usd, dtype=np.float64)
    held = np.ascontiguousarray(held_usd, dtype=np.float64)
    found = research_kernel(scan)(float(start_equity_usd), equity, held)
    return CurveSums(len(equity), *found)


def scan(start, equity, held):  # type: ignore[no-untyped-def]  # numba types it from its arguments
    """Do the work of `curve_sums`; compiled."""
    total = downside = equity_sum = 0.0
    in_market = 0
    before = start
    top = start
    top_at = -1
    deepest = deepest_usd = 0.0
    peak = trough = recovered = -1
    longest = 0
    for i in range(len(equity)):
        now = equity[i]
        change = now / before - 1.0 if before > 0.0 else 0.0
        before = now
        total += change
        low = min(change, 0.0)
        downside += low * low
        equity_sum += now
        in_market += held[i] > 0.0
        if now >= top:
            if i - top_at > 1:
                longest = max(longest, i - top_at)
                if peak == top_at and trough >= 0 and recovered < 0:
                    recovered = i
            top = now
            top_at = i
        else:
            fall_usd = top - now
            deepest_usd = max(deepest_usd, fall_usd)
            # a division only where the fall can be the deepest: most falls are not
            if fall_usd > deepest * top:
                deepest = fall_usd / top
                peak, trough, recovered = top_at, i, -1
    if len(equity) - 1 > top_at:
        longest = max(longest, len(equity) - 1 - top_at)
    mean = total / len(equity)
    second = third = fourth = 0.0
    before = start
    for i in range(len(equity)):
        now = equity[i]
        off = (now / before - 1.0 if before > 0.0 else 0.0) - mean
        before = now
        square = off * off
        second += square
        third += square * off
        fourth += square * square
    return (
        mean, second, third, fourth, downside, in_market, equity_sum,
        deepest, deepest_usd, peak, trough, recovered, longest,
    )  # fmt: skip
