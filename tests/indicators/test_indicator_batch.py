"""Batch columns against the two-pass formulas and against TA-Lib."""

from __future__ import annotations

import indicator_reference as reference
import numpy as np
import pytest
import talib
from indicator_reference import Candles, walk
from numpy.testing import assert_allclose

from perp_bot.indicators import batch, warmup
from perp_bot.indicators.row import IndicatorParams

PERIODS = (1, 2, 3, 5, 14, 20, 33)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 20, 50])
def test_windowed_columns_equal_the_two_pass_formulas_at_every_bar(recorded: Candles, n: int) -> None:
    """I2: z-score, bands, mean and volatility agree with a two-pass reference, NaN at the same bars."""
    close = recorded.close
    assert_allclose(batch.zscore(close, n), reference.zscore(close, n), rtol=0, atol=1e-10)
    for ours, theirs in zip(batch.bollinger(close, n, 2.5), reference.bollinger(close, n, 2.5), strict=True):
        assert_allclose(ours, theirs, rtol=1e-13)
    assert_allclose(batch.sma(close, n), reference.bollinger(close, n, 1.0)[1], rtol=1e-14)
    assert_allclose(batch.realized_vol(close, n), reference.realized_vol(close, n), rtol=1e-9)


@pytest.mark.parametrize("n", PERIODS)
def test_remembering_columns_equal_their_authors_formulas_at_every_bar(recorded: Candles, n: int) -> None:
    """I2: RSI, ADX, ATR and EMA agree with Wilder's and the textbook's own forms from the first value on."""
    high, low, close = recorded.high.tolist(), recorded.low.tolist(), recorded.close.tolist()
    assert_allclose(batch.ema(close, n), reference.ema(close, n), rtol=1e-12)
    assert_allclose(batch.atr(high, low, close, n), reference.atr(high, low, close, n), rtol=1e-12)
    assert_allclose(batch.rsi(close, n), reference.rsi(close, n), rtol=1e-11, atol=1e-11)
    assert_allclose(batch.adx(high, low, close, n), reference.adx(high, low, close, n), rtol=1e-11, atol=1e-11)


def test_macd_is_the_difference_of_two_averages_and_its_own_average(recorded: Candles) -> None:
    """MACD 12/26/9 from the textbook EMA of the reference, bar by bar."""
    close = recorded.close.tolist()
    line = [fast - slow for fast, slow in zip(reference.ema(close, 12), reference.ema(close, 26), strict=True)]
    signal = reference.ema(line, 9)
    ours = batch.macd(close)
    assert_allclose(ours[0], line, rtol=1e-9, atol=1e-9)
    assert_allclose(ours[1], signal, rtol=1e-9, atol=1e-9)
    assert_allclose(ours[2], np.array(line) - np.array(signal), rtol=1e-9, atol=1e-9)
    assert int(np.isfinite(ours[0]).argmax()) == 25
    assert int(np.isfinite(ours[1]).argmax()) == 33


@pytest.mark.parametrize("n", [32, 33, 64, 100, 257])
def test_both_hurst_measures_equal_their_formulas(recorded: Candles, n: int) -> None:
    """I2 for Hurst: variance ratio from log price differences, R/S by numpy, at a sample of bars."""
    close = recorded.close
    ratio, rescaled = batch.hurst_vr(close, n), batch.hurst_rs(close, n)
    assert np.isnan(ratio[:n]).all()
    assert np.isnan(rescaled[:n]).all()
    for bar in (n, n + 1, 400, 601, 799):
        assert ratio[bar] == pytest.approx(reference.hurst_vr(close[: bar + 1], n), abs=1e-9)
        assert rescaled[bar] == pytest.approx(reference.hurst_rs(close[: bar + 1], n), abs=1e-9)


@pytest.mark.parametrize("n", [2, 5, 14, 30])
def test_talib_agrees_where_the_definitions_match(recorded: Candles, n: int) -> None:
    """TA-Lib: bands, mean, EMA, RSI and ATR from the first value on (sigma is the population's in both)."""
    high, low, close = recorded.high, recorded.low, recorded.close
    for ours, theirs in zip(batch.bollinger(close, n, 2.0), talib.BBANDS(close, n, 2.0, 2.0), strict=True):
        assert_allclose(ours, theirs, rtol=1e-9)
    assert_allclose(batch.sma(close, n), talib.SMA(close, n), rtol=1e-12)
    assert_allclose(batch.ema(close, n), talib.EMA(close, n), rtol=1e-12)
    assert_allclose(batch.rsi(close, n), talib.RSI(close, n), rtol=1e-10)
    assert_allclose(batch.atr(high, low, close, n), talib.ATR(high, low, close, n), rtol=1e-12)
    sigma = talib.STDDEV(close, n, 1.0)
    moves = sigma > 1.0  # TA-Lib's running sums lose the digits of a small sigma
    assert_allclose(batch.zscore(close, n)[moves], (close - talib.SMA(close, n))[moves] / sigma[moves], atol=1e-5)


