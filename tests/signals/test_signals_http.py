"""The one async HTTP client: retries, limits, and errors without secrets."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from signals_stand_in import StandIn

from perp_bot.core.errors import BadAnswer, RateLimited, VenueAway, VenueRefused, VenueTimeout
from perp_bot.ops.http import DaemonResolver, HttpClient, Retries

NUMBERS = msgspec.json.Decoder(dict[str, float], strict=False)
ASK: dict[str, Any] = {"what": "allMids", "body": {"type": "allMids"}, "timeout_s": 5.0}
CANARY = "s3cr3t-canary-token"


class Naps:
    """Records the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_a_failing_read_is_tried_again_with_growing_jittered_waits(venue: StandIn) -> None:
    """502, 429 and then an answer: three requests, two waits within 0.25 and 0.5 s."""
    venue.answers[("allMids", "")] = [502, 429, {"BTC": "1.5"}]
    naps = Naps()
    http = HttpClient(sleep=naps, rng=random.Random(1))
    try:
        found, answer = await http.json("POST", f"{venue.base_url}/info", NUMBERS, retries=Retries(), **ASK)
    finally:
        await http.close()
    assert (found, answer.status, len(venue.asked)) == ({"BTC": 1.5}, 200, 3)
    assert len(naps.waits) == 2
    assert 0.0 <= naps.waits[0] <= 0.25
    assert 0.0 <= naps.waits[1] <= 0.5


@pytest.mark.parametrize(
    ("answer", "error", "asked"),
    [(404, VenueRefused, 1), (429, RateLimited, 3), (500, BadAnswer, 3), ("html", BadAnswer, 3)],
)
async def test_only_what_may_be_retried_is(venue: StandIn, answer: Any, error: type[Exception], asked: int) -> None:
    """A refusal is final at once; 429, 500 and HTML end after three attempts with their own error."""
    venue.answers[("allMids", "")] = answer
    http = HttpClient(sleep=Naps())
    try:
        with pytest.raises(error, match=r"allMids at 127\.0\.0\.1"):
            await http.json("POST", f"{venue.base_url}/info", NUMBERS, retries=Retries(), **ASK)
    finally:
        await http.close()
    assert len(venue.asked) == asked


async def test_an_answer_that_never_comes_is_a_timeout(venue: StandIn) -> None:
    """The request ends by its own timeout and says how long it waited."""
    venue.answers[("allMids", "")] = "hang"
    http = HttpClient()
    try:
        with pytest.raises(VenueTimeout, match=r"no answer within 0\.1 s"):
            await http.json("POST", f"{venue.base_url}/info", NUMBERS, **(ASK | {"timeout_s": 0.1}))
    finally:
        await http.close()


async def test_an_endless_answer_is_cut_at_the_limit(venue: StandIn) -> None:
    """An answer larger than the limit is refused instead of filling the memory."""
    venue.answers[("allMids", "")] = "raw:" + " " * 100_000
    http = HttpClient()
    try:
        with pytest.raises(BadAnswer, match="larger than 1000 bytes"):
            await http.send("POST", f"{venue.base_url}/info", max_bytes=1000, **ASK)
    finally:
        await http.close()


@pytest.mark.parametrize("base", ["http://127.0.0.1:9", f"http://{'x' * 70}.test", "http://", "nonsense", "http://["])
async def test_no_error_shows_the_path_of_the_address(base: str) -> None:
    """Tokens live in paths and queries: neither text nor cause of an error holds them."""
    http = HttpClient()
    try:
        with pytest.raises(VenueAway) as caught:
            await http.send("POST", f"{base}/bot{CANARY}/send?key={CANARY}", what="alert", timeout_s=5.0)
    finally:
        await http.close()
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_names_are_resolved_off_the_loop() -> None:
    """`localhost` is found by a thread of its own, and the answer has an address to connect to."""
    found = await DaemonResolver().resolve("localhost", 80)
    assert "127.0.0.1" in [entry["host"] for entry in found]
    assert {entry["port"] for entry in found} == {80}


@given(st.integers(0, 40), st.integers(0, 2**32))
def test_a_wait_is_never_longer_than_the_cap(attempt: int, seed: int) -> None:
    """Full jitter below min(cap, base x 2^k), for any attempt and seed."""
    wait_s = Retries().wait_s(attempt, random.Random(seed))
    assert 0.0 <= wait_s <= min(4.0, 0.25 * 2**attempt)
