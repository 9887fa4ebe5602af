"""Luck and edge: published examples, pure noise, a planted edge."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from market_rig import config_with
from result_rig import START_MS, STEP_MS, market, result, trade

from perp_bot.backtest.bands import trade_bands
from perp_bot.backtest.buy_and_hold import buy_and_hold
from perp_bot.backtest.engine import run
from perp_bot.backtest.honesty import MIN_TRADES, SURE, SharpeOdds, Trials, as_json, examine, sharpe_odds
from perp_bot.backtest.metrics import measure
from perp_bot.backtest.random_entries import places, random_entries
from perp_bot.backtest.results import SimulatedTrade
from perp_bot.backtest.sharpe_odds import deflated_sharpe, expected_best, kurtosis, probabilistic_sharpe, skewness
from perp_bot.backtest.sweep import run_points, with_values
from perp_bot.config.model import Config

SEEDS = 200
BARS = 4000
TRIALS = 20
FREE = config_with(
    backtest__maker_fee_rate=0.0, backtest__taker_fee_rate=0.0, backtest__slippage_min_pct=0.0,
    backtest__slippage_max_pct=0.0, risk__max_drawdown_pct=0.99, risk__session_drawdown_pct=0.9,
    risk__losing_weeks=50, trading__symbols=("BTC",), signals__adx_threshold=100.0, signals__rsi_overbought=55.0,
    signals__rsi_oversold=45.0,
)  # fmt: skip
POINTS = [
    {"signals.zscore_entry_threshold": entry, "signals.zscore_exit_threshold": leave}
    for entry in (1.2, 1.5, 1.8, 2.0)
    for leave in (0.1, 0.3, 0.6)
]

# ------------------------------------------------------------ published examples


def test_the_probabilistic_sharpe_of_the_paper() -> None:
    """Bailey & Lopez de Prado 2012: monthly Sharpe 0.458 over 24 months: 0.982 if normal, 0.913 with its moments."""
    assert probabilistic_sharpe(0.458, 0, 24, 0, 3) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe(0.458, 0, 24, -2.448, 10.164) == pytest.approx(0.913, abs=5e-4)


def test_the_deflated_sharpe_of_the_paper() -> None:
    """Bailey & Lopez de Prado 2014: annual 2.5 over 1,250 days, skew -3, kurtosis 10, variance of trials 1/2 a year.

    100 trials: threshold 0.1132, probability 0.9004; 46 trials: 0.9505; normal returns reach 0.9505 with 88 trials.
    """
    daily, spread = 2.5 / math.sqrt(250), 0.5 / 250
    assert expected_best(100, spread) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(daily, 1250, -3, 10, 100, spread) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(daily, 1250, -3, 10, 46, spread) == pytest.approx(0.9505, abs=5e-5)
    assert deflated_sharpe(daily, 1250, 0, 3, 88, spread) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.slow
def test_the_moments_are_those_of_scipy() -> None:
    """Skewness and kurtosis of the candles' returns."""
    from scipy import stats

    curve = 1000 * np.cumprod(1 + np.random.default_rng(5).gamma(2, 1e-3, 3000) - 2e-3)
    sums = measure(result(curve)).returns
    assert sums is not None
    returns = curve / np.concatenate([[1000.0], curve[:-1]]) - 1
    assert skewness(sums) == pytest.approx(stats.skew(returns), rel=1e-9)
    assert kurtosis(sums) == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)


def test_the_best_of_many_is_what_simulation_gives() -> None:
    """The expected best of 50 trials without an edge, against 20,000 drawn ones."""
    best = np.random.default_rng(2).normal(0, 0.03, (20_000, 50)).max(axis=1).mean()
    assert expected_best(50, 0.03**2) == pytest.approx(best, rel=0.02)  # the formula is asymptotic
    assert expected_best(1, 0.03**2) == 0.0


# ------------------------------------------------------------ noise and edge


def noise_market(seed: int) -> Any:
    """Return the closes of a martingale: normal returns without drift, and nothing to be known."""
    rng = np.random.default_rng((seed, 1))
    return 100 * np.cumprod(1 + rng.normal(0, 0.003, BARS))


def random_strategy(closes: Any, rng: np.random.Generator) -> tuple[Any, list[SimulatedTrade]]:
    """Return equity and trades of a strategy that enters and leaves by the dice, without costs."""
    rows, equity = [], np.full(BARS, 1000.0)
    at = int(rng.integers(1, 60))
    while True:
        length, side = int(rng.integers(1, 40)), int(rng.choice([-1, 1]))
        if at + length >= BARS:
            break
        coins = 300 / closes[at] * side
        path = coins * (closes[at : at + length + 1] - closes[at])
        equity[at : at + length + 1] += path
        equity[at + length + 1 :] += path[-1]
        rows.append(_round_trip(at, length, side, closes, float(path[-1])))
        at += length + int(rng.integers(1, 60))
    return equity, rows


