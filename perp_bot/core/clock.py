"""Two clocks and nothing else: the machine's, and the venue's.

By the venue's clock: candles, orders, funding, cooldowns, timeouts, daily limits, weight budgets. By the machine's
monotonic clock: HTTP timeouts, reconnects, ages of streams, grace periods. On the real venue the two run alike;
the practice venue may run N times faster or step by step.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


def wall_ms() -> int:
    """Return the machine's wall clock in epoch ms (nonces, log stamps, skew checks)."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Return the machine's monotonic clock in seconds (ages, deadlines)."""
    return time.monotonic()


class Clock(Protocol):
    """What time the venue has."""

    def now_ms(self) -> int:
        """Return the venue's time in epoch ms."""


class FixedClock:
    """A venue clock that moves only when told; for pure code under test."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def now_ms(self) -> int:
        """Return the time last set."""
        return self._at_ms

    def set(self, at_ms: int) -> None:
        """Move to `at_ms`."""
        self._at_ms = at_ms


class VenueClock:
    """The venue's time, carried forward from its last reading at the venue's speed.

    `speed` is 1.0 on the real venue, N on a practice venue that runs N times faster, and None on one that is
    stepped: then time moves only by `observe`. Safe to use from any thread; time never runs backwards by more
    than a correction of the first reading.
    """

    def __init__(self, at_ms: int | None = None, speed: float | None = 1.0) -> None:
        self._lock = threading.Lock()
        self._anchor_ms: float = float(wall_ms() if at_ms is None else at_ms)
        self._anchor_s = monotonic_s()
        self._speed = speed

    @property
    def speed(self) -> float | None:
        """Venue seconds per wall second; None when stepped."""
        return self._speed

    @property
    def stepped(self) -> bool:
        """Whether time moves only by the venue's clock frames."""
        return self._speed is None

    def now_ms(self) -> int:
        """Return the venue's time in epoch ms."""
        with self._lock:
            return self._now()

    def _now(self) -> int:
        if self._speed is None:
            return int(self._anchor_ms)
        return int(self._anchor_ms + (monotonic_s() - self._anchor_s) * 1000.0 * self._speed)

    def reset(self, at_ms: int, speed: float | None) -> None:
        """Take a fresh reading (exchangeStatus) as truth, forwards or backwards."""
        with self._lock:
            self._anchor_ms, self._anchor_s, self._speed = float(at_ms), monotonic_s(), speed

    def observe(self, at_ms: int) -> None:
        """Take the time of a venue message: nothing that the venue sent can be from the future."""
        with self._lock:
            if at_ms > self._now():
                self._anchor_ms, self._anchor_s = float(at_ms), monotonic_s()

    def wall_seconds_until(self, at_ms: int) -> float | None:
        """Return wall seconds until the venue's clock reads `at_ms`; None when only a step can get there."""
        with self._lock:
            left_ms = at_ms - self._now()
            if left_ms <= 0:
                return 0.0
            return None if self._speed is None else left_ms / 1000.0 / self._speed
