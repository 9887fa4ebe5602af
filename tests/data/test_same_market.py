"""Another market behind the same address is not listened to and not read; the right one is welcome back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from market_fakes import T0, wait_for
from test_market_practice import Rig

from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import VenueAway, VenueTimeout
from perp_bot.core.events import StreamStatus
from perp_bot.core.types import AssetContext, Book
from perp_bot.data import same_market
from perp_bot.data.answers import PracticeInfo, VenueStatus
from perp_bot.data.same_market import SameMarket

URL = "http://127.0.0.1:1"


def practice(seed: int = 42, origin_ms: int = T0, speed: float | None = 60.0, time_ms: int = T0) -> VenueStatus:
    return VenueStatus(time_ms, PracticeInfo(speed, seed, T0, T0, True, "", origin_ms))


class Status:
    """A venue that says what it is, or does not answer."""

    base_url = URL

    def __init__(self, answer: VenueStatus) -> None:
        self.answer: VenueStatus | None = answer
        self.asked = 0

    def exchange_status(self, **_: Any) -> VenueStatus:
        self.asked += 1
        if self.answer is None:
            raise VenueTimeout("no answer within 2 s")
        return self.answer


def market_of(status: VenueStatus, speed: float | None = 60.0) -> tuple[SameMarket, Status]:
    client = Status(status)
    market = SameMarket(client, VenueClock(T0, speed))
    market.begin(status)
    return market, client


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (practice(seed=7), f"another market now (practice (seed 7, prices from {T0}) instead of practice (seed 42,"),
        (practice(origin_ms=T0 + 1), "is another market now"),
        (VenueStatus(T0, None), f"another market now ({URL} instead of practice"),
        (practice(speed=600.0), "began again: it runs at 600x instead of 60x"),
        (practice(time_ms=T0 - 180_000), "began again: its time is 2026-01-15T02:57:00Z, it was 2026-01-15T03:00:0"),
    ],
    ids=["seed", "origin", "real", "speed", "time"],
)
def test_a_market_that_is_not_the_one_of_the_start_is_named(now: VenueStatus, text: str) -> None:
    """Both are said."""
    market, client = market_of(practice())
    client.answer = now
    assert text in str(market.why_not())
    assert market.is_another


def test_the_same_market_is_listened_to_a_little_behind_too() -> None:
    """A slow answer is no beginning: two wall seconds at the venue's speed, a minute at least."""
    market, client = market_of(practice())
    client.answer = practice(time_ms=T0 - 100_000)
    assert market.why_not() is None


def test_a_practice_venue_that_does_not_say_what_it_is_is_not_listened_to() -> None:
    """It may be any; a real venue stays what it is, whatever its REST does."""
    market, client = market_of(practice())
    client.answer = None
    assert market.why_not() == "no answer within 2 s"
    assert not market.is_another
    real, client = market_of(VenueStatus(T0, None), speed=1.0)
    client.answer = None
    assert real.why_not() is None


def test_reads_wait_for_the_answer_after_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """No doubt, no question; in doubt one question a second at most; the right market opens the gate again."""
    now_s = [100.0]
    monkeypatch.setattr(same_market, "monotonic_s", lambda: now_s[0])
    market, client = market_of(practice())
    market.gate()
    assert client.asked == 0
    market.doubt()
    client.answer = practice(seed=7)
    for _ in range(3):
        with pytest.raises(VenueAway, match="another market"):
            market.gate()
    assert client.asked == 1
    now_s[0] += 1.0
    client.answer = practice()
    market.gate()
    market.gate()
    assert client.asked == 2


@dataclass(frozen=True)
class Served:
    """A venue in a process of its own: clients that knock while it ends are its own affair."""

    base_url: str

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])


@contextmanager
def served(port: int, seed: int, start: str = "400") -> Iterator[Any]:
    command = f"from perp_bot.practice.app import serve; serve(port={port}, speed=60.0, start='{start}', seed={seed})"
    process = subprocess.Popen([sys.executable, "-c", command], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        yield Served(process.stderr.readline().split()[3].rstrip(":"))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.slow
def test_a_market_of_another_seed_on_the_same_port_is_left_alone_until_ours_is_back() -> None:
    """Not one price of it reaches the loop, not one candle the store; then everything resumes."""
    with served(0, 42) as first:
        port = first.port
        rig = Rig(first)
        rig.start()
        wait_for(lambda: rig.sink.of(Book))
    try:
        wait_for(lambda: not rig.market.health().connected)
        with served(port, 7):
            wait_for(lambda: [item for item in rig.sink.of(StreamStatus) if "another market now" in item.note])
            prices = len(rig.sink.of(AssetContext)) + len(rig.sink.of(Book))
            with pytest.raises(VenueAway, match=r"seed 7, .* instead of practice \(seed 42"):
                rig.market.client.book("BTC")
            wait_for(lambda: rig.market._stream is not None and len(rig.market._stream._connects) >= 4)
            assert len(rig.sink.of(AssetContext)) + len(rig.sink.of(Book)) == prices
            assert not rig.market.health().connected
            told = [item.note for item in rig.sink.of(StreamStatus) if "another market now" in item.note]
            assert len(told) == 1
            assert told[0].startswith(f"stream lost: the venue at http://127.0.0.1:{port} is another market now (")
            assert "is another market now" in str(rig.market.health().last_stream_problem)
        with served(port, 42, start="410"):
            wait_for(lambda: rig.market.health().connected)
            wait_for(lambda: len(rig.sink.of(AssetContext)) + len(rig.sink.of(Book)) > prices)
    finally:
        rig.market.stop()


@pytest.mark.slow
def test_the_same_market_from_its_beginning_is_left_alone_too() -> None:
    """Its time went back: what was handled would happen again."""
    with served(0, 42, start="401") as first:
        port = first.port
        rig = Rig(first)
        rig.start()
    try:
        with served(port, 42, start="400"):
            wait_for(lambda: [item for item in rig.sink.of(StreamStatus) if "began again" in item.note])
            assert not rig.market.health().connected
    finally:
        rig.market.stop()
