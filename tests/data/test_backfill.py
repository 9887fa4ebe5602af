"""Backfill and history: only what is missing is asked for, and the report says what the venue does not have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fake_venue import FakeVenue, Raw
from hypothesis import given
from hypothesis import strategies as st
from market_fakes import HOUR, MINUTE, T0, MemoryStore, candle, wire_candle

from perp_bot.core import timeframes
from perp_bot.core.clock import FixedClock, VenueClock
from perp_bot.core.errors import VenueAway
from perp_bot.data import backfill as module
from perp_bot.data import history as history_module
from perp_bot.data.backfill import SeriesReport, _pages, backfill
from perp_bot.data.client import VenueClient
from perp_bot.data.db.rows import CandleRows, FundingRateRow
from perp_bot.data.history import closed_history, previous_opens
from perp_bot.data.limiter import WeightLimiter

NOW = T0 + 7 * MINUTE
DAY = timeframes.DAY_MS
QUARTER = 15 * MINUTE


class Past:
    """A venue with a past: candles since `since_ms`, except `holes`; the newest 5,000 of an interval."""

    def __init__(self, fake: FakeVenue, since_ms: int, *, now_ms: int = NOW) -> None:
        self.since_ms = since_ms
        self.now_ms = now_ms
        self.holes: set[int] = set()
        fake.answers["candleSnapshot"] = self.candles
        fake.answers["fundingHistory"] = self.funding

    def candles(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        asked = request["req"]
        step = timeframes.length_ms(asked["interval"])
        newest = timeframes.open_of(asked["interval"], self.now_ms)
        oldest = max(timeframes.open_of(asked["interval"], self.since_ms), newest - 4999 * step)
        first = max(oldest, -(-asked["startTime"] // step) * step)
        opens = [at for at in range(first, min(newest, asked["endTime"]) + 1, step) if at not in self.holes]
        return [wire_candle(asked["coin"], asked["interval"], at) for at in opens[-5000:]]

    def funding(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        hours = range(timeframes.open_of("1h", self.since_ms), self.now_ms, HOUR)
        rows = [at + 57 for at in hours if request["startTime"] <= at + 57 <= request["endTime"]]
        return [{"coin": request["coin"], "fundingRate": "0.00001", "premium": "0.0", "time": at} for at in rows[:500]]


class Shown:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, name: str, steps: int) -> None:
        self.lines.append(f"{name} begins, {steps} requests")

    def advance(self, name: str) -> None:
        self.lines.append(f"{name} goes on")

    def end(self, name: str, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def fake() -> Iterator[FakeVenue]:
    with FakeVenue() as venue:
        yield venue


@pytest.fixture
def client(fake: FakeVenue) -> Iterator[VenueClient]:
    clock = FixedClock(NOW)
    found = VenueClient(fake.base_url, clock=clock, limiter=WeightLimiter(clock, weight_per_minute=100_000))
    yield found
    found.close()


def fill(
    client: VenueClient, store: MemoryStore, timeframe: str, days: float, **extra: Any
) -> tuple[SeriesReport, ...]:
    return backfill(client, store, store, ["BTC"], [timeframe], days, NOW, **extra)


@pytest.mark.slow
def test_the_report_says_how_much_the_venue_has(fake: FakeVenue, client: VenueClient) -> None:
    """The newest 5,000 candles of an interval exist: 52.1 of 90 days at 15m (4,999 closed ones)."""
    Past(fake, T0 - 400 * DAY)
    store, shown = MemoryStore(), Shown()
    candles, funding = fill(client, store, "15m", 90, progress=shown)
    assert candles.text == "BTC 15m: 52.1 of 90 days, the venue has no more"
    assert (candles.asked, candles.had, candles.fetched, candles.missing) == (8640, 0, 4999, 3641)
    assert funding.text == "BTC funding: 90 of 90 days"
    assert (funding.asked, funding.fetched) == (2160, 2160)
    assert shown.lines[:3] == ["BTC 15m begins, 1 requests", "BTC 15m goes on", candles.text]
    assert len([request for request in fake.requests if request["type"] == "candleSnapshot"]) == 1


def test_a_second_run_asks_only_for_what_is_missing(fake: FakeVenue, client: VenueClient) -> None:
    """It resumes: complete series cost no request at all."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    first, _ = fill(client, store, "1h", 2)
    assert (first.fetched, first.text) == (48, "BTC 1h: 2 of 2 days")
    fake.requests.clear()
    again, _ = fill(client, store, "1h", 2)
    assert (again.had, again.fetched, again.text) == (48, 0, "BTC 1h: 2 of 2 days")
    assert fake.requests == []


