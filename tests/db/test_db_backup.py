"""The hourly copy: made beside the writer, sound, complete, and never more than 24 of them."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from db_waiting import Until

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import StoreError, StoreFull
from perp_bot.data.db import backup
from perp_bot.data.db.backup import backup_files, make_backup
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import EventRow, StateRow
from perp_bot.data.db.writer import Writer


def event(number: int) -> EventRow:
    return EventRow(number, number, "T", None, str(number))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.mark.slow
def test_a_backup_made_during_writes_is_one_moment(writer: Writer, db: Path, folder: Path) -> None:
    """Rows that were put together are together in the copy, which is one sound file, while the writer goes on."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            writer.put(
                event(number), StateRow("newest", number, number), StateRow(f"pad{number % 500}", "x" * 4_000, 0)
            )
            writer.flush(5)
            number += 1

    writer.put(*(StateRow(f"pad{k}", "x" * 4_000, 0) for k in range(1_500)))  # 6 MB: several steps
    writer.flush(5)
    thread = threading.Thread(target=write)
    thread.start()
    try:
        copy = make_backup(db, folder)
    finally:
        stop.set()
        thread.join()
    assert [path.name for path in folder.iterdir()] == [copy.name]
    with Reader(copy) as reader:
        events = reader.events(10**6)
        assert [row.venue_ms for row in events] == list(range(len(events)))
        assert reader.state("newest") == (events[-1].venue_ms if events else None)
    assert writer.health().ok


def test_a_backup_can_be_started_from(writer: Writer, db: Path, folder: Path) -> None:
    """The copy is a database a daemon starts on."""
    writer.commit(event(1), deadline_s=5)
    copy = make_backup(db, folder)
    with Writer(copy, backups=None, emergency=None, clock=FixedClock(0)) as restored:
        restored.commit(event(2), deadline_s=5)
    with Reader(copy) as reader:
        assert reader.events(9) == [event(1), event(2)]


def test_the_newest_24_are_kept_and_nothing_else_is_touched(
    writer: Writer, db: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old copies go, foreign files and another database's copies stay, rests of a crash are swept."""
    folder.mkdir()
    foreign = [folder / "notes.txt", folder / "other-20260101T000000Z.db"]
    rest = folder / "perp_bot-20260101T000000Z.db.partial"
    for path in (*foreign, rest):
        path.write_text("x")
    for hour in range(27):
        monkeypatch.setattr(backup, "wall_ms", lambda hour=hour: 1_767_225_600_000 + hour * 3_600_000)
        make_backup(db, folder)
    kept = [path.name for path in backup_files(folder, db)]
    assert len(kept) == 24
    assert kept[0] == "perp_bot-20260101T030000Z.db"
    assert kept[-1] == "perp_bot-20260102T020000Z.db"
    assert all(path.exists() for path in foreign)
    assert not rest.exists()


def test_the_writer_makes_backups_by_itself(
    make_writer: Callable[..., Writer], folder: Path, db: Path, until: Until
) -> None:
    """The thread copies after its interval, and stops with the writer."""
    writer = make_writer(backups=folder, backup_every_s=0.05)
    writer.commit(event(1), deadline_s=5)
    until(lambda: bool(backup_files(folder, db)))
    writer.stop(5)
    assert writer.health().backup_error is None


def test_a_backup_that_fails_is_said_and_stops_no_trading(
    make_writer: Callable[..., Writer], folder: Path, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is a file: health names it, writing stays good."""
    folder.write_text("not a folder")
    writer = make_writer(backups=folder, backup_every_s=0.02)
    until(lambda: writer.health().backup_error is not None)
    assert writer.health().ok
    until(lambda: any("backup failed" in record.getMessage() for record in caplog.records))


def test_a_backup_never_takes_the_disk_space_trading_needs(
    writer: Writer, db: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for twice the database no copy is begun."""

    class Usage:
        free = 10

    monkeypatch.setattr("perp_bot.data.db.backup.shutil.disk_usage", lambda _path: Usage)
    with pytest.raises(StoreFull, match="are needed"):
        make_backup(db, folder)
    assert list(folder.iterdir()) == []


def test_a_copy_that_is_not_sound_does_not_count(writer: Writer, db: Path, folder: Path) -> None:
    """A damaged database gives an error and no backup that would push out a good one."""
    writer.put(*(StateRow(f"k{k}", "x" * 3_000, 0) for k in range(300)))
    writer.flush(5)
    writer.stop(5)
    content = bytearray(db.read_bytes())
    for page in range(20, 200):
        content[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    db.write_bytes(content)
    with pytest.raises(StoreError, match=r"not sound|damaged"):
        make_backup(db, folder)
    assert list(folder.iterdir()) == []


def test_a_stop_gives_up_a_copy_under_way(writer: Writer, db: Path, folder: Path) -> None:
    """The daemon ends within seconds however large the database is."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(backup._Stopped):
        make_backup(db, folder, stop)
    assert list(folder.iterdir()) == []
    assert sqlite3.connect(db).execute("SELECT 1").fetchone() == (1,)
