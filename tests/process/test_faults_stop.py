"""The daemon is asked to end: within 5 s, with exit code 0, whatever the venue and the disk do."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig
from test_faults_store import locked

from perp_bot.ops.instance_lock import holder

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(60)]

WITHIN_S = 5.0  # the promise; asserted because it is one


def end(rig: Rig, number: signal.Signals, *, code: int = 0, reason: str | None = None) -> None:
    """Send a signal and check that the daemon ended as promised, left nothing behind and closed its run record."""
    assert rig.process is not None
    rig.process.send_signal(number)
    assert rig.process.wait(WITHIN_S) == code, rig.talk[-2000:]
    assert holder(rig.paths.lock) is None
    assert not rig.paths.socket.exists()
    record: dict[str, object] = json.loads(rig.paths.run_record.read_text())
    assert record["exit_code"] == code
    assert (reason or number.name) in str(record["reason"])
    assert record["ended_ms"] is not None
    assert "Traceback" not in rig.talk


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_daemon_cleanly_and_the_position_is_there_afterwards(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Lock released, socket file gone, run record complete; the next start finds position and stop as they were."""
    with Rig(tmp_path, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        rig.start()
        rig.step("15m", 2)
        before = rig.step("1m")
        assert len(before.positions) == 1
        end(rig, number)
        assert rig.events("STOPPED") == [f"stopping: {number.name}"]
        after = rig.start()
        assert [(p.symbol, p.size, p.stop_px) for p in after.positions] == [
            (p.symbol, p.size, p.stop_px) for p in before.positions
        ]
        assert [(o.cloid, o.role) for o in after.orders] == [(o.cloid, o.role) for o in before.orders]
        end(rig, number)


def test_an_end_is_not_held_up_by_a_venue_that_does_not_answer_and_a_locked_database(tmp_path: Path) -> None:
    """Reads under way and rows that wait cannot keep the process; what could not be written makes it exit code 1."""
    with Rig(tmp_path, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        rig.start()
        rig.step("15m", 1)
        rig.venue.set_faults(delay_ms=30_000)
        rig.venue.step(to="15m")
        with locked(rig.paths.db):
            end(rig, signal.SIGTERM, code=1, reason="rows were not written")
        assert "rows were not written" in rig.talk.splitlines()[-1]
        rig.venue.set_faults(clear=True)
        rig.start()
        rig.step("15m")
        assert rig.decided("ETH")[3][0] in ("hold", "enter", "exit")
        end(rig, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_start_that_waits_for_the_venue_can_be_ended(number: signal.Signals, tmp_path: Path) -> None:
    """The venue takes the connection and says nothing: the signal ends the wait, not the time-out of the read."""
    with Rig(tmp_path) as rig:
        rig.venue.set_faults(delay_ms=30_000)
        process = rig.spawn()
        deadline = time.monotonic() + 20.0
        while not rig.paths.db.exists() or holder(rig.paths.lock) != process.pid:
            rig.check_alive()
            assert time.monotonic() < deadline, "it never began"
            time.sleep(0.02)
        end(rig, number)
        assert "asked to stop before trading began" in rig.log_text
