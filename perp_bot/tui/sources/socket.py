"""The daemon's socket, read by one thread: facts for the store, replies for the controls.

It never gives up: every failure is reported with its reason and the time of the next try. Requests are written without
blocking; whether an answer comes is the business of `controls`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from perp_bot.core.clock import monotonic_s
from perp_bot.ipc.protocol import ErrorBody
from perp_bot.ipc.state import EventNote, StateSnapshot
from perp_bot.tui.store import FrameArrived, Heard, Link, LinkChanged, NoteArrived, protocol_mismatch

BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0)
CONNECT_TIMEOUT_S = 2.0
HELLO_TIMEOUT_S = 5.0
MAX_BUFFER_BYTES = 8 * 1024 * 1024  # a state of 200 positions is about 100 kB


class _Incoming(msgspec.Struct):
    """Any line from the daemon: a push or a reply."""

    push: str | None = None
    age_s: float = 0.0
    state: msgspec.Raw = msgspec.Raw()
    event: msgspec.Raw = msgspec.Raw()
    id: int | str | None = None
    ok: bool | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorBody | None = None


@dataclass(frozen=True, slots=True)
class ReplyArrived:
    """The daemon answered request `id`: `result` is its JSON."""

    id: int
    ok: bool
    result: bytes
    error: ErrorBody | None
    at_s: float


SocketFact = LinkChanged | FrameArrived | NoteArrived | Heard | ReplyArrived


class _Ended(Exception):
    """The connection is over: which state that is, and why."""

    def __init__(self, link: Link, reason: str) -> None:
        super().__init__(reason)
        self.link = link
        self.reason = reason


class SocketSource:
    """Owns the thread that talks to the daemon. `send`, `retry_now` and `stop` may be called from any thread."""

    def __init__(self, path: Path, put: Callable[[SocketFact], None], *, interval_s: float = 1.0) -> None:
        self._path = path
        self._put = put
        self._interval_s = interval_s
        self._thread = threading.Thread(target=self._run, name="tui-socket", daemon=True)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._guard = threading.Lock()
        self._outbox: deque[bytes] = deque()
        self._next_id = 100  # below: hello and subscribe
        self._stopping = threading.Event()
        self._rest = b""
        self._drop = False
        self._is_open = False
        self._states = msgspec.json.Decoder(StateSnapshot)
        self._notes = msgspec.json.Decoder(EventNote)
        self._lines = msgspec.json.Decoder(_Incoming)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread and close the connection."""
        self._stopping.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            for handle in (self._wake_read, self._wake_write):
                with contextlib.suppress(OSError):
                    os.close(handle)

    def retry_now(self, *, drop: bool = False) -> None:
        """Try to connect at once; with `drop` an open connection is closed first (resync)."""
        self._drop = self._drop or drop
        self._wake()

    def send(self, cmd: str, args: dict[str, Any]) -> int | None:
        """Queue a request and return its id, or None when there is no connection (nothing will be sent later)."""
        with self._guard:
            if not self._is_open:
                return None
            self._next_id += 1
            request_id = self._next_id
            line = msgspec.json.encode({"id": request_id, "cmd": cmd, "args": args}) + b"\n"
            self._outbox.append(line)
        self._wake()
        return request_id

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # a full pipe wakes as well; a closed one has nobody to wake
            os.write(self._wake_write, b"w")

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        attempt = 0
        while not self._stopping.is_set():
            self._put(LinkChanged(Link.CONNECTING, monotonic_s()))
            was_open_s = None
            try:
                with self._connect() as connection:
                    try:
                        self._greet(connection)
                        was_open_s = monotonic_s()
                        self._converse(connection)
                    except OSError as error:
                        raise _Ended(Link.CLOSED, f"connection lost: {error.strerror or error}") from error
            except _Ended as ended:
                self._close_outbox()
                if self._stopping.is_set():
                    return
                if was_open_s is not None and monotonic_s() - was_open_s > BACKOFF_S[-1]:
                    attempt = 0
                base_s = BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)]
                wait_s = base_s * random.uniform(0.8, 1.2)
                attempt += 1
                self._put(LinkChanged(ended.link, monotonic_s(), ended.reason, wait_s))
                if self._pause(wait_s):
                    attempt = 0

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(CONNECT_TIMEOUT_S)
        try:
            connection.connect(os.fspath(self._path))
        except OSError as error:
            connection.close()
            raise _Ended(*_connect_failure(error, self._path)) from error
        connection.setblocking(False)
        return connection

    def _greet(self, connection: socket.socket) -> None:
        """Check the protocol and subscribe before anything is shown as open."""
        connection.sendall(b'{"id":1,"cmd":"hello","args":{}}\n')  # a fresh socket's buffer takes it at once
        deadline_s = monotonic_s() + HELLO_TIMEOUT_S
        buffer = b""
        while b"\n" not in buffer:
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                raise _Ended(Link.CLOSED, f"connected, but no hello in {HELLO_TIMEOUT_S:.0f} s")
            watched: list[Any] = [connection, self._wake_read]
            readable, _, _ = select.select(watched, [], [], left_s)
            if self._wake_read in readable:
                self._empty_pipe()
                if self._stopping.is_set():
                    raise _Ended(Link.CLOSED, "viewer stopped")
            if connection not in readable:
                continue
            chunk = connection.recv(65536)
            if not chunk:
                raise _Ended(Link.CLOSED, "the daemon closed the connection at hello")
            buffer += chunk
            if len(buffer) > MAX_BUFFER_BYTES:
                raise _Ended(Link.CLOSED, "the daemon's hello has no end")
        line, self._rest = buffer.split(b"\n", 1)
        self._check_hello(line)
        subscribe = {"id": 2, "cmd": "subscribe", "args": {"interval_s": self._interval_s}}
        with self._guard:
            self._outbox.clear()
            self._outbox.append(msgspec.json.encode(subscribe) + b"\n")
            self._is_open = True
        self._put(LinkChanged(Link.OPEN, monotonic_s()))

    def _check_hello(self, line: bytes) -> None:
        try:
            answer = self._lines.decode(line)
            result = msgspec.json.decode(bytes(answer.result))
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise _Ended(Link.CLOSED, f"the answer to hello is not our protocol: {error}") from error
        if not answer.ok:
            text = answer.error.message if answer.error is not None else "no reason given"
            raise _Ended(Link.DENIED, f"the daemon refuses this viewer: {text}")
        found = result.get("protocol") if isinstance(result, dict) else None
        mismatch = protocol_mismatch(found)
        if mismatch is not None:
            raise _Ended(Link.INCOMPATIBLE, mismatch)

    def _converse(self, connection: socket.socket) -> None:
        pending = b""
        buffer = bytearray(self._rest)
        self._handle_lines(buffer)
        while not self._stopping.is_set():
            if not pending:
                pending = self._take_outbox()
            writers: list[Any] = [connection] if pending else []
            watched: list[Any] = [connection, self._wake_read]
            readable, writable, _ = select.select(watched, writers, [])
            if self._wake_read in readable:
                self._empty_pipe()
                if self._drop:
                    self._drop = False
                    raise _Ended(Link.CLOSED, "dropped to resync")
            with contextlib.suppress(BlockingIOError):
                if connection in writable:
                    pending = pending[connection.send(pending) :]
                if connection in readable:
                    chunk = connection.recv(262_144)
                    if not chunk:
                        raise _Ended(Link.CLOSED, "the daemon closed the connection")
                    buffer += chunk
                    self._handle_lines(buffer)
            if len(buffer) > MAX_BUFFER_BYTES:
                raise _Ended(Link.CLOSED, "the daemon sent a line without an end")
        raise _Ended(Link.CLOSED, "viewer stopped")

    def _take_outbox(self) -> bytes:
        with self._guard:
            lines = b"".join(self._outbox)
            self._outbox.clear()
        return lines

    def _close_outbox(self) -> None:
        with self._guard:
            self._is_open = False
            self._outbox.clear()

    def _empty_pipe(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass

    def _handle_lines(self, buffer: bytearray) -> None:
        end = buffer.rfind(b"\n")
        if end < 0:
            return
        lines = bytes(buffer[:end]).split(b"\n")
        del buffer[: end + 1]
        for line in lines:
            if line.strip():
                self._handle_line(line)

    def _handle_line(self, line: bytes) -> None:
        at_s = monotonic_s()
        try:
            found = self._lines.decode(line)
            if found.push == "state":
                self._put(FrameArrived(self._states.decode(found.state), found.age_s, at_s))
            elif found.push == "event":
                self._put(NoteArrived(self._notes.decode(found.event), at_s))
            elif isinstance(found.id, int) and found.ok is not None:
                self._put_reply(found.id, found, at_s)
            else:
                self._put(Heard(at_s))  # a push of a newer daemon: ignored, but a sign of life
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
            raise _Ended(Link.CLOSED, f"the daemon sent a line that this version cannot read: {error}") from error

    def _put_reply(self, request_id: int, found: _Incoming, at_s: float) -> None:
        if request_id == 2 and not found.ok:
            text = found.error.message if found.error is not None else "no reason given"
            raise _Ended(Link.CLOSED, f"the daemon refuses to send its state: {text}")
        self._put(Heard(at_s))
        if request_id > 2:
            self._put(ReplyArrived(request_id, bool(found.ok), bytes(found.result), found.error, at_s))

    def _pause(self, wait_s: float) -> bool:
        """Wait before the next try; return whether somebody asked to try now."""
        readable, _, _ = select.select([self._wake_read], [], [], wait_s)
        if not readable:
            return False
        self._empty_pipe()
        self._drop = False
        return True


def _connect_failure(error: OSError, path: Path) -> tuple[Link, str]:
    if error.errno in (errno.EACCES, errno.EPERM):
        return Link.DENIED, f"no permission to open {path} (needs mode 0600 and the daemon's user)"
    if error.errno == errno.ENOENT:
        return Link.REFUSED, f"no socket at {path}"
    if error.errno == errno.ECONNREFUSED:
        return Link.REFUSED, f"nobody listens on {path}"
    if isinstance(error, TimeoutError):
        return Link.CLOSED, f"no answer on {path} in {CONNECT_TIMEOUT_S:.0f} s"
    return Link.REFUSED, f"cannot connect to {path}: {error.strerror or error}"
