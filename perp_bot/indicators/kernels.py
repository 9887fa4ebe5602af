"""The arithmetic of every indicator, in plain Python that numba can compile.

Each kernel fills columns it is given and allocates nothing, so that one code serves a whole series (batch), one candle
(streaming, `state` carries over) and one window (decisions). Nothing here imports numba or numpy: `compiled` runs these
very functions, interpreted or compiled, with identical bits. For that no operation may be regrouped or fused, division
by zero is always guarded (Python raises where compiled code would not), and slices are read from index 0 (compiled
code then needs no wrap-around test, which is what lets it use vector instructions).

A missing number is NaN. Kernels with a window give NaN while the window holds one; kernels with a memory give NaN and
start anew after it, seed included, as if the series began there.
"""

from __future__ import annotations

import math
from typing import Protocol, overload

NAN = math.nan
INF = math.inf
BLOCK = 512  # bars per pass of `window_moments`: its four columns of 4 KiB stay in the first-level cache
SMALLEST_CHUNK = 8  # shorter chunks make R/S read mostly its own small-sample bias

EMA_STATE = 2
ATR_STATE = 3
RSI_STATE = 5
ADX_STATE = 8


class Floats(Protocol):
    """A column of float64: an array when compiled, a memoryview of the same array when interpreted."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> float: ...
    @overload
    def __getitem__(self, index: slice, /) -> Floats: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


def window_moments(x: Floats, n: int, offset: Floats, sigma: Floats) -> None:
    """Fill mean minus newest value, and population sigma, of each window of `n`; x has n - 1 values more than both.

    Each window is computed from its own values alone, as differences from its newest one: nothing carried can drift,
    a constant window has sigma 0 exactly, and a shift of all prices changes no bit where the differences are exact.
    """
    fours = n // 4 * 4
    for start in range(0, len(offset), BLOCK):
        bars = min(BLOCK, len(offset) - start)
        means = offset[start : start + bars]
        sums = sigma[start : start + bars]
        newest = x[start + n - 1 : start + n - 1 + bars]
        for k in range(bars):
            means[k] = 0.0
            sums[k] = 0.0
        for j in range(0, fours, 4):  # four at once halves the loads; the order of the additions stays oldest first
            a = x[start + j : start + j + bars]
            b = x[start + j + 1 : start + j + 1 + bars]
            c = x[start + j + 2 : start + j + 2 + bars]
            d = x[start + j + 3 : start + j + 3 + bars]
            for k in range(bars):
                ref = newest[k]
                means[k] = (((means[k] + (a[k] - ref)) + (b[k] - ref)) + (c[k] - ref)) + (d[k] - ref)
        for j in range(fours, n):
            a = x[start + j : start + j + bars]
            for k in range(bars):
                means[k] += a[k] - newest[k]
        for k in range(bars):
            means[k] /= n
        for j in range(0, fours, 4):
            a = x[start + j : start + j + bars]
            b = x[start + j + 1 : start + j + 1 + bars]
            c = x[start + j + 2 : start + j + 2 + bars]
            d = x[start + j + 3 : start + j + 3 + bars]
            for k in range(bars):
                ref = newest[k]
                mean = means[k]
                d0 = (a[k] - ref) - mean
                d1 = (b[k] - ref) - mean
                d2 = (c[k] - ref) - mean
                d3 = (d[k] - ref) - mean
                sums[k] = (((sums[k] + d0 * d0) + d1 * d1) + d2 * d2) + d3 * d3
        for j in range(fours, n):
            a = x[start + j : start + j + bars]
            for k in range(bars):
                d0 = (a[k] - newest[k]) - means[k]
                sums[k] += d0 * d0
        for k in range(bars):
            sums[k] = math.sqrt(sums[k] / n)


def ema(x: Floats, n: int, alpha: float, state: Floats, out: Floats) -> None:
    """Fill the exponential average, seeded by the mean of the first `n`. state: values seen (up to n), average."""
    seen = state[0]
    value = state[1]
    for i in range(len(x)):
        price = x[i]
        if price != price:
            seen = 0.0
            value = 0.0
            out[i] = NAN
            continue
        if seen < n:
            seen += 1.0
            value += (price - value) / seen
        else:
            value += alpha * (price - value)
        out[i] = value if seen >= n else NAN
    state[0] = seen
    state[1] = value


def atr(high: Floats, low: Floats, close: Floats, n: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's average true range, seeded by the mean of the first `n`. state: bars, previous close, average."""
    bars = state[0]
    previous = state[1]
    value = state[2]
    alpha = 1.0 / n
    for i in range(len(close)):
        top = high[i]
        bottom = low[i]
        price = close[i]
        out[i] = NAN
        if top != top or bottom != bottom or price != price:
            bars = 0.0
            value = 0.0
            continue
        if bars < 1.0:  # the first bar has no previous close, so no true range
            bars = 1.0
            previous = price
            continue
        true_range = max(top - bottom, abs(top - previous), abs(bottom - previous))
        previous = price
        if bars <= n:
            value += (true_range - value) / bars
            bars += 1.0
        else:
            value += (true_range - value) * alpha
        if bars > n:
            out[i] = value
    state[0] = bars
    state[1] = previous
    state[2] = value


