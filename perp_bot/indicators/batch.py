"""Indicators over a whole series: float64 columns in, float64 columns of the same length out, NaN until defined.

All run compiled (the first call of each loads its kernel: 0.5 s in all, or several on a cold cache). A number that is
not finite counts as missing. The value at bar i is computed from bars up to i alone. `kernels` says what a missing bar
does: indicators with a window are NaN while it is inside, those with a memory (EMA, MACD, ATR, RSI, ADX) start anew
after it. Where `out` is given the values are written there and it is returned, which saves most of the time: to be
given new memory costs more than the arithmetic. It is contiguous float64 of the length of the prices, apart from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from perp_bot.indicators import compiled
from perp_bot.indicators.compiled import Column, Kernels
from perp_bot.indicators.kernels.averages import ATR_STATE, EMA_STATE, MACD_SCRATCH, MACD_STATE
from perp_bot.indicators.kernels.wilder import ADX_STATE, RSI_STATE
from perp_bot.indicators.kernels.windows import moments_scratch
from perp_bot.indicators.row import LEAST_HURST_PERIOD, IndicatorParams, IndicatorRow, check_period
from perp_bot.indicators.warmup import wilder_memory

Prices = Sequence[float] | NDArray[np.float64]
Columns = tuple[Column, Column, Column]


def zscore(close: Prices, n: int, out: Column | None = None) -> Column:
    """Return (close - mean) / sigma of the last n closes, population sigma; NaN where they are all equal.

    Worked example: closes 1, 2, 3, 4 with n = 4: mean 2.5, sigma sqrt(1.25), z = 1.5 / 1.118 = 1.3416.
    """
    check_period("n", n, 2)
    return _zscore(compiled.on_demand(), column(close), n, out)


def bollinger(close: Prices, n: int, k: float, out: Columns | None = None) -> Columns:
    """Return upper, middle and lower band: the mean of n closes, plus and minus k population sigmas.

    In a flat market all three are the price. close > upper is the same condition as z > k when n is the same.
    """
    check_period("n", n, 2)
    return _bollinger(compiled.on_demand(), column(close), n, k, out)


def scores_and_bands(
    close: Prices, n: int, k: float, out: tuple[Column, Column, Column, Column] | None = None
) -> tuple[Column, Column, Column, Column]:
    """Return z-score, upper, middle and lower band of the last n closes: those of `zscore` and `bollinger`, faster."""
    check_period("n", n, 2)
    return _scores_and_bands(compiled.on_demand(), column(close), n, k, out)


def sma(close: Prices, n: int) -> Column:
    """Return the plain mean of the last n closes."""
    check_period("n", n)
    prices = column(close)
    offset, _ = _moments(compiled.on_demand(), prices, n)
    return prices + offset


def ema(close: Prices, n: int, out: Column | None = None) -> Column:
    """Return the exponential average with alpha 2 / (n + 1), seeded by the mean of the first n closes."""
    check_period("n", n)
    return _ema(compiled.on_demand(), column(close), n, out)


def macd(close: Prices, fast: int = 12, slow: int = 26, signal: int = 9, out: Columns | None = None) -> Columns:
    """Return MACD (EMA fast - EMA slow), its signal line (EMA of MACD) and the histogram (MACD - signal).

    Every EMA is seeded by the mean of its own first values; TA-Lib starts the fast one later, which fades in warm-up.
    """
    for name, period in (("fast", fast), ("slow", slow), ("signal", signal)):
        check_period(name, period)
    if fast >= slow:
        raise ValueError(f"fast is {fast}; allowed: below slow ({slow})")
    return _macd(compiled.on_demand(), column(close), fast, slow, signal, out)


def rsi(close: Prices, n: int, out: Column | None = None) -> Column:
    """Return Wilder's relative strength index, 0 to 100.

    100 x gains / (gains + losses), both Wilder averages seeded by the plain mean of the first n changes (J. Welles
    Wilder, New Concepts in Technical Trading Systems, 1978). NaN in a flat market: no change at all so far, or none
    for so long (`warmup.wilder_memory`) that earlier ones weigh less than 1e-9.
    """
    check_period("n", n)
    return _rsi(compiled.on_demand(), column(close), n, out)


def adx(high: Prices, low: Prices, close: Prices, n: int, out: Column | None = None) -> Column:
    """Return Wilder's average directional index, 0 to 100 (source as for RSI).

    First defined at bar 2n - 1. The true range cancels out of DX, so `close` only tells that a bar is missing. NaN
    while there is no directional movement, or none for `warmup.wilder_memory` bars; it then starts anew.
    """
    check_period("n", n)
    return _adx(compiled.on_demand(), *columns(high, low, close), n, out)


def atr(high: Prices, low: Prices, close: Prices, n: int, out: Column | None = None) -> Column:
    """Return Wilder's average true range in price units, seeded by the mean of the first n true ranges (bar n)."""
    check_period("n", n)
    return _atr(compiled.on_demand(), *columns(high, low, close), n, out)


