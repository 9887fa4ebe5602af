"""One channel of a living socket falls silent: entries stop, it is named, and stops and exits go on by REST."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rig import LIVELY, Rig

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180), pytest.mark.xdist_group("live")]

# Enters at almost every close and leaves by nothing but a stop or the operator.
SIGNALS = {**LIVELY, "zscore_entry_threshold": 0.4, "zscore_exit_threshold": 0.0001, "bollinger_std": 0.4}


def settings(**risk: float) -> dict[str, Any]:
    return {
        "signals": SIGNALS,
        "trading": {"symbols": ["ETH"]},
        "data": {"close_confirm_timeout_seconds": 0.5, "primary_timeframe": "1m", "timeframes": ["1m", "15m"]},
        "risk": {"cooldown_seconds": 60, "session_drawdown_pct": 0.9, **risk},
    }


def start(rig: Rig) -> None:
    rig.spawn()
    rig.until("the daemon runs", rig.is_answering)


def reasons(rig: Rig) -> str:
    return " ".join(rig.state().status_reasons)


def test_a_position_is_closed_while_the_books_of_its_coin_are_silent(tmp_path: Path) -> None:
    """DEGRADED by name within seconds; the operator's close fills on books that are read; then all resumes."""
    with Rig(tmp_path, speed=60.0, start="430", settings=settings()) as rig:
        start(rig)
        rig.until("a position", lambda: rig.state().positions, 60.0)
        rig.venue.set_faults(mute={"channels": ["l2Book"]})
        rig.until("it is named", lambda: "l2Book of ETH has been silent for " in reasons(rig), 30.0)
        state = rig.state()
        assert (state.status, state.stream_connected) == ("DEGRADED", True)
        assert len(state.positions) == 1

        asked = rig.perpbot("close", "ETH", "--yes")
        rig.until(f"flat ({asked.stdout} {asked.stderr})", lambda: not rig.state().positions, 20.0)
        assert "l2Book of ETH has been silent" in reasons(rig)
        ((reason,),) = rig.rows("SELECT exit_reason FROM trades ORDER BY seq DESC LIMIT 1")
        assert reason == "operator_close"

        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 20.0)
        assert rig.state().account.accounting_error_max_usd < 0.01
        assert rig.stop() == 0


def test_a_stop_fires_while_the_marks_of_its_coin_are_silent(tmp_path: Path) -> None:
    """Marks are read every 5 s: none is ever 20 s old, and the one that passes the stop fires it."""
    with Rig(tmp_path, speed=60.0, start="430", settings=settings(max_loss_per_trade_pct=0.0005)) as rig:
        start(rig)
        for _ in range(4):  # the stop may fire before the marks are mute, or the price may run away from it
            rig.until("a position", lambda: rig.state().positions, 60.0)
            rig.venue.set_faults(mute={"channels": ["activeAssetCtx"]})
            if has_stopped_while_mute(rig):
                break
            rig.venue.set_faults(clear=True)
            rig.await_status("RUNNING", 20.0)
        else:
            raise AssertionError(f"no stop fired in four attempts: {rig.events('STOP')}")
        assert rig.state().status == "DEGRADED"
        rig.venue.set_faults(clear=True)
        rig.await_status("RUNNING", 20.0)
        assert rig.stop() == 0


def has_stopped_while_mute(rig: Rig) -> bool:
    """Return whether the position of now is stopped by a mark that was read, within 30 s of the silence."""
    rig.until("it is named", lambda: "activeAssetCtx of ETH has been silent for " in reasons(rig), 30.0)
    before = len(rig.events("STOP"))
    if not rig.state().positions:
        return False
    ages: list[float | None] = []

    def is_stopped() -> bool:
        ages.append(rig.state().prices[0].mark_age_s)
        return len(rig.events("STOP")) > before

    try:
        rig.until("a stop", is_stopped, 30.0)
    except AssertionError:
        rig.check_alive()
        return False
    finally:
        assert all(age_s is not None and age_s < 20.0 for age_s in ages), ages
    return True
