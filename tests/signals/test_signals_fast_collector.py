"""The fast scale against a stand-in venue: every field moves with its input, every fault is stated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from signals_stand_in import StandIn, book

from perp_bot.core.clock import FixedClock
from perp_bot.core.types import Book, BookLevel
from perp_bot.ops.http import HttpClient
from perp_bot.signals.collectors.fast import FastSettings, FastSignalCollector

NOW = 1_790_232_240_000
SETTINGS = FastSettings(order_notional_usd=300.0, timeout_s=5.0, volatility_least=2)
BTC = [("99.9", "1.0"), ("99.0", "2.0")], [("100.1", "1.0"), ("101.0", "3.0")]


class Purse:
    """A budget with a fixed weight."""

    def __init__(self, weight: int) -> None:
        self.left = weight
        self.held_back = 0

    def try_acquire(self, weight: int) -> bool:
        if weight > self.left:
            return False
        self.left -= weight
        return True

    def hold_back(self) -> None:
        self.held_back += 1


Make = Callable[..., FastSignalCollector]


@pytest.fixture
async def make(venue: StandIn) -> AsyncIterator[Make]:
    made: list[FastSignalCollector] = []

    def build(*coins: str, clock: FixedClock | None = None, weight: int = 1_000, **options: Any) -> FastSignalCollector:
        settings = options.pop("settings", SETTINGS)
        collector = FastSignalCollector(
            settings, clock or FixedClock(NOW), HttpClient(), venue.base_url, Purse(weight), lambda: coins, **options
        )
        made.append(collector)
        return collector

    yield build
    for collector in made:
        await collector.close()


def stream_book(coin: str, mid: float, age_s: float) -> Book:
    return Book(
        coin,
        NOW - int(age_s * 1000),
        bids=(BookLevel(mid - 0.1, 5.0), BookLevel(mid * 0.98, 5.0)),
        asks=(BookLevel(mid + 0.1, 5.0), BookLevel(mid * 1.02, 5.0)),
    )


async def test_every_field_is_reckoned_from_the_book_of_the_venue(venue: StandIn, make: Make) -> None:
    """Spread 20 bps, depth 701 USD and 7 coins, slippage of 300 USD 70 bps; latency measured, no volatility yet."""
    venue.answers = {("l2Book", "BTC"): book("BTC", *BTC, NOW), ("allMids", ""): {"BTC": "100.0"}}
    snapshot = await make("BTC").collect()
    found = snapshot.coins["BTC"]
    assert found.spread_bps == pytest.approx(20.0)
    assert found.depth_usd == pytest.approx(701.0)
    assert found.depth_coins == pytest.approx(7.0)
    assert found.slippage_bps == pytest.approx(70.0)
    assert found.mid_px == pytest.approx(100.0)
    assert found.short_term_volatility is None
    assert found.missing == {"short_term_volatility": "0 of 2 one-minute returns so far"}
    assert found.metadata.confidence == pytest.approx(0.75)  # 3 of 4 fields, fresh
    assert (found.metadata.staleness_seconds, found.metadata.sources) == (0.0, ("rest l2Book",))
    assert snapshot.api_latency_ms is not None
    assert snapshot.api_latency_ms > 0.0
    assert snapshot.venue_ms == NOW


async def test_volatility_appears_after_enough_minutes_and_completes_the_confidence(venue: StandIn, make: Make) -> None:
    """Four minutes of collections at mids 100, 100, 100, 100 close three minutes: two returns of 0, confidence 1."""
    clock = FixedClock(NOW)
    collector = make("BTC", clock=clock)
    for minute in range(4):
        clock.set(NOW + minute * 60_000)
        venue.answers = {("l2Book", "BTC"): book("BTC", *BTC, clock.now_ms()), ("allMids", ""): {}}
        snapshot = await collector.collect()
    assert snapshot.coins["BTC"].short_term_volatility == pytest.approx(0.0, abs=1e-12)
    assert snapshot.coins["BTC"].metadata.confidence == 1.0
    assert snapshot.coins["BTC"].note == ""


async def test_a_fresh_stream_book_saves_the_request(venue: StandIn, make: Make) -> None:
    """With a book 3 s old only allMids is asked; an old one is asked for by REST."""
    venue.answers = {("l2Book", "ETH"): book("ETH", *BTC, NOW), ("allMids", ""): {}}
    held = {"BTC": stream_book("BTC", 500.0, 3.0), "ETH": stream_book("ETH", 500.0, 20.0)}
    snapshot = await make("BTC", "ETH", book_source=held.get).collect()
    assert sorted(venue.asked) == [("allMids", ""), ("l2Book", "ETH")]
    assert snapshot.coins["BTC"].metadata.sources == ("stream l2Book",)
    assert snapshot.coins["BTC"].metadata.staleness_seconds == 3.0
    assert snapshot.coins["BTC"].metadata.confidence == pytest.approx(0.75)
    assert snapshot.coins["ETH"].mid_px == pytest.approx(100.0)


async def test_an_old_stream_book_is_used_with_less_confidence_when_the_venue_fails(venue: StandIn, make: Make) -> None:
    """35 s old is half-way from 10 to 60: freshness 0.5, completeness 0.75; stated, and marked cached."""
    venue.answers = {("l2Book", "BTC"): "html", ("allMids", ""): {}}
    found = (await make("BTC", book_source=lambda coin: stream_book(coin, 500.0, 35.0)).collect()).coins["BTC"]
    assert found.spread_bps == pytest.approx(4.0)
    assert found.metadata.confidence == pytest.approx(0.375)
    assert found.metadata.is_cached
    assert "book 35 s old" in found.note
    assert "HTML" in found.note


async def test_a_book_older_than_the_maximum_is_not_used_at_all(venue: StandIn, make: Make) -> None:
    """After 61 s nothing is derived from it: None with a reason, confidence 0."""
    venue.answers = {("l2Book", "BTC"): 502, ("allMids", ""): {"BTC": "100.0"}}
    found = (await make("BTC", book_source=lambda coin: stream_book(coin, 500.0, 61.0)).collect()).coins["BTC"]
    assert (found.spread_bps, found.depth_usd, found.slippage_bps) == (None, None, None)
    assert found.mid_px == 100.0
    assert found.metadata.confidence == 0.0
    assert "61 s old" in found.missing["spread_bps"]
    assert "502" in found.missing["spread_bps"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("html", "HTML"),
        (500, "status 500"),
        (429, "429"),
        (None, "no book of SOL"),
        ("raw:", "not JSON"),
        ("raw:[]", "not the promised shape"),
        ("raw:{}", "not the promised shape"),
        (book("BTC", *BTC, NOW), "was given that of BTC"),
        (book("SOL", [], BTC[1], NOW), "no bids"),
        (book("SOL", [("NaN", "1")], BTC[1], NOW), "impossible price"),
        (book("SOL", [("-5", "1")], BTC[1], NOW), "impossible price"),
        (book("SOL", [("99", "1e400")], BTC[1], NOW), "not the promised shape"),
        (book("SOL", [("99", "inf")], BTC[1], NOW), "impossible size"),
        (book("SOL", [("101", "1")], [("100", "1")], NOW), "crossed"),
        ({"coin": "SOL", "time": NOW, "levels": [[{"px": {}, "sz": "1"}], []]}, "not the promised shape"),
    ],
)
async def test_each_lie_of_one_coin_is_stated_and_costs_the_other_nothing(
    venue: StandIn, make: Make, answer: Any, reason: str
) -> None:
    """HTML, errors, null, NaN, negative, crossed, the wrong coin: None with the reason; BTC keeps its confidence."""
    venue.answers = {
        ("l2Book", "BTC"): book("BTC", *BTC, NOW),
        ("l2Book", "SOL"): answer,
        ("allMids", ""): {"BTC": "100.0", "SOL": "NaN"},
    }
    snapshot = await make("BTC", "SOL").collect()
    sol, btc = snapshot.coins["SOL"], snapshot.coins["BTC"]
    assert reason in sol.missing["spread_bps"]
    assert (sol.spread_bps, sol.depth_usd, sol.slippage_bps, sol.mid_px) == (None, None, None, None)
    assert sol.metadata.confidence == 0.0
    assert btc.metadata.confidence == pytest.approx(0.75)
    assert snapshot.quality.confidence == pytest.approx(0.375)  # the mean over what was asked


async def test_a_hanging_coin_is_given_up_and_the_others_are_there(venue: StandIn, make: Make) -> None:
    """When the time is up the snapshot comes with what there is; the late coin says so."""
    venue.answers = {
        ("l2Book", "BTC"): book("BTC", *BTC, NOW),
        ("l2Book", "SOL"): "hang",
        ("allMids", ""): "hang",
    }
    settings = FastSettings(order_notional_usd=300.0, timeout_s=0.2)
    snapshot = await make("BTC", "SOL", settings=settings).collect()
    assert snapshot.coins["BTC"].spread_bps == pytest.approx(20.0)
    assert "no answer within 0.2 s" in snapshot.coins["SOL"].missing["spread_bps"]
    assert snapshot.api_latency_ms is None
    assert "no answer within 0.2 s" in snapshot.missing["api_latency_ms"]


async def test_nothing_is_asked_beyond_the_request_budget(venue: StandIn, make: Make) -> None:
    """Weight 4 buys allMids and one book; the other coin says that the budget is used up."""
    venue.answers = {("l2Book", coin): book(coin, *BTC, NOW) for coin in ("BTC", "ETH")} | {("allMids", ""): {}}
    snapshot = await make("BTC", "ETH", weight=4).collect()
    assert len(venue.asked) == 2
    reasons = [found.missing.get("spread_bps") for found in snapshot.coins.values()]
    assert reasons == [None, "the request budget is used up"]


async def test_a_429_holds_the_whole_process_back(venue: StandIn) -> None:
    """The venue counts by address: what one part of the process is refused, the others must know."""
    venue.answers = {("l2Book", "BTC"): 429, ("allMids", ""): 429}
    purse = Purse(100)
    collector = FastSignalCollector(SETTINGS, FixedClock(NOW), HttpClient(), venue.base_url, purse, lambda: ("BTC",))
    snapshot = await collector.collect()
    await collector.close()
    assert purse.held_back == 2
    assert "429" in snapshot.missing["api_latency_ms"]


async def test_no_watched_coin_is_stated_not_confident(venue: StandIn, make: Make) -> None:
    """Nothing asked is nothing known."""
    venue.answers = {("allMids", ""): {"BTC": "1"}}
    snapshot = await make().collect()
    assert snapshot.quality.confidence == 0.0
    assert snapshot.missing == {"coins": "no coin is watched"}


async def test_a_note_names_each_reason_once_and_says_that_a_depth_is_a_floor(venue: StandIn, make: Make) -> None:
    """People read one line a coin: which fields, why; and a depth cut by the book's end says so."""
    venue.answers = {
        ("l2Book", "BTC"): book("BTC", [("99.9", "50")], [("100.1", "50")], NOW),
        ("l2Book", "SOL"): None,
        ("allMids", ""): {"SOL": "5"},
    }
    coins = (await make("BTC", "SOL").collect()).coins
    assert coins["BTC"].depth_is_floor
    assert coins["BTC"].note == (
        "short_term_volatility: 0 of 2 one-minute returns so far; depth_usd is a floor: the book ends within 1 % of mid"
    )
    assert coins["SOL"].note == (
        "spread_bps, depth_usd, depth_coins, slippage_bps: the venue has no book of SOL: not listed, or delisted; "
        "short_term_volatility: 0 of 2 one-minute returns so far"
    )


