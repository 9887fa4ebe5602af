"""The record of the last run is the old one or the new one, never half of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from perp_bot.core.errors import StoreError
from perp_bot.ops.atomic_file import write_atomically
from perp_bot.ops.run_record import RunRecord, read_run_record, write_run_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last_run.json"


def test_a_record_comes_back_as_it_was_written(path: Path) -> None:
    """At the start without an end, at the end with one."""
    running = RunRecord(pid=7, boot_id="b", started_ms=1)
    write_run_record(path, running)
    assert read_run_record(path) == running
    ended = RunRecord(7, "b", 1, ended_ms=2, exit_code=4, reason="HALTED größer")
    write_run_record(path, ended)
    assert read_run_record(path) == ended
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_no_record_is_none(path: Path) -> None:
    """Before the first run there is nothing."""
    assert read_run_record(path) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe", b"<html>"])
def test_a_file_that_is_no_record_is_one_line(path: Path, content: bytes) -> None:
    """A damaged file is named and not taken for 'never ran'."""
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is not a run record") as caught:
        read_run_record(path)
    assert "\n" not in str(caught.value)


def test_a_record_that_cannot_be_written_leaves_the_old_one(path: Path) -> None:
    """A folder in the way is one line, and nothing half written stays behind."""
    path.mkdir()
    with pytest.raises(StoreError, match="cannot write the run record"):
        write_run_record(path, RunRecord(1, "b", 1))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_an_atomic_file_is_private(path: Path) -> None:
    """Only the owner reads it."""
    write_atomically(path, "x")
    assert path.stat().st_mode & 0o777 == 0o600
