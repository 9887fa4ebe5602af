"""The candle rules: confirmed by REST, once a boundary, in config order; provisional, missing and late rows."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from market_fakes import MINUTE, T0, MemoryStore, RecordingSink, candle

from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import RateLimited, VenueAway
from perp_bot.core.events import BoundaryClosed, CloseStatus
from perp_bot.core.types import Candle, CandleSource
from perp_bot.data.candles import CandleManager
from perp_bot.data.db.rows import CandleRows

BOTH = (("BTC", "15m"), ("ETH", "15m"))
QUARTER = 15 * MINUTE


class ScriptedRest:
    """Candles as REST has them; `fail` and `absent` say for which coins it does not work."""

    def __init__(self, clock: VenueClock) -> None:
        self.clock = clock
        self.fail: dict[str, Exception] = {}
        self.absent: set[tuple[str, int]] = set()  # (coin, open) that the venue does not have
        self.has_open_candle = True
        self.close_px: dict[tuple[str, int], float] = {}
        self.calls: list[tuple[str, int, int]] = []

    def candles(
        self, symbol: str, timeframe: str, start_ms: int, end_ms: int, *_: Any, **__: Any
    ) -> tuple[Candle, ...]:
        self.calls.append((symbol, start_ms, end_ms))
        if symbol in self.fail:
            raise self.fail[symbol]
        now_ms = self.clock.now_ms()
        step = timeframes.length_ms(timeframe)
        last_ms = now_ms if self.has_open_candle else timeframes.open_of(timeframe, now_ms) - 1
        opens = range(timeframes.open_of(timeframe, start_ms), min(end_ms, last_ms) + 1, step)
        return tuple(
            candle(symbol, timeframe, at, self.close_px.get((symbol, at), 100.0))
            for at in opens
            if (symbol, at) not in self.absent and at >= start_ms
        )


class Bench:
    """A CandleManager at `step`, with everything around it in hand."""

    def __init__(self, deciding: tuple[tuple[str, str], ...] = BOTH, timeout_s: float = 0.3) -> None:
        self.clock = VenueClock(T0, speed=None)
        self.rest = ScriptedRest(self.clock)
        self.sink = RecordingSink()
        self.store = MemoryStore()
        self.manager = CandleManager(
            deciding,
            client=self.rest,
            clock=self.clock,
            sink=self.sink,
            store=lambda rows: self.store.put(CandleRows(rows)),
            confirm_timeout_s=timeout_s,
        )

    def prime(self, close_ms: int) -> None:
        for coin, timeframe in BOTH:
            self.manager.prime(coin, timeframe, close_ms)
        self.manager.begin()

    def go_to(self, venue_ms: int) -> None:
        self.clock.observe(venue_ms)
        self.manager.on_clock(venue_ms)

    def work(self) -> list[BoundaryClosed]:
        """Run what is due and return the new boundaries."""
        before = len(self.sink.boundaries)
        while self.manager.wait_s() == 0.0:
            self.manager.run()
        return self.sink.boundaries[before:]


def test_a_boundary_is_one_event_with_all_coins_in_config_order() -> None:
    """Arrival order never picks the coin: ETH first in the config comes first in the event."""
    bench = Bench((("ETH", "15m"), ("BTC", "15m")))
    bench.prime(T0)
    bench.go_to(T0 + QUARTER)
    (event,) = bench.work()
    assert (event.timeframe, event.close_ms) == ("15m", T0 + QUARTER)
    assert [(close.symbol, close.status) for close in event.series] == [
        ("ETH", CloseStatus.CONFIRMED),
        ("BTC", CloseStatus.CONFIRMED),
    ]
    assert event.series[0].candles == (candle("ETH", "15m", T0),)


def test_the_last_two_rows_are_read_and_the_open_candle_is_never_stored() -> None:
    """The request covers the candle before, the candle, and the one under way, which only proves the close."""
    bench = Bench()
    bench.prime(T0)
    bench.go_to(T0 + QUARTER)
    bench.work()
    assert bench.rest.calls[0] == ("BTC", T0 - QUARTER, T0 + 2 * QUARTER - 1)
    assert [row.open_ms for row in bench.store.series("BTC", "15m")] == [T0]


def test_a_boundary_is_pending_from_the_clock_frame_until_it_is_reported() -> None:
    """`wait_until` answers only when the market side has settled."""
    bench = Bench()
    bench.prime(T0)
    bench.go_to(T0)
    bench.work()
    assert not bench.manager.is_pending()
    bench.go_to(T0 + QUARTER)
    assert bench.manager.is_pending()
    bench.work()
    assert not bench.manager.is_pending()


def test_the_same_clock_frame_again_reports_nothing_again() -> None:
    """The practice venue repeats the current step to a client that comes back."""
    bench = Bench()
    bench.prime(T0)
    bench.go_to(T0 + QUARTER)
    assert len(bench.work()) == 1
    bench.go_to(T0 + QUARTER)
    assert bench.work() == []


def test_a_restart_at_a_boundary_reports_that_boundary() -> None:
    """Killed between the step and its decision: the repeated clock frame brings the close again (I4)."""
    bench = Bench()
    bench.prime(T0)
    assert bench.work() == []  # not before the frame: the step's marks come first
    bench.go_to(T0)
    (event,) = bench.work()
    assert event.close_ms == T0
    assert event.series[0].candles[-1].open_ms == T0 - QUARTER


def test_missed_boundaries_come_as_one_event_with_every_missed_candle() -> None:
    """After an outage the newest close is decided on, with all candles since the last one."""
    bench = Bench()
    bench.prime(T0)
    bench.go_to(T0)
    bench.work()
    bench.go_to(T0 + 4 * QUARTER)
    (event,) = bench.work()
    assert event.close_ms == T0 + 4 * QUARTER
    opens = [row.open_ms for row in event.series[0].candles]
    assert opens == [T0, T0 + QUARTER, T0 + 2 * QUARTER, T0 + 3 * QUARTER]


def test_an_unconfirmed_close_is_provisional_with_the_streams_row() -> None:
    """REST is away: exits decide on the stream's row; the row is stored as what it is."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.fail["ETH"] = VenueAway("it answered candleSnapshot with 502")
    bench.manager.on_stream(candle("ETH", "15m", T0, 105.0, source="stream"))
    bench.go_to(T0 + QUARTER)
    (event,) = bench.work()
    btc, eth = event.series
    assert btc.status is CloseStatus.CONFIRMED
    assert eth.status is CloseStatus.PROVISIONAL
    assert eth.candles[0].close == 105.0
    assert "502" in eth.note
    assert [row.source for row in bench.store.series("ETH", "15m")] == [CandleSource.STREAM]


