"""The venue's lifetime budget of actions of an address: how much is left, and for how many days at today's pace."""

from __future__ import annotations

from dataclasses import dataclass

from perp_bot.core.timeframes import DAY_MS

_PACE_FROM_MS = 10 * 60_000  # a pace measured over less says nothing


@dataclass(slots=True)
class ActionBudget:
    """What userRateLimit said, newest and first of this session. Trading volume adds to it: 1 action a USD."""

    used: int | None = None
    cap: int | None = None
    first_left: int | None = None
    first_ms: int = 0
    last_ms: int = 0

    def take(self, used: int, cap: int, now_ms: int) -> None:
        """Take a reading."""
        self.used, self.cap, self.last_ms = used, cap, now_ms
        if self.first_left is None:
            self.first_left, self.first_ms = cap - used, now_ms

    @property
    def left(self) -> int | None:
        """Actions that are left; None before the first reading."""
        return None if self.used is None or self.cap is None else self.cap - self.used

    @property
    def days_left(self) -> float | None:
        """Days until it is used up at this session's pace; None without one, or while it grows."""
        left, lasted_ms = self.left, self.last_ms - self.first_ms
        if left is None or self.first_left is None or lasted_ms < _PACE_FROM_MS:
            return None
        spent = self.first_left - left
        return left / (spent / lasted_ms * DAY_MS) if spent > 0 else None

    def trouble(self, floor: int) -> str | None:
        """Return why entries stop; protection and exits go on with what is left."""
        left = self.left
        if left is None or left >= floor:
            return None
        return f"{left:,} actions are left of the address's budget, entries stop below {floor:,}"
