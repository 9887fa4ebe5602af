"""The loop's queue: latest-value slots with extremes, lossless parts, sealed batches."""

from __future__ import annotations

import threading

from perp_bot.core.events import ClockFrame, FeedOverflow, StreamStatus
from perp_bot.core.types import AssetContext, Book, OrderSide, PublicTrade
from perp_bot.trading.queue import EventQueue


def context(mark: float, at: int = 0, symbol: str = "BTC") -> AssetContext:
    return AssetContext(symbol, at, mark, mark, None, None, None, None)


def trade(tid: int) -> PublicTrade:
    return PublicTrade("BTC", tid, 100.0, 1.0, OrderSide.BUY, tid)


def test_a_spike_between_two_reads_is_kept() -> None:
    """The lowest and highest mark since the last read reach the loop, in order of arrival, beside the newest."""
    queue = EventQueue()
    for at, mark in enumerate([100.0, 90.0, 95.0, 120.0, 101.0]):
        queue.put_context(context(mark, at))
    batch = queue.take(0)
    assert [item.mark_px for item in batch.contexts["BTC"]] == [90.0, 120.0, 101.0]
    assert queue.take(0).is_empty


def test_one_update_is_delivered_once() -> None:
    """A lone update is lowest, highest and newest at once, and appears once."""
    queue = EventQueue()
    queue.put_context(context(100.0))
    assert len(queue.take(0).contexts["BTC"]) == 1


def test_books_keep_only_the_newest() -> None:
    """A book is replaced by the next one."""
    queue = EventQueue()
    queue.put_book(Book("BTC", 1, (), ()))
    queue.put_book(Book("BTC", 2, (), ()))
    assert queue.take(0).books["BTC"].venue_ms == 2


def test_trades_are_lossless_in_order_and_overflow_is_said_once() -> None:
    """Trades keep their order; beyond the bound a single FeedOverflow appears and older trades stay."""
    queue = EventQueue(max_trades=3)
    queue.put_trades((trade(1), trade(2)))
    queue.put_trades((trade(3), trade(4)))
    queue.put_trades((trade(5), trade(6)))
    batch = queue.take(0)
    assert [item.tid for item in batch.trades] == [1, 2]
    assert batch.events == [FeedOverflow("trades")]


def test_a_sealed_batch_is_handled_before_what_came_later() -> None:
    """At `step`, nothing put after the clock frame leaks into the batch before it."""
    queue = EventQueue()
    queue.set_stepped(True)
    queue.put_context(context(100.0, 1))
    queue.seal(ClockFrame(60_000))
    queue.put_context(context(50.0, 2))
    queue.seal(ClockFrame(120_000))
    first, second = queue.take(0), queue.take(0)
    assert first.frame == ClockFrame(60_000)
    assert [item.mark_px for item in first.contexts["BTC"]] == [100.0]
    assert [item.mark_px for item in second.contexts["BTC"]] == [50.0]


def test_at_step_market_data_waits_for_its_clock_frame_and_events_do_not() -> None:
    """Half a step is never seen; a confirmed close or a status is seen at once."""
    queue = EventQueue()
    queue.set_stepped(True)
    queue.put_context(context(100.0))
    assert queue.is_empty
    queue.put_event(StreamStatus(True, 0, "connected"))
    batch = queue.take(0)
    assert batch.events
    assert not batch.contexts
    queue.seal(ClockFrame(1))
    assert queue.take(0).contexts


def test_take_waits_for_a_producer_on_another_thread() -> None:
    """A put wakes the waiting loop."""
    queue = EventQueue()
    thread = threading.Thread(target=lambda: queue.put_context(context(1.0)))
    thread.start()
    assert queue.take(5.0).contexts["BTC"]
    thread.join()


def test_wake_gives_an_empty_batch() -> None:
    """Shutdown must not wait for the market."""
    queue = EventQueue()
    queue.wake()
    assert queue.take(5.0).is_empty


def test_at_step_a_pending_close_comes_before_the_next_steps_marks() -> None:
    """A slow loop decides on the close of step k before it sees a mark of step k + 1."""
    queue = EventQueue()
    queue.set_stepped(True)
    queue.seal(ClockFrame(60_000))
    queue.put_event(StreamStatus(True, 0, "of the first step"))
    queue.put_context(context(50.0))
    queue.seal(ClockFrame(120_000))
    first, second, third = queue.take(0), queue.take(0), queue.take(0)
    assert first.frame == ClockFrame(60_000)
    assert second.events
    assert not second.contexts
    assert third.contexts
    assert third.frame == ClockFrame(120_000)
