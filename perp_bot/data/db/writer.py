"""The one writer of the database: a thread with a queue in front of it.

Rows reach the file in the order they were put, each `put` or `commit` whole or not at all, so what a crash leaves is
always a prefix of what was handed over. When the file cannot be written the rows wait in memory, in order, and are
tried again until they land; `health` is bad meanwhile and entries stop.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from perp_bot.core.clock import Clock, monotonic_s, wall_ms
from perp_bot.core.errors import StoreBusy, StoreError
from perp_bot.data.db import statements
from perp_bot.data.db.backup import BackupThread
from perp_bot.data.db.connection import open_writable, translate
from perp_bot.data.db.emergency import EmergencyJournal
from perp_bot.data.db.pending import FIRST_RETRY_S, Failure, Pending, Phase, Unit, Waiter
from perp_bot.data.db.rows import EventRow, Row
from perp_bot.ops.crash_points import crash_point

_log = logging.getLogger(__name__)

CAPACITY_ROWS = 500_000  # about 150 MB of candles; a row of the books is far rarer
_BATCH_ROWS = 5_000  # about 10 ms of writing: a commit behind a backfill waits that long at most per batch
_LINGER_S = 0.02  # plain puts are gathered this long, so that a busy loop is not woken up against for every row
_SLOW_WRITE_S = 2.0  # a write running longer counts as a failure: the disk hangs


class CommitUncertain(StoreBusy):
    """The deadline passed while the commit was already at the disk: the rows may or may not be there."""


@dataclass(frozen=True, slots=True)
class WriterHealth:
    """How the store is; entries need `ok`."""

    ok: bool
    error: str | None  # the newest reason why not ok, for people
    pending: int  # rows not yet committed (a candle counts as a row)
    last_commit_age_s: float | None  # None: nothing committed yet
    failed_since_s: float | None  # seconds since writing began to fail; None while it works
    backup_error: str | None = None  # the newest backup failed; does not stop entries


class _RowRefused(Exception):
    """A unit holds a value that the database cannot hold; the file itself is well."""

    def __init__(self, unit: Unit, cause: Exception) -> None:
        super().__init__(str(cause))
        self.unit = unit
        self.cause = cause


class Writer:
    """Own the only writing connection. `put` and `commit` may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        backups: Path | None,
        emergency: Path | None,
        clock: Clock,
        backup_every_s: float = 3600.0,
        capacity_rows: int = CAPACITY_ROWS,
    ) -> None:
        self._path = path
        self._clock = clock
        self._emergency = None if emergency is None else EmergencyJournal(emergency)
        self._backup = None if backups is None else BackupThread(path, backups, backup_every_s)
        self._wakeup = threading.Condition()
        self._pending = Pending(capacity_rows)
        self._thread: threading.Thread | None = None
        self._file: os.stat_result | None = None
        self._is_synchronous_full = False

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Open or create the database, migrate it and start the thread.

        Raises:
            StoreError, StoreBusy, StoreFull, SchemaNewer: one line saying what is wrong; no thread is left behind.
        """
        if self._thread is not None:
            raise StoreError(f"the writer of {self._path} was started before; make a new one")
        opened = threading.Event()
        problem: list[Exception] = []
        if self._emergency is not None:
            self._emergency.open()
        thread = threading.Thread(target=self._run, args=(opened, problem), name="store-writer", daemon=True)
        thread.start()
        opened.wait()
        if problem:
            thread.join()
            if self._emergency is not None:
                self._emergency.close()
            raise problem[0]
        self._thread = thread
        if self._backup is not None:
            self._backup.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Write what is pending, then end the threads and close the file; harmless when not running.

        Raises:
            StoreError: when rows could not be written in `timeout_s` and are lost; says how many.
        """
        if self._thread is None or self._pending.stop_by_s is not None:
            return
        stop_by_s = monotonic_s() + timeout_s
        if self._backup is not None:
            self._backup.request_stop()
        with self._wakeup:
            self._pending.stop_by_s = stop_by_s
            self._wakeup.notify_all()
        # A little longer than the thread's own limit: it notices that by itself unless the disk hangs.
        self._thread.join(timeout_s + 0.5)
        if self._backup is not None:
            self._backup.join(max(0.5, stop_by_s - monotonic_s()))
        if self._emergency is not None:
            self._emergency.close()
        with self._wakeup:
            self._pending.is_closed = True
            lost, failure = self._pending.rows, self._pending.failure
        if lost:
            why = failure.error if failure else f"{self._path} did not take them in {timeout_s:g} s"
            message = f"{lost} rows were not written: {why}"
            _log.critical("%s", message, extra={"event": "store.rows_lost", "rows": lost})
            raise StoreError(message)

    def __enter__(self) -> Writer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # ------------------------------------------------------------ handing over

    def put(self, *rows: Row) -> None:
        """Queue `rows` for one transaction; never blocks and never raises.

        Rows that find no room (a full queue, a writer that has ended) make `health` bad for good. Market rows are
        dropped first; once a row of the books (orders, fills, positions, state) was dropped, none is written any
        more, so that the file stays a prefix of the truth.
        """
        if not rows:
            return
        unit = Unit(rows)
        with self._wakeup:
            had_lost = self._pending.lost.text() is not None
            is_taken = self._pending.has_room(unit)
            if is_taken:
                self._enqueue(unit)
        if not is_taken and not had_lost:
            _log.critical("rows are lost: %s", self._pending.lost.text(), extra={"event": "store.rows_lost"})

    def commit(self, *rows: Row, deadline_s: float) -> None:
        """Wait until `rows`, and everything put before them, are on the disk (`synchronous=FULL`).

        On any error the caller treats the rows as not written and must not send. They are withdrawn and will not be
        written later, with one exception: `CommitUncertain`, where the deadline passed while the disk was already
        working on them, and they may or may not be there. (After a failed flush of the disk *and* a crash before
        the next write, SQLite's recovery may still find a withdrawn row: an intent found at the start is settled by
        asking the venue, whatever state it is in.)

        Raises:
            StoreBusy: not done in `deadline_s` seconds (another process holds the file, the disk is slow); withdrawn.
            CommitUncertain: as above, but at the disk already (a StoreBusy).
            StoreFull: disk full or read-only; withdrawn.
            StoreError: refused values, no writer running, or rows were lost before; withdrawn.
        """
        unit = Unit(rows, Waiter.COMMIT)
        with self._wakeup:
            pending = self._pending
            if self._thread is None or pending.stop_by_s is not None or pending.died_of is not None:
                raise StoreError(f"the writer of {self._path} is not running; nothing was written")
            if not pending.has_room(unit):
                raise StoreError(f"{self._path}: {pending.lost.text()}; nothing is committed until a restart")
            self._enqueue(unit)
        unit.wait(deadline_s)
        with self._wakeup:
            if unit.phase in (Phase.QUEUED, Phase.APPLIED):
                self._pending.withdraw(unit)
                raise self._outage(f"{self._path} took longer than {deadline_s:g} s to commit", "withdrawn")
            if unit.phase is Phase.COMMITTING:
                unit.is_abandoned = True
                raise CommitUncertain(
                    f"{self._path} was still committing after {deadline_s:g} s; the rows may or may not be written"
                )
            if unit.error is not None:
                raise unit.error

    def flush(self, timeout_s: float) -> None:
        """Wait until everything put before is committed.

        Raises:
            StoreError: not done in `timeout_s` seconds (the rows stay queued), or the writer is not running.
        """
        barrier = Unit((), Waiter.FLUSH)
        with self._wakeup:
            pending = self._pending
            if self._thread is None or pending.stop_by_s is not None or pending.died_of is not None:
                raise StoreError(f"the writer of {self._path} is not running")
            self._enqueue(barrier)
        barrier.wait(timeout_s)
        with self._wakeup:
            if barrier.phase is Phase.DONE:
                return
            if barrier.error is not None:
                raise barrier.error
            barrier.settle(Phase.WITHDRAWN)  # `take` and `give_back` pass over it
            raise self._outage(f"{self._path} did not take the pending rows in {timeout_s:g} s", "they stay queued")

    def emergency_append(self, row_json: dict[str, Any]) -> None:
        """Record a protective action in the pre-allocated journal, for when the database cannot be written.

        Raises:
            StoreFull, StoreError: when even that fails, or there is no journal.
        """
        if self._emergency is None:
            raise StoreError(f"{self._path} has no emergency journal")
        self._emergency.append(row_json)

    def emergency_clear(self) -> None:
        """Forget the records of the emergency journal, once they are in the database."""
        if self._emergency is not None:
            self._emergency.clear()

    def health(self) -> WriterHealth:
        """Return how the store is; safe from any thread, never waits for the disk."""
        now_s = monotonic_s()
        backup_error = None if self._backup is None else self._backup.error
        with self._wakeup:
            pending = self._pending
            failed_s = None if pending.failure is None else now_s - pending.failure.since_s
            writing_s = None if pending.writing_since_s is None else now_s - pending.writing_since_s
            error = pending.died_of or pending.lost.text()
            if error is None and (self._thread is None or not self._thread.is_alive()):
                error = f"the writer of {self._path} is not running"
            if error is None and pending.failure is not None:
                error = str(pending.failure.error)
            if writing_s is not None and writing_s > _SLOW_WRITE_S:
                error = error or f"{self._path}: a write has been running for {writing_s:.1f} s"
                failed_s = failed_s or writing_s
            return WriterHealth(
                ok=error is None,
                error=error,
                pending=pending.rows,
                last_commit_age_s=None if pending.last_commit_s is None else now_s - pending.last_commit_s,
                failed_since_s=failed_s,
                backup_error=backup_error,
            )

    def _enqueue(self, unit: Unit) -> None:
        pending = self._pending
        pending.add(unit)
        if unit.waiter is not Waiter.NOBODY or (unit.is_prompt and pending.failure is None):
            pending.is_urgent = True
            self._wakeup.notify_all()
        elif pending.is_idle or pending.rows >= _BATCH_ROWS:
            self._wakeup.notify_all()

    def _outage(self, without_failure: str, ending: str) -> StoreError:
        failure = self._pending.failure
        if failure is not None:
            return type(failure.error)(f"{failure.error}; {ending}")
        return StoreBusy(f"{without_failure}; {ending}")

    # ------------------------------------------------------------ the thread

    def _run(self, opened: threading.Event, problem: list[Exception]) -> None:
        try:
            connection = open_writable(self._path)
        except Exception as error:  # noqa: BLE001 - raised again by start, on its caller's thread
            problem.append(error)
            return
        finally:
            if problem:
                opened.set()
        try:
            self._file = os.stat(self._path)
            opened.set()
            while self._pass(connection):
                pass
        except Exception as error:  # noqa: BLE001 - logged
            # The edge of the thread: a fault of the program. Whoever waits is told, and health stays bad.
            _log.critical("the writer thread died", exc_info=True, extra={"event": "store.writer_died"})
            with self._wakeup:
                self._pending.died_of = f"the writer thread died: {error!r}"
        finally:
            opened.set()
            with self._wakeup:
                self._pending.is_closed = True
                why = self._pending.died_of or f"the writer of {self._path} has ended"
                self._pending.fail_waiting(StoreError(why), (Waiter.COMMIT, Waiter.FLUSH))
            connection.close()

    def _pass(self, connection: sqlite3.Connection) -> bool:
        """Write one batch; False when the writer is to end."""
        batch = self._next_batch()
        if batch is None:
            return False
        try:
            self._write(connection, batch)
        except _RowRefused as refusal:
            self._roll_back(connection)
            self._refused(batch, refusal)
        except sqlite3.Error as error:
            self._roll_back(connection)
            self._failed(batch, translate(error, self._path))
        except StoreError as error:
            self._failed(batch, error)
        return True

    def _next_batch(self) -> list[Unit] | None:
        with self._wakeup:
            pending = self._pending
            if not pending.queue and pending.stop_by_s is None:
                pending.is_idle = True
                self._wakeup.wait_for(lambda: pending.queue or pending.stop_by_s is not None)
                pending.is_idle = False
            if pending.failure is not None:
                self._pause(pending.failure)
                if pending.stop_by_s is not None and monotonic_s() >= pending.stop_by_s:
                    pending.is_closed = True
                    return None  # what is left is reported as lost by `stop`
            elif not self._is_due():
                self._wakeup.wait_for(self._is_due, _LINGER_S)
            if not pending.queue and pending.stop_by_s is not None:
                pending.is_closed = True
                return None
            batch = pending.take(_BATCH_ROWS)
            # While writing fails only a new commit breaks the pause, or the queue would be tried without one.
            pending.is_urgent = pending.failure is None and any(unit.is_prompt for unit in pending.queue)
            pending.writing_since_s = monotonic_s()
            return batch

    def _is_due(self) -> bool:
        pending = self._pending
        return pending.is_urgent or pending.stop_by_s is not None or pending.rows >= _BATCH_ROWS

    def _pause(self, failure: Failure) -> None:
        # A new commit is tried at once, and again soon: it must meet the disk as it is within its deadline.
        pending = self._pending
        pause_s, was_stopping = failure.next_pause_s(), False
        if any(unit.waiter is Waiter.COMMIT for unit in pending.queue):
            pause_s = min(pause_s, FIRST_RETRY_S)
        if pending.stop_by_s is not None:
            pause_s, was_stopping = min(pause_s, max(0.0, pending.stop_by_s - monotonic_s())), True
        self._wakeup.wait_for(
            lambda: pending.is_urgent or (pending.stop_by_s is not None and not was_stopping), pause_s
        )

    def _write(self, connection: sqlite3.Connection, batch: list[Unit]) -> None:
        if not any(unit.rows for unit in batch):
            self._landed(batch, has_written=False)
            return
        is_journal = batch[-1].waiter is Waiter.COMMIT
        self._check_same_file()
        self._set_synchronous(connection, full=is_journal)
        connection.execute("BEGIN IMMEDIATE")
        for unit in batch:
            self._apply(connection, unit)
        with self._wakeup:
            is_changed = any(unit.phase is Phase.WITHDRAWN and unit.rows for unit in batch)
            if not is_changed:
                for unit in batch:
                    if unit.phase is Phase.APPLIED:
                        unit.phase = Phase.COMMITTING
        if is_changed:
            connection.execute("ROLLBACK")
            with self._wakeup:
                self._pending.writing_since_s = None
                self._pending.give_back(batch)
            return
        name = "journal" if is_journal else "writer"
        crash_point(f"{name}.before_commit")
        connection.execute("COMMIT")
        crash_point(f"{name}.after_commit")
        self._landed(batch, has_written=True)

    def _apply(self, connection: sqlite3.Connection, unit: Unit) -> None:
        try:
            for row in unit.rows:
                statements.apply(connection, row)
        except sqlite3.Error as error:
            if not _is_refusal(error):
                raise
            raise _RowRefused(unit, error) from error
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
            raise _RowRefused(unit, error) from error

    def _check_same_file(self) -> None:
        try:
            there = os.stat(self._path)
        except OSError:
            there = None
        if there is None or self._file is None or not os.path.samestat(there, self._file):
            raise StoreError(f"{self._path} was moved or deleted while perpbot runs; put it back, or stop perpbot")

    def _set_synchronous(self, connection: sqlite3.Connection, *, full: bool) -> None:
        if full != self._is_synchronous_full:
            connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
            self._is_synchronous_full = full

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                _log.error("cannot roll back: %s", error, extra={"event": "store.rollback_failed"})

    # ------------------------------------------------------------ outcomes

    def _landed(self, batch: list[Unit], *, has_written: bool) -> None:
        now_s = monotonic_s()
        with self._wakeup:
            pending = self._pending
            pending.writing_since_s = None
            for unit in batch:
                pending.rows -= unit.weight
                unit.settle(Phase.DONE)
            if not has_written:
                return
            pending.last_commit_s = now_s
            failure, pending.failure = pending.failure, None
            if failure is not None:
                # Within the guard: whoever sees good health and flushes then, finds the event too.
                lasted_s = now_s - failure.since_s
                text = f"the database takes rows again after {lasted_s:.1f} s; none was lost"
                self._put_event(text)
        if any(unit.is_abandoned for unit in batch):
            _log.error("rows landed after their commit was given up", extra={"event": "store.late_commit"})
        if failure is not None:
            _log.warning("%s", text, extra={"event": "store.recovered", "lasted_s": round(lasted_s, 3)})

    def _failed(self, batch: list[Unit], error: StoreError) -> None:
        with self._wakeup:
            pending = self._pending
            pending.writing_since_s = None
            pending.give_back(batch)
            is_first = pending.failure is None
            if pending.failure is None:
                pending.failure = Failure(monotonic_s(), error)
            pending.failure.error = error
            if not isinstance(error, StoreBusy):
                # A lock may be gone before the deadline; a full disk is told at once.
                pending.fail_waiting(error, (Waiter.COMMIT,))
        if is_first:
            _log.error("%s; rows wait in memory", error, extra={"event": "store.failed"})
            # Also the row that is tried until it lands: without one an empty queue would never notice the recovery.
            self._put_event(f"the database could not be written: {error}")

    def _put_event(self, text: str) -> None:
        self.put(EventRow(self._clock.now_ms(), wall_ms(), "STORE", None, text))

    def _refused(self, batch: list[Unit], refusal: _RowRefused) -> None:
        unit = refusal.unit
        kinds = ", ".join(sorted({type(row).__name__ for row in unit.rows}))
        text = f"{kinds} holds a value that cannot be stored: {refusal.cause}"
        with self._wakeup:
            pending = self._pending
            pending.writing_since_s = None
            pending.rows -= unit.weight
            if unit.waiter is Waiter.NOBODY:  # the caller of a commit is told; rows of a put are missing for good
                pending.lost.refused += unit.weight
                pending.lost.newest = text
            unit.settle(Phase.FAILED, StoreError(f"{text}; withdrawn"))
            pending.give_back([other for other in batch if other is not unit])
        _log.critical("%s", text, extra={"event": "store.row_refused", "rows": unit.weight})


def _is_refusal(error: sqlite3.Error) -> bool:
    """Whether the fault lies in the values (a missing one, an integer too large), not in the file."""
    return isinstance(
        error, sqlite3.IntegrityError | sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError
    )
