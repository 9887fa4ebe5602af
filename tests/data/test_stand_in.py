"""A channel that falls silent on a living socket: REST stands in, it is named, and the socket is made anew once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from market_fakes import T0, RecordingSink, wait_for
from test_market_practice import Rig, running

from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import VenueTimeout
from perp_bot.core.events import StreamStatus
from perp_bot.core.types import AssetContext, Book
from perp_bot.data import stand_in
from perp_bot.data.limiter import RequestClass
from perp_bot.data.stand_in import BOOKS, CONTEXTS, SilentChannel, StandIn
from perp_bot.trading.venue_health import venue_trouble


class Reads:
    """A REST client that answers from a list of coins, or fails."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.problem: str | None = None
        self.after_read: Any = None

    def book(self, symbol: str, *, request_class: RequestClass = RequestClass.MARKET, **_: Any) -> Book:
        assert request_class is RequestClass.EXIT
        self._answer(f"book {symbol}")
        return Book(symbol, T0, (), ())

    def contexts(self, *, request_class: RequestClass = RequestClass.MARKET, **_: Any) -> tuple[AssetContext, ...]:
        assert request_class is RequestClass.EXIT
        self._answer("contexts")
        return tuple(AssetContext(coin, T0, 100.0, 100.0, 100.0, None, None, None, None) for coin in ("BTC", "ETH"))

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.problem is not None:
            raise VenueTimeout(self.problem)
        if self.after_read is not None:
            self.after_read()


class Bench:
    """A StandIn whose ages and time are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, speed: float | None = 1.0) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(stand_in, "monotonic_s", lambda: self.now_s)
        self.reads, self.sink = Reads(), RecordingSink()
        self.ages: dict[tuple[str, str], float] = {
            (channel, coin): 1.0 for channel in (BOOKS, CONTEXTS) for coin in ("BTC", "ETH")
        }
        self.heard: list[str] = []
        self.chore = StandIn(
            client=self.reads,
            clock=VenueClock(T0, speed),
            sink=self.sink,
            coins=lambda: ("BTC", "ETH"),
            ages_s=lambda: self.ages,
            on_silent=self.heard.append,
        )
        self.chore.stream_is_up()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_nothing_is_read_while_every_channel_speaks(bench: Bench) -> None:
    """A book may be late by one of its 5.4 s; nothing is due and nothing silent."""
    bench.ages[(BOOKS, "ETH")] = 11.9
    bench.ages[(CONTEXTS, "ETH")] = 9.9
    assert bench.chore.silent() == ()
    assert bench.chore.wait_s() is None
    assert not bench.chore.is_pending()


def test_a_silent_book_is_read_every_three_seconds_and_that_coins_only(bench: Bench) -> None:
    """It goes to the sink as a streamed one would; the coin's listing is looked at once."""
    bench.ages[(BOOKS, "ETH")] = 13.0
    assert bench.chore.wait_s() == 0.0
    bench.chore.run()
    assert bench.sink.log == [Book("ETH", T0, (), ())]
    assert bench.chore.wait_s() == 3.0
    bench.now_s += 2.9
    bench.chore.run()
    bench.now_s += 0.1
    bench.chore.run()
    assert bench.reads.asked == ["book ETH", "book ETH"]
    assert bench.heard == ["ETH"]


def test_silent_marks_are_read_for_all_coins_at_once_every_five_seconds(bench: Bench) -> None:
    """One request of weight 20 has every coin's context; only the silent coin's is used."""
    bench.ages[(CONTEXTS, "BTC")] = 11.0
    bench.chore.run()
    bench.now_s += 4.9
    bench.chore.run()
    assert [item.symbol for item in bench.sink.of(AssetContext)] == ["BTC"]
    assert bench.reads.asked == ["contexts"]
    bench.now_s += 0.2
    bench.chore.run()
    assert bench.reads.asked == ["contexts", "contexts"]


def test_many_silent_books_stay_within_a_quarter_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """40 books of weight 2: each every 16 s, 300 weight a minute."""
    bench = Bench(monkeypatch)
    coins = tuple(f"C{number}" for number in range(40))
    bench.chore._coins = lambda: coins
    bench.ages.clear()
    bench.ages.update({(CONTEXTS, coin): 1.0 for coin in coins} | {(BOOKS, coin): 20.0 for coin in coins})
    bench.chore.run()
    assert len(bench.reads.asked) == 40
    assert bench.chore.wait_s() == 16.0


def test_a_channel_that_never_spoke_is_silent_too(bench: Bench) -> None:
    """Counted from the moment the stream was up."""
    del bench.ages[(BOOKS, "BTC")]
    bench.now_s += 12.5
    assert bench.chore.silent() == (SilentChannel(BOOKS, "BTC", 12.5, 12.0, None),)


