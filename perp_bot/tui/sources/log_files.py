"""The log over all its rotations as one stream of numbered lines: an index of newline offsets, lines read on demand.

Files are followed by name and inode: a rotation is noticed because the name leads to another inode; then the old
descriptor is drained, the backups are walked back to the last inode known, and what lies between is indexed. Only
offsets are kept. `pread` on open descriptors, never `mmap`: a file truncated under a map would kill the process.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 4096
MAX_BACKUPS = 20
MAX_PARTS = 8  # held open; files that rotated out of the backups keep their disk space until we let go
_STABLE_TRIES = 5

Inode = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: its number in the stream, its bytes (cut at 4 kB) and how many bytes the cut lost."""

    number: int
    raw: bytes
    cut_bytes: int = 0
    is_marker: bool = False  # written by the viewer: a gap, a truncation


class _Part:
    """A run of lines: of one file, or a marker of one line."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> LogLine:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the part holds."""


class _Marker(_Part):
    def __init__(self, first: int, text: str) -> None:
        super().__init__(first)
        self._text = text.encode()

    def __len__(self) -> int:
        return 1

    def read(self, index: int) -> LogLine:
        return LogLine(self.first, self._text, is_marker=True)


class _File(_Part):
    """One open file and the offsets of its line starts (complete lines only)."""

    def __init__(self, first: int, fd: int) -> None:
        super().__init__(first)
        self.fd = fd
        found = os.fstat(fd)
        self.inode: Inode = (found.st_dev, found.st_ino)
        self._starts = array("Q", [0])  # the start of every complete line, and of the incomplete last one
        self._read_to = 0

    def __len__(self) -> int:
        return len(self._starts) - 1

    def size(self) -> int:
        """Return the file's size now."""
        return os.fstat(self.fd).st_size

    @property
    def read_to(self) -> int:
        """Bytes indexed so far."""
        return self._read_to

    def grow(self, limit_bytes: int | None = None) -> int:
        """Index what was appended (at most `limit_bytes`) and return the number of new lines."""
        before = len(self)
        budget = limit_bytes if limit_bytes is not None else 1 << 62
        while budget > 0:
            chunk = os.pread(self.fd, min(CHUNK_BYTES, budget), self._read_to)
            if not chunk:
                break
            base = self._read_to + 1
            at = chunk.find(b"\n")
            while at >= 0:
                self._starts.append(base + at)
                at = chunk.find(b"\n", at + 1)
            self._read_to += len(chunk)
            budget -= len(chunk)
        return len(self) - before

    def finish(self) -> int:
        """Index the rest of a file that will not grow again: a last line without a newline counts."""
        new = self.grow()
        if self._starts[-1] < self._read_to:
            self._starts.append(self._read_to + 1)  # as if its newline were there
            new += 1
        return new

    def read(self, index: int) -> LogLine:
        start = self._starts[index]
        length = max(0, self._starts[index + 1] - 1 - start)
        raw = os.pread(self.fd, min(length, MAX_LINE_BYTES), start)
        return LogLine(self.first + index, raw.rstrip(b"\r"), max(0, length - MAX_LINE_BYTES))

    def lines(self, low: int, high: int) -> Iterator[tuple[int, bytes]]:
        """Yield (index, whole line) of lines low..high-1 with one read a chunk."""
        while low < high:
            stop = low + 1
            while stop < high and self._starts[stop + 1] - self._starts[low] <= CHUNK_BYTES:
                stop += 1
            start = self._starts[low]
            length = min(self._starts[stop] - start, 8 * CHUNK_BYTES)  # one monstrous line is searched in part
            block = os.pread(self.fd, length, start)
            for index in range(low, stop):
                yield index, block[self._starts[index] - start : self._starts[index + 1] - 1 - start]
            low = stop

    def close(self) -> None:
        os.close(self.fd)


