"""The writer keeps order and wholeness, waits only when asked to, and never loses a row in silence."""

from __future__ import annotations

import gc
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import store_samples as sample
from db_waiting import Until

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import SchemaNewer, StoreBusy, StoreError
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import CandleRows, EventRow, FillRow, OrderRow, Row, StateRow
from perp_bot.data.db.schema import SCHEMA_VERSION
from perp_bot.data.db.writer import CommitUncertain, Writer
from perp_bot.ops import crash_points

MakeWriter = Callable[..., Writer]


def event(number: int) -> EventRow:
    return EventRow(number, number, "T", None, str(number))


def texts(db: Path) -> list[str]:
    with Reader(db) as reader:
        return [row.text for row in reader.events(10**6) if row.kind == "T"]


def test_rows_land_in_the_order_they_were_put(writer: Writer, db: Path) -> None:
    """First in, first written, over many batches."""
    for number in range(12_000):
        writer.put(event(number))
    writer.flush(10)
    assert texts(db) == [str(number) for number in range(12_000)]


def test_a_commit_brings_everything_put_before_it(writer: Writer, db: Path) -> None:
    """When a commit returns, the rows before it are there too, in their order."""
    for number in range(100):
        writer.put(event(number))
    writer.commit(event(100), deadline_s=5)
    assert texts(db) == [str(number) for number in range(101)]


