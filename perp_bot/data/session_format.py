"""What a session recording holds, and how it is spelled in its files.

A segment begins with `MAGIC`; then blocks follow, each its length and checksum (two little-endian 32-bit numbers) and
zlib-compressed msgpack of a list of entries. A block that is cut short or damaged ends what can be read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from perp_bot.core.account_events import AccountEvent
from perp_bot.core.events import (
    BoundaryClosed,
    FeedOverflow,
    FundingSettled,
    MarketEvent,
    MissedMinutes,
    StreamStatus,
)
from perp_bot.core.types import AssetContext, Book, Candle, Instrument, PublicTrade

MAGIC = b"PERPREC1"
SEGMENT_SUFFIX = ".rec"
_HEAD = struct.Struct("<II")
_MAX_BLOCK = 1 << 30
_EVENTS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (BoundaryClosed, FeedOverflow, FundingSettled, MissedMinutes, StreamStatus, *get_args(AccountEvent))
}

Answer = tuple[int, str, Any]  # (number of the question within its pass, its name, what the world said)


class Opening(msgspec.Struct, tag="opening", array_like=True):
    """The state that the recorded loop began with, beside the rows of `start.db`."""

    speed: float | None  # of the venue's clock; None: stepped
    now_ms: int
    replay_from_ms: int | None  # start of the minute that a stepped venue sent again
    instruments: list[Instrument]
    force: bool
    book_max_age_ms: int
    venue: str
    killed: str | None  # the sentence of a latch that stood already
    histories: dict[str, tuple[Candle, ...]]  # closed candles of the primary timeframe, by symbol
    started: str  # the STARTED sentence
    started_ms: int
    emergencies: list[dict[str, Any]]
    answers: list[Answer]  # of the start-up


class Pass(msgspec.Struct, tag="pass", array_like=True):
    """One pass of the loop: its time, what it took, and what the world answered meanwhile."""

    now_ms: int
    frame_ms: int | None = None
    contexts: dict[str, tuple[AssetContext, ...]] = {}
    books: dict[str, Book] = {}
    first_books: dict[str, Book] = {}
    trades: list[PublicTrade] = []
    events: list[tuple[str, Any]] = []  # (name of its type, itself)
    controls: list[tuple[str, Any, int, int]] = []  # (command, arguments, pid, uid)
    answers: list[Answer] = []


class Ending(msgspec.Struct, tag="ending", array_like=True):
    """The recording is whole: the loop ended here."""

    text: str
    now_ms: int
    passes: int


class BooksOfPass(msgspec.Struct, tag="pass", array_like=True):
    """A pass of which only the time and the books are read: the rest, most of it trades, stays as it was written."""

    now_ms: int
    frame_ms: int | None = None
    contexts: msgspec.Raw = msgspec.Raw()
    books: dict[str, Book] = {}
    first_books: dict[str, Book] = {}


class TimeOfPass(msgspec.Struct, tag="pass", array_like=True):
    """A pass of which only the time is read."""

    now_ms: int


Entry = Opening | Pass | Ending
E = TypeVar("E")

_ENCODER = msgspec.msgpack.Encoder()
WHOLE = msgspec.msgpack.Decoder(list[Entry])
BOOKS = msgspec.msgpack.Decoder(list[Opening | BooksOfPass | Ending])
TIMES = msgspec.msgpack.Decoder(list[Opening | TimeOfPass | Ending])


def named(events: Sequence[MarketEvent]) -> list[tuple[str, Any]]:
    """Return events beside the names of their types."""
    return [(type(event).__name__, event) for event in events]


def events_of(named_events: Sequence[tuple[str, Any]]) -> list[MarketEvent]:
    """Return the events that `named` gave, after decoding."""
    return [msgspec.convert(event, _EVENTS[name]) for name, event in named_events]


def block_of(entries: Sequence[Entry]) -> bytes:
    """Return entries as one block."""
    packed = zlib.compress(_ENCODER.encode(list(entries)), 1)
    return _HEAD.pack(len(packed), zlib.crc32(packed)) + packed


def read_blocks(path: Path, decoder: msgspec.msgpack.Decoder[list[E]]) -> Iterator[list[E] | None]:
    """Yield the entries of each whole block of a segment; None, as the last, when it ends in a broken one.

    Args:
        path: the segment.
        decoder: `WHOLE`, or `BOOKS` or `TIMES` for less of each pass.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            yield None
            return
        while head := file.read(_HEAD.size):
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (_MAX_BLOCK + 1, 0)
            packed = file.read(length) if length <= _MAX_BLOCK else b""
            if len(packed) != length or zlib.crc32(packed) != checksum:
                yield None
                return
            try:
                yield decoder.decode(zlib.decompress(packed))
            except (msgspec.MsgspecError, zlib.error):  # whole, but not ours: another version wrote it
                yield None
                return
