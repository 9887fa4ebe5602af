"""Nonces never repeat and never go back: across restarts, clocks, threads and processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.paths import signers_folder
from perp_bot.core.errors import ConfigError, DaemonBusy, StoreError
from perp_bot.execution.live import nonces
from perp_bot.execution.live.nonces import NonceCounter, signer_lock

ADDRESS = "0x" + "Ab" * 20
T0 = 1_790_000_000_000


class Wall:
    """A wall clock that the test sets."""

    def __init__(self, at_ms: int = T0) -> None:
        self.at_ms = at_ms

    def __call__(self) -> int:
        return self.at_ms


def test_a_nonce_is_the_wall_clock_or_the_last_one_and_one(tmp_path: Path) -> None:
    """max(wall ms, last + 1), one after another."""
    wall = Wall()
    counter = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=wall)
    assert [counter.take(), counter.take(), counter.take()] == [T0, T0 + 1, T0 + 2]
    wall.at_ms = T0 + 1000
    assert counter.take() == T0 + 1000
    wall.at_ms = T0 - 3_600_000
    assert counter.take() == T0 + 1001


def test_it_survives_a_restart_and_a_clock_set_back(tmp_path: Path) -> None:
    """The file remembers what the clock does not."""
    NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall()).take()
    again = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall(T0 - 7_200_000))
    assert again.take() == T0 + 1


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.integers(-(10**7), 10**7)), max_size=40))
def test_no_history_of_clocks_and_restarts_repeats_one(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[bool, int]]
) -> None:
    """Strictly rising, whatever the wall clock does and whenever the process starts anew."""
    folder = tmp_path_factory.mktemp("signers")
    wall = Wall()
    counter = NonceCounter(folder, ADDRESS, wall_clock_ms=wall)
    taken = [0]
    for is_restart, moved_ms in history:
        wall.at_ms += moved_ms
        if is_restart:
            counter = NonceCounter(folder, ADDRESS, wall_clock_ms=wall)
        try:
            taken.append(counter.take())
        except ConfigError:
            assert taken[-1] + 1 > wall.at_ms + nonces.MAX_AHEAD_MS
    assert all(earlier < later for earlier, later in pairwise(taken))


def test_threads_and_counters_of_one_process_share_the_file(tmp_path: Path) -> None:
    """Four threads on two counters: no two get the same."""
    counters = [NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall()) for _ in range(2)]
    taken: list[int] = []

    def work(counter: NonceCounter) -> None:
        for _ in range(100):
            taken.append(counter.take())  # noqa: PERF401 - in the order taken, from several threads

    threads = [threading.Thread(target=work, args=(counters[place % 2],)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(T0, T0 + 400))


TAKE = """
import sys
from pathlib import Path
from perp_bot.execution.live.nonces import NonceCounter
counter = NonceCounter(Path(sys.argv[1]), sys.argv[2], wall_clock_ms=lambda: int(sys.argv[3]))
print(*[counter.take() for _ in range(200)])
"""


@pytest.mark.slow
def test_two_processes_of_one_signer_share_the_file(tmp_path: Path) -> None:
    """At the same time, with clocks an hour apart: 400 different nonces, each process's rising."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, str(tmp_path), ADDRESS, str(T0 + ahead_ms)], stdout=subprocess.PIPE, text=True
        )
        for ahead_ms in (0, 3_600_000)
    ]
    taken = [[int(word) for word in child.communicate()[0].split()] for child in children]
    assert all(child.returncode == 0 for child in children)
    assert all(found == sorted(found) for found in taken)
    assert len({*taken[0], *taken[1]}) == 400


def test_a_file_that_another_process_keeps_is_told(tmp_path: Path) -> None:
    """The counter waits a little and then says it in one line: it never gives out what the other may have."""
    counter = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall(), lock_wait_s=0.01)
    with counter.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DaemonBusy, match=r"holds .* does not give it back"):
            counter.take()
    assert counter.take() == T0