def _round_trip(at: int, length: int, side: int, closes: Any, gross: float) -> SimulatedTrade:
    opened = START_MS + at * STEP_MS
    return trade(
        side="long" if side > 0 else "short", decided_ms=opened, opened_ms=opened,
        closed_ms=opened + length * STEP_MS, size=300 / closes[at], entry_px=closes[at], exit_px=closes[at + length],
        gross_usd=gross, fees_usd=0.0, funding_usd=0.0, slippage_usd=0.0,
    )  # fmt: skip


def odds_of(equity: Any, rows: list[SimulatedTrade], trials: Trials) -> SharpeOdds:
    return sharpe_odds(measure(result(equity, rows)), "15m", 1, trials)


def best_of_noise(seed: int) -> tuple[SharpeOdds, SharpeOdds]:
    """Try TRIALS random strategies on one martingale; return the odds of the first, and of the best after all."""
    closes, rng = noise_market(seed), np.random.default_rng((seed, 2))
    curves = [random_strategy(closes, rng) for _ in range(TRIALS)]
    sharpes = [measure(result(curve)).sharpe or 0.0 for curve, _ in curves]
    best = int(np.argmax(sharpes))
    others = tuple(value for place, value in enumerate(sharpes) if place != best)
    return odds_of(*curves[0], Trials()), odds_of(*curves[best], Trials(len(others), others))


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_noise_has_no_edge_after_deflation() -> None:
    """200 martingales, 20 random strategies on each.

    One strategy alone is called sure in about 5 % of the seeds, as its probability says. The best of 20, taken
    alone, is in most of them; deflated by the trials that led to it, in no more than the nominal 5 %.
    """
    pairs = [best_of_noise(seed) for seed in range(SEEDS)]
    single = sum(one.is_sure for one, _ in pairs)
    naive = sum((best.probabilistic or 0) >= SURE for _, best in pairs)
    deflated = sum(best.is_sure for _, best in pairs)
    assert 3 <= single <= 18  # binomial(200, 0.05): 10, and 99 % of all cases
    assert naive > SEEDS // 3
    assert deflated <= 10


def best_of_a_sweep(seed: int) -> tuple[SharpeOdds, SharpeOdds]:
    """Sweep the shipped strategy without fees over a martingale; return the best's odds, naive and deflated."""
    market_ = market(np.round(noise_market(seed) * 300), rate=0.0)
    table = run_points(FREE, market_, "mean_reversion", POINTS, threads=1)
    best = int(np.nanargmax(table.sharpe))
    metrics = measure(run(with_values(FREE, POINTS[best]), market_, "mean_reversion"))
    others = tuple(np.delete(table.sharpe, best).tolist())
    return sharpe_odds(metrics, "15m", 1, Trials()), sharpe_odds(metrics, "15m", 1, Trials(len(others), others))


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_sweep_over_noise_has_no_edge_after_deflation() -> None:
    """The whole chain: 200 martingales through the engine, 12 settings each, the best of them judged.

    Taken for the only one it is sure far more often than the nominal 5 %; deflated, no more often than that.
    """
    pairs = [best_of_a_sweep(seed) for seed in range(SEEDS)]
    assert sum(naive.is_sure for naive, _ in pairs) > 20
    assert sum(deflated.is_sure for _, deflated in pairs) <= 10


@pytest.mark.slow
def test_a_planted_edge_survives_deflation() -> None:
    """A drift of a quarter of the candles' deviation while held is found in nearly every seed, 20 trials or not."""
    found = 0
    for seed in range(20):
        rng = np.random.default_rng((seed, 3))
        steps = rng.normal(0, 0.001, BARS)
        held = rng.random(BARS) < 0.3
        edge = 1000 * np.cumprod(1 + np.where(held, steps + 0.00025, 0.0))
        others = tuple(rng.normal(0, math.sqrt(35_040 / BARS), TRIALS - 1))
        found += odds_of(edge, [trade()] * MIN_TRADES, Trials(len(others), others)).is_sure
    assert found >= 18


def test_a_handful_of_winners_proves_nothing() -> None:
    """Five trades of +1 % among 700 idle candles: the formula is all but certain, the verdict is not."""
    equity = 1000 * np.cumprod(1 + np.where(np.arange(700) % 140 == 70, 0.01, 0.0))
    few = odds_of(equity, [trade()] * 5, Trials())
    assert few.probabilistic is not None
    assert few.probabilistic > 0.999
    assert not few.is_sure
    assert odds_of(equity, [trade()] * MIN_TRADES, Trials()).is_sure


