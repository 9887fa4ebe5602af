"""How old a number is, and what that makes of it. Pure: the caller says what time it is.

The age of a value is the age its sender declared, plus the seconds the sender held the frame, plus our own monotonic
seconds since the frame came. Wall clocks are never subtracted across processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from perp_bot.tui.formats import span_ms
from perp_bot.tui.spans import Span


class Freshness(StrEnum):
    """What an age makes of a value."""

    FRESH = "fresh"
    LATE = "late"
    STALE = "stale"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Seconds from which a value is late, and stale."""

    late_s: float
    stale_s: float


FRAME = Thresholds(2.0, 5.0)  # frames come at 1 Hz
LOOP = Thresholds(3.0, 10.0)  # the loop ticks every 0.5 s and publishes at 1 Hz, we hear of it at 1 Hz
STREAM = Thresholds(5.0, 15.0)
MARK = Thresholds(5.0, 15.0)
BOOK = Thresholds(5.0, 15.0)
FAST_SIGNAL = Thresholds(30.0, 90.0)
RECONCILE = Thresholds(60.0, 300.0)
DB_WRITE = Thresholds(120.0, 600.0)


def judge(age_s: float | None, limits: Thresholds) -> Freshness:
    """Return what `age_s` makes of a value; None and NaN are unknown."""
    if age_s is None or math.isnan(age_s):
        return Freshness.UNKNOWN
    if age_s > limits.stale_s:
        return Freshness.STALE
    return Freshness.LATE if age_s > limits.late_s else Freshness.FRESH


def oldest(*ages_s: float | None) -> float | None:
    """Return the age of a derived number: its oldest input's; None when any input's age is unknown."""
    known = [age for age in ages_s if age is not None]
    return max(known) if len(known) == len(ages_s) and known else None


def age_text(age_s: float | None) -> str:
    """Return an age for people: `0.6s`, `12s`, `4m12s`, `3h04m`, `2d03h`, or `-` when unknown."""
    if age_s is None or not math.isfinite(age_s):
        return "-"
    age = max(0.0, age_s)
    if age < 9.95:
        return f"{age:.1f}s"
    return span_ms(int(age + 0.05) * 1000)


@dataclass(frozen=True, slots=True)
class Lens:
    """Reads the ages of one frame at one moment.

    `since_s`: seconds since the daemon published the frame. `all_stale`: the connection is such that nothing in the
    frame may look alive, whatever the single ages say.
    """

    since_s: float
    all_stale: bool

    def age(self, declared_s: float | None) -> float | None:
        """Return the present age of a value that was `declared_s` old when the frame was published."""
        if declared_s is None or math.isnan(declared_s):
            return None
        return max(0.0, declared_s) + self.since_s

    def judge(self, declared_s: float | None, limits: Thresholds) -> Freshness:
        """Return the freshness of a value of the frame."""
        if self.all_stale:
            return Freshness.STALE
        return judge(self.age(declared_s), limits)

    def style(self, style: str, declared_s: float | None, limits: Thresholds) -> str:
        """Return `style` for a living value, the stale style for one that is not."""
        found = self.judge(declared_s, limits)
        return style if found in (Freshness.FRESH, Freshness.LATE) else "stale"

    def age_span(self, declared_s: float | None, limits: Thresholds, *, width: int = 0) -> Span:
        """Return the age with a word and a style that say how bad it is (`7.2s STALE`)."""
        found = self.judge(declared_s, limits)
        text = age_text(self.age(declared_s))
        if found is Freshness.STALE:
            text += " STALE"
        elif found is Freshness.LATE:
            text += " late"
        elif found is Freshness.UNKNOWN:
            text = "no age"
        return text.rjust(width), AGE_STYLES[found]


AGE_STYLES = {
    Freshness.FRESH: "muted",
    Freshness.LATE: "warn",
    Freshness.STALE: "bad",
    Freshness.UNKNOWN: "warn",
}


class SuspendWatch:
    """Notices that the machine slept: the boot-time clock ran on while the monotonic one stood still."""

    JUMP_S = 2.0

    def __init__(self, monotonic_s: float, boottime_s: float) -> None:
        self._gap_s = boottime_s - monotonic_s

    def slept_s(self, monotonic_s: float, boottime_s: float) -> float:
        """Return the seconds slept since the last call, 0.0 below two seconds."""
        gap_s = boottime_s - monotonic_s
        jump_s, self._gap_s = gap_s - self._gap_s, gap_s
        return jump_s if jump_s > self.JUMP_S else 0.0
