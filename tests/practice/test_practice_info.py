"""The /info endpoint: answers, errors and weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import requests
from practice_socket import candle_rows

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, TIMEFRAMES, close_of
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

Ask = Callable[..., Any]
USER = "0x" + "ab" * 20


def post(venue: PracticeServer, body: Any, **headers: str) -> requests.Response:
    kwargs: dict[str, Any] = {"json": body} if not isinstance(body, str) else {"data": body}
    return requests.post(f"{venue.base_url}/info", headers=headers or None, timeout=10, **kwargs)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "noSuchThing"},
        {},
        [],
        {"type": "clearinghouseState"},
        {"type": "clearinghouseState", "user": "0x12"},
        {"type": "candleSnapshot", "coin": "BTC"},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "7m", "startTime": 0, "endTime": 1}},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": -1, "endTime": 1}},
        {"type": "candleSnapshot", "req": {"coin": "BTC", "interval": "1m", "startTime": "0", "endTime": 1}},
        {"type": "fundingHistory", "coin": "BTC"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
        {"type": "orderStatus", "user": USER, "oid": "abc"},
    ],
)
def test_a_request_that_is_not_understood_is_422(shared: PracticeServer, body: Any) -> None:
    """Unknown type, missing or wrong field: 422 with the venue's text."""
    answer = post(shared, body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.text == "Failed to deserialize the JSON body into the target type"


def test_http_errors_are_the_venues(shared: PracticeServer) -> None:
    """Bad JSON 400, wrong content type 415, GET 405 and empty."""
    bad = post(shared, "{not json", **{"Content-Type": "application/json"})
    assert (bad.status_code, bad.text) == (400, "Failed to parse the request body as JSON")
    typed = post(shared, "{}", **{"Content-Type": "text/plain"})
    assert (typed.status_code, typed.text) == (415, "Expected request with `Content-Type: application/json`")
    got = requests.get(f"{shared.base_url}/info", timeout=5)
    assert (got.status_code, got.text) == (405, "")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"type": "metaAndAssetCtxs", "dex": "nope"}, 500),
        ({"type": "fundingHistory", "coin": "NOPE", "startTime": 0}, 500),
        ({"type": "l2Book", "coin": "NOPE"}, 200),
        ({"type": "l2Book", "coin": "btc"}, 200),
        ({"type": "l2Book", "coin": "BTC", "nSigFigs": 5, "mantissa": 1}, 500),
    ],
)
def test_unknown_names_answer_null(shared: PracticeServer, body: Any, status: int) -> None:
    """500 null or 200 null, as the venue has it; names are case-sensitive."""
    answer = post(shared, body)
    assert (answer.status_code, answer.text) == (status, "null")


@pytest.mark.parametrize("interval", TIMEFRAMES)
def test_candles_are_whole_in_order_and_not_from_the_future(shared: PracticeServer, interval: str) -> None:
    """Up to 5000 rows, oldest first, one after the other, each overlapping the range, none later than now."""
    now = shared.now_ms
    rows = candle_rows(shared, "BTC", interval, end_ms=now * 2)
    assert 1 <= len(rows) <= 5_000
    for earlier, later in pairwise(rows):
        assert later["t"] == close_of(interval, earlier["t"]) == earlier["T"] + 1
    assert rows[0]["T"] >= RECORDED_START_MS
    assert rows[-1]["t"] < now
    assert all(float(row["l"]) <= min(float(row["o"]), float(row["c"])) for row in rows)
    assert all(float(row["h"]) >= max(float(row["o"]), float(row["c"])) for row in rows)


def test_a_long_range_is_cut_to_the_newest_5000(shared: PracticeServer) -> None:
    """A request for everything gets the newest 5000 candles, silently."""
    rows = candle_rows(shared, "ETH", "1m")
    assert len(rows) == 5_000
    assert rows[-1]["T"] + 1 == shared.now_ms


