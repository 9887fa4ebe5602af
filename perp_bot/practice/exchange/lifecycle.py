"""How orders begin and end: children with their parents, siblings with each other, reduce-only with the position."""

from __future__ import annotations

from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.exchange.core import Core, oldest_first
from perp_bot.practice.exchange.orders import CANCELED, FILLED, OPEN, Order

REDUCED, SIBLING, NO_MARGIN = "reduceOnlyCanceled", "siblingFilledCanceled", "marginCanceled"


def begin(core: Core, account: Account, order: Order) -> None:
    """Make an order an open one and tell it."""
    order.status, order.status_ms = OPEN, core.now_ms
    account.orders[order.oid] = order
    core.tell_order(order)


def end(core: Core, account: Account, order: Order, status: str) -> None:
    """End an order: its children go with it unless it filled; those of a filled one begin.

    As on the venue, an order that was cut for want of margin after a part had filled counts as filled for its children.
    """
    order.status, order.status_ms = status, core.now_ms
    account.orders.pop(order.oid, None)
    account.ended.append(order)
    core.tell_order(order)
    has_filled = status == FILLED or (status == NO_MARGIN and order.left < order.size)
    for child in order.children:
        if child.is_open and child.is_waiting:
            if has_filled:
                _place_child(core, account, child)
            else:
                child.parent = None
                end(core, account, child, CANCELED)
    for sibling in order.siblings:
        if status == FILLED and sibling.is_open:
            end(core, account, sibling, SIBLING)


def fit_to_position(core: Core, account: Account, coin: str) -> None:
    """Shrink the reduce-only orders of a coin to its position; end those that have nothing left to reduce."""
    szi = account.szi(coin)
    for order in oldest_first(account.orders_of(coin)):
        if not order.reduce_only or not order.is_open:
            continue
        if szi == ZERO or (szi > 0) == order.is_buy:
            end(core, account, order, REDUCED)
        elif order.is_position or order.left > abs(szi):
            order.left = abs(szi)


def tell_cancelled(core: Core, account: Account, orders: list[Order]) -> None:
    """Tell the user's own channel which orders the venue ended."""
    if orders:
        gone = [{"coin": order.coin, "oid": order.oid} for order in orders]
        core.tell(account.address, "user", {"nonUserCancel": gone})


def _place_child(core: Core, account: Account, child: Order) -> None:
    child.parent, child.status_ms = None, core.now_ms
    szi = account.szi(child.coin)
    if child.reduce_only and (szi == ZERO or (szi > 0) == child.is_buy):
        end(core, account, child, REDUCED)
        return
    if child.reduce_only:
        child.left = min(child.left, abs(szi))
    core.tell_order(child)
