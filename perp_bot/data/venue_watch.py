"""Two slow looks at the venue: its clock against ours, and its list of coins (one may be delisted while we run)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.core.clock import VenueClock, monotonic_s, wall_ms
from perp_bot.core.errors import VenueError
from perp_bot.core.types import Instrument
from perp_bot.data.client import VenueClient

log = logging.getLogger(__name__)

CHECK_EVERY_S = 30.0
RETRY_S = 5.0
INSTRUMENTS_EVERY_S = 300.0
SKEW_WARN_MS = 2000.0
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """The venue's time minus ours, in venue ms; None where the comparison means nothing."""

    to_venue_clock_ms: float | None  # against the carried-forward venue clock
    to_wall_ms: float | None  # against the machine's clock (venues that run in real time)


class VenueWatch:
    """Compare clocks every 30 s, read the coins every 5 minutes; a chore of the REST worker."""

    name = "venue watch"

    def __init__(
        self, *, client: VenueClient, clock: VenueClock, on_instruments: Callable[[tuple[Instrument, ...]], None]
    ) -> None:
        self._client = client
        self._clock = clock
        self._on_instruments = on_instruments
        now_s = monotonic_s()
        self._next_check_s = now_s + CHECK_EVERY_S
        self._next_instruments_s = now_s + INSTRUMENTS_EVERY_S
        self.skew = ClockSkew(None, None)

    def wait_s(self) -> float | None:
        """Return wall seconds until the next look."""
        return max(0.0, min(self._next_check_s, self._next_instruments_s) - monotonic_s())

    def is_pending(self) -> bool:
        """Never: nobody waits for it."""
        return False

    def look_soon(self) -> None:
        """Look at both at the next opportunity (after a reconnect)."""
        self._next_check_s = self._next_instruments_s = monotonic_s()

    def run(self) -> None:
        """Make the looks that are due."""
        now_s = monotonic_s()
        try:
            if now_s >= self._next_check_s:
                self._next_check_s = now_s + RETRY_S
                self._compare_clocks()
                self._next_check_s = now_s + CHECK_EVERY_S
            if now_s >= self._next_instruments_s:
                self._next_instruments_s = now_s + RETRY_S
                self._on_instruments(self._client.instruments())
                self._next_instruments_s = now_s + INSTRUMENTS_EVERY_S
        except VenueError as error:
            log.info("venue watch: %s", error)

    def _compare_clocks(self) -> None:
        asked_s = monotonic_s()
        asked_ms, asked_wall_ms = self._clock.now_ms(), wall_ms()
        status = self._client.exchange_status(timeout_s=TIMEOUT_S)
        half_ms = (monotonic_s() - asked_s) * 1000 / 2
        self.skew = clock_skew(status.time_ms, self._clock, asked_ms, asked_wall_ms, half_ms)
        for what, skew_ms in (
            ("the carried venue clock", self.skew.to_venue_clock_ms),
            ("this machine", self.skew.to_wall_ms),
        ):
            if skew_ms is not None and abs(skew_ms) > SKEW_WARN_MS * max(1.0, self._clock.speed or 1.0):
                log.warning("clock skew: the venue is %+.1f s from %s", skew_ms / 1000, what)


def clock_skew(venue_ms: int, clock: VenueClock, asked_ms: int, asked_wall_ms: int, half_trip_ms: float) -> ClockSkew:
    """Return the venue's time against both clocks; `asked_*` is what they read when asked, the trip is wall ms."""
    speed = clock.speed
    if speed is None:
        return ClockSkew(None, None)
    to_clock_ms = venue_ms - (asked_ms + half_trip_ms * speed)
    to_wall_ms = venue_ms - (asked_wall_ms + half_trip_ms) if speed == 1.0 else None
    return ClockSkew(to_clock_ms, to_wall_ms)
