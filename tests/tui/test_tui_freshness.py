"""Ages: what they are made of, what they make of a value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.tui.freshness import (
    FRAME,
    LOOP,
    MARK,
    Freshness,
    Lens,
    SuspendWatch,
    age_text,
    judge,
    oldest,
)


def test_age_is_the_declared_age_plus_the_seconds_since_publication() -> None:
    """Age = age declared by the sender + local time since receipt; nothing else is subtracted."""
    assert Lens(since_s=1.5, all_stale=False).age(0.25) == 1.75


@pytest.mark.parametrize("declared", [None, math.nan])
def test_a_value_without_an_age_is_unknown_and_never_fresh(declared: float | None) -> None:
    """Missing is missing: no age is not age zero."""
    glass = Lens(0.0, all_stale=False)
    assert glass.age(declared) is None
    assert glass.judge(declared, MARK) is Freshness.UNKNOWN
    assert glass.style("gain", declared, MARK) == "stale"
    assert glass.age_span(declared, MARK) == ("no age", "warn")


def test_negative_declared_ages_count_as_zero() -> None:
    """A sender whose clock slipped cannot make a value younger than now."""
    assert Lens(2.0, all_stale=False).age(-5.0) == 2.0


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0.0, "fresh"), (2.0, "fresh"), (2.01, "late"), (5.0, "late"), (5.01, "stale"), (None, "unknown")],
)
def test_frames_are_late_after_two_and_stale_after_five_seconds(age_s: float | None, expected: str) -> None:
    """The thresholds of the connection: LATE 2-5 s, STALE beyond."""
    assert judge(age_s, FRAME).value == expected


def test_the_loop_is_stale_after_ten_seconds() -> None:
    """UNRESPONSIVE needs a loop age above 10 s."""
    assert judge(10.0, LOOP) is Freshness.LATE
    assert judge(10.1, LOOP) is Freshness.STALE


def test_on_a_dead_connection_every_value_is_stale_whatever_its_age() -> None:
    """All live values are dimmed when the connection is not alive."""
    glass = Lens(0.0, all_stale=True)
    assert glass.style("gain", 0.0, MARK) == "stale"
    assert glass.age_span(0.1, MARK) == ("0.1s STALE", "bad")


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1e6))
def test_a_derived_number_is_as_old_as_its_oldest_input(ages: list[float], extra: float) -> None:
    """Unrealised PnL is as old as the mark or the position, whichever is older; an unknown input makes it unknown."""
    found = oldest(*ages, extra)
    assert found is not None
    assert all(found >= age for age in [*ages, extra])
    assert found in [*ages, extra]
    assert oldest(*ages, None) is None


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (0.04, "0.0s"),
        (0.6, "0.6s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (12.9, "12s"),
        (252, "4m12s"),
        (11_040, "3h04m"),
        (183_600, "2d03h"),
        (None, "-"),
        (math.inf, "-"),
        (-3.0, "0.0s"),
    ],
)
def test_ages_read_as_people_write_them(age_s: float | None, text: str) -> None:
    """One format of ages everywhere."""
    assert age_text(age_s) == text


def test_a_sleep_of_the_machine_is_noticed_once() -> None:
    """The boot-time clock runs on during a suspend: a jump over 2 s means that we slept."""
    watch = SuspendWatch(monotonic_s=100.0, boottime_s=500.0)
    assert watch.slept_s(101.0, 501.0) == 0.0
    assert watch.slept_s(102.0, 503.5) == 0.0
    assert watch.slept_s(103.0, 3_604.5) == 3_100.0
    assert watch.slept_s(104.0, 3_605.5) == 0.0
