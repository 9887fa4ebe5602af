"""Why entries must stop, said in one sentence; the worst reason first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perp_bot.data.market import FeedHealth
from perp_bot.trading.venue_health import venue_trouble

WELL = FeedHealth(
    connected=True,
    reconnects=0,
    last_message_age_s=0.1,
    ages_s={},
    messages=10,
    bad_frames=0,
    future_frames=0,
    subscriptions=9,
    subscriptions_confirmed=9,
    last_stream_problem=None,
    rest_ok=True,
    last_rest_error=None,
    last_rest_ok_age_s=1.0,
    weight_used=0,
    weight_limit=1200,
    clock_skew_ms=None,
    wall_skew_ms=None,
)
MARKS: dict[str, float | None] = {"BTC": 0.5, "ETH": 0.5}


def test_a_venue_that_is_well_is_no_trouble() -> None:
    """Nothing is invented."""
    assert venue_trouble(WELL, MARKS, up_s=100.0, speed=1.0) is None


@pytest.mark.parametrize(
    ("health", "marks", "text"),
    [
        (
            replace(WELL, connected=False, last_stream_problem="nothing received for 20.0 s"),
            MARKS,
            "the market stream is away: nothing received for 20.0 s",
        ),
        (
            replace(WELL, last_message_age_s=31.0),
            MARKS,
            "the market stream is silent: last message 31 s ago, limit 30 s",
        ),
        (WELL, {"BTC": 0.5, "ETH": 16.0}, "the mark of ETH is 16 s old, limit 15 s"),
        (WELL, {"BTC": 0.5, "ETH": None}, "no mark of ETH has come in 100 s"),
        (
            replace(WELL, rest_ok=False, last_rest_error="it answered 502"),
            MARKS,
            "the venue's REST reads fail: it answered 502",
        ),
        (
            replace(WELL, clock_skew_ms=-2500.0),
            MARKS,
            "clock skew: the venue's time is -2.5 s from where it should be, limit 2 s",
        ),
    ],
    ids=["away", "silent", "old mark", "no mark", "rest", "skew"],
)
def test_each_trouble_is_a_sentence_with_its_numbers(
    health: FeedHealth, marks: dict[str, float | None], text: str
) -> None:
    """Value and limit are in it."""
    assert venue_trouble(health, marks, up_s=100.0, speed=1.0) == text


def test_a_start_may_take_its_time() -> None:
    """While the stream is on its way up, and before the first marks can be there, nothing is wrong yet."""
    assert venue_trouble(replace(WELL, connected=False), {}, up_s=1.9, speed=1.0) is None
    assert venue_trouble(WELL, {"BTC": None}, up_s=14.0, speed=1.0) is None


def test_a_stepped_venue_is_silent_between_steps() -> None:
    """Ages mean nothing there; failing reads and a lost stream do."""
    old = replace(WELL, last_message_age_s=900.0)
    assert venue_trouble(old, {"BTC": 900.0}, up_s=1000.0, speed=None) is None
    assert venue_trouble(replace(old, rest_ok=False), {"BTC": 900.0}, up_s=1000.0, speed=None) is not None


def test_the_skew_that_is_allowed_grows_with_the_speed() -> None:
    """Two wall seconds, whatever the venue's seconds are worth."""
    assert venue_trouble(replace(WELL, clock_skew_ms=100_000.0), MARKS, up_s=100.0, speed=60.0) is None
    assert venue_trouble(replace(WELL, clock_skew_ms=121_000.0), MARKS, up_s=100.0, speed=60.0) is not None
