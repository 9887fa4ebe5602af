"""Child processes of the demo: started with our own interpreter, ended with us, whatever ends us."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Ask the kernel (Linux) to end this child when its parent dies, SIGKILL of the parent included."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One `perpbot ...` process whose talk goes to a file."""

    def __init__(self, name: str, arguments: Sequence[str], talk: Path) -> None:
        self.name = name
        self.talk = talk
        with talk.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "perp_bot", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one C call, before the demo has any thread
                start_new_session=True,  # ctrl-C reaches the demo, which ends its children in order
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll()

    def last_words(self, lines: int = 3) -> str:
        """Return the last lines it wrote."""
        text = self.talk.read_text(errors="replace").strip().splitlines()
        return " / ".join(text[-lines:]) or "it said nothing"

    def stop(self, timeout_s: float = 8.0) -> int:
        """End it (SIGTERM, then SIGKILL) and return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()
