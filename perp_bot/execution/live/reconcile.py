"""Books against account: the drift classes, found by comparing, changed by nobody here.

A difference counts once it has been seen twice, with the fills read in between: the venue's account may be a moment
ahead of the fills that it tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from perp_bot.core.types import Order, OrderRole, Position
from perp_bot.core.venue_account import RestingOrder, VenueAccount

PRICE_TOLERANCE = Decimal("0.0005")  # the venue rounds entry prices
_ZERO = Decimal(0)


class Drift(StrEnum):
    """How books and venue differ."""

    PHANTOM = "phantom"  # the books hold what the venue does not
    ORPHAN = "orphan"  # the venue holds what the books do not
    SIDE = "side"
    SIZE = "size"
    PRICE = "price"
    LEVERAGE = "leverage"
    MISSING_STOP = "missing_stop"
    FOREIGN_ORDER = "foreign_order"
    LOST_ORDER = "lost_order"  # we believe that it rests, the venue does not


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, in words that a person can act on."""

    kind: Drift
    symbol: str
    text: str
    oid: int | None = None
    cloid: str | None = None


def differences(
    account: VenueAccount,
    resting: Iterable[RestingOrder],
    *,
    positions: Iterable[Position],
    orders: Iterable[Order],
    leverage: Mapping[str, int],
) -> tuple[Difference, ...]:
    """Return how the venue's account and open orders differ from ours, the gravest classes first.

    Args:
        account: read together with `resting`.
        resting: the venue's open orders.
        positions: by our books.
        orders: those of ours that we believe to rest.
        leverage: what was set, by coin; coins without an entry are not compared.
    """
    found: list[Difference] = []
    ours = {position.symbol: position for position in positions}
    theirs = {position.symbol: position for position in account.positions}
    for symbol in sorted(ours.keys() | theirs.keys()):
        held, venue = ours.get(symbol), theirs.get(symbol)
        if venue is None:
            assert held is not None
            found.append(Difference(Drift.PHANTOM, symbol, f"the books hold {held.signed_size} {symbol}, the venue 0"))
        elif held is None:
            text = f"the venue holds {venue.signed_size} {symbol}, the books 0"
            found.append(Difference(Drift.ORPHAN, symbol, text))
        elif held.signed_size * venue.signed_size < 0:
            text = f"the books hold {held.signed_size} {symbol}, the venue {venue.signed_size}: the other side"
            found.append(Difference(Drift.SIDE, symbol, text))
        elif held.signed_size != venue.signed_size:
            text = f"the books hold {held.signed_size} {symbol}, the venue {venue.signed_size}"
            found.append(Difference(Drift.SIZE, symbol, text))
        elif venue.entry_px is not None and abs(held.entry_px - venue.entry_px) > venue.entry_px * PRICE_TOLERANCE:
            text = f"{symbol}: entry {held.entry_px:.8g} in the books, {venue.entry_px} at the venue"
            found.append(Difference(Drift.PRICE, symbol, text))
        if venue is not None and venue.leverage is not None and leverage.get(symbol, venue.leverage) != venue.leverage:
            text = f"{symbol}: leverage {venue.leverage} at the venue, {leverage[symbol]} is configured"
            found.append(Difference(Drift.LEVERAGE, symbol, text))
    return (*found, *_of_orders(tuple(resting), theirs, tuple(orders)))


def _of_orders(
    resting: tuple[RestingOrder, ...], theirs: Mapping[str, object], orders: tuple[Order, ...]
) -> tuple[Difference, ...]:
    found: list[Difference] = []
    known = {order.intent.cloid for order in orders}
    at_venue = {order.cloid for order in resting if order.cloid is not None}
    for order in orders:
        intent = order.intent
        if intent.cloid not in at_venue:
            kind = Drift.MISSING_STOP if intent.role is OrderRole.STOP and intent.symbol in theirs else Drift.LOST_ORDER
            text = f"{intent.role} {intent.side} {order.remaining} {intent.symbol} does not rest at the venue"
            found.append(Difference(kind, intent.symbol, text, cloid=intent.cloid))
    for rests in resting:
        if rests.cloid not in known:
            reduce = ", reduce-only" if rests.reduce_only else ""
            text = f"{rests.side} {rests.left} {rests.symbol} at {rests.px}{reduce} is not ours (order {rests.oid})"
            found.append(Difference(Drift.FOREIGN_ORDER, rests.symbol, text, rests.oid, rests.cloid))
    return tuple(found)
