"""The kill latch: one file that forbids everything that adds exposure, until an operator clears it.

Creating the file is the kill; what is inside is for people. Any file there latches, also an empty or unreadable one or
one dropped by hand. It survives restarts, and only `clear` removes it (after the phrase; see `unkill`).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident

from perp_bot.core.clock import wall_ms
from perp_bot.core.errors import StoreError

_MAX_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class KillLatch:
    """Who latched, when and why; None where the file does not say (hand-dropped, empty or unreadable)."""

    who: str | None
    at_wall_ms: int | None
    venue_ms: int | None
    reason: str | None
    pid: int | None
    note: str = ""

    @property
    def text(self) -> str:
        """One sentence for people."""
        who = self.who or "someone"
        why = f": {self.reason}" if self.reason else " (no reason given)"
        return f"killed by {who}{why}{f' [{self.note}]' if self.note else ''}"


def latch(path: Path, *, who: str, reason: str, venue_ms: int | None) -> bool:
    """Create and fsync the latch file and its folder; return whether it was this call that latched.

    Idempotent: the first latch and its reason are kept. On a full disk an empty file latches all the same.

    Raises:
        StoreError: when no file could be created; then nothing is latched.
    """
    try:
        os.makedirs(path.parent, exist_ok=True)
    except OSError as error:
        raise StoreError(f"kill NOT latched: cannot create {path.parent}: {error.strerror or error}") from error
    record = {"who": who, "at_wall_ms": wall_ms(), "venue_ms": venue_ms, "reason": reason, "pid": os.getpid()}
    try:
        is_mine = _create(path, json.dumps(record, sort_keys=True).encode())
    except OSError as error:
        raise StoreError(f"kill NOT latched: cannot create {path}: {error.strerror or error}") from error
    _fsync_folder(path.parent)  # also where another created it: it may have died before its own fsync
    return is_mine


def is_latched(path: Path) -> bool:
    """Return whether anything stands at `path` (one lstat). What cannot be looked at counts as latched."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def read(path: Path) -> KillLatch | None:
    """Return what the latch says, or None when nothing is latched; never raises for what is inside."""
    if not is_latched(path):
        return None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a hand-made pipe must not block us
        try:
            found = json.loads(os.read(handle, _MAX_BYTES))
        finally:
            os.close(handle)
    except (OSError, ValueError, RecursionError) as error:
        return _unreadable(path, str(error))
    if not isinstance(found, dict):
        return _unreadable(path, "not an object")
    return KillLatch(
        who=_text(found.get("who")),
        at_wall_ms=_whole(found.get("at_wall_ms")),
        venue_ms=_whole(found.get("venue_ms")),
        reason=_text(found.get("reason")),
        pid=_whole(found.get("pid")),
    )


def clear(path: Path) -> bool:
    """Remove the latch for good; return whether there was one.

    Raises:
        StoreError: when it could not be removed; then it still latches.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"the kill latch {path} cannot be removed: {error.strerror or error}") from error
    _fsync_folder(path.parent)
    return True


def _unreadable(path: Path, why: str) -> KillLatch:
    return KillLatch(None, None, None, None, None, note=f"latch file {path.name} holds no record: {why}")


def _create(path: Path, content: bytes) -> bool:
    """Create the latch unless it is there; return whether it was this call.

    The record is written beside it first and linked whole, so that nobody reads half of it; where that cannot be done
    (no room, no hard links) the name alone is created, which latches as well.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()  # of a process that died here and had our number
        _write(draft, content)
        os.link(draft, path)
        return True
    except OSError:
        if is_latched(path):
            return False
        try:
            _write(path, content)
        except FileExistsError:
            return False
        return True
    finally:
        with suppress(OSError):
            draft.unlink()


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _write_what_fits(handle, content)
    finally:
        os.close(handle)


def _write_what_fits(handle: int, content: bytes) -> None:
    """Write and fsync; a full disk leaves a shorter file, which latches as well."""
    with suppress(OSError):
        os.write(handle, content)
    with suppress(OSError):
        os.fsync(handle)


def _fsync_folder(folder: Path) -> None:
    """Make the file's name durable; a file system that cannot (or a full disk) does not unlatch."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        with suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
