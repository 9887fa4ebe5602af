"""The venue's own shapes, as far as we read them: decoded straight from bytes, every number checked to be finite.

Decimals are strings on the wire; msgspec turns them into floats (`strict=False`), and the bounds below refuse NaN and
infinities, which would otherwise pass every comparison.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from perp_bot.core import timeframes
from perp_bot.core.errors import BadAnswer
from perp_bot.core.types import AssetContext, Book, BookLevel, Candle, CandleSource, OrderSide, PublicTrade

Price = Annotated[float, msgspec.Meta(gt=0, lt=1e15)]
Amount = Annotated[float, msgspec.Meta(ge=0, lt=1e18)]
Signed = Annotated[float, msgspec.Meta(gt=-1e15, lt=1e15)]
EpochMs = Annotated[int, msgspec.Meta(ge=0, lt=10**14)]


class WireCandle(msgspec.Struct, frozen=True, gc=False):
    """A candle row: t open, T last ms, s coin, i interval."""

    t: EpochMs
    s: str
    i: str
    o: Price
    h: Price
    l: Price  # noqa: E741 - the venue's key
    c: Price
    v: Amount
    n: int | None = None


class WireBook(msgspec.Struct, frozen=True):
    """An order book: bids best first, then asks best first."""

    coin: str
    time: EpochMs
    levels: tuple[tuple[BookLevel, ...], tuple[BookLevel, ...]]


class WireTrade(msgspec.Struct, frozen=True, gc=False):
    """A public trade; side is the aggressor's."""

    coin: str
    side: Literal["A", "B"]
    px: Price
    sz: Price
    time: EpochMs
    tid: int


class WireContext(msgspec.Struct, frozen=True, gc=False):
    """A perp's running context; prices are 0 or null where a coin has none."""

    markPx: Amount | None = None  # noqa: N815 - the venue's keys
    oraclePx: Amount | None = None  # noqa: N815
    midPx: Amount | None = None  # noqa: N815
    funding: Signed | None = None
    openInterest: Amount | None = None  # noqa: N815
    premium: Signed | None = None
    dayNtlVlm: Amount | None = None  # noqa: N815


_SIDES = {"B": OrderSide.BUY, "A": OrderSide.SELL}


def candle_of(row: WireCandle, source: CandleSource) -> Candle:
    """Return the row as a Candle.

    Raises:
        BadAnswer: when high or low contradict open and close, or the open time is off the interval's grid.
    """
    if row.h < max(row.o, row.c, row.l) or row.l > min(row.o, row.c):
        raise BadAnswer(
            f"candle {row.s} {row.i} t={row.t}: o={row.o} h={row.h} l={row.l} c={row.c} contradict each other"
        )
    if row.i not in timeframes.TIMEFRAMES or timeframes.open_of(row.i, row.t) != row.t:
        raise BadAnswer(f"candle {row.s} {row.i} t={row.t}: the open time is not on the grid of {row.i!r}")
    return Candle(row.s, row.i, row.t, row.o, row.h, row.l, row.c, row.v, row.n, source)


def book_of(row: WireBook) -> Book:
    """Return the book.

    Raises:
        BadAnswer: when a number is not finite, a best price or size is not positive, or the book is crossed.
    """
    bids, asks = row.levels
    total = 0.0
    for level in bids:
        total += level.px + level.sz
    for level in asks:
        total += level.px + level.sz
    if not math.isfinite(total):
        raise BadAnswer(f"book {row.coin} t={row.time}: a price or size is not a finite number")
    if bids and (bids[-1].px <= 0 or bids[0].sz <= 0 or bids[0].px < bids[-1].px):
        raise BadAnswer(f"book {row.coin} t={row.time}: bids are not positive and falling")
    if asks and (asks[0].px <= 0 or asks[0].sz <= 0 or asks[0].px > asks[-1].px):
        raise BadAnswer(f"book {row.coin} t={row.time}: asks are not positive and rising")
    if bids and asks and bids[0].px >= asks[0].px:
        raise BadAnswer(f"book {row.coin} t={row.time}: crossed, bid {bids[0].px} at or above ask {asks[0].px}")
    return Book(row.coin, row.time, bids, asks)


def trade_of(row: WireTrade) -> PublicTrade:
    """Return the trade."""
    return PublicTrade(row.coin, row.time, row.px, row.sz, _SIDES[row.side], row.tid)


def context_of(coin: str, venue_ms: int, row: WireContext) -> AssetContext | None:
    """Return the context, or None when the coin has no mark or oracle price (delisted)."""
    if not row.markPx or not row.oraclePx:
        return None
    return AssetContext(
        symbol=coin,
        venue_ms=venue_ms,
        mark_px=row.markPx,
        oracle_px=row.oraclePx,
        mid_px=row.midPx or None,
        funding_hourly=row.funding,
        open_interest=row.openInterest,
        premium=row.premium,
        day_ntl_vlm_usd=row.dayNtlVlm,
    )