def test_a_hole_inside_the_store_is_found_and_filled(fake: FakeVenue, client: VenueClient) -> None:
    """Not only the ends of a series: a gap of an outage is asked for, with little around it."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    fill(client, store, "15m", 3)
    lost = [T0 - DAY, T0 - DAY + QUARTER]
    for open_ms in lost:
        del store.by_key[("BTC", "15m", open_ms)]
    fake.requests.clear()
    report, _ = fill(client, store, "15m", 3)
    assert (report.fetched, report.missing) == (2, 0)
    (request,) = fake.requests
    assert (request["req"]["startTime"], request["req"]["endTime"]) == (lost[0], lost[1] + QUARTER)


def test_a_provisional_row_is_asked_for_again(fake: FakeVenue, client: VenueClient) -> None:
    """The stream's row is not the final one."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    fill(client, store, "15m", 1)
    store.by_key[("BTC", "15m", T0 - HOUR)] = candle("BTC", "15m", T0 - HOUR, 777.0, source="stream")
    report, _ = fill(client, store, "15m", 1)
    assert report.fetched == 1
    assert store.by_key[("BTC", "15m", T0 - HOUR)].close == 100.0


def test_a_hole_of_the_venue_stays_missing(fake: FakeVenue, client: VenueClient) -> None:
    """What the venue does not have is said, not invented; exit code 0 is the caller's."""
    past = Past(fake, T0 - 5 * DAY)
    past.holes = {T0 - DAY, T0 - DAY + HOUR}
    report, _ = fill(client, MemoryStore(), "1h", 2)
    assert (report.missing, report.error) == (2, None)
    assert report.text == "BTC 1h: 1.9 of 2 days, the venue has no more"


def test_the_open_candle_is_not_stored(fake: FakeVenue, client: VenueClient) -> None:
    """The last element of the venue's answer is still open."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    fill(client, store, "15m", 1)
    assert store.series("BTC", "15m")[-1].close_ms == T0


def test_rows_of_a_practice_venue_are_marked_generated(fake: FakeVenue, client: VenueClient) -> None:
    """Generated stretches are labelled so, down to the row."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    fill(client, store, "1h", 1, generated=True)
    assert store.generated == {True}