def test_a_clock_far_back_is_told_instead_of_refused_nonces(tmp_path: Path) -> None:
    """The venue takes nonces up to a day ahead; beyond that only a right clock helps."""
    NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall()).take()
    late = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall(T0 - 2 * 86_400_000))
    with pytest.raises(ConfigError, match="48 hours ahead of this machine's clock") as caught:
        late.take()
    assert str(late.path) in str(caught.value)


@pytest.mark.parametrize("content", [b"garbage", b"17\n", b"1" * 20, b"-0000000000000000017\n", b"1" * 20 + b"\n\n"])
def test_a_spoilt_file_is_not_taken_for_a_nonce(tmp_path: Path, content: bytes) -> None:
    """At the start one line says what to do; a running counter goes on from its own last nonce and mends the file."""
    counter = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall())
    counter.take()
    counter.path.write_bytes(content)
    with pytest.raises(StoreError, match="holds no nonce; if no other perpbot uses this key, remove it"):
        NonceCounter(tmp_path, ADDRESS)
    assert counter.take() == T0 + 1
    assert counter.path.read_text() == f"{T0 + 1:020d}\n"


def test_a_removed_file_does_not_make_a_running_counter_repeat(tmp_path: Path) -> None:
    """Its own last nonce counts too."""
    counter = NonceCounter(tmp_path, ADDRESS, wall_clock_ms=Wall())
    counter.take()
    counter.path.unlink()
    assert counter.take() == T0 + 1
    assert counter.path.read_text() == f"{T0 + 1:020d}\n"


def test_a_failing_disk_does_not_stop_a_stop(tmp_path: Path) -> None:
    """The counter goes on in memory and says what is wrong until a write works again."""
    counter = NonceCounter(tmp_path / "signers", ADDRESS, wall_clock_ms=Wall())
    assert counter.take() == T0
    counter.path.unlink()
    counter.path.mkdir()
    assert counter.take() == T0 + 1
    assert counter.trouble is not None
    assert "cannot be written: Is a directory" in counter.trouble
    counter.path.rmdir()
    assert counter.take() == T0 + 2
    assert counter.trouble is None


def test_a_file_that_cannot_be_made_is_one_line_at_the_start(tmp_path: Path) -> None:
    """Before any order, the disk has to work."""
    (tmp_path / "signers").write_text("in the way")
    with pytest.raises(StoreError, match="cannot create the folder"):
        NonceCounter(tmp_path / "signers", ADDRESS)
    (tmp_path / f"{ADDRESS.lower()}.nonce").mkdir()
    with pytest.raises(StoreError, match="cannot be used: Is a directory"):
        NonceCounter(tmp_path, ADDRESS)


def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    """0700 and 0600."""
    folder = tmp_path / "a" / "signers"
    counter = NonceCounter(folder, ADDRESS)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert counter.path.stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------ the signer's lock

HOLD = """
import sys
from pathlib import Path
from perp_bot.execution.live.nonces import signer_lock
signer_lock(Path(sys.argv[1]), sys.argv[2]).acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_signer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the signer's lock."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), ADDRESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    yield child
    child.stdin.close()
    child.stdout.close()
    child.wait()


@pytest.mark.slow
def test_one_daemon_per_signing_key(tmp_path: Path, other_signer: subprocess.Popen[str]) -> None:
    """I8: whichever database it trades for; another key is free, and the end of the process frees the lock."""
    with pytest.raises(DaemonBusy, match=rf"\(pid {other_signer.pid}\) signs with the key of {ADDRESS}"):
        signer_lock(tmp_path, ADDRESS).acquire()
    with signer_lock(tmp_path, "0x" + "cd" * 20):
        pass
    other_signer.kill()
    other_signer.wait()
    with signer_lock(tmp_path, ADDRESS.lower()) as held:
        assert held.path == tmp_path / f"{ADDRESS.lower()}.lock"
        assert held.path.read_text() == f"{os.getpid()}\n"


def test_signers_stand_with_the_user_not_with_a_database() -> None:
    """XDG_STATE_HOME, else ~/.local/state: two databases of one user meet there."""
    assert signers_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/perpbot/signers")
    assert signers_folder({}) == Path.home() / ".local/state/perpbot/signers"
    assert signers_folder({"XDG_STATE_HOME": " "}) == signers_folder({})
