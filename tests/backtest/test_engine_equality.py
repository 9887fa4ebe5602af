"""The compiled account and the daemon's own objects give the same trades, money and blocked entries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_rig import QUARTER, START, coin, config_with, market_of, wandering, with_path

from perp_bot.backtest import account_kernel
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.engine import RunOptions, run
from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.kernel_macd_cross import MacdCrossKernel
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.market import Market, Regimes
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.strategy_kernel import exact_row
from perp_bot.config.model import Config

LOOSE = {
    "signals__zscore_entry_threshold": 1.2,
    "signals__rsi_overbought": 55.0,
    "signals__rsi_oversold": 45.0,
    "signals__adx_threshold": 60.0,
    "signals__bollinger_std": 1.0,
}
NO_LIMITS = {
    "risk__session_drawdown_pct": 1.0,
    "risk__max_drawdown_pct": 1.0,
    "risk__daily_loss_limit_pct": 1.0,
    "risk__losing_weeks": 500,
}
MONEY = 1e-7  # USD: floats against decimals


def case(seed: int) -> tuple[Config, Market]:
    """Return random settings and a random market."""
    rng = np.random.default_rng(seed)
    market = wandering(
        seed,
        int(rng.integers(1_200, 1_900)),
        coins=int(rng.integers(1, 4)),
        holes=int(rng.integers(0, 2)),
        vol=float(rng.choice([0.002, 0.004, 0.01])),
    )
    if rng.random() < 0.5:
        times = START + np.arange(0, 1_900, 120, dtype=np.int64) * QUARTER
        market = replace(market, regimes=Regimes(times, rng.integers(0, 5, len(times)).astype(np.int8)))
    if rng.random() < 0.6:
        market = with_path(market, seed, marks=bool(rng.random() < 0.6))
    tight = {
        "risk__daily_loss_limit_pct": float(rng.choice([0.005, 0.02, 0.08])),
        "risk__losing_weeks": int(rng.choice([1, 2])),
    }
    settings = dict(LOOSE) | (NO_LIMITS if rng.random() < 0.4 else tight)
    settings |= {
        "risk__max_positions": int(rng.integers(1, 4)),
        "trading__leverage": int(rng.integers(1, 10)),
        "trading__margin_usage_limit": float(rng.choice([0.2, 0.5, 0.9])),
        "risk__max_loss_per_trade_pct": float(rng.choice([0.002, 0.01, 0.03, 0.3])),
        "risk__position_timeout_hours": float(rng.choice([1, 2.37, 24])),
        "risk__cooldown_seconds": int(rng.choice([0, 1800, 7200])),
        "execution__entry_delay_candles": int(rng.choice([0, 0, 1, 3])),
        "execution__cancel_if_signal_gone": bool(rng.random() < 0.5),
        "execution__order_type": str(rng.choice(["limit", "taker"])),
        "execution__taker_fallback_seconds": float(rng.choice([30, 60, 200, 1200])),
        "backtest__compounding": bool(rng.random() < 0.4),
        "backtest__resume_hours": float(rng.choice([0, 7, 24])),
    }
    return config_with(**settings), market


def assert_same(kernel: BacktestResult, plain: BacktestResult) -> None:
    """Bars, sides, prices, sizes, reasons and counts to the bit; money to a ten-millionth of a USD."""
    for ours, theirs in zip(kernel.trades.rows(), plain.trades.rows(), strict=True):
        for name, a, b in zip(ours._fields, ours, theirs, strict=True):
            assert a == (pytest.approx(b, abs=MONEY) if name.endswith("_usd") else b), (name, ours, theirs)
    assert np.abs(kernel.equity_usd - plain.equity_usd).max() < 1e-6
    assert np.abs(kernel.held_usd - plain.held_usd).max() < 1e-6
    assert kernel.blocked == plain.blocked
    assert kernel.close_ms.tolist() == plain.close_ms.tolist()
    for name in ("rows", "open_positions", "missing_funding_hours", "resumes", "notes", "symbols"):
        assert getattr(kernel, name) == getattr(plain, name)


def seeds(first: int, all_of_them: int) -> list[object]:
    """Return the seeds of cases; those after the first ones belong to `make soak`: plain Python takes seconds each."""
    return [pytest.param(n, marks=[pytest.mark.soak] if n >= first else []) for n in range(all_of_them)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(12, 40))
def test_kernel_and_plain_mean_reversion_agree_trade_by_trade(seed: int) -> None:
    """Random coins, holes, regimes, paths, marks, delays, limits, leverage: both forms of the strategy are one."""
    config, market = case(seed)
    assert_same(run(config, market, "mean_reversion"), run(config, market, "mean_reversion", RunOptions(plain=True)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(8, 24))
def test_kernel_and_plain_macd_cross_agree_trade_by_trade(seed: int) -> None:
    """The same with targets, the strategy's own stops, trailing stops and a limit of entries a day."""
    config, market = case(seed)
    rng = np.random.default_rng(seed + 999)
    macd = replace(
        config.macd,
        stop_atr=float(rng.choice([1.0, 2.0, 4.0])),
        trail_after_pct=float(rng.choice([0.0, 0.003, 0.01])),
        trail_distance_pct=float(rng.choice([0.004, 0.02])),
        max_trades_per_day=int(rng.choice([2, 10])),
    )
    config = replace(config, macd=macd)
    kernel = run(config, market, "macd_cross")
    assert_same(kernel, run(config, market, "macd_cross", RunOptions(plain=True)))


