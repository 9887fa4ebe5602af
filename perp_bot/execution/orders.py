"""The order state machine: one table of legal moves, and the pure functions that make them.

Answers may come twice, late or out of order; the functions are idempotent: an acknowledgement of what already
happened changes nothing. A fill carries its own id and counts once. What the table does not allow raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.types import Fill, Order, OrderIntent, OrderRole, OrderState

TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    OrderState.INTENT: frozenset(
        {
            OrderState.OPEN,
            OrderState.PARTLY_FILLED,
            OrderState.FILLED,
            OrderState.CANCELLED,  # never sent: a kill, or the venue knows nothing of it
            OrderState.REJECTED,
            OrderState.UNKNOWN,
        }
    ),
    OrderState.UNKNOWN: frozenset(
        {
            OrderState.OPEN,
            OrderState.PARTLY_FILLED,
            OrderState.FILLED,
            OrderState.CANCELLED,
            OrderState.REJECTED,
        }
    ),
    OrderState.OPEN: frozenset({OrderState.PARTLY_FILLED, OrderState.FILLED, OrderState.CANCELLED}),
    OrderState.PARTLY_FILLED: frozenset({OrderState.PARTLY_FILLED, OrderState.FILLED, OrderState.CANCELLED}),
    # A fill that happened before the cancel may be reported after it; the order stays cancelled unless it is full.
    OrderState.CANCELLED: frozenset({OrderState.CANCELLED, OrderState.FILLED}),
    OrderState.FILLED: frozenset(),
    OrderState.REJECTED: frozenset(),
}


class IllegalTransition(OrderRuleError):
    """An order was asked to make a move that the table does not allow."""


def cloid_for(source: str, decision_id: str, role: OrderRole, attempt: int = 0) -> str:
    """Return the client order id of the `attempt`-th order of a decision in a role: derived, never random."""
    text = f"{source}|{decision_id}|{role}|{attempt}"
    return "0x" + hashlib.sha256(text.encode()).hexdigest()[:32]


def new_order(intent: OrderIntent) -> Order:
    """Return the order of an intent that has not been sent."""
    return Order(intent, OrderState.INTENT, Decimal(0), None, intent.created_ms)


def moved(order: Order, state: OrderState, at_ms: int, note: str = "") -> Order:
    """Return the order in `state`.

    Raises:
        IllegalTransition: when the table has no such move.
    """
    if state not in TRANSITIONS[order.state]:
        raise IllegalTransition(f"order {order.intent.cloid} cannot go from {order.state} to {state}")
    return replace(order, state=state, updated_ms=at_ms, note=note or order.note)


def accepted(order: Order, at_ms: int) -> Order:
    """Take the venue's acknowledgement; late or repeated ones change nothing."""
    if order.state in (OrderState.INTENT, OrderState.UNKNOWN):
        return moved(order, OrderState.OPEN, at_ms)
    if order.state is OrderState.REJECTED:
        raise IllegalTransition(f"order {order.intent.cloid} was rejected and cannot be accepted")
    return order


def unanswered(order: Order, at_ms: int, note: str) -> Order:
    """Mark an order that was sent and not answered; changes nothing once the venue has spoken."""
    return moved(order, OrderState.UNKNOWN, at_ms, note) if order.state is OrderState.INTENT else order


def rejected(order: Order, at_ms: int, note: str) -> Order:
    """Take a rejection; a repeated one changes nothing."""
    return order if order.state is OrderState.REJECTED else moved(order, OrderState.REJECTED, at_ms, note)


def cancelled(order: Order, at_ms: int, note: str) -> Order:
    """Take a cancel; a repeated one, or one that lost against the last fill, changes nothing."""
    if order.state in (OrderState.CANCELLED, OrderState.FILLED):
        return order
    return moved(order, OrderState.CANCELLED, at_ms, note)


def filled(order: Order, size: Decimal, px: Decimal, at_ms: int, note: str = "") -> Order:
    """Add one fill that has not been counted yet (see `OrderTrack` for repeated ones).

    Raises:
        IllegalTransition: when the order cannot fill, or would be filled beyond its size.
    """
    if size <= 0 or px <= 0:
        raise IllegalTransition(f"order {order.intent.cloid}: a fill of {size} at {px} is none")
    total = order.filled + size
    if total > order.intent.size:
        raise IllegalTransition(f"order {order.intent.cloid}: filled {total} would exceed its size {order.intent.size}")
    if total == order.intent.size:
        state = OrderState.FILLED
    elif order.state is OrderState.CANCELLED:
        state = OrderState.CANCELLED
    else:
        state = OrderState.PARTLY_FILLED
    paid = order.filled * (order.avg_px or Decimal(0)) + size * px
    return replace(moved(order, state, at_ms, note), filled=total, avg_px=paid / total)


@dataclass(frozen=True, slots=True)
class OrderTrack:
    """An order and the ids of the fills already counted."""

    order: Order
    fill_ids: frozenset[str] = frozenset()

    def on_fill(self, fill: Fill) -> OrderTrack:
        """Count a fill once; the same id again changes nothing."""
        if fill.fill_id in self.fill_ids:
            return self
        order = filled(self.order, fill.size, fill.px, fill.venue_ms)
        return OrderTrack(order, self.fill_ids | {fill.fill_id})


def settled(order: Order, fills: Iterable[Fill]) -> Order:
    """Return the order as its stored fills say (after a crash the order's row may be older than the fills).

    Fills are the truth: quantity, average, state and time follow from them; an end without a full fill is kept.
    """
    total, paid, newest_ms = Decimal(0), Decimal(0), order.updated_ms
    seen: set[str] = set()
    for fill in fills:
        if fill.cloid != order.intent.cloid or fill.fill_id in seen:
            continue
        seen.add(fill.fill_id)
        total += fill.size
        paid += fill.size * fill.px
        newest_ms = max(newest_ms, fill.venue_ms)
    if total == order.filled:
        return order
    if total < order.filled or total > order.intent.size:
        raise IllegalTransition(
            f"order {order.intent.cloid}: its stored fills sum to {total}, the order says {order.filled} "
            f"of {order.intent.size}"
        )
    if total == order.intent.size:
        state = OrderState.FILLED
    else:
        state = order.state if order.state is OrderState.CANCELLED else OrderState.PARTLY_FILLED
    return replace(order, state=state, filled=total, avg_px=paid / total, updated_ms=newest_ms)
