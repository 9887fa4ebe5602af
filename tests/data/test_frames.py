"""WebSocket framing: any cut of the byte stream gives the same messages."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.data.frames import FrameReader, FramingError, Opcode


def frame(payload: bytes, opcode: int = Opcode.TEXT, *, final: bool = True) -> bytes:
    """Return a server frame as RFC 6455 writes it."""
    first = opcode | (0x80 if final else 0)
    size = len(payload)
    if size < 126:
        head = bytes([first, size])
    elif size < 65536:
        head = bytes([first, 126]) + struct.pack("!H", size)
    else:
        head = bytes([first, 127]) + struct.pack("!Q", size)
    return head + payload


def read(stream: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    reader = FrameReader()
    found: list[tuple[int, bytes]] = []
    at = 0
    for cut in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        while at < cut:
            space = reader.space()
            count = min(len(space), cut - at)
            space[:count] = stream[at : at + count]
            reader.filled(count)
            at += count
            found += [(opcode, bytes(payload)) for opcode, payload in reader.messages()]
    return found


@given(
    st.lists(st.tuples(st.sampled_from([1, 2, 9, 10]), st.binary(max_size=125)), max_size=12),
    st.lists(st.integers(0, 1500), max_size=12),
)
def test_messages_do_not_depend_on_how_the_bytes_arrive(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """TCP cuts a stream anywhere: every message comes out whole, once and in order."""
    stream = b"".join(frame(payload, opcode) for opcode, payload in messages)
    assert read(stream, cuts) == messages


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000, 1_000_000])
def test_every_length_form_is_read(size: int) -> None:
    """Lengths of 7, 16 and 64 bits, also longer than the buffer was at first."""
    payload = bytes(index % 251 for index in range(size))
    stream = frame(b"before") + frame(payload) + frame(b"after")
    assert read(stream, [3, 100_000]) == [(1, b"before"), (1, payload), (1, b"after")]


def test_fragments_are_joined_around_a_ping() -> None:
    """A control frame may come between the fragments of a message."""
    stream = frame(b"ab", final=False) + frame(b"!", Opcode.PING) + frame(b"cd", Opcode.CONTINUATION)
    assert read(stream, [1, 4]) == [(9, b"!"), (1, b"abcd")]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x81\x85abcd12345",  # masked: servers do not
        frame(b"x", Opcode.CONTINUATION),  # continues nothing
        frame(b"a", final=False) + frame(b"b"),  # a new message inside another
        b"\xc1\x01x",  # compressed: not agreed
        b"\x89\x7e\x00\x7f" + b"x" * 127,  # a ping too long
        b"\x81\x7f" + struct.pack("!Q", 2**40),  # absurdly long
    ],
)
def test_a_broken_stream_is_an_error(stream: bytes) -> None:
    """Better a new connection than numbers read at the wrong offset."""
    with pytest.raises(FramingError):
        read(stream, [])