def realized_vol(close: Prices, n: int) -> Column:
    """Return the population standard deviation of the last n log returns, per bar; 0.0 in a flat market.

    Per year: multiply by sqrt(core.timeframes.periods_per_year(timeframe)), for 15m sqrt(35,040) = 187.2.
    """
    check_period("n", n, 2)
    kernel = compiled.on_demand()
    return _realized_vol(kernel, _log_returns(kernel, column(close)), n)


def hurst_vr(close: Prices, n: int) -> Column:
    """Return the Hurst exponent of the last n log returns from variance ratios: 0.50 on a random walk of any n >= 64.

    Below 0.5 prices revert, above they trend. For lags q = 2, 4, 8 the variance of q-bar returns over q times that of
    1-bar returns, with overlap and the unbiased denominators of Lo and MacKinlay (1988, eq. 12-13), is q^(2H - 1). Half
    its variance under independence, (2q - 1)(q - 1) / (3qn), is added to its logarithm (a noisy number's logarithm
    reads low), and H - 1/2 is half the slope through the origin against log q. Clipped to 0..1. One window of 100 has a
    standard error of 0.07: averaging or a long n is needed before a reading means anything. NaN where nothing moved.
    """
    check_period("n", n, LEAST_HURST_PERIOD)
    kernel = compiled.on_demand()
    return _hurst_vr(kernel, _log_returns(kernel, column(close)), n)


def hurst_rs(close: Prices, n: int) -> Column:
    """Return the classical rescaled-range (Hurst 1951, Mandelbrot) exponent of the last n log returns.

    It is biased: on a random walk it reads 0.58 at n = 100, not 0.5 (0.60 at 64, 0.56 at 400), with a standard error of
    0.11, because short chunks overstate R/S. Compare readings with those figures, or use `hurst_vr`. NaN where a
    chunk is flat.
    """
    check_period("n", n, LEAST_HURST_PERIOD)
    kernel = compiled.on_demand()
    return _hurst_rs(kernel, _log_returns(kernel, column(close)), n)


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorSet:
    """All columns of the set, named as in `IndicatorRow`, one value a bar."""

    zscore: Column
    bb_upper: Column
    bb_middle: Column
    bb_lower: Column
    rsi: Column
    adx: Column
    atr: Column
    ema: Column
    macd: Column
    macd_signal: Column
    macd_histogram: Column
    realized_vol: Column
    hurst: Column
    hurst_rs: Column
    macd_histogram_before: Column
    volume_mean: Column

    def row(self, bar: int) -> IndicatorRow:
        """Return the values at one bar (negative counts from the end), None where undefined."""
        values = {item.name: float(getattr(self, item.name)[bar]) for item in fields(self)}
        return IndicatorRow(**{name: value if value == value else None for name, value in values.items()})


def indicator_set(
    high: Prices, low: Prices, close: Prices, params: IndicatorParams | None = None, volume: Prices | None = None
) -> IndicatorSet:
    """Return every column of the set at once, each as its own function's; without volume its mean is NaN."""
    params = params or IndicatorParams()
    volumes = None if volume is None else column(volume)
    return set_columns(compiled.on_demand(), *columns(high, low, close), params, volumes)


def volume_mean(volume: Prices, n: int) -> Column:
    """Return the mean of the last `n` volumes, each window from its own values alone."""
    check_period("n", n)
    return _volume_mean(compiled.on_demand(), column(volume), n)


