"""A real terminal: first frame, SIGTERM restores it, a dropped terminal ends the process, q leaves the bot alone."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import FakeDaemon

from perp_bot.config.paths import RuntimePaths
from perp_bot.tui import terminal

pytestmark = [pytest.mark.slow, pytest.mark.process]

RUN = """
import sys
from dataclasses import replace
from pathlib import Path
from perp_bot.config.model import Config, DataConfig
from perp_bot.tui.app import run
config = replace(Config(), data=replace(DataConfig(), db_path=Path(sys.argv[1])))
sys.exit(run(config, **eval(sys.argv[2])))
"""
LEAVE_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Terminal:
    """The dashboard in a pseudo terminal of 120x40."""

    def __init__(self, db: Path, options: dict[str, Any] | None = None, **environment: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(db), repr(options or {})],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm-256color"} | environment,
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""

    def read_until(self, wanted: bytes, timeout_s: float = 15.0) -> None:
        """Read what is drawn until `wanted` is in it."""
        deadline_s = time.monotonic() + timeout_s
        while wanted not in self.output:
            left_s = deadline_s - time.monotonic()
            assert left_s > 0, self.output[-2000:]
            if select.select([self.master], [], [], left_s)[0]:
                try:
                    self.output += os.read(self.master, 65536)
                except OSError:
                    assert wanted in self.output, self.output[-2000:]
                    return

    def read_to_end(self) -> None:
        """Read what an ended process has left."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:  # Linux: the other side is closed and nothing is left
                return

    def close(self) -> None:
        """End everything."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)
        if self.master >= 0:
            os.close(self.master)
            self.master = -1


@pytest.fixture
def shown(paths: RuntimePaths) -> Iterator[Terminal]:
    """Return a dashboard that shows a live daemon."""
    with FakeDaemon(paths.socket):
        found = Terminal(paths.db)
        try:
            found.read_until(b"LIVE")
            yield found
        finally:
            found.close()


def test_q_restores_the_terminal_and_says_that_the_bot_goes_on(shown: Terminal) -> None:
    """One line after leaving; exit code 0."""
    os.write(shown.master, b"q")
    shown.read_until(b"the bot goes on (RUNNING, paper practice, pid 4242)")
    assert LEAVE_ALTERNATE_SCREEN in shown.output
    assert shown.output.index(LEAVE_ALTERNATE_SCREEN) < shown.output.index(b"the bot goes on")
    assert shown.process.wait(5) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_restores_the_terminal(shown: Terminal, number: signal.Signals, code: int) -> None:
    """SIGTERM and SIGINT leave the alternate screen and exit with their codes."""
    shown.process.send_signal(number)
    shown.read_until(LEAVE_ALTERNATE_SCREEN)
    assert shown.process.wait(5) == code


def test_a_dropped_terminal_ends_the_process(shown: Terminal) -> None:
    """The terminal goes away and no signal comes (nohup, dropped ssh): the watchdog ends it, nothing spins."""
    os.close(shown.master)
    shown.master = -1
    assert shown.process.wait(8) == 129


def test_no_control_character_of_a_daemon_reaches_the_terminal(paths: RuntimePaths) -> None:
    """A hostile status reason cannot set the title, clear the screen or ring the bell."""
    with FakeDaemon(paths.socket) as daemon:
        found = Terminal(paths.db)
        try:
            found.read_until(b"LIVE")
            daemon.show(status="DEGRADED", status_reasons=("\x1b]0;owned\x07\x1b[2J",))
            found.read_until("␛]0;owned␇␛[2J".encode())
            assert b"\x1b]0;owned" not in found.output
            assert b"\x07" not in re.sub(rb"\x1b\][^\x07]*\x07", b"", found.output)
        finally:
            found.close()


def test_without_a_terminal_it_says_what_to_use_instead(paths: RuntimePaths) -> None:
    """One clear line and exit by UsageError, not a traceback of the framework."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(paths.db), "{}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert "perpbot status --watch" in done.stderr


def test_a_dumb_terminal_is_named_as_such(paths: RuntimePaths) -> None:
    """It is a terminal, it just cannot show the dashboard: the line says so and what works."""
    found = Terminal(paths.db, TERM="dumb")
    try:
        found.read_until(b"TERM=dumb cannot show the dashboard; `perpbot status --watch` works here")
    finally:
        found.close()


def test_no_color_on_a_terminal_of_16_colours(paths: RuntimePaths) -> None:
    """NO_COLOR=1 with TERM=xterm: it runs, not one colour is sent, and q leaves with 0."""
    with FakeDaemon(paths.socket):
        found = Terminal(paths.db, TERM="xterm", NO_COLOR="1", COLORTERM="")
        try:
            found.read_until(b"LIVE")
            os.write(found.master, b"q")
            found.read_until(b"the bot goes on")
            assert found.process.wait(5) == 0
        finally:
            found.close()
    codes = {code for sent in re.findall(rb"\x1b\[([0-9;]*)m", found.output) for code in sent.split(b";")}
    assert b"1" in codes, "bold stays"
    assert {code for code in codes if re.fullmatch(rb"[349][0-8]|10[0-7]", code)} == set()


def test_a_locale_without_our_glyphs_shows_no_escapes(paths: RuntimePaths) -> None:
    """LANG=C without Python's UTF-8 mode: ASCII characters, not `\\u2500`."""
    with FakeDaemon(paths.socket):
        found = Terminal(paths.db, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="")
        try:
            found.read_until(b"LIVE")
            found.read_until(b"Positions (1)")
            assert b"\\u2" not in found.output
            assert found.output.isascii()
        finally:
            found.close()


def test_after_its_time_it_leaves_as_q_does_and_says_nothing_when_told_so(paths: RuntimePaths) -> None:
    """The demo ends the bot itself: no line may say that the bot goes on."""
    with FakeDaemon(paths.socket):
        found = Terminal(paths.db, {"for_s": 1.0, "farewell": False})
        try:
            found.read_until(LEAVE_ALTERNATE_SCREEN)
            assert found.process.wait(5) == 0
            found.read_to_end()
        finally:
            found.close()
    assert b"LIVE" in found.output
    assert b"dashboard closed" not in found.output


def test_a_closed_descriptor_is_a_lost_terminal() -> None:
    """tcgetattr is the watchdog's question."""
    master, slave = pty.openpty()
    assert not terminal.is_terminal_gone(slave)
    os.close(master)
    assert terminal.is_terminal_gone(slave)
    os.close(slave)
    assert terminal.is_terminal_gone(slave)


def test_the_dashboard_loads_neither_trading_nor_research() -> None:
    """Import hygiene: no numba, pandas, numpy, SDK, trading, execution or strategies behind the dashboard."""
    code = (
        "import sys, perp_bot.tui.app, perp_bot.data.db.reader\n"
        "bad = ('numba', 'pandas', 'numpy', 'hyperliquid', 'aiohttp', 'perp_bot.trading', 'perp_bot.execution',"
        " 'perp_bot.strategies', 'perp_bot.risk', 'perp_bot.decision')\n"
        "print([name for name in bad if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=15, check=True)
    assert done.stdout.strip() == "[]"
