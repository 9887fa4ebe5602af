"""Limits, cooldown, day and session are the same before and after a restart, however the first run ended (I12)."""

from __future__ import annotations

from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig

from perp_bot.ipc.state import StateSnapshot

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]


def risk_of(state: StateSnapshot) -> dict[str, object]:
    """Return everything of a state that a restart must not change."""
    return {
        "as_of_ms": state.as_of_ms,
        "status": state.status,
        "reasons": state.status_reasons,
        "limits": state.limits,
        "account": state.account,
        "orders": state.orders,
        "positions": [(p.symbol, p.side, p.size, p.entry_px, p.stop_px, p.timeout_ms) for p in state.positions],
        "totals": (state.counters.decisions, state.counters.entries, state.counters.exits, state.counters.trades),
        "last": [(s.symbol, s.close_ms, s.action, s.reason, s.blocked_by) for s in state.signals],
    }


@pytest.mark.parametrize("ends", ["SIGTERM", "SIGKILL"])
def test_a_stop_leaves_its_cooldown_and_loss_over_a_restart(ends: str, tmp_path: Path) -> None:
    """A stop fires, the daemon ends, the next one counts on from there: the next entry is blocked by the cooldown."""
    settings = {"signals": LIVELY, "risk": {"max_loss_per_trade_pct": 0.001, "cooldown_seconds": 3600}}
    with Rig(tmp_path, start=LIVELY_START, settings=settings) as rig:
        rig.start()
        rig.step("15m", 6)
        for _ in range(12):
            before = rig.step("1m")
            if rig.events("STOP"):
                break
        assert len(rig.events("STOP")) == 1, "the scenario needs a stop"
        assert [limit.name for limit in before.limits if limit.breached] == ["cooldown"]
        assert before.account.day_realized_usd is not None
        assert before.account.day_realized_usd < 0.0

        if ends == "SIGTERM":
            assert rig.stop() == 0
        else:
            rig.kill()
        after = rig.start()

        assert risk_of(after) == risk_of(before)
        rig.step("15m")
        blocked = rig.decided("BTC")[7], rig.decided("ETH")[7]
        assert blocked == (("blocked", "cooldown"), ("blocked", "cooldown"))
        assert rig.stop() == 0


def test_a_session_that_drew_down_stays_paused_over_a_restart_until_the_operator_resumes(tmp_path: Path) -> None:
    """A restart does not begin a new session; resume does, and says so; the sentence has both numbers and the limit."""
    settings = {"signals": LIVELY, "risk": {"session_drawdown_pct": 0.001, "cooldown_seconds": 0}}
    with Rig(tmp_path, start=LIVELY_START, settings=settings) as rig:
        rig.start()
        rig.step("15m", 7)
        before = rig.step("15m")
        assert before.status == "PAUSED", (before.account.equity_usd, before.account.session_peak_usd)
        (session,) = (limit for limit in before.limits if limit.name == "session_drawdown")
        assert session.text.endswith("limit 0.1 %; paused until the operator resumes")
        assert any("paused" in text for text in rig.events("HALTED"))
        assert rig.stop() == 0

        after = rig.start()
        assert risk_of(after) == risk_of(before)
        assert rig.perpbot("resume").returncode == 0
        resumed = rig.settle()
        assert resumed.status == "RUNNING"
        assert resumed.account.session_peak_usd == resumed.account.equity_usd
        rig.kill()
        again = rig.start()
        assert (again.status, again.account.session_peak_usd) == ("RUNNING", resumed.account.session_peak_usd)
        assert rig.stop() == 0
