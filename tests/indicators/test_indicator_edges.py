"""Flat markets, spikes, gaps, missing numbers and constant series."""

from __future__ import annotations

import math

import indicator_reference as reference
import numpy as np
import pytest
from indicator_reference import walk
from numpy.testing import assert_allclose, assert_array_equal

from perp_bot.indicators import batch, warmup
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.row import IndicatorParams


@pytest.mark.parametrize("price", [0.1, 60_000.1, 1e-7, 123456.789])
def test_a_constant_market_has_no_zscore_no_rsi_no_adx_and_no_hurst(price: float) -> None:
    """Undefined is NaN, not 0, 50 or infinity; what is defined (mean, bands, ranges, volatility) is exact."""
    columns = batch.indicator_set([price] * 600, [price] * 600, [price] * 600)
    for name in ("zscore", "rsi", "adx", "hurst", "hurst_rs"):
        assert np.isnan(getattr(columns, name)).all(), name
    for name in ("bb_upper", "bb_middle", "bb_lower", "ema"):
        assert (getattr(columns, name)[19:] == price).all(), name
    assert (columns.realized_vol[20:] == 0.0).all()
    assert (columns.atr[14:] == 0.0).all()
    assert (columns.macd_histogram[33:] == 0.0).all()
    row = decision_row([price] * 600, [price] * 600, [price] * 600, IndicatorParams())
    assert (row.zscore, row.rsi, row.adx, row.hurst, row.hurst_rs) == (None,) * 5
    assert (row.atr, row.realized_vol, row.bb_upper) == (0.0, 0.0, price)


def test_zscore_of_a_flat_stretch_is_nan_exactly_while_all_closes_are_equal() -> None:
    """After movement, 20 equal closes have sigma 0 exactly; no rounding turns into a z-score of one."""
    close = np.concatenate([walk(100, 1, tick=0.1).close, np.full(60, 60_123.7), walk(50, 2, tick=0.1).close])
    z = batch.zscore(close, 20)
    assert np.isnan(z[119:160]).all()
    assert np.isfinite(z[19:119]).all()
    assert np.isfinite(z[160:]).all()


@pytest.mark.parametrize("flat_bars", [100, 279, 280, 281, 5_000])
def test_rsi_outlives_a_short_flat_stretch_and_is_nan_after_a_long_one(flat_bars: int) -> None:
    """Unchanged closes leave RSI as it is until all movement weighs less than 1e-9 (280 bars for 14), then NaN."""
    moving = walk(300, 5).close
    again = walk(60, 6).close
    close = np.concatenate([moving, np.full(flat_bars, moving[-1]), again])
    ours = batch.rsi(close, 14)
    assert_allclose(ours, reference.rsi(close.tolist(), 14), rtol=1e-9)
    flat = ours[300 : 300 + flat_bars]
    assert_allclose(flat[:279], ours[299], rtol=1e-12)
    assert np.isnan(flat[279:]).all()
    assert np.isfinite(ours[-60:]).all()


def test_adx_starts_anew_after_a_long_time_without_directional_movement() -> None:
    """280 bars without a higher high or lower low end ADX 14; the next movement seeds it again."""
    candles = walk(300, 5)
    high, low, close = (
        np.concatenate([part, np.full(400, part[-1]), walk(100, 8).close + gap])
        for part, gap in ((candles.high, 5.0), (candles.low, -5.0), (candles.close, 0.0))
    )
    ours = batch.adx(high, low, close, 14)
    assert_allclose(ours, reference.adx(high.tolist(), low.tolist(), close.tolist(), 14), rtol=1e-9)
    assert np.isfinite(ours[27:579]).all()
    assert np.isnan(ours[579:700]).all()
    assert int(np.isfinite(ours[700:]).argmax()) == 13


def test_a_spike_of_a_billion_leaves_no_trace_once_it_has_left_the_window() -> None:
    """Own-window sums: bars after the spike have the very bits of a series without it."""
    candles = walk(1_000, 4)
    spiked = candles.close.copy()
    spiked[500] = 1e9
    for n in (7, 20, 64):
        assert_allclose(batch.zscore(spiked, n), reference.zscore(spiked, n), rtol=0, atol=1e-10)
        assert_array_equal(batch.zscore(spiked, n)[500 + n :], batch.zscore(candles.close, n)[500 + n :])
        assert_array_equal(batch.realized_vol(spiked, n)[501 + n :], batch.realized_vol(candles.close, n)[501 + n :])
    assert batch.zscore(spiked, 20)[500] == pytest.approx(math.sqrt(19), abs=1e-6)  # the largest z of 20 closes


