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
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.streaming import StreamingSet

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


@pytest.mark.parametrize("params", [IndicatorParams(), ODD], ids=["default", "odd"])
@pytest.mark.parametrize("seed", [3, 4])
def test_streaming_has_the_bits_of_batch_from_the_same_start(params: IndicatorParams, seed: int) -> None:
    """I2: candle by candle and all at once agree to the last bit, holes, spikes and buffer turns included."""
    candles = rough(seed, bars=2_500)
    columns = batch.indicator_set(candles.high, candles.low, candles.close, params, candles.high)
    stream = StreamingSet(params)
    streamed: dict[str, list[float]] = {name: [] for name in NAMES}
    for high, low, close in zip(candles.high, candles.low, candles.close, strict=True):
        for name, value in stream.update(high, low, close, high).as_dict().items():
            streamed[name].append(np.nan if value is None else value)
    for name in NAMES:
        assert_same_bits(getattr(columns, name), np.array(streamed[name]), name)
    assert stream.bars == 2_500


def test_interpreted_streaming_has_the_bits_of_compiled_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream begun before the compiler was ready gives what a later one gives."""
    candles = rough(5, bars=460)
    columns = batch.indicator_set(candles.high, candles.low, candles.close)
    monkeypatch.setattr(compiled, "_compiled", None)
    assert not compiled.is_ready()
    stream = StreamingSet()
    for bar, prices in enumerate(zip(candles.high, candles.low, candles.close, strict=True)):
        row = stream.update(*prices)
        if bar >= 200 and bar % 13 == 0:
            assert row == columns.row(bar)


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
