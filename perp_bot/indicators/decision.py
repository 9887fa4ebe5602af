"""The indicator values a decision is made on: those of the newest bar, from a window of fixed length."""

from __future__ import annotations

import math

import numpy as np

from perp_bot.indicators import compiled, kernels
from perp_bot.indicators.batch import Prices, overlapping_sums
from perp_bot.indicators.compiled import Column, Kernels
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
    is_finite = np.isfinite(window)
    is_whole = bool(is_finite.all())
    if not is_whole:
        window[~is_finite] = np.nan
    highs, lows, closes = window
    values = _windowed(kernel, closes, params)
    if is_whole and len(closes) == bars:
        values |= _remembering(kernel, highs, lows, closes, params)
    if volume is not None:
        values["volume_mean"] = volume_mean(kernel, np.array(volume[-params.volume_period :], np.float64), params)
    return IndicatorRow(**{name: defined(value) for name, value in values.items()})


def volume_mean(kernel: Kernels, volumes: Column, params: IndicatorParams) -> float:
    """Return the mean of the last `volume_period` volumes; NaN where there are fewer or one is missing."""
    volumes[~np.isfinite(volumes)] = np.nan
    offset, _ = _moments(kernel, volumes, params.volume_period, np.empty(2))
    return float(volumes[-1]) + offset if len(volumes) else math.nan


def defined(value: float) -> float | None:
    """Return the value, or None for NaN."""
    return value if value == value else None


def score(offset: float, sigma: float) -> float:
    """Return the z-score from `window_moments`; NaN for a flat window."""
    return (0.0 - offset) / sigma if 0.0 < sigma < math.inf else math.nan


def bands(price: float, offset: float, sigma: float, k: float) -> tuple[float, float, float]:
    """Return the upper, middle and lower band from `window_moments`."""
    middle = price + offset
    width = k * sigma
    return middle + width, middle, middle - width


def window_values(
    kernel: Kernels, closes: Column, returns: Column, params: IndicatorParams, scratch: Column
) -> dict[str, float]:
    """Return, by name, the values with a window of their own; NaN where fewer bars are there or one is missing.

    `closes` and `returns` end at the bar in question; `scratch` has at least two places.
    """
    offset, sigma = _moments(kernel, closes, params.zscore_lookback, scratch)
    zscore = score(offset, sigma)
    if params.bollinger_period != params.zscore_lookback:
        offset, sigma = _moments(kernel, closes, params.bollinger_period, scratch)
    upper, middle, lower = bands(float(closes[-1]), offset, sigma, params.bollinger_std)
    _, volatility = _moments(kernel, returns, params.vol_period, scratch)
    hurst = hurst_rs = math.nan
    n = params.hurst_period
    if len(returns) >= n:
        window = returns[len(returns) - n :]
        out = scratch[:1]
        kernel.hurst_vr(window, *overlapping_sums(window), n, out)
        hurst = float(out[0])
        kernel.hurst_rs(window, n, out)
        hurst_rs = float(out[0])
    return {
        "zscore": zscore,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "realized_vol": volatility,
        "hurst": hurst,
        "hurst_rs": hurst_rs,
    }


def _moments(kernel: Kernels, values: Column, n: int, scratch: Column) -> tuple[float, float]:
    if len(values) < n:
        return math.nan, math.nan
    kernel.window_moments(values[len(values) - n :], n, scratch[:1], scratch[1:2])
    return float(scratch[0]), float(scratch[1])


def _windowed(kernel: Kernels, closes: Column, params: IndicatorParams) -> dict[str, float]:
    spanned = closes[-(max(params.hurst_period, params.vol_period) + 1) :]
    returns = np.empty(len(spanned) - 1)
    kernel.log_returns(spanned, returns)
    return window_values(kernel, closes, returns, params, np.empty(2))


def _remembering(
    kernel: Kernels, highs: Column, lows: Column, closes: Column, params: IndicatorParams
) -> dict[str, float]:
    out = np.empty(len(closes))

    def ema(prices: Column, n: int, into: Column) -> Column:
        kernel.ema(prices, n, 2.0 / (n + 1), np.zeros(kernels.EMA_STATE), into)
        return into

    n = params.rsi_period
    kernel.rsi(closes, n, wilder_memory(n), np.zeros(kernels.RSI_STATE), out)
    rsi = float(out[-1])
    n = params.adx_period
    kernel.adx(highs, lows, closes, n, wilder_memory(n), np.zeros(kernels.ADX_STATE), out)
    adx = float(out[-1])
    kernel.atr(highs, lows, closes, params.atr_period, np.zeros(kernels.ATR_STATE), out)
    atr = float(out[-1])
    average = float(ema(closes, params.ema_period, out)[-1])
    line = ema(closes, params.macd_fast, np.empty(len(closes))) - ema(closes, params.macd_slow, out)
    smooth = ema(line, params.macd_signal, out)
    macd, signal = float(line[-1]), float(smooth[-1])
    before = float(line[-2]) - float(smooth[-2]) if len(line) > 1 else math.nan
    return {
        "rsi": rsi,
        "adx": adx,
        "atr": atr,
        "ema": average,
        "macd": macd,
        "macd_signal": signal,
        "macd_histogram": macd - signal,
        "macd_histogram_before": before,
    }
