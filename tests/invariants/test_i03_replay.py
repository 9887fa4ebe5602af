"""I3 (c): a recorded session replayed event by event gives the same journal, byte for byte."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rig import LIVELY, LIVELY_START, Rig
from sessions import CAPITAL_STOP, COMPLETE, DELAYED, FALLBACK, TARGET, TRAILED, Stretch, rig_of, walk

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]


def replayed(rig: Rig, session: str = "last") -> tuple[int, dict[str, Any]]:
    """Return exit code and answer of `perpbot replay SESSION --json`."""
    done = rig.perpbot("replay", session, "--json", timeout_s=60.0)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def sessions_of(rig: Rig) -> list[str]:
    """Return the names of the recorded sessions, oldest first."""
    listed = json.loads(rig.perpbot("replay", "--json").stdout)
    return [item["session"] for item in listed["sessions"]]


@pytest.mark.parametrize(
    "stretch", [COMPLETE, CAPITAL_STOP, FALLBACK, DELAYED, TRAILED, TARGET], ids=lambda one: one.name
)
def test_a_stepped_session_is_replayed_byte_for_byte(stretch: Stretch, tmp_path: Path) -> None:
    """Makers and takers, stops that fire and move, a target, funding, an entry that waits: every row again."""
    with rig_of(stretch, tmp_path / "run") as rig:
        walk(rig, stretch.legs)
        assert rig.stop() == 0
        code, found = replayed(rig)
    assert (code, found["identical"], found["whole"], found["difference"]) == (0, True, True, None)
    assert found["rows"]["decisions"] >= 8
    assert found["rows"]["fills"] >= 1
    assert found["rows"]["events"] >= 4
    assert found["rows"]["orders"] >= 2


def test_a_session_with_an_operator_at_speed_is_replayed_byte_for_byte(tmp_path: Path) -> None:
    """On a running clock, with pause, resume, a close with its token, a kill, unkill and flatten in between."""
    with Rig(tmp_path / "run", speed=900, start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        rig.start()
        for command in (
            ("pause", "--symbol", "BTC", "--reason", "news"),
            ("close", "ETH", "--yes"),
            ("resume", "--symbol", "BTC"),
            ("kill",),
            ("unkill", "--phrase", f"resume {rig.venue.base_url}", "--yes"),
            ("kill", "--flatten", "--yes"),
        ):
            decided = rig.state().counters.decisions
            rig.until("a decision", lambda at=decided: rig.state().counters.decisions > at, 20.0)  # type: ignore[misc]
            rig.perpbot(*command)
        assert {"PAUSED", "RESUMED", "KILLED", "UNKILLED"} <= {
            kind for (kind,) in rig.rows("SELECT DISTINCT kind FROM events")
        }
        assert rig.stop() == 0
        code, found = replayed(rig)
    assert (code, found["identical"], found["difference"]) == (0, True, None)
    assert found["rows"]["decisions"] >= 6


def test_sessions_before_and_after_a_crash_are_both_replayed(tmp_path: Path) -> None:
    """SIGKILL with a position open: the first is replayed up to its last whole event, the second from what it left."""
    with rig_of(CAPITAL_STOP, tmp_path / "run") as rig:
        rig.start()
        for minute in range(1, 76):
            rig.step("1m")
            if minute == 30:
                rig.until("the recording", lambda: bool(list(rig.paths.recordings.glob("*/*.rec"))), 5.0)
                rig.kill()
                rig.start()
        assert rig.stop() == 0
        first, second = sessions_of(rig)
        code, found = replayed(rig, first)
        assert (code, found["identical"], found["whole"]) == (0, True, False)
        code, found = replayed(rig, second)
    assert (code, found["identical"], found["whole"]) == (0, True, True)
    assert found["rows"]["fills"] >= 1


def test_the_first_difference_is_named(tmp_path: Path) -> None:
    """One fill moved by a cent afterwards: exit code 1, the fill and its price."""
    with rig_of(CAPITAL_STOP, tmp_path / "run") as rig:
        walk(rig, CAPITAL_STOP.legs)
        assert rig.stop() == 0
        ((seq, fill_id, px),) = rig.rows("SELECT seq, fill_id, px FROM fills ORDER BY seq LIMIT 1")
        moved = f"{float(px) + 0.01:.2f}"
        with sqlite3.connect(rig.paths.db) as connection:
            connection.execute("UPDATE fills SET px = ? WHERE seq = ?", (moved, seq))
        connection.close()
        code, found = replayed(rig)
    assert (code, found["identical"]) == (1, False)
    difference = found["difference"]
    assert (difference["table"], difference["row"], difference["column"]) == ("fills", fill_id, "px")
    assert (difference["recorded"], difference["replayed"]) == (moved, px)


def test_nothing_is_recorded_when_switched_off(tmp_path: Path) -> None:
    """data.recording_mb: 0; `replay` says so."""
    stretch = Stretch("off", "400", 42, (("15m", 1),), {"data": {"recording_mb": 0}})
    with rig_of(stretch, tmp_path / "run") as rig:
        walk(rig, stretch.legs)
        assert rig.stop() == 0
        assert not rig.paths.recordings.exists()
        assert "no session is recorded" in rig.perpbot("replay").stderr
        assert rig.perpbot("replay", "last").returncode == 2


def test_a_session_that_began_between_two_closes_is_compared_on_its_own_market(tmp_path: Path) -> None:
    """The daemon decides the newest close as it starts: older than the recording, and recorded all the same."""
    with Rig(tmp_path / "run", start=LIVELY_START, settings={"signals": LIVELY}) as rig:
        rig.venue.step("1m", 5)
        rig.start()
        rig.step("15m", 5)
        assert rig.stop() == 0
        (first_close_ms,) = rig.rows("SELECT min(close_ms) FROM decisions")[0]
        assert first_close_ms == rig.start_ms
        found = json.loads(rig.perpbot("compare", "--days", "7", "--json", timeout_s=60.0).stdout.splitlines()[-1])
    assert found["simulated_on"] == "recorded market"
    assert (len(found["matched"]), found["missed"], found["extra"]) == (1, [], [])
    assert max(abs(part) for part in found["matched"][0]["parts"].values()) < 1e-7
