"""One daemon per database, and everybody can see which without taking its lock."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perp_bot.core.errors import DaemonBusy, StoreError
from perp_bot.ops.instance_lock import InstanceLock, holder

HOLD = """
import sys
from pathlib import Path
from perp_bot.ops.instance_lock import InstanceLock
InstanceLock(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""

LOOK = """
import sys
from pathlib import Path
from perp_bot.ops.instance_lock import holder
print(holder(Path(sys.argv[1])))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perp_bot.db.lock"


@pytest.fixture
def other_daemon(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.stdin.close()
    child.stdout.close()
    child.wait()


def test_a_second_process_is_refused_with_the_pid_of_the_first(path: Path, other_daemon: subprocess.Popen[str]) -> None:
    """One line names who holds it."""
    with pytest.raises(DaemonBusy, match=rf"pid {other_daemon.pid}\b") as caught:
        InstanceLock(path).acquire()
    assert "\n" not in str(caught.value)


def test_looking_at_the_holder_does_not_disturb_it(path: Path, other_daemon: subprocess.Popen[str]) -> None:
    """The pid is read as often as one likes, and refused attempts change nothing."""
    for _ in range(3):
        assert holder(path) == other_daemon.pid
        with pytest.raises(DaemonBusy):
            InstanceLock(path).acquire()
    assert path.read_text() == f"{other_daemon.pid}\n"


def test_the_lock_of_a_killed_process_is_free(path: Path, other_daemon: subprocess.Popen[str]) -> None:
    """A dead daemon's pid in the file means nothing."""
    other_daemon.send_signal(signal.SIGKILL)
    other_daemon.wait()
    assert holder(path) is None
    assert path.read_text() == f"{other_daemon.pid}\n"
    with InstanceLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_nobody_holds_a_lock_that_was_never_taken(path: Path) -> None:
    """Asking creates nothing."""
    assert holder(path) is None
    assert not path.exists()


def test_the_holder_sees_itself_and_keeps_its_lock(path: Path) -> None:
    """Asking within the holding process must not open the file: closing it would drop the lock."""
    with InstanceLock(path) as lock:
        assert holder(path) == os.getpid()
        assert holder(Path(os.path.relpath(path))) == os.getpid()
        with pytest.raises(DaemonBusy, match="already holds"):
            InstanceLock(path).acquire()
        assert lock.path == path
        seen = subprocess.run([sys.executable, "-c", LOOK, str(path)], capture_output=True, text=True, check=True)
        assert seen.stdout == f"{os.getpid()}\n"
    assert holder(path) is None


def test_a_lock_can_be_taken_again_after_its_release(path: Path) -> None:
    """Release is harmless when repeated, and the file stays."""
    lock = InstanceLock(path)
    for _ in range(2):
        lock.acquire()
        lock.release()
        lock.release()
    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_lock_in_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    """A lock that cannot be created is no free lock."""
    path = tmp_path / "no" / "lock"
    with pytest.raises(StoreError, match=re.escape(str(path))):
        InstanceLock(path).acquire()
    assert holder(path) is None


@pytest.mark.slow
@pytest.mark.process
def test_of_many_that_start_at_once_exactly_one_gets_it(path: Path) -> None:
    """A race of processes has one winner, and every loser is refused by name."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    losers: list[subprocess.Popen[str]] = []
    while len(losers) < 3:
        losers = [child for child in children if child.poll() is not None]
    (winner,) = [child for child in children if child not in losers]
    assert winner.stdout is not None
    assert winner.stdout.readline() == "held\n"
    assert holder(path) == winner.pid
    for child in children:
        _, err = child.communicate()
        if child in losers:
            assert "DaemonBusy" in err
