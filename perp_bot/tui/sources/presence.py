"""Whether a daemon lives, and how the last one ended: lock, run record, latch. One thread, read once a second."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.core.errors import DaemonBusy, PerpBotError
from perp_bot.ops import instance_lock
from perp_bot.ops.run_record import read_run_record
from perp_bot.tui.sources.thread import SourceThread
from perp_bot.tui.store import LastRun, Presence

INTERVAL_S = 1.0
UNSEEN_PID = 0  # the lock is held by a process that cannot be seen from here


def read_presence(paths: RuntimePaths) -> Presence:
    """Read lock, run record, latch and the database's last change; a part that fails says so in `error`."""
    errors: list[str] = []
    lock_pid: int | None = None
    try:
        lock_pid = instance_lock.holder(paths.lock)
    except DaemonBusy as error:
        lock_pid = UNSEEN_PID
        errors.append(str(error))
    except (PerpBotError, OSError) as error:
        errors.append(str(error))
    last_run: LastRun | None = None
    try:
        record = read_run_record(paths.run_record)
        if record is not None:
            last_run = LastRun(
                record.pid, record.started_ms, record.ended_ms, record.exit_code, record.reason or "no reason recorded"
            )
    except PerpBotError as error:
        errors.append(str(error))
    return Presence(
        read_s=monotonic_s(),
        lock_pid=lock_pid,
        last_run=last_run,
        latched=_latch_text(paths.kill_latch),
        last_write_ms=_last_write_ms(paths.db),
        wall_ms=wall_ms(),
        error="; ".join(errors),
    )


def _latch_text(path: Path) -> str | None:
    """Return what the latch file says; any file there latches, whatever is in it."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the latch file cannot be looked at: {error.strerror}"
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(16_384))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return "the latch file is there, but not readable"
    if not isinstance(found, dict):
        return "the latch file is there, without a reason"
    return f"killed by {found.get('who') or 'someone'}: {found.get('reason') or 'no reason given'}"


def _last_write_ms(db: Path) -> int | None:
    times = []
    for path in (db, db.with_name(db.name + "-wal")):
        try:
            times.append(path.stat().st_mtime_ns // 1_000_000)
        except OSError:
            continue
    return max(times, default=None)


class PresenceSource(SourceThread):
    """Owns the thread that reads presence."""

    def __init__(self, paths: RuntimePaths, put: Callable[[Presence], None]) -> None:
        super().__init__("tui-presence")
        self._paths = paths
        self._put = put

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._put(read_presence(self._paths))
            self._pause(INTERVAL_S)