def set_columns(
    kernel: Kernels,
    highs: Column,
    lows: Column,
    closes: Column,
    params: IndicatorParams,
    volumes: Column | None = None,
) -> IndicatorSet:
    """Return the set computed by the given kernels from columns as `columns` makes them."""
    bars = len(closes)
    if params.zscore_lookback == params.bollinger_period:
        z, upper, middle, lower = _scores_and_bands(kernel, closes, params.bollinger_period, params.bollinger_std)
    else:
        z = _zscore(kernel, closes, params.zscore_lookback)
        upper, middle, lower = _bollinger(kernel, closes, params.bollinger_period, params.bollinger_std)
    line, signal, histogram = _macd(kernel, closes, params.macd_fast, params.macd_slow, params.macd_signal)
    returns = _log_returns(kernel, closes)
    return IndicatorSet(
        zscore=z,
        bb_upper=upper,
        bb_middle=middle,
        bb_lower=lower,
        rsi=_rsi(kernel, closes, params.rsi_period),
        adx=_adx(kernel, highs, lows, closes, params.adx_period),
        atr=_atr(kernel, highs, lows, closes, params.atr_period),
        ema=_ema(kernel, closes, params.ema_period),
        macd=line,
        macd_signal=signal,
        macd_histogram=histogram,
        realized_vol=_realized_vol(kernel, returns, params.vol_period),
        hurst=_hurst_vr(kernel, returns, params.hurst_period),
        hurst_rs=_hurst_rs(kernel, returns, params.hurst_period),
        macd_histogram_before=np.concatenate((np.full(min(1, bars), np.nan), histogram[:-1])),
        volume_mean=_blank(bars) if volumes is None else _volume_mean(kernel, volumes, params.volume_period),
    )


def column(values: Prices) -> Column:
    """Return the values as a contiguous float64 column that kernels can take: itself where it is one, else a copy."""
    own = np.require(values, np.float64, ["C", "A", "W"])
    if own.ndim != 1:
        raise ValueError(f"prices have {own.ndim} dimensions; expected one column")
    return own


def columns(high: Prices, low: Prices, close: Prices) -> tuple[Column, Column, Column]:
    """Return the three columns as kernels can take them; ValueError when their lengths differ."""
    if not len(high) == len(low) == len(close):
        raise ValueError(f"high, low and close have {len(high)}, {len(low)} and {len(close)} bars; expected the same")
    return column(high), column(low), column(close)


def _blank(bars: int) -> Column:
    return np.full(bars, np.nan)


def _own(out: Column | None, prices: tuple[Column, ...], blank: int = 0) -> Column:
    """Return the column to fill, a new one where none is given, NaN in the first `blank` bars and unset from there."""
    own = np.empty(len(prices[0])) if out is None else _checked(out, prices)
    own[:blank] = np.nan
    return own


def _owns(out: tuple[Column, ...] | None, prices: tuple[Column, ...], count: int, blank: int = 0) -> tuple[Column, ...]:
    """Return `count` columns to fill, as `_own` does."""
    if out is None:
        owns = tuple(np.empty((count, len(prices[0]))))  # one block of memory is had faster than three
    else:
        owns = tuple(_checked(each, (*prices, *out[:place])) for place, each in enumerate(out))
    for each in owns:
        each[:blank] = np.nan
    return owns


def _checked(out: Column, others: tuple[Column, ...]) -> Column:
    """Return `out` where values can be written; ValueError where not, or where it lies in one of the others."""
    bars = len(others[0])
    if out.dtype != np.float64 or out.shape != (bars,) or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out is {out.dtype} of shape {out.shape}; expected a contiguous float64 column of {bars} bars"
        )
    if any(np.may_share_memory(out, other) for other in others):
        raise ValueError("out shares memory with the prices or another column of out; expected a place of its own")
    return out


def _moments(kernel: Kernels, prices: Column, n: int) -> tuple[Column, Column]:
    offset, sigma = _own(None, (prices,), n - 1), _own(None, (prices,), n - 1)
    if len(prices) >= n:
        kernel.window_moments(prices, n, np.empty(moments_scratch(n)), offset[n - 1 :], sigma[n - 1 :])
    return offset, sigma