def test_a_commit_is_synced_to_the_disk_and_plain_rows_are_not(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit of an intent runs with synchronous=FULL, the rest with NORMAL."""
    seen: list[bool] = []
    original = Writer._set_synchronous

    def spy(self: Writer, connection: sqlite3.Connection, *, full: bool) -> None:
        original(self, connection, full=full)
        seen.append(connection.execute("PRAGMA synchronous").fetchone()[0] == 2)

    monkeypatch.setattr(Writer, "_set_synchronous", spy)
    writer.put(event(1))
    writer.flush(5)
    writer.commit(event(2), deadline_s=5)
    writer.put(event(3))
    writer.flush(5)
    assert seen == [False, True, False]


def test_rows_of_one_put_land_together_or_not_at_all(writer: Writer, db: Path) -> None:
    """A value that cannot be stored takes its whole put with it, says so for good, and harms no other put."""
    writer.put(event(1))
    writer.put(event(2), StateRow("k", {1, 2}, 0), event(3))
    writer.put(event(4))
    writer.flush(5)
    assert texts(db) == ["1", "4"]
    health = writer.health()
    assert not health.ok
    assert health.error is not None
    assert health.error.startswith("3 rows refused; newest: EventRow, StateRow holds a value that cannot be stored")
    assert health.pending == 0


@pytest.mark.parametrize(
    "row", [EventRow(2**70, 0, "T", None, "x"), CandleRows((sample.candle(close=float("nan")),)), "not a row"]
)
def test_a_commit_that_cannot_be_stored_is_refused_to_its_caller(writer: Writer, db: Path, row: Row) -> None:
    """An integer too large, a NaN price, a foreign object: the caller is told, nothing is written, health is good."""
    with pytest.raises(StoreError, match=r"cannot be stored.*withdrawn|not a kind of row"):
        writer.commit(event(1), row, deadline_s=5)
    writer.commit(event(2), deadline_s=5)
    assert texts(db) == ["2"]
    assert writer.health().ok


def test_health_says_what_is_pending_and_how_old_the_last_commit_is(writer: Writer) -> None:
    """Before the first commit its age is unknown, not 0."""
    health = writer.health()
    assert (health.ok, health.error, health.pending, health.last_commit_age_s, health.failed_since_s) == (
        True, None, 0, None, None,
    )  # fmt: skip
    writer.commit(event(1), deadline_s=5)
    age_s = writer.health().last_commit_age_s
    assert age_s is not None
    assert 0 <= age_s < 5


@pytest.mark.slow
def test_a_commit_withdrawn_by_its_deadline_never_lands(
    make_writer: MakeWriter, db: Path, locked: Callable[[], object]
) -> None:
    """While another process holds the file a commit fails by its deadline, and only its own rows are given up."""
    writer = make_writer()
    with locked():  # type: ignore[attr-defined]
        writer.put(event(1))
        with pytest.raises(StoreBusy, match="withdrawn"):
            writer.commit(event(2), deadline_s=0.05)
        writer.put(event(3))
        with pytest.raises(StoreBusy, match="withdrawn"):
            writer.commit(event(4), deadline_s=0.4)
    writer.flush(5)
    assert texts(db) == ["1", "3"]


def test_a_commit_withdrawn_while_its_transaction_opens_is_rolled_back(
    writer: Writer, db: Path, locked: Callable[[], object]
) -> None:
    """The writer has taken the rows already and waits for the lock: given up then, they are taken out again."""
    for _ in range(3):
        with locked(), pytest.raises(StoreBusy, match="withdrawn"):  # type: ignore[attr-defined]
            writer.commit(event(1), deadline_s=0.05)
        writer.commit(event(2), deadline_s=5)
    assert texts(db) == ["2", "2", "2"]
    assert writer.health().pending == 0


def test_a_commit_behind_a_short_lock_is_only_late(writer: Writer, db: Path, locked: Callable[[], object]) -> None:
    """A lock that goes away before the deadline costs time, not the commit."""
    done = threading.Event()

    def commit() -> None:
        writer.commit(event(1), deadline_s=5)
        done.set()

    with locked():  # type: ignore[attr-defined]
        thread = threading.Thread(target=commit)
        thread.start()
        assert not done.wait(0.1)
    thread.join()
    assert done.is_set()
    assert texts(db) == ["1"]


def test_a_commit_that_hangs_at_the_disk_is_uncertain_and_says_so(
    make_writer: MakeWriter, db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Past the point of no return the caller hears that the rows may or may not be there; here they land later."""
    fifo = tmp_path / "hang"
    os.mkfifo(fifo)  # the crash log of this test: opening it to write hangs until somebody reads
    writer = make_writer()
    monkeypatch.setattr(crash_points, "_armed", crash_points._Armed(None, str(fifo)))
    with pytest.raises(CommitUncertain, match="may or may not be written"):
        writer.commit(event(1), deadline_s=0.05)
    monkeypatch.setattr(crash_points, "_armed", None)
    release = os.open(fifo, os.O_RDONLY)
    until(lambda: writer.health().pending == 0)
    os.close(release)
    assert texts(db) == ["1"]


@pytest.mark.slow
def test_put_does_not_wait_for_the_disk(writer: Writer, locked: Callable[[], object], until: Until) -> None:
    """With the file held by another process, putting goes on, health turns bad, then good again; nothing is lost."""
    with locked():  # type: ignore[attr-defined]
        for number in range(1_000):
            writer.put(event(number))
        assert writer.health().pending >= 1_000
        until(lambda: not writer.health().ok)
        health = writer.health()
        assert health.error is not None
        assert "locked by another process" in health.error
        assert health.failed_since_s is not None
        with pytest.raises(StoreBusy, match="they stay queued"):
            writer.flush(0.05)
    until(lambda: writer.health().ok)
    writer.flush(5)
    assert writer.health().pending == 0


@pytest.mark.slow
def test_an_outage_is_in_the_events_table_afterwards(
    make_writer: MakeWriter, db: Path, locked: Callable[[], object], until: Until
) -> None:
    """The stored history says that and when the database could not be written, in the venue's time."""
    writer = make_writer(clock=FixedClock(123_456))
    with locked():  # type: ignore[attr-defined]
        with pytest.raises(StoreBusy):
            writer.commit(event(1), deadline_s=0.3)
        until(lambda: not writer.health().ok)
    # Nothing else is put: the writer notices the recovery by itself.
    until(lambda: writer.health().ok)
    writer.flush(5)
    with Reader(db) as reader:
        stored = reader.events(9, kinds=["STORE"])
    assert [row.venue_ms for row in stored] == [123_456, 123_456]
    assert "could not be written" in stored[0].text
    assert "takes rows again" in stored[1].text


def test_a_full_queue_drops_market_rows_first_and_says_so(
    make_writer: MakeWriter, db: Path, locked: Callable[[], object]
) -> None:
    """Candles make way for fills; the health is bad for good, because rows are missing."""
    writer = make_writer(capacity_rows=10)
    with locked():  # type: ignore[attr-defined]
        writer.put(CandleRows(tuple(sample.candle(k * 900_000) for k in range(9))))
        writer.put(CandleRows(tuple(sample.candle(k * 900_000) for k in range(9, 15))))
        writer.put(FillRow(sample.FILL))
        assert not writer.health().ok
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.candle_span("BTC", "15m") == (0, 8 * 900_000, 9)
        assert reader.fills("paper") == [sample.FILL]
    assert writer.health().error == "6 rows lost to a full queue; newest: CandleRows"


def test_after_a_lost_row_of_the_books_none_is_written_any_more(
    make_writer: MakeWriter, db: Path, locked: Callable[[], object]
) -> None:
    """What is on the disk stays a prefix of the truth: a fill is never missing between two others."""
    writer = make_writer(capacity_rows=2)
    with locked():  # type: ignore[attr-defined]
        for number in range(6):
            writer.put(StateRow(f"k{number}", number, number))
    writer.flush(5)
    writer.put(StateRow("later", 1, 1))
    with pytest.raises(StoreError, match="nothing is committed until a restart"):
        writer.commit(OrderRow(sample.ORDER), deadline_s=1)
    writer.flush(5)
    with Reader(db) as reader:
        kept = [number for number in range(6) if reader.state(f"k{number}") is not None]
        assert kept == list(range(len(kept)))
        assert 0 < len(kept) < 6
        assert reader.state("later") is None
        assert reader.orders(9) == []
    assert not writer.health().ok


def test_stop_writes_what_is_pending(make_writer: MakeWriter, db: Path) -> None:
    """A clean end loses nothing, can be asked for twice, and leaves one file."""
    writer = make_writer()
    for number in range(3_000):
        writer.put(event(number))
    writer.stop(5)
    writer.stop(5)
    assert len(texts(db)) == 3_000
    assert not writer.health().ok
    assert writer.health().error == f"the writer of {db} is not running"


@pytest.mark.slow
def test_stop_says_how_many_rows_could_not_be_written(
    make_writer: MakeWriter, locked: Callable[[], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Rows lost at the end are an error with a number, not silence."""
    writer = make_writer()
    with locked():  # type: ignore[attr-defined]
        writer.put(event(1), event(2))
        with pytest.raises(StoreError, match=r"rows were not written: .*locked by another process"):
            writer.stop(0.2)
    assert any(record.levelname == "CRITICAL" for record in caplog.records)


def test_a_row_put_after_the_end_is_not_lost_in_silence(make_writer: MakeWriter) -> None:
    """A late thread that still puts rows is seen in the health and the log."""
    writer = make_writer()
    writer.stop(5)
    writer.put(event(1))
    assert writer.health().error == "1 rows put too late; newest: EventRow"
    with pytest.raises(StoreError, match="not running"):
        writer.commit(event(2), deadline_s=1)
    with pytest.raises(StoreError, match="not running"):
        writer.flush(1)


def test_a_dead_writer_thread_is_bad_health_and_fails_whoever_waits(
    writer: Writer, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """A fault of the program ends no process and is not taken for a working store."""

    def broken(_connection: sqlite3.Connection, _row: Row) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("perp_bot.data.db.statements.apply", broken)
    writer.put(event(1))
    until(lambda: not writer.health().ok)
    assert writer.health().error == "the writer thread died: MemoryError('no memory')"
    with pytest.raises(StoreError, match="not running"):
        writer.commit(event(2), deadline_s=1)


def test_a_database_moved_away_under_the_daemon_is_noticed(writer: Writer, db: Path, until: Until) -> None:
    """Rows are not written into a file that nobody will find; put back, everything lands."""
    away = db.with_name("away.db")
    db.rename(away)
    with pytest.raises(StoreError, match="was moved or deleted"):
        writer.commit(event(1), deadline_s=5)
    writer.put(event(2))
    until(lambda: not writer.health().ok)
    away.rename(db)
    until(lambda: writer.health().ok)
    writer.flush(5)
    assert texts(db) == ["2"]


def test_an_empty_file_becomes_the_schema(make_writer: MakeWriter, db: Path) -> None:
    """Migration from nothing: the version is set, WAL is on, and a second start finds it as it is."""
    make_writer().stop(5)
    make_writer().stop(5)
    connection = sqlite3.connect(db)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    connection.close()
    assert {"candles", "series", "decisions", "orders", "fills", "trades", "equity", "events", "bot_state"} <= tables


def test_a_migration_that_fails_leaves_the_old_schema_whole(
    make_writer: MakeWriter, db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a migration never stands: the version and the tables change together."""
    monkeypatch.setattr("perp_bot.data.db.connection.MIGRATIONS", {1: "CREATE TABLE a (x); CREATE TABLE a (x);"})
    with pytest.raises(StoreError, match="already exists"):
        make_writer()
    connection = sqlite3.connect(db)
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    assert connection.execute("PRAGMA user_version").fetchone()[0] == 0
    connection.close()


def test_a_newer_schema_is_refused_and_left_alone(make_writer: MakeWriter, db: Path) -> None:
    """An old program never writes into a new program's database."""
    connection = sqlite3.connect(db)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    before = db.read_bytes()
    with pytest.raises(SchemaNewer, match=f"schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}"):
        make_writer()
    with pytest.raises(SchemaNewer), Reader(db) as reader:
        reader.events(1)
    assert db.read_bytes() == before


def test_another_programs_database_is_refused(make_writer: MakeWriter, db: Path) -> None:
    """A SQLite file with foreign tables is not ours to fill."""
    connection = sqlite3.connect(db)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreError, match="of another program"):
        make_writer()


@pytest.mark.parametrize(
    "content", [b"this is not a database, it is a letter\n" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_is_one_clear_line(make_writer: MakeWriter, db: Path, content: bytes) -> None:
    """A letter or a damaged header under the database's name is named, and not overwritten."""
    db.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        make_writer()
    assert str(db) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert db.read_bytes() == content


@pytest.mark.slow
def test_a_database_held_by_another_process_at_the_start_is_one_clear_line(
    make_writer: MakeWriter, db: Path, locked: Callable[[], object]
) -> None:
    """The daemon does not start beside something that holds the database."""
    make_writer().stop(5)
    with locked(), pytest.raises(StoreBusy, match="locked by another process"):  # type: ignore[attr-defined]
        make_writer()


def test_a_missing_folder_and_a_folder_as_database_are_one_clear_line(tmp_path: Path) -> None:
    """The folder is named and not created behind the operator's back."""
    clock = FixedClock(0)
    for path, message in (
        (tmp_path / "no" / "perp_bot.db", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(StoreError, match=message):
            Writer(path, backups=None, emergency=None, clock=clock).start()
    assert list(tmp_path.iterdir()) == []


def test_no_thread_is_left_behind(make_writer: MakeWriter, tmp_path: Path, db: Path) -> None:
    """Neither a clean stop nor a start that failed leaves a thread or an open file."""
    gc.collect()  # else what an earlier test left to it may go in between
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    make_writer(backups=tmp_path / "backups", emergency=tmp_path / "emergency.journal").stop(5)
    db.write_bytes(b"x" * 5000)
    with pytest.raises(StoreError):
        make_writer(emergency=tmp_path / "emergency.journal")
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) <= files


@pytest.mark.slow
def test_a_commit_late_in_an_outage_lands_soon_after_the_lock_goes(
    writer: Writer, db: Path, locked: Callable[[], object], until: Until
) -> None:
    """However long the outage lasted, a commit that waits is tried every few milliseconds, not every two seconds."""
    done = threading.Event()

    def commit() -> None:
        writer.commit(event(2), deadline_s=5)
        done.set()

    with locked():  # type: ignore[attr-defined]
        writer.put(event(1))
        until(lambda: (writer.health().failed_since_s or 0) > 1.0)
        thread = threading.Thread(target=commit)
        thread.start()
        assert not done.wait(0.4)  # tried once and refused
    assert done.wait(1.5)
    thread.join()
    assert texts(db) == ["1", "2"]