def test_without_any_row_the_close_is_missing() -> None:
    """Neither REST nor stream: nothing can be decided, and nothing is invented."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.fail["BTC"] = RateLimited("no budget")
    bench.go_to(T0 + QUARTER)
    (event,) = bench.work()
    assert event.series[0].status is CloseStatus.MISSING
    assert event.series[0].candles == ()
    assert bench.store.series("BTC", "15m") == []


def test_an_old_stream_row_is_no_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that stopped arriving long before the end (the socket was down) says nothing about the close."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.fail["ETH"] = VenueAway("away")
    bench.manager.on_stream(candle("ETH", "15m", T0, 105.0, source="stream"))
    monkeypatch.setattr("perp_bot.data.candles.STREAM_ROW_MAX_AGE_S", -1.0)
    bench.go_to(T0 + QUARTER)
    (event,) = bench.work()
    assert event.series[1].status is CloseStatus.MISSING
    assert "older than the close" in event.series[1].note


def test_a_late_row_corrects_the_store_and_comes_with_the_next_close() -> None:
    """What REST says later replaces the stream's row, in the store at once, for the loop with the next boundary."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.fail["ETH"] = VenueAway("away")
    bench.manager.on_stream(candle("ETH", "15m", T0, 105.0, source="stream"))
    bench.go_to(T0 + QUARTER)
    bench.work()
    assert bench.manager.late_wait_s() is not None
    bench.rest.fail.clear()
    bench.rest.close_px[("ETH", T0)] = 104.0
    bench.manager.read_late()
    assert [(row.close, row.source) for row in bench.store.series("ETH", "15m")] == [(104.0, CandleSource.REST)]
    assert bench.manager.late_wait_s() is None
    bench.go_to(T0 + 2 * QUARTER)
    (event,) = bench.work()
    assert [row.close for row in event.series[1].candles] == [104.0, 100.0]
    assert [row.open_ms for row in event.series[0].candles] == [T0 + QUARTER]


