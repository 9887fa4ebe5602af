"""The arithmetic of the rolling rescaled range, over a whole series: lanes across bars, a block of bars at a time."""

from __future__ import annotations

import math

from perp_bot.indicators.kernels.columns import BLOCK, NAN, Floats, copy
from perp_bot.indicators.kernels.windows import block_moments, moments_scratch


def scratch(n: int) -> int:
    """Return how many numbers of scratch the kernel needs."""
    return 5 * (BLOCK + n) + moments_scratch(n)


def rescaled_ranges(level: Floats, n: int, space: Floats, out: Floats) -> None:
    """Fill log(R/S)/log(n) of each bar that has `n` returns before it, from log prices; `out` begins at the first.

    The window of bar i holds the returns of bars i - n + 1 .. i: the levels i - n .. i. The deviations cumulated up to
    its k-th return are level - k x mean, but for the first level, which leaves their range as it is. A missing price
    makes sigma NaN. `space` has room for `scratch(n)` numbers.
    """
    room = BLOCK + n
    returns = space[:room]
    mean = space[room : 2 * room]
    sigma = space[2 * room : 3 * room]
    highest = space[3 * room : 4 * room]
    lowest = space[4 * room : 5 * room]
    inverse = 1.0 / math.log(n)
    for start in range(0, len(out), BLOCK):
        bars = min(BLOCK, len(out) - start)
        window = level[start : start + bars + n]
        following = window[1 : bars + n]
        for j in range(bars + n - 1):
            returns[j] = following[j] - window[j]
        block_moments(returns[: bars + n - 1], n, space[5 * room :], mean[:bars], sigma[:bars])
        last = window[n : n + bars]
        for j in range(bars):
            mean[j] = (last[j] - window[j]) / n
        copy(window[:bars], highest[:bars])
        copy(window[:bars], lowest[:bars])
        k = 1
        while k + 7 <= n:  # eight at once: the running extremes are loaded and stored an eighth as often
            a, b, c, d = window[k : k + bars], window[k + 1 :], window[k + 2 :], window[k + 3 :]
            e, f, g, h = window[k + 4 :], window[k + 5 :], window[k + 6 :], window[k + 7 :]
            q = float(k)
            for j in range(bars):
                m = mean[j]
                x1, x2, x3, x4 = a[j] - q * m, b[j] - (q + 1.0) * m, c[j] - (q + 2.0) * m, d[j] - (q + 3.0) * m
                x5, x6, x7, x8 = e[j] - (q + 4.0) * m, f[j] - (q + 5.0) * m, g[j] - (q + 6.0) * m, h[j] - (q + 7.0) * m
                high1 = x1 if x1 > x2 else x2
                high2 = x3 if x3 > x4 else x4
                high3 = x5 if x5 > x6 else x6
                high4 = x7 if x7 > x8 else x8
                high1 = high1 if high1 > high2 else high2
                high3 = high3 if high3 > high4 else high4
                high1 = high1 if high1 > high3 else high3
                low1 = x1 if x1 < x2 else x2
                low2 = x3 if x3 < x4 else x4
                low3 = x5 if x5 < x6 else x6
                low4 = x7 if x7 < x8 else x8
                low1 = low1 if low1 < low2 else low2
                low3 = low3 if low3 < low4 else low4
                low1 = low1 if low1 < low3 else low3
                highest[j] = high1 if high1 > highest[j] else highest[j]
                lowest[j] = low1 if low1 < lowest[j] else lowest[j]
            k += 8
        while k <= n:
            a = window[k : k + bars]
            q = float(k)
            for j in range(bars):
                x1 = a[j] - q * mean[j]
                highest[j] = x1 if x1 > highest[j] else highest[j]
                lowest[j] = x1 if x1 < lowest[j] else lowest[j]
            k += 1
        for j in range(bars):
            # a flat window leaves rounding alone: its range is 0 in every digit that the levels have
            has_range = sigma[j] > 1e-14 * (1.0 + abs(last[j]))
            out[start + j] = math.log((highest[j] - lowest[j]) / sigma[j]) * inverse if has_range else NAN
