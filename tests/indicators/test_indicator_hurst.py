"""What the two Hurst measures say about series whose nature is known."""

from __future__ import annotations

import numpy as np
import pytest

from perp_bot.indicators import batch


def prices(returns: np.ndarray) -> np.ndarray:
    """Return prices with the given log returns."""
    return 100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


def separate_windows(returns: np.ndarray, n: int) -> tuple[float, float]:
    """Return the mean of both measures over windows that share no return."""
    close = prices(returns)
    bars = slice(n, None, n)
    return float(batch.hurst_vr(close, n)[bars].mean()), float(batch.hurst_rs(close, n)[bars].mean())


def autoregressive(phi: float, count: int, seed: int) -> np.ndarray:
    """Return returns each of which repeats `phi` of the one before."""
    shocks = np.random.default_rng(seed).standard_normal(count) * 1e-3
    for i in range(1, count):
        shocks[i] += phi * shocks[i - 1]
    return shocks


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rescaled"), [(64, 0.60), (100, 0.58), (400, 0.56)])
def test_on_a_random_walk_the_variance_ratio_reads_one_half_and_rs_its_documented_bias(n: int, rescaled: float) -> None:
    """The docstrings' figures: 0.50 within 0.01, R/S 0.58 at n = 100."""
    walk = np.random.default_rng(7).standard_normal(2_000 * n if n < 400 else 800 * n) * 1e-3
    ratio, classical = separate_windows(walk, n)
    assert ratio == pytest.approx(0.5, abs=0.01)
    assert classical == pytest.approx(rescaled, abs=0.01)


@pytest.mark.slow
def test_fat_tails_do_not_move_the_variance_ratio() -> None:
    """Student returns with three degrees of freedom, as markets have: still one half."""
    walk = np.random.default_rng(8).standard_t(3, 150_000) * 1e-3
    assert separate_windows(walk, 100)[0] == pytest.approx(0.5, abs=0.01)


def test_reversion_reads_below_and_trend_above_one_half() -> None:
    """Returns that undo 40 % of the last one read about 0.30, those that repeat 40 % about 0.68."""
    reverting, _ = separate_windows(autoregressive(-0.4, 50_000, 9), 100)
    trending, _ = separate_windows(autoregressive(0.4, 50_000, 10), 100)
    assert reverting == pytest.approx(0.297, abs=0.02)
    assert trending == pytest.approx(0.683, abs=0.02)


def test_perfect_alternation_reads_zero_and_perfect_persistence_at_most_one() -> None:
    """Up, down, up, down is the lower end, not minus infinity; half a window up and half down stays within 1."""
    alternating = prices(np.tile([0.01, -0.01], 100))
    persistent = prices(np.repeat([0.01, -0.01], 50))
    assert batch.hurst_vr(alternating, 100)[-1] == pytest.approx(0.0, abs=1e-12)
    assert 0.9 < batch.hurst_vr(persistent, 100)[-1] <= 1.0


def test_rs_is_undefined_while_a_chunk_is_flat() -> None:
    """A chunk without movement has R/S 0/0: NaN for the window, not a slope from the others."""
    returns = np.random.default_rng(11).standard_normal(300) * 1e-3
    returns[150:175] = 0.0
    measured = batch.hurst_rs(prices(returns), 100)
    assert np.isnan(measured[175])
    assert np.isfinite(measured[275 + 12 :]).all()
    assert np.isfinite(batch.hurst_vr(prices(returns), 100)[100:]).all()
