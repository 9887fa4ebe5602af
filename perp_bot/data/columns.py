"""Stored market data as columns: candles through the columnar snapshot, minutes and funding from their tables.

What is returned is what SQLite holds at one moment (one read transaction). The snapshot only saves the reading: it is
believed block by block, where the block's stamp in the database is the one it was copied under, and the rest comes from
SQLite. Where more than a few thousand rows would come from there, the snapshot is written anew first.
"""

from __future__ import annotations

import logging
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.config.paths import RuntimePaths
from perp_bot.data import column_file
from perp_bot.data.column_file import Arrays, Block, ColumnFile
from perp_bot.data.db.connection import open_readonly, translate
from perp_bot.data.db.schema import block_ms

_log = logging.getLogger(__name__)

TAIL_ROWS = 4096  # at most so many rows are read from SQLite at each reading: about 4 ms
_FOREVER_MS = 2**62
_CHUNK_ROWS = 50_000  # rows held as Python objects at once: about 20 MB
_SELECT = "open_ms,open,high,low,close,volume,generated FROM candles WHERE symbol=? AND timeframe=?"

Column = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class CandleArrays:
    """Candles of one series as columns of equal length, oldest first, no open time twice.

    Private to the caller: what is written into them reaches neither the file nor anybody else.
    """

    symbol: str
    timeframe: str
    open_ms: Times
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column
    generated: NDArray[np.bool_]  # made by a generator (the practice venue's label), not recorded
    revision: int  # of the series in the database; 0: it has none

    def __len__(self) -> int:
        return len(self.open_ms)

    @property
    def generated_rows(self) -> int:
        """How many of the rows a generator made."""
        return int(np.count_nonzero(self.generated))


@dataclass(frozen=True, slots=True, eq=False)
class MinuteArrays:
    """Recorded mark and oracle of whole minutes as columns, oldest first; NaN where not recorded."""

    minute_ms: Times
    mark_open: Column
    mark_high: Column
    mark_low: Column
    mark_close: Column
    oracle_open: Column
    oracle_high: Column
    oracle_low: Column
    oracle_close: Column

    def __len__(self) -> int:
        return len(self.minute_ms)


@dataclass(frozen=True, slots=True, eq=False)
class FundingArrays:
    """Settled hourly rates as columns, oldest first."""

    hour_ms: Times
    rate: Column

    def __len__(self) -> int:
        return len(self.hour_ms)


def read_candles(
    db_path: Path, symbol: str, timeframe: str, start_ms: int = 0, end_ms: int = _FOREVER_MS
) -> CandleArrays:
    """Return the stored candles that opened from `start_ms` to before `end_ms`; empty columns when there are none.

    Raises:
        StoreError: one line: no database there, damaged, of another program, of another version.
    """
    connection = open_readonly(db_path)
    try:
        connection.execute("BEGIN")  # one moment for stamps and rows
        series = _Series(connection, db_path, symbol, timeframe)
        arrays = series.between(start_ms, end_ms)
        revision = series.revision()
    except sqlite3.Error as error:
        raise translate(error, db_path) from error
    finally:
        connection.close()
    times, opened, high, low, close, volume, generated = arrays
    return CandleArrays(symbol, timeframe, times, opened, high, low, close, volume, generated, revision)


def read_minutes(db_path: Path, symbol: str, start_ms: int = 0, end_ms: int = _FOREVER_MS) -> MinuteArrays:
    """Return the recorded minutes from `start_ms` to before `end_ms`.

    Raises:
        StoreError: as `read_candles`.
    """
    names = MinuteArrays.__dataclass_fields__
    rows = _table_rows(
        db_path,
        f"SELECT {','.join(names)} FROM asset_ctx_1m "
        "WHERE symbol=? AND minute_ms>=? AND minute_ms<? ORDER BY minute_ms",
        (symbol, start_ms, end_ms),
        len(names),
    )
    return MinuteArrays(rows[:, 0].astype(np.int64), *(np.ascontiguousarray(column) for column in rows.T[1:]))


def read_funding(db_path: Path, symbol: str, start_ms: int = 0, end_ms: int = _FOREVER_MS) -> FundingArrays:
    """Return the settled rates of the hours from `start_ms` to before `end_ms`.

    Raises:
        StoreError: as `read_candles`.
    """
    rows = _table_rows(
        db_path,
        "SELECT hour_ms,rate FROM funding_rates WHERE symbol=? AND hour_ms>=? AND hour_ms<? ORDER BY hour_ms",
        (symbol, start_ms, end_ms),
        2,
    )
    return FundingArrays(rows[:, 0].astype(np.int64), np.ascontiguousarray(rows[:, 1]))


def _table_rows(db_path: Path, sql: str, parameters: tuple[Any, ...], width: int) -> Column:
    connection = open_readonly(db_path)
    try:
        chunks = list(_chunks(connection.execute(sql, parameters), width))
    except sqlite3.Error as error:
        raise translate(error, db_path) from error
    finally:
        connection.close()
    return np.concatenate(chunks) if chunks else np.empty((0, width))


def _chunks(cursor: sqlite3.Cursor, width: int) -> Iterator[Column]:
    # A time in ms is below 2**53 and passes through float64 unchanged; NULL becomes NaN.
    while rows := cursor.fetchmany(_CHUNK_ROWS):
        yield np.array(rows, dtype=np.float64).reshape(-1, width)


def _empty() -> Arrays:
    return tuple(np.empty(0, kind) for _, kind in column_file.COLUMNS)


