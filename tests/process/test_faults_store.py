"""The database or its disk fails while the daemon runs: entries stop, exits go out, no row is lost, all resumes."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig import LIVELY, LIVELY_START, Rig

from perp_bot.data.db.emergency import read_emergency

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90)]

SETTINGS = {"signals": LIVELY, "data": {"close_confirm_timeout_seconds": 0.5}}


@contextmanager
def locked(db: Path) -> Iterator[None]:
    """Hold the database as another program would."""
    other = sqlite3.connect(db, isolation_level=None, timeout=5.0)
    other.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full_disk(pid: int, most_bytes: int) -> Iterator[None]:
    """Let no file of the process grow beyond some bytes: the kernel refuses, as on a full disk."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def test_a_locked_database_stops_entries_and_lets_exits_out(tmp_path: Path) -> None:
    """Another process holds the file over four closes: the exit is journalled beside it, the entry is not made.

    When the lock is gone everything that happened is in the database, in order, and the next close enters.
    """
    with Rig(tmp_path, start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 2)
        held = rig.step("1m")
        assert [position.symbol for position in held.positions] == ["ETH"]
        with locked(rig.paths.db):
            state = rig.await_steps(4)
            assert state.status == "DEGRADED"
            assert any("is locked by another process" in reason for reason in state.status_reasons)
            assert state.positions == ()
            assert (state.counters.entries, state.counters.exits) == (1, 1)
            assert state.counters.decisions == 14
            journalled = read_emergency(rig.paths.emergency_journal)
            assert [(row["symbol"], row["role"], row["reason"]) for row in journalled] == [
                ("ETH", "exit", "mean_reversion_complete")
            ]
            assert rig.rows("SELECT max(close_ms) FROM decisions") < [(rig.venue.now_ms,)]
        rig.await_status("RUNNING")
        rig.step("15m")

        assert rig.decided("ETH")[3] == ("exit",)
        assert rig.decided("BTC")[6][:2] == ("blocked", "store")
        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}
        assert [sorted(rig.decided(symbol)) for symbol in rig.symbols] == [list(range(8))] * 2
        assert rig.rows("SELECT count(*) FROM trades") == [(1,)]
        assert any("takes rows again" in text for text in rig.events("STORE"))
        rig.until("the emergency journal is cleared", lambda: read_emergency(rig.paths.emergency_journal) == [])
        assert rig.state().account.accounting_error_max_usd < 0.01
        assert rig.stop() == 0


def test_a_lock_that_begins_between_closes_costs_the_entry_not_the_loop(tmp_path: Path) -> None:
    """The loop waits for the commit of an intent and gives up: the entry becomes a row that says why."""
    with Rig(tmp_path, start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 5)
        rig.venue.step(to="1m", count=14)
        rig.settle()
        with locked(rig.paths.db):
            state = rig.await_steps(1)
            assert state.orders == ()
            assert state.positions == ()
            signal = next(row for row in state.signals if row.symbol == "BTC")
            assert signal.action == "blocked_long"
            assert any("is locked by another process" in reason for reason in signal.blocked_by)
        rig.await_status("RUNNING")
        rig.settle()
        assert rig.decided("BTC")[6][0] == "blocked"
        assert rig.rows("SELECT count(*) FROM orders WHERE role = 'entry' AND symbol = 'BTC' AND state = 'open'") == [
            (0,)
        ]
        rig.step("15m")
        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}
        assert rig.stop() == 0


@pytest.mark.parametrize("nothing_fits", [False, True], ids=["journal has room", "nothing can be written"])
def test_a_full_disk_stops_entries_and_lets_exits_out(nothing_fits: bool, tmp_path: Path) -> None:
    """Log, database and, in the worst case, the emergency journal refuse: the exit goes out all the same.

    With room again no row is missing, the log says how many of its lines are, and the next close enters.
    """
    with Rig(tmp_path, start=LIVELY_START, settings=SETTINGS) as rig:
        rig.start()
        rig.step("15m", 2)
        rig.step("1m")
        assert rig.process is not None
        write_ahead_log = rig.paths.db.with_name("perp_bot.db-wal")
        with full_disk(rig.process.pid, 1 if nothing_fits else write_ahead_log.stat().st_size):
            state = rig.await_steps(4)
            assert state.status == "DEGRADED"
            assert any("free disk space" in reason for reason in state.status_reasons), state.status_reasons
            assert state.positions == ()
            assert (state.counters.entries, state.counters.exits) == (1, 1)
            journalled = [row["role"] for row in read_emergency(rig.paths.emergency_journal)]
            assert journalled == ([] if nothing_fits else ["exit"])
        rig.await_status("RUNNING")
        rig.step("15m")

        assert rig.decided("ETH")[3] == ("exit",)
        assert rig.decided("BTC")[6][:2] == ("blocked", "store")
        assert {rig.decided("BTC")[7][0], rig.decided("ETH")[7][0]} == {"enter", "blocked"}
        assert [sorted(rig.decided(symbol)) for symbol in rig.symbols] == [list(range(8))] * 2
        assert rig.rows("SELECT count(*) FROM trades") == [(1,)]
        assert "takes rows again" in rig.log_text
        assert rig.state().account.accounting_error_max_usd < 0.01
        assert rig.stop() == 0
    if nothing_fits:
        assert "log lines are missing before this one" in rig.log_text
