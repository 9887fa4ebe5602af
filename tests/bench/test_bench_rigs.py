"""What the measurements stand on: the terminal, the daemon's processes, the environment they run in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from perp_bot.bench.daemon_rig import DaemonRig, cpu_s, practice_venue, rss_bytes
from perp_bot.bench.measure import user_environment
from perp_bot.bench.terminal import COLUMNS, ROWS, Terminal
from perp_bot.core.errors import PerpBotError

DRAWS = "import os; print('\\x1b[31mSI\\x1b[0mZE', *os.get_terminal_size()); print('key', input())"


@pytest.mark.slow
def test_a_terminal_shows_what_is_drawn_and_takes_keys(tmp_path: Path) -> None:
    """Colours within a word do not hide it; the size is the one measured at; the exit code is the command's."""
    with Terminal([sys.executable, "-c", DRAWS], tmp_path, os.environ) as screen:
        assert screen.await_text(f"SIZE {COLUMNS} {ROWS}") > 0.0
        assert screen.leave("x\n") == 0
        assert screen.written_bytes > len("SIZE 160 48")


@pytest.mark.slow
def test_a_command_that_does_not_show_the_frame_is_an_error_with_its_words(tmp_path: Path) -> None:
    """A figure of a crash is never given; the line says what was on the screen instead."""
    command = [sys.executable, "-c", "raise SystemExit('no venue answers')"]
    with (
        Terminal(command, tmp_path, os.environ) as screen,
        pytest.raises(PerpBotError, match="did not show 'PAPER'; it ends with: no venue answers"),
    ):
        screen.await_text("PAPER", within_s=10.0)


@pytest.mark.slow
def test_a_terminal_that_is_left_ends_its_command(tmp_path: Path) -> None:
    """Also a command that ignores being asked: nothing measured outlives its measurement."""
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    with Terminal([sys.executable, "-c", stubborn], tmp_path, os.environ, ends_within_s=0.2) as screen:
        screen.await_text("up")
        pid = screen.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(60)
def test_a_daemon_that_cannot_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    """The rig never waits for a process that has ended."""
    with practice_venue(None) as venue:
        pass  # gone again: nothing answers at its address
    with (
        DaemonRig(tmp_path, venue, user_environment(tmp_path)) as rig,
        pytest.raises(PerpBotError, match="it ended with 3; it said: perpbot: no practice venue answers"),
    ):
        rig.start()


def test_memory_and_processor_time_are_the_kernels_own() -> None:
    """Of this process: more than a megabyte, some time used; of none: an error."""
    assert rss_bytes(os.getpid()) > 1_000_000
    assert 0.0 < cpu_s(os.getpid()) < 100_000.0
    with pytest.raises(PerpBotError, match="cannot be read"):
        rss_bytes(2**22 + 1)


def test_measured_processes_keep_compiled_modules_as_a_users_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where our own environment forbids it they are kept aside, else nothing is changed."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    changed = user_environment(tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in changed
    assert changed["PYTHONPYCACHEPREFIX"] == str(tmp_path / "compiled-modules")
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE")
    assert user_environment(tmp_path) == dict(os.environ)
