"""Columns are what SQLite holds, whatever was done to the series, the snapshot or the folder in between."""

from __future__ import annotations

import logging
import math
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.config.paths import RuntimePaths
from perp_bot.core import timeframes
from perp_bot.core.errors import StoreError
from perp_bot.core.types import Candle, CandleSource, FundingRate
from perp_bot.data import column_file, columns
from perp_bot.data.columns import CandleArrays, read_candles, read_funding, read_minutes
from perp_bot.data.db import schema, statements
from perp_bot.data.db.connection import open_writable
from perp_bot.data.db.rows import AssetMinute, CandleRows, FundingRateRow
from perp_bot.data.db.schema import BLOCK_SLOTS, block_ms

MINUTE = timeframes.MINUTE_MS
STEP = 400 * MINUTE  # about five rows a block: a few hundred rows are many blocks
FEW = 16  # rows that may come from SQLite before a snapshot is written, in these tests


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Path]:
    """An empty database, and a snapshot is worth while from a few rows on."""
    path = tmp_path / "perp_bot.db"
    open_writable(path).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "TAIL_ROWS", FEW)
        yield path


def write(db: Path, *indexes: int, close: float = 100.0, generated: bool = False, source: str = "import") -> None:
    """Store one candle for each index of the grid, as the writer does."""
    rows = tuple(
        Candle("BTC", "1m", at * STEP, close, close + at, close - 1, close, float(at), None, CandleSource(source))
        for at in indexes
    )
    connection = open_writable(db)
    connection.execute("BEGIN")
    statements.apply(connection, CandleRows(rows, generated))
    connection.execute("COMMIT")
    connection.close()


def run_sql(db: Path, sql: str) -> None:
    """Change the file as another program would."""
    connection = sqlite3.connect(db, isolation_level=None)
    connection.execute(sql)
    connection.close()


def in_sqlite(db: Path, start_ms: int = 0, end_ms: int = 2**62) -> list[tuple[float, ...]]:
    connection = sqlite3.connect(db)
    rows = connection.execute(
        "SELECT open_ms,open,high,low,close,volume,generated FROM candles WHERE symbol='BTC' AND timeframe='1m' "
        "AND open_ms>=? AND open_ms<? ORDER BY open_ms",
        (start_ms, end_ms),
    ).fetchall()
    connection.close()
    return rows


def as_rows(found: CandleArrays) -> list[tuple[float, ...]]:
    parts = (found.open_ms, found.open, found.high, found.low, found.close, found.volume, found.generated)
    return list(zip(*(part.tolist() for part in parts), strict=True))


def snapshot(db: Path) -> Path:
    return column_file.file_of(RuntimePaths(db).columns, "BTC", "1m")


def first_column(data: bytes | bytearray) -> int:
    """Return where the columns begin: on the page after head and table."""
    return -(-(24 + int.from_bytes(data[12:16], "little")) // 4096) * 4096


def assert_same(db: Path) -> None:
    assert as_rows(read_candles(db, "BTC", "1m")) == in_sqlite(db)


# ------------------------------------------------------------ what any history leaves

CHANGE = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 40), st.floats(1, 2)),
    st.tuples(st.just("correct"), st.integers(0, 400), st.floats(1, 2)),
    st.tuples(st.just("delete"), st.integers(0, 400), st.integers(1, 30)),
    st.tuples(st.just("fill"), st.integers(0, 400), st.floats(1, 2)),
    st.tuples(st.just("read"), st.integers(-5, 450), st.integers(0, 450)),
    st.tuples(st.just("restore"), st.booleans(), st.just(0)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(CHANGE, min_size=1, max_size=14))
