"""The seven indicators kept up to date candle by candle, with the bits of the batch columns from the same start.

Compiled only: the first set made loads the kernels (a second; several on a cold cache).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from perp_bot.indicators import compiled, stream_kernels
from perp_bot.indicators.compiled import Column
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.stream_kernels import PLAN, VALUES
from perp_bot.indicators.warmup import wilder_memory

NAMES = (
    "zscore", "bb_upper", "bb_middle", "bb_lower", "rsi", "adx", "atr", "ema", "macd", "macd_signal", "macd_histogram",
)  # fmt: skip


class StreamingSet:
    """The set of one symbol.

    `update(high, low, close)` takes one closed candle; a number that is not finite counts as missing. `values` is a
    view that each update changes: the numbers in the order of `NAMES`, NaN where undefined.
    """

    __slots__ = ("params", "update", "values")

    def __init__(self, params: IndicatorParams | None = None) -> None:
        self.params = params or IndicatorParams()
        store = _store(stream_kernels.ROOM_OF_ONE, self.params, symbols=1)
        self.values: Column = store[PLAN : PLAN + VALUES]
        # no method around it: one more call would cost as much as the arithmetic
        self.update: partial[None] = partial(compiled.streams().one, store)


class StreamingSets:
    """The sets of many symbols, all brought up to date in one call.

    `values` is a view that each update changes: a row for each of `NAMES`, a place for each symbol, NaN
    where undefined.
    """

    __slots__ = ("_store", "_take", "params", "values")

    def __init__(self, symbols: int, params: IndicatorParams | None = None) -> None:
        if symbols < 1:
            raise ValueError(f"symbols is {symbols}; allowed: from 1")
        self.params = params or IndicatorParams()
        self._store = _store(stream_kernels.ROWS_OF_MANY, self.params, symbols)
        self._take = compiled.streams().many
        self.values = self._store[PLAN : PLAN + VALUES * symbols].reshape(VALUES, symbols)

    def update(self, high: Column, low: Column, close: Column) -> None:
        """Take one closed candle of every symbol: three contiguous float64 columns, one place a symbol.

        A number that is not finite counts as missing. ValueError where a column has another length.
        """
        symbols = self.values.shape[1]
        if not len(high) == len(low) == len(close) == symbols:
            raise ValueError(f"high, low and close have {len(high)}, {len(low)} and {len(close)} places, not {symbols}")
        self._take(self._store, high, low, close)


def ring_sizes(n: int) -> list[int]:
    """Return how many sums of 2, 4, 8, ... closes are kept for a window of `n`: as far back as one is read again.

    A sum is read once more to make that of twice the width, and, where the binary digits of n name it, as a part of
    the window, which lies behind the wider parts. Each a power of two.
    """
    sizes = []
    have = n & 1
    width = 2
    while width <= n:
        lags = [width] if 2 * width <= n else [0]
        if n & width:
            lags.append(n - have - width)
        sizes.append(1 << max(lags).bit_length())
        have += n & width
        width *= 2
    return sizes


def _store(rows: int, params: IndicatorParams, symbols: int) -> Column:
    """Return the plan, `rows` rows of state, and those of the closes and their sums, NaN as nothing is known yet."""
    # for the longest window and the three values an average reads
    ring = 1 << (max(4, params.zscore_lookback, params.bollinger_period) - 1).bit_length()
    by_score, by_band = ring_sizes(params.zscore_lookback), ring_sizes(params.bollinger_period)
    is_shared = params.zscore_lookback == params.bollinger_period
    windows = ring + 2 * (sum(by_score) + (0 if is_shared else sum(by_band)))
    store = np.zeros(PLAN + (rows + windows) * symbols)
    store[PLAN : PLAN + VALUES * symbols] = np.nan
    store[PLAN + rows * symbols :] = np.nan
    store[stream_kernels.SIZES :][: len(by_score)] = by_score
    store[stream_kernels.SIZES + stream_kernels.LEVELS :][: len(by_band)] = by_band
    store[stream_kernels.ZSCORE_ROWS] = 2 * sum(by_score)
    store[stream_kernels.ZSCORE_N] = params.zscore_lookback
    store[stream_kernels.BAND_N] = params.bollinger_period
    store[stream_kernels.BAND_K] = params.bollinger_std
    store[stream_kernels.RSI_N] = params.rsi_period
    store[stream_kernels.RSI_MEMORY] = wilder_memory(params.rsi_period)
    store[stream_kernels.ADX_N] = params.adx_period
    store[stream_kernels.ADX_MEMORY] = wilder_memory(params.adx_period)
    store[stream_kernels.ATR_N] = params.atr_period
    store[stream_kernels.EMA_N] = params.ema_period
    store[stream_kernels.FAST_N] = params.macd_fast
    store[stream_kernels.SLOW_N] = params.macd_slow
    store[stream_kernels.SIGNAL_N] = params.macd_signal
    store[stream_kernels.SYMBOLS] = symbols
    store[stream_kernels.RING] = ring
    return store
