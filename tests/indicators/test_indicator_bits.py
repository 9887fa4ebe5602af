"""Bit equality: interpreted and compiled, streaming and batch, and no value that changes when later bars do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_reference import Candles, walk
from numpy.testing import assert_array_equal

from perp_bot.indicators import batch, compiled
from perp_bot.indicators.batch import IndicatorSet
from perp_bot.indicators.compiled import INTERPRETED
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.kernels.streams import stream_many, stream_one
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.streaming import NAMES as NAMES_STREAMED
from perp_bot.indicators.streaming import StreamingSet, StreamingSets

ODD = IndicatorParams(
    zscore_lookback=7,
    bollinger_period=33,
    bollinger_std=1.7,
    rsi_period=2,
    adx_period=5,
    atr_period=1,
    ema_period=3,
    macd_fast=2,
    macd_slow=5,
    macd_signal=4,
    vol_period=11,
    hurst_period=47,
)
EVEN = IndicatorParams(zscore_lookback=64, bollinger_period=2, rsi_period=1, adx_period=1, atr_period=3, ema_period=1)
NAMES = tuple(IndicatorSet.__dataclass_fields__)


def rough(seed: int, bars: int = 700) -> Candles:
    """Return a walk with a flat stretch, a spike, missing bars and an infinite high."""
    candles = walk(bars, seed, tick=0.01)
    for column in (candles.high, candles.low, candles.close):
        column[200:260] = column[200]
    candles.close[300] = 1e9
    candles.close[400] = np.nan
    candles.high[450] = np.inf
    candles.low[451] = np.nan
    return candles


def assert_same_bits(ours: np.ndarray, theirs: np.ndarray, label: str) -> None:
    """Compare the 64-bit patterns, all NaN alike; assert_array_equal would call 0.0 and -0.0 the same."""
    assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=label)
    defined = ~np.isnan(ours)
    assert_array_equal(ours[defined].view(np.int64), theirs[defined].view(np.int64), err_msg=label)


@pytest.mark.slow
@pytest.mark.parametrize("params", [IndicatorParams(), ODD], ids=["default", "odd"])
def test_interpreted_and_compiled_kernels_give_the_same_bits_on_recorded_candles(
    recorded: Candles, params: IndicatorParams
) -> None:
    """A decision must not depend on whether the compiler had finished: no fused or regrouped operation."""
    columns = batch.columns(recorded.high, recorded.low, recorded.close)
    plain = batch.set_columns(INTERPRETED, *columns, params)
    fast = batch.set_columns(compiled.load(), *columns, params)
    for name in NAMES:
        assert_same_bits(getattr(fast, name), getattr(plain, name), name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_interpreted_and_compiled_kernels_give_the_same_bits_on_rough_series(seed: int) -> None:
    """The same with spikes, flat stretches and holes in the columns."""
    candles = rough(seed)
    columns = batch.columns(candles.high, candles.low, candles.close)
    plain = batch.set_columns(INTERPRETED, *columns, ODD)
    fast = batch.set_columns(compiled.load(), *columns, ODD)
    for name in NAMES:
        assert_same_bits(getattr(fast, name), getattr(plain, name), name)


@pytest.mark.parametrize("params", [IndicatorParams(), ODD, EVEN], ids=["default", "odd", "even"])
@pytest.mark.parametrize("seed", [3, 4])
def test_streaming_has_the_bits_of_batch_from_the_same_start(params: IndicatorParams, seed: int) -> None:
    """I2: candle by candle and all at once agree to the last bit, holes, spikes and flat stretches included."""
    candles = rough(seed, bars=2_500)
    columns = batch.indicator_set(candles.high, candles.low, candles.close, params)
    stream = StreamingSet(params)
    streamed = np.empty((2_500, len(NAMES_STREAMED)))
    for bar, prices in enumerate(zip(candles.high, candles.low, candles.close, strict=True)):
        stream.update(*prices)
        streamed[bar] = stream.values
    for place, name in enumerate(NAMES_STREAMED):
        assert_same_bits(getattr(columns, name), streamed[:, place], name)


@pytest.mark.parametrize("params", [IndicatorParams(), ODD, EVEN], ids=["default", "odd", "even"])
@pytest.mark.parametrize("symbols", [1, 3, 70])
def test_many_symbols_in_one_call_have_the_bits_of_batch_each(params: IndicatorParams, symbols: int) -> None:
    """Each symbol's series begins three candles after the one before it, so warm, new and broken ones are mixed."""
    bars, apart = 900, 3
    candles = rough(6, bars)
    columns = batch.indicator_set(candles.high, candles.low, candles.close, params)
    prices = np.full((3, symbols, bars + apart * symbols), np.nan)
    for symbol in range(symbols):
        prices[:, symbol, apart * symbol :][:, :bars] = candles.high, candles.low, candles.close
    streams = StreamingSets(symbols, params)
    streamed = np.empty((prices.shape[2], len(NAMES_STREAMED), symbols))
    for bar in range(prices.shape[2]):
        streams.update(*np.ascontiguousarray(prices[:, :, bar]))
        streamed[bar] = streams.values
    for symbol in range(symbols):
        own = streamed[apart * symbol :][:bars, :, symbol]
        for place, name in enumerate(NAMES_STREAMED):
            assert_same_bits(getattr(columns, name), own[:, place], f"{name} of {symbol}")