@pytest.mark.parametrize("n", [5, 14])
def test_talib_agrees_after_warmup_where_the_seeds_differ(recorded: Candles, n: int) -> None:
    """TA-Lib seeds ADX with n - 1 movements and starts MACD's fast average later: equal once warm."""
    high, low, close = recorded.high, recorded.low, recorded.close
    warm = warmup.adx_bars(n)
    assert_allclose(batch.adx(high, low, close, n)[warm:], talib.ADX(high, low, close, n)[warm:], rtol=1e-9)
    warm = warmup.macd_bars(12, 26, 9)
    for ours, theirs in zip(batch.macd(close), talib.MACD(close), strict=True):
        assert_allclose(ours[warm:], theirs[warm:], rtol=0, atol=1e-9 * np.nanmax(np.abs(theirs)))


def test_worked_examples_have_their_written_values() -> None:
    """The docstrings' examples: z of 1..4 is 1.3416, RSI of +1 +1 -1 with n = 3 is 66.7, ATR of 2, 2, 3 is 7/3."""
    assert batch.zscore([1, 2, 3, 4], 4)[3] == pytest.approx(1.341640786499874, abs=1e-15)
    assert batch.rsi([10, 11, 12, 11], 3)[3] == pytest.approx(200 / 3, abs=1e-12)
    assert batch.atr([11, 12, 13, 13], [9, 10, 11, 10], [10, 11, 12, 11], 3)[3] == pytest.approx(7 / 3, abs=1e-15)
    upper, middle, lower = batch.bollinger([1, 2, 3, 4], 4, 2.0)
    assert [middle[3], upper[3] - 2.5, 2.5 - lower[3]] == pytest.approx([2.5, 5**0.5, 5**0.5], abs=1e-15)
    assert batch.realized_vol([100, 110, 100, 110, 100], 4)[4] == pytest.approx(np.log(1.1), abs=1e-15)


def test_the_set_has_the_columns_of_the_single_functions(recorded: Candles) -> None:
    """One call for all columns gives each function's bits, and `row` reads one bar with None for NaN."""
    high, low, close = recorded.high, recorded.low, recorded.close
    params = IndicatorParams(zscore_lookback=30, bollinger_period=25, bollinger_std=1.5)
    columns = batch.indicator_set(high, low, close, params, high)
    upper, middle, lower = batch.bollinger(close, 25, 1.5)
    line, signal, histogram = batch.macd(close)
    expected = {
        "zscore": batch.zscore(close, 30),
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "rsi": batch.rsi(close, 14),
        "adx": batch.adx(high, low, close, 14),
        "atr": batch.atr(high, low, close, 14),
        "ema": batch.ema(close, 20),
        "macd": line,
        "macd_signal": signal,
        "macd_histogram": histogram,
        "realized_vol": batch.realized_vol(close, 20),
        "hurst": batch.hurst_vr(close, 100),
        "hurst_rs": batch.hurst_rs(close, 100),
        "macd_histogram_before": np.concatenate(([np.nan], histogram[:-1])),
        "volume_mean": batch.volume_mean(high, 20),
    }
    for name, column in expected.items():
        np.testing.assert_array_equal(getattr(columns, name), column, err_msg=name)
        assert columns.row(-1).as_dict()[name] == column[-1]
    assert set(columns.row(0).as_dict()) == set(expected)
    assert columns.row(0).zscore is None


def test_columns_read_from_read_only_strided_and_integer_prices(recorded: Candles) -> None:
    """Input is copied: views, other number types and frozen arrays give the same bits, and none is changed."""
    close = np.round(recorded.close)
    expected = batch.zscore(close, 20)
    frozen = close.copy()
    frozen.setflags(write=False)
    strided = np.repeat(close, 2)[::2]
    for prices in (frozen, strided, close.astype(np.int64), close.tolist(), tuple(close.tolist())):
        np.testing.assert_array_equal(batch.zscore(prices, 20), expected)


