"""A disk that takes nothing more: rows wait, commits are refused at once, protection is journalled, nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from db_waiting import Until

from perp_bot.core.errors import StoreError, StoreFull
from perp_bot.data.db.emergency import read_emergency
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import EventRow
from perp_bot.data.db.writer import Writer

FullDisk = Callable[[int], AbstractContextManager[None]]
LINE = "x" * 4_000  # a few rows of this outgrow every page that is still free


@pytest.fixture(autouse=True)
def _no_signal() -> Iterator[None]:
    """Let the kernel answer EFBIG instead of ending the process."""
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGXFSZ, old)


def event(number: int) -> EventRow:
    return EventRow(number, number, "T", None, f"{number}{LINE}")


def numbers(db: Path) -> list[int]:
    with Reader(db) as reader:
        return [row.venue_ms for row in reader.events(10**6, kinds=["T"])]


def fill_up(writer: Writer, first: int) -> int:
    """Put rows until the disk refuses; return the next number."""
    number = first
    while writer.health().ok:
        assert number < first + 5_000, "the disk never became full"
        writer.put(event(number))
        number += 1
        try:
            writer.flush(1.0)
        except StoreFull:
            break
    return number


@pytest.mark.slow
def test_rows_wait_in_order_on_a_full_disk_and_land_when_there_is_room(
    writer: Writer, db: Path, full_disk: FullDisk, until: Until
) -> None:
    """Nothing put is lost or reordered, and health is bad exactly while the disk refuses."""
    with full_disk(600_000):
        last = fill_up(writer, 0)
        health = writer.health()
        assert not health.ok
        assert health.error is not None
        assert "cannot be written" in health.error
        assert health.pending > 0
        for number in range(last, last + 20):
            writer.put(event(number))
    until(lambda: writer.health().ok)
    writer.flush(5)
    assert numbers(db) == list(range(last + 20))


@pytest.mark.slow
def test_a_commit_on_a_full_disk_is_refused_and_its_rows_never_appear(
    writer: Writer, db: Path, full_disk: FullDisk, until: Until
) -> None:
    """An intent that was not sent must not be in the database afterwards, whatever lands before and after it."""
    with full_disk(600_000):
        last = fill_up(writer, 0)
        for attempt in range(3):
            with pytest.raises(StoreFull, match="withdrawn"):
                writer.commit(event(1_000_000 + attempt), deadline_s=5)
            writer.put(event(last + attempt))
    until(lambda: writer.health().ok)
    writer.commit(event(last + 3), deadline_s=5)
    assert numbers(db) == list(range(last + 4))


@pytest.mark.slow
def test_protective_actions_are_journalled_on_a_full_disk(
    make_writer: Callable[..., Writer], tmp_path: Path, full_disk: FullDisk
) -> None:
    """The pre-allocated journal takes records when the database takes none."""
    journal = tmp_path / "emergency.journal"
    writer = make_writer(emergency=journal)
    with full_disk(600_000):
        fill_up(writer, 0)
        with pytest.raises(StoreError):
            writer.commit(event(-1), deadline_s=0.2)
        writer.emergency_append({"cloid": "0x1", "role": "stop"})
        writer.emergency_append({"cloid": "0x2", "role": "stop"})
    assert read_emergency(journal) == [{"cloid": "0x1", "role": "stop"}, {"cloid": "0x2", "role": "stop"}]
    writer.emergency_clear()
    assert read_emergency(journal) == []
