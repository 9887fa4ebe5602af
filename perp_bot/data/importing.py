"""Candles and funding from files: read, checked row by row, stored whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.errors import StoreError, UsageError
from perp_bot.core.timeframes import FIXED_MS, HOUR_MS, iso, open_of
from perp_bot.core.types import CandleSource
from perp_bot.data.db.connection import open_writable, translate
from perp_bot.data.identity import KEY

PRICES = ("open", "high", "low", "close", "volume")
CANDLE_COLUMNS = ("t", *PRICES)
FUNDING_COLUMNS = ("t", "rate")
_REVISION_SQL = (
    "INSERT INTO series (symbol,timeframe,revision) VALUES (?,?,1) "
    "ON CONFLICT (symbol,timeframe) DO UPDATE SET revision=revision+1"
)
_AT_A_TIME = 50_000  # rows between two looks at the progress
_SHOWN = 3  # faults named in one refusal

Column = NDArray[np.float64]
Times = NDArray[np.int64]
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A file's rows as columns; `line` is the line of each row, the header being line 1."""

    path: Path
    t: Times
    values: dict[str, Column]
    line: Times


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    rows: int  # stored
    first_ms: int
    last_ms: int
    same_twice: int  # identical rows dropped
    skipped: int  # bad rows left out on request: gaps now
    was_sorted: bool
    gaps: int  # steps larger than the interval


def read_table(path: Path, columns: Mapping[str, str], names: tuple[str, ...], time_unit: str) -> Table:
    """Read a CSV (also gzip) or Parquet file; `columns` maps our names to the file's where they differ.

    Raises:
        UsageError: no such file, no such column, a time or number that cannot be read; with the line.
    """
    import pandas as pd

    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    wanted = [columns.get(name, name) for name in names]
    try:
        frame = _parquet(path, pd) if path.suffix in (".parquet", ".pq") else pd.read_csv(path)
    except UsageError:
        raise
    except (OSError, ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise UsageError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        there = ", ".join(map(str, frame.columns))
        raise UsageError(
            f"{path} has no column {', '.join(missing)}; it has {there}. Map them: --columns t=NAME,open=NAME,..."
        )
    line = np.arange(2, len(frame) + 2, dtype=np.int64)
    times = _times(path, frame[wanted[0]], time_unit, pd)
    values = {}
    for name, theirs in zip(names[1:], wanted[1:], strict=True):
        numbers = pd.to_numeric(frame[theirs], errors="coerce").to_numpy(np.float64, copy=True)
        unread = np.isnan(numbers) & frame[theirs].notna().to_numpy()
        if unread.any():
            at = int(np.argmax(unread))
            raise UsageError(f"{path} line {line[at]}: {theirs} is {frame[theirs].iloc[at]!r}, not a number")
        values[name] = numbers
    return Table(path, times, values, line)


def _parquet(path: Path, pd: Any) -> Any:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow; install the extra: pip install 'perp-bot[archive]'"
        ) from None


