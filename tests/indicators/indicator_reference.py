"""Independent formulas for the tests: slow, plain, each window in two passes, each average as its author wrote it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np

NAN = math.nan


@dataclass(frozen=True)
class Candles:
    """Three columns of candles."""

    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


def walk(bars: int, seed: int, step: float = 8.0, tick: float = 0.5, start: float = 60_000.0) -> Candles:
    """Return a seeded walk on a price grid, with highs and lows on the same grid."""
    draw = np.random.default_rng(seed)
    close = start + np.round(np.cumsum(draw.standard_t(4, bars) * step) / tick) * tick
    high = close + np.round(np.abs(draw.standard_normal(bars)) * step / tick) * tick
    low = close - np.round(np.abs(draw.standard_normal(bars)) * step / tick) * tick
    return Candles(high, low, close)


def mean_and_sigma(window: list[float]) -> tuple[float, float]:
    """Return mean and population sigma with correctly rounded sums."""
    mean = math.fsum(window) / len(window)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in window) / len(window))


def windows(values: np.ndarray, n: int) -> list[list[float] | None]:
    """Return the last n values at each bar, None before there are n or while one is missing."""
    rows: list[list[float] | None] = [None] * min(n - 1, len(values))
    for last in range(n - 1, len(values)):
        window = values[last - n + 1 : last + 1].tolist()
        rows.append(window if all(math.isfinite(value) for value in window) else None)
    return rows


def zscore(close: np.ndarray, n: int) -> np.ndarray:
    out = []
    for window in windows(close, n):
        mean, sigma = mean_and_sigma(window) if window else (NAN, NAN)
        out.append((window[-1] - mean) / sigma if window and len(set(window)) > 1 else NAN)
    return np.array(out)


def bollinger(close: np.ndarray, n: int, k: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    moments = [mean_and_sigma(window) if window else (NAN, NAN) for window in windows(close, n)]
    middle = np.array([mean for mean, _ in moments])
    sigma = np.array([sigma for _, sigma in moments])
    return middle + k * sigma, middle, middle - k * sigma


def realized_vol(close: np.ndarray, n: int) -> np.ndarray:
    logs = [Decimal(price).ln() for price in close.tolist()]  # 28 digits: floats would lose those of small moves
    returns = np.array([float(now - before) for before, now in pairwise(logs)])
    return np.array([NAN, *(mean_and_sigma(window)[1] if window else NAN for window in windows(returns, n))])


def ema(close: list[float], n: int) -> list[float]:
    """Textbook form: alpha x price + (1 - alpha) x previous, from the mean of the first n; anew after a NaN."""
    alpha = 2 / (n + 1)
    out: list[float] = []
    run: list[float] = []
    value = NAN
    for price in close:
        run = [] if math.isnan(price) else [*run[-n:], price]
        if len(run) < n:
            value = NAN
        elif math.isnan(value):
            value = math.fsum(run) / n
        else:
            value = alpha * price + (1 - alpha) * value
        out.append(value)
    return out


def wilder_memory(n: int) -> int:
    """Return the bars until (1 - 1/n)^k is below 1e-9, by logarithm."""
    return 1 if n == 1 else math.floor(math.log(1e-9) / math.log(1 - 1 / n)) + 1


def rsi(close: list[float], n: int) -> list[float]:
    """Wilder's averages in his own form; 100 - 100 / (1 + RS); anew after a NaN; forgets when idle for long."""
    memory = wilder_memory(n)
    out: list[float] = []
    previous = NAN
    changes: list[float] = []
    gain = loss = 0.0
    count = idle = 0
    for price in close:
        change = price - previous
        previous = price
        if math.isnan(change):
            changes, gain, loss, count, idle = [], 0.0, 0.0, 0, 0
            out.append(NAN)
            continue
        count += 1
        if count <= n:
            changes.append(change)
            gain = math.fsum(c for c in changes if c > 0) / n
            loss = -math.fsum(c for c in changes if c < 0) / n
        else:
            gain = (gain * (n - 1) + max(change, 0.0)) / n
            loss = (loss * (n - 1) + max(-change, 0.0)) / n
        idle = 0 if change else idle + 1
        if idle >= memory:
            gain = loss = 0.0
        if count < n or gain + loss == 0:
            out.append(NAN)
        else:
            out.append(100.0 if loss == 0 else 100 - 100 / (1 + gain / loss))
    return out


