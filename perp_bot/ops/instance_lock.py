"""One daemon per database, and one per signing key: a POSIX record lock whose holder others can read without taking it.

A record lock belongs to the process and vanishes as soon as the process closes *any* descriptor of the file. So this
module is the only one that opens lock files, and it never opens one that this process holds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
import threading
from pathlib import Path
from types import TracebackType

from perp_bot.core.errors import DaemonBusy, StoreError

# struct flock: Linux has type, whence, start, length, pid; macOS start, length, pid, type, whence.
_IS_MACOS = sys.platform == "darwin"
_FLOCK_LAYOUT = "@qqihh" if _IS_MACOS else "@hhqqi4x"

_held: dict[str, int] = {}  # real path -> pid of the process that holds it (a fork inherits the table, not the lock)
_held_guard = threading.Lock()


class InstanceLock:
    """The right to be the daemon of a database, or of a signing key; held until `release` or the process's end."""

    def __init__(self, path: Path, *, signer: str | None = None) -> None:
        """Name the lock file; `signer` is the address whose key it stands for, None where it is a database's."""
        self._path = path
        self._signer = signer
        self._key = os.path.realpath(path)
        self._fd: int | None = None

    @property
    def path(self) -> Path:
        """The lock file; it stays behind with the last holder's pid, which means nothing without the lock."""
        return self._path

    def acquire(self) -> None:
        """Take the lock and write this process's pid into its file.

        Raises:
            DaemonBusy: when another process (or this one, a second time) holds it.
            StoreError: when the lock file cannot be created or written.
        """
        with _held_guard:
            if _held.get(self._key) == os.getpid():
                raise DaemonBusy(f"this process (pid {os.getpid()}) already holds {self._path}")
            fd = self._open_locked()
            try:
                # Written over the old pid without truncating first: a reader never finds the file empty.
                text = f"{os.getpid()}\n".encode()
                os.pwrite(fd, text, 0)
                os.ftruncate(fd, len(text))
            except OSError as error:
                os.close(fd)
                raise StoreError(f"cannot write the lock file {self._path}: {error.strerror}") from error
            self._fd = fd
            _held[self._key] = os.getpid()

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        with _held_guard:
            if self._fd is None:
                return
            os.close(self._fd)
            self._fd = None
            _held.pop(self._key, None)

    def __enter__(self) -> InstanceLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _refusal(self, who: str) -> str:
        if self._signer is not None:
            return f"another perpbot ({who}) signs with the key of {self._signer} (lock {self._path}); stop it first"
        return (
            f"another perpbot ({who}) works on this database (lock {self._path}); "
            "see `perpbot status`, or stop it first"
        )

    def _open_locked(self) -> int:
        while True:
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreError(f"cannot open the lock file {self._path}: {error.strerror}") from error
            try:
                fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                pid = _locking_pid(fd)
                os.close(fd)  # we hold nothing on it
                if error.errno not in (errno.EACCES, errno.EAGAIN):
                    raise StoreError(f"cannot lock {self._path}: {error.strerror}") from error
                if pid is None:
                    continue  # its holder ended between the two calls
                who = f"pid {pid}" if pid > 0 else "a process of another container"
                raise DaemonBusy(self._refusal(who)) from None
            if _is_still_at(fd, self._path):
                return fd
            os.close(fd)  # deleted between open and lock: another could lock a new file of this name


def holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock, or None when nobody does; never takes it.

    Raises:
        DaemonBusy: when it is held by a process whose pid cannot be seen from here (another container): no signal
            may be sent to a guessed pid.
    """
    with _held_guard:
        if _held.get(os.path.realpath(path)) == os.getpid():
            return os.getpid()
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read the lock file {path}: {error.strerror}") from error
        try:
            pid = _locking_pid(fd)
        finally:
            os.close(fd)
    if pid is not None and pid <= 0:
        raise DaemonBusy(f"{path} is held by a process of another container; its pid cannot be seen from here")
    return pid


def _locking_pid(fd: int) -> int | None:
    if _IS_MACOS:
        question = struct.pack(_FLOCK_LAYOUT, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
    else:
        question = struct.pack(_FLOCK_LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = struct.unpack(_FLOCK_LAYOUT, fcntl.fcntl(fd, fcntl.F_GETLK, question))
    kind, pid = (answer[3], answer[2]) if _IS_MACOS else (answer[0], answer[4])
    return None if kind == fcntl.F_UNLCK else pid


def _is_still_at(fd: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(fd), there)
