"""What waits to be written: units of rows, their phases, and the state the writer's two sides share."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from perp_bot.core.errors import StoreError
from perp_bot.data.db.rows import AssetMinute, CandleRows, DecisionRow, EventRow, Row, SignalRow

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0

# Rows that can be fetched again or only describe; when memory runs out they go first.
_MARKET_ROWS = (CandleRows, AssetMinute, SignalRow, EventRow)


class Phase(Enum):
    """How far a unit has come."""

    QUEUED = auto()
    APPLIED = auto()  # in the open transaction; can still be taken out by rolling back
    COMMITTING = auto()  # at the disk: can no longer be taken back
    DONE = auto()
    FAILED = auto()
    WITHDRAWN = auto()  # the caller gave up in time: never written


class Waiter(Enum):
    """Who waits for a unit."""

    NOBODY = auto()  # put
    COMMIT = auto()
    FLUSH = auto()


@dataclass(slots=True, eq=False)
class Unit:
    """Rows that are written together or not at all."""

    rows: tuple[Row, ...]
    waiter: Waiter = Waiter.NOBODY
    weight: int = 0
    is_market: bool = False
    is_prompt: bool = False  # written without gathering first: a decision is on disk when its moment is over
    phase: Phase = Phase.QUEUED
    is_abandoned: bool = False  # the caller gave up while it was COMMITTING: not to be tried again
    error: StoreError | None = None
    settled: threading.Event | None = None

    def __post_init__(self) -> None:
        self.weight = sum(len(row.candles) if isinstance(row, CandleRows) else 1 for row in self.rows)
        if self.waiter is Waiter.NOBODY:
            self.is_market = all(isinstance(row, _MARKET_ROWS) for row in self.rows)
            self.is_prompt = any(isinstance(row, DecisionRow) for row in self.rows)
        else:
            self.is_prompt = True
            self.settled = threading.Event()

    def settle(self, phase: Phase, error: StoreError | None = None) -> None:
        """Set the last phase and wake whoever waits."""
        self.phase, self.error = phase, error
        if self.settled is not None:
            self.settled.set()

    def wait(self, timeout_s: float) -> None:
        """Wait until settled, at most `timeout_s` seconds."""
        if self.settled is not None:
            self.settled.wait(max(0.0, timeout_s))


@dataclass(slots=True)
class Failure:
    """Writing fails since then (monotonic seconds); every attempt doubles the pause."""

    since_s: float
    error: StoreError
    pause_s: float = FIRST_RETRY_S

    def next_pause_s(self) -> float:
        """Return the pause before the next attempt, and double the one after it."""
        pause_s, self.pause_s = self.pause_s, min(self.pause_s * 2, LAST_RETRY_S)
        return pause_s


@dataclass(slots=True)
class LostRows:
    """Rows that will never be written: stays wrong until a restart."""

    refused: int = 0  # values the database cannot hold: a fault of the program
    overflowed: int = 0  # no room in memory
    too_late: int = 0  # put after the writer had ended
    newest: str = ""

    def text(self) -> str | None:
        """Say how many and why, or None when there are none."""
        counts = [(self.refused, "refused"), (self.overflowed, "lost to a full queue"), (self.too_late, "put too late")]
        said = ", ".join(f"{count} rows {what}" for count, what in counts if count)
        return f"{said}; newest: {self.newest}" if said else None


@dataclass(slots=True)
class Pending:
    """What both sides touch, always under the writer's condition."""

    capacity_rows: int
    queue: deque[Unit] = field(default_factory=deque)
    rows: int = 0  # in the queue and in the batch being written
    is_idle: bool = False  # the thread waits for anything; while it gathers, only urgent units wake it
    is_urgent: bool = False
    stop_by_s: float | None = None  # asked to stop; what cannot be written by then is lost
    is_closed: bool = False  # the thread takes nothing more
    books_closed: bool = False
    failure: Failure | None = None
    lost: LostRows = field(default_factory=LostRows)
    last_commit_s: float | None = None
    writing_since_s: float | None = None
    died_of: str | None = None

    def has_room(self, unit: Unit) -> bool:
        """Whether `unit` may be queued; counts its rows as lost when not.

        Rows of the books have a reserve as large again, so that market rows never push them out. Once a row of the
        books found no room none is taken any more: what is on the disk stays a prefix of the truth.
        """
        if self.is_closed:
            self.lost.too_late += unit.weight
        else:
            limit = self.capacity_rows if unit.is_market else 2 * self.capacity_rows
            is_shut = self.books_closed and not unit.is_market
            if not is_shut and self.rows + unit.weight <= limit:
                return True
            self.books_closed = self.books_closed or not unit.is_market
            self.lost.overflowed += unit.weight
        self.lost.newest = ", ".join(sorted({type(row).__name__ for row in unit.rows}))
        return False

    def add(self, unit: Unit) -> None:
        """Queue `unit` as the last."""
        self.queue.append(unit)
        self.rows += unit.weight

    def take(self, most_rows: int) -> list[Unit]:
        """Take the first units, up to about `most_rows`, ending with the first that somebody waits for."""
        batch: list[Unit] = []
        rows = 0
        while self.queue and rows < most_rows:
            unit = self.queue.popleft()
            if unit.phase is Phase.WITHDRAWN:
                continue
            unit.phase = Phase.APPLIED
            batch.append(unit)
            rows += unit.weight
            if unit.waiter is not Waiter.NOBODY:
                break
        return batch

    def give_back(self, batch: list[Unit]) -> None:
        """Put a batch that was not written back in front, without what was withdrawn from it."""
        for unit in reversed(batch):
            if unit.phase is Phase.WITHDRAWN or unit.is_abandoned:
                unit.phase = Phase.WITHDRAWN
                self.rows -= unit.weight
            else:
                unit.phase = Phase.QUEUED
                self.queue.appendleft(unit)

    def withdraw(self, unit: Unit) -> None:
        """Take `unit` out before it is written: from the queue, or from the open transaction (see `give_back`)."""
        if unit.phase is Phase.QUEUED:
            self.queue.remove(unit)
            self.rows -= unit.weight
        unit.settle(Phase.WITHDRAWN)

    def fail_waiting(self, error: StoreError, waiters: tuple[Waiter, ...]) -> None:
        """Withdraw every queued unit of these waiters and tell them why."""
        kept: deque[Unit] = deque()
        for unit in self.queue:
            if unit.waiter in waiters:
                self.rows -= unit.weight
                unit.settle(Phase.FAILED, type(error)(f"{error}; withdrawn"))
            else:
                kept.append(unit)
        self.queue = kept
