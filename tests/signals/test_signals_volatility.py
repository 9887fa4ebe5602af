"""Short-term volatility from mids by the minute."""

from __future__ import annotations

import math
from statistics import pstdev

import pytest

from perp_bot.signals.quality import completeness, freshness
from perp_bot.signals.volatility import MidHistory

MINUTE = 60_000


def feed(history: MidHistory, mids: list[float], start_minute: int = 0) -> None:
    for index, mid in enumerate(mids):
        history.note((start_minute + index) * MINUTE + 1_000, mid)


def test_it_is_the_deviation_of_one_minute_log_returns() -> None:
    """Mids 100, 101, 100, 102 and a minute under way: the population deviation of three log returns."""
    history = MidHistory(window=30, least=3)
    feed(history, [100.0, 101.0, 100.0, 102.0, 500.0])
    expected = pstdev([math.log(101 / 100), math.log(100 / 101), math.log(102 / 100)])
    assert history.volatility() == pytest.approx(expected, rel=1e-12)


def test_it_is_missing_before_enough_returns() -> None:
    """With two of three returns there is no number."""
    history = MidHistory(window=30, least=3)
    feed(history, [100.0, 101.0, 100.0, 102.0])
    assert (history.samples, history.volatility()) == (2, None)


def test_the_last_mid_of_a_minute_stands_for_it() -> None:
    """Mids inside a minute do not add returns; the newest one counts."""
    history = MidHistory(window=30, least=1)
    history.note(0, 100.0)
    history.note(30_000, 55.0)
    history.note(59_999, 110.0)
    history.note(MINUTE, 121.0)
    history.note(2 * MINUTE, 121.0)
    history.note(3 * MINUTE, 121.0)
    assert history.volatility() == pytest.approx(math.log(1.1) / 2)  # returns ln 1.1 and 0


def test_only_the_newest_window_counts() -> None:
    """After a wild start and a full window of equal mids nothing is left of the start."""
    history = MidHistory(window=5, least=2)
    feed(history, [100.0, 200.0, 50.0] + [70.0] * 7)
    assert history.volatility() == 0.0


def test_a_return_over_missed_minutes_is_scaled_and_a_long_gap_makes_none() -> None:
    """Over 4 minutes a move of 2 sigma is one of 1 sigma a minute; over 10 minutes no return is made."""
    history = MidHistory(window=30, least=1)
    history.note(0, 100.0)
    history.note(4 * MINUTE, 100.0 * math.exp(0.02))
    history.note(5 * MINUTE, 100.0 * math.exp(0.02))
    history.note(6 * MINUTE, 100.0)
    assert history.volatility() == pytest.approx(0.005)  # 0.02 / 2 and 0
    samples = history.samples
    history.note(20 * MINUTE, 200.0)
    history.note(21 * MINUTE, 200.0)
    assert history.samples == samples + 1  # minute 6 was closed; 6 -> 20 gives none


def test_a_clock_set_back_starts_anew_and_a_late_mid_is_ignored() -> None:
    """A mid of the minute before is ignored; one from far back means another clock."""
    history = MidHistory(window=30, least=1)
    feed(history, [100.0, 101.0, 102.0, 103.0], start_minute=100)
    history.note(102 * MINUTE, 1.0)
    assert history.samples == 2
    history.note(5 * MINUTE, 50.0)
    assert (history.samples, history.volatility()) == (0, None)


def test_confidence_parts_follow_their_formulas() -> None:
    """Completeness is the share present; freshness is 1 to 10 s, 0.5 half-way to 60 s, then 0, and 0 without input."""
    assert completeness({"a": 1.0, "b": None, "c": 2.0, "d": 0.0}) == 0.75
    assert completeness({}) == 0.0
    assert [freshness(age, 10.0, 60.0) for age in (0.0, 10.0, 35.0, 60.0, 99.0, None)] == [1.0, 1.0, 0.5, 0.0, 0.0, 0.0]
