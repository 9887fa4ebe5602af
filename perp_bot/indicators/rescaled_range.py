"""The rolling Hurst exponent from one rescaled range: log(R/S) / log(n) over the last n log returns, every bar.

R is the range of the cumulated deviations from the window's mean, S the population standard deviation of its returns
(Hurst 1951). One window alone is a rough reading: on a random walk it reads 0.52 at n = 100, with a standard error of
0.05; `hurst_rs` averages over chunk sizes, `hurst_vr` is another estimator. This one is for research over whole series
at speed: lanes across bars, the cumulated returns being the log price itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.indicators.row import check_period

Column = NDArray[np.float64]
LEAST_PERIOD = 8
BLOCK = 512  # bars at a time: a block's columns stay in the first-level cache


def rescaled_range(close: Column, n: int) -> Column:
    """Return log(R/S)/log(n) of each bar's last `n` log returns; NaN before there are n, where one is missing, or flat.

    Agrees with a two-pass reference to 1e-9. The first call compiles it.
    """
    check_period("n", n, LEAST_PERIOD)
    prices = np.ascontiguousarray(close, np.float64)
    out = np.full(len(prices), np.nan)
    if len(prices) <= n:
        return out
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.log(np.where((prices > 0) & np.isfinite(prices), prices, np.nan))
    _kernel()(level, n, out)
    return out


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., Any]:
    import numba

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(_fill)
    except (OSError, RuntimeError):  # nowhere to keep it
        compiled = numba.njit(**options)(_fill)
    return compiled


def _fill(level, n, out):  # type: ignore[no-untyped-def]
    """Fill the exponent of each bar from log prices, `BLOCK` bars at a time, all lanes through the window at once.

    The window of bar i holds the returns of bars i - n + 1 .. i: the levels i - n .. i. Deviations are cumulated as
    level - k x mean, whose range is R whatever the first level is. A missing price makes every lane that meets it NaN.
    """
    highest, lowest, mean, squares = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    inverse = 1.0 / math.log(n)
    for start in range(n, len(level), BLOCK):
        lanes = min(BLOCK, len(level) - start)
        first = level[start - n : start - n + lanes]
        last = level[start : start + lanes]
        for j in range(lanes):
            mean[j] = (last[j] - first[j]) / n
            highest[j] = 0.0
            lowest[j] = 0.0
            squares[j] = 0.0
        fours = n // 4 * 4
        for k in range(0, fours, 4):  # four at once: the running extremes are loaded and stored a quarter as often
            origin = start - n + k
            a = level[origin : origin + lanes]
            b = level[origin + 1 : origin + 1 + lanes]
            c = level[origin + 2 : origin + 2 + lanes]
            d = level[origin + 3 : origin + 3 + lanes]
            e = level[origin + 4 : origin + 4 + lanes]
            for j in range(lanes):
                m = mean[j]
                f = first[j] + k * m
                d1 = (b[j] - f) - m
                d2 = (c[j] - f) - 2.0 * m
                d3 = (d[j] - f) - 3.0 * m
                d4 = (e[j] - f) - 4.0 * m
                high = d1 if d1 > d2 else d2
                low = d1 if d1 < d2 else d2
                high2 = d3 if d3 > d4 else d4
                low2 = d3 if d3 < d4 else d4
                high = high if high > high2 else high2
                low = low if low < low2 else low2
                highest[j] = high if high > highest[j] else highest[j]
                lowest[j] = low if low < lowest[j] else lowest[j]
                s1 = (b[j] - a[j]) - m
                s2 = (c[j] - b[j]) - m
                s3 = (d[j] - c[j]) - m
                s4 = (e[j] - d[j]) - m
                squares[j] += (s1 * s1 + s2 * s2) + (s3 * s3 + s4 * s4)
        for k in range(fours + 1, n + 1):
            a = level[start - n + k - 1 : start - n + k - 1 + lanes]
            b = level[start - n + k : start - n + k + lanes]
            for j in range(lanes):
                d1 = (b[j] - first[j]) - k * mean[j]
                s1 = (b[j] - a[j]) - mean[j]
                highest[j] = d1 if d1 > highest[j] else highest[j]
                lowest[j] = d1 if d1 < lowest[j] else lowest[j]
                squares[j] += s1 * s1
        for j in range(lanes):
            spread = highest[j] - lowest[j]
            sigma = math.sqrt(squares[j] / n)
            # a flat window leaves rounding alone: its range is 0 in every digit that the levels have
            is_flat = not (sigma > 1e-14 * (1.0 + abs(last[j])))
            out[start + j] = np.nan if is_flat else math.log(spread / sigma) * inverse