def _zscore(kernel: Kernels, prices: Column, n: int, out: Column | None = None) -> Column:
    out = _own(out, (prices,), n - 1)
    if len(prices) >= n:
        kernel.zscore(prices, n, np.empty(moments_scratch(n)), out[n - 1 :])
    return out


def _bollinger(kernel: Kernels, prices: Column, n: int, k: float, out: Columns | None = None) -> Columns:
    upper, middle, lower = _owns(out, (prices,), 3, n - 1)
    if len(prices) >= n:
        scratch = np.empty(moments_scratch(n))
        kernel.bollinger(prices, n, k, scratch, upper[n - 1 :], middle[n - 1 :], lower[n - 1 :])
    return upper, middle, lower


def _scores_and_bands(
    kernel: Kernels, prices: Column, n: int, k: float, out: tuple[Column, Column, Column, Column] | None = None
) -> tuple[Column, Column, Column, Column]:
    z, upper, middle, lower = _owns(out, (prices,), 4, n - 1)
    if len(prices) >= n:
        places = (each[n - 1 :] for each in (z, upper, middle, lower))
        kernel.scores_and_bands(prices, n, k, np.empty(moments_scratch(n)), *places)
    return z, upper, middle, lower


def _rsi(kernel: Kernels, prices: Column, n: int, out: Column | None = None) -> Column:
    out = _own(out, (prices,))
    kernel.rsi(prices, n, wilder_memory(n), np.zeros(RSI_STATE), out)
    return out


def _adx(kernel: Kernels, highs: Column, lows: Column, closes: Column, n: int, out: Column | None = None) -> Column:
    out = _own(out, (highs, lows, closes))
    kernel.adx(highs, lows, closes, n, wilder_memory(n), np.zeros(ADX_STATE), out)
    return out


def _atr(kernel: Kernels, highs: Column, lows: Column, closes: Column, n: int, out: Column | None = None) -> Column:
    out = _own(out, (highs, lows, closes))
    kernel.atr(highs, lows, closes, n, np.zeros(ATR_STATE), out)
    return out


def _volume_mean(kernel: Kernels, volumes: Column, n: int) -> Column:
    offset, _ = _moments(kernel, volumes, n)
    return volumes + offset


def _ema(kernel: Kernels, prices: Column, n: int, out: Column | None = None) -> Column:
    out = _own(out, (prices,))
    kernel.ema(prices, n, 2.0 / (n + 1), np.zeros(EMA_STATE), out)
    return out


def _macd(kernel: Kernels, prices: Column, fast: int, slow: int, n: int, out: Columns | None = None) -> Columns:
    line, signal, histogram = _owns(out, (prices,), 3)
    state, scratch = np.zeros(MACD_STATE), np.empty(MACD_SCRATCH)
    kernel.macd(prices, fast, slow, n, state, scratch, line, signal, histogram)
    return line, signal, histogram


def _log_returns(kernel: Kernels, prices: Column) -> Column:
    """Return the log return of each bar, NaN for the first."""
    out = _blank(len(prices))
    kernel.log_returns(prices, out[1:])
    return out


def _realized_vol(kernel: Kernels, returns: Column, n: int) -> Column:
    _, sigma = _moments(kernel, returns, n)
    return sigma


def _hurst_vr(kernel: Kernels, returns: Column, n: int) -> Column:
    out = _blank(len(returns))
    if len(returns) >= n:
        kernel.hurst_vr(returns, *overlapping_sums(returns), n, out[n - 1 :])
    return out


def _hurst_rs(kernel: Kernels, returns: Column, n: int) -> Column:
    out = _blank(len(returns))
    if len(returns) >= n:
        kernel.hurst_rs(returns, n, out[n - 1 :])
    return out


def overlapping_sums(returns: Column) -> tuple[Column, Column, Column]:
    """Return the overlapping sums of 2, 4 and 8 returns."""
    two = returns[:-1] + returns[1:]
    four = two[:-2] + two[2:]
    return two, four, four[:-4] + four[4:]
