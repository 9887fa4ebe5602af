"""Two journals compared, row by row and byte by byte: that of a session, and that of its replay.

Wall times are left out (the wall clock of an event, latencies, which have a table of their own), and so are rows that
no loop writes: market data, signals, the writer's own STORE events, what every start writes anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perp_bot.core.types import OrderState
from perp_bot.data.db.connection import open_readonly, translate

_ENDED = tuple(state.value for state in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED))


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    key: str  # names a row for people
    at: str  # the column with its venue time
    leaves_out: tuple[str, ...] = ()
    where: str = "1"
    grows: bool = True  # only ever added to, numbered by seq


_TABLES = (
    _Table("decisions", "decision_id", "close_ms"),
    _Table("fills", "fill_id", "venue_ms"),
    _Table("trades", "trade_id", "closed_ms"),
    _Table("events", "text", "venue_ms", ("wall_ms",), "kind NOT IN ('STORE', 'RECORDING')"),
    _Table("orders", "cloid", "updated_ms", grows=False),
    _Table("funding_payments", "symbol || ' ' || hour_ms", "hour_ms", grows=False),
    _Table("positions", "symbol", "0", grows=False),
    _Table("bot_state", "key", "updated_ms", where="key NOT IN ('meta', 'venue_identity', 'start_cash')", grows=False),
    _Table("equity", "venue_ms", "venue_ms", grows=False),
)


@dataclass(frozen=True, slots=True)
class JournalDifference:
    """The first row that is not the same."""

    table: str
    row: str
    column: str  # "": the whole row is missing on one side
    venue_ms: int
    recorded: Any
    replayed: Any

    @property
    def text(self) -> str:
        """One line for people."""
        what = f"{self.table} {self.row}"
        if not self.column:
            return f"{what}: {'missing in the replay' if self.replayed is None else 'only in the replay'}"
        return f"{what}: {self.column} was {self.recorded!r}, is {self.replayed!r}"


@dataclass(frozen=True, slots=True)
class JournalComparison:
    """How many rows of each table were compared, and the earliest difference."""

    rows: dict[str, int]
    difference: JournalDifference | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which part of the journal belongs to the session."""

    start_db: Path  # its journal at the start
    end_db: Path | None  # its journal at the end: None when the database has gone on and no copy was made
    is_whole: bool  # False: the recording ends before the session did


def compare_journals(recorded_db: Path, replayed_db: Path, bounds: Bounds) -> JournalComparison:
    """Compare what a session wrote into `recorded_db` with what its replay wrote.

    Raises:
        StoreError: one of the files cannot be read.
    """
    counts: dict[str, int] = {}
    found: list[JournalDifference] = []
    for table in _TABLES:
        if table.grows:
            ours, theirs = _grown(table, recorded_db, replayed_db, bounds)
        elif table.name == "equity":
            ours, theirs = _equity(table, recorded_db, replayed_db)
        elif bounds.is_whole and bounds.end_db is not None:
            ours, theirs = _rows(table, bounds.end_db), _rows(table, replayed_db)
        elif table.name == "orders":  # an order that has ended never changes again
            ended = f"state IN {_ENDED}"
            theirs = _rows(table, replayed_db, ended)
            known = {row[0] for row in theirs}
            ours = [row for row in _rows(table, recorded_db, ended) if row[0] in known]
        else:
            continue
        counts[table.name] = len(theirs)
        difference = _first(table, ours, theirs, _columns(table, replayed_db))
        if difference is not None:
            found.append(difference)
    return JournalComparison(counts, min(found, key=lambda item: item.venue_ms, default=None))


_Row = tuple[Any, ...]  # key, time, then the compared columns


def _grown(table: _Table, recorded_db: Path, replayed_db: Path, bounds: Bounds) -> tuple[list[_Row], list[_Row]]:
    first = _newest_seq(table, bounds.start_db)
    theirs = _rows(table, replayed_db, f"seq > {first}")
    last = ""
    if bounds.end_db is not None and bounds.end_db != recorded_db:
        last = f" AND seq <= {_newest_seq(table, bounds.end_db)}"
        if table.name in ("fills", "trades"):  # a trade's funding may have been corrected since
            recorded_db = bounds.end_db
    ours = _rows(table, recorded_db, f"seq > {first}{last}")
    if bounds.is_whole and bounds.end_db is not None:
        return ours, theirs
    both = min(len(ours), len(theirs))
    return ours[:both], theirs[:both]


def _equity(table: _Table, recorded_db: Path, replayed_db: Path) -> tuple[list[_Row], list[_Row]]:
    theirs = _rows(table, replayed_db)
    if not theirs:
        return [], []
    first, last = theirs[0][0], theirs[-1][0]
    return _rows(table, recorded_db, f"venue_ms BETWEEN {first} AND {last}"), theirs


def _first(table: _Table, ours: list[_Row], theirs: list[_Row], columns: list[str]) -> JournalDifference | None:
    for one, other in zip(ours, theirs, strict=False):
        if one == other:
            continue
        for place, column in enumerate(columns, start=2):
            if one[place] != other[place]:
                at_ms = min(int(one[1]), int(other[1]))
                return JournalDifference(table.name, str(other[0]), column, at_ms, one[place], other[place])
    if len(ours) == len(theirs):
        return None
    is_missing = len(ours) > len(theirs)
    extra = (ours if is_missing else theirs)[min(len(ours), len(theirs))]
    sides = (extra[0], None) if is_missing else (None, extra[0])
    return JournalDifference(table.name, str(extra[0]), "", int(extra[1]), *sides)


def _columns(table: _Table, db: Path) -> list[str]:
    names = [row[1] for row in _ask(db, f"PRAGMA table_info({table.name})")]
    left_out = table.leaves_out + (("seq",) if table.name == "events" else ())  # STORE events move the numbers
    return [name for name in names if name not in left_out]


def _rows(table: _Table, db: Path, where: str = "1") -> list[_Row]:
    order = "seq" if table.grows else ", ".join(_key_columns(table))
    columns = ", ".join(_columns(table, db))
    which = f"{table.where} AND {where}"
    sql = f"SELECT {table.key}, {table.at}, {columns} FROM {table.name} WHERE {which} ORDER BY {order}"
    return _ask(db, sql)


def _key_columns(table: _Table) -> Iterable[str]:
    return {
        "orders": ("cloid",),
        "funding_payments": ("source", "symbol", "hour_ms"),
        "positions": ("source", "symbol"),
        "bot_state": ("key",),
        "equity": ("source", "venue_ms"),
    }[table.name]


def _newest_seq(table: _Table, db: Path) -> int:
    return int(_ask(db, f"SELECT coalesce(max(seq), 0) FROM {table.name}")[0][0])


def _ask(db: Path, sql: str) -> list[_Row]:
    try:
        connection = open_readonly(db)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translate(error, db) from error