@pytest.mark.parametrize("n", [2, 7, 20, 64, 255, 256, 700, 701])
def test_scores_and_bands_together_have_the_bits_of_each_alone(n: int) -> None:
    """The set takes them in one pass where their windows are of one length, else one by one."""
    candles = rough(8)
    given = np.full((4, len(candles.close)), 7.0)
    together = batch.scores_and_bands(candles.close, n, 1.7)
    batch.scores_and_bands(candles.close, n, 1.7, out=tuple(given))
    alone = (batch.zscore(candles.close, n), *batch.bollinger(candles.close, n, 1.7))
    for name, ours, filled, due in zip(("z", "upper", "middle", "lower"), together, given, alone, strict=True):
        assert_same_bits(ours, due, name)
        assert_same_bits(filled, due, f"{name} given")
    assert np.isfinite(alone[1]).any() == (n <= 256)


def test_many_symbols_need_a_place_each() -> None:
    """A column of another length is refused before anything is written."""
    streams = StreamingSets(3)
    with pytest.raises(ValueError, match="3, 3 and 2 places, not 3"):
        streams.update(np.ones(3), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="symbols is 0; allowed: from 1"):
        StreamingSets(0)
    with pytest.raises(TypeError):
        StreamingSet().update("high", 1.0, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("symbols", [None, 5])
def test_interpreted_stream_kernels_give_the_bits_of_the_compiled(symbols: int | None) -> None:
    """The plain code is the reference of what the compiler made of it."""
    candles = rough(5, bars=520)
    fast = StreamingSet(ODD) if symbols is None else StreamingSets(symbols, ODD)
    plain = StreamingSet(ODD) if symbols is None else StreamingSets(symbols, ODD)
    store = plain.update.args[0] if isinstance(plain, StreamingSet) else plain._store
    for prices in zip(candles.high.tolist(), candles.low.tolist(), candles.close.tolist(), strict=True):
        if symbols is None:
            fast.update(*prices)
            stream_one(store.data, *prices)
        else:
            rows = [np.full(symbols, price) for price in prices]
            fast.update(*rows)
            stream_many(store.data, *(row.data for row in rows))
        assert_same_bits(fast.values.ravel(), plain.values.ravel(), "values")


@given(seed=st.integers(0, 10_000), cut=st.integers(1, 299))
@settings(max_examples=40, deadline=None)
def test_no_value_changes_when_later_bars_are_replaced_by_noise(seed: int, cut: int) -> None:
    """I1: the columns up to a bar are the same bits whatever follows it, missing bars and spikes too."""
    candles = walk(300, seed)
    noise = rough(seed + 1)
    short = IndicatorParams(hurst_period=40)
    mixed = (
        np.concatenate([ours[:cut], other[200 : 500 - cut]])
        for ours, other in ((candles.high, noise.high), (candles.low, noise.low), (candles.close, noise.close))
    )
    whole = batch.indicator_set(candles.high, candles.low, candles.close, short)
    replaced = batch.indicator_set(*mixed, short)
    for name in NAMES:
        assert_same_bits(getattr(whole, name)[:cut], getattr(replaced, name)[:cut], name)


def test_a_decision_row_has_the_same_bits_interpreted_and_compiled(
    recorded: Candles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon decides interpreted in its first second; the row is that of the compiled kernels."""
    prices = [column.tolist() for column in (recorded.high, recorded.low, recorded.close)]
    ends = range(515, 800, 19)
    fast = [decision_row(*(column[:end] for column in prices), IndicatorParams(), prices[0][:end]) for end in ends]
    monkeypatch.setattr(compiled, "_compiled", None)
    plain = [decision_row(*(column[:end] for column in prices), IndicatorParams(), prices[0][:end]) for end in ends]
    assert plain == fast
    assert None not in fast[0].as_dict().values()
