"""Properties that hold for any prices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from indicator_reference import zscore as two_pass_zscore
from numpy.testing import assert_allclose, assert_array_equal

from perp_bot.indicators import batch

MANY = settings(max_examples=60, deadline=None)
PERIOD = st.integers(2, 30)
TICKS = st.lists(st.integers(1, 2_000_000), min_size=2, max_size=160)


@st.composite
def candle_ticks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return high, low and close in whole ticks, low <= close <= high."""
    close = np.array(draw(TICKS), dtype=float)
    reach = st.lists(st.integers(0, 500), min_size=len(close), max_size=len(close))
    return close + draw(reach), close - draw(reach), close


@given(prices=candle_ticks(), n=PERIOD)
@MANY
def test_rsi_and_adx_stay_between_0_and_100_and_atr_at_or_above_0(
    prices: tuple[np.ndarray, np.ndarray, np.ndarray], n: int
) -> None:
    """Bounds hold exactly, rounding included."""
    high, low, close = prices
    for column in (batch.rsi(close, n), batch.adx(high, low, close, n)):
        defined = column[~np.isnan(column)]
        assert ((defined >= 0.0) & (defined <= 100.0)).all()
    ranges = batch.atr(high, low, close, n)[n:]
    assert (ranges >= 0.0).all()


@given(ticks=TICKS, n=PERIOD)
@MANY
def test_zscore_is_exact_and_within_the_bound_of_its_window(ticks: list[int], n: int) -> None:
    """Any whole-tick prices: two-pass value to 1e-10, and |z| <= sqrt(n - 1)."""
    close = np.array(ticks, dtype=float)
    ours = batch.zscore(close, n)
    assert_allclose(ours, two_pass_zscore(close, n), rtol=0, atol=1e-10)
    defined = ours[~np.isnan(ours)]
    assert (np.abs(defined) <= np.sqrt(n - 1) + 1e-12).all()


@given(ticks=TICKS, n=PERIOD, shift=st.integers(-1_000_000, 1_000_000))
@MANY
def test_zscore_keeps_every_bit_when_all_prices_shift(ticks: list[int], n: int, shift: int) -> None:
    """z-score reads differences only."""
    close = np.array(ticks, dtype=float)
    assert_array_equal(batch.zscore(close + shift, n), batch.zscore(close, n))


@given(prices=candle_ticks(), n=PERIOD, power=st.integers(-20, 20))
@MANY
def test_a_change_of_unit_by_a_power_of_two_changes_no_bit(
    prices: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, power: int
) -> None:
    """z-score, RSI and ADX have no unit; ATR, EMA and bands carry the price's."""
    high, low, close = prices
    scale = 2.0**power
    assert_array_equal(batch.zscore(close * scale, n), batch.zscore(close, n))
    assert_array_equal(batch.rsi(close * scale, n), batch.rsi(close, n))
    assert_array_equal(batch.adx(high * scale, low * scale, close * scale, n), batch.adx(high, low, close, n))
    assert_array_equal(batch.atr(high * scale, low * scale, close * scale, n), batch.atr(high, low, close, n) * scale)
    assert_array_equal(batch.ema(close * scale, n), batch.ema(close, n) * scale)


@given(prices=candle_ticks(), n=PERIOD, scale=st.sampled_from([3.0, 7.0, 11.0, 1000.0]))
@MANY
def test_a_change_of_unit_by_any_factor_changes_nothing_that_matters(
    prices: tuple[np.ndarray, np.ndarray, np.ndarray], n: int, scale: float
) -> None:
    """The same for a whole factor, within rounding."""
    high, low, close = prices
    assert_allclose(batch.zscore(close * scale, n), batch.zscore(close, n), rtol=0, atol=1e-10)
    assert_allclose(batch.rsi(close * scale, n), batch.rsi(close, n), rtol=1e-10, atol=1e-10)
    assert_allclose(
        batch.adx(high * scale, low * scale, close * scale, n), batch.adx(high, low, close, n), rtol=1e-9, atol=1e-9
    )


@given(prices=candle_ticks(), n=PERIOD)
@MANY
def test_mirrored_prices_give_mirrored_values(prices: tuple[np.ndarray, np.ndarray, np.ndarray], n: int) -> None:
    """Upside down: z changes sign, RSI goes to 100 - RSI, ADX and ATR stay."""
    high, low, close = prices
    mirror = 4_000_000.0
    assert_array_equal(batch.zscore(mirror - close, n), -batch.zscore(close, n))
    assert_allclose(batch.rsi(mirror - close, n), 100.0 - batch.rsi(close, n), rtol=0, atol=1e-11)
    turned = (mirror - low, mirror - high, mirror - close)
    assert_array_equal(batch.adx(*turned, n), batch.adx(high, low, close, n))
    assert_array_equal(batch.atr(*turned, n), batch.atr(high, low, close, n))


@given(ticks=TICKS, n=PERIOD, k=st.floats(0.5, 4.0))
@MANY
def test_a_close_beyond_the_band_is_a_zscore_beyond_k(ticks: list[int], n: int, k: float) -> None:
    """With equal length the band repeats the z condition, away from the rounding at the edge itself."""
    close = np.array(ticks, dtype=float)
    z = batch.zscore(close, n)
    upper, middle, lower = batch.bollinger(close, n, k)
    clear = np.abs(np.abs(z) - k) > 1e-6
    assert_array_equal((close > upper)[clear], (z > k)[clear])
    assert_array_equal((close < lower)[clear], (z < -k)[clear])
    assert ((lower <= middle) & (middle <= upper))[n - 1 :].all()


@given(step=st.integers(1, 1_000), n=st.integers(2, 20))
@MANY
def test_a_steady_rise_is_rsi_100_adx_100_and_a_known_zscore(step: int, n: int) -> None:
    """Equal steps up: RSI and ADX are 100 exactly, ATR the step, z = sqrt(3 (n - 1) / (n + 1))."""
    close = 1e6 + step * np.arange(100.0)
    assert (batch.rsi(close, n)[n:] == 100.0).all()
    assert (batch.adx(close, close, close, n)[2 * n - 1 :] == 100.0).all()
    assert (batch.atr(close, close, close, n)[n:] == step).all()
    assert batch.zscore(close, n)[-1] == pytest.approx(np.sqrt(3 * (n - 1) / (n + 1)), rel=1e-12)
