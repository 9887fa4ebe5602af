"""The hourly copy of the database, made beside the running writer and checked before it counts.

The copy reads one snapshot through its own read-only connection, a few pages at a time: the writer goes on, and the
copy does not start over when it commits. While it runs the write-ahead log cannot be folded back, so it grows by what
is written meanwhile and is cut back afterwards.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

from perp_bot.core.clock import wall_ms
from perp_bot.core.errors import StoreError, StoreFull
from perp_bot.data.db.connection import open_readonly, translate
from perp_bot.ops.atomic_file import sync_folder

_log = logging.getLogger(__name__)

KEEP = 24
_STEP_PAGES = 512  # 2 MB
_STEP_PAUSE_S = 0.01
_FIRST_AFTER_S = 60.0
_RETRY_AFTER_S = 300.0
_PARTIAL = ".partial"


class _Stopped(Exception):
    """The daemon is ending: the copy is given up."""


def backup_files(folder: Path, db: Path) -> list[Path]:
    """Return the finished backups of `db`, oldest first."""
    return sorted(folder.glob(f"{db.stem}-????????T??????Z{db.suffix}"))


def make_backup(db: Path, folder: Path, stop: threading.Event | None = None) -> Path:
    """Copy `db` into `folder`, check the copy, keep the newest 24; return the new file.

    Raises:
        StoreFull: not enough disk space (twice the database's size must be free: trading needs it more).
        StoreError: the copy failed or is not sound; nothing is left behind but the older backups.
    """
    stamp = datetime.fromtimestamp(wall_ms() / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = folder / f"{db.stem}-{stamp}{db.suffix}"
    partial = target.with_name(target.name + _PARTIAL)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in folder.glob(f"{db.stem}-*{_PARTIAL}*"):
            left_over.unlink(missing_ok=True)
        free_bytes, needed_bytes = shutil.disk_usage(folder).free, 2 * db.stat().st_size
        if free_bytes < needed_bytes:
            raise StoreFull(f"no backup: {folder} has {free_bytes >> 20} MiB free, {needed_bytes >> 20} are needed")
        _copy(db, partial, stop or threading.Event())
        os.replace(partial, target)
        sync_folder(folder)
        for old in backup_files(folder, db)[:-KEEP]:
            old.unlink(missing_ok=True)
    except sqlite3.Error as error:
        raise translate(error, partial) from error
    except OSError as error:
        raise StoreError(f"no backup of {db} in {folder}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _copy(db: Path, partial: Path, stop: threading.Event) -> None:
    def give_up_on_stop(_status: int, _remaining: int, _total: int) -> None:
        if stop.is_set():
            raise _Stopped

    source = open_readonly(db)
    try:
        copy = sqlite3.connect(partial, isolation_level=None)
        try:
            # The open read transaction pins one snapshot; without it every commit of the writer starts the copy over.
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            source.backup(copy, pages=_STEP_PAGES, progress=give_up_on_stop, sleep=_STEP_PAUSE_S)
            source.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, complete in itself
            verdict = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            copy.close()
    finally:
        source.close()
    if verdict != "ok":
        raise StoreError(f"the copy of {db} is not sound ({verdict}); the database itself may be damaged")
    fd = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class BackupThread:
    """Make a backup every so often, by the wall clock and across restarts."""

    def __init__(self, db: Path, folder: Path, every_s: float) -> None:
        self._db = db
        self._folder = folder
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-backup", daemon=True)
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the newest attempt failed; None when it did not."""
        return self._error

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request_stop(self) -> None:
        """Ask it to end; a copy under way is given up."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for its end."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s = self._first_wait_s()
        while not self._stop.wait(wait_s):
            try:
                target = make_backup(self._db, self._folder, self._stop)
            except _Stopped:
                return
            except StoreError as error:
                self._error, wait_s = str(error), min(self._every_s, _RETRY_AFTER_S)
                _log.error("backup failed: %s", error, extra={"event": "store.backup_failed"})
            except Exception as error:  # noqa: BLE001 - logged
                # The edge of the thread: backups must go on after a fault, and somebody must see it.
                self._error, wait_s = repr(error), min(self._every_s, _RETRY_AFTER_S)
                _log.exception("backup failed", extra={"event": "store.backup_failed"})
            else:
                self._error, wait_s = None, self._every_s
                _log.info("backup %s", target.name, extra={"event": "store.backup", "file": target.name})

    def _first_wait_s(self) -> float:
        done = backup_files(self._folder, self._db)
        if not done:
            return min(self._every_s, _FIRST_AFTER_S)
        age_s = max(0.0, wall_ms() / 1000 - done[-1].stat().st_mtime)
        return max(min(self._every_s, 1.0), self._every_s - age_s)
