"""From bytes to the queue: what is passed on, what is dropped, and how a step ends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from market_fakes import MINUTE, T0, RecordingSink

from perp_bot.core.clock import VenueClock, wall_ms
from perp_bot.core.events import ClockFrame
from perp_bot.core.types import AssetContext, Book, Candle, PublicTrade
from perp_bot.data.asset_minutes import AssetMinutes
from perp_bot.data.db.rows import AssetMinute
from perp_bot.data.ingest import SeenTrades, StreamIngest


class Diary:
    """A CandleManager and a REST worker that write down what happens to them."""

    def __init__(self, sink: RecordingSink) -> None:
        self.sink = sink
        self.candles: list[Candle] = []

    def on_stream(self, candle: Candle) -> bool:
        self.candles.append(candle)
        return True

    def on_clock(self, venue_ms: int) -> bool:
        self.sink._add(("due", venue_ms))
        return True

    def wake(self) -> None:
        self.sink._add("wake")

    def hold(self) -> None:
        self.sink._add("hold")

    def release(self) -> None:
        self.sink._add("release")

    def wait_settled(self, timeout_s: float) -> bool:
        self.sink._add("settled")
        return True


def make(clock: VenueClock) -> tuple[StreamIngest, RecordingSink, list[AssetMinute]]:
    sink, minutes = RecordingSink(), []
    diary: Any = Diary(sink)
    ingest = StreamIngest(
        clock=clock, sink=sink, candles=diary, worker=diary, store_minute=minutes.append, settle_timeout_s=1.0
    )
    return ingest, sink, minutes


def send(ingest: StreamIngest, channel: str, data: Any) -> None:
    ingest.take(json.dumps({"channel": channel, "data": data}).encode())


def book(time_ms: int, bid: str = "10") -> dict[str, Any]:
    return {
        "coin": "BTC",
        "time": time_ms,
        "levels": [[{"px": bid, "sz": "1", "n": 1}], [{"px": "12", "sz": "1", "n": 1}]],
    }


def trade(tid: int, time_ms: int = T0) -> dict[str, Any]:
    return {"coin": "BTC", "side": "B", "px": "10", "sz": "1", "hash": "0x", "time": time_ms, "tid": tid, "users": []}


def context(mark: str, time_ms: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"coin": "BTC", "ctx": {"markPx": mark, "oraclePx": "10", "openInterest": "5"}}
    return found if time_ms is None else found | {"time": time_ms}


def test_a_step_is_one_batch_sealed_by_its_clock_frame() -> None:
    """The boundary is due before the seal, its reads begin after it, and the next frame waits until they are done."""
    clock = VenueClock(T0, None)
    ingest, sink, _ = make(clock)
    send(ingest, "activeAssetCtx", context("11", T0 + 30_000))
    assert clock.now_ms() == T0
    send(ingest, "practiceClock", {"time": T0 + MINUTE, "speed": None, "step": 1})
    assert clock.now_ms() == T0 + MINUTE
    assert isinstance(sink.log[0], AssetContext)
    assert sink.log[1:] == ["hold", ("due", T0 + MINUTE), ClockFrame(T0 + MINUTE), "release", "settled"]


def test_a_running_practice_venues_clock_frame_only_sets_the_clock() -> None:
    """At speed N nothing is sealed."""
    clock = VenueClock(T0, 60.0)
    ingest, sink, _ = make(clock)
    send(ingest, "practiceClock", {"time": T0 + 50_000, "speed": 60.0, "step": 0})
    assert clock.now_ms() >= T0 + 50_000
    assert sink.log == []


def test_trades_that_were_seen_are_not_counted_twice() -> None:
    """A re-subscription's first frame repeats trades from before."""
    ingest, sink, _ = make(VenueClock(T0, 1.0))
    send(ingest, "trades", [trade(1), trade(2)])
    send(ingest, "trades", [trade(1), trade(2), trade(3)])
    send(ingest, "trades", [trade(3)])
    assert [found.tid for found in sink.of(PublicTrade)] == [1, 2, 3]


@given(st.lists(st.integers(0, 60), max_size=300))
def test_a_trade_among_the_remembered_ones_is_never_new_again(tids: list[int]) -> None:
    """Whatever the order: within the memory each id is new exactly once."""
    seen = SeenTrades(remembered=64)
    assert [tid for tid in tids if seen.is_new(tid)] == list(dict.fromkeys(tids))


def test_the_memory_of_trades_is_bounded() -> None:
    """Days of trades do not grow the process; at least the newest 100 are remembered."""
    seen = SeenTrades(remembered=100)
    for tid in range(10_000):
        assert seen.is_new(tid)
    assert len(seen._new) + len(seen._old) <= 200
    assert not any(seen.is_new(tid) for tid in range(9_900, 10_000))