class LogTail:
    """The stream: backups and the active file, numbered from 0 in the order in which they were found.

    Not safe for threads: one reader owns it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parts: list[_Part] = []
        self._firsts: list[int] = []
        self._active: _File | None = None
        self.trouble = ""  # why there is nothing, or nothing new

    # ------------------------------------------------------------ following

    def poll(self) -> int:
        """Look for new lines, rotations and truncation; return the number of new lines."""
        before = self.end
        self.trouble = ""
        if not self._parts:
            self._open_all()
            return self.end - before
        active = self._active
        if active is None:
            self._after_rotation(None)
            return self.end - before
        there = self._inode_at(self._path)
        if there == active.inode:
            if active.size() < active.read_to:
                self._restart_truncated(active)
            else:
                active.grow()
        else:
            active.finish()
            self._after_rotation(active.inode)
        return self.end - before

    def close(self) -> None:
        """Close every file."""
        for part in self._parts:
            part.close()
        self._parts.clear()
        self._firsts.clear()
        self._active = None

    def _open_all(self) -> None:
        for path in reversed(self._backup_paths()):
            opened = self._open(path, self.end)
            if opened is not None and all(opened.inode != item.inode for item in self._files()):
                opened.finish()
                self._append(opened)
            elif opened is not None:
                opened.close()
        self._adopt_active()

    def _adopt_active(self) -> None:
        opened = self._open(self._path, self.end)
        if opened is None:
            self._active = None
            return
        if any(opened.inode == item.inode for item in self._files()):
            opened.close()  # rotated between two looks; the next poll finds the new file
            self._active = None
            return
        opened.grow()
        self._append(opened)
        self._active = opened

    def _after_rotation(self, known: Inode | None) -> None:
        """Find every file between the last one known and the active one, oldest first.

        The active file is opened first and the backups are walked from newest to oldest, so that a rotation during the
        walk shows a file twice, never hides one; and it is done again until the name still leads to the same inode.
        """
        known_inodes = {item.inode for item in self._files()}
        between: list[_File] = []
        newest: _File | None = None
        is_gap = False
        for _ in range(_STABLE_TRIES):
            for item in [*between, *([newest] if newest is not None else [])]:
                item.close()
            between, is_gap = [], known is not None
            newest = self._open(self._path, 0)
            if newest is None:
                return  # renamed, and the new file is not there yet
            if newest.inode in known_inodes:
                newest.close()
                return
            met = {newest.inode}
            for path in self._backup_paths():
                opened = self._open(path, 0)
                if opened is None:
                    continue
                if opened.inode in known_inodes:
                    is_gap = False
                    opened.close()
                    break
                if opened.inode in met:
                    opened.close()
                    continue
                met.add(opened.inode)
                between.append(opened)
            if self._inode_at(self._path) == newest.inode:
                break
        if newest is None:
            return
        if is_gap:
            self._append(_Marker(self.end, "gap: the log rotated past what was read; lines are missing here"))
        for item in reversed(between):
            item.first = self.end
            item.finish()
            self._append(item)
        newest.first = self.end
        newest.grow()
        self._append(newest)
        self._active = newest
        self._forget_deleted()

    def _restart_truncated(self, active: _File) -> None:
        self._active = None
        fd = os.dup(active.fd)
        self._append(_Marker(self.end, "the log file was truncated; lines above are gone from disk"))
        self._drop_lines_of(active)
        fresh = _File(self.end, fd)
        fresh.grow()
        self._append(fresh)
        self._active = fresh

    def _drop_lines_of(self, part: _File) -> None:
        """Keep the numbers but not the content of lines whose bytes are gone."""
        index = self._parts.index(part)
        lost = _Lost(part.first, len(part))
        part.close()
        self._parts[index] = lost

    def _forget_deleted(self) -> None:
        """Close files that no name leads to any more, beyond what the backups hold."""
        alive = {self._inode_at(path) for path in (self._path, *self._backup_paths())}
        while len(self._parts) > MAX_PARTS:
            oldest = self._parts[0]
            if isinstance(oldest, _File) and oldest.inode in alive:
                return
            oldest.close()
            self._parts.pop(0)
            self._firsts.pop(0)

    # ------------------------------------------------------------ reading

    @property
    def start(self) -> int:
        """Number of the oldest line at hand."""
        return self._firsts[0] if self._firsts else 0

    @property
    def end(self) -> int:
        """One past the number of the newest line."""
        return self._firsts[-1] + len(self._parts[-1]) if self._parts else 0

    def read(self, number: int) -> LogLine | None:
        """Return line `number`, None when it is not at hand."""
        if not self.start <= number < self.end:
            return None
        part = self._parts[bisect_right(self._firsts, number) - 1]
        # Empty files share their first number with the next part: bisect_right finds the last of them, which has it.
        index = number - part.first
        return part.read(index) if index < len(part) else None

    def scan(self, low: int, high: int) -> Iterator[tuple[int, bytes]]:
        """Yield (number, whole line) for low <= number < high, in order; markers are left out."""
        for part in list(self._parts):
            if not isinstance(part, _File):
                continue
            first, last = max(low, part.first), min(high, part.first + len(part))
            if first < last:
                for index, raw in part.lines(first - part.first, last - part.first):
                    yield part.first + index, raw

    # ------------------------------------------------------------ files

    def _append(self, part: _Part) -> None:
        self._parts.append(part)
        self._firsts.append(part.first)

    def _files(self) -> list[_File]:
        return [part for part in self._parts if isinstance(part, _File)]

    def _backup_paths(self) -> list[Path]:
        """Return log.1, log.2, ... newest first, as far as they are there."""
        paths = []
        for number in range(1, MAX_BACKUPS + 1):
            path = self._path.with_name(f"{self._path.name}.{number}")
            if not path.exists() and number > 1:
                break
            paths.append(path)
        return paths

    def _open(self, path: Path, first: int) -> _File | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            if path == self._path:
                self.trouble = f"no log at {path} yet"
            return None
        except OSError as error:
            self.trouble = f"cannot read {path}: {error.strerror}"
            return None
        return _File(first, fd)

    def _inode_at(self, path: Path) -> Inode | None:
        try:
            found = path.stat()
        except OSError:
            return None
        return (found.st_dev, found.st_ino)


class _Lost(_Part):
    """Lines whose bytes are gone."""

    def __init__(self, first: int, count: int) -> None:
        super().__init__(first)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def read(self, index: int) -> LogLine:
        return LogLine(self.first + index, b"(gone: the file was truncated)", is_marker=True)
