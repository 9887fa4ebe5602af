"""Sensitivity: the neighbourhood, its verdict, its maps, and what an interruption leaves."""

from __future__ import annotations

import numpy as np
import pytest
from market_rig import config_with, wandering
from test_engine_equality import LOOSE, NO_LIMITS

from perp_bot.backtest import sweep_blocks
from perp_bot.backtest.engine import run
from perp_bot.backtest.parameters import axis_of
from perp_bot.backtest.sensitivity import Plan, as_json, cross, one_at_a_time, read
from perp_bot.backtest.sweep import SweepTable, run_points, with_values
from perp_bot.backtest.sweep_blocks import SweepCase, Swept, dealt, sweep_here, together
from perp_bot.core.errors import UsageError

CONFIG = config_with(**{**LOOSE, **NO_LIMITS})
ENTRY, EXIT, ADX = "signals.zscore_entry_threshold", "signals.zscore_exit_threshold", "signals.adx_threshold"
IN_USE = CONFIG.signals.zscore_entry_threshold


def no_progress(share: float) -> None:
    assert 0 <= share <= 1


def made(plan: Plan, profits: list[float]) -> Swept:
    """Return a sweep whose points ended with these profits."""
    end = np.array(profits) + CONFIG.trading.capital_usd
    blank = np.zeros(len(profits))
    names = [name for name in SweepTable.__dataclass_fields__ if name not in ("points", "trades", "end_equity_usd")]
    table = SweepTable(
        points=plan.points,
        trades=np.ones(len(profits), np.int64),
        end_equity_usd=end,
        **dict.fromkeys(names, blank),
    )
    return Swept(table, np.arange(len(profits)), len(plan.points))


def test_one_at_a_time_varies_one() -> None:
    """The first point is the settings in use; every other one differs in one key, and none from itself."""
    axes = [axis_of("entry_z", [IN_USE, 1.5, 2.5], "t"), axis_of("adx", [20.0, 30.0], "t")]
    plan = one_at_a_time(CONFIG, axes)
    assert plan.points == ({}, {ENTRY: 1.5}, {ENTRY: 2.5}, {ADX: 20.0}, {ADX: 30.0})


@pytest.mark.parametrize(("gaining", "robust"), [(7, True), (6, False)])
def test_robust_takes_seventy_percent_of_the_neighbourhood(gaining: int, robust: bool) -> None:
    """Seven of ten is robust, six is not: the settings in use count as the neighbour that they are."""
    axes = [axis_of("entry_z", [IN_USE, *(1.6 + 0.1 * n for n in range(9))], "t")]
    plan = one_at_a_time(CONFIG, axes)
    found = read(CONFIG, plan, made(plan, [1.0] * gaining + [-1.0] * (10 - gaining)))
    assert found.neighbours == 10
    assert found.share_profitable == pytest.approx(gaining / 10)
    assert found.is_robust is robust


def test_a_losing_centre_is_never_robust() -> None:
    """However good its neighbours; and an account that ends where it began has not gained."""
    plan = one_at_a_time(CONFIG, [axis_of("entry_z", [1.6, 1.7, 1.8, 1.9], "t")])
    assert not read(CONFIG, plan, made(plan, [0.0, 1.0, 1.0, 1.0, 1.0])).is_robust
    assert read(CONFIG, plan, made(plan, [0.1, 1.0, 1.0, 1.0, 0.0])).share_profitable == 0.75


def test_a_grid_gives_maps_with_the_settings_in_use() -> None:
    """Rows are the first axis, columns the second; the median over a third one; left out is unknown, not 0."""
    axes = [
        axis_of("entry_z", [0.4, IN_USE], "t"),
        axis_of("exit_z", [0.3, 0.5], "t"),
        axis_of("adx", [20, 30, 40], "t"),
    ]
    plan = cross(CONFIG, axes)
    assert plan.left_out == 3  # entry 0.4, exit 0.5
    assert "must be below zscore_entry_threshold" in (plan.left_out_reason or "")
    found = read(CONFIG, plan, made(plan, [float(n) for n in range(len(plan.points))]))
    first = found.maps[0]
    assert (first.y_name, first.x_name, first.others) == ("entry_z", "exit_z", 1)
    assert first.values[0][1] is None
    assert first.values[0][0] == np.median([n for n, p in enumerate(plan.points) if p.get(ENTRY) == 0.4])
    assert len(found.maps) == 3


@pytest.mark.slow
def test_the_figures_are_those_of_the_engine() -> None:
    """Every point of the table is a backtest with these settings; blocks change no bit."""
    market = wandering(31, 2_000)
    axes = [axis_of("entry_z", [1.0, 1.3, 1.6], "t"), axis_of("lookback", [15, 20, 30], "t")]
    plan = cross(CONFIG, axes)
    swept = sweep_here(SweepCase(CONFIG, market, "mean_reversion"), plan.points, no_progress)
    assert not swept.is_partial
    table = run_points(CONFIG, market, "mean_reversion", plan.points)
    assert swept.table.end_equity_usd.tobytes() == table.end_equity_usd.tobytes()
    assert swept.table.sharpe.tobytes() == table.sharpe.tobytes()
    assert swept.table.points == plan.points
    found = read(CONFIG, plan, swept)
    for place, point in enumerate(plan.points):
        result = run(with_values(CONFIG, point), market, "mean_reversion")
        assert found.profit_usd[place] == result.equity_usd[-1] - 670.0
    stored = as_json(CONFIG, found)
    assert [item["point"] for item in stored["points"]] == list(plan.points)
    assert stored["share_profitable"] == (found.profit_usd > 0).mean()


@pytest.mark.slow
def test_an_interruption_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the first block: its points, marked partial; the settings in use were in it."""
    monkeypatch.setattr(sweep_blocks, "_FIRST_BLOCK", 4)
    market = wandering(32, 1_500)
    plan = one_at_a_time(CONFIG, [axis_of("entry_z", {"from": 1.0, "to": 2.0, "step": 0.1}, "t")])

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    swept = sweep_here(SweepCase(CONFIG, market, "mean_reversion"), plan.points, interrupt)
    assert swept.is_partial
    assert swept.places.tolist() == [0, 1, 2, 3]
    found = read(CONFIG, plan, swept)
    assert found.base_profit_usd is not None
    assert as_json(CONFIG, found)["finished"] == 4
    assert found.strips[0].profit_usd.count(None) == len(plan.points) - 4


def test_blocks_are_dealt_among_points_that_share_columns() -> None:
    """Every point once; a block of one group takes every second of it; groups too small for a block are gathered."""
    points = [{ENTRY: 1.0 + n / 10, "signals.zscore_lookback": 20} for n in range(8)]
    points += [{ENTRY: 1.0, "signals.zscore_lookback": 21 + n} for n in range(5)]
    order = together("mean_reversion", points)
    blocks = list(dealt("mean_reversion", points, order, 4))
    assert blocks == [[0, 2, 4, 6], [1, 3, 5, 7], [8, 9, 10, 11], [12]]


def test_too_many_sets_are_refused_before_the_first() -> None:
    """With the count; nothing to vary is said as well."""
    with pytest.raises(UsageError, match="10,001,000,000 parameter sets are too many"):
        cross(CONFIG, [axis_of("timeout", {"from": 1, "to": 100_010, "step": 1}, "t"),
                       axis_of("cooldown_seconds", {"from": 1, "to": 100_000, "step": 1}, "t")])  # fmt: skip
    with pytest.raises(UsageError, match="nothing to vary"):
        one_at_a_time(CONFIG, [axis_of("entry_z", [IN_USE], "t")])