def test_a_series_that_keeps_failing_is_reported_and_the_others_go_on(
    fake: FakeVenue, client: VenueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad series does not cost the rest; the text says how to resume."""
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    Past(fake, T0 - 5 * DAY)
    fake.answers["candleSnapshot"] = lambda _: Raw(200, "<html></html>", "text/html")
    candles, funding = fill(client, MemoryStore(), "1h", 1)
    assert candles.error is not None
    assert candles.text.startswith("BTC 1h: 0 of 1 days, stopped: ")
    assert candles.text.endswith("run it again to resume")
    assert funding.missing == 0
    assert len([request for request in fake.requests if request["type"] == "candleSnapshot"]) == 4


def test_a_venue_that_is_away_ends_the_run(
    fake: FakeVenue, client: VenueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing answers: one clear error instead of a report for every series."""
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    fake.answers["candleSnapshot"] = lambda _: Raw(502, "")
    with pytest.raises(VenueAway):
        fill(client, MemoryStore(), "1h", 1)


def test_an_interrupted_run_says_so(fake: FakeVenue, client: VenueClient) -> None:
    """What came is kept; the next run resumes."""
    Past(fake, T0 - 5 * DAY)
    halt = threading.Event()
    halt.set()
    report, _ = fill(client, MemoryStore(), "1h", 1, stop=halt)
    assert report.error == "interrupted"


@given(st.sets(st.integers(0, 400)), st.integers(1, 50), st.integers(1, 20))
def test_pages_cover_everything_that_lacks_and_stay_within_their_size(
    lacking: set[int], most: int, bridge: int
) -> None:
    """No index is forgotten, none is asked for twice, no page is too long."""
    pages = _pages(sorted(lacking), most, bridge)
    covered = [index for first, last in pages for index in range(first, last + 1)]
    assert lacking <= set(covered)
    assert len(covered) == len(set(covered))
    assert all(last - first < most for first, last in pages)


# ---------------------------------------------------------------- history


def closed(client: VenueClient, store: MemoryStore, bars: int, clock: VenueClock) -> list[int]:
    def keep(rows: tuple[Any, ...]) -> None:
        store.put(CandleRows(rows))

    rows = closed_history(
        "BTC", "15m", bars, client=client, reader=store, clock=clock, store=keep, stop=threading.Event()
    )
    assert store.last_candles("BTC", "15m", bars, before_ms=T0) == list(rows)
    return [row.open_ms for row in rows]


def test_history_is_completed_by_rest_and_stored(fake: FakeVenue, client: VenueClient) -> None:
    """The store's rows and REST's rows make one series without a gap; the second time nothing is asked."""
    Past(fake, T0 - 5 * DAY)
    clock, store = VenueClock(NOW, None), MemoryStore()
    opens = [T0 - index * QUARTER for index in range(40, 0, -1)]
    assert closed(client, store, 40, clock) == opens
    fake.requests.clear()
    assert closed(client, store, 40, clock) == opens
    assert fake.requests == []
    for open_ms in opens[20:]:
        del store.by_key[("BTC", "15m", open_ms)]
    assert closed(client, store, 40, clock) == opens
    assert fake.requests[0]["req"]["startTime"] == opens[20]


def test_history_leaves_out_a_close_that_may_still_change(fake: FakeVenue, client: VenueClient) -> None:
    """Just after the end, without a later row, the newest candle is left to the boundary's own confirmation."""
    Past(fake, T0 - 5 * DAY, now_ms=T0 - 1)
    assert closed(client, MemoryStore(), 3, VenueClock(T0 + 10, 1.0))[-1] == T0 - 2 * QUARTER


def test_history_tries_again_when_the_venue_stumbles(
    fake: FakeVenue, client: VenueClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single 502 at start-up does not end the start."""
    monkeypatch.setattr(history_module, "PAUSE_S", 0.0)
    past = Past(fake, T0 - 5 * DAY)
    answers = [Raw(502, ""), Raw(502, "")]
    fake.answers["candleSnapshot"] = lambda request: answers.pop() if answers else past.candles(request)
    assert len(closed(client, MemoryStore(), 5, VenueClock(NOW, None))) == 5


def test_months_are_walked_by_the_calendar() -> None:
    """The only interval without a fixed length."""
    march = timeframes.open_of("1M", T0 + 60 * DAY)
    assert [timeframes.iso(open_ms)[:7] for open_ms in previous_opens("1M", march, 3)] == [
        "2025-12",
        "2026-01",
        "2026-02",
    ]


def test_funding_rows_are_stored(fake: FakeVenue, client: VenueClient) -> None:
    """Each settled hour once, the running hour not."""
    Past(fake, T0 - 5 * DAY)
    store = MemoryStore()
    fill(client, store, "1h", 1)
    hours = sorted(row.funding.hour_ms for row in store.rows if isinstance(row, FundingRateRow))
    assert hours == [T0 - index * HOUR for index in range(23, -1, -1)]