def test_impossible_arguments_are_refused_by_name() -> None:
    """A period below its least, columns of unequal length or a table raise ValueError with what is allowed."""
    with pytest.raises(ValueError, match=r"n is 1; allowed: whole numbers from 2"):
        batch.zscore([1.0, 2.0], 1)
    with pytest.raises(ValueError, match=r"n is 14.0; allowed: whole numbers from 1"):
        batch.rsi([1.0, 2.0], 14.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"n is 31; allowed: whole numbers from 32"):
        batch.hurst_vr([1.0, 2.0], 31)
    with pytest.raises(ValueError, match=r"fast is 26; allowed: below slow \(26\)"):
        batch.macd([1.0, 2.0], 26, 26)
    with pytest.raises(ValueError, match=r"have 2, 1 and 2 bars"):
        batch.atr([1.0, 2.0], [1.0], [1.0, 2.0], 1)
    with pytest.raises(ValueError, match="2 dimensions"):
        batch.sma(np.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="zscore_lookback is 1; allowed: whole numbers from 2"):
        IndicatorParams(zscore_lookback=1)
    with pytest.raises(ValueError, match="bollinger_std is nan"):
        IndicatorParams(bollinger_std=float("nan"))
    with pytest.raises(ValueError, match="macd_fast is 30"):
        IndicatorParams(macd_fast=30)


@pytest.mark.parametrize("bars", [0, 1, 2, 19, 20, 101])
def test_short_series_give_columns_of_their_own_length(bars: int) -> None:
    """Before there are enough bars every column is NaN, never an error and never a guess."""
    candles = walk(bars, seed=3)
    columns = batch.indicator_set(candles.high, candles.low, candles.close)
    assert len(columns.zscore) == len(columns.hurst_rs) == len(columns.macd_signal) == bars
    assert np.isfinite(columns.zscore).sum() == max(0, bars - 19)
    assert np.isfinite(columns.rsi).sum() == max(0, bars - 14)
    assert np.isfinite(columns.adx).sum() == max(0, bars - 27)
    assert np.isfinite(columns.hurst).sum() == max(0, bars - 100)


def test_columns_that_are_given_are_filled_and_returned(recorded: Candles) -> None:
    """Whatever was in them is gone, warm-up included; a column of another kind is refused."""
    high, low, close = recorded.high, recorded.low, recorded.close
    given = np.full((11, len(close)), 7.0)
    made = [
        batch.zscore(close, 20, out=given[0]),
        *batch.bollinger(close, 20, 2.0, out=(given[1], given[2], given[3])),
        batch.rsi(close, 14, out=given[4]),
        batch.atr(high, low, close, 14, out=given[5]),
        batch.adx(high, low, close, 14, out=given[6]),
        batch.ema(close, 20, out=given[7]),
        *batch.macd(close, out=(given[8], given[9], given[10])),
    ]
    new = [
        batch.zscore(close, 20),
        *batch.bollinger(close, 20, 2.0),
        batch.rsi(close, 14),
        batch.atr(high, low, close, 14),
        batch.adx(high, low, close, 14),
        batch.ema(close, 20),
        *batch.macd(close),
    ]
    for place, (ours, theirs) in enumerate(zip(made, new, strict=True)):
        assert np.shares_memory(ours, given[place])
        np.testing.assert_array_equal(given[place], theirs)
    for wrong in (np.empty(3), np.empty(len(close), np.float32), np.empty((len(close), 2))[:, 0]):
        with pytest.raises(ValueError, match="expected a contiguous float64 column of 800 bars"):
            batch.rsi(close, 14, out=wrong)


def test_columns_to_fill_lie_apart_from_the_prices_and_from_each_other() -> None:
    """Written over while they are read, prices would give wrong numbers without a word."""
    close = np.cumsum(np.random.default_rng(3).standard_normal(300)) + 100.0
    kept, room = close.copy(), np.empty((3, len(close)))
    for given in (close, np.concatenate((close, close))[: len(close)]):
        with pytest.raises(ValueError, match="out shares memory with the prices"):
            batch.ema(given, 20, out=given)
    with pytest.raises(ValueError, match="out shares memory"):
        batch.atr(close + 1.0, close - 1.0, close, 14, out=close)
    with pytest.raises(ValueError, match="out shares memory"):
        batch.bollinger(close, 20, 2.0, out=(room[0], close, room[2]))
    with pytest.raises(ValueError, match="another column of out"):
        batch.macd(close, out=(room[0], room[1], room[0]))
    np.testing.assert_array_equal(close, kept)
