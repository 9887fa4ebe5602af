"""The program's log: one JSON line a record, no secrets, and never in the way."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from perp_bot.core.errors import UsageError
from perp_bot.ops import logging as log
from perp_bot.ops.logging import LogSystem, configure

SECRET = "0x" + "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw_"
Start = Callable[..., LogSystem]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "perp-bot.log"


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Configure the log; stopped, and the levels of all loggers restored, at the end."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in log.QUIET_LOGGERS}
    root_level = root.level
    running: list[LogSystem] = []

    def begin(**options: Any) -> LogSystem:
        for handler in list(root.handlers):
            root.removeHandler(handler)  # pytest's own raise on a bad log call; it adds them anew for every test
        system = configure(options.pop("log_path", path), **({"secrets": (SECRET, TOKEN)} | options))
        running.append(system)
        return system

    yield begin
    for system in running:
        system.stop()
    root.setLevel(root_level)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record_is_one_json_line_in_utc(start: Start, path: Path) -> None:
    """ts, level, logger, msg, then the extras as they were given."""
    system = start()
    extras = {"symbol": "BTC", "event": "order.sent", "sizes": [1, 2.5, None]}
    logging.getLogger("perp_bot.x").warning("sent %s at %.1f\nsecond line", "BTC", 2.5, extra=extras)
    assert system.flush(5)
    (line,) = lines(path)
    stamp = line.pop("ts")
    assert time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")
    assert stamp[19] == "."
    assert len(stamp) == 24
    assert stamp.endswith("Z")
    assert line == {"level": "WARNING", "logger": "perp_bot.x", "msg": "sent BTC at 2.5\nsecond line", **extras}


def test_an_exception_stands_in_its_own_field(start: Start, path: Path) -> None:
    """The whole traceback, in the same line."""
    system = start()
    try:
        raise ValueError("price\nbelow 0")
    except ValueError:
        logging.getLogger("perp_bot.x").exception("cannot quote")
    system.flush(5)
    (line,) = lines(path)
    assert line["msg"] == "cannot quote"
    assert line["exc"].startswith("Traceback (most recent call last):")
    assert line["exc"].endswith("ValueError: price\nbelow 0")


def test_no_secret_reaches_file_or_stream(start: Start, path: Path) -> None:
    """Canaries in message, arguments, extras, exception text, chained causes and logger name (I9)."""
    stream = io.StringIO()
    system = start(human_stream=stream)
    logger = logging.getLogger(f"perp_bot.{TOKEN}")
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as error:
            raise ValueError(f"https://api.telegram.org/bot{TOKEN}/x") from error
    except ValueError:
        logger.exception("key %s", SECRET[2:].upper(), extra={"nested": {SECRET: [TOKEN, {"a": SECRET.encode()}]}})
    logger.info(SECRET)
    logger.info("%s", ValueError(TOKEN))
    system.flush(5)
    system.stop()
    for text in (path.read_text(), stream.getvalue()):
        assert text.count("[redacted]") >= 5
        assert SECRET[2:].lower() not in text.lower()
        assert TOKEN.split(":")[1].lower() not in text.lower()
    assert len(lines(path)) == 3


def test_extras_cannot_overwrite_the_fields_of_a_line(start: Start, path: Path) -> None:
    """An extra named like a field gets another name; a mutable one is taken as it was."""
    system = start()
    items = [1]
    logging.getLogger("perp_bot.x").info("x", extra={"level": "mine", "items": items})
    items.append(2)
    system.flush(5)
    (line,) = lines(path)
    assert (line["level"], line["x_level"], line["items"]) == ("INFO", "mine", [1])


def test_a_bad_log_call_never_raises_and_is_counted(start: Start, path: Path) -> None:
    """A wrong format or an object that cannot be shown costs the arguments, not the trade."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    system = start()
    logger = logging.getLogger("perp_bot.x")
    logger.error("half %d", "x")
    logger.info("fine", extra={"value": Broken()})
    system.flush(5)
    assert [(line["level"], line["msg"], line["event"]) for line in lines(path)] == [
        ("ERROR", "half %d", "log.bad_call"),
        ("INFO", "fine", "log.bad_call"),
    ]
    assert system.health().failed == 2


def test_a_disk_that_refuses_is_counted_and_said_when_it_takes_lines_again(start: Start, path: Path) -> None:
    """Nothing is raised, and the gap is in the log."""
    path.mkdir()  # a folder in the way: every write fails
    system = start()
    logger = logging.getLogger("perp_bot.x")
    logger.info("one")
    logger.info("two")
    assert system.flush(5)
    health = system.health()
    assert health.failed == 2
    assert health.last_error is not None
    assert "IsADirectoryError" in health.last_error
    path.rmdir()
    logger.info("three")
    system.flush(5)
    assert [line["msg"] for line in lines(path)] == ["2 log lines are missing before this one", "three"]


