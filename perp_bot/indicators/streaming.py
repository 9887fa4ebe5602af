"""The seven indicators kept up to date candle by candle, with the bits of the batch columns from the same start.

Compiled only: the first set made loads the kernels (a second; several on a cold cache).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from perp_bot.indicators.compiled import Column
from perp_bot.indicators.kernels import streams
from perp_bot.indicators.kernels.streams import PLAN, VALUES
from perp_bot.indicators.library import COLUMN, Library, cached
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import wilder_memory

NAMES = (
    "zscore", "bb_upper", "bb_middle", "bb_lower", "rsi", "adx", "atr", "ema", "macd", "macd_signal", "macd_histogram",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Streams:
    """The kernels that take one candle of one symbol, and of many."""

    one: Callable[[Column, float, float, float], None]
    many: Callable[[Column, Column, Column, Column], None]
    owner: object  # of the code of `one`, which goes with it


@lru_cache(maxsize=1)
def compiled_streams() -> Streams:
    """Return the compiled kernels of the streams, compiling them first if need be."""
    return cached(_compile)


def _compile(*, use_cache: bool) -> Streams:
    signatures = {
        "stream_one": f"void({COLUMN}, float64, float64, float64)",
        "stream_many": f"void({COLUMN}, {COLUMN}, {COLUMN}, {COLUMN})",
    }
    # a call of one symbol takes less time than letting others run in between
    library = Library(signatures, use_cache=use_cache, is_told=True, nogil=False)
    one, many = library.kernel("stream_one"), library.kernel("stream_many")
    # what numba calls once it knows the types, which here are always the same: to find out takes as long as the rest
    (entry,) = (overload.entry_point for overload in one.overloads.values())
    return Streams(entry, many, owner=one)


class StreamingSet:
    """The set of one symbol.

    `update(high, low, close)` takes one closed candle; a number that is not finite counts as missing. `values` is a
    view that each update changes: the numbers in the order of `NAMES`, NaN where undefined.
    """

    __slots__ = ("params", "update", "values")

    def __init__(self, params: IndicatorParams | None = None) -> None:
        self.params = params or IndicatorParams()
        store = _store(streams.ROOM_OF_ONE, self.params, symbols=1)
        self.values: Column = store[PLAN : PLAN + VALUES]
        # no method around it: one more call would cost as much as the arithmetic
        self.update: partial[None] = partial(compiled_streams().one, store)


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
        self._store = _store(streams.ROWS_OF_MANY, self.params, symbols)
        self._take = compiled_streams().many
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
    store[streams.SIZES :][: len(by_score)] = by_score
    store[streams.SIZES + streams.LEVELS :][: len(by_band)] = by_band
    store[streams.ZSCORE_ROWS] = 2 * sum(by_score)
    store[streams.ZSCORE_N] = params.zscore_lookback
    store[streams.BAND_N] = params.bollinger_period
    store[streams.BAND_K] = params.bollinger_std
    store[streams.RSI_N] = params.rsi_period
    store[streams.RSI_MEMORY] = wilder_memory(params.rsi_period)
    store[streams.ADX_N] = params.adx_period
    store[streams.ADX_MEMORY] = wilder_memory(params.adx_period)
    store[streams.ATR_N] = params.atr_period
    store[streams.EMA_N] = params.ema_period
    store[streams.FAST_N] = params.macd_fast
    store[streams.SLOW_N] = params.macd_slow
    store[streams.SIGNAL_N] = params.macd_signal
    store[streams.SYMBOLS] = symbols
    store[streams.RING] = ring
    return store
