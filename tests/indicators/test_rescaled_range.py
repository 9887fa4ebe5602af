"""The rolling R/S exponent: every bar as a two-pass reference has it, missing where it must be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perp_bot.indicators.rescaled_range import rescaled_range


def reference(close: np.ndarray, n: int, bar: int) -> float:
    """Return log(R/S)/log(n) of one window, in correctly rounded sums."""
    window = [math.log(b / a) for a, b in zip(close[bar - n : bar], close[bar - n + 1 : bar + 1], strict=True)]
    mean = math.fsum(window) / n
    path, total = [0.0], []
    for value in window:
        total.append(value - mean)
        path.append(math.fsum(total))
    sigma = math.sqrt(math.fsum((value - mean) ** 2 for value in window) / n)
    return math.log((max(path) - min(path)) / sigma) / math.log(n)


@pytest.mark.slow
@pytest.mark.parametrize("n", [8, 100, 257])
def test_every_bar_is_that_of_the_reference(n: int) -> None:
    """After a spike and at the ends of blocks too."""
    rng = np.random.default_rng(n)
    close = 50_000 * np.exp(np.cumsum(rng.standard_t(4, 1_500) * 1e-3))
    close[700] *= 1.5
    ours = rescaled_range(close, n)
    assert np.isnan(ours[:n]).all()
    for bar in (*range(n, n + 20), *range(700, 720), 255, 256, 511, 512, 513, 1_498, 1_499):
        if bar >= n:
            assert ours[bar] == pytest.approx(reference(close, n, bar), rel=1e-9), bar


def test_a_worked_example() -> None:
    """Seven rises and one fall of a doubling: by hand, R = 7/4 x log 2 ... as the reference says."""
    close = np.array([1.0, 2, 4, 8, 16, 32, 64, 128, 64])
    mean, up = 6 / 8, 1 - 6 / 8
    spread = 7 * up
    sigma = math.sqrt((7 * up**2 + (-1 - mean) ** 2) / 8)
    assert rescaled_range(close, 8)[8] == pytest.approx(math.log(spread / sigma) / math.log(8), rel=1e-12)


def test_missing_prices_and_flat_windows_have_none() -> None:
    """Exactly the windows that hold them."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.standard_normal(400) * 1e-3))
    close[200] = np.nan
    close[300:340] = close[300]
    ours = rescaled_range(close, 20)
    assert np.isnan(ours[200:221]).all()
    assert np.isfinite(ours[221:320]).all()
    assert np.isnan(ours[320:340]).all()
    assert np.isfinite(ours[340:]).all()
    assert len(rescaled_range(close[:20], 20)) == 20


@pytest.mark.slow
def test_a_random_walk_reads_as_the_docstring_says() -> None:
    """0.52 at n = 100, with a standard error of 0.05."""
    rng = np.random.default_rng(5)
    close = np.exp(np.cumsum(rng.standard_normal(200_000) * 1e-3))
    read = rescaled_range(close, 100)[100::100]
    assert read.mean() == pytest.approx(0.52, abs=0.01)
    assert read.std() == pytest.approx(0.05, abs=0.01)
