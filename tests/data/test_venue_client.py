"""REST through the SDK: typed results, and one clear error for everything foreign."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from fake_venue import FakeVenue, Raw
from market_fakes import HOUR, MINUTE, T0, candle, wire_candle

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import BadAnswer, PerpBotError, RateLimited, VenueAway, VenueRefused, VenueTimeout
from perp_bot.core.types import BookLevel, FundingRate, Instrument
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import RequestClass, WeightLimiter


@pytest.fixture
def fake() -> Iterator[FakeVenue]:
    with FakeVenue() as venue:
        yield venue


@pytest.fixture
def client(fake: FakeVenue) -> Iterator[VenueClient]:
    clock = FixedClock(T0)
    found = VenueClient(fake.base_url, clock=clock, limiter=WeightLimiter(clock), timeout_s=5.0)
    yield found
    found.close()


def test_the_status_tells_a_practice_venue_from_a_real_one(fake: FakeVenue, client: VenueClient) -> None:
    """An extra key of exchangeStatus, so that a URL needs no guess; speed null means stepped."""
    fake.answers["exchangeStatus"] = lambda _: {"specialStatuses": None, "time": T0}
    assert client.exchange_status().practice is None
    extra = {"speed": None, "seed": 42, "start_ms": T0, "recorded_until_ms": T0 + 5, "replays_step": True, "new": 1}
    fake.answers["exchangeStatus"] = lambda _: {"specialStatuses": None, "time": T0, "practice": extra}
    status = client.exchange_status()
    assert status.time_ms == T0
    assert status.practice is not None
    assert (status.practice.speed, status.practice.seed, status.practice.replays_step) == (None, 42, True)
    assert status.practice.note.startswith("practice venue at step, seed 42")


def test_instruments_keep_the_venues_positions(fake: FakeVenue, client: VenueClient) -> None:
    """The asset id is the position in the universe; delisted coins stay in it."""
    fake.answers["meta"] = lambda _: {
        "universe": [
            {"szDecimals": 5, "name": "BTC", "maxLeverage": 40, "marginTableId": 56},
            {"szDecimals": 1, "name": "OLD", "maxLeverage": 3, "marginTableId": 3, "isDelisted": True},
        ],
        "marginTables": [],
    }
    assert client.instruments() == (Instrument("BTC", 0, 5, 40, False, 56), Instrument("OLD", 1, 1, 3, True, 3))
    assert [request["type"] for request in fake.requests] == ["meta"]  # nothing else was fetched to get going


def test_contexts_are_joined_by_position_and_leave_out_coins_without_a_mark(
    fake: FakeVenue, client: VenueClient
) -> None:
    """A context carries no name; a delisted coin has no price, which is not a price of 0."""
    coins = [{"szDecimals": 5, "name": name, "maxLeverage": 40} for name in ("BTC", "OLD")]
    live = {"funding": "0.0000125", "openInterest": "2.5", "oraclePx": "10", "markPx": "11", "midPx": "10.5"}
    dead = {"funding": "0.0", "openInterest": "0.0", "oraclePx": "0.0", "markPx": "0.0", "midPx": None}
    fake.answers["metaAndAssetCtxs"] = lambda _: [{"universe": coins}, [live, dead]]
    (context,) = client.contexts()
    assert (context.symbol, context.mark_px, context.oracle_px, context.mid_px) == ("BTC", 11.0, 10.0, 10.5)
    fake.answers["metaAndAssetCtxs"] = lambda _: [{"universe": coins}, [live]]
    with pytest.raises(BadAnswer, match="2 coins, 1 contexts"):
        client.contexts()


def test_book_mids_and_accounts_are_typed(fake: FakeVenue, client: VenueClient) -> None:
    """Amounts of an account are exact decimals."""
    levels = [[{"px": "84143.0", "sz": "10.25", "n": 36}], [{"px": "84144.0", "sz": "0.66", "n": 3}]]
    fake.answers["l2Book"] = lambda _: {"coin": "BTC", "time": T0, "levels": levels}
    fake.answers["allMids"] = lambda _: {"BTC": "84143.5", "@107": "41.2"}
    summary = {"accountValue": "1182.31", "totalNtlPos": "3434.82", "totalRawUsd": "86.55", "totalMarginUsed": "171.74"}
    held = {"coin": "BTC", "szi": "-0.00785", "entryPx": "26951.0", "unrealizedPnl": "-0.08", "liquidationPx": None}
    fake.answers["clearinghouseState"] = lambda _: {
        "marginSummary": summary,
        "withdrawable": "838.83",
        "time": T0,
        "assetPositions": [{"type": "oneWay", "position": held}],
    }
    fake.answers["userRateLimit"] = lambda _: {"cumVlm": "5.5", "nRequestsUsed": 2, "nRequestsCap": 10005}
    assert client.book("BTC").asks == (BookLevel(84144.0, 0.66),)
    assert client.all_mids() == {"BTC": 84143.5, "@107": 41.2}
    account = client.clearinghouse_state("0x0")
    assert account.account_value_usd == Decimal("1182.31")
    assert account.positions[0].signed_size == Decimal("-0.00785")
    assert client.user_rate_limit("0x0").requests_cap == 10005


def test_candles_are_typed_and_charged_by_their_rows(fake: FakeVenue, client: VenueClient) -> None:
    """20 and 1 per 60 rows that really came."""
    fake.answers["candleSnapshot"] = lambda _: [wire_candle("BTC", "1m", T0 + index * MINUTE) for index in range(120)]
    rows = client.candles("BTC", "1m", T0, T0 + 4999 * MINUTE, RequestClass.RESEARCH)
    assert rows[0] == candle("BTC", "1m", T0)
    assert len(rows) == 120
    assert client.limiter.used() == 22
    assert fake.requests[0]["req"] == {"coin": "BTC", "interval": "1m", "startTime": T0, "endTime": T0 + 4999 * MINUTE}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"h": "NaN"}, rf"BTC 1m: candle row 1 \(t={T0 + MINUTE}\)"),
        ({"o": None}, "candle row 1"),
        ({"c": "-3"}, "candle row 1"),
        ({"h": "99.0"}, f"t={T0 + MINUTE}.*contradict"),
        ({"t": T0 + MINUTE + 1}, "grid"),
        ({"t": T0}, "does not follow"),
        ({"s": "ETH"}, "row 1 is of ETH"),
    ],
)
def test_an_unusable_candle_names_its_row(
    fake: FakeVenue, client: VenueClient, change: dict[str, Any], problem: str
) -> None:
    """A candle with NaN or contradictions never becomes a number that is traded on."""
    rows = [wire_candle("BTC", "1m", T0 + index * MINUTE) for index in range(3)]
    rows[1] |= change
    fake.answers["candleSnapshot"] = lambda _: rows
    with pytest.raises(BadAnswer, match=problem):
        client.candles("BTC", "1m", T0, T0 + 2 * MINUTE)
    assert not client.health().is_ok


def test_funding_is_paged_and_repeats_are_dropped(fake: FakeVenue, client: VenueClient) -> None:
    """500 rows an answer, the next page starts at the last row, which comes again."""
    hours = [T0 + index * HOUR for index in range(1100)]

    def answer(request: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [hour + 57 for hour in hours if request["startTime"] <= hour + 57 <= request["endTime"]]
        return [{"coin": "BTC", "fundingRate": "0.0000125", "premium": "-0.0003", "time": at} for at in rows[:500]]

    fake.answers["fundingHistory"] = answer
    rates = client.funding_history("BTC", T0, T0 + 1100 * HOUR)
    assert [rate.hour_ms for rate in rates] == hours
    assert rates[0] == FundingRate("BTC", T0, 0.0000125, -0.0003)
    assert len(fake.requests) == 3


FAILURES: list[tuple[Any, type[PerpBotError], str]] = [
    (Raw(429, "null"), RateLimited, "429"),
    (Raw(502, "<html>bad gateway</html>", "text/html"), VenueAway, "502"),
    (Raw(500, "null"), BadAnswer, "500"),
    (Raw(200, "<html>maintenance</html>", "text/html"), BadAnswer, "not JSON"),
    (Raw(200, "null"), BadAnswer, "unexpected form"),
    (Raw(422, "Failed to deserialize", "text/plain"), VenueRefused, "422"),
    (Raw(403, '{"why": "region"}'), BadAnswer, "unknown form"),
    (Raw(400, '["odd"]'), BadAnswer, "unknown form"),
]


@pytest.mark.parametrize(("answer", "kind", "words"), FAILURES, ids=[words for _, _, words in FAILURES])
def test_every_foreign_failure_becomes_one_of_ours(
    fake: FakeVenue, client: VenueClient, answer: Raw, kind: type[PerpBotError], words: str
) -> None:
    """Nothing of requests or the SDK leaks, and the text is one line."""
    fake.answers["exchangeStatus"] = lambda _: answer
    with pytest.raises(kind, match=words) as caught:
        client.exchange_status()
    assert "\n" not in str(caught.value)
    assert not client.health().is_ok


def test_an_unknown_coin_is_refused(fake: FakeVenue, client: VenueClient) -> None:
    """The venue answers 200 null to an l2Book of an unknown coin."""
    fake.answers["l2Book"] = lambda _: None
    with pytest.raises(VenueRefused, match="NOPE"):
        client.book("NOPE")


@pytest.mark.slow
def test_no_answer_in_time_is_a_timeout(fake: FakeVenue, client: VenueClient) -> None:
    """There is no default timeout in the SDK; ours holds."""

    async def never(_: dict[str, Any]) -> None:
        await asyncio.sleep(3)

    fake.answers["exchangeStatus"] = never
    with pytest.raises(VenueTimeout, match=r"within 0\.3 s"):
        client.exchange_status(timeout_s=0.3)


def test_health_recovers_with_the_first_good_answer(fake: FakeVenue, client: VenueClient) -> None:
    """A failure is over when an answer comes."""
    fake.answers["exchangeStatus"] = lambda _: Raw(502, "")
    with pytest.raises(VenueAway):
        client.exchange_status()
    fake.answers["exchangeStatus"] = lambda _: {"time": T0}
    client.exchange_status()
    health = client.health()
    assert (health.is_ok, health.last_error, health.failures) == (True, None, 1)


def test_a_local_address_without_a_venue_says_what_to_do() -> None:
    """One clear line that names `perpbot practice serve` and `--venue mainnet`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clock = FixedClock(T0)
    client = VenueClient(f"http://127.0.0.1:{port}", clock=clock, limiter=WeightLimiter(clock))
    with pytest.raises(VenueAway, match=r"`perpbot practice serve`.*`--venue mainnet`") as caught:
        client.connect()
    assert caught.value.exit_code == 3
    client.close()
