"""The thread of a source: started, woken and ended from the screen's thread."""

from __future__ import annotations

import threading


class SourceThread:
    """Runs `_run` of a subclass until it is stopped; between two looks `_run` waits in `_pause`."""

    def __init__(self, name: str) -> None:
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def read_now(self) -> None:
        """Look without waiting for the interval."""
        self._wake.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread; what it holds open it closes."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        raise NotImplementedError

    def _pause(self, wait_s: float) -> None:
        self._wake.wait(wait_s)
        self._wake.clear()
