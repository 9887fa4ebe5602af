"""The columnar snapshot of one candle series: a file of raw columns, checked before it is believed, mapped not read.

Layout (little endian, every part begins on a page): head (magic, length and CRC of the table, CRC of the columns), the
table (JSON: series, rows, capacity; the blocks with their stamps and first rows), then one column after the other,
each with room for SPARE_ROWS more. The room is a hole in the file; whoever maps it may fill its own private copy.

A file is written under a temporary name, flushed and renamed, never changed afterwards: what is mapped stays as it was.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from perp_bot.ops.atomic_file import sync_folder

VERSION = 1
SPARE_ROWS = 8192
_MAGIC = b"perpcol\n"
_HEAD = struct.Struct("<8sIIII")  # magic, version, bytes and CRC of the table, CRC of the columns
_PAGE = 4096
_SETTLED_NS = 100_000_000  # a file younger than this may change again within one tick of the file system's clock
_STALE_TEMPORARY_S = 3600

COLUMNS: tuple[tuple[str, np.dtype[Any]], ...] = (
    ("open_ms", np.dtype("<i8")),
    ("open", np.dtype("<f8")),
    ("high", np.dtype("<f8")),
    ("low", np.dtype("<f8")),
    ("close", np.dtype("<f8")),
    ("volume", np.dtype("<f8")),
    ("generated", np.dtype("bool")),
)

Arrays = tuple[NDArray[Any], ...]  # one for each of COLUMNS, of equal length


class Block(NamedTuple):
    """Rows of one block of the series: from `first_row` up to the next block's."""

    number: int
    stamp: int
    first_row: int


class Damaged(Exception):
    """The file is not what was once written; says how."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnFile:
    """A checked snapshot, mapped privately: writing into `arrays` changes neither the file nor another mapping."""

    rows: int
    blocks: tuple[Block, ...]
    arrays: Arrays  # of `rows` + SPARE_ROWS; what lies beyond `rows` is zero


def file_of(folder: Path, symbol: str, timeframe: str) -> Path:
    """Return the path of a series' snapshot; the month is spelled so that it differs from the minute everywhere."""
    return folder / f"{quote(symbol, safe='')}-{'1month' if timeframe == '1M' else quote(timeframe, safe='')}.columns"


def _offsets(capacity: int, start: int) -> tuple[list[int], int]:
    offsets, at = [], start
    for _, kind in COLUMNS:
        offsets.append(at)
        at += -(-capacity * kind.itemsize // _PAGE) * _PAGE
    return offsets, at


def _table(symbol: str, timeframe: str, rows: int, blocks: Sequence[Block]) -> bytes:
    return json.dumps({"symbol": symbol, "timeframe": timeframe, "rows": rows, "blocks": blocks}).encode()


def _columns_start(table_bytes: int) -> int:
    return -(-(_HEAD.size + table_bytes) // _PAGE) * _PAGE


def write(path: Path, symbol: str, timeframe: str, rows: int, parts: Iterable[tuple[Block, Arrays]]) -> None:
    """Write the snapshot of `rows` rows, given block by block (oldest first), and put it in place of an older one.

    Raises:
        OSError: the folder cannot be written or the disk is full; an older snapshot is then unchanged.
        ValueError: the parts hold another number of rows than said.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _remove_stale(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            _fill(fd, symbol, timeframe, rows, parts)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _fill(fd: int, symbol: str, timeframe: str, rows: int, parts: Iterable[tuple[Block, Arrays]]) -> None:
    # The table stands before the columns but is known after them: it gets the pages that its longest text could take.
    held = [(block, arrays) for block, arrays in parts]
    blocks = tuple(block for block, _ in held)
    if sum(len(arrays[0]) for _, arrays in held) != rows:
        raise ValueError(f"{symbol} {timeframe}: {rows} rows were announced, the blocks hold others")
    table = _table(symbol, timeframe, rows, blocks)
    offsets, size = _offsets(rows + SPARE_ROWS, _columns_start(len(table)))
    os.ftruncate(fd, size)
    crc = 0
    for column, ((_, kind), offset) in enumerate(zip(COLUMNS, offsets, strict=True)):
        at = offset
        for _, arrays in held:
            chunk = np.ascontiguousarray(arrays[column], dtype=kind).tobytes()
            crc = zlib.crc32(chunk, crc)
            _write_whole(fd, chunk, at)
            at += len(chunk)
    _write_whole(fd, _HEAD.pack(_MAGIC, VERSION, len(table), zlib.crc32(table), crc) + table, 0)


def _write_whole(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _remove_stale(folder: Path) -> None:
    for left in folder.glob(".*.tmp"):
        try:
            if time.time() - left.stat().st_mtime > _STALE_TEMPORARY_S:
                left.unlink()
        except OSError:
            continue  # another process removed it, or keeps it


def read(path: Path, symbol: str, timeframe: str) -> ColumnFile:
    """Map the snapshot of a series.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is cut short, altered, of another version or of another series.
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        head = os.pread(fd, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            raise Damaged("it is cut short")
        magic, version, table_bytes, table_crc, crc = _HEAD.unpack(head)
        if magic != _MAGIC or version != VERSION:
            raise Damaged("it is of another version")
        table = os.pread(fd, table_bytes, _HEAD.size)
        if len(table) < table_bytes or zlib.crc32(table) != table_crc:
            raise Damaged("its table does not have the checksum it was written with")
        said = json.loads(table)
        if (said["symbol"], said["timeframe"]) != (symbol, timeframe):
            raise Damaged(f"it is of {said['symbol']} {said['timeframe']}")
        rows = int(said["rows"])
        offsets, size = _offsets(rows + SPARE_ROWS, _columns_start(table_bytes))
        if status.st_size != size:
            raise Damaged(f"it has {status.st_size} bytes instead of {size}")
        mapping = mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(fd)
    arrays = tuple(
        np.frombuffer(mapping, dtype=kind, count=rows + SPARE_ROWS, offset=offset)
        for (_, kind), offset in zip(COLUMNS, offsets, strict=True)
    )
    _check_columns(path, status, arrays, rows, crc)
    return ColumnFile(rows, tuple(Block(*block) for block in said["blocks"]), arrays)


def _check_columns(path: Path, status: os.stat_result, arrays: Arrays, rows: int, crc: int) -> None:
    """Compare the checksum of the columns, unless this very state of the file has been compared before.

    Summing a million rows takes longer than everything else. The file system moves `ctime` with every change, so the
    identity of a file that was found good is kept beside it; one that is too young to tell is summed again.
    """
    seen = path.with_suffix(".seen")
    identity = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {crc}"
    try:
        if seen.read_text(encoding="ascii") == identity:
            return
    except (OSError, UnicodeDecodeError):
        pass  # no mark, or not ours: sum
    found = 0
    for array in arrays:
        found = zlib.crc32(array[:rows].view(np.uint8).data, found)
    if found != crc:
        raise Damaged("its columns do not have the checksum they were written with")
    if time.time_ns() - status.st_ctime_ns > _SETTLED_NS:
        try:
            temporary = seen.with_name(f".{seen.name}.{os.getpid()}.{time.monotonic_ns()}.tmp")
            temporary.write_text(identity, encoding="ascii")
            os.replace(temporary, seen)
        except OSError:
            return  # a folder that cannot be written costs the summing, nothing else