@pytest.mark.slow
def test_any_history_reads_as_sqlite_has_it(changes: list[tuple[str, int, float]]) -> None:
    """Appends, corrections, deletions, late rows and a backup put back, read in between or not: never an old row."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "TAIL_ROWS", FEW)
        db, backup = Path(folder) / "a.db", Path(folder) / "backup.db"
        open_writable(db).close()
        last = 100
        write(db, *range(0, last, 2))
        assert_same(db)
        shutil.copy(db, backup)
        for kind, one, two in changes:
            if kind == "append":
                write(db, *range(last, last + int(one)), close=two)
                last += int(one)
            elif kind in ("correct", "fill"):
                write(db, int(one), close=two, generated=kind == "fill")
                last = max(last, int(one) + 1)
            elif kind == "delete":
                run_sql(db, f"DELETE FROM candles WHERE open_ms BETWEEN {one * STEP} AND {(one + two) * STEP}")
            elif kind == "restore":
                shutil.copy(backup, db) if one else shutil.copy(db, backup)
            else:
                found = read_candles(db, "BTC", "1m", int(one * STEP), int(one * STEP + two * STEP))
                assert as_rows(found) == in_sqlite(db, int(one * STEP), int(one * STEP + two * STEP))
        assert_same(db)
        assert_same(db)


def test_a_second_reading_comes_from_the_snapshot(db: Path) -> None:
    """What saves the time is there: an unchanged series is mapped from the file that the first reading wrote."""
    write(db, *range(100))
    assert_same(db)
    before = snapshot(db).stat()
    assert_same(db)
    assert snapshot(db).stat().st_ino == before.st_ino
    found = read_candles(db, "BTC", "1m", 10 * STEP, 90 * STEP)
    assert found.close.base is not None
    assert len(found) == 80


def test_a_few_new_rows_do_not_rewrite_the_snapshot_and_many_do(db: Path) -> None:
    """The tail comes from SQLite as long as it is short."""
    write(db, *range(100))
    assert_same(db)
    before = snapshot(db).stat().st_ino
    write(db, *range(100, 105))
    assert_same(db)
    assert snapshot(db).stat().st_ino == before
    write(db, *range(105, 105 + 2 * FEW))
    assert_same(db)
    assert snapshot(db).stat().st_ino != before


def test_a_correction_is_seen_and_the_other_blocks_are_copied(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corrected row is read again with its block; what did not change does not come from SQLite again."""
    write(db, *range(100))
    assert_same(db)
    read_blocks: list[int] = []
    plain = columns._Series._rows

    def counted(self: columns._Series, start_ms: int, end_ms: int, most: int = -1) -> column_file.Arrays:
        if most == -1:
            read_blocks.append(start_ms // block_ms("1m"))
        return plain(self, start_ms, end_ms, most)

    monkeypatch.setattr(columns._Series, "_rows", counted)
    run_sql(db, f"UPDATE candles SET close=123.5 WHERE open_ms={20 * STEP}")
    found = read_candles(db, "BTC", "1m")
    assert found.close[20] == 123.5
    assert read_blocks == [20 * STEP // block_ms("1m")]


def test_a_row_moved_to_another_time_leaves_both_blocks(db: Path) -> None:
    """An update of the key itself, as a shell can do it, is seen at the old place and at the new one."""
    write(db, *range(100))
    assert_same(db)
    run_sql(db, f"UPDATE candles SET open_ms={500 * STEP} WHERE open_ms={3 * STEP}")
    assert_same(db)


def test_or_replace_of_another_program_is_seen(db: Path) -> None:
    """SQLite fires no delete trigger for a replaced row; the insert's is enough."""
    write(db, *range(100))
    assert_same(db)
    run_sql(db, f"INSERT OR REPLACE INTO candles VALUES ('BTC','1m',{7 * STEP},9,9,9,9,9,NULL,'rest',1)")
    assert_same(db)
    assert read_candles(db, "BTC", "1m").generated_rows == 1


def test_another_database_under_the_same_name_is_not_mistaken(db: Path) -> None:
    """The columns of a deleted database say nothing about the one that took its name, even with as many changes."""
    write(db, *range(100))
    assert_same(db)
    for path in db.parent.glob("perp_bot.db*"):
        if path.is_file():
            path.unlink()
    open_writable(db).close()
    write(db, *range(100), close=55.0)
    assert_same(db)
    assert read_candles(db, "BTC", "1m").close[0] == 55.0


def test_a_restored_backup_that_changed_as_often_is_not_mistaken(db: Path) -> None:
    """A counter would count the same numbers again over other rows; a random stamp does not come twice."""
    write(db, *range(100))
    backup = db.with_name("backup.db")
    shutil.copy(db, backup)
    write(db, 50, close=7.0)
    assert_same(db)
    shutil.copy(backup, db)
    write(db, 50, close=8.0)
    assert_same(db)


def test_series_do_not_mix(db: Path) -> None:
    """A snapshot renamed to another series' place is refused by what it says of itself."""
    write(db, *range(100))
    assert_same(db)
    other = column_file.file_of(RuntimePaths(db).columns, "ETH", "1m")
    shutil.copy(snapshot(db), other)
    assert len(read_candles(db, "ETH", "1m")) == 0
    with pytest.raises(column_file.Damaged, match="it is of BTC 1m"):
        column_file.read(other, "ETH", "1m")


def test_symbols_and_timeframes_have_files_of_their_own() -> None:
    """No name leaves the folder, and minute and month differ even where a disk does not tell cases apart."""
    folder = Path("x")
    names = [column_file.file_of(folder, "a/b", "1m"), column_file.file_of(folder, "..", "1m"),
             column_file.file_of(folder, "BTC", "1M"), column_file.file_of(folder, "BTC", "1m")]  # fmt: skip
    assert all(path.parent == folder for path in names)
    assert len({path.name.lower() for path in names}) == 4


def test_stamps_and_rows_are_of_one_moment(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that commits between the reading of the stamps and that of the rows is not half seen."""
    write(db, *range(100))
    assert_same(db)
    plain = columns._Series._snapshot

    def interrupted(self: columns._Series) -> column_file.ColumnFile | None:
        write(db, *range(90, 110), close=5.0)
        return plain(self)

    before = in_sqlite(db)
    with monkeypatch.context() as patch:
        patch.setattr(columns._Series, "_snapshot", interrupted)
        found = read_candles(db, "BTC", "1m")
    assert (as_rows(found), found.revision) == (before, 1)
    assert_same(db)


# ------------------------------------------------------------ damage and what cannot be written


@pytest.mark.parametrize(
    "where", ["magic", "version", "table", "first column", "last column", "cut", "empty", "longer"]
)
def test_a_damaged_snapshot_is_read_again_from_the_database(
    db: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One changed byte anywhere, a missing end, an empty file: said on the log, and the columns are right."""
    write(db, *range(100))
    assert_same(db)
    path = snapshot(db)
    data = bytearray(path.read_bytes())
    first = first_column(data)
    if where in ("cut", "empty", "longer"):
        data = {"cut": data[:-5000], "empty": bytearray(), "longer": data + b"x"}[where]
    else:
        last = len(data) - -(-(100 + column_file.SPARE_ROWS) // 4096) * 4096
        at = {"magic": 0, "version": 8, "table": 60, "first column": first + 8, "last column": last + 3}[where]
        data[at] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert_same(db)
    assert "are not used" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert_same(db)
    assert caplog.text == ""  # it was written anew


def test_a_snapshot_found_good_is_checked_again_after_any_change(db: Path) -> None:
    """The mark that saves the summing belongs to one state of the file: the same bytes changed in place are found."""
    write(db, *range(100))
    assert_same(db)
    path = snapshot(db)
    os.utime(path, (1, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_file, "_SETTLED_NS", 2**62)
        assert_same(db)
        assert not path.with_suffix(".seen").exists()  # so young a file may change within the same tick
        patch.setattr(column_file, "_SETTLED_NS", -(2**62))
        assert_same(db)
    assert path.with_suffix(".seen").exists()
    with path.open("r+b") as file:
        file.seek(first_column(path.read_bytes()))
        file.write(b"\x01")
    os.utime(path, (1, 1))
    assert_same(db)


@pytest.mark.parametrize("obstacle", ["file in the way", "disk full"])
def test_without_a_place_to_write_it_works_slower(
    db: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that cannot be made or a full disk costs time, said on the log, and no half file is left."""
    write(db, *range(100))
    folder = RuntimePaths(db).columns
    if obstacle == "file in the way":
        folder.write_text("")
    else:
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
    try:
        with caplog.at_level(logging.WARNING):
            assert_same(db)
    finally:
        if obstacle == "disk full":
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, old)
    assert "cannot be kept" in caplog.text
    assert folder.is_file() or list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
def test_a_folder_that_may_only_be_read(db: Path, log: bool) -> None:
    """A database at rest in a read-only folder is read, snapshot or not; one with a log left over is one clear line."""
    write(db, *range(100))
    script = (
        "import logging, os, sys\n"
        "from pathlib import Path\n"
        "from perp_bot.core.errors import StoreError\n"
        "from perp_bot.data import columns\n"
        "columns.TAIL_ROWS = 16\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"  # permissions do not bind root
        "try:\n"
        "    print(len(columns.read_candles(Path(sys.argv[1]), 'BTC', '1m')))\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(db, folder / db.name)
        if log:
            folder.joinpath(db.name + "-wal").write_bytes(b"x" * 64)
        for path in folder.iterdir():
            path.chmod(0o444)
        folder.chmod(0o555)
        try:
            command = [sys.executable, "-c", script, str(folder / db.name)]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        finally:
            folder.chmod(0o755)
        assert ran.returncode == 0, ran.stderr
        if log:
            assert "cannot be" in ran.stdout
        else:
            assert ran.stdout == "100\n"
            assert "cannot be kept" in ran.stderr
        assert {path.name for path in folder.iterdir()} == {db.name} | ({db.name + "-wal"} if log else set())


@pytest.mark.slow
def test_two_readers_may_build_at_once(db: Path) -> None:
    """Each writes a file of its own and renames it: whichever is last stands whole, both read what is there."""
    write(db, *range(300))
    expected = in_sqlite(db)
    found: list[list[tuple[float, ...]]] = []
    start = threading.Barrier(4)

    def build() -> None:
        start.wait(10)
        found.append(as_rows(read_candles(db, "BTC", "1m")))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [expected] * 4
    assert not list(RuntimePaths(db).columns.glob(".*.tmp"))
    assert_same(db)


def test_columns_stay_as_they_were_read(db: Path) -> None:
    """Whoever holds columns keeps them while the series goes on, and changes nobody else's."""
    write(db, *range(100))
    assert_same(db)
    held = read_candles(db, "BTC", "1m")
    was = as_rows(held)
    run_sql(db, "UPDATE candles SET close=1, volume=0")
    assert_same(db)
    assert as_rows(held) == was
    held.close[0] = 77.0
    assert_same(db)


# ------------------------------------------------------------ small answers


def test_no_rows_and_no_database(db: Path, tmp_path: Path) -> None:
    """A series that is not there is empty columns; a database that is not there is one line."""
    found = read_candles(db, "NOPE", "15m")
    assert (len(found), found.revision, found.generated_rows) == (0, 0, 0)
    assert found.close.dtype == np.float64
    with pytest.raises(StoreError, match="no database at"):
        read_candles(tmp_path / "none.db", "BTC", "15m")


def test_the_revision_is_that_of_the_rows(db: Path) -> None:
    """Rows and revision are read at one moment."""
    write(db, 1)
    write(db, 2, generated=True)
    found = read_candles(db, "BTC", "1m")
    assert (found.revision, found.generated_rows, found.generated.tolist()) == (2, 1, [False, True])


def test_minutes_and_funding_come_as_columns(db: Path) -> None:
    """A price that was not recorded is NaN, never 0."""
    connection = open_writable(db)
    nan4 = (math.nan,) * 4
    statements.apply(connection, AssetMinute("BTC", 60_000, (1.0, 3.0, 0.5, 2.0), nan4, None, None, None, 3))
    statements.apply(connection, AssetMinute("BTC", 120_000, nan4, (4.0, 5.0, 3.0, 4.5), None, None, None, 3))
    statements.apply(connection, FundingRateRow(FundingRate("BTC", 3_600_000, 1e-5, None)))
    connection.close()
    minutes = read_minutes(db, "BTC", 0, 120_001)
    assert minutes.minute_ms.tolist() == [60_000, 120_000]
    assert minutes.mark_high.tolist()[0] == 3.0
    assert math.isnan(minutes.mark_high[1])
    assert minutes.oracle_low.tolist()[1] == 3.0
    assert len(read_minutes(db, "BTC", 0, 60_000)) == 0
    funding = read_funding(db, "BTC")
    assert (funding.hour_ms.tolist(), funding.rate.tolist()) == ([3_600_000], [1e-5])


# ------------------------------------------------------------ the schema


@pytest.mark.parametrize("timeframe", [*timeframes.TIMEFRAMES, "odd"])
def test_sql_and_python_agree_on_the_block_of_a_time(db: Path, timeframe: str) -> None:
    """A block begins where the reader thinks it does, on both sides of every border, before 1970 too."""
    length = block_ms(timeframe)
    times = [at * length + shift for at in (-2, -1, 0, 1, 700) for shift in (-1, 0, 1)]
    for at in times:
        run_sql(db, f"INSERT INTO candles VALUES ('X','{timeframe}',{at},1,1,1,1,1,NULL,'import',0)")
    connection = sqlite3.connect(db)
    found = {row[0] for row in connection.execute("SELECT block FROM candle_blocks WHERE symbol='X'")}
    connection.close()
    assert found == {at // length for at in times}
    assert BLOCK_SLOTS == 2048  # part of the stored schema: another value needs another migration


def test_a_database_of_the_first_schema_gets_its_stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were there before the migration are in stamped blocks afterwards, and read through a snapshot."""
    db = tmp_path / "old.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("perp_bot.data.db.connection.SCHEMA_VERSION", 1)
        open_writable(db).close()
        write(db, *range(100))
    with pytest.raises(StoreError, match="schema 1"):
        read_candles(db, "BTC", "1m")
    open_writable(db).close()
    monkeypatch.setattr(columns, "TAIL_ROWS", FEW)
    assert_same(db)
    assert snapshot(db).exists()
    run_sql(db, "UPDATE candles SET close=3")
    assert_same(db)
    assert schema.SCHEMA_VERSION == 2
