"""The indicator set kept up to date candle by candle, with the bits of the batch columns from the same start."""

from __future__ import annotations

import math

import numpy as np

from perp_bot.indicators import compiled, kernels
from perp_bot.indicators.compiled import Column, Kernels
from perp_bot.indicators.decision import defined, volume_mean, window_values
from perp_bot.indicators.row import IndicatorParams, IndicatorRow
from perp_bot.indicators.warmup import wilder_memory

_SPARE = 1024  # bars appended before a tail is moved back to the front of its buffer


class _Tail:
    """The last values of a growing column, always contiguous."""

    __slots__ = ("_buffer", "_end", "_length")

    def __init__(self, length: int) -> None:
        self._length = length
        self._buffer: Column = np.empty(length + _SPARE)
        self._end = 0

    def append(self, value: float) -> None:
        if self._end == len(self._buffer):
            self._buffer[: self._length] = self._buffer[self._end - self._length :].copy()
            self._end = self._length
        self._buffer[self._end] = value
        self._end += 1

    def last(self, length: int) -> Column:
        """Return a view of the last `length` values, fewer at the start; valid until the next append."""
        return self._buffer[max(0, self._end - length) : self._end]


class _Ema:
    """One exponential average."""

    __slots__ = ("_alpha", "_kernel", "_n", "_state")

    def __init__(self, kernel: Kernels, n: int) -> None:
        self._kernel = kernel.ema
        self._n = n
        self._alpha = 2.0 / (n + 1)
        self._state: Column = np.zeros(kernels.EMA_STATE)

    def update(self, value: Column, out: Column) -> float:
        self._kernel(value, self._n, self._alpha, self._state, out)
        return float(out[0])


class StreamingSet:
    """The set of one series. Runs compiled if the kernels are loaded when it is made, else interpreted, same bits."""

    def __init__(self, params: IndicatorParams | None = None) -> None:
        self.params = params or IndicatorParams()
        self.bars = 0
        self._kernel = compiled.active()
        self._longest_return = max(self.params.vol_period, self.params.hurst_period)
        self._longest_close = max(2, self.params.zscore_lookback, self.params.bollinger_period)
        self._closes = _Tail(self._longest_close)
        self._volumes = _Tail(self.params.volume_period)
        self._histogram = math.nan  # of the candle before
        self._returns = _Tail(self._longest_return)
        self._rsi_state: Column = np.zeros(kernels.RSI_STATE)
        self._adx_state: Column = np.zeros(kernels.ADX_STATE)
        self._atr_state: Column = np.zeros(kernels.ATR_STATE)
        self._ema = _Ema(self._kernel, self.params.ema_period)
        self._fast = _Ema(self._kernel, self.params.macd_fast)
        self._slow = _Ema(self._kernel, self.params.macd_slow)
        self._signal = _Ema(self._kernel, self.params.macd_signal)
        self._high: Column = np.empty(1)
        self._low: Column = np.empty(1)
        self._close: Column = np.empty(1)
        self._line: Column = np.empty(1)
        self._out: Column = np.empty(1)
        self._scratch: Column = np.empty(2)

    def update(self, high: float, low: float, close: float, volume: float = math.nan) -> IndicatorRow:
        """Take one closed candle and return the values at it; a number that is not finite counts as missing."""
        price = _finite(close)
        self._high[0] = _finite(high)
        self._low[0] = _finite(low)
        self._close[0] = price
        self.bars += 1
        self._closes.append(price)
        if self.bars > 1:
            self._kernel.log_returns(self._closes.last(2), self._out)
            self._returns.append(float(self._out[0]))
        closes = self._closes.last(self._longest_close)
        returns = self._returns.last(self._longest_return)
        values = window_values(self._kernel, closes, returns, self.params, self._scratch)
        values |= self._remembering()
        self._volumes.append(_finite(volume))
        values["volume_mean"] = volume_mean(
            self._kernel, self._volumes.last(self.params.volume_period).copy(), self.params
        )
        return IndicatorRow(**{name: defined(value) for name, value in values.items()})

    def _remembering(self) -> dict[str, float]:
        params, kernel, out = self.params, self._kernel, self._out
        n = params.rsi_period
        kernel.rsi(self._close, n, wilder_memory(n), self._rsi_state, out)
        rsi = float(out[0])
        n = params.adx_period
        kernel.adx(self._high, self._low, self._close, n, wilder_memory(n), self._adx_state, out)
        adx = float(out[0])
        kernel.atr(self._high, self._low, self._close, params.atr_period, self._atr_state, out)
        atr = float(out[0])
        macd = self._fast.update(self._close, out) - self._slow.update(self._close, out)
        self._line[0] = macd
        signal = self._signal.update(self._line, out)
        before, self._histogram = self._histogram, macd - signal
        return {
            "rsi": rsi,
            "adx": adx,
            "atr": atr,
            "ema": self._ema.update(self._close, out),
            "macd": macd,
            "macd_signal": signal,
            "macd_histogram": macd - signal,
            "macd_histogram_before": before,
        }


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else math.nan
