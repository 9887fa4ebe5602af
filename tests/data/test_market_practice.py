"""MarketData against the practice venue: start, steps, speed, and every fault the venue can have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from market_fakes import HOUR, MINUTE, MemoryStore, RecordingSink, wait_for

from perp_bot.config.model import Config, DataConfig, TradingConfig
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import BadAnswer, ConfigError, RateLimited, VenueAway
from perp_bot.core.events import BoundaryClosed, ClockFrame, CloseStatus, FundingSettled, StreamStatus
from perp_bot.core.types import AssetContext, Book, PublicTrade
from perp_bot.data import gap_fill
from perp_bot.data.backfill import backfill
from perp_bot.data.client import VenueClient
from perp_bot.data.db.rows import StateRow
from perp_bot.data.limiter import WeightLimiter
from perp_bot.data.market import MarketData
from perp_bot.data.meta import meta_row
from perp_bot.data.ws_client import StreamTimings
from perp_bot.practice.thread import PracticeServer

pytestmark = pytest.mark.slow

DECIDING = (("BTC", "15m"), ("ETH", "15m"))
# Many knocks a second on purpose, also while a slow machine starts the next venue: no limit a minute.
QUICK = StreamTimings(
    ping_every_s=1.0,
    silent_after_s=1.0,
    backoff_first_s=0.05,
    backoff_max_s=0.1,
    watch_every_s=0.2,
    max_connects_a_minute=100_000,
)


class Rig:
    """A MarketData with its venue, sink and store."""

    def __init__(
        self, venue: PracticeServer, *, confirm_timeout_s: float = 1.0, symbols: tuple[str, ...] = ("BTC", "ETH")
    ) -> None:
        data = DataConfig(close_confirm_timeout_seconds=confirm_timeout_s)
        self.venue = venue
        self.clock = VenueClock()
        self.sink = RecordingSink()
        self.store = MemoryStore()
        self.market = MarketData(
            Config(venue=venue.base_url, data=data, trading=TradingConfig(symbols=symbols)),
            self.clock,
            self.store,
            lambda: self.store,
            self.sink,
            deciding=DECIDING,
            timings=QUICK,
        )

    def start(self, bars: int = 50) -> None:
        self.market.connect()
        for coin, timeframe in DECIDING:
            assert len(self.market.history(coin, timeframe, bars)) == bars
        self.market.start()
        wait_for(lambda: self.market.health().subscriptions_confirmed >= 8)
        if self.clock.stepped:
            wait_for(lambda: self.sink.of(ClockFrame))
            wait_for(self.market.is_settled)

    def step(self, to: str = "15m", count: int = 1) -> int:
        """Step the venue and wait until the market side has handled it."""
        reached_ms = self.venue.step(to=to, count=count)
        wait_for(lambda: any(frame.venue_ms == reached_ms for frame in self.sink.of(ClockFrame)))
        wait_for(self.market.is_settled)
        return reached_ms

    def closes_at(self, close_ms: int) -> list[BoundaryClosed]:
        return [event for event in self.sink.boundaries if event.close_ms == close_ms]


@contextmanager
def running(speed: float | None = None, **options: Any) -> Iterator[Rig]:
    start = "400" if speed is None else "400.1"  # right after a close its candle is not final yet
    with PracticeServer(speed=speed, start=start, seed=42) as venue:
        rig = Rig(venue, **options)
        try:
            rig.start()
            yield rig
        finally:
            rig.market.stop()


def test_steps_give_the_same_events_in_the_same_order_every_time() -> None:
    """At `step` the thread timing must not show: two runs, one stepping minute by minute, give equal sequences."""
    runs: list[list[Any]] = []
    for to, count in (("15m", 2), ("1m", 30)):
        with running() as rig:
            if to == "15m":
                rig.step(to, count)
            else:
                for _ in range(count):
                    rig.step(to)
            kept = [item for item in rig.sink.log if not isinstance(item, StreamStatus)]
            runs.append(kept)
    assert [item for item in runs[0] if isinstance(item, BoundaryClosed)]
    assert runs[0] == runs[1]


def test_a_boundary_comes_after_the_seal_of_its_own_step_and_before_the_next_step() -> None:
    """Marks up to the end of the candle are handled first, then the close, then what came later."""
    with running() as rig:
        close_ms = rig.step("15m")
        rig.step("1m")
        kinds = [item for item in rig.sink.log if isinstance(item, ClockFrame | BoundaryClosed)]
        at = kinds.index(ClockFrame(close_ms))
        assert isinstance(kinds[at + 1], BoundaryClosed)
        assert kinds[at + 1].close_ms == close_ms
        assert kinds[at + 2] == ClockFrame(close_ms + MINUTE)
        (event,) = rig.closes_at(close_ms)
        assert [close.status for close in event.series] == [CloseStatus.CONFIRMED] * 2


def test_a_restarted_client_sees_the_current_step_again() -> None:
    """Killed in the middle of a step: the venue repeats it, and the boundary is reported to the new process too."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        first = Rig(venue)
        first.start()
        close_ms = first.step("15m")
        first.market.stop()
        again = Rig(venue)
        again.start()
        try:
            (before,) = first.closes_at(close_ms)
            (after,) = again.closes_at(close_ms)
            assert before.series[0].candles[-1] == after.series[0].candles[-1]
            last = [item for item in first.sink.log if isinstance(item, AssetContext)][-1]
            assert last in again.sink.log
        finally:
            again.market.stop()


