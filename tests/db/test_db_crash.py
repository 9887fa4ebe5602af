"""Killed at any instruction, what is on the disk is a prefix of what was put, and holds every commit that returned."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from perp_bot.data.db.reader import Reader
from perp_bot.ops.crash_points import AT_VARIABLE, LOG_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.process]
CHILD = Path(__file__).with_name("crash_child.py")


def start(db: Path, rows: int, every: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(db), str(rows), str(every)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def assert_prefix(db: Path, committed: list[int]) -> int:
    """Check what a killed child left; return how many rows there are."""
    with Reader(db) as reader:
        stored = [row.venue_ms for row in reader.events(10**6)]
        newest = reader.state("newest")
    assert stored == list(range(len(stored)))
    assert newest == (stored[-1] if stored else None)  # rows of one put land together
    if committed:
        assert len(stored) > max(committed)
    connection = sqlite3.connect(db)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    connection.close()
    return len(stored)


@pytest.mark.parametrize("wait_for_commit", [99, 1_999, 7_999])
def test_a_prefix_survives_kill_9_in_the_middle_of_thousands_of_puts(db: Path, wait_for_commit: int) -> None:
    """Rows are there from the first without a hole, and every row whose commit returned is there."""
    child = start(db, 1_000_000, 100)
    assert child.stdout is not None
    committed: list[int] = []
    assert child.stdout.readline() == "started\n"
    while not committed or committed[-1] < wait_for_commit:
        committed.append(int(child.stdout.readline()))
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read()
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    committed += [int(line) for line in rest.splitlines()]
    assert assert_prefix(db, committed) > wait_for_commit


@pytest.mark.parametrize(
    "point", ["journal.before_commit", "journal.after_commit", "writer.before_commit", "writer.after_commit"]
)
@pytest.mark.parametrize("hit", [1, 3])
def test_a_crash_at_a_named_point_keeps_the_prefix(db: Path, tmp_path: Path, point: str, hit: int) -> None:
    """Just before and just after every kind of commit; the points reached are listed."""
    log = tmp_path / "points"
    environment = {AT_VARIABLE: f"{point}:{hit}", LOG_VARIABLE: str(log)}
    # One commit in 20,000: the batches before it are plain ones.
    every = 2 if point.startswith("journal") else 20_000
    child = start(db, 60_000, every, **environment)
    out, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL
    reached = log.read_text().split()
    assert reached[-1] == point
    assert reached.count(point) == hit
    count = assert_prefix(db, [int(line) for line in out.split()[1:]])
    if point == "journal.before_commit":
        assert count == 2 * (hit - 1)  # the commit that was reached did not land, the ones before did
    if point == "journal.after_commit":
        assert count == 2 * hit


def test_a_child_that_is_not_killed_writes_everything(db: Path) -> None:
    """The yardstick of the tests above: without a crash every row lands."""
    child = start(db, 5_000, 1_000)
    out, _ = child.communicate()
    assert child.returncode == 0
    assert out.split()[-1] == "stopped"
    assert assert_prefix(db, [4_999]) == 5_000
