"""The emergency journal: protective actions are written here when the database cannot be.

The file is filled with zeros and flushed beforehand, so a record needs no free space (on file systems that overwrite
in place; a copy-on-write one may still need some). A record is length (4 bytes), checksum (4 bytes) and canonical JSON;
the checksum covers the record's number, so that what an earlier filling left behind is never read as a record.
Reading ends at the first length of zero or checksum that does not fit (a record torn by a crash).
"""

from __future__ import annotations

import json
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

from perp_bot.core.errors import StoreError, StoreFull
from perp_bot.data.db.codec import canonical_json
from perp_bot.ops.atomic_file import sync_folder

DEFAULT_BYTES = 1024 * 1024
_HEAD = struct.Struct("<II")


class EmergencyJournal:
    """Append records that survive a full disk; safe from any thread."""

    def __init__(self, path: Path, size_bytes: int = DEFAULT_BYTES) -> None:
        self._path = path
        self._size = size_bytes
        self._fd: int | None = None
        self._offset = 0
        self._count = 0
        self._guard = threading.Lock()

    def open(self) -> None:
        """Create the file at its full size, or go on behind the records it holds.

        Raises:
            StoreFull: when there is no room for it now (better at the start than in the emergency).
        """
        with self._guard:
            if self._fd is not None:
                return
            try:
                fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StoreError(f"cannot open the emergency journal {self._path}: {error.strerror}") from error
            try:
                content = _read_all(fd)
                records, self._offset = _parse(content)
                self._count = len(records)
                # Zeros behind the last good record: room for all, and no rest of a torn record.
                self._size = max(self._size, len(content))
                if len(content) < self._size or any(content[self._offset :]):
                    _write_all(fd, bytes(self._size - self._offset), self._offset)
                    os.fsync(fd)
                    sync_folder(self._path.parent)
            except OSError as error:
                os.close(fd)
                raise StoreFull(f"no room for the emergency journal {self._path}: {error.strerror}") from error
            self._fd = fd

    def append(self, row_json: dict[str, Any]) -> None:
        """Write one record and flush it to disk before returning.

        Raises:
            StoreFull: when the journal is full or the disk refuses.
            StoreError: when the journal is not open.
        """
        payload = canonical_json(row_json).encode("ascii")
        with self._guard:
            if self._fd is None:
                raise StoreError(f"the emergency journal {self._path} is not open")
            record = _HEAD.pack(len(payload), _checksum(self._count, payload)) + payload
            if self._offset + len(record) > self._size:
                raise StoreFull(
                    f"the emergency journal {self._path} is full ({self._count} records); make the database writable"
                )
            try:
                _write_all(self._fd, record, self._offset)
                os.fdatasync(self._fd)
            except OSError as error:
                raise StoreFull(f"cannot write the emergency journal {self._path}: {error.strerror}") from error
            self._offset += len(record)
            self._count += 1

    def clear(self) -> None:
        """Forget all records, once they are in the database; the file keeps its size.

        Raises:
            StoreError: when the journal is not open or the disk refuses; the records may then still be there.
        """
        with self._guard:
            if self._fd is None:
                raise StoreError(f"the emergency journal {self._path} is not open")
            _zero(self._fd, self._path)
            self._offset = self._count = 0

    def close(self) -> None:
        """Close the file; harmless when it is not open."""
        with self._guard:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None


def read_emergency(path: Path) -> list[dict[str, Any]]:
    """Return the records in the order they were written; empty when there is no journal.

    Raises:
        StoreError: when the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read the emergency journal {path}: {error.strerror}") from error
    return _parse(content)[0]


def clear_emergency(path: Path) -> None:
    """Forget the records of a journal that nobody has open; no journal is no error.

    Raises:
        StoreError: when the file cannot be written; the records may then still be there.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot open the emergency journal {path}: {error.strerror}") from error
    try:
        _zero(fd, path)
    finally:
        os.close(fd)


def _zero(fd: int, path: Path) -> None:
    # From the front: once the first length is zero the journal reads as empty, whatever a crash leaves behind it.
    try:
        _write_all(fd, bytes(os.fstat(fd).st_size), 0)
        os.fsync(fd)
    except OSError as error:
        raise StoreError(f"cannot clear the emergency journal {path}: {error.strerror}") from error


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<IQ", len(payload), number)))


def _parse(content: bytes) -> tuple[list[dict[str, Any]], int]:
    """Return the good records and the offset behind the last of them."""
    records: list[dict[str, Any]] = []
    offset = 0
    while offset + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, offset)
        payload = content[offset + _HEAD.size : offset + _HEAD.size + length]
        if length == 0 or len(payload) < length or _checksum(len(records), payload) != checksum:
            break
        records.append(json.loads(payload))
        offset += _HEAD.size + length
    return records, offset


def _read_all(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    parts: list[bytes] = []
    at = 0
    while at < size:
        part = os.pread(fd, size - at, at)
        if not part:
            break
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _write_all(fd: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
