"""The weighted limiter: the venue's minute, classes, and no dead-lock at `step`."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.clock import FixedClock
from perp_bot.core.errors import RateLimited
from perp_bot.data.limiter import (
    SHARE,
    WINDOW_MS,
    RequestClass,
    WeightLimiter,
    candle_weight,
    row_weight,
)


def test_weights_are_the_venues() -> None:
    """venue_protocols 7: 5,000 candles weigh 20 + 84, 500 funding rows 20 + 25."""
    assert candle_weight(5000) == 104
    assert candle_weight(0) == 20
    assert row_weight(500) == 45
    assert row_weight(1) == 21


def test_weight_comes_back_when_the_venues_minute_has_passed() -> None:
    """The budget is 1,200 in any minute of the venue's clock."""
    clock = FixedClock(1_000_000)
    limiter = WeightLimiter(clock)
    limiter.acquire(1200, RequestClass.PROTECTIVE)
    with pytest.raises(RateLimited, match="1200 of 1200"):
        limiter.acquire(2, RequestClass.PROTECTIVE, max_wait_s=0.0)
    clock.set(1_000_000 + WINDOW_MS)
    limiter.acquire(2, RequestClass.PROTECTIVE, max_wait_s=0.0)
    assert limiter.used() == 2


def test_a_lower_class_leaves_room_for_a_higher_one() -> None:
    """Research may use half of the minute; an exit still finds its budget afterwards."""
    limiter = WeightLimiter(FixedClock(0))
    for _ in range(30):
        limiter.acquire(20, RequestClass.RESEARCH, max_wait_s=0.0)
    with pytest.raises(RateLimited):
        limiter.acquire(20, RequestClass.RESEARCH, max_wait_s=0.0)
    limiter.acquire(20, RequestClass.MARKET, max_wait_s=0.0)
    limiter.acquire(500, RequestClass.EXIT, max_wait_s=0.0)


def test_waiting_ends_by_wall_time_when_the_venues_clock_stands_still() -> None:
    """At `step` the clock moves only when it is stepped: an acquire must give up, not hang."""
    limiter = WeightLimiter(FixedClock(0))
    limiter.acquire(1200, RequestClass.PROTECTIVE)
    with pytest.raises(RateLimited, match=r"within 0\.1 s"):
        limiter.acquire(1, RequestClass.PROTECTIVE, max_wait_s=0.1)


def test_a_waiter_goes_on_when_the_clock_moves() -> None:
    """Whoever waits gets the budget as soon as the venue's minute has passed."""
    clock = FixedClock(0)
    limiter = WeightLimiter(clock)
    limiter.acquire(1200, RequestClass.PROTECTIVE)
    done = threading.Event()

    def wait() -> None:
        limiter.acquire(10, RequestClass.MARKET, max_wait_s=5.0)
        done.set()

    thread = threading.Thread(target=wait)
    thread.start()
    clock.set(WINDOW_MS)
    assert done.wait(2.0)
    thread.join()


def test_after_a_429_everything_but_protection_holds_back() -> None:
    """A 429 means that our count is wrong: hold back, longer each time, until an answer comes."""
    limiter = WeightLimiter(FixedClock(0))
    assert [limiter.penalize() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    with pytest.raises(RateLimited, match="held back after a 429"):
        limiter.acquire(2, RequestClass.EXIT, max_wait_s=0.0)
    limiter.acquire(2, RequestClass.PROTECTIVE, max_wait_s=0.0)
    limiter.forgive()
    limiter.acquire(2, RequestClass.RESEARCH, max_wait_s=0.0)


def test_a_clock_reset_backwards_does_not_lock_the_budget() -> None:
    """The first reading of a practice venue may lie months before the machine's time."""
    clock = FixedClock(10**12)
    limiter = WeightLimiter(clock)
    limiter.acquire(1000, RequestClass.PROTECTIVE)
    clock.set(10**11)
    assert limiter.used() == 1000
    clock.set(10**11 + WINDOW_MS)
    assert limiter.used() == 0


def test_a_single_request_above_its_share_is_refused_at_once() -> None:
    """It could never be granted; waiting would be pointless."""
    limiter = WeightLimiter(FixedClock(0))
    with pytest.raises(RateLimited, match="exceeds its share of 600"):
        limiter.acquire(601, RequestClass.RESEARCH)


@given(
    st.lists(st.tuples(st.integers(1, 120), st.sampled_from(list(RequestClass)), st.integers(0, 20_000)), max_size=80)
)
def test_no_minute_ever_exceeds_the_limit(requests: list[tuple[int, RequestClass, int]]) -> None:
    """Safety: whatever is asked when, the weight granted in any 60 s stays within the share of its class."""
    clock = FixedClock(0)
    limiter = WeightLimiter(clock)
    granted: list[tuple[int, int]] = []
    for weight, request_class, later_ms in requests:
        clock.set(clock.now_ms() + later_ms)
        try:
            limiter.acquire(weight, request_class, max_wait_s=0.0)
        except RateLimited:
            continue
        granted.append((clock.now_ms(), weight))
        used = sum(spent for at_ms, spent in granted if at_ms > clock.now_ms() - 60_000)
        assert used <= 1200 * SHARE[request_class]