def test_a_missing_close_blanks_windows_until_it_leaves_and_restarts_memories() -> None:
    """NaN at bar 400: windows are NaN for their length and then exact; EMA, RSI, ATR, ADX seed anew at bar 401."""
    candles = walk(1_000, 9)
    close = candles.close.copy()
    close[400] = np.nan
    whole = batch.indicator_set(candles.high, candles.low, candles.close)
    broken = batch.indicator_set(candles.high, candles.low, close)
    fresh = batch.indicator_set(candles.high[401:], candles.low[401:], close[401:])
    for name, blank in (("zscore", 20), ("bb_upper", 20), ("realized_vol", 21), ("hurst", 101), ("hurst_rs", 101)):
        ours, expected = getattr(broken, name), getattr(whole, name).copy()
        expected[400 : 400 + blank] = np.nan
        assert_array_equal(ours, expected, err_msg=name)
    for name in ("rsi", "adx", "atr", "ema", "macd", "macd_signal", "macd_histogram"):
        ours = getattr(broken, name)
        assert_array_equal(ours[:400], getattr(whole, name)[:400], err_msg=name)
        assert np.isnan(ours[400])
        assert_array_equal(ours[401:], getattr(fresh, name), err_msg=name)


@pytest.mark.parametrize("hole", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["high", "low"])
def test_a_missing_high_or_low_concerns_only_what_reads_it(place: str, hole: float) -> None:
    """Without a high or low, ATR and ADX restart; z-score, RSI and the rest go on. Infinity counts as missing."""
    candles = walk(300, 10)
    prices = {"high": candles.high.copy(), "low": candles.low.copy(), "close": candles.close}
    prices[place][150] = hole
    whole = batch.indicator_set(candles.high, candles.low, candles.close)
    broken = batch.indicator_set(**prices)
    for name in ("zscore", "rsi", "ema", "macd_signal", "realized_vol", "hurst"):
        assert_array_equal(getattr(broken, name), getattr(whole, name), err_msg=name)
    assert np.isnan(broken.atr[150:165]).all()
    assert_array_equal(broken.atr[151:], batch.atr(candles.high[151:], candles.low[151:], candles.close[151:], 14))
    assert_array_equal(broken.adx[151:], batch.adx(candles.high[151:], candles.low[151:], candles.close[151:], 14))


def test_a_price_of_zero_or_below_has_no_return_but_a_zscore() -> None:
    """Log returns need positive prices: volatility and Hurst are NaN there, and nothing raises or overflows."""
    close = walk(300, 11, start=500.0, step=1.0).close
    close[100], close[200] = 0.0, -5.0
    close[250] = 1e-300
    columns = batch.indicator_set(close + 1, close - 1, close)
    assert np.isnan(columns.realized_vol[100:121]).all()
    assert np.isnan(columns.realized_vol[200:221]).all()
    assert np.isfinite(columns.realized_vol[121:200]).all()
    assert np.isfinite(columns.zscore[19:]).all()


def test_a_collapse_to_a_sliver_has_the_return_of_its_logarithm() -> None:
    """From 60,000 to 1e-12 the difference rounds to minus the old price; the return is still log(quotient)."""
    close = [60_000.0, 1e-12, 60_000.0]
    drop = math.log(60_000.0 / 1e-12)
    assert batch.realized_vol(close, 2)[2] == pytest.approx(drop, rel=1e-12)


def test_gaps_in_price_are_movement_like_any_other() -> None:
    """A gap of 30 % overnight: all agree with the references, ATR counts it from the previous close."""
    candles = walk(200, 12)
    high, low, close = (np.concatenate([p[:100], p[100:] * 0.7]) for p in (candles.high, candles.low, candles.close))
    lists = (high.tolist(), low.tolist(), close.tolist())
    assert_allclose(batch.atr(high, low, close, 14), reference.atr(*lists, 14), rtol=1e-12)
    assert_allclose(batch.adx(high, low, close, 14), reference.adx(*lists, 14), rtol=1e-10)
    assert_allclose(batch.zscore(close, 20), reference.zscore(close, 20), rtol=0, atol=1e-10)
    before, after = batch.atr(high, low, close, 14)[99:101]
    assert after == pytest.approx((13 * before + close[99] - low[100]) / 14, rel=1e-12)


def test_memory_lengths_are_those_of_the_warmup_page() -> None:
    """Wilder 14 forgets in 280 bars, an EMA of 20 in 208."""
    assert (warmup.wilder_memory(14), warmup.ema_memory(20), warmup.wilder_memory(1)) == (280, 208, 1)
    assert all(warmup.wilder_memory(n) == reference.wilder_memory(n) for n in range(1, 60))
