"""The other side of the socket, for the command line and the dashboard: blocking, with a timeout on everything."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import DaemonAway, IpcError, PerpBotError
from perp_bot.ipc.protocol import ControlResult, ErrorBody, Hello, Push, StateEnvelope
from perp_bot.ipc.state import PROTOCOL_VERSION, StateSnapshot

DEFAULT_TIMEOUT_S = 2.0
CONTROL_ANSWER_S = 7.0  # the server answers a control within 5 s, whatever the loop does
SILENCE_S = 5.0  # a subscription brings at least one heartbeat a second
_READ_BYTES = 256 * 1024
_MAX_REPLY_BYTES = 16 * 1024 * 1024


class _RawReply(msgspec.Struct):
    """A reply whose result is decoded once its type is known."""

    id: int | str | None
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorBody | None = None


class Client:
    """One connection to the daemon. Not thread-safe; use it as a context manager."""

    def __init__(
        self, socket_path: Path, timeout_s: float = DEFAULT_TIMEOUT_S, *, lock_path: Path | None = None
    ) -> None:
        """Connect.

        Args:
            socket_path: `RuntimePaths.socket`.
            timeout_s: limit for connecting and for reads that name no other.
            lock_path: `RuntimePaths.lock`, to say whether a daemon lives when none answers.

        Raises:
            DaemonAway: nothing answers there.
        """
        self._path = socket_path
        self._lock_path = lock_path
        self._timeout_s = timeout_s
        self._inbox = bytearray()
        self._next_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(os.fspath(socket_path))
        except OSError as error:
            self._socket.close()
            raise _away(socket_path, lock_path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._socket.fileno()

    # ------------------------------------------------------------ requests

    def hello(self) -> Hello:
        """Return who answers.

        Raises:
            IpcError: code `incompatible`, when it speaks another protocol version.
        """
        hello: Hello = self._decoded(self._read("hello"), Hello)
        if hello.protocol != PROTOCOL_VERSION:
            raise IpcError(
                f"the daemon (perpbot {hello.version}) speaks protocol {hello.protocol}, this perpbot "
                f"{PROTOCOL_VERSION}: restart the older one",
                code="incompatible",
            )
        return hello

    def state(self) -> tuple[StateSnapshot, float]:
        """Return the newest snapshot and how many seconds ago the loop published it (add it to every age)."""
        envelope: StateEnvelope = self._decoded(self._read("get_state"), StateEnvelope)
        return envelope.state, envelope.age_s

    def raw_state(self) -> bytes:
        """Return the result of `get_state` as JSON bytes."""
        return bytes(self._read("get_state"))

    def request(self, cmd: str, *, answer_within_s: float | None = None, **args: Any) -> Any:
        """Send any command and return its decoded result. Arguments that are None are left out.

        Raises:
            IpcError: refused, with its code; or code `timeout` when no answer came: then nothing is known.
            DaemonAway: the connection ended.
        """
        return msgspec.json.decode(self._ask(cmd, args, answer_within_s or self._timeout_s))

    def control(self, cmd: str, *, answer_within_s: float = CONTROL_ANSWER_S, **args: Any) -> ControlResult:
        """Send a control and return its typed outcome; errors as in `request`."""
        result: ControlResult = self._decoded(self._ask(cmd, args, answer_within_s), ControlResult)
        return result

    def wait_until(self, venue_ms: int, timeout_s: float = 30.0) -> ControlResult:
        """Return once the loop has settled the venue's time `venue_ms`."""
        args = {"venue_ms": venue_ms, "timeout_s": timeout_s}
        result: ControlResult = self._decoded(self._ask("wait_until", args, timeout_s + 1.0), ControlResult)
        return result

    def subscribe(self, interval_s: float | None = None, *, silence_s: float = SILENCE_S) -> Iterator[Push]:
        """Yield states and events as they come; the connection then serves nothing else.

        Raises:
            DaemonAway: the connection ended, or not even a heartbeat came for `silence_s`.
        """
        self._ask("subscribe", {"interval_s": interval_s}, self._timeout_s)
        while True:
            try:
                line = self._line(monotonic_s() + silence_s)
            except TimeoutError as error:
                raise DaemonAway(f"the daemon at {self._path} has sent nothing for {silence_s:g} s") from error
            yield self._decoded(line, Push)

    # ------------------------------------------------------------ wire

    def _read(self, cmd: str) -> msgspec.Raw:
        """Ask for something that changes nothing: no answer then means that the daemon is away."""
        try:
            return self._ask(cmd, {}, self._timeout_s)
        except IpcError as error:
            if error.code != "timeout":
                raise
            raise DaemonAway(
                f"the daemon at {self._path} takes connections but does not answer within {self._timeout_s:g} s"
                f"{_holder_text(self._lock_path)}; `perpbot kill` works without it"
            ) from error

    def _ask(self, cmd: str, args: dict[str, Any], within_s: float) -> msgspec.Raw:
        self._next_id += 1
        given = {name: value for name, value in args.items() if value is not None}
        line = msgspec.json.encode({"id": self._next_id, "cmd": cmd, "args": given}) + b"\n"
        deadline_s = monotonic_s() + within_s
        try:
            self._socket.settimeout(within_s)
            self._socket.sendall(line)
            reply = self._reply_to(self._next_id, deadline_s)
        except TimeoutError as error:
            raise IpcError(
                f"no answer to {cmd} within {within_s:g} s; what became of it is not known", code="timeout"
            ) from error
        except OSError as error:
            raise DaemonAway(
                f"the connection to the daemon at {self._path} broke: {error.strerror or error}"
            ) from error
        if reply.error is not None:
            raise IpcError(reply.error.message, code=reply.error.code)
        return reply.result

    def _reply_to(self, request_id: int, deadline_s: float) -> _RawReply:
        """Return the reply to `request_id`; late replies to earlier requests are passed over."""
        while True:
            reply: _RawReply = self._decoded(self._line(deadline_s), _RawReply)
            if reply.id == request_id or reply.id is None:
                return reply

    def _decoded(self, line: bytes | msgspec.Raw, kind: Any) -> Any:
        try:
            return _decoder(kind).decode(line)
        except msgspec.DecodeError as error:
            raise IpcError(
                f"what answers at {self._path} does not speak our protocol: {error}", code="malformed"
            ) from error

    def _line(self, deadline_s: float) -> bytes:
        searched = 0
        while True:
            end = self._inbox.find(b"\n", searched)
            if end >= 0:
                line = bytes(self._inbox[:end])
                del self._inbox[: end + 1]
                return line
            searched = len(self._inbox)
            if searched > _MAX_REPLY_BYTES:
                raise IpcError(f"what answers at {self._path} does not speak our protocol", code="malformed")
            left_s = deadline_s - monotonic_s()
            if left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            chunk = self._socket.recv(_READ_BYTES)
            if not chunk:
                raise DaemonAway(f"the daemon at {self._path} closed the connection")
            self._inbox += chunk


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _holder_text(lock_path: Path | None) -> str:
    """Return ` (pid N holds the lock)` when a daemon holds the instance lock, which is only looked at, never taken."""
    if lock_path is None:
        return ""
    from perp_bot.ops.instance_lock import holder

    try:
        pid = holder(lock_path)
    except PerpBotError as error:
        return f" ({error})"
    return f" (pid {pid} holds the lock)" if pid is not None else ""


def _away(socket_path: Path, lock_path: Path | None, error: OSError) -> DaemonAway:
    if isinstance(error, PermissionError):
        return DaemonAway(f"no permission to use the daemon's socket {socket_path}: it belongs to another user")
    holder = _holder_text(lock_path)
    if isinstance(error, TimeoutError | BlockingIOError):
        return DaemonAway(f"the daemon at {socket_path} does not take connections{holder}; `perpbot kill` works")
    if holder:
        return DaemonAway(f"a daemon lives{holder} but nothing answers at {socket_path}; `perpbot kill` works without")
    return DaemonAway(
        f"no daemon runs here (nothing answers at {socket_path}); start one with: perpbot trade (--paper or --live)"
    )
