"""Nonces of a signing key: each used once, never going back, whatever clock, process or restart comes between.

The venue takes a nonce once, keeps the hundred highest of a signer, and wants them within two days back and one day
ahead of its time. The last one given out stands in a file of the key. It is read and written under a lock of that file,
so that two processes of one signer never give out the same; a daemon holds the signer's lock besides, for good.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.core.errors import ConfigError, DaemonBusy, StoreError
from perp_bot.ops.instance_lock import InstanceLock

MAX_AHEAD_MS = 23 * 3_600_000  # the venue refuses nonces a day ahead of its time
_DIGITS = 20  # fixed width: the file is overwritten in place and never seen half empty
LOCK_WAIT_S = 2.0
_POLL_S = 0.002


def signer_lock(folder: Path, address: str) -> InstanceLock:
    """Return the lock that only one process per signing key can hold; it has not been taken yet.

    Raises:
        StoreError: when its folder cannot be made.
    """
    _make(folder)
    return InstanceLock(signer_lock_path(folder, address), signer=address)


def signer_lock_path(folder: Path, address: str) -> Path:
    """Return the lock's file, to ask who holds it; nothing is made."""
    return folder / f"{address.lower()}.lock"


class NonceCounter:
    """Gives out the nonces of one signing key; safe from any thread and among processes."""

    def __init__(
        self,
        folder: Path,
        address: str,
        *,
        wall_clock_ms: Callable[[], int] = wall_ms,
        lock_wait_s: float = LOCK_WAIT_S,
    ) -> None:
        """Begin after the last nonce in the key's file, if there is one.

        Raises:
            StoreError: when the file cannot be made, read or written, or holds no nonce.
            DaemonBusy: another process holds the file's lock and does not give it back.
        """
        _make(folder)
        self._path = folder / f"{address.lower()}.nonce"
        self._wall_clock_ms = wall_clock_ms
        self._lock_wait_s = lock_wait_s
        self._guard = threading.Lock()
        self._trouble: str | None = None
        try:
            with _locked(self._path, self._lock_wait_s) as fd:
                self._last = _read(fd, self._path)
                _write(fd, self._last)
        except OSError as error:
            raise StoreError(f"the nonce file {self._path} cannot be used: {error.strerror or error}") from error

    @property
    def path(self) -> Path:
        """The file of the last nonce."""
        return self._path

    @property
    def trouble(self) -> str | None:
        """Why the newest nonce could not be written down; None when it was."""
        return self._trouble

    def take(self) -> int:
        """Return a nonce above every earlier one: the wall clock in ms, or the last one + 1.

        When the file fails once the counter stands, nonces are counted on in memory and `trouble` says so: a stop does
        not wait for a disk, and the signer's lock keeps other processes away.

        Raises:
            DaemonBusy: another process holds the file's lock and does not give it back.
            ConfigError: the last nonce is so far ahead of the wall clock that the venue would refuse the next one.
        """
        with self._guard:
            try:
                with _locked(self._path, self._lock_wait_s) as fd:
                    self._last = self._next(max(self._last, self._newest(fd)))
                    _write(fd, self._last)
                    self._trouble = None
            except OSError as error:
                self._last = self._next(self._last)
                self._trouble = f"the nonce file {self._path} cannot be written: {error.strerror or error}"
            return self._last

    def _next(self, last: int) -> int:
        now_ms = self._wall_clock_ms()
        if last + 1 > now_ms + MAX_AHEAD_MS:
            raise ConfigError(
                f"the last nonce ({last}) is {(last - now_ms) / 3_600_000:.0f} hours ahead of this machine's clock: "
                f"the venue would refuse the next one. Set the clock right; if it is right now, remove {self._path}"
            )
        return max(now_ms, last + 1)

    def _newest(self, fd: int) -> int:
        """Return the file's nonce; once we have counted ourselves, a spoilt file is only worth overwriting."""
        try:
            return _read(fd, self._path)
        except StoreError:
            return 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot create the folder {folder}: {error.strerror or error}") from error


@contextmanager
def _locked(path: Path, max_wait_s: float) -> Iterator[int]:
    """Open and lock the file anew each time: such a lock (flock) also keeps threads and forked children apart."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = monotonic_s() + max_wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic_s() >= deadline_s:
                    raise DaemonBusy(f"another process holds {path} and does not give it back") from None
                threading.Event().wait(_POLL_S)
        yield fd
    finally:
        os.close(fd)


def _read(fd: int, path: Path) -> int:
    content = os.pread(fd, 64, 0)
    if not content:
        return 0
    if len(content) != _DIGITS + 1 or not content[:_DIGITS].isdigit() or content[-1:] != b"\n":
        raise StoreError(
            f"{path} holds no nonce; if no other perpbot uses this key, remove it: counting then starts from the clock"
        )
    return int(content)


def _write(fd: int, nonce: int) -> None:
    os.pwrite(fd, f"{nonce:0{_DIGITS}d}\n".encode(), 0)
    os.ftruncate(fd, _DIGITS + 1)