class _Series:
    """One series at one moment: the stamps of its blocks, its snapshot, its rows."""

    def __init__(self, connection: sqlite3.Connection, db_path: Path, symbol: str, timeframe: str) -> None:
        self._connection = connection
        self._key = (symbol, timeframe)
        self._path = column_file.file_of(RuntimePaths(db_path).columns, symbol, timeframe)
        self._block_ms = block_ms(timeframe)
        rows = connection.execute(
            "SELECT block, stamp FROM candle_blocks WHERE symbol=? AND timeframe=? ORDER BY block", self._key
        )
        self._stamps: dict[int, int] = dict(rows.fetchall())

    def revision(self) -> int:
        """Return the series' revision."""
        row = self._connection.execute("SELECT revision FROM series WHERE symbol=? AND timeframe=?", self._key)
        found = row.fetchone()
        return 0 if found is None else int(found[0])

    def between(self, start_ms: int, end_ms: int) -> Arrays:
        """Return the rows from `start_ms` to before `end_ms`."""
        snapshot = self._snapshot()
        arrays = self._completed(snapshot, start_ms, end_ms)
        if arrays is not None:
            return arrays
        if self._rebuilt(snapshot):
            arrays = self._completed(self._snapshot(), start_ms, end_ms)
        return arrays if arrays is not None else self._rows(start_ms, end_ms)

    def _snapshot(self) -> ColumnFile | None:
        try:
            return column_file.read(self._path, *self._key)
        except FileNotFoundError:
            return None
        except (column_file.Damaged, OSError) as error:
            _log.warning(
                "the columns of %s %s at %s are not used (%s); they are read from the database again",
                *self._key, self._path, error, extra={"event": "columns.unusable"},
            )  # fmt: skip
            return None

    def _completed(self, snapshot: ColumnFile | None, start_ms: int, end_ms: int) -> Arrays | None:
        """Return the rows from the snapshot with what it lacks from SQLite; None when it lacks too much."""
        if snapshot is None:
            tail = self._rows(start_ms, end_ms, most=TAIL_ROWS + 1)
            return None if len(tail[0]) > TAIL_ROWS else tail
        good_rows, good_until_ms = self._good(snapshot, start_ms // self._block_ms)
        times = snapshot.arrays[0]
        first, last = np.searchsorted(times[:good_rows], (start_ms, end_ms))
        if good_until_ms >= end_ms:
            return tuple(array[first:last] for array in snapshot.arrays)
        tail = self._rows(max(start_ms, good_until_ms), end_ms, most=TAIL_ROWS + 1)
        count = len(tail[0])
        if count > TAIL_ROWS:
            return None
        end = int(last) + count  # the mapping is private, and there is room for SPARE_ROWS beyond the last row
        for array, added in zip(snapshot.arrays, tail, strict=True):
            array[last:end] = added
        return tuple(array[first:end] for array in snapshot.arrays)

    def _good(self, snapshot: ColumnFile, first_block: int) -> tuple[int, int]:
        """Return up to which row, and which time (ms), the snapshot says what SQLite has, from `first_block` on."""
        theirs = {block.number: block.stamp for block in snapshot.blocks}
        changed = [
            number
            for number in self._stamps.keys() | theirs.keys()
            if number >= first_block and self._stamps.get(number) != theirs.get(number)
        ]
        if not changed:
            return snapshot.rows, _FOREVER_MS
        number = min(changed)
        numbers = [block.number for block in snapshot.blocks]
        at = bisect_left(numbers, number)
        row = snapshot.blocks[at].first_row if at < len(numbers) else snapshot.rows
        return row, number * self._block_ms

    def _rows(self, start_ms: int, end_ms: int, most: int = -1) -> Arrays:
        cursor = self._connection.execute(
            f"SELECT {_SELECT} AND open_ms>=? AND open_ms<? ORDER BY open_ms LIMIT ?",
            (*self._key, start_ms, end_ms, most),
        )
        parts = [_columns_of(rows) for rows in _chunks(cursor, len(column_file.COLUMNS))]
        if not parts:
            return _empty()
        return parts[0] if len(parts) == 1 else tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _rebuilt(self, old: ColumnFile | None) -> bool:
        parts = list(self._parts(old))
        rows = sum(len(arrays[0]) for _, arrays in parts)
        try:
            column_file.write(self._path, *self._key, rows, parts)
        except OSError as error:
            _log.warning(
                "the columns of %s %s cannot be kept at %s (%s); every reading takes the slow way",
                *self._key, self._path, error, extra={"event": "columns.not_kept"},
            )  # fmt: skip
            return False
        _log.info("wrote the columns of %s %s: %d rows", *self._key, rows, extra={"event": "columns.written"})
        return True

    def _parts(self, old: ColumnFile | None) -> Iterable[tuple[Block, Arrays]]:
        """Yield every block: copied from the old snapshot where its stamp stands, else from SQLite."""
        kept: dict[int, Arrays] = {}
        if old is not None:
            ends = [block.first_row for block in old.blocks[1:]] + [old.rows]
            for block, end in zip(old.blocks, ends, strict=True):
                if self._stamps.get(block.number) == block.stamp:
                    kept[block.number] = tuple(array[block.first_row : end] for array in old.arrays)
        first_row = 0
        for number, stamp in self._stamps.items():
            arrays = kept.get(number)
            if arrays is None:
                arrays = self._rows(number * self._block_ms, (number + 1) * self._block_ms)
            yield Block(number, stamp, first_row), arrays
            first_row += len(arrays[0])


def _columns_of(rows: Column) -> Arrays:
    return tuple(
        np.ascontiguousarray(column).astype(kind) for (_, kind), column in zip(column_file.COLUMNS, rows.T, strict=True)
    )
