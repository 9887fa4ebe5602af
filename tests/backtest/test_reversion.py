"""The reversion measures on processes whose truth is known: worked examples, bias, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perp_bot.backtest.reversion import SURE, half_life, variance_ratio

WALKS = 1_000
BARS = 1_000


def test_the_variance_ratio_by_hand() -> None:
    """q = 2 on moves that are all taken back, against the definition written out with loops."""
    x = np.cumsum(np.array([0.0, *([1.0, -1.0] * 12)]))
    q, n = 2, len(x) - 1
    r = np.diff(x)
    m = (x[-1] - x[0]) / n
    one = sum((value - m) ** 2 for value in r) / (n - 1)
    many = sum((x[t] - x[t - q] - q * m) ** 2 for t in range(q, n + 1)) / (q * (n - q + 1) * (1 - q / n))
    theta = 0.0
    for j in range(1, q):
        delta = n * sum((r[t] - m) ** 2 * (r[t - j] - m) ** 2 for t in range(j, n))
        theta += (2 * (q - j) / q) ** 2 * delta / sum((value - m) ** 2 for value in r) ** 2
    found = variance_ratio(x, q)
    assert found is not None
    assert found.ratio == pytest.approx(many / one) == 0.0
    assert found.z == pytest.approx(math.sqrt(n) * (many / one - 1) / math.sqrt(theta))  # z* of the paper
    assert (found.low, found.high) == (-SURE * found.error, SURE * found.error)


def test_what_cannot_be_measured_is_none() -> None:
    """Too short, or flat; never a number by division by almost nothing."""
    assert variance_ratio(np.zeros(1_000), 20) is None
    assert half_life(np.zeros(1_000)) is None
    assert variance_ratio(np.cumsum(np.ones(150)), 20) is None
    assert half_life(np.arange(20.0)) is None


def walk(rng: np.random.Generator, *, changing: bool) -> np.ndarray:
    """A random walk; `changing`: its volatility trebles for a third of the time, and its moves have fat tails."""
    moves = rng.standard_t(5, BARS) if changing else rng.standard_normal(BARS)
    if changing:
        moves[BARS // 3 : 2 * BARS // 3] *= 3.0
    return np.concatenate([[0.0], np.cumsum(moves * 0.002)])


@pytest.mark.slow
@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("horizon", [5, 20])
def test_on_random_walks_the_interval_holds_one(horizon: int, changing: bool) -> None:
    """No bias, 95 % coverage, and 5 % of them below z = -1.645: also where volatility changes with time."""
    rng = np.random.default_rng(1)
    found = [variance_ratio(walk(rng, changing=changing), horizon) for _ in range(WALKS)]
    assert all(item is not None for item in found)
    known = [item for item in found if item is not None]
    error = np.std([item.ratio for item in known])
    assert np.mean([item.ratio for item in known]) == pytest.approx(1.0, abs=4 * error / math.sqrt(WALKS))
    assert np.mean([item.error for item in known]) == pytest.approx(error, rel=0.12)
    covered = np.mean([item.low <= 1.0 <= item.high for item in known])
    assert 0.93 <= covered <= 0.97
    low = np.mean([item.z <= -1.645 for item in known])
    assert 0.02 <= low <= 0.075


def ornstein_uhlenbeck(rng: np.random.Generator, phi: float, bars: int = BARS) -> np.ndarray:
    moves = rng.standard_normal(bars + 200)
    path = np.empty(len(moves))
    path[0] = moves[0]
    for place in range(1, len(moves)):
        path[place] = phi * path[place - 1] + moves[place]
    return path[200:] * 0.002


@pytest.mark.slow
@pytest.mark.parametrize("bars", [7.0, 15.0])
def test_on_reverting_paths_the_half_life_is_theirs(bars: float) -> None:
    """phi without bias (uncorrected it is low by (1 + 3 phi) / n), its interval right in 95 of 100; and it is seen."""
    rng = np.random.default_rng(2)
    phi = 2 ** (-1 / bars)
    paths = [ornstein_uhlenbeck(rng, phi) for _ in range(400)]
    lives = [item for item in map(half_life, paths) if item is not None]
    assert len(lives) == 400
    spread = np.std([item.phi for item in lives])
    assert np.mean([item.phi for item in lives]) == pytest.approx(phi, abs=3 * spread / 20)
    assert (1 + 3 * phi) / BARS > 3 * spread / 20  # the correction is larger than what the test would forgive
    assert np.mean([item.phi - SURE * item.error <= phi <= item.phi + SURE * item.error for item in lives]) >= 0.90
    assert np.median([item.bars or math.inf for item in lives]) == pytest.approx(bars, rel=0.1)
    ratios = [item for item in (variance_ratio(path, 20) for path in paths) if item is not None]
    theory = (1 - phi**20) / (20 * (1 - phi))  # of AR(1): Var(x_{t+q} - x_t) / (q Var(x_{t+1} - x_t))
    assert np.mean([item.ratio for item in ratios]) == pytest.approx(theory, rel=0.05)
    assert np.mean([item.z <= -1.645 for item in ratios]) > 0.6  # 0.05 on a random walk


@pytest.mark.slow
def test_a_random_walk_has_no_half_life_with_an_end() -> None:
    """The interval reaches 1 nearly always: its least squares phi is biased low, which the correction lessens."""
    rng = np.random.default_rng(3)
    lives = [half_life(walk(rng, changing=False)) for _ in range(300)]
    open_ended = np.mean([item is not None and item.high_bars is None for item in lives])
    assert open_ended > 0.7
