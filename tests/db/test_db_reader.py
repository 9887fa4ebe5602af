"""Looking never disturbs writing, and every failure is one line."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import store_samples as sample

from perp_bot.core.errors import StoreBusy, StoreError
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import CandleRows, DecisionRow, EventRow, StateRow
from perp_bot.data.db.schema import SCHEMA_VERSION
from perp_bot.data.db.writer import Writer


def event(number: int, text: str = "") -> EventRow:
    return EventRow(number, number, "T", None, text or str(number))


def test_a_missing_database_is_one_line_and_a_later_one_is_found(db: Path, make_writer: Callable[..., Writer]) -> None:
    """A reader may be made before the daemon has ever run."""
    with Reader(db) as reader:
        with pytest.raises(StoreError, match=f"no database at {db}") as caught:
            reader.events(1)
        assert "\n" not in str(caught.value)
        make_writer().commit(event(1), deadline_s=5)
        assert reader.events(1) == [event(1)]


def test_a_database_without_tables_yet_is_one_line(db: Path) -> None:
    """Between the creation of the file and its schema a reader waits for the daemon in one line."""
    sqlite3.connect(db).close()
    db.touch()
    with Reader(db) as reader, pytest.raises(StoreError, match="has schema 0"):
        reader.events(1)


def test_a_letter_under_the_databases_name_is_one_line(db: Path) -> None:
    """What is no database is named."""
    db.write_text("dear diary\n" * 1000)
    with Reader(db) as reader, pytest.raises(StoreError, match="is not a SQLite database"):
        reader.events(1)


def test_a_row_this_program_cannot_read_is_one_line(writer: Writer, db: Path) -> None:
    """A value that is no known word does not become a traceback on a screen."""
    writer.commit(DecisionRow(sample.DECISION, 1), deadline_s=5)
    connection = sqlite3.connect(db)
    connection.execute("UPDATE decisions SET action='dance'")
    connection.commit()
    connection.close()
    with Reader(db) as reader, pytest.raises(StoreError, match="cannot read"):
        reader.decisions(1)


def test_a_reader_cannot_write(writer: Writer, db: Path) -> None:
    """The connection is read-only whatever is asked of it."""
    with Reader(db) as reader:
        reader.events(1)
        for sql in ("DELETE FROM events", "PRAGMA user_version=9", "CREATE TABLE t (x)"):
            with pytest.raises(StoreError):
                reader._rows(sql)
            assert reader._rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]


def test_a_reader_of_another_thread_is_refused(writer: Writer, db: Path) -> None:
    """SQLite's check of the thread is left on and said in one line."""
    with Reader(db) as reader:
        reader.events(1)
        caught: list[Exception] = []

        def ask() -> None:
            try:
                reader.events(1)
            except StoreError as error:
                caught.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert "belongs to the thread" in str(caught[0])


def test_a_lock_held_by_another_process_is_waited_out_briefly_and_then_said(
    db: Path, make_writer: Callable[..., Writer]
) -> None:
    """Outside of WAL a reader could hang on a lock; it gives up after its quarter second."""
    make_writer().stop(5)
    other = sqlite3.connect(db, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("INSERT INTO bot_state VALUES ('k','1',1)")
    with Reader(db) as reader, pytest.raises(StoreBusy, match="locked by another process"):
        reader.events(1)
    other.execute("ROLLBACK")
    other.close()


def test_data_version_moves_with_a_commit_and_only_then(writer: Writer, db: Path) -> None:
    """An observer polls one number instead of the tables."""
    with Reader(db) as reader:
        first = reader.data_version()
        assert reader.data_version() == first
        writer.commit(event(1), deadline_s=5)
        assert reader.data_version() != first


@pytest.mark.slow
def test_readers_see_only_whole_puts_while_the_writer_works(writer: Writer, db: Path) -> None:
    """Three threads read during thousands of writes: never half a put, never back in time, never an error."""
    stop = threading.Event()
    problems: list[str] = []
    looks = [0, 0, 0]

    def look(who: int) -> None:
        newest = -1
        with Reader(db) as reader:
            while not stop.is_set():
                state = reader.state("newest")
                rows = reader.events(1)
                if state is not None:
                    if state < newest:
                        problems.append(f"back from {newest} to {state}")
                    if rows[-1].venue_ms < state:
                        problems.append(f"event {rows[-1].venue_ms} is older than the state {state} put with it")
                    newest = state
                looks[who] += 1

    threads = [threading.Thread(target=look, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for number in range(3_000):
        writer.put(event(number), StateRow("newest", number, number))
        if number % 100 == 0:
            writer.commit(StateRow("c", number, number), deadline_s=10)
    writer.flush(10)
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert min(looks) > 0
    assert writer.health().ok


@pytest.mark.slow
def test_the_write_ahead_log_does_not_grow_without_bound(writer: Writer, db: Path) -> None:
    """With a reader that looks all the time, 60 MB of writes leave a log of a few MB."""
    log = db.with_name(db.name + "-wal")
    largest = 0
    with Reader(db) as reader:
        for number in range(150):
            writer.put(*(StateRow(f"k{k}", "x" * 4_000, number) for k in range(100)))
            writer.flush(5)
            reader.state("k1")
            largest = max(largest, log.stat().st_size)
    assert largest < 12 * 1024 * 1024


def test_a_reader_holds_no_snapshot_between_questions(writer: Writer, db: Path) -> None:
    """After a question nothing is left open: the log can be folded back completely."""
    with Reader(db) as reader:
        writer.commit(CandleRows(tuple(sample.candle(k * 900_000) for k in range(50))), deadline_s=5)
        assert len(reader.last_candles("BTC", "15m", 10)) == 10
        other = sqlite3.connect(db)
        writer.commit(event(1), deadline_s=5)
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
        other.close()


def test_reading_imports_nothing_heavy() -> None:
    """The dashboard and `status` read without numpy, pandas, numba or the SDK."""
    code = (
        "import sys, perp_bot.data.db.reader, perp_bot.ops.instance_lock, perp_bot.ops.run_record;"
        "print(sorted(m for m in ('numpy', 'pandas', 'numba', 'hyperliquid', 'aiohttp') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"
