"""One client's connection on the server's side: bounded buffers, never a blocking call."""

from __future__ import annotations

import socket

from perp_bot.ipc.control import Peer
from perp_bot.ipc.protocol import MAX_LINE_BYTES

_READ_BYTES = 64 * 1024
MAX_OUT_BYTES = 512 * 1024
STALL_S = 5.0
LINGER_S = 2.0


class ConnectionDropped(Exception):
    """The connection is over: gone, not reading, or told to leave."""


class OversizedLine(Exception):
    """The line that is arriving is longer than the protocol allows."""


class Connection:
    """A connected client: its unread lines, its unsent bytes, its subscription."""

    __slots__ = (
        "_inbox",
        "_outbox",
        "_sending_since_s",
        "closing_at_s",
        "interval_s",
        "peer",
        "pushed_at_s",
        "pushed_publication",
        "socket",
        "wants_write",
    )

    def __init__(self, connected: socket.socket, peer: Peer) -> None:
        connected.setblocking(False)
        self.socket = connected
        self.peer = peer
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._sending_since_s = 0.0
        self.closing_at_s: float | None = None  # told to leave: what still comes is thrown away until then
        self.interval_s: float | None = None  # None = not subscribed
        self.pushed_at_s = 0.0
        self.pushed_publication = 0
        self.wants_write = False  # whether the selector watches for room to write

    @property
    def has_unsent(self) -> bool:
        """Whether the client has not taken all that it was sent."""
        return bool(self._outbox)

    @property
    def has_line(self) -> bool:
        """Whether a complete request waits in the buffer."""
        return b"\n" in self._inbox

    def receive(self) -> None:
        """Read once what has arrived.

        Raises:
            ConnectionDropped: at the end of the stream.
        """
        try:
            chunk = self.socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            raise ConnectionDropped(error.strerror or str(error)) from error
        if not chunk:
            raise ConnectionDropped("closed by the client")
        if self.closing_at_s is None:
            self._inbox += chunk

    def next_line(self) -> bytes | None:
        """Return the next complete line without its end, or None.

        Raises:
            OversizedLine: when it is too long, complete or not.
        """
        end = self._inbox.find(b"\n")
        if end > MAX_LINE_BYTES or (end < 0 and len(self._inbox) > MAX_LINE_BYTES):
            raise OversizedLine
        if end < 0:
            return None
        line = bytes(self._inbox[:end])
        del self._inbox[: end + 1]
        return line

    def send(self, line: bytes, now_s: float) -> None:
        """Send `line` or queue what the client does not take yet.

        Raises:
            ConnectionDropped: when it reads so slowly that the buffer is full, or is gone.
        """
        if self._outbox:
            if len(self._outbox) + len(line) > MAX_OUT_BYTES:
                raise ConnectionDropped("does not read what it is sent")
            self._outbox += line
            return
        sent = self._send_now(line)
        if sent < len(line):
            self._outbox += line[sent:]
            self._sending_since_s = now_s

    def flush(self, now_s: float) -> None:
        """Send what is queued, as far as the client takes it.

        Raises:
            ConnectionDropped: when it took nothing for `STALL_S`, or is gone.
        """
        if not self._outbox:
            return
        sent = self._send_now(self._outbox)
        if sent:
            del self._outbox[:sent]
            self._sending_since_s = now_s
        elif now_s - self._sending_since_s > STALL_S:
            raise ConnectionDropped(f"took nothing for {STALL_S:g} s")

    def leave(self, now_s: float) -> None:
        """Take no more requests; close once the answer is out and the client has had time to read it."""
        self.closing_at_s = now_s + LINGER_S
        self.interval_s = None
        self._inbox.clear()

    def _send_now(self, content: bytes | bytearray) -> int:
        try:
            return self.socket.send(content)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise ConnectionDropped(error.strerror or str(error)) from error
