"""A million bars with spikes, flat stretches and holes: nothing drifts."""

from __future__ import annotations

import indicator_reference as reference
import numpy as np
import pytest
from indicator_reference import Candles, walk
from numpy.lib.stride_tricks import sliding_window_view

from perp_bot.indicators import batch

BARS = 1_000_000


@pytest.fixture(scope="module")
def rough() -> Candles:
    """Return a million candles on a grid of 0.1 with spikes of 1e9, flat stretches up to 12,000 bars, and holes."""
    candles = walk(BARS, seed=42, step=3.0, tick=0.1)
    draw = np.random.default_rng(43)
    for start in draw.integers(1_000, BARS - 20_000, 30):
        bars = int(draw.integers(5, 12_000))
        for column in (candles.high, candles.low, candles.close):
            column[start : start + bars] = candles.close[start]
    for bar in draw.integers(1_000, BARS, 40):
        candles.high[bar] = candles.close[bar] = 1e9
    candles.close[draw.integers(1_000, BARS, 25)] = np.nan
    return candles


@pytest.mark.slow
def test_zscore_and_bands_are_exact_at_every_bar_of_a_million(rough: Candles) -> None:
    """z to 1e-10 against a two-pass reference in extended precision, NaN exactly where undefined."""
    z = batch.zscore(rough.close, 20)
    upper, middle, _ = batch.bollinger(rough.close, 20, 2.0)
    step = 100_000
    for first in range(0, BARS - 19, step):
        rows = sliding_window_view(rough.close[first : first + step + 19].astype(np.longdouble), 20)
        mean = rows.mean(axis=1)
        sigma = np.sqrt(((rows - mean[:, None]) ** 2).mean(axis=1))
        is_flat = (rows == rows[:, :1]).all(axis=1)
        sigma[is_flat] = np.nan
        expected = (rows[:, -1] - mean) / sigma
        part = slice(first + 19, first + 19 + len(rows))
        np.testing.assert_array_equal(np.isnan(z[part]), np.isnan(expected))
        assert np.nanmax(np.abs(z[part] - expected)) < 1e-10
        assert np.nanmax(np.abs(middle[part] / mean - 1)) < 1e-14
        band = mean + 2 * np.where(is_flat, 0.0, sigma)
        np.testing.assert_array_equal(np.isnan(upper[part]), np.isnan(band))
        assert np.nanmax(np.abs(upper[part] / band - 1)) < 1e-14


@pytest.mark.slow
def test_the_mean_of_the_volume_is_exact_at_every_bar_of_a_million() -> None:
    """Volumes from nothing for days to spikes of 1e12, a few missing: each mean is that of its own 20 bars."""
    draw = np.random.default_rng(44)
    volume = np.round(np.exp(draw.normal(2.0, 3.0, BARS)), 5)
    for start in draw.integers(0, BARS - 1_000, 50):
        volume[start : start + 500] = 0.0
    volume[draw.integers(0, BARS, 40)] = 1e12
    volume[draw.integers(0, BARS, 25)] = np.nan
    found = batch.volume_mean(volume, 20)
    expected = sliding_window_view(volume.astype(np.longdouble), 20).mean(axis=1)
    assert np.isnan(found[:19]).all()
    np.testing.assert_allclose(found[19:], expected.astype(np.float64), rtol=1e-13, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rsi", "ema", "atr", "adx"])
def test_memories_agree_with_their_authors_formulas_at_every_bar_of_a_million(rough: Candles, name: str) -> None:
    """I2 to 1e-9 relative, NaN at the same bars, through spikes, flat stretches of 12,000 bars and holes."""
    high, low, close = rough.high.tolist(), rough.low.tolist(), rough.close.tolist()
    prices = (high, low, close) if name in ("atr", "adx") else (close,)
    ours = getattr(batch, name)(*prices, 14)
    expected = np.array(getattr(reference, name)(*prices, 14))
    # ATR fades into subnormal numbers, which have few digits left, in the longest flat stretch
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9 if name in ("rsi", "adx") else 1e-300)
    assert np.isfinite(ours).sum() > BARS // 2
