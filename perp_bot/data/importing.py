"""Candles and funding from files: checked row by row, stored whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.timeframes import FIXED_MS, HOUR_MS, MINUTE_MS, iso, open_of
from perp_bot.core.types import CandleSource
from perp_bot.data.db.connection import open_writable, translate
from perp_bot.data.identity import KEY
from perp_bot.data.table_file import Column, Table, Times

PRICES = ("open", "high", "low", "close", "volume")
CANDLE_COLUMNS = ("t", *PRICES)
FUNDING_COLUMNS = ("t", "rate")
IDENTITY = "import"  # the market that imported data belongs to: none of a venue's
_MOST_RATE = 0.1  # of one interval; the venue's cap is 0.04 an hour
_OFF_HOUR_MS = MINUTE_MS  # venues stamp a settlement some ms off its hour, at most so much is taken for it
_SPACED_ROWS = 3  # from so many rows on their distance says what interval they are of
_AT_A_TIME = 50_000  # rows between two looks at the progress
_SHOWN = 3  # faults named in one refusal

_CANDLE_SQL = (
    "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
    f"VALUES (?,?,?,?,?,?,?,?,'{CandleSource.IMPORT.value}',0) "
    "ON CONFLICT (symbol,timeframe,open_ms) DO UPDATE SET "
    "open=excluded.open,high=excluded.high,low=excluded.low,close=excluded.close,volume=excluded.volume,"
    "trades=NULL,source=excluded.source,generated=0 "
    "WHERE (open,high,low,close,volume,source,generated) IS NOT "
    "(excluded.open,excluded.high,excluded.low,excluded.close,excluded.volume,excluded.source,0)"
)
_REVISION_SQL = (
    "INSERT INTO series (symbol,timeframe,revision) VALUES (?,?,1) "
    "ON CONFLICT (symbol,timeframe) DO UPDATE SET revision=revision+1"
)
_FUNDING_SQL = (
    "INSERT INTO funding_rates (symbol,hour_ms,rate,premium) VALUES (?,?,?,NULL) "
    "ON CONFLICT (symbol,hour_ms) DO UPDATE SET rate=excluded.rate,premium=NULL WHERE rate IS NOT excluded.rate"
)

Progress = Callable[[float], None]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    rows: int  # that the file has for the store: candles, or hours with a rate
    added: int  # of them, new to the store
    corrected: int  # of them, stored before with other values
    first_ms: int
    last_ms: int
    same_twice: int  # identical rows of the file dropped
    skipped: int  # bad rows left out on request: gaps now
    was_sorted: bool
    gaps: int  # steps larger than the interval


def import_candles(
    db_path: Path,
    symbol: str,
    timeframe: str,
    table: Table,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Check the rows and store them as candles of one series, all or none.

    Raises:
        UsageError: rows that cannot be candles, contradict one another, or are of another interval.
        StoreError: the database belongs to a venue, or fails.
    """
    _refuse_off_grid(table, timeframe)
    if timeframe in FIXED_MS:
        _refuse_wider(table, FIXED_MS[timeframe], f"--timeframe {timeframe}")
    columns = [table.values[name] for name in PRICES]
    bad = _refused_or_skipped(table, _candle_faults(*columns), skip_bad=skip_bad)
    order, same, was_sorted = _in_order(table, columns, ~bad)
    t = table.t[order]
    rows = zip(t.tolist(), *(column[order].tolist() for column in columns), strict=True)
    with claimed(db_path, IDENTITY) as connection:
        changed, added = _put(
            connection, _CANDLE_SQL, ((symbol, timeframe, *row) for row in rows), len(t), progress,
            ("SELECT count(*) FROM candles WHERE symbol=? AND timeframe=?", (symbol, timeframe)),
        )  # fmt: skip
        if changed:
            connection.execute(_REVISION_SQL, (symbol, timeframe))
    gaps = _wide_steps(t, FIXED_MS[timeframe]) if timeframe in FIXED_MS else 0
    return Imported(len(t), added, changed - added, int(t[0]), int(t[-1]), same, int(bad.sum()), was_sorted, gaps)


