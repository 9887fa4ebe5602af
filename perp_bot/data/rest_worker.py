"""One thread for every background REST read, in a fixed order of importance.

Each chore says when it wants to run; the first one that is due runs, alone. So the confirmation of a boundary always
comes before the funding read of the same hour, and both before anything that is only stored.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from perp_bot.core.clock import monotonic_s

log = logging.getLogger(__name__)

_LONGEST_SLEEP_S = 1.0  # the venue's clock may be moved ahead by a frame without anybody waking us


class Chore(Protocol):
    """Something the worker does again and again."""

    name: str

    def wait_s(self) -> float | None:
        """Return wall seconds until it wants to run (0 = now); None = nothing to do."""

    def run(self) -> None:
        """Do what is due; keeps its own count of failures and never raises for a venue that is away."""

    def is_pending(self) -> bool:
        """Return whether something that the trading loop waits for is due or under way."""


class RestWorker:
    """Run chores, the first of the list first."""

    def __init__(self, chores: tuple[Chore, ...]) -> None:
        self._chores = chores
        self._wake = threading.Condition()
        self._is_woken = False
        self._is_held = False
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="perpbot-market-rest", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ask the thread to end; a read under way ends by its own timeout. Return whether it has ended."""
        self._is_stopping.set()
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def stopping(self) -> threading.Event:
        """Set when chores have to give up waiting."""
        return self._is_stopping

    def wake(self) -> None:
        """Look at the chores again, now."""
        with self._wake:
            self._is_woken = True
            self._wake.notify_all()

    def hold(self) -> None:
        """Begin no chore before `release` (a batch is being sealed: nothing of it may come before its end)."""
        with self._wake:
            self._is_held = True

    def release(self) -> None:
        """Go on after `hold`."""
        with self._wake:
            self._is_held = False
            self._is_woken = True
            self._wake.notify_all()

    def is_settled(self) -> bool:
        """Return whether nothing that the loop waits for is due or under way."""
        return not any(chore.is_pending() for chore in self._chores)

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until settled, at most `timeout_s`; return whether it is."""
        deadline_s = monotonic_s() + timeout_s
        with self._wake:
            while not self.is_settled():
                left_s = deadline_s - monotonic_s()
                if left_s <= 0 or self._is_stopping.is_set():
                    return False
                self._wake.wait(min(left_s, 0.05))
        return True

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            chore, sleep_s = self._choose()
            if chore is None:
                with self._wake:
                    if not self._is_woken:
                        self._wake.wait(sleep_s)
                    self._is_woken = False
                continue
            try:
                chore.run()
            except Exception:
                # Supervising edge: a bug in one chore must not end the confirmations of all the others.
                log.exception("market data: %s failed unexpectedly", chore.name)
                self._is_stopping.wait(1.0)
            with self._wake:
                self._wake.notify_all()

    def _choose(self) -> tuple[Chore | None, float]:
        sleep_s = _LONGEST_SLEEP_S
        with self._wake:
            if self._is_held:
                return None, sleep_s
        for chore in self._chores:
            wait_s = chore.wait_s()
            if wait_s is None:
                continue
            if wait_s <= 0:
                return chore, 0.0
            sleep_s = min(sleep_s, wait_s)
        return None, sleep_s
