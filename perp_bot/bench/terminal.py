"""A command on a terminal of its own: what it draws is read and searched, keys are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import selectors
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from perp_bot.core.errors import PerpBotError

ROWS, COLUMNS = 48, 160
_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[PX^_\]].*?(?:\x1b\\|\x07)|\x1b.", re.DOTALL)


class Terminal:
    """Runs one command on a pseudo-terminal of 160x48; it is gone when the block ends."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], *, ends_within_s: float = 10.0
    ) -> None:
        """`ends_within_s`: how long a command that is still there at the end has, before it is killed."""
        self._ends_within_s = ends_within_s
        self._command = list(command)
        self._folder = folder
        # COLUMNS and LINES of whoever measures would overrule the size of this terminal.
        own = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self._environment = {**own, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._drawn = bytearray()
        self.written_bytes = 0
        self.started_s = 0.0

    def __enter__(self) -> Self:
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._fd, selectors.EVENT_READ)
        self.started_s = time.perf_counter()
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)  # what it started as children of its own ends with it
            self.read_for(self._ends_within_s)
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        self._selector.close()
        os.close(self._fd)

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self._process.pid

    def await_text(self, text: str, within_s: float = 60.0) -> float:
        """Return the seconds since the start until `text` is drawn; the command saying something else is an error."""
        wanted = text.encode()
        deadline_s = time.perf_counter() + within_s
        while wanted not in _CONTROL.sub(b"", self._drawn):
            if not self._read(deadline_s):
                said = _CONTROL.sub(b" ", self._drawn).decode(errors="replace").split()[-20:]
                raise PerpBotError(
                    f"{Path(self._command[0]).name} did not show {text!r}; it ends with: {' '.join(said)}"
                )
        return time.perf_counter() - self.started_s

    def read_for(self, seconds: float) -> None:
        """Take what it draws for a while, or until it ends."""
        deadline_s = time.perf_counter() + seconds
        while self._read(deadline_s):
            del self._drawn[:-65_536]

    def leave(self, key: str = "q", within_s: float = 20.0) -> int:
        """Press the key that quits and return the exit code."""
        os.write(self._fd, key.encode())
        self.read_for(within_s)
        return self._process.wait(within_s)

    def _read(self, deadline_s: float) -> bool:
        """Read once; False when the time is over or the terminal was closed."""
        left_s = deadline_s - time.perf_counter()
        if left_s <= 0:
            return False
        if not self._selector.select(left_s):
            return False
        try:
            read = os.read(self._fd, 65_536)
        except OSError:  # Linux: every process on the terminal has ended
            return False
        self.written_bytes += len(read)
        self._drawn += read
        return bool(read)