def test_a_read_that_the_stream_overtook_is_dropped(bench: Bench) -> None:
    """The streamed frame is the newer one."""
    bench.ages[(BOOKS, "ETH")] = 13.0
    bench.reads.after_read = lambda: bench.ages.update({(BOOKS, "ETH"): 0.0})
    bench.chore.run()
    assert bench.reads.asked == ["book ETH"]
    assert bench.sink.log == []


def test_a_failing_read_is_said_and_tried_again(bench: Bench) -> None:
    """The sentence tells that nothing stands in; the next good answer takes it back."""
    bench.ages[(CONTEXTS, "ETH")] = 26.0
    bench.reads.problem = "no answer within 3 s"
    bench.chore.run()
    (silent,) = bench.chore.silent()
    assert silent.text == (
        "activeAssetCtx of ETH has been silent for 26 s, limit 10 s, and REST cannot stand in: no answer within 3 s"
    )
    bench.reads.problem = None
    bench.now_s += 5.0
    bench.chore.run()
    (silent,) = bench.chore.silent()
    assert silent.text == "activeAssetCtx of ETH has been silent for 26 s, limit 10 s; REST stands in for exits"


def test_a_stepped_venue_is_never_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between steps nothing comes, and nothing is wrong."""
    bench = Bench(monkeypatch, speed=None)
    bench.ages[(BOOKS, "ETH")] = 900.0
    assert bench.chore.silent() == ()
    assert bench.chore.why_reconnect() is None


def test_a_venue_slower_than_real_time_is_given_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a tenth of the speed a book every 54 s is in order."""
    bench = Bench(monkeypatch, speed=0.1)
    bench.ages[(BOOKS, "ETH")] = 100.0
    assert bench.chore.silent() == ()


def test_the_socket_is_made_anew_after_thirty_seconds_and_at_most_every_five_minutes(bench: Bench) -> None:
    """Subscribing again may help; doing it all the time would cost the channels that speak."""
    bench.ages[(BOOKS, "ETH")] = 31.0
    assert bench.chore.why_reconnect() is None, "this connection is not 30 s old"
    bench.now_s += 30.0
    assert bench.chore.why_reconnect() == "no l2Book of ETH for 31 s though the socket answers"
    bench.now_s += 299.0
    assert bench.chore.why_reconnect() is None
    bench.now_s += 1.0
    bench.ages[(CONTEXTS, "BTC")] = 40.0
    assert bench.chore.why_reconnect() == "no activeAssetCtx of BTC (and 1 more) for 40 s though the socket answers"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """A market side at speed 60 that loses patience within a second."""
    monkeypatch.setattr(stand_in, "SILENT_AFTER_S", {BOOKS: 0.6, CONTEXTS: 0.6})
    monkeypatch.setattr(stand_in, "BOOK_EVERY_S", 0.1)
    monkeypatch.setattr(stand_in, "CONTEXTS_EVERY_S", 0.1)
    with running(60.0) as rig:
        yield rig


@pytest.mark.slow
@pytest.mark.parametrize(("channel", "kind"), [(BOOKS, Book), (CONTEXTS, AssetContext)])
def test_rest_stands_in_for_a_muted_channel_of_the_practice_venue(quick: Rig, channel: str, kind: type) -> None:
    """Books and marks of the muted coin go on, entries are told to stop by name, and the stream takes over again."""
    quick.venue.set_faults(mute={"channels": [channel], "coins": ["ETH"]})
    wait_for(lambda: [item.coin for item in quick.market.health().silent] == ["ETH"])
    before = len([item for item in quick.sink.of(kind) if item.symbol == "ETH"])
    wait_for(lambda: len([item for item in quick.sink.of(kind) if item.symbol == "ETH"]) >= before + 3)
    health = quick.market.health()
    assert health.connected
    said = str(venue_trouble(health, {"BTC": 0.1, "ETH": 0.1}, up_s=100, speed=60.0))
    assert said.startswith(f"{channel} of ETH has been silent for ")
    assert said.endswith("REST stands in for exits")
    quick.venue.set_faults(clear=True)
    wait_for(lambda: quick.market.health().silent == ())


@pytest.mark.slow
def test_a_muted_channel_makes_the_socket_anew_once(quick: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is subscribed again; while the channel stays silent that is not repeated."""
    monkeypatch.setattr(stand_in, "RECONNECT_AFTER_S", 1.0)
    quick.venue.set_faults(mute={"channels": [BOOKS], "coins": ["ETH"]})
    wait_for(lambda: quick.market.health().reconnects == 1)
    lost = [item.note for item in quick.sink.of(StreamStatus) if not item.connected]
    assert len(lost) == 1
    assert lost[0].startswith("stream lost: no l2Book of ETH for ")
    read = len([item for item in quick.sink.of(Book) if item.symbol == "ETH"])
    wait_for(lambda: len([item for item in quick.sink.of(Book) if item.symbol == "ETH"]) >= read + 5)
    assert quick.market.health().reconnects == 1
