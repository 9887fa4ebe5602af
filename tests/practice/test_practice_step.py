"""Stepping: what one step sends, in which order, and what a client that comes late is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from practice_socket import PLENTY, Socket, candle_rows

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]

STREAMS: tuple[dict[str, str], ...] = (
    {"type": "trades", "coin": "BTC"},
    {"type": "trades", "coin": "ETH"},
    {"type": "activeAssetCtx", "coin": "BTC"},
    {"type": "activeAssetCtx", "coin": "ETH"},
    {"type": "l2Book", "coin": "BTC"},
    {"type": "bbo", "coin": "BTC"},
    {"type": "candle", "coin": "BTC", "interval": "1m"},
    {"type": "candle", "coin": "BTC", "interval": "15m"},
    {"type": "practiceClock"},
)


def follow(socket: Socket) -> list[dict[str, Any]]:
    """Subscribe to everything, the clock last; return the frames of the replayed minute."""
    for stream in STREAMS:
        socket.send({"method": "subscribe", "subscription": stream})
    frames = socket.until("practiceClock")
    return [frame for frame in frames if frame["channel"] != "subscriptionResponse"]


def test_a_step_is_one_ordered_batch_that_ends_with_the_clock(stepped: PracticeServer, connect: Connect) -> None:
    """Trades, contexts in time order, book, best prices, candles that closed or run, then the clock frame."""
    socket = connect(stepped)
    follow(socket)
    start = stepped.now_ms
    assert stepped.step("1m") == start + MINUTE_MS
    frames = socket.until("practiceClock")
    order = ["trades", "activeAssetCtx", "l2Book", "bbo", "candle", "practiceClock"]
    ranks = [order.index(frame["channel"]) for frame in frames]
    assert ranks == sorted(ranks)
    for trade in (trade for frame in frames if frame["channel"] == "trades" for trade in frame["data"]):
        assert start <= trade["time"] < start + MINUTE_MS
    times = [frame["data"]["time"] for frame in frames if frame["channel"] == "activeAssetCtx"]
    assert times == sorted(times)
    assert len(times) == 8
    assert start < times[0]
    assert times[-1] == start + MINUTE_MS
    assert [frame["data"]["time"] for frame in frames if frame["channel"] in ("l2Book", "bbo")] == [
        start + MINUTE_MS
    ] * 2
    candles = [frame["data"] for frame in frames if frame["channel"] == "candle"]
    assert {(row["i"], row["t"]) for row in candles} == {("15m", start), ("1m", start)}
    assert frames[-1]["data"] == {"time": start + MINUTE_MS, "speed": None, "step": 1}


def test_contexts_of_a_step_hold_the_marks_extremes(stepped: PracticeServer, connect: Connect) -> None:
    """The four samples of a minute contain the highest and lowest mark of that minute: a spike must fire a stop."""
    socket = connect(stepped)
    follow(socket)
    start = stepped.now_ms
    stepped.step("1m")
    marks = [
        float(frame["data"]["ctx"]["markPx"])
        for frame in socket.until("practiceClock")
        if frame["channel"] == "activeAssetCtx" and frame["data"]["coin"] == "BTC"
    ]
    coin = stepped.venue.market.live("BTC", start)
    assert coin is not None
    hour, into = divmod(start - coin.origin_ms, HOUR_MS)
    every = coin.context(hour).mark_px[into // 3_000 : into // 3_000 + 20]
    assert len(marks) == 4
    assert max(marks) >= every.max()
    assert min(marks) <= every.min()


@pytest.mark.slow
def test_a_longer_step_is_made_of_minutes(stepped: PracticeServer, connect: Connect) -> None:
    """To the next 15m close: fifteen clock frames, final candles exactly once each and equal to REST."""
    socket = connect(stepped)
    follow(socket)
    start = stepped.now_ms
    assert stepped.step("15m") == start + 15 * MINUTE_MS
    frames: list[dict[str, Any]] = []
    for _ in range(15):
        frames += socket.until("practiceClock")
    clocks = [frame["data"] for frame in frames if frame["channel"] == "practiceClock"]
    assert [clock["time"] for clock in clocks] == [start + n * MINUTE_MS for n in range(1, 16)]
    assert [clock["step"] for clock in clocks] == list(range(1, 16))
    minutes = [frame["data"] for frame in frames if frame["channel"] == "candle" and frame["data"]["i"] == "1m"]
    rest = candle_rows(stepped, "BTC", "1m", start, stepped.now_ms)
    assert minutes == rest
    trades = [
        trade for frame in frames if frame["channel"] == "trades" for trade in frame["data"] if trade["coin"] == "BTC"
    ]
    assert len(trades) == sum(row["n"] for row in rest)


def test_whoever_subscribes_late_gets_the_current_minute_again(stepped: PracticeServer, connect: Connect) -> None:
    """replays_step: the frames of the last minute, byte for byte those of the step, its clock frame last.

    Before them come the books that the minute began with.
    """
    early = connect(stepped)
    follow(early)
    stepped.step("5m")
    before: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []
    for _ in range(5):
        before, seen = seen, early.until("practiceClock")
    late = connect(stepped)
    assert follow(late) == [frame for frame in before if frame["channel"] == "l2Book"] + seen
    stepped.step("1m")
    assert late.until("practiceClock") == early.until("practiceClock")


def test_before_the_first_step_the_minute_before_the_start_is_told(stepped: PracticeServer, connect: Connect) -> None:
    """A fresh client learns the last closed minute and the time before anything is stepped."""
    frames = follow(connect(stepped))
    assert frames[-1]["data"] == {"time": stepped.now_ms, "speed": None, "step": 0}
    closed = [frame["data"]["T"] + 1 for frame in frames if frame["channel"] == "candle"]
    assert closed == [stepped.now_ms, stepped.now_ms]


def test_no_frame_comes_before_the_clock_is_subscribed_or_stepped(stepped: PracticeServer, connect: Connect) -> None:
    """A stepped venue acknowledges and waits: the replay has to come first and in order."""
    socket = connect(stepped)
    socket.subscribe(type="trades", coin="BTC")
    socket.subscribe(type="l2Book", coin="BTC")
    socket.send({"method": "ping"})
    assert socket.read() == {"channel": "pong"}


@pytest.mark.slow
def test_two_venues_step_alike(connect: Connect) -> None:
    """Same seed and start, same frames; through the end of the recording too."""
    told = []
    for _ in range(2):
        with PracticeServer(speed=None, start="799.9", limits=PLENTY) as venue:
            socket = connect(venue)
            follow(socket)
            venue.step("1m", count=12)
            told.append([socket.until("practiceClock") for _ in range(12)])
    assert told[0] == told[1]


def test_stepping_speaks_http(stepped: PracticeServer) -> None:
    """POST /practice/step answers the time after every frame was written; nonsense is refused in one line."""
    url = f"{stepped.base_url}/practice/step"
    start = stepped.now_ms
    assert requests.post(url, json={"to": "3m"}, timeout=5).json() == {"time": start + 3 * MINUTE_MS, "step": 3}
    assert requests.post(url, timeout=5).json() == {"time": start + 4 * MINUTE_MS, "step": 4}
    for body in ({"to": "7m"}, {"to": "1m", "count": 0}, {"too": "1m"}, {"count": "1"}):
        refused = requests.post(url, json=body, timeout=5)
        assert refused.status_code == 400
        assert refused.json()["error"]
    assert stepped.now_ms == start + 4 * MINUTE_MS


@pytest.mark.slow
def test_a_step_goes_to_the_next_close_of_its_timeframe(stepped: PracticeServer) -> None:
    """From 03:00: the 5m close 03:05, the 1h close 04:00, two more hours, the day's end."""
    start = stepped.now_ms
    assert stepped.step("5m") == start + 5 * MINUTE_MS
    assert stepped.step("1h") == start + HOUR_MS
    assert stepped.step("1h", count=2) == start + 3 * HOUR_MS
    assert stepped.step("1d") == start + 21 * HOUR_MS
    assert stepped.venue.steps == 21 * 60