def import_funding(
    db_path: Path,
    symbol: str,
    table: Table,
    interval_hours: int = 1,
    *,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Imported:
    """Store settled rates, all or none; a rate of several hours is spread evenly over the hours up to its time.

    Raises:
        UsageError: rows that cannot be rates, contradict one another, or are of another interval.
        StoreError: the database belongs to a venue, or fails.
    """
    rate = table.values["rate"]
    hour = np.rint(table.t / HOUR_MS).astype(np.int64) * HOUR_MS
    on_hours = Table(table.path, hour, table.values, table.line, table.line_word)
    _refuse_wider(on_hours, interval_hours * HOUR_MS, f"--interval-hours {interval_hours}")
    faults = {
        "the rate is missing": ~np.isfinite(rate),
        f"a rate above {_MOST_RATE:.0%} (write 0.01 % as 0.0001)": np.abs(rate) > _MOST_RATE,
        "the time is more than a minute off the hour": np.abs(table.t - hour) > _OFF_HOUR_MS,
    }
    bad = _refused_or_skipped(table, faults, skip_bad=skip_bad)
    order, same, was_sorted = _in_order(on_hours, [rate], ~bad)
    ends = hour[order]
    close = np.flatnonzero(np.diff(ends) < interval_hours * HOUR_MS)
    if len(close):
        first, second = order[close[0]], order[close[0] + 1]
        raise UsageError(
            f"{table.at(int(first))} and {table.line_word} {table.line[second]}: {iso(int(hour[first]))} and "
            f"{iso(int(hour[second]))} are less than --interval-hours {interval_hours} apart: an hour has two rates"
        )
    back = np.arange(interval_hours - 1, -1, -1) * HOUR_MS
    hours = (ends[:, None] - back[None, :]).ravel()
    rates = np.repeat(rate[order] / interval_hours, interval_hours)
    with claimed(db_path, IDENTITY) as connection:
        rows = ((symbol, *row) for row in zip(hours.tolist(), rates.tolist(), strict=True))
        changed, added = _put(
            connection, _FUNDING_SQL, rows, len(hours), progress,
            ("SELECT count(*) FROM funding_rates WHERE symbol=?", (symbol,)),
        )  # fmt: skip
    return Imported(
        len(hours), added, changed - added, int(hours[0]), int(hours[-1]), same, int(bad.sum()), was_sorted,
        _wide_steps(hours, HOUR_MS),
    )  # fmt: skip


def claim_for_import(connection: sqlite3.Connection, path: Path, identity: str) -> None:
    """Give an unclaimed database to imported data; refuse one that belongs to a venue or to other imported data.

    Raises:
        StoreError: it belongs to another market.
    """
    stored = connection.execute("SELECT value_json FROM bot_state WHERE key=?", (KEY,)).fetchone()
    if stored is None:
        connection.execute("INSERT INTO bot_state VALUES (?,?,0)", (KEY, f'"{identity}"'))
    elif stored[0] != f'"{identity}"':
        owner = stored[0].strip('"')
        raise StoreError(
            f"{path.name} belongs to {owner}: imported data does not mix with it; set another data.db_path"
        )


@contextmanager
def claimed(db_path: Path, identity: str) -> Iterator[sqlite3.Connection]:
    """Yield the database of `identity` within one transaction: an interrupt or a failure leaves it as it was.

    Raises:
        StoreError: it belongs to another market, or fails.
    """
    with closing(open_writable(db_path)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            claim_for_import(connection, db_path, identity)
            yield connection
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise translate(error, db_path) from error
            raise


def _put(
    connection: sqlite3.Connection,
    sql: str,
    rows: Iterator[tuple[Any, ...]],
    count: int,
    progress: Progress | None,
    stored: tuple[str, tuple[str, ...]],
) -> tuple[int, int]:
    """Write the rows; return how many changed the store, and how many of them are new to it."""
    before = int(connection.execute(*stored).fetchone()[0])
    done = changed = 0
    while part := list(islice(rows, _AT_A_TIME)):
        changed += connection.executemany(sql, part).rowcount
        done += len(part)
        if progress is not None:
            progress(done / count)
    return changed, int(connection.execute(*stored).fetchone()[0]) - before


def _candle_faults(o: Column, h: Column, lo: Column, c: Column, v: Column) -> dict[str, Flags]:
    """Return which rows no market can have made, by what is wrong with them."""
    with np.errstate(invalid="ignore"):
        return {
            "a price or the volume is missing": np.isnan(o) | np.isnan(h) | np.isnan(lo) | np.isnan(c) | np.isnan(v),
            "a price or the volume is infinite": np.isinf(o) | np.isinf(h) | np.isinf(lo) | np.isinf(c) | np.isinf(v),
            "a price is not above 0": np.minimum(np.minimum(o, h), np.minimum(lo, c)) <= 0,
            "the high is below open, close or low": h < np.maximum(np.maximum(o, c), lo),
            "the low is above open or close": lo > np.minimum(o, c),
            "the volume is negative": v < 0,
        }


def _refused_or_skipped(table: Table, faults: dict[str, Flags], *, skip_bad: bool) -> Flags:
    """Return the rows to leave out; UsageError with the first of them unless that was asked for."""
    bad = np.logical_or.reduce(list(faults.values()))
    if bad.all():
        why = f"; {_why(table, faults, 0)}" if len(bad) else ""
        raise UsageError(f"{table.path} holds no usable row{why}")
    if skip_bad or not bad.any():
        return np.asarray(bad)
    places = np.flatnonzero(bad)
    told = "; ".join(_why(table, faults, int(place)) for place in places[:_SHOWN])
    more = f"; and {len(places) - _SHOWN} more" if len(places) > _SHOWN else ""
    raise UsageError(f"{table.path}: {told}{more}. Mend the file, or leave such rows out with --skip-bad")


def _why(table: Table, faults: dict[str, Flags], place: int) -> str:
    why = next(text for text, rows in faults.items() if rows[place])
    return f"{table.line_word} {table.line[place]} ({iso(int(table.t[place]))}): {why}"


def _refuse_off_grid(table: Table, timeframe: str) -> None:
    """Not to be skipped: what is left of a file of another interval would look like candles of this one."""
    if timeframe in FIXED_MS:
        off = table.t % FIXED_MS[timeframe] != 0
    else:
        off = np.array([open_of(timeframe, at_ms) != at_ms for at_ms in table.t.tolist()], dtype=np.bool_)
    if off.any():
        place = int(np.argmax(off))
        raise UsageError(
            f"{table.at(place)}: {iso(int(table.t[place]))} is not the open of a {timeframe} candle "
            f"({int(off.sum())} such rows). Is the file of another timeframe, or are its times closes?"
        )


def _refuse_wider(table: Table, length_ms: int, said: str) -> None:
    """Refuse a file whose rows are all two intervals or more apart: it is of a longer one, not full of gaps."""
    times = np.unique(table.t)
    if len(times) < _SPACED_ROWS:
        return
    least_ms = int(np.diff(times).min())
    if least_ms >= 2 * length_ms:
        names = {ms: name for name, ms in FIXED_MS.items()}
        apart = names.get(least_ms, f"{least_ms / MINUTE_MS:g} minutes")
        raise UsageError(f"{table.path}: no two rows are less than {apart} apart: {said} is not what the file holds")


def _in_order(table: Table, columns: list[Column], good: Flags) -> tuple[NDArray[np.intp], int, bool]:
    """Return the places of the good rows, oldest first and each time once; how many are again; whether it was sorted.

    Raises:
        UsageError: two rows of one time say different things.
    """
    places = np.flatnonzero(good)
    was_sorted = bool((np.diff(table.t[places]) >= 0).all())
    order = places[np.argsort(table.t[places], kind="stable")]
    again = np.flatnonzero(np.diff(table.t[order]) == 0) + 1
    for column in columns:
        ordered = column[order]
        differs = again[ordered[again] != ordered[again - 1]]
        if len(differs):
            first, second = order[differs[0] - 1], order[differs[0]]
            raise UsageError(
                f"{table.at(int(first))} and {table.line_word} {table.line[second]} are both "
                f"{iso(int(table.t[second]))} and say different things: take one of them out"
            )
    return np.delete(order, again), len(again), was_sorted


def _wide_steps(times: Times, length_ms: int) -> int:
    return int(np.count_nonzero(np.diff(times) > length_ms))
