"""Pure noise has no edge: walk-forward and sensitivity optimise on it, and deflation does not believe them."""

from __future__ import annotations

import numpy as np
import pytest
from market_rig import config_with
from result_rig import market as market_of
from test_engine_equality import LOOSE, NO_LIMITS

from perp_bot.backtest import walk_forward as walk
from perp_bot.backtest.engine import run
from perp_bot.backtest.honesty import Trials, odds_after, sharpe_odds
from perp_bot.backtest.market import Market
from perp_bot.backtest.metrics import measure
from perp_bot.backtest.parameters import axis_of
from perp_bot.backtest.sensitivity import cross, read
from perp_bot.backtest.sweep import with_values
from perp_bot.backtest.sweep_blocks import SweepCase, sweep_here

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

FREE = {
    "backtest__maker_fee_rate": 0.0, "backtest__taker_fee_rate": 0.0, "backtest__slippage_min_pct": 0.0,
    "backtest__slippage_max_pct": 0.0,
}  # fmt: skip
CONFIG = config_with(**{**LOOSE, **NO_LIMITS, **FREE})  # costs would hide what luck can do
AXES = tuple(axis_of(name, values, "t") for name, values in (
    ("entry_z", [1.0, 1.2, 1.4, 1.6]), ("exit_z", [0.1, 0.3, 0.6]), ("lookback", [15, 20, 30]),
))  # fmt: skip
SEEDS = range(60)
BARS = 2_500


def martingale(seed: int) -> Market:
    """Normal returns without drift: nothing to be known."""
    moves = np.random.default_rng((seed, 7)).normal(0, 0.003, BARS)
    return market_of(np.round(30_000 * np.cumprod(1 + moves)), rate=0.0)


def no_progress(share: float) -> None:
    assert 0 <= share <= 1


def test_sensitivity_finds_a_winner_in_noise_and_does_not_believe_it() -> None:
    """60 martingales without costs: the best of 36 sets gains nearly always, and taken for the only one it is called
    an edge in a third of them; deflated, no more often than the nominal 5 %.
    """
    naive = sure = gained = 0
    for seed in SEEDS:
        market = martingale(seed)
        plan = cross(CONFIG, AXES)
        swept = sweep_here(SweepCase(CONFIG, market, "mean_reversion"), plan.points, no_progress)
        found = read(CONFIG, plan, swept)
        best = measure(run(with_values(CONFIG, swept.table.points[found.best]), market, "mean_reversion"))
        sharpes = tuple(float(value) for value in swept.table.sharpe if np.isfinite(value))
        odds = odds_after(best, "15m", Trials(len(swept.places), sharpes))
        assert odds.trials == len(plan.points) >= 36
        gained += found.profit_usd[found.best] > 0
        naive += (odds.probabilistic or 0.0) >= 0.95
        sure += odds.is_sure
    assert gained > 0.9 * len(SEEDS)
    assert naive > len(SEEDS) // 3
    assert sure <= 0.05 * len(SEEDS)


def test_walk_forward_on_noise_calls_nothing_an_edge() -> None:
    """In sample nearly every window gains, out of sample about half; the stitched account is an edge in at most 5 %."""
    options = walk.WalkOptions(6, 3, 3, False, "net", AXES)
    inside, outside, sure = [], [], 0
    for seed in SEEDS:
        market = martingale(seed)
        windows = walk.plan(CONFIG, market, options, None, None)
        found = walk.walk_forward(CONFIG, market, "mean_reversion", options, windows, no_progress)
        odds = sharpe_odds(measure(found.stitched), "15m", found.points, Trials(0, found.trial_sharpes))
        sure += odds.is_sure
        inside += [item.train_net_usd > 0 for item in found.windows]
        outside += [item.test_net_usd > 0 for item in found.windows]
    assert len(inside) >= 180
    assert sure <= 0.05 * len(SEEDS)
    assert np.mean(inside) > 0.85  # what was chosen looks good where it was chosen
    assert 0.25 < np.mean(outside) < 0.75