@pytest.mark.slow
def test_macd_cross_ends_in_every_way() -> None:
    """A free account over one long market: stops of every kind, targets, timeouts, and days with enough entries."""
    config = config_with(
        **NO_LIMITS, macd__trail_after_pct=0.003, macd__trail_distance_pct=0.004, macd__max_trades_per_day=2,
        risk__position_timeout_hours=1.0, macd__stop_atr=1.0,
    )  # fmt: skip
    market = wandering(3, 4_000)
    kernel = run(config, market, "macd_cross")
    assert {"strategy_stop", "trailing_stop", "target", "timeout"} <= {row.exit_reason for row in kernel.trades.rows()}
    assert kernel.blocked["max_trades_per_day"] > 10
    for row in kernel.trades.rows():  # a stop trails towards the gain, or stays where it was
        gained = (row.last_stop_px - row.stop_px) * (1 if row.side == "long" else -1)
        assert gained > 0 if row.exit_reason == "trailing_stop" else gained >= 0
    assert_same(kernel, run(config, market, "macd_cross", RunOptions(plain=True)))


DELAYED = NO_LIMITS | {"macd__stop_atr": 1.0, "macd__max_trades_per_day": 1000, "risk__position_timeout_hours": 2.0}


@pytest.mark.slow
@pytest.mark.parametrize("is_cancelled", [True, False])
@pytest.mark.parametrize("delay", [1, 3])
def test_delayed_macd_cross_enters_while_its_cross_still_stands(delay: int, is_cancelled: bool) -> None:
    """Both forms alike, never empty: crossed at bar i, on that side at every close up to i + d, with its own stop."""
    config = config_with(
        **DELAYED, execution__entry_delay_candles=delay, execution__cancel_if_signal_gone=is_cancelled,
        risk__max_positions=3,
    )  # fmt: skip
    market = wandering(17, 3_000, coins=2, holes=1)
    kernel = run(config, market, "macd_cross")
    assert_same(kernel, run(config, market, "macd_cross", RunOptions(plain=True)))
    trades = list(kernel.trades.rows())
    assert len(trades) > 10
    if not is_cancelled:
        return
    assert {row.side for row in trades} == {"long", "short"}
    grid = grid_of(market)
    columns = MacdCrossKernel().columns(grid, MacdCrossKernel().params(config))
    names = [item.symbol for item in market.symbols]
    for row in trades:
        bar = (row.decided_ms - grid.first_ms) // grid.step_ms - 1
        sign = 1 if row.side == "long" else -1
        histogram = columns["histogram"][names.index(row.symbol)] * sign
        assert (histogram[bar - delay : bar + 1] > 0).all()
        assert histogram[bar - delay - 1] <= 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_delayed_macd_cross_on_prices_that_stand_still(seed: int) -> None:
    """Where the histogram dies away to nothing its sign is that of the decision's own window."""
    rng = np.random.default_rng(seed)
    close = 100.0 + np.repeat(np.cumsum(rng.integers(-3, 4, 60)) * 0.5, rng.integers(1, 90, 60))
    rows = [(px, px, px, px) for px in close]
    config = config_with(
        **DELAYED, execution__entry_delay_candles=2, macd__stop_min_pct=1e-6, macd__rsi_overbought=100.0,
        macd__rsi_oversold=0.0,
    )  # fmt: skip
    market = market_of(coin(rows))
    kernel = run(config, market, "macd_cross")
    assert len(kernel.trades) > 0
    assert_same(kernel, run(config, market, "macd_cross", RunOptions(plain=True)))


