"""What an order book says about the cost of trading: spread, depth, slippage. Pure functions of one book.

Conventions: mid = (best bid + best ask) / 2; basis points are of mid; a cost includes the half spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from perp_bot.core.types import Book, BookLevel

BPS = 1e4


@dataclass(frozen=True, slots=True)
class Depth:
    """What rests within a band around mid, both sides together."""

    usd: float
    coins: float
    is_floor: bool  # a side's levels end inside the band: what lies beyond them is not in the book


def book_fault(book: Book) -> str | None:
    """Say why `book` cannot be used, or None: empty side, impossible number, wrong order, crossed."""
    for name, levels, better in (("bids", book.bids, 1.0), ("asks", book.asks, -1.0)):
        if not levels:
            return f"the book has no {name}"
        for level in levels:
            if not (math.isfinite(level.px) and level.px > 0.0):
                return f"the book has an impossible price among its {name}: {level.px!r}"
            if not (math.isfinite(level.sz) and level.sz > 0.0):
                return f"the book has an impossible size among its {name}: {level.sz!r}"
        if any(better * (level.px - after.px) <= 0.0 for level, after in pairwise(levels)):
            return f"the book's {name} are not ordered from the best"
    if book.bids[0].px >= book.asks[0].px:
        return f"the book is crossed: best bid {book.bids[0].px!r}, best ask {book.asks[0].px!r}"
    return None


def mid_px(book: Book) -> float:
    """Return the middle of best bid and best ask, USD."""
    return (book.bids[0].px + book.asks[0].px) / 2.0


def spread_bps(book: Book) -> float:
    """Return (best ask - best bid) / mid in basis points (99.9 and 100.1: 20)."""
    return (book.asks[0].px - book.bids[0].px) / mid_px(book) * BPS


def depth_within(book: Book, band: float) -> Depth:
    """Return what rests between mid x (1 - band) and mid x (1 + band), bounds included."""
    mid = mid_px(book)
    low, high = mid * (1.0 - band), mid * (1.0 + band)
    inside = [level for level in book.bids if level.px >= low]
    inside += [level for level in book.asks if level.px <= high]
    ends_early = book.bids[-1].px > low or book.asks[-1].px < high
    return Depth(
        usd=math.fsum(level.px * level.sz for level in inside),
        coins=math.fsum(level.sz for level in inside),
        is_floor=ends_early,
    )


def slippage_bps(book: Book, notional_usd: float) -> float | None:
    """Return the cost of taking `notional_usd` / mid coins, in basis points of mid, on the worse side.

    Walks the levels from the best. None when either side of the book is too thin to fill it.
    """
    mid = mid_px(book)
    coins = notional_usd / mid
    buy_px, sell_px = _average_px(book.asks, coins), _average_px(book.bids, coins)
    if buy_px is None or sell_px is None:
        return None
    return max(buy_px - mid, mid - sell_px) / mid * BPS


def _average_px(levels: Sequence[BookLevel], coins: float) -> float | None:
    left, paid = coins, 0.0
    for level in levels:
        taken = min(left, level.sz)
        paid += taken * level.px
        left -= taken
        if left <= coins * 1e-12:
            return paid / (coins - left)
    return None
