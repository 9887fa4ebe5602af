"""Typed frames from real and from broken bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perp_bot.core.errors import BadAnswer
from perp_bot.core.types import BookLevel, CandleSource, OrderSide
from perp_bot.data.messages import (
    BookFrame,
    CandleFrame,
    ContextFrame,
    ErrorFrame,
    PongFrame,
    PracticeClockFrame,
    SubscribedFrame,
    TradesFrame,
    UnknownChannel,
    decode,
)
from perp_bot.data.wire import book_of, candle_of, context_of, trade_of

RECORDED = Path(__file__).parent / "recorded_stream.txt"


def test_recorded_frames_of_the_real_venue_decode() -> None:
    """Frames recorded on 2025-01-26 (MIT, see ATTRIBUTION.md): uncrossed, 20 levels a side."""
    books = trades = 0
    for line in RECORDED.read_bytes().splitlines():
        frame = decode(line)
        if isinstance(frame, BookFrame):
            book = book_of(frame.data)
            assert book.symbol == "BTC"
            assert len(book.bids) == len(book.asks) == 20
            assert book.bids[0].px < book.asks[0].px
            raw = json.loads(line)["data"]["levels"][0][0]
            assert book.bids[0] == BookLevel(float(raw["px"]), float(raw["sz"]))
            books += 1
        elif isinstance(frame, TradesFrame):
            assert [trade_of(row).px for row in frame.data] == [float(row["px"]) for row in json.loads(line)["data"]]
            trades += 1
    assert (books, trades) == (6, 3)


def test_every_channel_decodes_to_its_type() -> None:
    """One frame of each channel in the venue's shape."""
    context = {"funding": "0.0000125", "openInterest": "27353.18", "prevDayPx": "76317.0", "dayNtlVlm": "1516669192.19"}
    context |= {"premium": "-0.00059", "oraclePx": "75510.0", "markPx": "75465.0", "midPx": None, "impactPxs": None}
    row = {
        "t": 1790232180000,
        "T": 1790232239999,
        "s": "BTC",
        "i": "1m",
        "o": "2.0",
        "c": "1.5",
        "h": "2.0",
        "l": "1.0",
    }
    frames: list[tuple[dict[str, Any], type]] = [
        ({"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": context}}, ContextFrame),
        ({"channel": "candle", "data": row | {"v": "14.2", "n": 114}}, CandleFrame),
        ({"channel": "pong"}, PongFrame),
        ({"channel": "error", "data": "Already subscribed: {}"}, ErrorFrame),
        ({"channel": "practiceClock", "data": {"time": 5, "speed": None, "step": 3}}, PracticeClockFrame),
        ({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": {}}}, SubscribedFrame),
    ]
    for message, kind in frames:
        assert type(decode(json.dumps(message).encode())) is kind


def test_a_context_keeps_missing_values_missing() -> None:
    """A null mid is None, never 0; a coin without a mark has no context at all."""
    frame = decode(
        b'{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"markPx":"10.5","oraclePx":"10","midPx":null}}}'
    )
    assert isinstance(frame, ContextFrame)
    context = context_of("BTC", 7, frame.data.ctx)
    assert context is not None
    assert (context.mark_px, context.mid_px, context.premium, context.open_interest) == (10.5, None, None, None)
    empty = decode(b'{"channel":"activeAssetCtx","data":{"coin":"OLD","ctx":{"markPx":"0.0","oraclePx":"0.0"}}}')
    assert isinstance(empty, ContextFrame)
    assert context_of("OLD", 7, empty.data.ctx) is None


def test_trades_carry_the_aggressors_side() -> None:
    """B is a buy, A a sell."""
    text = '{"channel":"trades","data":[{"coin":"BTC","side":"%s","px":"1","sz":"2","time":3,"tid":4,"users":[]}]}'
    sides = []
    for letter in "BA":
        frame = decode((text % letter).encode())
        assert isinstance(frame, TradesFrame)
        sides.append(trade_of(frame.data[0]).aggressor)
    assert sides == [OrderSide.BUY, OrderSide.SELL]


@pytest.mark.parametrize(
    "payload",
    [
        b"<html>bad gateway</html>",
        b"",
        b"null",
        b"\xff\xfe",
        b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"NaN","sz":"2","time":3,"tid":4}]}',
        b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"1","sz":"-2","time":3,"tid":4}]}',
        b'{"channel":"trades","data":[{"coin":"BTC","side":"C","px":"1","sz":"2","time":3,"tid":4}]}',
        b'{"channel":"activeAssetCtx","data":{"coin":"BTC","ctx":{"markPx":"inf","oraclePx":"1"}}}',
        b'{"channel":"l2Book","data":{"coin":"BTC","time":1,"levels":[[]]}}',
        b'{"channel":"practiceClock","data":{"time":"soon","speed":null,"step":1}}',
    ],
)
def test_what_is_not_a_finite_number_or_not_json_is_refused(payload: bytes) -> None:
    """No invented data (I10): a broken frame is an error, never a value."""
    with pytest.raises(BadAnswer):
        decode(payload)


def test_an_unknown_channel_is_told_apart_from_a_broken_frame() -> None:
    """The venue may add channels; that is no fault."""
    with pytest.raises(UnknownChannel, match="webData9"):
        decode(b'{"channel":"webData9","data":{}}')


@pytest.mark.parametrize(
    ("levels", "problem"),
    [
        ('[[{"px":"11","sz":"1"}],[{"px":"10","sz":"1"}]]', "crossed"),
        ('[[{"px":"10","sz":"1"},{"px":"NaN","sz":"1"}],[]]', "finite"),
        ('[[{"px":"10","sz":"inf"}],[]]', "finite"),
        ('[[{"px":"10","sz":"0"}],[]]', "bids"),
        ('[[],[{"px":"-1","sz":"1"}]]', "asks"),
        ('[[],[{"px":"12","sz":"1"},{"px":"11","sz":"1"}]]', "asks"),
    ],
)
def test_an_impossible_book_is_refused(levels: str, problem: str) -> None:
    """Crossed, unsorted, non-positive or non-finite books never reach the loop."""
    frame = decode(f'{{"channel":"l2Book","data":{{"coin":"BTC","time":1,"levels":{levels}}}}}'.encode())
    assert isinstance(frame, BookFrame)
    with pytest.raises(BadAnswer, match=problem):
        book_of(frame.data)


@pytest.mark.parametrize(
    ("change", "problem"), [({"h": "0.5"}, "contradict"), ({"l": "1.9"}, "contradict"), ({"t": 1790232180001}, "grid")]
)
def test_an_impossible_candle_is_refused(change: dict[str, Any], problem: str) -> None:
    """High below close, low above open, or an open time off the interval's grid."""
    row = {
        "t": 1790232180000,
        "T": 0,
        "s": "BTC",
        "i": "1m",
        "o": "1.5",
        "c": "2.0",
        "h": "2.0",
        "l": "1.0",
        "v": "1",
        "n": 1,
    }
    frame = decode(json.dumps({"channel": "candle", "data": row | change}).encode())
    assert isinstance(frame, CandleFrame)
    with pytest.raises(BadAnswer, match=problem):
        candle_of(frame.data, CandleSource.STREAM)