def test_the_candle_that_contains_the_start_is_included(shared: PracticeServer) -> None:
    """As recorded: a start inside a candle returns that candle first."""
    start = RECORDED_START_MS + 10 * HOUR_MS + 1_234
    rows = candle_rows(shared, "BTC", "1h", start, start + HOUR_MS)
    assert [row["t"] for row in rows] == [RECORDED_START_MS + 10 * HOUR_MS, RECORDED_START_MS + 11 * HOUR_MS]


def test_the_open_candle_is_what_its_trades_so_far_make(ask: Ask) -> None:
    """Between two closes the last row is the running candle, made of the trades before now."""
    with PracticeServer(speed=None, start=str(RECORDED_START_MS + 50 * HOUR_MS + 90_500)) as venue:
        now = venue.now_ms
        rows = ask(
            venue, "candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": now - 120_000, "endTime": now}
        )
        trades = ask(venue, "recentTrades", coin="BTC")
        assert [row["t"] for row in rows] == [now - 150_500, now - 90_500, now - 30_500]
        assert rows[-1]["T"] > now
        assert trades[0]["time"] < now
        assert rows[-1]["c"] == trades[0]["px"]
        assert rows[-1]["n"] >= 1


@pytest.mark.slow
def test_funding_history_pages_by_500(ask: Ask) -> None:
    """At most 500 rows, oldest first, hourly, each 1 to 118 ms after its hour; the last time is inclusive."""
    with PracticeServer(speed=None, start="600") as venue:
        first = ask(venue, "fundingHistory", coin="BTC", startTime=0)
        assert len(first) == 500
        again = ask(venue, "fundingHistory", coin="BTC", startTime=first[-1]["time"])
        assert again[0] == first[-1]
        assert len(again) == 600 - 500  # hours 500..599, of which the newest lands after now, plus the repeat
        rows = first + again[1:]
        for number, row in enumerate(rows):
            late = row["time"] - (RECORDED_START_MS + (number + 1) * HOUR_MS)
            assert 1 <= late <= 118
        assert rows[-1]["time"] <= venue.now_ms


def test_the_venue_says_that_it_is_practice(shared: PracticeServer, ask: Ask) -> None:
    """exchangeStatus carries speed, seed, start and what is generated."""
    status = ask(shared, "exchangeStatus")
    practice = status["practice"]
    assert status["time"] == practice["now_ms"] == shared.now_ms
    assert practice["speed"] is None
    assert practice["seed"] == 42
    assert practice["replays_step"] is True
    assert practice["start_ms"] == RECORDED_START_MS + 400 * HOUR_MS
    assert practice["recorded_until_ms"] == RECORDED_START_MS + 800 * HOUR_MS
    assert practice["coins"]["BTC"].startswith("recorded")
    assert practice["coins"]["SOL"].startswith("derived from ETH")


def test_a_recorded_delisted_coin_has_no_market(shared: PracticeServer, ask: Ask) -> None:
    """MATIC stays in the universe with isDelisted, an empty book, null mids and its last price."""
    meta, contexts = ask(shared, "metaAndAssetCtxs")
    index = [entry["name"] for entry in meta["universe"]].index("MATIC")
    assert meta["universe"][index]["isDelisted"] is True
    assert contexts[index]["midPx"] is None
    assert contexts[index]["impactPxs"] is None
    assert ask(shared, "l2Book", coin="MATIC")["levels"] == [[], []]
    assert ask(shared, "allMids")["MATIC"] == "0.37621"


@pytest.mark.slow
def test_weights_run_out_and_come_back_with_the_venues_clock() -> None:
    """1200 a minute per IP: 60 requests of weight 20, then 429 null until a venue minute has passed."""
    with PracticeServer(speed=None) as venue:
        for _ in range(60):
            assert post(venue, {"type": "meta"}).status_code == 200
        refused = post(venue, {"type": "allMids"})
        assert (refused.status_code, refused.text) == (429, "null")
        venue.step("1m")
        assert post(venue, {"type": "allMids"}).status_code == 200


