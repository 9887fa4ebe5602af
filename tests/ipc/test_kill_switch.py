"""The latch file: any file there latches, the first one is kept, only `clear` removes it (I6)."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from perp_bot.core.errors import StoreError
from perp_bot.risk import kill_switch


def test_latch_writes_who_when_and_why(tmp_path: Path) -> None:
    """The record is for people; the file itself is the latch."""
    path = tmp_path / "KILL"
    assert kill_switch.latch(path, who="pid 1 (uid 0)", reason="news", venue_ms=1_700_000_000_000) is True
    found = kill_switch.read(path)
    assert found is not None
    assert (found.who, found.reason, found.venue_ms, found.pid) == (
        "pid 1 (uid 0)",
        "news",
        1_700_000_000_000,
        os.getpid(),
    )
    assert found.at_wall_ms is not None
    assert found.text == "killed by pid 1 (uid 0): news"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(json.loads(path.read_text())) == {"who", "at_wall_ms", "venue_ms", "reason", "pid"}


def test_latching_twice_keeps_the_first(tmp_path: Path) -> None:
    """Idempotent: the second call reports that it was latched already."""
    path = tmp_path / "KILL"
    kill_switch.latch(path, who="one", reason="first", venue_ms=None)
    assert kill_switch.latch(path, who="two", reason="second", venue_ms=None) is False
    found = kill_switch.read(path)
    assert found is not None
    assert found.reason == "first"


def test_of_many_at_once_exactly_one_latches(tmp_path: Path) -> None:
    """Socket thread, CLI and watchdog may race; the record is one of theirs, whole."""
    path = tmp_path / "KILL"
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda n=number: results.append(kill_switch.latch(path, who=f"t{n}", reason="r", venue_ms=None))
        )
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 15 + [True]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[1]", b"5", b'{"who": 5, "at_wall_ms": true}', b"[" * 9000]
)
def test_any_file_latches_whatever_is_inside(tmp_path: Path, content: bytes) -> None:
    """A hand-dropped `touch KILL` is a kill."""
    path = tmp_path / "KILL"
    path.write_bytes(content)
    assert kill_switch.is_latched(path)
    found = kill_switch.read(path)
    assert found is not None
    assert (found.who, found.at_wall_ms, found.reason) == (None, None, None)
    assert found.text.startswith("killed by someone")


def test_a_folder_a_pipe_and_a_dangling_link_latch_too(tmp_path: Path) -> None:
    """Whatever stands there latches, and reading it never blocks."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "pipe", "link"):
        assert kill_switch.is_latched(tmp_path / name), name
        assert kill_switch.read(tmp_path / name) is not None, name


def test_nothing_there_is_not_latched(tmp_path: Path) -> None:
    """No file, no kill; also when the whole folder is missing."""
    assert not kill_switch.is_latched(tmp_path / "KILL")
    assert kill_switch.read(tmp_path / "KILL") is None
    assert not kill_switch.is_latched(tmp_path / "missing" / "KILL")


def test_what_cannot_be_looked_at_counts_as_latched(tmp_path: Path) -> None:
    """In doubt nothing adds exposure."""
    (tmp_path / "file").write_text("")
    assert kill_switch.is_latched(tmp_path / "file" / "KILL")


def test_clear_removes_it_once(tmp_path: Path) -> None:
    """Only clear unlatches."""
    path = tmp_path / "KILL"
    kill_switch.latch(path, who="one", reason="", venue_ms=None)
    assert kill_switch.clear(path) is True
    assert not kill_switch.is_latched(path)
    assert kill_switch.clear(path) is False


def test_a_latch_that_cannot_be_removed_still_latches(tmp_path: Path) -> None:
    """A failed clear says so."""
    (tmp_path / "KILL").mkdir()
    with pytest.raises(StoreError, match="cannot be removed"):
        kill_switch.clear(tmp_path / "KILL")
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_latch_creates_the_folder(tmp_path: Path) -> None:
    """A kill before the first start holds back that start."""
    assert kill_switch.latch(tmp_path / "new" / "KILL", who="one", reason="", venue_ms=None) is True


def test_a_latch_that_cannot_be_created_is_an_error_never_silence(tmp_path: Path) -> None:
    """Neither a file in the way of the folder nor anything else may look like an earlier latch."""
    (tmp_path / "blocked").write_text("")
    with pytest.raises(StoreError, match="NOT latched"):
        kill_switch.latch(tmp_path / "blocked" / "KILL", who="one", reason="", venue_ms=None)


def test_a_full_disk_still_latches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing can be written, the empty file is the latch."""

    def no_space(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    assert kill_switch.latch(tmp_path / "KILL", who="one", reason="", venue_ms=None) is True
    monkeypatch.undo()
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_nobody_reads_half_a_latch(tmp_path: Path) -> None:
    """From the moment the name is there the record is whole: a reader racing 200 latches never sees a bare file."""
    path = tmp_path / "KILL"
    notes: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            found = kill_switch.read(path)
            if found is not None and found.note:
                notes.append(found.note)

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(200):
        assert kill_switch.latch(path, who="operator", reason="race", venue_ms=1)
        kill_switch.clear(path)
    done.set()
    reader.join()
    # A file that vanishes between the look and the read is said to be unreadable, never to hold no record.
    assert not [note for note in notes if "Expecting value" in note]


def test_a_draft_left_by_a_dead_process_does_not_stand_in_for_the_latch(tmp_path: Path) -> None:
    """Only the latch's own name means that it is latched."""
    path = tmp_path / "KILL"
    (tmp_path / f".KILL.{os.getpid()}.{threading.get_ident()}").write_text("old")
    assert kill_switch.latch(path, who="operator", reason="now", venue_ms=None)
    assert kill_switch.is_latched(path)
    assert [item.name for item in tmp_path.iterdir()] == ["KILL"]