def test_marks_books_and_trades_arrive_and_minutes_are_stored() -> None:
    """Marks, oracle and open interest are recorded from the first run; rows of a practice venue are labelled."""
    with running() as rig:
        rig.step("15m")
        assert {item.symbol for item in rig.sink.of(AssetContext)} == {"BTC", "ETH"}
        assert {item.symbol for item in rig.sink.of(Book)} == {"BTC", "ETH"}
        tids = [(item.symbol, item.tid) for item in rig.sink.of(PublicTrade)]
        assert len(tids) == len(set(tids)) > 100
        rows = [row for row in rig.store.minutes() if row.symbol == "BTC"]
        assert len(rows) >= 14
        assert all(row.open_interest is not None and row.mark_ohlc[1] >= row.mark_ohlc[2] for row in rows)
        assert rig.store.generated == {True}


def test_other_series_and_funding_rates_are_stored_too() -> None:
    """Series that nobody decides on are read later, many rows in one request."""
    with running() as rig:
        for timeframe in ("1m", "5m", "1h"):
            wait_for(lambda name=timeframe: rig.store.candle_span("ETH", name))
        wait_for(lambda: len(rig.store.rates) > 300)
        assert not rig.store.candle_span("BTC", "30m")


def test_funding_is_reported_when_the_venue_has_it() -> None:
    """At the hour itself the row is not there yet; with the next minute it is."""
    with running() as rig:
        hour_ms = rig.step("1h")
        assert hour_ms % HOUR == 0
        rig.market.request_funding("BTC", hour_ms)
        wait_for(rig.market.is_settled)
        assert rig.sink.of(FundingSettled) == []
        rig.step("1m")
        (event,) = wait_for(lambda: rig.sink.of(FundingSettled))
        assert (event.funding.symbol, event.funding.hour_ms) == ("BTC", hour_ms)


def test_at_speed_every_boundary_is_confirmed_in_order() -> None:
    """600 times real time: a 15m close every 1.5 s, none skipped, none doubled."""
    with running(600.0, confirm_timeout_s=5.0) as rig:
        wait_for(lambda: len(rig.sink.boundaries) >= 4, timeout_s=12.0)
        closes = [event.close_ms for event in rig.sink.boundaries]
        assert closes == list(range(closes[0], closes[-1] + 1, 15 * MINUTE))
        assert all(close.status is CloseStatus.CONFIRMED for event in rig.sink.boundaries for close in event.series)
        rows = [row.open_ms for row in rig.store.series("BTC", "15m")]
        assert rows == list(range(rows[0], rows[-1] + 1, 15 * MINUTE))