@pytest.mark.slow
def test_a_hanging_terminal_holds_up_neither_the_caller_nor_the_file(start: Start, path: Path) -> None:
    """The pipe is full and nobody reads: lines still reach the file, and the stream's overflow is counted."""
    read_end, write_end = os.pipe()
    stream = os.fdopen(write_end, "w")
    system = start(human_stream=stream)
    logger = logging.getLogger("perp_bot.x")
    for _ in range(log._QUEUE_LINES + 2_000):
        logger.info("x" * 60)
    file_sink, stream_sink = system._sinks
    assert file_sink.flush(15)
    assert stream_sink.dropped > 0
    assert len(lines(path)) + file_sink.dropped >= log._QUEUE_LINES
    drain = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read_end, 65536), b"")])
    drain.start()
    system.stop(15)
    stream.close()
    drain.join()
    os.close(read_end)


def test_the_file_turns_over_with_whole_lines(start: Start, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotation at the size, at most three older files, every line valid JSON, the newest ones kept in order."""
    monkeypatch.setattr(log, "MAX_BYTES", 20_000)
    system = start()
    for number in range(1_500):
        logging.getLogger("perp_bot.x").info("line %d", number)
    assert system.flush(10)
    files = [path.with_name(f"{path.name}.{k}") for k in (3, 2, 1)] + [path]
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted(file.name for file in files)
    assert all(file.stat().st_size <= 20_000 for file in files)
    said = [line["msg"] for file in files for line in lines(file)]
    assert said == [f"line {number}" for number in range(1_500 - len(said), 1_500)]


def test_the_shipped_sizes_are_those_of_the_manual() -> None:
    """5 MiB x 3."""
    assert (log.MAX_BYTES, log.KEEP_FILES) == (5 * 1024 * 1024, 3)


def test_people_get_one_plain_line(start: Start) -> None:
    """What the venue sends cannot steer a terminal, and a traceback is its last line."""
    stream = io.StringIO()
    system = start(human_stream=stream)
    try:
        raise ValueError("low\nsecond")
    except ValueError:
        logging.getLogger("perp_bot.x").exception("bad \x1b[31mcoin\r\n", extra={"symbol": "BTC", "event": "e"})
    system.flush(5)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text[8:] == "Z ERROR    perp_bot.x: bad \\x1b[31mcoin\\r\\n symbol=BTC (second)\n"


def test_a_stream_of_a_narrow_encoding_loses_no_line(start: Start) -> None:
    """A terminal without umlauts shows them spelled out."""
    raw = io.BytesIO()
    stream: TextIO = io.TextIOWrapper(raw, encoding="ascii")
    system = start(log_path=None, human_stream=stream)
    logging.getLogger("perp_bot.x").info("größer")
    system.flush(5)
    assert b"gr\\xf6\\xdfer" in raw.getvalue()
    system.stop()


def test_third_party_loggers_are_quiet(start: Start, path: Path) -> None:
    """The web libraries speak from WARNING on; ours from the level that was asked for."""
    system = start(level="DEBUG")
    for name in ("aiohttp.access", "websocket", "urllib3.connectionpool"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble")
    logging.getLogger("perp_bot.x").debug("detail")
    system.flush(5)
    assert [line["msg"] for line in lines(path)] == ["trouble", "trouble", "trouble", "detail"]


def test_an_unknown_level_is_one_line(start: Start) -> None:
    """Named with what is allowed."""
    with pytest.raises(UsageError, match="not 'LOUD'"):
        start(level="LOUD")


def test_stop_writes_everything_and_takes_the_handler_away(start: Start, path: Path) -> None:
    """What was logged before the end is in the file; afterwards no thread and no handler is left."""
    threads, hook = set(threading.enumerate()), threading.excepthook
    system = start()
    for number in range(2_000):
        logging.getLogger("perp_bot.x").info("%d", number)
    system.stop(10)
    system.stop(10)
    assert [line["msg"] for line in lines(path)] == [str(number) for number in range(2_000)]
    assert set(threading.enumerate()) <= threads
    assert threading.excepthook is hook
    assert logging.getLogger().handlers == []


def test_a_process_that_ends_by_itself_leaves_its_last_lines(path: Path) -> None:
    """Without a call of stop the end of the interpreter writes them out, and a dying thread is in the log."""
    code = (
        "import logging, sys, threading; from pathlib import Path; from perp_bot.ops.logging import configure;"
        f"configure(Path(sys.argv[1]), secrets=['{SECRET}']);"
        f"t = threading.Thread(target=lambda: 1 / 0, name='feed'); t.start(); t.join();"
        "logging.getLogger('perp_bot.x').info('last words')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    said = lines(path)
    assert [line["msg"] for line in said] == ["feed died: division by zero", "last words"]
    assert "ZeroDivisionError" in said[0]["exc"]
