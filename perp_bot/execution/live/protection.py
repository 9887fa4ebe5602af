"""Is every position protected: what rests at the venue against what is held, and what to do about the difference.

Protection is a resting reduce-only stop of at least the position's size at its stop price. Until the venue has said
that one rests, it does not count. A new stop is placed before an old one is cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import Order, OrderRole, OrderState, Position
from perp_bot.core.venue_account import RestingOrder, VenuePosition

ZERO = Decimal(0)
_RESTS = (OrderState.OPEN, OrderState.PARTLY_FILLED)
_MAY_COME = (OrderState.INTENT, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Protection:
    """How one position is protected. `coverage` 0..1; `superfluous` stops may go, a good one rests."""

    coverage: Decimal
    is_wanted: bool  # a stop has to be placed now
    is_good: bool = False  # one stop covers all of it, where it has to stand
    superfluous: tuple[str, ...] = ()  # client order ids


def stops_of(symbol: str, orders: Iterable[Order]) -> list[Order]:
    """Return the live stop orders of a coin."""
    return [o for o in orders if o.intent.symbol == symbol and o.intent.role is OrderRole.STOP and o.is_live]


def protection(position: Position, orders: Iterable[Order]) -> Protection:
    """Return how `position` is protected by the live orders."""
    stops = [o for o in stops_of(position.symbol, orders) if o.intent.side is position.side.closing]
    resting = [o for o in stops if o.state in _RESTS]
    coverage = min(Decimal(1), sum((o.remaining for o in resting), ZERO) / position.size)
    if position.stop_px is None:
        return Protection(coverage, is_wanted=False)
    trigger = to_decimal(position.stop_px)
    good = [o for o in resting if o.intent.trigger_px == trigger and o.remaining >= position.size]
    if good:
        keep = max(good, key=lambda order: order.intent.created_ms).intent.cloid
        return Protection(Decimal(1), False, True, tuple(o.intent.cloid for o in resting if o.intent.cloid != keep))
    coming = any(
        o.state in _MAY_COME and o.intent.trigger_px == trigger and o.remaining >= position.size for o in stops
    )
    return Protection(coverage, is_wanted=not coming)


def venue_coverage(position: VenuePosition, resting: Iterable[RestingOrder]) -> Decimal:
    """Return which share of a position reduce-only stops at the venue cover, 0..1, whoever placed them."""
    stops = [
        order
        for order in resting
        if order.symbol == position.symbol
        and order.is_stop
        and order.reduce_only
        and order.side is position.side.closing
    ]
    if any(order.size == 0 for order in stops):
        return Decimal(1)  # one of the position itself: the venue shows those without a size (web app, 2026-09)
    return min(Decimal(1), sum((order.left for order in stops), ZERO) / abs(position.signed_size))