def test_cut_sockets_come_back_with_a_clear_note() -> None:
    """Everything is subscribed again, the gap is filled, the event says so; no trade is counted twice."""
    with running() as rig:
        rig.step("15m")
        rig.venue.close_sockets()
        wait_for(lambda: len([item for item in rig.sink.of(StreamStatus) if item.connected]) == 2)
        statuses = [(item.connected, item.note) for item in rig.sink.of(StreamStatus)]
        assert statuses[1][0] is False
        assert "reconnected after" in statuses[2][1]
        assert "9 subscriptions, 0 candles filled by REST" in statuses[2][1]
        close_ms = rig.step("15m")
        assert len(rig.closes_at(close_ms)) == 1
        tids = [(item.symbol, item.tid) for item in rig.sink.of(PublicTrade)]
        assert len(tids) == len(set(tids))
        assert rig.market.health().reconnects == 1


def test_a_silent_venue_is_noticed_and_the_stream_made_anew() -> None:
    """Sockets open, nothing sent: within the silence limit the connection is dropped."""
    with running() as rig:
        rig.venue.set_faults(silent=True)
        wait_for(lambda: any(not item.connected for item in rig.sink.of(StreamStatus)))
        lost = next(item for item in rig.sink.of(StreamStatus) if not item.connected)
        assert "nothing received for" in lost.note
        rig.venue.set_faults(clear=True)
        wait_for(lambda: rig.market.health().connected and rig.market.is_settled())
        close_ms = rig.step("15m")
        assert len(rig.closes_at(close_ms)) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status_502", "502"),
        ("html", "not JSON"),
        ("null_500", "500"),
        ("status_429", "429"),
        ("nan_candle", "candle row"),
    ],
)
def test_while_rest_fails_exits_get_the_streams_row_and_everything_resumes(fault: str, words: str) -> None:
    """No entry on an unconfirmed close, no end of the process; the next close brings the corrected rows."""
    with running() as rig:
        rig.venue.set_faults(**{fault: True})
        first_ms = rig.step("15m")
        (event,) = rig.closes_at(first_ms)
        assert [close.status for close in event.series] == [CloseStatus.PROVISIONAL] * 2
        assert any(words in close.note or "held back" in close.note for close in event.series)
        if fault != "nan_candle":  # other reads go on, and whichever is the last says how REST does
            assert not rig.market.health().rest_ok
        rig.venue.set_faults(clear=True)
        rig.market.client.limiter.forgive()
        second_ms = rig.step("15m")
        (event,) = rig.closes_at(second_ms)
        assert [close.status for close in event.series] == [CloseStatus.CONFIRMED] * 2
        assert [row.close_ms for row in event.series[0].candles] == [first_ms, second_ms]
        assert rig.market.health().rest_ok


def test_a_gap_that_cannot_be_filled_at_once_is_filled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream is back before REST is: the event says so, the filling goes on."""
    monkeypatch.setattr(gap_fill, "RETRY_S", 0.2)
    with running(1200.0) as rig:
        wait_for(lambda: rig.sink.boundaries)
        rig.venue.set_faults(status_502={"on": ["candleSnapshot"]})
        before = len(rig.store.series("BTC", "15m"))
        wait_for(lambda: len(rig.sink.boundaries) >= 2)
        rig.venue.close_sockets()
        wait_for(lambda: any("reconnected" in item.note for item in rig.sink.of(StreamStatus)))
        rig.venue.set_faults(clear=True)
        wait_for(lambda: len(rig.store.series("BTC", "15m")) >= before + 2)
        wait_for(rig.market.is_settled)


def test_a_skewed_clock_is_seen_and_not_followed() -> None:
    """Books an hour ahead do not end candles early; the health says what is wrong."""
    with running(1.0) as rig:
        rig.venue.set_faults(clock_skew_ms=3_600_000)
        wait_for(lambda: rig.market.health().future_frames > 0, timeout_s=12.0)
        assert "ahead" in (rig.market.health().last_stream_problem or "")
        assert rig.clock.now_ms() < rig.venue.now_ms + MINUTE


def test_a_delisted_coin_is_known_and_not_subscribed() -> None:
    """Its instrument says so; the other coins are served as ever."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        venue.set_faults(delist="ETH")
        rig = Rig(venue)
        rig.market.connect()
        assert rig.market.instruments["ETH"].is_delisted
        assert not rig.market.instruments["BTC"].is_delisted
        assert {item.get("coin") for item in rig.market._subscriptions()} == {"BTC", None}
        rig.market.stop()


