"""The program's log: JSON lines in a rotating file, human lines on a stream, without secrets, never in the way.

A thread that logs only formats its message and appends it to bounded queues; a file thread and a stream thread write
them, each at its own pace, so that a hanging disk or a terminal that is not read holds up nobody. What finds no room
or cannot be written is counted, and the count is logged as soon as something can be written again.

A line: {"ts": "2026-01-31T18:00:00.123Z", "level": "INFO", "logger": "...", "msg": "...", <extras>, "exc": "..."}.
"""

from __future__ import annotations

import atexit
import json
import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import UsageError
from perp_bot.ops.redaction import Redactor
from perp_bot.ops.rotating_file import RotatingFile

MAX_BYTES = 5 * 1024 * 1024
KEEP_FILES = 3
QUIET_LOGGERS = ("aiohttp", "asyncio", "websocket", "urllib3", "hyperliquid", "numba", "eth_account")

FILE_ONLY = "file_only"  # extra of a record that people are told in another way

_QUEUE_LINES = 20_000
_RESERVED = ("ts", "level", "logger", "msg", "exc")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class LogHealth:
    """What the log could not keep."""

    dropped: int  # lines that found no room in a queue
    failed: int  # lines that could not be written
    last_error: str | None


@dataclass(frozen=True, slots=True)
class _Line:
    """One record, formatted by the thread that logged it; nothing in it changes any more."""

    created_s: float
    level: str
    logger: str
    msg: str
    extras: dict[str, Any]
    exc: str | None