def test_late_rows_are_asked_for_again_and_again_less_and_less_often() -> None:
    """A venue that is away for long is not hammered."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.fail = {"BTC": VenueAway("away"), "ETH": VenueAway("away")}
    bench.go_to(T0 + QUARTER)
    bench.work()
    bench.manager.read_late()
    first_s = bench.manager.late_wait_s()
    bench.manager.read_late()
    second_s = bench.manager.late_wait_s()
    assert first_s is not None
    assert second_s is not None
    assert second_s > first_s


def test_the_row_of_a_candle_that_may_still_change_is_not_taken() -> None:
    """On a running clock the REST row counts once a later one is there: an answer from before the end is no close."""
    bench = Bench()
    bench.clock.reset(T0 + QUARTER - 30_000, 1.0)
    bench.prime(T0)
    bench.rest.has_open_candle = True
    rolled = candle("BTC", "15m", T0 + QUARTER, source="stream")
    assert bench.manager.on_stream(rolled)  # the stream rolled over; REST lags behind by half a minute
    bench.work()
    closes = bench.sink.boundaries[-1].series
    assert [close.status for close in closes] == [CloseStatus.MISSING, CloseStatus.MISSING]
    assert "not final yet" in closes[0].note


def test_a_roll_over_in_the_stream_makes_the_boundary_due_at_once() -> None:
    """A larger `t` ends the candle, without waiting for the grace."""
    bench = Bench()
    bench.clock.reset(T0 + 10, 1.0)
    bench.prime(T0)
    bench.work()
    bench.clock.reset(T0 + QUARTER + 5, 1.0)
    assert bench.manager.wait_s() != 0.0
    assert bench.manager.on_stream(candle("ETH", "15m", T0 + QUARTER, source="stream"))
    assert bench.manager.wait_s() == 0.0
    (event,) = bench.work()
    assert event.close_ms == T0 + QUARTER


def test_a_silent_market_closes_by_the_clock() -> None:
    """No later candle appears: after half of the waiting time the clock is proof enough."""
    bench = Bench()
    bench.clock.reset(T0 + 10, 1.0)
    bench.prime(T0)
    bench.work()
    bench.rest.has_open_candle = False
    bench.clock.reset(T0 + QUARTER + 2_000, 1.0)
    (event,) = bench.work()
    assert [close.status for close in event.series] == [CloseStatus.CONFIRMED, CloseStatus.CONFIRMED]


def test_a_candle_that_the_venue_does_not_have_is_missing() -> None:
    """No trade, no row: the series has a hole, and it stays one."""
    bench = Bench()
    bench.prime(T0)
    bench.rest.absent.add(("BTC", T0))
    bench.go_to(T0 + QUARTER)
    (event,) = bench.work()
    assert event.series[0].status is CloseStatus.MISSING
    assert "no row" in event.series[0].note


def test_a_small_lag_is_worked_off_boundary_by_boundary() -> None:
    """At high speed two closes may be due at once: each is decided on its own."""
    bench = Bench(timeout_s=5.0)
    bench.clock.reset(T0 + 10, 600.0)
    bench.prime(T0)
    bench.work()
    bench.clock.reset(T0 + 2 * QUARTER + 400_000, 600.0)
    events = bench.work()
    assert [event.close_ms for event in events[:2]] == [T0 + QUARTER, T0 + 2 * QUARTER]
    assert [len(event.series[0].candles) for event in events[:2]] == [1, 1]


def test_two_timeframes_closing_together_are_two_events_in_config_order() -> None:
    """The shorter one is not preferred; the config's order is."""
    bench = Bench((("BTC", "1h"), ("BTC", "15m")))
    bench.manager.begin()
    bench.go_to(T0)
    events = bench.work()
    assert [(event.timeframe, event.close_ms) for event in events] == [("1h", T0), ("15m", T0)]


def test_stopping_ends_a_confirmation_under_way_and_reports_nothing() -> None:
    """The end of the process does not wait for a venue that is away."""
    bench = Bench(timeout_s=30.0)
    bench.prime(T0)
    bench.rest.fail = {"BTC": VenueAway("away"), "ETH": VenueAway("away")}
    bench.go_to(T0 + QUARTER)
    thread = threading.Thread(target=bench.manager.run)
    thread.start()
    bench.manager.stop()
    thread.join(2.0)
    assert not thread.is_alive()
    assert bench.sink.boundaries == []


def test_a_gap_is_filled_with_every_candle_that_closed_in_it() -> None:
    """After a reconnect the store has what the stream missed."""
    bench = Bench()
    bench.prime(T0)
    bench.clock.observe(T0 + 3 * QUARTER + MINUTE)
    filled, problem = bench.manager.fill_gap(T0 + MINUTE)
    assert (filled, problem) == (6, None)
    assert [row.open_ms for row in bench.store.series("ETH", "15m")][-3:] == [T0, T0 + QUARTER, T0 + 2 * QUARTER]
    bench.rest.fail["BTC"] = VenueAway("away")
    assert bench.manager.fill_gap(T0 + MINUTE) == (0, "away")
