"""How many bars an indicator needs before its start no longer shows.

An indicator with a memory never quite forgets where its history began. `warmup` is the number of bars after which that
start weighs less than 1e-9; `decision_window` is the fixed number of bars every decision is computed from, so that its
value depends on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from perp_bot.indicators.row import IndicatorParams

FORGOTTEN = 1e-9
_WINDOW_STEP = 128


def _first(weight: Callable[[int], float]) -> int:
    """Return the first k from which the weight, once falling, is below `FORGOTTEN`."""
    k = 1
    while weight(k) >= FORGOTTEN:
        k += 1
    return k


@lru_cache(maxsize=256)
def wilder_memory(n: int) -> int:
    """Return the bars after which a value in Wilder's average over `n` weighs less than 1e-9 (14: 280)."""
    return _first(lambda k: ((n - 1) / n) ** k)


@lru_cache(maxsize=256)
def ema_memory(n: int) -> int:
    """Return the bars after which a value in an EMA over `n` weighs less than 1e-9 (20: 208)."""
    return _first(lambda k: (1.0 - 2.0 / (n + 1)) ** k)


def rsi_bars(n: int) -> int:
    """Return the warm-up of RSI: n changes as seed, then Wilder's memory (14: 295)."""
    return n + 1 + wilder_memory(n)


def atr_bars(n: int) -> int:
    """Return the warm-up of ATR (14: 295)."""
    return n + 1 + wilder_memory(n)


def adx_bars(n: int) -> int:
    """Return the warm-up of ADX (14: 387).

    Two averages in a row: an error in the movement sums fades by a = (n-1)/n a bar, DX passes it on up to n times
    larger (it is a ratio), and the second average collects it: at most (k + 1) a^k after k bars.
    """
    keep = (n - 1) / n
    return 2 * n + _first(lambda k: (k + 1) * keep**k)


def ema_bars(n: int) -> int:
    """Return the warm-up of an EMA seeded by the mean of the first n (20: 228)."""
    return n + ema_memory(n)


def macd_bars(fast: int, slow: int, signal: int) -> int:
    """Return the warm-up of MACD, its signal line included: the two memories in a row (12, 26, 9: 397)."""
    return slow + signal + max(ema_memory(fast), ema_memory(slow)) + ema_memory(signal)


def bars_by_value(params: IndicatorParams) -> dict[str, int]:
    """Return the warm-up in bars of each value of an `IndicatorRow`; for windows, the bars the window spans."""
    macd = macd_bars(params.macd_fast, params.macd_slow, params.macd_signal)
    return {
        "zscore": params.zscore_lookback,
        "bb_upper": params.bollinger_period,
        "bb_middle": params.bollinger_period,
        "bb_lower": params.bollinger_period,
        "rsi": rsi_bars(params.rsi_period),
        "adx": adx_bars(params.adx_period),
        "atr": atr_bars(params.atr_period),
        "ema": ema_bars(params.ema_period),
        "macd": macd,
        "macd_signal": macd,
        "macd_histogram": macd,
        "macd_histogram_before": macd + 1,
        "realized_vol": params.vol_period + 1,
        "hurst": params.hurst_period + 1,
        "hurst_rs": params.hurst_period + 1,
        "volume_mean": params.volume_period,
    }


@lru_cache(maxsize=256)
def warmup(params: IndicatorParams) -> int:
    """Return the bars until the start weighs less than 1e-9 in every indicator of the set."""
    return max(bars_by_value(params).values())


@lru_cache(maxsize=256)
def decision_window(params: IndicatorParams) -> int:
    """Return the bars every decision is computed from: `warmup` rounded up to a multiple of 128 (defaults: 512)."""
    return math.ceil(warmup(params) / _WINDOW_STEP) * _WINDOW_STEP