def rsi(close: Floats, n: int, memory: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's RSI. state: bars, previous close, sum of gains, sum of losses, bars without a change.

    The sums are n times Wilder's averages (the factor cancels). After `memory` bars without a change all that moved
    before weighs less than 1e-9: it is forgotten, and RSI is NaN until the price moves again.
    """
    bars = state[0]
    previous = state[1]
    gains = state[2]
    losses = state[3]
    idle = state[4]
    keep = (n - 1) / n
    for i in range(len(close)):
        price = close[i]
        out[i] = NAN
        if price != price:
            bars = 0.0
            gains = 0.0
            losses = 0.0
            idle = 0.0
            continue
        if bars < 1.0:
            bars = 1.0
            previous = price
            continue
        change = price - previous
        previous = price
        gain = change if change > 0.0 else 0.0
        loss = -change if change < 0.0 else 0.0
        if bars <= n:
            gains += gain
            losses += loss
            bars += 1.0
        else:
            gains = gains * keep + gain
            losses = losses * keep + loss
        idle = idle + 1.0 if change == 0.0 else 0.0
        if idle >= memory:
            gains = 0.0
            losses = 0.0
        total = gains + losses
        if bars > n and total > 0.0:
            out[i] = 100.0 * (gains / total)
    state[0] = bars
    state[1] = previous
    state[2] = gains
    state[3] = losses
    state[4] = idle


def adx(high: Floats, low: Floats, close: Floats, n: int, memory: int, state: Floats, out: Floats) -> None:
    """Fill Wilder's ADX. state: bars, previous high, previous low, sum of +DM, of -DM, idle bars, DX count, average.

    The true range cancels out of DX and is not computed; `close` only tells that a bar is missing. DX is undefined
    before the first directional movement; after `memory` bars without one the past is forgotten (it weighs less than
    1e-9) and ADX starts anew with the next. Seeds as Wilder's book: the sum of the first n movements, the mean of the
    first n DX.
    """
    bars = state[0]
    previous_high = state[1]
    previous_low = state[2]
    plus = state[3]
    minus = state[4]
    idle = state[5]
    count = state[6]
    value = state[7]
    keep = (n - 1) / n
    alpha = 1.0 / n
    for i in range(len(close)):
        top = high[i]
        bottom = low[i]
        price = close[i]
        out[i] = NAN
        if top != top or bottom != bottom or price != price:
            bars = 0.0
            plus = 0.0
            minus = 0.0
            idle = 0.0
            count = 0.0
            value = 0.0
            continue
        if bars < 1.0:
            bars = 1.0
            previous_high = top
            previous_low = bottom
            continue
        up = top - previous_high
        down = previous_low - bottom
        previous_high = top
        previous_low = bottom
        plus_move = up if (up > down and up > 0.0) else 0.0
        minus_move = down if (down > up and down > 0.0) else 0.0
        if bars <= n:
            plus += plus_move
            minus += minus_move
            bars += 1.0
        else:
            plus = plus * keep + plus_move
            minus = minus * keep + minus_move
        idle = idle + 1.0 if plus_move + minus_move == 0.0 else 0.0
        if idle >= memory:
            plus = 0.0
            minus = 0.0
            count = 0.0
            value = 0.0
        total = plus + minus
        if bars <= n or total <= 0.0:
            continue
        dx = 100.0 * (abs(plus - minus) / total)
        if count < n:
            count += 1.0
            value += (dx - value) / count
        else:
            value += (dx - value) * alpha
        if count >= n:
            out[i] = value
    state[0] = bars
    state[1] = previous_high
    state[2] = previous_low
    state[3] = plus
    state[4] = minus
    state[5] = idle
    state[6] = count
    state[7] = value


def log_returns(x: Floats, out: Floats) -> None:
    """Fill log(x[i + 1] / x[i]); NaN where a price is missing or not positive. `out` is one shorter than x."""
    for i in range(len(out)):
        previous = x[i]
        price = x[i + 1]
        out[i] = NAN
        if not (previous > 0.0 and price > 0.0):
            continue
        quotient = price / previous
        if not 0.0 < quotient < INF:
            continue
        change = (price - previous) / previous
        # log1p keeps all digits of a small move; far below, price - previous would round to -previous
        out[i] = math.log1p(change) if change > -0.5 else math.log(quotient)


def hurst_vr(r1: Floats, r2: Floats, r4: Floats, r8: Floats, n: int, out: Floats) -> None:
    """Fill the variance-ratio Hurst exponent of each window of `n` returns; rq are overlapping sums of q returns.

    The formulas are in `batch.hurst_vr`. Each variance ratio is first brought back by half its own variance under
    independent returns, because the logarithm of a noisy number reads low.
    """
    log_2 = math.log(2.0)
    scale = 2.0 * (log_2 * log_2 + (2.0 * log_2) * (2.0 * log_2) + (3.0 * log_2) * (3.0 * log_2))
    for i in range(len(out)):
        out[i] = NAN
        mean = 0.0
        for j in range(n):
            mean += r1[i + j]
        mean /= n
        variance = 0.0
        for j in range(n):
            d = r1[i + j] - mean
            variance += d * d
        variance /= n - 1
        if not 0.0 < variance < INF:
            continue
        sum_2 = 0.0
        for j in range(n - 1):
            d = r2[i + j] - 2.0 * mean
            sum_2 += d * d
        sum_4 = 0.0
        for j in range(n - 3):
            d = r4[i + j] - 4.0 * mean
            sum_4 += d * d
        sum_8 = 0.0
        for j in range(n - 7):
            d = r8[i + j] - 8.0 * mean
            sum_8 += d * d
        ratio_2 = sum_2 / (2.0 * (n - 1) * (1.0 - 2.0 / n)) / variance
        ratio_4 = sum_4 / (4.0 * (n - 3) * (1.0 - 4.0 / n)) / variance
        ratio_8 = sum_8 / (8.0 * (n - 7) * (1.0 - 8.0 / n)) / variance
        if not (ratio_2 > 0.0 and ratio_4 > 0.0 and ratio_8 > 0.0):
            out[i] = 0.0 if (ratio_2 >= 0.0 and ratio_4 >= 0.0 and ratio_8 >= 0.0) else NAN
            continue
        slope = log_2 * (math.log(ratio_2) + 3.0 / (6.0 * n))
        slope += 2.0 * log_2 * (math.log(ratio_4) + 21.0 / (12.0 * n))
        slope += 3.0 * log_2 * (math.log(ratio_8) + 105.0 / (24.0 * n))
        out[i] = min(1.0, max(0.0, 0.5 + slope / scale))


def hurst_rs(r: Floats, n: int, out: Floats) -> None:
    """Fill the classical rescaled-range Hurst exponent of each window of `n` returns.

    Chunks of n//2, n//4, ... down to 8 returns, counted back from the newest; the slope of log(mean R/S) on log(size).
    NaN when a chunk is flat (its R/S is 0/0).
    """
    for i in range(len(out)):
        out[i] = NAN
        sizes = 0
        sum_x = 0.0
        sum_y = 0.0
        sum_xx = 0.0
        sum_xy = 0.0
        is_defined = r[i] == r[i]  # with an odd n no chunk reads the oldest return, which may be missing all the same
        size = n // 2
        while size >= SMALLEST_CHUNK and is_defined:
            chunks = n // size
            total = 0.0
            for chunk in range(chunks):
                first = i + n - (chunk + 1) * size
                mean = 0.0
                for j in range(size):
                    mean += r[first + j]
                mean /= size
                path = 0.0
                highest = 0.0
                lowest = 0.0
                squares = 0.0
                for j in range(size):
                    d = r[first + j] - mean
                    path += d
                    highest = max(highest, path)
                    lowest = min(lowest, path)
                    squares += d * d
                if not 0.0 < squares < INF:
                    is_defined = False
                    break
                total += (highest - lowest) / math.sqrt(squares / size)
            if is_defined:
                x = math.log(size)
                y = math.log(total / chunks)
                sizes += 1
                sum_x += x
                sum_y += y
                sum_xx += x * x
                sum_xy += x * y
            size //= 2
        if is_defined:
            out[i] = (sizes * sum_xy - sum_x * sum_y) / (sizes * sum_xx - sum_x * sum_x)