def true_ranges(high: list[float], low: list[float], close: list[float]) -> list[float]:
    """Return the true range of each bar, NaN for the first and where a price is missing."""
    out = [NAN]
    for i in range(1, len(close)):
        parts = (high[i] - low[i], high[i] - close[i - 1], close[i - 1] - low[i])
        out.append(NAN if any(map(math.isnan, (*parts, close[i]))) else max(parts))
    return out


def atr(high: list[float], low: list[float], close: list[float], n: int) -> list[float]:
    """Wilder's form, seeded by the plain mean of n true ranges; anew after a NaN."""
    out: list[float] = []
    seed: list[float] = []
    value = NAN
    for true_range in true_ranges(high, low, close):
        if math.isnan(true_range):
            seed, value = [], NAN
        elif len(seed) < n:
            seed.append(true_range)
            value = math.fsum(seed) / n if len(seed) == n else NAN
        else:
            value = (value * (n - 1) + true_range) / n
        out.append(value)
    return out


def adx(high: list[float], low: list[float], close: list[float], n: int) -> list[float]:
    """Wilder's full form, through +DI and -DI with the smoothed true range, which must cancel."""
    memory = wilder_memory(n)
    ranges = true_ranges(high, low, close)
    out: list[float] = []
    plus = minus = smooth_range = 0.0
    count = idle = 0
    directions: list[float] = []
    value = NAN
    for i, true_range in enumerate(ranges):
        out.append(NAN)
        if math.isnan(true_range):
            plus = minus = smooth_range = 0.0
            count = idle = 0
            directions, value = [], NAN
            continue
        count += 1
        up, down = high[i] - high[i - 1], low[i - 1] - low[i]
        plus_move = up if up > max(down, 0) else 0.0
        minus_move = down if down > max(up, 0) else 0.0
        if count <= n:
            plus, minus, smooth_range = plus + plus_move, minus + minus_move, smooth_range + true_range
        else:
            plus = plus - plus / n + plus_move
            minus = minus - minus / n + minus_move
            smooth_range = smooth_range - smooth_range / n + true_range
        idle = idle + 1 if plus_move == minus_move == 0 else 0
        if idle >= memory:
            plus = minus = 0.0
            directions, value = [], NAN
        if count < n or plus + minus == 0:
            continue
        plus_di, minus_di = 100 * plus / smooth_range, 100 * minus / smooth_range
        dx = 100 * abs(plus_di - minus_di) / (plus_di + minus_di)
        if len(directions) < n:
            directions.append(dx)
            value = math.fsum(directions) / n if len(directions) == n else NAN
        else:
            value = (value * (n - 1) + dx) / n
        out[-1] = value
    return out


def hurst_vr(close: np.ndarray, n: int) -> float:
    """Lo and MacKinlay's overlapping variance ratios of the last n returns, from differences of log prices."""
    path = np.log(close[-n - 1 :])
    drift = (path[-1] - path[0]) / n
    one = ((np.diff(path) - drift) ** 2).sum() / (n - 1)
    top = bottom = 0.0
    for q in (2, 4, 8):
        sums = ((path[q:] - path[:-q] - q * drift) ** 2).sum()
        ratio = sums / (q * (n - q + 1) * (1 - q / n)) / one
        top += math.log(q) * (math.log(ratio) + (2 * q - 1) * (q - 1) / (3 * q * n))
        bottom += 2 * math.log(q) ** 2
    return min(1.0, max(0.0, 0.5 + top / bottom))


def hurst_rs(close: np.ndarray, n: int) -> float:
    """Rescaled ranges of chunks of n/2, n/4, ... >= 8 returns; least-squares slope by numpy."""
    returns = np.diff(np.log(close[-n - 1 :]))
    sizes = []
    size = n // 2
    while size >= 8:
        sizes.append(size)
        size //= 2
    heights = []
    for size in sizes:
        chunks = returns[len(returns) - n // size * size :].reshape(-1, size)
        paths = np.cumsum(chunks - chunks.mean(axis=1, keepdims=True), axis=1)
        spans = np.maximum(paths.max(axis=1), 0) - np.minimum(paths.min(axis=1), 0)
        heights.append(math.log((spans / chunks.std(axis=1)).mean()))
    return float(np.polyfit(np.log(sizes), heights, 1)[0])
