"""A log file that is renamed when it is full: `log`, `log.1` (newest) to `log.3`.

Lines are appended whole, in one system call, unbuffered; a full disk costs lines, never more.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


class RotatingFile:
    """Append lines to `path`; owned by one thread."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._fd: int | None = None
        self._size = 0
        self._is_torn = False  # the last write stopped in the middle of a line

    def write_line(self, line: bytes) -> None:
        """Append `line` and a newline, turning the file over first when it would grow too large.

        Raises:
            OSError: when the line (or a part of it) could not be written; the next one starts on a line of its own.
        """
        whole = line + b"\n"
        fd = self._open()
        if self._size and self._size + len(whole) > self._max_bytes:
            fd = self._turn_over()
        if self._is_torn:
            whole = b"\n" + whole
        written = os.write(fd, whole)
        self._size += written
        self._is_torn = written < len(whole)
        if self._is_torn:
            raise OSError(f"only {written} of {len(whole)} bytes were written to {self._path}")

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        if self._fd is not None and not self._is_still_there(self._fd):
            self.close()  # somebody moved or deleted it: go on under the known name
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._size = os.fstat(self._fd).st_size
            self._is_torn = self._size > 0 and os.pread(self._fd, 1, self._size - 1) != b"\n"
        return self._fd

    def _is_still_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(fd))
        except FileNotFoundError:
            return False

    def _turn_over(self) -> int:
        self.close()
        # A folder that forbids renaming must not silence the log: the file then grows past its size.
        with contextlib.suppress(OSError):
            for number in range(self._keep - 1, 0, -1):
                older = self._numbered(number)
                if older.exists():
                    os.replace(older, self._numbered(number + 1))
            os.replace(self._path, self._numbered(1))
        return self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
