"""The indicator values a decision is made on: those of the newest bar, from a window of fixed length."""

from __future__ import annotations

import math

import numpy as np

from perp_bot.indicators import compiled
from perp_bot.indicators.batch import Prices, overlapping_sums
from perp_bot.indicators.compiled import Column, Kernels
from perp_bot.indicators.kernels.averages import ATR_STATE, EMA_STATE, MACD_SCRATCH, MACD_STATE
from perp_bot.indicators.kernels.wilder import ADX_STATE, RSI_STATE
from perp_bot.indicators.kernels.windows import moments_scratch
from perp_bot.indicators.row import IndicatorParams, IndicatorRow
from perp_bot.indicators.warmup import decision_window, wilder_memory


def decision_row(
    high: Prices, low: Prices, close: Prices, params: IndicatorParams, volume: Prices | None = None
) -> IndicatorRow:
    """Return the values at the last bar, computed from exactly the last `decision_window(params)` bars.

    Never waits for the compiler: the kernels run interpreted until the compiled ones are loaded, with the same bits.
    The values depend on nothing before the window, so a restarted daemon and a backtest get the identical row.

    None where a value is undefined. Values with a window of their own (z-score, bands, volatility, Hurst) need that
    window only; those with a memory (RSI, ADX, ATR, EMA, MACD) need the whole decision window, every bar of it finite.
    ValueError when the columns differ in length.
    """
    if not len(high) == len(low) == len(close):
        raise ValueError(f"high, low and close have {len(high)}, {len(low)} and {len(close)} bars; expected the same")
    if len(close) == 0:
        return IndicatorRow()
    bars = decision_window(params)
    kernel = compiled.active()
    window = np.empty((3, min(bars, len(close))))
    for place, prices in enumerate((high, low, close)):
        tail = prices[-bars:]
        # from a list, fromiter is a third faster than assignment
        window[place] = tail if isinstance(tail, np.ndarray) else np.fromiter(tail, np.float64, len(tail))
    is_whole = bool(np.isfinite(window).all())
    highs, lows, closes = window
    values = _windowed(kernel, closes, params)
    if is_whole and len(closes) == bars:
        values |= _remembering(kernel, highs, lows, closes, params)
    if volume is not None:
        values["volume_mean"] = volume_mean(kernel, np.array(volume[-params.volume_period :], np.float64), params)
    return IndicatorRow(**{name: defined(value) for name, value in values.items()})


def volume_mean(kernel: Kernels, volumes: Column, params: IndicatorParams) -> float:
    """Return the mean of the last `volume_period` volumes; NaN where there are fewer or one is missing."""
    offset, _ = _moments(kernel, volumes, params.volume_period)
    return float(volumes[-1]) + offset if len(volumes) else math.nan


def defined(value: float) -> float | None:
    """Return the value, or None for NaN."""
    return value if value == value else None


def _windowed(kernel: Kernels, closes: Column, params: IndicatorParams) -> dict[str, float]:
    """Return, by name, the values with a window of their own; NaN where fewer bars are there or one is missing."""
    spanned = closes[-(max(params.hurst_period, params.vol_period) + 1) :]
    returns = np.empty(len(spanned) - 1)
    kernel.log_returns(spanned, returns)
    upper, middle, lower = _bands(kernel, closes, params.bollinger_period, params.bollinger_std)
    hurst, hurst_rs = _hurst(kernel, returns, params.hurst_period)
    return {
        "zscore": _zscore(kernel, closes, params.zscore_lookback),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "realized_vol": _moments(kernel, returns, params.vol_period)[1],
        "hurst": hurst,
        "hurst_rs": hurst_rs,
    }


def _zscore(kernel: Kernels, closes: Column, n: int) -> float:
    out = np.full(1, np.nan)
    if len(closes) >= n:
        kernel.zscore(closes[len(closes) - n :], n, np.empty(moments_scratch(n)), out)
    return float(out[0])


def _bands(kernel: Kernels, closes: Column, n: int, k: float) -> tuple[float, float, float]:
    """Return upper, middle and lower band."""
    upper, middle, lower = np.full((3, 1), np.nan)
    if len(closes) >= n:
        kernel.bollinger(closes[len(closes) - n :], n, k, np.empty(moments_scratch(n)), upper, middle, lower)
    return float(upper[0]), float(middle[0]), float(lower[0])


def _hurst(kernel: Kernels, returns: Column, n: int) -> tuple[float, float]:
    """Return the exponent from variance ratios, and from rescaled ranges."""
    by_variance, by_range = np.full((2, 1), np.nan)
    if len(returns) >= n:
        window = returns[len(returns) - n :]
        kernel.hurst_vr(window, *overlapping_sums(window), n, by_variance)
        kernel.hurst_rs(window, n, by_range)
    return float(by_variance[0]), float(by_range[0])


def _moments(kernel: Kernels, values: Column, n: int) -> tuple[float, float]:
    """Return mean minus newest, and sigma, of the last `n` values; NaN where there are fewer."""
    out = np.full(2, np.nan)
    if len(values) >= n:
        scratch = np.empty(moments_scratch(n))
        kernel.window_moments(values[len(values) - n :], n, scratch, out[:1], out[1:])
    return float(out[0]), float(out[1])


def _remembering(
    kernel: Kernels, highs: Column, lows: Column, closes: Column, params: IndicatorParams
) -> dict[str, float]:
    out = np.empty(len(closes))
    n = params.rsi_period
    kernel.rsi(closes, n, wilder_memory(n), np.zeros(RSI_STATE), out)
    rsi = float(out[-1])
    n = params.adx_period
    kernel.adx(highs, lows, closes, n, wilder_memory(n), np.zeros(ADX_STATE), out)
    adx = float(out[-1])
    kernel.atr(highs, lows, closes, params.atr_period, np.zeros(ATR_STATE), out)
    atr = float(out[-1])
    kernel.ema(closes, params.ema_period, 2.0 / (params.ema_period + 1), np.zeros(EMA_STATE), out)
    average = float(out[-1])
    line, signal, histogram = np.empty((3, len(closes)))
    state = np.zeros(MACD_STATE)
    spans = (params.macd_fast, params.macd_slow, params.macd_signal)
    kernel.macd(closes, *spans, state, np.empty(MACD_SCRATCH), line, signal, histogram)
    return {
        "rsi": rsi,
        "adx": adx,
        "atr": atr,
        "ema": average,
        "macd": float(line[-1]),
        "macd_signal": float(signal[-1]),
        "macd_histogram": float(histogram[-1]),
        "macd_histogram_before": float(histogram[-2]) if len(histogram) > 1 else math.nan,
    }
