"""A sweep is the engine, many times over: same trades, same money, whatever is shared between the points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from market_rig import config_with, wandering, with_path
from test_engine_equality import LOOSE, NO_LIMITS

from perp_bot.backtest.engine import run
from perp_bot.backtest.sweep import SweepTable, run_points, with_values
from perp_bot.core.errors import UsageError

MONEY_COLUMNS = ("net_usd", "gross_usd", "fees_usd", "funding_usd", "slippage_usd", "end_equity_usd")


def some_points(seed: int, count: int) -> list[dict[str, Any]]:
    """Return random points: thresholds, and now and then periods, risk and execution."""
    rng = np.random.default_rng(seed)
    points = []
    for _ in range(count):
        point: dict[str, Any] = {
            "signals.zscore_entry_threshold": float(rng.choice([1.0, 1.3, 1.8])),
            "signals.zscore_exit_threshold": float(rng.choice([0.2, 0.5])),
            "signals.rsi_overbought": float(rng.choice([52.0, 60.0])),
            "signals.adx_threshold": float(rng.choice([30.0, 80.0])),
        }
        if rng.random() < 0.4:
            point["signals.zscore_lookback"] = int(rng.choice([15, 30]))
        if rng.random() < 0.3:
            point["risk.max_loss_per_trade_pct"] = 0.01
        if rng.random() < 0.2:
            point["execution.entry_delay_candles"] = 1
        points.append(point)
    return points


def assert_same(a: SweepTable, b: SweepTable) -> None:
    """Bit for bit."""
    for name in ("trades", "missing_funding_hours", *MONEY_COLUMNS):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits", [NO_LIMITS, {"risk__session_drawdown_pct": 0.2, "risk__losing_weeks": 2}], ids=["free", "limited"]
)
def test_every_point_is_what_the_engine_says(limits: dict[str, Any]) -> None:
    """Trades, money and end equity of each point, with shared candidates and exit bits, one and two coins."""
    for coins in (1, 2):
        market = wandering(30 + coins, 2_000, coins=coins)
        config = config_with(**{**LOOSE, **limits})
        points = some_points(3, 14)
        table = run_points(config, market, "mean_reversion", points)
        assert table.trades.sum() > 200
        for place, point in enumerate(points):
            result = run(with_values(config, point), market, "mean_reversion")
            assert table.trades[place] == len(result.trades)
            assert table.net_usd[place] == pytest.approx(result.trades.net_usd.sum(), abs=1e-9)
            assert table.end_equity_usd[place] == result.equity_usd[-1]
            assert table.missing_funding_hours[place] == result.missing_funding_hours


@pytest.mark.slow
def test_remembered_trades_and_threads_change_no_bit() -> None:
    """One simulation of a trade for all who take it, on one thread or three: the same bits as one by one."""
    for seed, limits in (
        (40, NO_LIMITS),
        (41, {"risk__session_drawdown_pct": 0.15}),
        (42, {"risk__daily_loss_limit_pct": 0.01}),
    ):
        config = config_with(**{**LOOSE, **limits})
        for market in (wandering(seed, 3_000), with_path(wandering(seed, 1_500), seed, marks=True)):
            points = some_points(seed, 40)
            plain = run_points(config, market, "mean_reversion", points, threads=1)
            assert plain.trades.sum() > 400
            assert_same(plain, run_points(config, market, "mean_reversion", points, threads=3))
            assert_same(plain, run_points(config, market, "mean_reversion", points, threads=1, with_metrics=False))
            assert_same(plain, run_points(config, market, "mean_reversion", points, threads=3, with_metrics=False))


@pytest.mark.slow
def test_the_order_and_the_company_of_a_point_change_nothing() -> None:
    """Alone, reversed, or among others: a point's row is its own."""
    config, market, points = config_with(**LOOSE), wandering(50, 2_000), some_points(5, 20)
    whole = run_points(config, market, "mean_reversion", points, with_metrics=False)
    turned = run_points(config, market, "mean_reversion", points[::-1], with_metrics=False)
    assert whole.end_equity_usd.tolist() == turned.end_equity_usd.tolist()[::-1]
    alone = run_points(config, market, "mean_reversion", points[7:8])
    assert alone.end_equity_usd[0] == whole.end_equity_usd[7]


def test_an_unknown_setting_is_refused() -> None:
    """Never ignored."""
    with pytest.raises(UsageError, match=r"there is no setting .signals\.zscore_entri."):
        run_points(config_with(), wandering(1, 600), "mean_reversion", [{"signals.zscore_entri": 2.0}])


@pytest.mark.slow
def test_ratios_are_those_of_the_metrics() -> None:
    """The sweep's Sharpe, Sortino, Calmar, drawdown, win rate and profit factor, against `metrics.measure`."""
    from perp_bot.backtest.metrics import measure

    config, market, points = config_with(**{**LOOSE, **NO_LIMITS}), wandering(60, 3_000), some_points(6, 8)
    table = run_points(config, market, "mean_reversion", points)
    for place, point in enumerate(points):
        metrics = measure(run(with_values(config, point), market, "mean_reversion"))
        for ours, theirs in (
            (table.sharpe, metrics.sharpe),
            (table.sortino, metrics.sortino),
            (table.calmar, metrics.calmar),
            (table.max_drawdown_pct, metrics.max_drawdown),
            (table.win_rate, metrics.win_rate),
            (table.profit_factor, metrics.profit_factor),
        ):
            assert theirs is not None
            assert ours[place] == pytest.approx(theirs, rel=1e-9)
