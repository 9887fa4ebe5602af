"""The emergency journal: what was appended is read back, whatever a crash tore."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.errors import StoreError, StoreFull
from perp_bot.data.db.emergency import DEFAULT_BYTES, EmergencyJournal, clear_emergency, read_emergency


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "emergency.journal"


def test_records_are_read_back_in_order_across_restarts(path: Path) -> None:
    """A journal opened again goes on behind its records; the file never changes its size."""
    for part in range(3):
        journal = EmergencyJournal(path)
        journal.open()
        assert path.stat().st_size == DEFAULT_BYTES
        journal.append({"part": part, "role": "stop"})
        journal.append({"part": part, "px": 0.1 + 0.2})
        journal.close()
    assert [record["part"] for record in read_emergency(path)] == [0, 0, 1, 1, 2, 2]
    assert read_emergency(path)[1] == {"part": 0, "px": 0.1 + 0.2}
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_journal_is_an_empty_one(path: Path) -> None:
    """Before the first run there is nothing to read or to clear."""
    assert read_emergency(path) == []
    clear_emergency(path)
    assert not path.exists()


def test_the_blocks_are_really_there(path: Path) -> None:
    """The space is written, not promised: a sparse file would fail on a full disk."""
    journal = EmergencyJournal(path)
    journal.open()
    journal.close()
    assert path.stat().st_blocks * 512 >= DEFAULT_BYTES


def test_cleared_records_never_come_back(path: Path) -> None:
    """After a clear the journal is empty and starts anew, open or not."""
    journal = EmergencyJournal(path)
    journal.open()
    journal.append({"n": 1})
    journal.clear()
    assert read_emergency(path) == []
    journal.append({"n": 2})
    assert read_emergency(path) == [{"n": 2}]
    journal.close()
    clear_emergency(path)
    assert read_emergency(path) == []
    assert path.stat().st_size == DEFAULT_BYTES


def test_a_full_journal_says_so_and_keeps_what_it_has(path: Path) -> None:
    """The record that does not fit is refused in one line."""
    journal = EmergencyJournal(path, size_bytes=100)
    journal.open()
    journal.append({"n": "x" * 50})
    with pytest.raises(StoreFull, match=r"is full \(1 records\)"):
        journal.append({"n": "y" * 50})
    journal.close()
    assert read_emergency(path) == [{"n": "x" * 50}]


def test_a_closed_journal_refuses(path: Path) -> None:
    """Appending to a journal that is not open is an error, not a loss."""
    journal = EmergencyJournal(path)
    with pytest.raises(StoreError, match="not open"):
        journal.append({})
    with pytest.raises(StoreError, match="not open"):
        journal.clear()


def test_no_room_is_found_at_the_start_not_in_the_emergency(tmp_path: Path) -> None:
    """A journal that cannot be created stops the start in one line."""
    with pytest.raises(StoreError, match="emergency journal"):
        EmergencyJournal(tmp_path / "no" / "emergency.journal").open()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(
        st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=40), max_size=3), max_size=6
    ),
    cut=st.integers(min_value=0, max_value=400),
    junk=st.binary(min_size=1, max_size=30),
)
def test_a_torn_record_ends_the_reading_and_is_written_over(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, int | str]], cut: int, junk: bytes
) -> None:
    """Whatever bytes a crash left from some point on, the records before it are read, and new ones follow them."""
    path = tmp_path_factory.mktemp("torn") / "emergency.journal"
    journal = EmergencyJournal(path, size_bytes=4096)
    journal.open()
    ends = []
    for record in records:
        journal.append(record)
        ends.append(journal._offset)
    journal.close()
    fd = os.open(path, os.O_RDWR)
    before = os.pread(fd, len(junk), cut)
    os.pwrite(fd, junk, cut)
    os.close(fd)
    whole = sum(end <= cut for end in ends) if before != junk else len(records)
    survived = read_emergency(path)
    assert survived[:whole] == records[:whole]
    # Junk that touches only some bytes may leave the torn record as it was; it never invents one.
    assert survived == records[: len(survived)]
    journal = EmergencyJournal(path, size_bytes=4096)
    journal.open()
    journal.append({"new": 1})
    journal.close()
    assert read_emergency(path) == [*survived, {"new": 1}]


def test_a_record_left_from_an_earlier_filling_is_not_read_again(path: Path) -> None:
    """A whole, sound record at the wrong place is no record: the checksum covers its number."""
    journal = EmergencyJournal(path)
    journal.open()
    journal.append({"n": 1})
    length = journal._offset
    journal.close()
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, os.pread(fd, length, 0), length)
    os.close(fd)
    assert read_emergency(path) == [{"n": 1}]