class _Sink:
    """A bounded queue and the thread that writes what is in it."""

    def __init__(self, name: str, write: Callable[[_Line], None], close: Callable[[], None] | None = None) -> None:
        self._write = write
        self._close = close
        self._lines: deque[_Line] = deque()
        self._wakeup = threading.Condition()
        self._is_stopping = False
        self._is_writing = False
        self.dropped = 0
        self.failed = 0
        self.last_error: str | None = None
        self._reported = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, line: _Line) -> None:
        with self._wakeup:
            if len(self._lines) >= _QUEUE_LINES or self._is_stopping:
                self.dropped += 1
                return
            self._lines.append(line)
            self._wakeup.notify()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything put so far was tried; False when that took too long."""
        with self._wakeup:
            return self._wakeup.wait_for(lambda: not self._lines and not self._is_writing, timeout_s)

    def stop(self, timeout_s: float) -> None:
        with self._wakeup:
            self._is_stopping = True
            self._wakeup.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        self._write_all()
        if self._close is not None:
            self._close()

    def _write_all(self) -> None:
        while True:
            with self._wakeup:
                self._is_writing = False
                self._wakeup.notify_all()
                self._wakeup.wait_for(lambda: self._lines or self._is_stopping)
                if not self._lines:
                    return
                line = self._lines.popleft()
                self._is_writing = True
            self._try(line)

    def _try(self, line: _Line) -> None:
        try:
            missing = self.dropped + self.failed - self._reported
            if missing:
                note = f"{missing} log lines are missing before this one"
                extras = {"event": "log.missing", "lines": missing, "error": self.last_error}
                self._write(_Line(line.created_s, "ERROR", __name__, note, extras, None))
                self._reported += missing
            self._write(line)
        except Exception as error:  # noqa: BLE001 - the edge of the thread: counted, and said as soon as it can be
            self.failed += 1
            self.last_error = f"{type(error).__name__}: {error}"


class _Handler(logging.Handler):
    """Turn a record into a line and hand it to the sinks."""

    def __init__(self, sinks: tuple[_Sink, ...], redactor: Redactor) -> None:
        super().__init__()
        self._sinks = sinks
        self._redactor = redactor
        self.failed = 0
        self.last_error: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _line_of(record, self._redactor)
        except Exception as error:  # noqa: BLE001 - a bad argument in a log call must not end trading; counted
            self.failed += 1
            self.last_error = f"{type(error).__name__} in a log call of {record.name}:{record.lineno}"
            said = self._redactor.text(record.msg) if isinstance(record.msg, str) else ""
            extras = {"event": "log.bad_call", "error": self.last_error}
            line = _Line(record.created, record.levelname, self._redactor.text(record.name), said, extras, None)
        for sink in self._sinks:
            sink.put(line)


class LogSystem:
    """The running log; `stop` writes out what is queued."""

    def __init__(self, handler: _Handler, sinks: tuple[_Sink, ...]) -> None:
        self._handler = handler
        self._sinks = sinks
        self._is_stopped = False
        self._old_excepthook = threading.excepthook

    def start(self, level: int) -> None:
        """Become the root logger's handler."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        root.setLevel(level)
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(max(logging.WARNING, level))
        threading.excepthook = _log_thread_death
        atexit.register(self.stop)

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until every line so far was written or counted; False when that took too long."""
        deadline_s = monotonic_s() + timeout_s
        return all(sink.flush(max(0.0, deadline_s - monotonic_s())) for sink in self._sinks)

    def health(self) -> LogHealth:
        """Return what could not be kept."""
        errors = [sink.last_error for sink in self._sinks if sink.last_error] + [self._handler.last_error]
        failed = self._handler.failed + sum(sink.failed for sink in self._sinks)
        return LogHealth(sum(sink.dropped for sink in self._sinks), failed, errors[0])

    def stop(self, timeout_s: float = 2.0) -> None:
        """Write out what is queued, within `timeout_s` a sink, and take the handler away; harmless when repeated."""
        if self._is_stopped:
            return
        self._is_stopped = True
        atexit.unregister(self.stop)
        logging.getLogger().removeHandler(self._handler)
        if threading.excepthook is _log_thread_death:
            threading.excepthook = self._old_excepthook
        for sink in self._sinks:
            sink.stop(timeout_s)


def configure(
    log_path: Path | None,
    *,
    secrets: Iterable[str],
    level: int | str = logging.INFO,
    human_stream: TextIO | None = None,
) -> LogSystem:
    """Send all logging of the process to `log_path` (JSON lines) and `human_stream`; either may be None.

    A file that cannot be written is no error: its lines are counted (`LogSystem.health`), the next ones tried again.

    Raises:
        UsageError: for an unknown level.
    """
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if number is None:
        raise UsageError(f"log level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not {level!r}")
    redactor = Redactor(secrets)
    sinks: list[_Sink] = []
    if log_path is not None:
        file = RotatingFile(log_path, max_bytes=MAX_BYTES, keep=KEEP_FILES)
        sinks.append(_Sink("log-file", lambda line: file.write_line(_json(line, redactor).encode("ascii")), file.close))
    if human_stream is not None:
        stream = human_stream
        sinks.append(_Sink("log-stream", lambda line: _write_human(stream, line, redactor)))
    system = LogSystem(_Handler(tuple(sinks), redactor), tuple(sinks))
    system.start(number)
    return system


def _line_of(record: logging.LogRecord, redactor: Redactor) -> _Line:
    exc = None
    if record.exc_info and record.exc_info[1] is not None:
        exc = redactor.text("".join(traceback.format_exception(*record.exc_info)).rstrip())
    extras: dict[str, Any] = {}
    for key, value in vars(record).items():
        if key not in _STANDARD:
            extras[f"x_{key}" if key in _RESERVED else redactor.text(key)] = redactor.value(value)
    message = redactor.text(record.getMessage())
    return _Line(record.created, record.levelname, redactor.text(record.name), message, extras, exc)


def _json(line: _Line, redactor: Redactor) -> str:
    stamp = datetime.fromtimestamp(line.created_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    content: dict[str, Any] = {"ts": stamp, "level": line.level, "logger": line.logger, "msg": line.msg, **line.extras}
    if line.exc is not None:
        content["exc"] = line.exc
    text = json.dumps(content, separators=(",", ":"))
    if redactor.text(text) != text:
        # Only the whole line shows it (a secret put together across fields): keep when and where, drop what.
        kept = {"ts": stamp, "level": line.level, "logger": line.logger, "msg": "[line redacted]"}
        text = redactor.text(json.dumps(kept, separators=(",", ":")))
    return text


def _write_human(stream: TextIO, line: _Line, redactor: Redactor) -> None:
    if line.extras.get(FILE_ONLY):
        return  # the one clear line is printed by the command itself
    stamp = datetime.fromtimestamp(line.created_s, UTC).strftime("%H:%M:%S")
    extras = "".join(f" {key}={value}" for key, value in line.extras.items() if key != "event" and value is not None)
    cause = f" ({line.exc.rsplit(chr(10), 1)[-1]})" if line.exc else ""  # the whole of it stands in the file
    text = redactor.text(f"{stamp}Z {line.level:<8} {line.logger}: {line.msg}{extras}{cause}")
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(visible(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def visible(text: str) -> str:
    """Return `text` on one line with control characters spelled out: what a venue sends must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def _log_thread_death(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread is not None else "a thread"
    value = args.exc_value if args.exc_value is not None else args.exc_type()
    logging.getLogger(__name__).critical(
        "%s died: %s", name, value, exc_info=(args.exc_type, value, args.exc_traceback),
        extra={"event": "thread.died", "thread_name": name},
    )  # fmt: skip
