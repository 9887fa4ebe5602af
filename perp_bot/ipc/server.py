"""The daemon's side of the socket: one thread that serves every client from the newest immutable snapshot.

Nothing a client does can delay another client or the trading loop: all sockets are non-blocking, buffers are bounded,
and who does not read loses the connection. A kill is latched on disk here, on this thread, before it is answered, so
that it works while the trading loop hangs.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import IpcError
from perp_bot.ipc import listener, outcomes
from perp_bot.ipc.connection import Connection, ConnectionDropped, OversizedLine
from perp_bot.ipc.control import (
    CONTROL_COMMANDS,
    ControlArgs,
    ControlPort,
    ControlRequest,
    Outcome,
    deadline_after_s,
    parse_args,
)
from perp_bot.ipc.protocol import (
    COMMANDS,
    MAX_LINE_BYTES,
    ErrorBody,
    EventPush,
    Hello,
    Reply,
    Request,
)
from perp_bot.ipc.state import EventNote, StateSnapshot

LOG = logging.getLogger(__name__)

MAX_CLIENTS = 64
HEARTBEAT_S = 1.0
INTERVAL_MIN_S, INTERVAL_DEFAULT_S, INTERVAL_MAX_S = 0.05, 0.25, 5.0
_REQUESTS_PER_TURN = 32  # one client's share before the next one is served
_ACCEPT_PAUSE_S = 0.5
_MAX_EVENTS = 1000

_LISTENER, _WAKE = "listener", "wake"


@dataclass(frozen=True, slots=True)
class _Publication:
    """A snapshot and the moment it was published (monotonic seconds)."""

    number: int
    snapshot: StateSnapshot
    at_s: float


@dataclass(frozen=True, slots=True)
class _Pending:
    """A control that the trading loop has not answered yet."""

    connection: Connection
    request_id: int | str
    cmd: str
    deadline_s: float
    latch_error: str | None = None


class _SubscribeArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    interval_s: float = INTERVAL_DEFAULT_S


class IpcServer:
    """Serve `hello`, `get_state`, `subscribe` and the controls on a Unix socket."""

    def __init__(self, socket_path: Path, *, kill_latch: Path, hello: Hello, control: ControlPort) -> None:
        self._path = socket_path
        self._kill_latch = kill_latch
        self._hello = hello
        self._control = control
        self._listener: listener.Listener | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        # Shared with other threads: one reference, two deques and a wake-up.
        self._published: _Publication | None = None
        self._events: deque[EventNote] = deque(maxlen=_MAX_EVENTS)
        self._answers: deque[tuple[int, Outcome]] = deque()
        self._wake_lock = threading.Lock()
        self._wake_fd = -1
        self._is_woken = False
        # The socket thread's own.
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._subscribers: set[Connection] = set()
        self._ready: set[Connection] = set()  # more requests at hand than their share of a turn
        self._pending: dict[int, _Pending] = {}
        self._next_key = 0
        self._accept_again_s: float | None = None
        self._decode = msgspec.json.Decoder(Request).decode
        self._encode = msgspec.json.Encoder().encode
        self._encoded: tuple[int, bytes] = (0, b"")

    # ------------------------------------------------------------ any thread

    def start(self) -> None:
        """Bind the socket and start serving.

        Raises:
            DaemonBusy: another daemon answers at the path.
            IpcError: the path cannot be used.
        """
        self._listener = listener.listen(self._path)
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._listener.socket, selectors.EVENT_READ, _LISTENER)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, _WAKE)
        self._thread = threading.Thread(target=self._serve, name="ipc", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close every connection, remove the socket file and end the thread. Idempotent."""
        self._is_stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout_s)
        else:
            self._selector.close()  # never started, or refused at the start
        if self._listener is not None:
            self._listener.close()

    def publish(self, snapshot: StateSnapshot) -> None:
        """Make `snapshot` the one that is served. Costs the caller a reference and at most a wake-up."""
        last = self._published
        self._published = _Publication(last.number + 1 if last else 1, snapshot, monotonic_s())
        if self._subscribers:
            self._wake()

    def push_event(self, note: EventNote) -> None:
        """Send `note` to every subscriber."""
        if self._subscribers:
            self._events.append(note)
            self._wake()

    @property
    def viewers(self) -> int:
        """How many clients are subscribed."""
        return len(self._subscribers)

    def _wake(self) -> None:
        if self._is_woken:
            return
        with self._wake_lock:
            self._is_woken = True
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    # ------------------------------------------------------------ the socket thread

    def _serve(self) -> None:
        try:
            while not self._is_stopping:
                try:
                    self._turn()
                except Exception:
                    LOG.exception("the socket thread failed in a turn and goes on")
                    threading.Event().wait(0.05)  # never a hot loop of failures
        finally:
            self._close_all()

    def _turn(self) -> None:
        for key, mask in self._selector.select(self._timeout_s()):
            if key.data is _LISTENER:
                self._accept()
            elif key.data is _WAKE:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake_fd)
                self._is_woken = False  # before the queues are read: what comes later wakes again
            else:
                self._guarded(key.data, self._on_socket, mask)
        for connection in list(self._ready):
            self._guarded(connection, self._serve_requests)
        self._deliver_answers()
        now_s = monotonic_s()
        self._expire(now_s)
        self._push_events(now_s)
        self._push_states(now_s)

    def _timeout_s(self) -> float | None:
        """Return how long to sleep: until the first deadline, push or stall check; None = until something happens."""
        if self._ready:
            return 0.0
        now_s = monotonic_s()
        moments = [pending.deadline_s for pending in self._pending.values()]
        moments += [self._push_due_s(connection) for connection in self._subscribers]
        for connection in self._connections:
            if connection.closing_at_s is not None:
                moments.append(connection.closing_at_s)
            if connection.has_unsent:
                moments.append(now_s + 1.0)
        if self._accept_again_s is not None:
            moments.append(self._accept_again_s)
        return max(0.0, min(moments) - now_s) if moments else None

    def _guarded(self, connection: Connection, act: Any, *args: Any) -> None:
        """Run `act(connection, ...)`; whatever fails costs this client its connection and nobody else anything."""
        if connection not in self._connections:
            return
        try:
            act(connection, *args)
            self._watch(connection)
        except ConnectionDropped as error:
            LOG.debug("client %s dropped: %s", connection.peer.text, error)
            self._drop(connection)
        except Exception:
            LOG.exception("serving client %s failed; dropped", connection.peer.text)
            self._drop(connection)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            connected, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError, InterruptedError):
            return
        except OSError as error:  # out of file descriptors: the queue stays readable, so look away for a moment
            LOG.warning("cannot accept clients: %s", error.strerror or error)
            self._selector.unregister(self._listener.socket)
            self._accept_again_s = monotonic_s() + _ACCEPT_PAUSE_S
            return
        peer = listener.peer_of(connected)
        if peer.uid not in (os.getuid(), 0):
            LOG.warning("refused a client of another user: %s", peer.text)
            connected.close()
            return
        if len(self._connections) >= 2 * MAX_CLIENTS:  # those who were told `busy` do not leave either
            connected.close()
            return
        connection = Connection(connected, peer)
        self._connections.add(connection)
        self._selector.register(connected, selectors.EVENT_READ, connection)
        if len(self._connections) > MAX_CLIENTS:
            self._guarded(connection, self._refuse, "busy", f"more than {MAX_CLIENTS} clients are connected")

    def _on_socket(self, connection: Connection, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            connection.flush(monotonic_s())
        if mask & selectors.EVENT_READ and connection not in self._ready:
            connection.receive()
        self._serve_requests(connection)

    def _serve_requests(self, connection: Connection) -> None:
        """Answer this client's complete lines, up to its share, and only while it reads its answers."""
        self._ready.discard(connection)
        for _ in range(_REQUESTS_PER_TURN):
            if connection.has_unsent or connection.closing_at_s is not None:
                return
            try:
                line = connection.next_line()
            except OversizedLine:
                self._refuse(connection, "oversized", f"a line has at most {MAX_LINE_BYTES} bytes")
                return
            if line is None:
                return
            if line.strip():
                self._answer(connection, line)
        if connection.has_line and not connection.has_unsent:
            self._ready.add(connection)

    def _answer(self, connection: Connection, line: bytes) -> None:
        try:
            request = self._decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            self._reply(connection, outcomes.id_of(line), IpcError(f"not a request: {error}", code="malformed"))
            return
        try:
            self._dispatch(connection, request)
        except IpcError as error:
            self._reply(connection, request.id, error)

    def _dispatch(self, connection: Connection, request: Request) -> None:
        if request.cmd in CONTROL_COMMANDS:
            self._submit(connection, request, parse_args(request.cmd, request.args))
        elif request.cmd == "subscribe":
            self._subscribe(connection, request)
        elif request.cmd not in COMMANDS:
            known = ", ".join(COMMANDS)
            raise IpcError(f"unknown command {request.cmd[:40]!r}; known: {known}", code="unknown_command")
        elif request.args:
            raise IpcError(f"{request.cmd} takes no arguments", code="bad_args")
        elif request.cmd == "hello":
            self._reply(connection, request.id, self._hello)
        else:
            head = b'{"id":%b,"ok":true,"result":{' % self._encode(request.id)
            connection.send(head + self._state_body(monotonic_s()) + b"}}\n", monotonic_s())

    # ------------------------------------------------------------ state out

    def _state_body(self, now_s: float) -> bytes:
        """Return `"age_s":…,"state":{…}` of the newest snapshot, which is encoded once however many ask."""
        published = self._published
        if published is None:
            raise IpcError("the daemon is starting: no state yet", code="busy")
        if self._encoded[0] != published.number:
            self._encoded = (published.number, self._encode(published.snapshot))
        return b'"age_s":%.4f,"state":%b' % (max(0.0, now_s - published.at_s), self._encoded[1])

    def _subscribe(self, connection: Connection, request: Request) -> None:
        try:
            interval_s = msgspec.convert(request.args, _SubscribeArgs).interval_s
        except msgspec.ValidationError as error:
            raise IpcError(f"subscribe: {error}", code="bad_args") from error
        if not INTERVAL_MIN_S <= interval_s <= INTERVAL_MAX_S:
            allowed = f"from {INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g}"
            raise IpcError(f"subscribe: interval_s is {allowed}, not {interval_s:g}", code="bad_args")
        self._reply(connection, request.id, {"interval_s": interval_s, "heartbeat_s": HEARTBEAT_S})
        connection.interval_s = interval_s
        self._subscribers.add(connection)  # the first push follows in this turn

    def _push_due_s(self, connection: Connection) -> float:
        """Return when this subscriber gets its next state: at a change, not too often, and as a heartbeat."""
        if connection.has_unsent or connection.interval_s is None or self._published is None:
            return monotonic_s() + HEARTBEAT_S  # it gets the newest state once it has read the last
        if connection.pushed_publication == self._published.number:
            return connection.pushed_at_s + HEARTBEAT_S
        return connection.pushed_at_s + min(connection.interval_s, HEARTBEAT_S)

    def _push_states(self, now_s: float) -> None:
        published = self._published
        if published is None or not self._subscribers:
            return
        line: bytes | None = None
        for connection in list(self._subscribers):
            if self._push_due_s(connection) > now_s:
                continue
            if line is None:
                line = b'{"push":"state",' + self._state_body(now_s) + b"}\n"
            connection.pushed_at_s, connection.pushed_publication = now_s, self._encoded[0]
            self._guarded(connection, Connection.send, line, now_s)

    def _push_events(self, now_s: float) -> None:
        while self._events:
            line = self._encode(EventPush(self._events.popleft())) + b"\n"
            for connection in list(self._subscribers):
                self._guarded(connection, Connection.send, line, now_s)

    # ------------------------------------------------------------ controls in

    def _submit(self, connection: Connection, request: Request, args: ControlArgs) -> None:
        latch_error = self._latch(connection, args) if request.cmd == "kill" else None
        self._next_key += 1
        key = self._next_key
        deadline_s = monotonic_s() + deadline_after_s(request.cmd, args)
        self._pending[key] = _Pending(connection, request.id, request.cmd, deadline_s, latch_error)
        control = ControlRequest(
            cmd=request.cmd,
            args=args,
            peer=connection.peer,
            deadline_s=deadline_s,
            respond=lambda outcome: self._respond(key, outcome),
        )
        try:
            self._control.submit(control)
        except Exception as error:
            LOG.exception("the trading loop's queue refused %s", request.cmd)
            self._respond(key, IpcError(f"the trading loop took no request: {error}", code="busy"))

    def _latch(self, connection: Connection, args: ControlArgs) -> str | None:
        published = self._published
        venue_ms = published.snapshot.as_of_ms if published else None
        return outcomes.latch_kill(self._kill_latch, connection.peer, args.reason or "", venue_ms)

    def _respond(self, key: int, outcome: Outcome) -> None:
        """Take the loop's answer, on whatever thread."""
        self._answers.append((key, outcome))
        self._wake()

    def _deliver_answers(self) -> None:
        while self._answers:
            key, outcome = self._answers.popleft()
            pending = self._pending.pop(key, None)
            if pending is not None:  # else: answered with a timeout already
                self._finish(pending, outcome)

    def _expire(self, now_s: float) -> None:
        for key in [key for key, pending in self._pending.items() if pending.deadline_s <= now_s]:
            pending = self._pending.pop(key)
            self._finish(pending, outcomes.timed_out(pending.cmd))
        for connection in [item for item in self._connections if item.closing_at_s is not None or item.has_unsent]:
            if connection.closing_at_s is not None and connection.closing_at_s <= now_s:
                self._drop(connection)
            else:
                self._guarded(connection, self._on_socket, selectors.EVENT_WRITE)
        if self._accept_again_s is not None and self._accept_again_s <= now_s and self._listener is not None:
            self._accept_again_s = None
            self._selector.register(self._listener.socket, selectors.EVENT_READ, _LISTENER)

    def _finish(self, pending: _Pending, outcome: Outcome) -> None:
        if pending.cmd == "kill":
            outcome = outcomes.of_kill(outcome, pending.latch_error)
        self._guarded(pending.connection, self._reply, pending.request_id, outcome)

    # ------------------------------------------------------------ connections

    def _reply(self, connection: Connection, request_id: int | str | None, outcome: Any) -> None:
        if isinstance(outcome, IpcError):
            reply = Reply(request_id, ok=False, error=ErrorBody(outcome.code, str(outcome)))
        else:
            reply = Reply(request_id, ok=True, result=outcome)
        connection.send(self._encode(reply) + b"\n", monotonic_s())

    def _refuse(self, connection: Connection, code: str, message: str) -> None:
        """Send a last error and let the connection end."""
        self._reply(connection, None, IpcError(message, code=code))
        self._subscribers.discard(connection)
        connection.leave(monotonic_s())

    def _watch(self, connection: Connection) -> None:
        """Watch for room to write while there is something to send; read nothing meanwhile (back pressure)."""
        if connection not in self._connections or connection.has_unsent == connection.wants_write:
            return
        connection.wants_write = connection.has_unsent
        mask = selectors.EVENT_WRITE if connection.has_unsent else selectors.EVENT_READ
        self._selector.modify(connection.socket, mask, connection)

    def _drop(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._subscribers.discard(connection)
        self._ready.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()

    def _close_all(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
            self._drop(connection)
        self._selector.close()
        with self._wake_lock:
            os.close(self._wake_fd)
            self._wake_fd = -1
