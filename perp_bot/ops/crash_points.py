"""Named points at which a test can end the process, to prove that a crash there loses and doubles nothing.

`PERPBOT_CRASH_AT=name:k` kills the process (SIGKILL) at the k-th time the named point is reached, counted from 1.
`PERPBOT_CRASH_LOG=path` appends every point reached, one name a line, so that a test can enumerate them.
Without these variables a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

from perp_bot.core.errors import UsageError

AT_VARIABLE = "PERPBOT_CRASH_AT"
LOG_VARIABLE = "PERPBOT_CRASH_LOG"


def parse_crash_at(text: str) -> tuple[str, int]:
    """Return (name, k) of `name:k`.

    Raises:
        UsageError: when `text` is not a name, a colon and a whole number of at least 1.
    """
    name, _, count = text.rpartition(":")
    if not name or not count.isdigit() or int(count) < 1:
        raise UsageError(f"{AT_VARIABLE} must be name:k with k >= 1 (e.g. writer.before_commit:7), not {text!r}")
    return name, int(count)


class _Armed:
    """The points of this process when a test has set a variable."""

    def __init__(self, crash_at: str | None, log_path: str | None) -> None:
        self._target = parse_crash_at(crash_at) if crash_at else None
        self._log_path = log_path
        self._hits = 0
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        with self._lock:
            if self._log_path:
                with open(self._log_path, "a", encoding="utf-8") as log:
                    log.write(name + "\n")
            if self._target is None or self._target[0] != name:
                return
            self._hits += 1
            if self._hits == self._target[1]:
                os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def arm() -> None:
    """Take what the environment asks for: done at the import, and by a process that was forked with another one."""
    global _armed
    crash_at, log_path = os.environ.get(AT_VARIABLE), os.environ.get(LOG_VARIABLE)
    _armed = _Armed(crash_at, log_path) if crash_at or log_path else None


arm()


def crash_point(name: str) -> None:
    """End the process here when the environment asks for it; otherwise do nothing."""
    if _armed is not None:
        _armed.reach(name)