@pytest.mark.slow
def test_the_random_cases_are_not_empty() -> None:
    """Together they hold every way out, makers, pauses lifted, and entries that each of the limits forbade."""
    reasons, rules, makers, resumes, trades = set(), set(), 0, 0, 0
    for seed in range(24):
        result = run(*case(seed), "mean_reversion")
        reasons |= {row.exit_reason for row in result.trades.rows()}
        rules |= set(result.blocked)
        makers += int(result.trades.entry_is_maker.sum())
        resumes += result.resumes
        trades += len(result.trades)
    assert {"mean_reversion_complete", "zscore_stop", "timeout", "capital_stop", "liquidation"} <= reasons
    wanted = {"daily_loss_limit", "session_drawdown", "max_drawdown", "max_positions", "cooldown", "margin_limit"}
    assert wanted | {"losing_weeks", "insufficient_margin"} <= rules
    assert makers > 50
    assert resumes > 20
    assert trades > 1_000


@pytest.mark.slow
def test_the_kernels_are_compiled_for_one_form_of_their_arguments() -> None:
    """Coins, holes, paths, regimes, delays: whatever the case, nobody waits for the compiler a second time."""
    for seed in range(8):
        for strategy in ("mean_reversion", "macd_cross"):
            run(*case(seed), strategy)
    assert len(research_kernel(account_kernel.simulate).signatures) == 1


@pytest.mark.slow
def test_a_tie_is_settled_by_the_decisions_own_window() -> None:
    """A threshold set to a candidate's very ADX, carried or exact: the strict comparison is the decision's."""
    market = wandering(4, 3_000)
    grid = grid_of(market)
    loose = config_with(**{**LOOSE, **NO_LIMITS})
    kernel = MeanReversionKernel()
    columns = kernel.columns(grid, kernel.params(loose))
    found = kernel.candidates(grid, columns, loose, kernel.limits(loose, {}))
    bars = [int(bar) for bar, side in zip(found.bar, found.side, strict=True) if side == 0 and bar > 600][:12]
    assert len(bars) == 12
    told_apart = 0
    for bar in bars:
        exact = exact_row(grid, 0, bar, kernel.params(loose)).adx
        carried = float(columns["adx"][0, bar])
        assert exact is not None
        told_apart += exact != carried
        for threshold in (exact, carried, float(np.nextafter(exact, 100.0))):
            config = replace(loose, signals=replace(loose.signals, adx_threshold=threshold))
            limits = kernel.limits(config, {})
            again = kernel.candidates(grid, columns, config, limits)
            entered = any(
                b == bar and s == 0 and values[2] < threshold
                for b, s, values in zip(again.bar, again.side, again.values, strict=True)
            )
            assert entered == (exact < threshold), (bar, exact, carried, threshold)
    assert told_apart > 0, "no carried value differs: the test says nothing"


def test_a_run_is_the_same_again() -> None:
    """Nothing is carried from run to run: two runs give the same bits."""
    config, market = case(1)
    first, again = (run(config, market, "mean_reversion") for _ in range(2))
    assert list(first.trades.rows()) == list(again.trades.rows())
    assert first.equity_usd.tobytes() == again.equity_usd.tobytes()
