"""What a book says about the cost of trading, on books written by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.types import Book, BookLevel
from perp_bot.signals.liquidity import book_fault, depth_within, mid_px, slippage_bps, spread_bps


def levels(*pairs: tuple[float, float]) -> tuple[BookLevel, ...]:
    return tuple(BookLevel(px, sz) for px, sz in pairs)


# mid 100, spread 0.2 = 20 bps; 1 % band is 99..101
BOOK = Book(
    "BTC",
    1_000,
    bids=levels((99.9, 1.0), (99.0, 2.0), (98.0, 50.0)),
    asks=levels((100.1, 1.0), (101.0, 3.0), (102.0, 50.0)),
)


def test_spread_is_best_ask_less_best_bid_in_basis_points_of_mid() -> None:
    """99.9 / 100.1 around 100 is 20 bps."""
    assert mid_px(BOOK) == 100.0
    assert spread_bps(BOOK) == pytest.approx(20.0, abs=1e-9)


def test_depth_counts_both_sides_within_the_band_bounds_included() -> None:
    """99.9x1 + 99x2 + 100.1x1 + 101x3 USD, 7 coins; the levels at 98 and 102 are outside."""
    depth = depth_within(BOOK, 0.01)
    assert depth.usd == pytest.approx(99.9 + 198.0 + 100.1 + 303.0, abs=1e-9)
    assert depth.coins == pytest.approx(7.0)
    assert not depth.is_floor


def test_depth_of_a_book_that_ends_inside_the_band_is_a_floor() -> None:
    """A side whose last level is nearer than 1 % hides what lies beyond: the value says so."""
    cut = Book("BTC", 1_000, bids=BOOK.bids[:1], asks=BOOK.asks)
    depth = depth_within(cut, 0.01)
    assert depth.is_floor
    assert depth.coins == pytest.approx(5.0)


def test_slippage_walks_the_levels_and_takes_the_worse_side() -> None:
    """300 USD are 3 coins at mid 100. Buying: (100.1 + 2x101) / 3 = 100.7, 70 bps. Selling 99.3."""
    assert slippage_bps(BOOK, 300.0) == pytest.approx(70.0, abs=1e-9)
    heavier_ask = Book("BTC", 1_000, BOOK.bids, levels((100.1, 1.0), (103.0, 9.0)))
    assert slippage_bps(heavier_ask, 300.0) == pytest.approx((100.1 + 206.0) / 3 * 100 - 10_000, abs=1e-9)


def test_slippage_of_a_size_within_the_best_level_is_half_the_spread() -> None:
    """50 USD fit into the first level: the cost against mid is half of 20 bps."""
    assert slippage_bps(BOOK, 50.0) == pytest.approx(10.0, abs=1e-9)


def test_slippage_of_a_book_too_thin_for_our_size_is_missing() -> None:
    """54 coins rest on the ask side, 53 on the bid side: 6,000 USD cannot be filled, and no number is made up."""
    assert slippage_bps(BOOK, 6_000.0) is None
    assert slippage_bps(BOOK, 5_300.0) is not None


@pytest.mark.parametrize(
    ("bids", "asks", "fault"),
    [
        ((), levels((100.0, 1.0)), "no bids"),
        (levels((100.0, 1.0)), (), "no asks"),
        (levels((math.nan, 1.0)), levels((100.0, 1.0)), "impossible price"),
        (levels((-1.0, 1.0)), levels((100.0, 1.0)), "impossible price"),
        (levels((99.0, 0.0)), levels((100.0, 1.0)), "impossible size"),
        (levels((99.0, math.inf)), levels((100.0, 1.0)), "impossible size"),
        (levels((98.0, 1.0), (99.0, 1.0)), levels((100.0, 1.0)), "not ordered"),
        (levels((99.0, 1.0)), levels((101.0, 1.0), (100.0, 1.0)), "not ordered"),
        (levels((100.0, 1.0)), levels((100.0, 1.0)), "crossed"),
    ],
)
def test_an_impossible_book_is_refused_with_its_fault(
    bids: tuple[BookLevel, ...], asks: tuple[BookLevel, ...], fault: str
) -> None:
    """Empty sides, NaN, negative, unordered and crossed books never become a signal."""
    assert fault in (book_fault(Book("BTC", 1, bids, asks)) or "")


def test_a_sound_book_has_no_fault() -> None:
    """The book that the other tests use is sound."""
    assert book_fault(BOOK) is None


ticks = st.lists(st.tuples(st.integers(1, 50), st.floats(0.001, 100.0)), min_size=1, max_size=20)


@given(ticks, ticks, st.floats(1.0, 10_000.0), st.floats(1.0, 3.0))
def test_a_larger_order_never_slips_less(
    bid_steps: list[tuple[int, float]], ask_steps: list[tuple[int, float]], notional: float, factor: float
) -> None:
    """For any sound book slippage is at least half the spread and does not fall with size; a thin book stays thin."""
    bids, asks = [], []
    px = 10_000
    for step, size in bid_steps:
        px -= step
        bids.append(BookLevel(float(px), size))
    px = 10_000
    for step, size in ask_steps:
        px += step
        asks.append(BookLevel(float(px), size))
    book = Book("BTC", 1, tuple(bids), tuple(asks))
    small, large = slippage_bps(book, notional), slippage_bps(book, notional * factor)
    if small is None:
        assert large is None
        return
    assert small >= spread_bps(book) / 2 - 1e-6
    if large is not None:
        assert large >= small - 1e-6
