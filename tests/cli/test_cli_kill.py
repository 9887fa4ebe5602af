"""perpbot kill: the latch first; with a daemon, without one, and on one that hangs (I6)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_run import RunCommand
from ipc_samples import HungLoop, serving, snapshot
from test_cli_controls import PreparingLoop

from perp_bot.ipc.client import Client
from perp_bot.ops.instance_lock import holder
from perp_bot.risk import kill_switch

_HOLD_LOCK = """
import sys, time
from pathlib import Path
from perp_bot.ops.instance_lock import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def lock_holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the instance lock and does nothing else: a daemon that hangs altogether."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(tmp_path / "perp_bot.db.lock")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.kill()
    child.wait(10)
    child.stdout.close()


def _reason(tmp_path: Path) -> str | None:
    latch = kill_switch.read(tmp_path / "KILL")
    assert latch is not None, "not latched"
    return latch.reason


def test_kill_works_without_a_daemon_and_says_so(perpbot: RunCommand, tmp_path: Path) -> None:
    """The latch holds back the next start."""
    ran = perpbot("kill", "--reason", "going on holiday")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"killed: latched at {tmp_path / 'KILL'}; no daemon runs\n"
    assert _reason(tmp_path) == "going on holiday"


def test_kill_tells_the_daemon_and_latches(perpbot: RunCommand, tmp_path: Path) -> None:
    """The daemon's own words are the outcome."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("kill", "--json", "--reason", "news")
    assert ran.code == 0
    assert json.loads(ran.out)["text"] == "killed; 0 entry orders cancelled"
    assert loop.commands() == ["kill"]
    assert _reason(tmp_path) == "news"


def test_kill_twice_is_no_error_and_keeps_the_first_reason(perpbot: RunCommand, tmp_path: Path) -> None:
    """Idempotent."""
    perpbot("kill", "--reason", "first")
    assert perpbot("kill", "--reason", "second").code == 0
    assert _reason(tmp_path) == "first"


@pytest.mark.slow
def test_kill_on_a_hung_loop_is_certain_and_says_what_is_not(perpbot: RunCommand, tmp_path: Path) -> None:
    """The socket thread answers for the loop."""
    with serving(tmp_path, HungLoop()):
        ran = perpbot("kill")
    assert ran.code == 0
    assert "has not answered yet" in ran.out
    assert kill_switch.is_latched(tmp_path / "KILL")


@pytest.mark.slow
def test_kill_on_a_stopped_daemon_latches_by_the_file(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """SIGSTOP: connections are taken by the kernel, nobody answers; one second later it is said."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "perp-bot.sock"))
        listener.listen(1)
        started_s = time.monotonic()
        ran = perpbot("kill")
        took_s = time.monotonic() - started_s
    assert ran.code == 0
    assert f"the daemon (pid {lock_holder.pid}) did not confirm" in ran.out
    assert "looks at the latch before every order" in ran.out
    assert 0.9 < took_s < 5.0
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_a_kill_that_cannot_be_latched_is_a_failure(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither file nor daemon: exit code 1 and the whole truth."""

    def refuse(*_: object, **__: object) -> bool:
        from perp_bot.core.errors import StoreError

        raise StoreError("kill NOT latched: cannot create KILL: No space left on device")

    monkeypatch.setattr(kill_switch, "latch", refuse)
    ran = perpbot("kill")
    assert (ran.code, ran.out) == (1, "")
    assert "NOT latched" in ran.err
    assert "the daemon could not be told" in ran.err


def test_flatten_latches_at_once_and_previews_only_the_flatten(perpbot: RunCommand, tmp_path: Path) -> None:
    """--yes spends the token that came with the kill."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("kill", "--flatten", "--symbol", "BTC", "--yes")
    assert (ran.code, ran.out) == (0, "flatten symbol:BTC committed\n")
    assert loop.commands() == ["kill", "commit"]
    assert "flatten would sell 0.015 BTC" in ran.err
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_flatten_without_a_terminal_kills_and_refuses_the_rest(perpbot: RunCommand, tmp_path: Path) -> None:
    """The kill stands; that nothing was flattened is a failure."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("kill", "--flatten")
    assert (ran.code, ran.out) == (1, "killed; NOT flattened: this is not a terminal, add --yes\n")
    assert loop.commands() == ["kill"]
    assert kill_switch.is_latched(tmp_path / "KILL")


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_flatten_declined_leaves_the_kill(perpbot: RunCommand, tmp_path: Path, typed: str) -> None:
    """No and Ctrl-D alike."""
    loop = PreparingLoop()
    with serving(tmp_path, loop):
        ran = perpbot("kill", "--flatten", typed=typed)
    assert ran.code == 1
    assert ran.out.startswith("killed; ")
    assert loop.commands() == ["kill"]
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_flatten_with_nothing_open_asks_nothing(perpbot: RunCommand, tmp_path: Path) -> None:
    """The daemon says that it is flat; no question, also without a terminal."""
    loop = PreparingLoop(holds_position=False)
    with serving(tmp_path, loop):
        ran = perpbot("kill", "--flatten")
    assert (ran.code, ran.out) == (0, "flatten all committed\n")
    assert loop.commands() == ["kill", "commit"]


@pytest.mark.parametrize("status", ["partly_flat", "unknown"])
def test_flat_means_flat(perpbot: RunCommand, tmp_path: Path, status: str) -> None:
    """Anything less is exit code 1."""
    with serving(tmp_path, PreparingLoop(commit_status=status)):
        ran = perpbot("kill", "--flatten", "--yes", "--json")
    assert ran.code == 1
    assert json.loads(ran.out)["status"] == status


def test_flatten_without_a_daemon_is_honest(perpbot: RunCommand, tmp_path: Path) -> None:
    """Killed, not flat, and what to do; exit code 3."""
    ran = perpbot("kill", "--flatten", "--yes")
    assert ran.code == 3
    assert "NOT flattened" in ran.out
    assert "perpbot trade --paper" in ran.out
    assert kill_switch.is_latched(tmp_path / "KILL")


# ---------------------------------------------------------------- take over


@pytest.mark.slow
def test_take_over_ends_a_daemon_that_hangs(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """Latch, SIGKILL the holder of the lock, prove that the lock is free."""
    ran = perpbot("kill", "--take-over", "--yes")
    assert ran.code == 0
    assert f"the hung daemon (pid {lock_holder.pid}) was ended and its lock is free" in ran.out
    assert lock_holder.wait(10) == -signal.SIGKILL
    assert holder(tmp_path / "perp_bot.db.lock") is None
    assert kill_switch.is_latched(tmp_path / "KILL")


@pytest.mark.slow
def test_take_over_with_flatten_says_what_paper_can_do(perpbot: RunCommand, lock_holder: subprocess.Popen[str]) -> None:
    """Positions on paper live in the daemon alone: exit code 3, not flat."""
    ran = perpbot("kill", "--take-over", "--flatten", "--yes")
    assert ran.code == 3
    assert "was ended" in ran.out
    assert "NOT flattened" in ran.out
    assert lock_holder.wait(10) == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("typed", [None, "n\n", "\n"])
def test_take_over_ends_nothing_unasked(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str], typed: str | None
) -> None:
    """No --yes and no y: the process lives, the kill stands."""
    ran = perpbot("kill", "--take-over", typed=typed)
    assert ran.code == 2
    assert "perpbot: killed; " in ran.err.splitlines()[-1]
    assert lock_holder.poll() is None
    assert kill_switch.is_latched(tmp_path / "KILL")


@pytest.mark.slow
def test_take_over_spares_a_daemon_that_is_well(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """A loop that ticks is not ended, --yes or not."""
    with serving(tmp_path, PreparingLoop()):
        ran = perpbot("kill", "--take-over", "--yes")
    assert ran.code == 2
    assert "the daemon answers and its loop is alive" in ran.err
    assert lock_holder.poll() is None
    assert kill_switch.is_latched(tmp_path / "KILL")


@pytest.mark.slow
def test_take_over_ends_a_daemon_whose_loop_alone_hangs(
    perpbot: RunCommand, tmp_path: Path, lock_holder: subprocess.Popen[str]
) -> None:
    """The socket answers, the loop's age gives it away."""
    with serving(tmp_path, HungLoop()) as server:
        server.publish(snapshot(2, loop_s=11.0))
        with Client(server._path) as client:
            assert client.state()[0].ages.loop_s == 11.0
        ran = perpbot("kill", "--take-over", "--yes")
    assert ran.code == 0
    assert lock_holder.wait(10) == -signal.SIGKILL


def test_take_over_without_a_daemon_is_a_plain_kill(perpbot: RunCommand, tmp_path: Path) -> None:
    """Nothing is ended, nothing is asked."""
    ran = perpbot("kill", "--take-over")
    assert (ran.code, ran.out) == (0, f"killed: latched at {tmp_path / 'KILL'}; no daemon runs\n")
    assert os.path.exists(tmp_path / "KILL")
