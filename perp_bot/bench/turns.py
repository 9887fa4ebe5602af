"""Takes candidates in turn, round after round (A B C A B C), so that the noise of a machine falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

Key = TypeVar("Key")


def in_turn(
    calls: Mapping[Key, Callable[[], float]],
    rounds: int,
    *,
    slow: Collection[Key] = (),
    slow_rounds: int = 1,
) -> dict[Key, list[float]]:
    """Return the seconds that each call says it took; those in `slow` take part in the first `slow_rounds` only."""
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(rounds):
        for key, call in calls.items():
            if key not in slow or number < slow_rounds:
                seconds[key].append(call())
    return seconds


def clocked(call: Callable[[], object]) -> Callable[[], float]:
    """Return a call that says how many seconds `call` takes."""

    def run() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return run
