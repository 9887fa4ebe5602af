"""The log stream: complete lines once each and in order, over rotations, gaps and truncation."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tui_rows import log_line

from perp_bot.tui.sources.log_files import MAX_LINE_BYTES, LogTail
from perp_bot.tui.sources.log_filter import LogFilter, Matcher, rank_of
from perp_bot.tui.sources.log_lines import render


@pytest.fixture
def log(folder: Path) -> Path:
    """Return the path of a log that is not there yet."""
    return folder / "perp-bot.log"


@pytest.fixture
def tail(log: Path) -> Iterator[LogTail]:
    """Return a tail on it."""
    found = LogTail(log)
    yield found
    found.close()


def rotate(log: Path, backups: int = 3) -> None:
    """Rename as the daemon's handler does."""
    for number in range(backups - 1, 0, -1):
        source = log.with_name(f"{log.name}.{number}")
        if source.exists():
            os.replace(source, log.with_name(f"{log.name}.{number + 1}"))
    os.replace(log, log.with_name(f"{log.name}.1"))


def append(log: Path, *lines: str) -> None:
    """Append lines."""
    with log.open("ab") as file:
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


def texts(tail: LogTail) -> list[str]:
    """Return every line at hand."""
    lines = (tail.read(number) for number in range(tail.start, tail.end))
    return [line.raw.decode() for line in lines if line is not None]


def test_a_missing_log_says_so_and_is_found_when_it_comes(log: Path, tail: LogTail) -> None:
    """Files missing: a row says so; nothing is given up."""
    assert tail.poll() == 0
    assert "no log" in tail.trouble
    append(log, "first")
    assert tail.poll() == 1
    assert (texts(tail), tail.trouble) == (["first"], "")


def test_a_line_is_shown_only_when_it_is_complete(log: Path, tail: LogTail) -> None:
    """Half a line is not a line."""
    log.write_bytes(b"one\ntw")
    tail.poll()
    assert texts(tail) == ["one"]
    with log.open("ab") as file:
        file.write(b"o\n")
    tail.poll()
    assert texts(tail) == ["one", "two"]


def test_backups_are_one_stream_with_the_active_file(log: Path, tail: LogTail) -> None:
    """One virtual stream over active file and backups, oldest first."""
    for name in ("a", "b", "c"):
        append(log, name)
        rotate(log)
    append(log, "d")
    tail.poll()
    assert texts(tail) == ["a", "b", "c", "d"]


def test_several_rotations_between_two_polls_lose_nothing(log: Path, tail: LogTail) -> None:
    """The backups are walked back to the last inode known."""
    append(log, "a")
    tail.poll()
    append(log, "a2")
    for name in ("b", "c", "d"):
        rotate(log)
        append(log, name)
    tail.poll()
    assert texts(tail) == ["a", "a2", "b", "c", "d"]


def test_rotating_past_the_backups_is_marked_as_a_gap(log: Path, tail: LogTail) -> None:
    """When the last inode known is gone, the lines between are missing and the log says so."""
    append(log, "a")
    tail.poll()
    for number in range(6):
        rotate(log)
        append(log, f"r{number}")
    tail.poll()
    found = texts(tail)
    assert found[0] == "a"
    assert found[1].startswith("gap:")
    assert found[2:] == ["r2", "r3", "r4", "r5"]


def test_rotation_with_no_new_file_yet_is_followed_when_it_appears(log: Path, tail: LogTail) -> None:
    """Between rename and create there is no file of that name."""
    append(log, "a")
    tail.poll()
    rotate(log)
    assert tail.poll() == 0
    append(log, "b")
    tail.poll()
    assert texts(tail) == ["a", "b"]


def test_truncation_is_marked_and_read_again_from_the_start(log: Path, tail: LogTail) -> None:
    """copytruncate: the old lines are gone from disk, the new ones are shown."""
    append(log, "a", "b")
    tail.poll()
    log.write_bytes(b"c\n")
    tail.poll()
    found = texts(tail)
    assert found[:2] == ["(gone: the file was truncated)"] * 2
    assert "truncated" in found[2]
    assert found[3:] == ["c"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["write", "rotate", "poll"]), max_size=40), st.integers(0, 1000))
