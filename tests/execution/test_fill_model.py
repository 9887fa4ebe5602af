"""The fill model: what trades through, what a book gives, when a stop triggers, what it costs."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from execution_builders import CONFIG, T0, D, trade
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.types import BookLevel, Liquidity, OrderSide, Side
from perp_bot.execution.fills import (
    LevelFill,
    average_px,
    fee_usd,
    in_maker_window,
    stop_limit_px,
    stop_triggered,
    tradable_size,
    trades_through,
    walk,
)


@pytest.mark.parametrize(
    ("side", "px", "expected"),
    [
        (OrderSide.BUY, 99.9, True),
        (OrderSide.BUY, 100.0, False),
        (OrderSide.BUY, 100.1, False),
        (OrderSide.SELL, 100.1, True),
        (OrderSide.SELL, 100.0, False),
        (OrderSide.SELL, 99.9, False),
    ],
)
def test_a_limit_needs_a_trade_strictly_through_it(side: OrderSide, px: float, expected: bool) -> None:
    """A trade at the limit is not enough: others stood before us."""
    assert trades_through(side, D(100), px) is expected


def test_the_window_excludes_the_creation_and_includes_the_expiry() -> None:
    """created < trade <= expires."""
    assert [in_maker_window(T0, T0 + 30, T0 + at) for at in (0, 1, 30, 31)] == [False, True, True, False]
    assert in_maker_window(T0, None, T0 + 10**9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_trade_without_a_positive_size_or_price_fills_nothing(bad: float) -> None:
    """Broken public data cannot fill us."""
    assert tradable_size(trade(1, 100.0, bad), 3) == 0
    assert tradable_size(trade(1, bad, 1.0), 3) == 0
    assert tradable_size(trade(1, 100.0, 1.23456), 3) == D("1.234")


ASKS = (BookLevel(100.0, 1.0), BookLevel(101.0, 2.0), BookLevel(103.0, 1.0))


def test_a_taker_walks_the_levels() -> None:
    """2.5 takes 1 at 100 and 1.5 at 101; average 100.6."""
    taken = walk(ASKS, OrderSide.BUY, D("2.5"))
    assert taken == (LevelFill(D(100), D(1)), LevelFill(D(101), D("1.5")))
    assert average_px(taken) == D("100.6")
    assert average_px(()) is None


def test_beyond_the_visible_levels_nothing_is_invented() -> None:
    """10 asked, 4 there: 4 taken."""
    assert sum(part.size for part in walk(ASKS, OrderSide.BUY, D(10))) == 4


def test_a_worst_price_ends_the_walk() -> None:
    """A stop's tolerance: levels beyond it are left."""
    assert walk(ASKS, OrderSide.BUY, D(10), D(101)) == (LevelFill(D(100), D(1)), LevelFill(D(101), D(2)))
    bids = (BookLevel(99.0, 1.0), BookLevel(90.0, 1.0))
    assert walk(bids, OrderSide.SELL, D(2), D(95)) == (LevelFill(D(99), D(1)),)


levels = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 10_000)), max_size=20).map(
    lambda rows: tuple(
        BookLevel(1000.0 + sum(step for step, _ in rows[: place + 1]), size / 1000)
        for place, (_, size) in enumerate(rows)
    )
)


@given(levels, st.integers(1, 200_000))
def test_properties_of_a_walk(asks: tuple[BookLevel, ...], thousandths: int) -> None:
    """Never more than asked or offered, all of it when offered, best first, average within first and last level."""
    size = Decimal(thousandths) / 1000
    offered = sum((Decimal(str(level.sz)) for level in asks), D(0))
    taken = walk(asks, OrderSide.BUY, size)
    total = sum((part.size for part in taken), D(0))
    assert total == min(size, offered)
    assert [part.px for part in taken] == sorted(part.px for part in taken)
    average = average_px(taken)
    if average is not None:
        assert taken[0].px <= average <= taken[-1].px
        more = average_px(walk(asks, OrderSide.BUY, size * 2))
        assert more is not None
        assert more >= average  # a larger order never pays less


@pytest.mark.parametrize(
    ("side", "mark_px", "expected"),
    [
        (Side.LONG, 98.0, True),
        (Side.LONG, 97.0, True),
        (Side.LONG, 98.01, False),
        (Side.SHORT, 98.0, True),
        (Side.SHORT, 99.0, True),
        (Side.SHORT, 97.99, False),
        (Side.LONG, math.nan, False),
        (Side.SHORT, math.inf, False),
        (Side.LONG, 0.0, False),
    ],
)
def test_a_stop_triggers_on_touch_and_never_on_a_broken_mark(side: Side, mark_px: float, expected: bool) -> None:
    """mark <= stop (long), mark >= stop (short); NaN, infinity and zero are no marks."""
    assert stop_triggered(side, D(98), mark_px) is expected


def test_a_stop_takes_within_ten_percent_of_its_trigger() -> None:
    """The venue's tolerance."""
    assert stop_limit_px(OrderSide.SELL, D(100)) == D(90)
    assert stop_limit_px(OrderSide.BUY, D(100)) == D(110)


def test_fees_are_the_venues_to_a_hundred_millionth() -> None:
    """0.015 % maker, 0.045 % taker of size x price, exact decimals."""
    assert fee_usd(D("0.01005"), D(100_000), Liquidity.MAKER, CONFIG.backtest) == D("0.15075")
    assert fee_usd(D("0.01005"), D(100_000), Liquidity.TAKER, CONFIG.backtest) == D("0.45225")
    assert fee_usd(D("0.00001"), D("0.12345"), Liquidity.TAKER, CONFIG.backtest) == D("0E-8")
