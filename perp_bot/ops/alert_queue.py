"""The bounded queue of one alert channel: repeats are counted, urgent lines outlive others; time is handed in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

REPEAT_WINDOW_S = 60.0


class AlertKind(StrEnum):
    """What an alert is about; the value is what people read."""

    STARTED = "started"
    OPEN = "OPEN"
    CLOSE = "CLOSE"
    STOP = "STOP"
    TIMEOUT = "TIMEOUT"
    RECONNECT = "RECONNECT"
    RECONCILE = "RECONCILE"
    HALTED = "HALTED"
    KILLED = "KILLED"
    WATCHDOG = "WATCHDOG"
    HEARTBEAT = "heartbeat"


# The newest line of these says all: an older one still waiting is replaced, whatever its text.
_REPLACED_BY_NEWER = frozenset({AlertKind.RECONNECT, AlertKind.RECONCILE, AlertKind.HEARTBEAT})
_ROUTINE = _REPLACED_BY_NEWER | {AlertKind.STARTED}


@dataclass(frozen=True, slots=True)
class Line:
    """One alert as it waits; `count` says how often it came."""

    kind: AlertKind
    symbol: str | None
    text: str
    wall_ms: int
    count: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two lines the same."""
        about = (self.kind.value, self.symbol or "")
        return about if self.kind in _REPLACED_BY_NEWER else (*about, self.text)

    @property
    def is_urgent(self) -> bool:
        """Whether it is about money or a halt, and so outlives routine lines when the queue is full."""
        return self.kind not in _ROUTINE


class AlertQueue:
    """Lines waiting for one channel. Any thread puts; one coroutine takes, then tells what became of them."""

    def __init__(self, capacity: int = 64, repeat_window_s: float = REPEAT_WINDOW_S) -> None:
        self._capacity = capacity
        self._repeat_window_s = repeat_window_s
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, ...], Line] = {}  # in order of arrival
        self._taken: tuple[Line, ...] = ()
        self._sent_s: dict[tuple[str, ...], float] = {}
        self._dropped = 0
        self._dropped_untold = 0
        self._sent = 0

    @property
    def waiting(self) -> int:
        """Lines not delivered yet, those under way included."""
        with self._lock:
            return len(self._waiting) + len(self._taken)

    @property
    def sent(self) -> int:
        """Lines delivered."""
        return self._sent

    @property
    def dropped(self) -> int:
        """Lines given up: the queue was full, or the channel refused them for good."""
        return self._dropped

    def put(self, line: Line) -> None:
        """Add a line: count a repeat, or drop the oldest routine line (else the oldest) when full."""
        with self._lock:
            same = self._waiting.pop(line.key, None)
            if same is not None:
                line = replace(line, count=line.count + same.count)
            elif len(self._waiting) >= self._capacity:
                routine = (key for key, waiting in self._waiting.items() if not waiting.is_urgent)
                victim = next(routine, next(iter(self._waiting)))
                self._dropped += self._waiting.pop(victim).count
                self._dropped_untold += 1
            self._waiting[line.key] = line

    def seconds_until_due(self, now_s: float) -> float | None:
        """Return how long until a line may go: 0 now, more when only repeats wait, None when nothing does."""
        with self._lock:
            return min((max(0.0, self._due_s(key) - now_s) for key in self._waiting), default=None)

    def take(self, now_s: float, most: int) -> tuple[Line, ...]:
        """Take up to `most` due lines, oldest first; `delivered`, `give_back` or `give_up` must follow."""
        with self._lock:
            due = [line for key, line in self._waiting.items() if self._due_s(key) <= now_s][:most]
            for line in due:
                del self._waiting[line.key]
            self._taken = tuple(due)
            return self._taken

    def delivered(self, lines: Sequence[Line], now_s: float) -> None:
        """Note that `lines` arrived; those taken but not among them wait again, first in line."""
        with self._lock:
            self._sent += sum(line.count for line in lines)
            self._dropped_untold = 0
            self._sent_s = {key: at_s for key, at_s in self._sent_s.items() if now_s - at_s < self._repeat_window_s}
            self._sent_s |= {line.key: now_s for line in lines}
            self._put_first([line for line in self._taken if line not in lines])

    def give_back(self) -> None:
        """Put what was taken back in front: the channel did not answer."""
        with self._lock:
            self._put_first(list(self._taken))

    def give_up(self, lines: Sequence[Line]) -> None:
        """Drop `lines`: the channel refused them for good. The others taken wait again."""
        with self._lock:
            self._dropped += sum(line.count for line in lines)
            self._dropped_untold += len(lines)
            self._put_first([line for line in self._taken if line not in lines])

    def untold_drops(self) -> int:
        """Return how many lines were dropped since the last delivery: the next message says so."""
        with self._lock:
            return self._dropped_untold

    def hurry(self) -> None:
        """Hold back repeats no longer: the daemon ends."""
        with self._lock:
            self._repeat_window_s = 0.0

    def _due_s(self, key: tuple[str, ...]) -> float:
        return self._sent_s.get(key, float("-inf")) + self._repeat_window_s

    def _put_first(self, lines: list[Line]) -> None:
        first: dict[tuple[str, ...], Line] = {}
        for line in lines:
            newer = self._waiting.pop(line.key, None)
            first[line.key] = line if newer is None else replace(newer, count=newer.count + line.count)
        self._waiting = first | self._waiting
        self._taken = ()


class SlidingWindow:
    """At most n messages in any t seconds, for each of several (n, t)."""

    def __init__(self, limits: Sequence[tuple[int, float]]) -> None:
        self._limits = tuple(limits)
        self._at_s: deque[float] = deque(maxlen=max(count for count, _ in self._limits))

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next message is allowed."""
        waits = (self._at_s[-count] + window_s - now_s for count, window_s in self._limits if len(self._at_s) >= count)
        return max(0.0, *waits, 0.0)

    def note(self, now_s: float) -> None:
        """Count a message sent at `now_s`."""
        self._at_s.append(now_s)