def test_no_line_is_lost_or_doubled_while_polls_keep_up(moves: list[str], seed: int) -> None:
    """Whatever the order of writes, rotations and polls, with at most two rotations between polls: every line once."""
    import tempfile

    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "x.log"
        append(log, "start")
        tail = LogTail(log)
        written = ["start"]
        since_poll = 0
        tail.poll()
        for move in moves:
            if move == "write":
                lines = [f"line {len(written) + number}" for number in range(rng.randrange(1, 4))]
                append(log, *lines)
                written += lines
            elif move == "rotate" and since_poll < 2:
                rotate(log)
                append(log, f"line {len(written)}")
                written.append(f"line {len(written)}")
                since_poll += 1
            else:
                tail.poll()
                since_poll = 0
        tail.poll()
        found = texts(tail)
        tail.close()
    assert found == written[-len(found) :]
    if moves.count("rotate") <= 5:  # later the oldest files are let go
        assert len(found) == len(written)


def test_long_lines_are_cut_at_four_kilobytes_with_a_note(log: Path, tail: LogTail) -> None:
    """A 100 kB line costs 4 kB of screen and says what was cut."""
    append(log, "x" * 100_000)
    tail.poll()
    line = tail.read(0)
    assert line is not None
    assert (len(line.raw), line.cut_bytes) == (MAX_LINE_BYTES, 100_000 - MAX_LINE_BYTES)
    assert render(line).text.endswith("[+95,904 bytes cut]")


def test_a_line_cannot_drive_the_terminal(log: Path, tail: LogTail) -> None:
    """Escape sequences, carriage returns, bidi overrides and markup are shown, not obeyed."""
    append(log, "\x1b[2J\x1b]0;owned\x07 [bold red]x[/] a\rb \u202egnp.exe", "bad \udcff\udcfe bytes")
    tail.poll()
    shown = [render(line).text for line in (tail.read(0), tail.read(1)) if line is not None]
    assert shown[0] == " ␛[2J␛]0;owned␇ [bold red]x[/] a␍b \ufffdgnp.exe"
    assert shown[1] == " bad \ufffd\ufffd bytes"


def test_a_json_line_reads_as_time_level_logger_message_and_fields(log: Path, tail: LogTail) -> None:
    """The daemon's lines are for people."""
    log.write_text(log_line(7, "WARNING", symbol="BTC", n=3))
    tail.poll()
    line = tail.read(0)
    assert line is not None
    assert render(line).text == " 05:31:07.007 WARNING  perp_bot.trading.loop  line 7  symbol=BTC n=3"


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1]", b'{"level":3}', b"\xff\xfe{}", b'{"msg":null,"ts":1e400}', b"[" * 3000]
)
def test_anything_renders(raw: bytes) -> None:
    """No line of a log can break the pane."""
    from perp_bot.tui.sources.log_files import LogLine

    assert render(LogLine(0, raw)).key == "0"


@pytest.mark.parametrize(
    ("raw", "rank"),
    [
        (b'{"ts":"x","level":"INFO","msg":"ERROR in text"}', 1),
        (b'{"level": "error"}', 3),
        (b"12:00 WARN something", 2),
        (b"no level at all", None),
    ],
)
def test_the_level_is_read_from_the_field_before_the_text(raw: bytes, rank: int | None) -> None:
    """An INFO line that speaks of an ERROR is an INFO line."""
    assert rank_of(raw) == rank


def test_the_filter_keeps_by_level_and_text_and_hides_nothing_by_a_guess() -> None:
    """Level and text both hold; `!` inverts the text; a line without a level passes every level."""
    info, error, plain = (log_line(1).encode(), log_line(2, "ERROR").encode(), b"traceback line 3")
    assert [Matcher(LogFilter("WARNING"))(raw) for raw in (info, error, plain)] == [False, True, True]
    assert [Matcher(LogFilter("DEBUG", "LINE 2"))(raw) for raw in (info, error, plain)] == [False, True, False]
    assert [Matcher(LogFilter("DEBUG", "!line 2"))(raw) for raw in (info, error, plain)] == [True, False, True]
    assert Matcher(LogFilter("DEBUG", "a[b"))(b"x a[b y")
    assert LogFilter("INFO").shifted(9).level == "CRITICAL"
    assert LogFilter("INFO").shifted(-9).level == "DEBUG"