@pytest.mark.slow
def test_rows_are_weighed_too() -> None:
    """5000 candles cost 20 + 84, 500 funding rows 20 + 25, an l2Book 2, a role 60."""
    with PracticeServer(speed=None, start="600") as venue:

        def cost(**body: Any) -> int:
            before = requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["weight_used"]
            assert post(venue, body).status_code == 200
            after = requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["weight_used"]
            return int(after - before)

        assert (
            cost(type="candleSnapshot", req={"coin": "BTC", "interval": "1m", "startTime": 0, "endTime": venue.now_ms})
            == 104
        )
        assert cost(type="fundingHistory", coin="BTC", startTime=0) == 45
        assert cost(type="l2Book", coin="BTC") == 2
        assert cost(type="userRole", user=USER) == 60
        assert cost(type="exchangeStatus") == 2


def test_the_weight_limit_can_be_raised() -> None:
    """POST /practice/limits changes limits while running; an unknown one is refused with the names."""
    with PracticeServer(speed=None, limits=Limits(weight_per_minute=10)) as venue:
        assert post(venue, {"type": "meta"}).status_code == 429
        url = f"{venue.base_url}/practice/limits"
        assert requests.post(url, json={"weight_per_minute": 5_000}, timeout=5).json()["weight_per_minute"] == 5_000
        assert post(venue, {"type": "meta"}).status_code == 200
        refused = requests.post(url, json={"weigth": 1}, timeout=5)
        assert refused.status_code == 400
        assert "weight_per_minute" in refused.json()["error"]


@pytest.mark.slow
def test_same_seed_same_bytes_whatever_was_asked_before() -> None:
    """Two venues answer byte for byte alike, also when asked in another order."""
    bodies: list[dict[str, Any]] = [
        {"type": "l2Book", "coin": "BTC"},
        {"type": "candleSnapshot", "req": {"coin": "ETH", "interval": "5m", "startTime": 0, "endTime": 1 << 42}},
        {"type": "metaAndAssetCtxs"},
        {"type": "recentTrades", "coin": "SOL"},
        {"type": "fundingHistory", "coin": "DOGE", "startTime": RECORDED_START_MS + 300 * HOUR_MS},
    ]
    with PracticeServer(speed=None, start="420") as one, PracticeServer(speed=None, start="420") as other:
        first = [post(one, body).content for body in bodies]
        second = [post(other, body).content for body in reversed(bodies)][::-1]
        assert first == second
    with PracticeServer(speed=None, start="420", seed=43) as third:
        assert post(third, bodies[0]).content != first[0]


def test_an_empty_account_answers_every_read(shared: PracticeServer, ask: Ask) -> None:
    """An address that never traded has zeros, empty lists and unknown orders, not errors."""
    state = ask(shared, "clearinghouseState", user=USER, dex="")
    assert state["marginSummary"]["accountValue"] == "0.0"
    assert state["assetPositions"] == []
    assert ask(shared, "orderStatus", user=USER, oid=12) == {"status": "unknownOid"}
    assert ask(shared, "orderStatus", user=USER, oid="0x" + "1" * 32) == {"status": "unknownOid"}
    assert ask(shared, "userRateLimit", user=USER)["nRequestsCap"] == 10_000
    assert ask(shared, "userFees", user=USER)["userCrossRate"] == "0.00045"
    for kind in ("openOrders", "frontendOpenOrders", "historicalOrders", "userFills", "extraAgents"):
        assert ask(shared, kind, user=USER) == []
    for kind in ("userFillsByTime", "userFunding", "userNonFundingLedgerUpdates"):
        assert ask(shared, kind, user=USER, startTime=0) == []


def test_a_long_answer_is_the_same_cold_and_warm(shared: PracticeServer) -> None:
    """Answers are complete after cooperative generation: the first and the second time alike."""
    first = candle_rows(shared, "SOL", "15m")
    assert first == candle_rows(shared, "SOL", "15m")
    assert len(first) == 400 * 4
    assert first[-1]["t"] == shared.now_ms - 15 * MINUTE_MS
