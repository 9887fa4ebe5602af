"""Limits and degraded states that stop entries by themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from desk_rig import DAY, HEALTHY, HOUR, MINUTE, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig, RiskConfig
from perp_bot.core.timeframes import week_of
from perp_bot.core.types import Enter, OrderRole, Side

CLOSE = START + QUARTER
RESTING = ExecutionConfig(order_type="limit", taker_fallback_seconds=36_000.0)


def two_at_work(tmp_path: Path, **risk: float) -> DeskRig:
    """Return a desk with BTC long and an ETH entry that rests far below the market."""
    rig = DeskRig(tmp_path, config=config_of(tmp_path, execution=RESTING, risk=RiskConfig(max_positions=2, **risk)))  # type: ignore[arg-type]
    rig.step(START)
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"), Enter("ETH", Side.LONG, "told to"))
    rig.fill_entry("BTC", 9.0)
    assert [order.intent.role for order in rig.desk.live_orders] == [OrderRole.ENTRY, OrderRole.STOP]
    return rig


def test_a_drawdown_pause_cancels_resting_entries_and_is_stored_at_once(tmp_path: Path) -> None:
    """2 % below the session's peak: told once, on disk, the entry of ETH is gone, the stop of BTC stays."""
    with two_at_work(tmp_path, session_drawdown_pct=0.02) as rig:
        rig.step(rig.now_ms + MINUTE, {"BTC": 98_300.0})
        assert rig.desk.risk.session_paused
        assert [order.intent.role for order in rig.desk.live_orders] == [OrderRole.STOP]
        assert rig.state("risk")["session_paused"] is True
        assert len(rig.told("HALTED")) == 1
        rig.step(rig.now_ms + MINUTE, {"BTC": 100_000.0})
        assert rig.desk.risk.session_paused, "coming back up does not end it"
        assert rig.rebuilt().risk.session_paused
        rig.decide(CLOSE + QUARTER, Enter("ETH", Side.LONG, "told to"))
        assert rig.actions()[-1] == ("ETH", "blocked", "session_drawdown")


def test_a_pause_is_on_its_way_to_the_disk_in_the_pass_that_brought_it(tmp_path: Path) -> None:
    """At real speed peaks are stored once a second; a pause must not wait for that."""
    config = config_of(tmp_path, risk=RiskConfig(session_drawdown_pct=0.02))
    with DeskRig(tmp_path, config=config, speed=1.0) as rig:
        rig.step(START)
        rig.enter("BTC")
        rig.loop._stored_risk_s = 1e12  # the loop remembers nothing by itself in this test
        rig.clock.observe(rig.now_ms + MINUTE)
        rig.handle(contexts={"BTC": (rig.context("BTC", 98_300.0),)})
        assert rig.state("risk")["session_paused"] is True


def test_a_stop_cancels_the_resting_entries_of_other_coins(tmp_path: Path) -> None:
    """The cooldown holds for everything: no entry for half an hour after any stop."""
    with two_at_work(tmp_path) as rig:
        rig.step(rig.now_ms + MINUTE, {"BTC": 97_000.0})
        assert rig.desk.account.positions == ()
        assert rig.desk.live_orders == ()
        assert any("cooldown" in text for text in rig.told("CANCELLED"))


def test_a_daily_loss_cancels_resting_entries(tmp_path: Path) -> None:
    """A day that has lost its share enters nothing more, also by orders of before."""
    with two_at_work(tmp_path, daily_loss_limit_pct=0.01, cooldown_seconds=0) as rig:
        rig.step(rig.now_ms + MINUTE, {"BTC": 97_000.0})
        assert rig.desk.live_orders == ()
        assert any("day-start equity" in text for text in rig.told("CANCELLED"))


def test_losing_weeks_halt_is_told_once_and_force_overrides_it(tmp_path: Path) -> None:
    """Three finished weeks with a loss; --force lifts this halt and nothing else."""
    with DeskRig(tmp_path) as rig:
        rig.step(START)
        this_week = week_of(START)
        rig.desk.week_nets.update({this_week - number * 7 * DAY: -1.0 for number in (1, 2, 3)})
        rig.step(CLOSE)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        assert len(rig.told("HALTED")) == 1
        assert rig.actions()[0] == ("BTC", "blocked", "losing_weeks")
        rig.desk.force = True
        rig.decide(CLOSE + QUARTER, Enter("BTC", Side.LONG, "told to"))
        assert rig.actions()[-2] == ("BTC", "enter", "")


def test_a_venue_that_is_away_keeps_the_entry_order_and_tells_once(tmp_path: Path) -> None:
    """Nothing can fill meanwhile; the order gives up by its own rule."""
    with two_at_work(tmp_path) as rig:
        rig.market.feed = replace(HEALTHY, rest_ok=False, last_rest_error="502")
        for _ in range(3):
            rig.loop._health_s = 0.0
            rig.handle()
        assert len(rig.told("DEGRADED")) == 1
        assert len(rig.desk.entries_working()) == 1
        assert [reason.rule for reason in rig.desk.degraded()] == ["stale_stream"]


def test_every_degraded_state_is_named_beside_the_others(rig: DeskRig) -> None:
    """A gate that shows one reason only would hide the next."""
    rig.desk.venue_trouble, rig.desk.store_trouble = "away", "full"
    rig.desk.overflow, rig.desk.accounting_trouble = "lost", "gap"
    rig.desk.starved["BTC"] = "needs spot"
    rules = [reason.rule for reason in rig.desk.degraded()]
    assert rules == ["stale_stream", "store", "overflow", "accounting", "starved"]
    assert rig.desk.degraded()[-1].text == "BTC: needs spot"


def test_a_new_day_begins_with_the_last_equity_of_the_old(rig: DeskRig) -> None:
    """The day's loss starts at nothing, measured against the equity of midnight."""
    rig.enter("BTC")
    rig.step(rig.now_ms + MINUTE, {"BTC": 97_000.0})
    lost = rig.desk.risk.day_realized_net_usd
    assert lost < -25
    midnight = START - START % DAY + DAY
    rig.step(midnight)
    assert rig.desk.risk.day_realized_net_usd == 0.0
    assert rig.desk.risk.day_start_equity_usd == rig.desk.equity_usd()
    assert rig.desk.risk.session_peak_usd == 1_000.0
    assert HOUR < DAY
