"""The windows of a walk-forward: training, then testing, stepping on; the last test window is kept back."""

from __future__ import annotations

from dataclasses import dataclass

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import DAY_MS, iso


@dataclass(frozen=True, slots=True)
class Window:
    """One window: parameters are chosen on closes in (train_from, train_to], judged on (train_to, test_to]; ms."""

    train_from_ms: int
    train_to_ms: int
    test_to_ms: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """All windows of a span; `final` is the one that is not touched until it is asked for."""

    windows: tuple[Window, ...]
    final: Window
    train_days: int
    test_days: int
    step_days: int
    is_anchored: bool


def schedule(
    first_ms: int, last_ms: int, *, train_days: int, test_days: int, step_days: int, anchored: bool
) -> Schedule:
    """Return the windows between the first decidable close and the last one.

    Rolling: every training window has `train_days`. Anchored: all of them begin at the first close.

    Raises:
        UsageError: test windows would overlap, or the span is too short for one window and the final one.
    """
    if step_days < test_days:
        raise UsageError(
            f"--step {step_days} is shorter than --test {test_days}: test windows would overlap and count twice"
        )
    train, test, step = (days * DAY_MS for days in (train_days, test_days, step_days))
    needed = train + test + step
    if last_ms - first_ms < needed:
        raise UsageError(
            f"walk-forward needs {needed / DAY_MS:g} days after warm-up (train {train_days} + step {step_days} + test "
            f"{test_days}: one window and the final one), there are {max(0, last_ms - first_ms) / DAY_MS:.1f}: "
            f"{iso(first_ms)} to {iso(last_ms)}. Store more (perpbot backfill, perpbot data import) or give shorter "
            "--train, --test and --step"
        )
    made = []
    test_to = last_ms  # counted back from the newest close, so that the final window is whole and none is cut off
    while test_to - test - train >= first_ms:
        begin = test_to - test
        made.append(Window(first_ms if anchored else begin - train, begin, test_to))
        test_to -= step
    made.reverse()
    return Schedule(tuple(made[:-1]), made[-1], train_days, test_days, step_days, anchored)
