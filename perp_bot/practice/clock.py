"""The practice venue's clock: N times real time from a start, or moved only by steps."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.market.hours import RECORDED_START_MS

DEFAULT_START_HOURS = 400.0


class PracticeClock:
    """What time the venue has, in epoch ms. `speed` None: the clock stands until `set`; `held`: until `begin`."""

    def __init__(self, start_ms: int, speed: float | None, *, held: bool = False) -> None:
        self.start_ms = start_ms
        self.speed = speed
        self._at_ms = start_ms
        self._began_s = None if held else time.monotonic()

    def begin(self) -> None:
        """Let a held clock run from now on; nothing when it runs already."""
        if self._began_s is None:
            self._began_s = time.monotonic()

    @property
    def stepped(self) -> bool:
        """Whether only steps move it."""
        return self.speed is None

    def now_ms(self) -> int:
        """Return the venue's time."""
        if self.speed is None or self._began_s is None:
            return self._at_ms
        return self.start_ms + int((time.monotonic() - self._began_s) * 1_000.0 * self.speed)

    def set(self, at_ms: int) -> None:
        """Move a stepped clock forwards."""
        if self.speed is not None or at_ms < self._at_ms:
            raise AssertionError("only a stepped clock is set, and only forwards")
        self._at_ms = at_ms


def parse_start(text: str | None) -> int:
    """Return the recording time (epoch ms) of `--start`: hours into the recording, ISO time or epoch ms."""
    if text is None:
        return RECORDED_START_MS + int(DEFAULT_START_HOURS * HOUR_MS)
    try:
        number = float(text)
    except ValueError:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"--start {text!r}: expected hours into the recording (400), an ISO time (2026-01-15T03:00) or epoch ms"
            ) from None
        at_ms = int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
    else:
        if not math.isfinite(number):
            raise UsageError(f"--start {text!r}: expected hours into the recording, an ISO time or epoch ms")
        at_ms = int(number) if number >= RECORDED_START_MS / 10 else RECORDED_START_MS + round(number * HOUR_MS)
    if at_ms < RECORDED_START_MS + HOUR_MS:
        raise UsageError(
            f"--start {text!r}: the recording begins at 2025-12-29T11:00Z; start at least one hour into it"
        )
    return at_ms


def origin_for(start_ms: int, speed: float | None, wall_ms: int) -> tuple[int, int]:
    """Return (venue time of the recording's first hour, venue time at the start).

    At speed 1 the recording is moved by whole hours so that the venue's time is the wall's; at any other speed,
    and stepped, it stays where it was recorded.
    """
    if speed != 1.0:
        return RECORDED_START_MS, start_ms
    shift_ms = (wall_ms - wall_ms % HOUR_MS) - (start_ms - start_ms % HOUR_MS)
    return RECORDED_START_MS + shift_ms, wall_ms
