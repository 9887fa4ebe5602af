"""Whether the market behind the address is still the one that we began with: looked at after every interruption.

A practice venue can be stopped and another one started on the same port: its prices must not be spliced onto ours.
"""

from __future__ import annotations

import threading
from typing import Protocol

from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import VenueAway, VenueError
from perp_bot.core.timeframes import MINUTE_MS, iso
from perp_bot.data.answers import VenueStatus
from perp_bot.data.identity import venue_identity
from perp_bot.data.limiter import RequestClass

TIMEOUT_S = 2.0
ASK_AT_MOST_EVERY_S = 1.0
TOLERANCE_WALL_S = 2.0  # a slow answer, at the venue's speed


class StatusClient(Protocol):
    """The one REST read that this needs (`VenueClient`)."""

    base_url: str

    def exchange_status(self, *, request_class: RequestClass = ..., timeout_s: float | None = ...) -> VenueStatus:
        """Return the venue's time and what it is."""


class SameMarket:
    """Remember the market of the start; in doubt, ask before anything is read. Safe from any thread."""

    def __init__(self, client: StatusClient, clock: VenueClock) -> None:
        self._client = client
        self._clock = clock
        self._lock = threading.Lock()
        self._began: VenueStatus | None = None
        self._doubts = 0  # how often the connection was lost
        self._settled = 0  # the doubt that was answered last
        self._asked_s = float("-inf")
        self._verdict: str | None = None
        self.is_another = False  # the last answer was another market's, or the same one's from its beginning

    def begin(self, status: VenueStatus) -> None:
        """Take the market that answered at the start as ours."""
        with self._lock:
            self._began = status
            self._settled = self._doubts
            self._verdict = None

    def doubt(self) -> None:
        """Trust nothing until the venue has been asked: its connection was lost."""
        with self._lock:
            self._doubts += 1
            self._asked_s = float("-inf")

    def gate(self) -> None:
        """Let a read pass when the market is ours.

        Raises:
            VenueAway: while it is another one, or nobody can tell.
        """
        with self._lock:
            if self._began is None or self._settled == self._doubts:
                return
            verdict = self._verdict
            if monotonic_s() - self._asked_s >= ASK_AT_MOST_EVERY_S:
                verdict = self._ask(self._began)
        if verdict is not None:
            raise VenueAway(verdict)

    def why_not(self) -> str | None:
        """Ask the venue, and return why it must not be listened to; None when it is the market of the start."""
        with self._lock:
            return None if self._began is None else self._ask(self._began)

    def _ask(self, began: VenueStatus) -> str | None:
        doubts, asked_ms = self._doubts, self._clock.now_ms()
        self._verdict = self._compare(began, asked_ms)
        self._asked_s = monotonic_s()
        if self._verdict is None:
            self._settled = doubts
        elif self._settled == self._doubts:
            self._doubts += 1  # found out without a lost connection: the reads stop as well
        return self._verdict

    def _compare(self, began: VenueStatus, asked_ms: int) -> str | None:
        url = self._client.base_url
        self.is_another = False
        try:
            status = self._client.exchange_status(request_class=RequestClass.PROTECTIVE, timeout_s=TIMEOUT_S)
        except VenueError as error:
            # A real venue stays what it is; a practice venue that does not say which one it is may be any.
            return None if began.practice is None else str(error)
        self.is_another = True
        was, found = venue_identity(url, began), venue_identity(url, status)
        if found != was:
            return f"the venue at {url} is another market now ({found} instead of {was})"
        if began.practice is None or status.practice is None:
            self.is_another = False
            return None
        if status.practice.speed != began.practice.speed:
            now_runs, ran = _speed(status.practice.speed), _speed(began.practice.speed)
            return f"the venue at {url} began again: it runs at {now_runs} instead of {ran}"
        tolerance_ms = max(MINUTE_MS, TOLERANCE_WALL_S * 1000 * (began.practice.speed or 0.0))
        if status.time_ms < asked_ms - tolerance_ms:
            return f"the venue at {url} began again: its time is {iso(status.time_ms)}, it was {iso(asked_ms)} already"
        self.is_another = False
        return None


def _speed(speed: float | None) -> str:
    return "step" if speed is None else f"{speed:g}x"