def _times(path: Path, column: Any, unit: str, pd: Any) -> Times:
    if unit == "iso":
        read = pd.to_datetime(column, utc=True, errors="coerce", format="ISO8601")
        if read.isna().any():
            at = int(np.argmax(read.isna().to_numpy()))
            raise UsageError(f"{path} line {at + 2}: {column.iloc[at]!r} is not an ISO time")
        return np.asarray(read.astype("datetime64[ms, UTC]").astype(np.int64))
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    if np.isnan(numbers).any():
        at = int(np.argmax(np.isnan(numbers)))
        raise UsageError(f"{path} line {at + 2}: time {column.iloc[at]!r} is not a number; see --time-unit")
    times = np.asarray(numbers * (1_000 if unit == "s" else 1)).astype(np.int64)
    if len(times) and not 10**11 < int(np.median(times)) < 10**14:
        raise UsageError(
            f"{path}: times like {numbers[0]:.0f} are not epoch {unit} of this century; see --time-unit and --columns"
        )
    return times


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
        UsageError: rows that cannot be candles, contradict one another, or open off the timeframe's grid.
        StoreError: the database belongs to a venue, or fails.
    """
    keep = _lawful(table, timeframe, skip_bad=skip_bad)
    t, line = table.t[keep], table.line[keep]
    columns = [table.values[name][keep] for name in PRICES]
    was_sorted = bool((np.diff(t) >= 0).all())
    order = np.argsort(t, kind="stable")
    t, line, columns = t[order], line[order], [column[order] for column in columns]
    once = _once(table.path, t, line, columns)
    same = len(t) - int(once.sum())
    t, columns = t[once], [column[once] for column in columns]
    if not len(t):
        raise UsageError(f"{table.path} holds no usable row")
    rows = zip(t.tolist(), *(column.tolist() for column in columns), strict=True)
    source = CandleSource.IMPORT.value
    _store(
        db_path,
        "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
        f"VALUES (?,?,?,?,?,?,?,?,'{source}',0) ON CONFLICT (symbol,timeframe,open_ms) DO UPDATE SET "
        "open=excluded.open,high=excluded.high,low=excluded.low,close=excluded.close,volume=excluded.volume,"
        "source=excluded.source,generated=0",
        ((symbol, timeframe, *row) for row in rows),
        len(t),
        progress,
        (_REVISION_SQL, (symbol, timeframe)),
    )
    steps = np.diff(t)
    gaps = int((steps > FIXED_MS[timeframe]).sum()) if timeframe in FIXED_MS else 0
    return Imported(len(t), int(t[0]), int(t[-1]), same, int((~keep).sum()), was_sorted, gaps)


def import_funding(db_path: Path, symbol: str, table: Table, interval_hours: int) -> Imported:
    """Store settled rates. A rate of more than one hour is spread evenly over the hours up to its time."""
    rates = table.values["rate"]
    bad = ~np.isfinite(rates) | (np.abs(rates) > 0.1)
    if bad.any():
        at = int(np.argmax(bad))
        raise UsageError(
            f"{table.path} line {table.line[at]}: a rate of {rates[at]} is none (a fraction, 0.0001 is 0.01 %)"
        )
    ends = np.asarray(np.round(table.t / HOUR_MS)).astype(np.int64) * HOUR_MS  # venues stamp some ms off the hour
    by_hour: dict[int, float] = {}
    for end, rate, line in zip(ends.tolist(), rates.tolist(), table.line.tolist(), strict=True):
        for back in range(interval_hours):
            hour = end - back * HOUR_MS
            if hour in by_hour and by_hour[hour] != rate / interval_hours:
                raise UsageError(f"{table.path} line {line}: the hour {iso(hour)} has two rates")
            by_hour[hour] = rate / interval_hours
    if not by_hour:
        raise UsageError(f"{table.path} holds no usable row")
    hours = sorted(by_hour)
    _store(
        db_path,
        "INSERT INTO funding_rates (symbol,hour_ms,rate,premium) VALUES (?,?,?,NULL) "
        "ON CONFLICT (symbol,hour_ms) DO UPDATE SET rate=excluded.rate",
        ((symbol, hour, by_hour[hour]) for hour in hours),
        len(hours),
        None,
    )
    steps = np.diff(np.array(hours))
    return Imported(len(hours), hours[0], hours[-1], 0, 0, True, int((steps > HOUR_MS).sum()))


def _lawful(table: Table, timeframe: str, *, skip_bad: bool) -> NDArray[np.bool_]:
    """Return which rows can be candles; refuse the others, or leave them out."""
    o, h, lo, c, v = (table.values[name] for name in PRICES)
    with np.errstate(invalid="ignore"):
        faults = {
            "a price or the volume is missing": ~np.isfinite(o + h + lo + c + v),
            "a price is not above 0": lo <= 0,
            "the high is below open, close or low": h < np.maximum(np.maximum(o, c), lo),
            "the low is above open or close": lo > np.minimum(o, c),
            "the volume is negative": v < 0,
            f"the time is not the open of a {timeframe} candle": _off_grid(table.t, timeframe),
        }
    bad = np.logical_or.reduce(list(faults.values()))
    if skip_bad or not bad.any():
        return np.asarray(~bad)
    told = []
    for at in np.flatnonzero(bad)[:_SHOWN]:
        why = next(text for text, mask in faults.items() if mask[at])
        told.append(f"line {table.line[at]} ({iso(int(table.t[at]))}): {why}")
    more = int(bad.sum()) - len(told)
    tail = f"; and {more} more" if more else ""
    raise UsageError(f"{table.path} {'; '.join(told)}{tail}. Mend the file, or leave such rows out with --skip-bad")


def _off_grid(t: Times, timeframe: str) -> NDArray[np.bool_]:
    if timeframe in FIXED_MS:
        return np.asarray(t % FIXED_MS[timeframe] != 0)
    return np.array([open_of(timeframe, int(at)) != at for at in t], dtype=np.bool_)


def _once(path: Path, t: Times, line: Times, columns: list[Column]) -> NDArray[np.bool_]:
    """Return the first of each time; refuse rows of one time that say different things."""
    is_again = np.concatenate(([False], np.diff(t) == 0)) if len(t) else np.zeros(0, np.bool_)
    places = np.flatnonzero(is_again)
    for column in columns:
        differs = places[column[places] != column[places - 1]]
        if len(differs):
            at = int(differs[0])
            raise UsageError(
                f"{path} lines {line[at - 1]} and {line[at]} are both {iso(int(t[at]))} and say different things: "
                "take one of them out"
            )
    return ~is_again


def claim_for_import(connection: sqlite3.Connection, path: Path, identity: str) -> None:
    """Give an unclaimed database to imported data; refuse one that belongs to a venue or to other bundled data."""
    stored = connection.execute("SELECT value_json FROM bot_state WHERE key=?", (KEY,)).fetchone()
    if stored is None:
        connection.execute("INSERT INTO bot_state VALUES (?,?,0)", (KEY, f'"{identity}"'))
    elif stored[0] != f'"{identity}"':
        owner = stored[0].strip('"')
        raise StoreError(
            f"{path.name} belongs to {owner}: imported data does not mix with it; set another data.db_path"
        )


def _store(
    db_path: Path,
    sql: str,
    rows: Any,
    count: int,
    progress: Progress | None,
    last: tuple[str, tuple[Any, ...]] | None = None,
    identity: str = "import",
) -> None:
    """Write rows in one transaction: an interrupt or a failure leaves the store as it was."""
    from itertools import islice

    with closing(open_writable(db_path)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            claim_for_import(connection, db_path, identity)
            done = 0
            while part := list(islice(rows, _AT_A_TIME)):
                connection.executemany(sql, part)
                done += len(part)
                if progress is not None:
                    progress(done / count)
            if last is not None:
                connection.execute(*last)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise translate(error, db_path) from error
            raise