async def test_a_connection_that_is_refused_is_a_reason_without_a_path(make: Make) -> None:
    """Nothing listens there: every coin is missing, and the text names host and question only."""
    collector = FastSignalCollector(
        SETTINGS, FixedClock(NOW), HttpClient(), "http://127.0.0.1:9", Purse(100), lambda: ("BTC",)
    )
    snapshot = await collector.collect()
    await collector.close()
    assert "l2Book BTC at 127.0.0.1:9: nothing answers" in snapshot.coins["BTC"].missing["spread_bps"]
    assert snapshot.quality.confidence == 0.0


async def test_what_a_decision_stores_holds_no_wall_clock_value(venue: StandIn, make: Make) -> None:
    """A re-decision must give the identical row: latency stays out, missing is None."""
    venue.answers = {("l2Book", "BTC"): book("BTC", *BTC, NOW), ("allMids", ""): {}}
    snapshot = await make("BTC").collect()
    stored = snapshot.decision_values("BTC")
    assert stored is not None
    assert stored["spread_bps"] == pytest.approx(20.0)
    assert stored["short_term_volatility"] is None
    assert stored["fast_venue_ms"] == NOW
    assert not any("latency" in key or "monotonic" in key for key in stored)
    assert snapshot.decision_values("DOGE") is None
    assert snapshot.plain()["coins"]["BTC"]["metadata"]["sources"] == ["rest l2Book"]


async def test_an_unwatched_coin_is_forgotten(venue: StandIn, make: Make) -> None:
    """A coin that leaves the watch list and returns starts its volatility anew."""
    watched: list[tuple[str, ...]] = [("BTC",)]
    clock = FixedClock(NOW)
    collector = FastSignalCollector(SETTINGS, clock, HttpClient(), venue.base_url, Purse(10_000), lambda: watched[0])
    try:
        for minute in range(4):
            clock.set(NOW + minute * 60_000)
            venue.answers = {("l2Book", "BTC"): book("BTC", *BTC, clock.now_ms()), ("allMids", ""): {}}
            assert (await collector.collect()).coins["BTC"].metadata.timestamp == clock.now_ms()
        watched[0] = ()
        await collector.collect()
        watched[0] = ("BTC",)
        assert (await collector.collect()).coins["BTC"].short_term_volatility is None
    finally:
        await collector.close()