@pytest.mark.slow
def test_random_entries_call_noise_noise() -> None:
    """On martingales the share of random runs that did as well is uniform: at most 5 % in about 5 % of the seeds."""
    values = []
    for seed in range(SEEDS):
        closes = noise_market(seed)
        equity, rows = random_strategy(closes, np.random.default_rng((seed, 4)))
        found = random_entries(result(equity, rows), market(closes), seed)
        assert found is not None
        values.append(found.p_value)
    assert 3 <= sum(value <= 0.05 for value in values) <= 18
    assert 80 <= sum(value <= 0.5 for value in values) <= 120


def reverting(seed: int) -> tuple[Any, list[SimulatedTrade]]:
    """Return closes that fall back after every jump, and the trades that know it."""
    rng = np.random.default_rng((seed, 5))
    closes = 100 + rng.normal(0, 0.3, BARS)
    rows = []
    for at in range(10, BARS - 10, 12):
        side = -1 if closes[at] > 100 else 1
        gross = 300 / closes[at] * side * (closes[at + 3] - closes[at])
        rows.append(_round_trip(at, 3, side, closes, float(gross)))
    return closes, rows


def test_random_entries_find_a_planted_edge() -> None:
    """Where price returns to its mean and the trades know it, no random run does as well."""
    closes, rows = reverting(1)
    found = random_entries(result(np.full(BARS, 1000.0), rows), market(closes), 42)
    assert found is not None
    assert found.p_value == pytest.approx(1 / (found.runs + 1))
    assert found.net_usd[1] == pytest.approx(0, abs=abs(found.actual_usd) / 5)


def test_random_entries_pay_the_same_costs_and_funding() -> None:
    """Flat prices: every random run loses exactly the fees, the slippage and a funding that nothing can move."""
    opened = START_MS + 8 * STEP_MS
    rows = [trade(opened_ms=opened, closed_ms=opened + 8 * STEP_MS, size=2.0, entry_px=100.0, fees_usd=0.3,
                  slippage_usd=0.1)]  # fmt: skip
    found = random_entries(result(np.full(200, 1000.0), rows), market(np.full(201, 100.0), rate=1e-4), 1)
    assert found is not None
    # two hours held, each 2 coins x 100 x 0.0001; a trade of 8 quarters always spans exactly two whole hours
    assert found.net_usd == pytest.approx((-0.44, -0.44, -0.44))


def test_random_entries_do_not_overlap_and_stay_inside() -> None:
    """Prices that rise by 1 a bar, trades that fill almost the span: their sum moves only with the free bars."""
    closes = 1000.0 + np.arange(101)
    rows = [trade(opened_ms=START_MS + at * STEP_MS, closed_ms=START_MS + (at + 24) * STEP_MS, entry_px=1000.0)
            for at in (1, 26, 51, 76)]  # fmt: skip
    found = random_entries(result(np.full(100, 1000.0), rows), market(closes), 3)
    assert found is not None
    # 4 x 24 bars of 99: coins = 1000 / price at the entry, so each trade gains between 24 x 1000/1100 and 24
    costs = 4 * (0.1 + 0.02)
    assert 4 * 24 * 1000 / 1100 - costs < found.net_usd[0] <= found.net_usd[2] < 4 * 24 - costs
    crowded = [*rows, trade(opened_ms=START_MS, closed_ms=START_MS + 10 * STEP_MS)]
    full = result(np.full(100, 1000.0), crowded)
    assert random_entries(full, market(closes), 3) is None
    assert "no random entries to compare with" in examine(Config(), full, measure(full), market(closes)).notes[0]


def test_places_never_overlap_and_reach_everywhere() -> None:
    """Every trade comes once a run, begins where the one before it has ended or later, and stays inside."""
    lengths = np.array([5, 1, 30, 7])
    order, begin, end = places(lengths, 20, 500, np.random.default_rng(1))
    assert (np.sort(order, axis=1) == np.arange(4)).all()
    assert (end - begin == lengths[order]).all()
    assert (begin[:, 1:] >= end[:, :-1]).all()
    assert (int(begin.min()), int(end.max())) == (0, 20 + 43)
    assert len(np.unique(order, axis=0)) == 24


# ------------------------------------------------------------ bands


def test_bands_of_equal_trades_are_one_line() -> None:
    """Ten trades of +1: every path is the same, whichever order."""
    bands = trade_bands(100.0, np.ones(10), 1)
    assert bands is not None
    assert bands.end_usd == (110.0,) * 5
    assert bands.drawdown == bands.shuffled_drawdown == (0.0,) * 5
    assert np.array_equal(bands.curves, np.tile(100.0 + np.arange(11), (5, 1)))
    assert (bands.loss_share, bands.ruin_share, bands.actual_drawdown) == (0.0, 0.0, 0.0)


