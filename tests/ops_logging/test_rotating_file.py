"""The log file turns over at its size, survives being moved, and gets over a full disk."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from perp_bot.ops.rotating_file import RotatingFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perp-bot.log"


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_files_turn_over_and_the_oldest_goes(path: Path) -> None:
    """No file exceeds its size, no line is cut, and the newest lines are in the file without a number."""
    file = RotatingFile(path, max_bytes=100, keep=3)
    for number in range(60):
        file.write_line(f"line {number:04d}".encode())
    file.close()
    assert names(path) == ["perp-bot.log", "perp-bot.log.1", "perp-bot.log.2", "perp-bot.log.3"]
    parts = [path.with_name(name) for name in reversed(names(path))]
    assert all(part.stat().st_size <= 100 for part in parts)
    lines = "".join(part.read_text() for part in parts).splitlines()
    assert lines == [f"line {number:04d}" for number in range(60 - len(lines), 60)]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_longer_than_a_file_is_written_whole(path: Path) -> None:
    """A giant traceback is not cut."""
    file = RotatingFile(path, max_bytes=10, keep=1)
    file.write_line(b"x" * 50)
    file.write_line(b"y")
    file.close()
    assert path.read_bytes() == b"y\n"
    assert path.with_name("perp-bot.log.1").read_bytes() == b"x" * 50 + b"\n"


def test_a_restart_goes_on_in_the_same_file(path: Path) -> None:
    """What an earlier run wrote counts towards the size, and a line it did not finish is ended first."""
    path.write_bytes(b'{"half": ')
    file = RotatingFile(path, max_bytes=20, keep=1)
    file.write_line(b"next")
    file.write_line(b"after it")
    file.close()
    assert path.with_name("perp-bot.log.1").read_bytes() == b'{"half": \nnext\n'
    assert path.read_bytes() == b"after it\n"


def test_a_file_moved_or_deleted_by_somebody_is_begun_anew(path: Path) -> None:
    """Lines are not written where nobody will find them."""
    file = RotatingFile(path, max_bytes=1000, keep=1)
    file.write_line(b"1")
    path.rename(path.with_name("away"))
    file.write_line(b"2")
    path.unlink()
    file.write_line(b"3")
    file.close()
    assert path.read_bytes() == b"3\n"


def test_a_full_disk_costs_lines_and_the_next_one_stands_alone(path: Path) -> None:
    """A line cut by the kernel does not run into the next."""
    file = RotatingFile(path, max_bytes=10_000, keep=1)
    file.write_line(b"a" * 90)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        for _ in range(2):
            with pytest.raises(OSError):
                file.write_line(b"b" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)
    file.write_line(b"c")
    file.close()
    lines = path.read_bytes().split(b"\n")
    assert lines[0] == b"a" * 90
    assert lines[-2:] == [b"c", b""]
    assert set(lines[1]) == {ord("b")}


def test_a_folder_that_forbids_renaming_does_not_silence_the_log(path: Path) -> None:
    """The file grows past its size instead."""
    (path.with_name("perp-bot.log.1")).mkdir()
    file = RotatingFile(path, max_bytes=10, keep=1)
    for _ in range(3):
        file.write_line(b"x" * 8)
    file.close()
    assert path.read_bytes() == b"xxxxxxxx\n" * 3