def test_a_running_venue_cannot_be_stepped() -> None:
    """At any speed the clock runs by itself; a step is refused and says how to get one."""
    with PracticeServer(speed=10.0) as venue:
        refused = requests.post(f"{venue.base_url}/practice/step", json={"to": "1m"}, timeout=5)
        assert refused.status_code == 400
        assert "--speed step" in refused.json()["error"]


def test_an_unaligned_start_steps_to_the_next_whole_minute() -> None:
    """A start within a minute ends its first step at that minute's end."""
    with PracticeServer(speed=None, start="2026-01-10T03:04:30Z") as venue:
        start = venue.now_ms
        assert venue.step("1m") == start + 30_000
        assert venue.step("1m") == start + 90_000


@pytest.mark.slow
def test_a_long_step_is_lossless(connect: Connect) -> None:
    """Four hours of minutes in one request: no clock frame is missing although they outrun the reader's buffer."""
    with PracticeServer(speed=None, start="401", limits=PLENTY) as venue:
        socket = connect(venue)
        follow(socket)
        start = venue.now_ms
        steps = 240 - start // MINUTE_MS % 240
        thread = threading.Thread(target=venue.step, args=("4h",), name="long-step")
        thread.start()
        counted = [socket.until("practiceClock")[-1]["data"]["step"] for _ in range(steps)]
        thread.join(10)
        assert counted == list(range(1, steps + 1))