def test_shuffling_keeps_the_end_and_drawing_again_does_not() -> None:
    """The quantiles of the end are those of sums drawn with replacement (normal for many trades)."""
    nets = np.random.default_rng(0).normal(0.5, 3, 400)
    bands = trade_bands(1000.0, nets, 7)
    assert bands is not None
    mean, sigma = nets.sum(), nets.std() * 20
    assert bands.end_usd[2] == pytest.approx(1000 + mean, abs=0.15 * sigma)
    assert bands.end_usd[4] == pytest.approx(1000 + mean + 1.645 * sigma, abs=0.25 * sigma)
    assert bands.end_usd[0] < bands.end_usd[2] < bands.end_usd[4]
    assert bands.shuffled_drawdown[0] < bands.actual_drawdown < bands.shuffled_drawdown[4]


def test_the_worst_order_is_seen() -> None:
    """All losses first, as it happened: a drawdown beyond what 95 % of the other orders give."""
    nets = np.array([-10.0] * 30 + [10.5] * 30)
    bands = trade_bands(1000.0, nets, 1)
    assert bands is not None
    assert bands.actual_drawdown == pytest.approx(0.3)
    assert bands.shuffled_drawdown[4] < 0.2


def test_ruin_is_counted_and_compounding_cannot_lose_more_than_all() -> None:
    """Added up, losses can pass 0; multiplied, they cannot."""
    nets = np.array([-60.0, 30.0, -30.0, 20.0])
    added, multiplied = trade_bands(100.0, nets, 1), trade_bands(100.0, nets, 1, compounding=True)
    assert added is not None
    assert multiplied is not None
    assert added.ruin_share > 0
    assert multiplied.ruin_share == 0
    assert multiplied.actual[-1] == pytest.approx(60.0)
    assert trade_bands(100.0, nets[:1], 1) is None


def test_the_seed_alone_decides() -> None:
    """Two runs of one seed are equal, another seed differs."""
    nets = np.random.default_rng(3).normal(0, 1, 50)
    first, again, other = (trade_bands(100.0, nets, seed) for seed in (5, 5, 6))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.end_usd == again.end_usd
    assert first.end_usd != other.end_usd


# ------------------------------------------------------------ buy and hold, and all of it together


def test_buy_and_hold_by_hand() -> None:
    """100 to 110 with 1000 USD at 0.1 % a fill: +100, fees 1 and 1.1, funding of two hours on 10 coins."""
    closes = np.concatenate([np.full(6, 100.0), np.full(5, 110.0)])  # the first closes at START_MS
    found = buy_and_hold(result(np.full(10, 1000.0)), market(closes, rate=1e-4), 0.001)
    assert found is not None
    # bought at START + 15 min; hours at + 60 (100 USD) and + 120 min (110 USD)
    funding = -10 * (100 + 110) * 1e-4
    assert found.funding_usd == pytest.approx(funding)
    assert found.fees_usd == pytest.approx(2.1)
    assert found.total_return == pytest.approx((100 - 2.1 + funding) / 1000)
    assert found.missing_funding_hours == 0
    assert found.max_drawdown == pytest.approx((0.11 + 1.1) / 1098.9)  # the last hour's funding, the fee of the sale


def test_buy_and_hold_counts_hours_without_a_rate() -> None:
    """No rate is stored: nothing is paid, and it is said."""
    found = buy_and_hold(result(np.full(10, 1000.0)), market(np.full(11, 100.0)), 0.0)
    assert found is not None
    assert (found.total_return, found.missing_funding_hours) == (0.0, 2)


def test_everything_together_is_json_and_repeats() -> None:
    """`examine` gives the same figures twice, all of them plain numbers."""
    closes = noise_market(1)
    equity, rows = random_strategy(closes, np.random.default_rng(1))
    found = result(equity, rows, trials=3)
    metrics = measure(found)
    texts = [str(as_json(examine(Config(), found, metrics, market(closes), Trials(2, (0.5, -1.0))))) for _ in range(2)]
    assert texts[0] == texts[1]
    assert "'trials': 5" in texts[0]
    assert "nan" not in texts[0]
    assert "np." not in texts[0]


def test_without_trades_there_is_nothing_to_draw() -> None:
    """No trade, no candle that varies: undefined, not zero."""
    empty = result([1000.0] * 50)
    found = as_json(examine(Config(), empty, measure(empty), market(np.full(51, 100.0))))
    assert (found["monte_carlo"], found["random_entries"]) == (None, None)
    assert (found["probabilistic_sharpe"], found["deflated_sharpe"]) == (None, None)