def test_a_book_older_than_the_last_one_is_dropped() -> None:
    """Out of order is not newer."""
    ingest, sink, _ = make(VenueClock(T0 + 10_000, 1.0))
    for time_ms in (T0 + 5, T0 + 4, T0 + 6):
        send(ingest, "l2Book", book(time_ms))
    assert [found.venue_ms for found in sink.of(Book)] == [T0 + 5, T0 + 6]
    assert ingest.late_frames == 1


def test_the_clock_follows_the_venue_but_not_into_the_future() -> None:
    """A book an hour ahead is a skewed venue; it must not drag the clock along and end candles early."""
    now_ms = wall_ms()
    clock = VenueClock(now_ms - 1_000, 1.0)
    ingest, sink, _ = make(clock)
    send(ingest, "l2Book", book(now_ms))
    assert clock.now_ms() >= now_ms
    send(ingest, "l2Book", book(now_ms + 3_600_000))
    assert clock.now_ms() < now_ms + 60_000
    assert ingest.future_frames == 1
    assert "ahead" in (ingest.last_problem or "")
    send(ingest, "l2Book", book(now_ms + 100))  # the skew is over: books count again at once
    assert len(sink.of(Book)) == 3


def test_unusable_frames_are_counted_and_never_passed_on() -> None:
    """HTML, NaN and crossed books: nothing reaches the loop, the count and the reason are kept."""
    ingest, sink, _ = make(VenueClock(T0, 1.0))
    ingest.take(b"<html>")
    send(ingest, "l2Book", book(T0, bid="13"))
    send(ingest, "activeAssetCtx", context("NaN"))
    send(ingest, "trades", [trade(1) | {"px": "nan"}])
    assert sink.log == []
    assert ingest.bad_frames == 4
    assert ingest.last_problem


def test_unknown_channels_and_the_venues_errors_do_no_harm() -> None:
    """An error text is kept for whoever looks; a new channel is ignored."""
    ingest, sink, _ = make(VenueClock(T0, 1.0))
    send(ingest, "somethingNew", {})
    send(ingest, "error", "Already subscribed: {}")
    assert (sink.log, ingest.bad_frames, ingest.venue_errors) == ([], 0, 1)
    assert ingest.last_problem == "the venue says: Already subscribed: {}"


def test_every_channel_and_coin_has_an_age() -> None:
    """Ages run from the last frame of each stream; candles are told apart by interval."""
    ingest, _, _ = make(VenueClock(T0, 1.0))
    send(ingest, "l2Book", book(T0))
    send(ingest, "bbo", {"coin": "ETH", "time": T0, "bbo": [{"px": "1", "sz": "1", "n": 1}, None]})
    row = {"t": T0, "T": 0, "s": "BTC", "i": "15m", "o": "1", "c": "1", "h": "1", "l": "1", "v": "0", "n": 0}
    send(ingest, "candle", row)
    assert set(ingest.ages_s()) == {("l2Book", "BTC"), ("bbo", "ETH"), ("candle:15m", "BTC")}
    assert all(0 <= age_s < 5 for age_s in ingest.ages_s().values())


def test_a_context_without_a_time_gets_the_venue_clocks() -> None:
    """The real venue sends none; the practice venue's own time is taken as it is."""
    ingest, sink, _ = make(VenueClock(T0, None))
    send(ingest, "activeAssetCtx", context("11"))
    send(ingest, "activeAssetCtx", context("11", T0 + 77))
    assert [found.venue_ms for found in sink.of(AssetContext)] == [T0, T0 + 77]


def test_a_minute_of_contexts_becomes_one_row() -> None:
    """Open, high, low, close of mark and oracle, the last open interest, the count of samples."""
    ingest, _, minutes = make(VenueClock(T0, None))
    for offset, mark in ((0, "11"), (20_000, "14"), (40_000, "9"), (59_999, "12")):
        send(ingest, "activeAssetCtx", context(mark, T0 + offset))
    assert minutes == []
    send(ingest, "activeAssetCtx", context("12", T0 + MINUTE))
    assert minutes == [
        AssetMinute("BTC", T0, (11.0, 14.0, 9.0, 12.0), (10.0, 10.0, 10.0, 10.0), 5.0, None, None, samples=4)
    ]
    ingest.drain_minutes()
    assert [row.minute_ms for row in minutes] == [T0, T0 + MINUTE]


def test_a_repeated_step_changes_no_minute() -> None:
    """The practice venue repeats the current step's contexts after a reconnect."""
    minutes = AssetMinutes()
    samples = [
        AssetContext("BTC", T0 + at, px, px, None, None, None, None) for at, px in ((0, 1.0), (9, 3.0), (20, 2.0))
    ]
    for sample in samples + samples:
        assert minutes.add(sample) is None
    (row,) = minutes.drain()
    assert (row.samples, row.mark_ohlc) == (3, (1.0, 3.0, 1.0, 2.0))
