"""WebSocket framing of a server's bytes: many messages out of one read, without copying them.

`websocket-client` makes the connection and sends; reading through it costs three system calls and several objects a
message, which bounds a client to about 80,000 messages a second before they are decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

FIRST_CAPACITY = 256 * 1024
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class Opcode(IntEnum):
    """Frame types of RFC 6455."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class FramingError(Exception):
    """The bytes are not what a WebSocket server sends; the connection is of no more use."""


class FrameReader:
    """Cut a byte stream into messages.

    Use: `count = socket.recv_into(reader.space())`, `reader.filled(count)`, then read all of `reader.messages()`.
    A yielded view is valid until the next one is asked for.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(FIRST_CAPACITY)
        self._view = memoryview(self._buffer)
        self._head = 0
        self._tail = 0
        self._parts: bytearray | None = None  # a fragmented message under way
        self._parts_opcode = Opcode.TEXT

    def space(self) -> memoryview:
        """Return free space to receive into."""
        if self._head == self._tail:
            self._head = self._tail = 0
        elif self._tail == len(self._buffer):
            self._make_room()
        return self._view[self._tail :]

    def filled(self, count: int) -> None:
        """Say how many bytes were received."""
        self._tail += count

    def _make_room(self) -> None:
        kept = self._tail - self._head
        if self._head == 0:
            grown = bytearray(2 * len(self._buffer))
            grown[:kept] = self._view
            self._buffer = grown
            self._view = memoryview(grown)
        else:
            self._view[:kept] = bytes(self._view[self._head : self._tail])
        self._head, self._tail = 0, kept

    def messages(self) -> Iterator[tuple[int, memoryview]]:
        """Yield (opcode, payload) of every complete message; raise FramingError when the stream is broken."""
        while True:
            head, available = self._head, self._tail - self._head
            if available < 2:
                return
            buffer = self._buffer
            first, second = buffer[head], buffer[head + 1]
            size, skip = second, 2
            if size > 125:
                if size & 0x80:
                    raise FramingError("the server masks its frames")
                skip = 4 if size == 126 else 10
                if available < skip:
                    return
                size = int.from_bytes(buffer[head + 2 : head + skip], "big")
                if size > MAX_MESSAGE_BYTES:
                    raise FramingError(f"a frame of {size} bytes exceeds {MAX_MESSAGE_BYTES}")
            if available < skip + size:
                return
            start = head + skip
            self._head = start + size
            payload = self._view[start : start + size]
            if 0x81 <= first <= 0x82 and self._parts is None:
                yield first & 0x0F, payload
            else:
                yield from self._unusual(first, payload)

    def _unusual(self, first: int, payload: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Handle control frames and fragments."""
        opcode, is_final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise FramingError("the server uses an extension that was not agreed")
        if opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            if not is_final or len(payload) > 125:
                raise FramingError("a control frame is fragmented or too long")
            yield opcode, payload
            return
        if opcode in (Opcode.TEXT, Opcode.BINARY) and self._parts is None:
            self._parts, self._parts_opcode = bytearray(payload), Opcode(opcode)
        elif opcode == Opcode.CONTINUATION and self._parts is not None:
            self._parts += payload
        else:
            raise FramingError(f"a frame with opcode {opcode} is out of place")
        if len(self._parts) > MAX_MESSAGE_BYTES:
            raise FramingError(f"a message exceeds {MAX_MESSAGE_BYTES} bytes")
        if is_final:
            whole, self._parts = self._parts, None
            yield self._parts_opcode, memoryview(whole)
