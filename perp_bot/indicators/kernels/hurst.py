"""Log returns, and the Hurst exponents of their windows."""

from __future__ import annotations

import math

from perp_bot.indicators.kernels.columns import INF, NAN, Floats

SMALLEST_CHUNK = 8  # shorter chunks make R/S read mostly its own small-sample bias


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