def test_rules_that_change_while_it_runs_are_stored() -> None:
    """Those of the start are not: only the daemon knows whether the database is of this market."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        rig = Rig(venue)
        rig.market.connect()
        rig.market._take_instruments(rig.market.client.instruments())
        assert rig.store.rows == []
        venue.set_faults(delist="ETH")
        rig.market._take_instruments(rig.market.client.instruments())
        (row,) = rig.store.rows
        assert isinstance(row, StateRow)
        assert row == meta_row(rig.market.instruments.values(), rig.clock.now_ms())
        rig.market.stop()


def test_a_coin_that_the_venue_does_not_list_is_one_clear_line() -> None:
    """It would close the whole socket; so it is refused before, with the nearest name."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        rig = Rig(venue, symbols=("BTCC",))
        with pytest.raises(ConfigError, match=r"trading.symbols: 'BTCC' is not listed at http.*nearest: BTC"):
            rig.market.connect()
        rig.market.stop()


def test_without_a_venue_the_start_is_one_clear_line() -> None:
    """Nothing answers: name the address and what to do."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        rig = Rig(venue)
    with pytest.raises(VenueAway, match="perpbot practice serve"):
        rig.market.connect()
    rig.market.stop()


def test_the_practice_status_sets_the_clock() -> None:
    """At `step` the clock stands where the venue's stands; the note names seed and kind."""
    with PracticeServer(speed=None, start="400", seed=7) as venue:
        rig = Rig(venue)
        status = rig.market.connect()
        assert rig.clock.stepped
        assert rig.clock.now_ms() == venue.now_ms == status.time_ms
        assert status.practice is not None
        assert status.practice.seed == 7
        assert rig.market.is_practice
        rig.market.stop()


def test_stopping_leaves_no_thread() -> None:
    """Whatever was under way, the threads of the market side are gone."""
    with running(600.0) as rig:
        wait_for(lambda: rig.sink.boundaries)
        rig.market.stop()
        rig.market.stop()
        wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("perpbot-market")])


def test_backfill_from_the_practice_venue_then_history_asks_for_the_newest_candle_only() -> None:
    """400 hours are there: 16.7 of 90 days; afterwards the start reads no history again."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        clock = VenueClock(venue.now_ms, None)
        client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock))
        store = MemoryStore()
        candles, funding = backfill(client, store, store, ["BTC"], ["15m"], 90, clock.now_ms(), generated=True)
        assert candles.text == "BTC 15m: 16.7 of 90 days, the venue has no more"
        assert funding.fetched >= 399
        client.close()
        rig = Rig(venue)
        rig.store = store
        rig.market._reader_factory = lambda: store
        rig.market.connect()
        before = rig.market.client.limiter.used()
        assert len(rig.market.history("BTC", "15m", 400)) == 400
        assert rig.market.client.limiter.used() - before <= 21  # the candle that ended at this very moment, no more
        rig.market.stop()


def test_our_limiter_keeps_us_below_the_venues() -> None:
    """At `step` no weight comes back: we stop ourselves before the venue answers 429."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        clock = VenueClock(venue.now_ms, None)
        client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock))
        now_ms = clock.now_ms()
        for _ in range(42):  # 21 weight each; reads for the market may use 900
            client.candles("BTC", "15m", now_ms - HOUR, now_ms, max_wait_s=0.0)
        with pytest.raises(RateLimited, match="no budget for a market request"):
            client.candles("BTC", "15m", now_ms - HOUR, now_ms, max_wait_s=0.0)
        client.close()


def test_a_nan_candle_names_its_row() -> None:
    """The practice venue's fault, seen through the client."""
    with PracticeServer(speed=None, start="400", seed=42) as venue:
        clock = VenueClock(venue.now_ms, None)
        client = VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock))
        venue.set_faults(nan_candle=True)
        with pytest.raises(BadAnswer, match=r"BTC 15m: candle row \d+ \(t=\d+\) is unusable"):
            client.candles("BTC", "15m", clock.now_ms() - 4 * HOUR, clock.now_ms())
        client.close()
