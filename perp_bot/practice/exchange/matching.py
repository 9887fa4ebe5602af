"""Matches by price, then time: against the path's book and its trades, and between the venue's own accounts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import booking, lifecycle, margin
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.feed import PathTrade
from perp_bot.practice.exchange.orders import FILLED, Order

SELF_TRADE = "selfTradeCanceled"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """What an order got at once."""

    size: Decimal
    value_usd: Decimal

    @property
    def avg_px(self) -> Decimal:
        """Return the average price."""
        return self.value_usd / self.size


def resting(core: Core, coin: str, *, is_buy: bool) -> list[Order]:
    """Return the orders of one side of a coin's book, of all accounts, best price first, then oldest."""
    found = [
        order
        for account in core.accounts.values()
        for order in account.orders.values()
        if order.coin == coin and order.rests and order.is_buy == is_buy
    ]
    return sorted(found, key=lambda order: (-order.px if is_buy else order.px, order.at_ms, order.oid))


def best(core: Core, coin: str) -> tuple[Decimal | None, Decimal | None]:
    """Return best bid and ask of path and accounts together."""
    bids, asks = levels(core, coin, is_bid=True), levels(core, coin, is_bid=False)
    own_bids, own_asks = resting(core, coin, is_buy=True), resting(core, coin, is_buy=False)
    bid = max([px for px, _ in bids[:1]] + [order.px for order in own_bids[:1]], default=None)
    ask = min([px for px, _ in asks[:1]] + [order.px for order in own_asks[:1]], default=None)
    return bid, ask


def levels(core: Core, coin: str, *, is_bid: bool) -> list[tuple[Decimal, Decimal]]:
    """Return the path's levels of one side, less what our accounts took from this very book."""
    core.forget_eaten(coin)
    side = core.feed.book(coin, core.now_ms)[0 if is_bid else 1]
    left = [(px, size - core.eaten.get((coin, is_bid, px), ZERO)) for px, size in side]
    return [(px, size) for px, size in left if size > 0]


def size_at(core: Core, coin: str, px: Decimal, *, is_bid: bool) -> Decimal:
    """Return what the path has resting at a price."""
    return next((size for level, size in levels(core, coin, is_bid=is_bid) if level == px), ZERO)


def would_match(core: Core, order: Order) -> bool:
    """Return whether an order would be filled at once."""
    bid, ask = best(core, order.coin)
    against = ask if order.is_buy else bid
    return against is not None and (order.px - against) * order.sign >= 0


def take(core: Core, order: Order, *, limit: Decimal | None, liquidation: Json | None = None) -> Taken:
    """Fill an order from what rests on the other side, up to its limit; what is left of it is the caller's affair."""
    account = core.accounts[order.user]
    direction = None if liquidation is None else _liquidated(account, order.coin)
    theirs = resting(core, order.coin, is_buy=not order.is_buy)
    path = levels(core, order.coin, is_bid=not order.is_buy)
    got, value = ZERO, ZERO
    while order.left > 0:
        other = next((one for one in theirs if one.rests), None)
        level = path[0] if path else None
        if other is None and level is None:
            break
        # at one price the path was there first
        is_path = other is None or (level is not None and (level[0] - other.px) * order.sign <= 0)
        px = level[0] if is_path and level is not None else other.px  # type: ignore[union-attr]
        if limit is not None and (px - limit) * order.sign > 0:
            break
        if is_path and level is not None:
            size = min(order.left, level[1])
            key = (order.coin, not order.is_buy, px)
            core.eaten[key] = core.eaten.get(key, ZERO) + size
            path = [(px, level[1] - size), *path[1:]] if size < level[1] else path[1:]
        else:
            assert other is not None
            if other.user == order.user:
                lifecycle.end(core, account, other, SELF_TRADE)
                continue
            size = min(order.left, other.left)
        tid, tx = core.next_tid(), core.next_hash()
        if not is_path and other is not None and not _fill_resting(core, other, size, tid, tx, liquidation):
            continue
        order.left -= size
        got, value = got + size, value + size * px
        booking.book(
            core, account, order.coin, is_buy=order.is_buy, px=px, size=size, is_taker=True, oid=order.oid,
            cloid=order.cloid, tid=tid, tx=tx, liquidation=liquidation, direction=direction,
        )  # fmt: skip
    return Taken(got, value)


def _liquidated(account: Account, coin: str) -> str:
    position = account.position(coin)
    return f"Liquidated {'Cross' if position.is_cross else 'Isolated'} {'Long' if position.is_long else 'Short'}"


def trade(core: Core, coin: str, seen: PathTrade) -> None:
    """Fill resting orders from a trade of the path: those it went through whole, those at its price after the queue.

    At one price nobody is filled before whoever was there first, however long the path's queue was when each came.
    """
    given, is_first = ZERO, True  # of the trade's size, at its own price; nobody older is left there
    for order in resting(core, coin, is_buy=not seen.is_buy):
        if not order.rests:
            continue
        through = (order.px - seen.px) * order.sign
        if through < 0:
            break
        size = order.left
        if through == 0:
            passed = min(order.ahead, seen.size - given)
            order.ahead -= passed
            size = min(order.left, seen.size - given - passed) if is_first else ZERO
            is_first = is_first and size == order.left
            if size <= 0:
                continue
            given += size
        _fill_resting(core, order, size, core.next_tid(), core.next_hash())


def cross(core: Core, coin: str) -> None:
    """Fill resting orders that the path's best prices have moved beyond, from the levels that they cross."""
    bid, ask = core.feed.best(coin, core.now_ms)
    for is_buy, against in ((True, ask), (False, bid)):
        own = resting(core, coin, is_buy=is_buy)
        if not own or (own[0].px - against) * own[0].sign < 0:
            continue
        for order in own:
            for px, size in levels(core, coin, is_bid=not is_buy):
                if not order.rests or (order.px - px) * order.sign < 0:
                    break
                filled = min(order.left, size)
                key = (coin, not is_buy, px)
                if not _fill_resting(core, order, filled, core.next_tid(), core.next_hash()):
                    break
                core.eaten[key] = core.eaten.get(key, ZERO) + filled


def _fill_resting(core: Core, order: Order, size: Decimal, tid: int, tx: str, liquidation: Json | None = None) -> bool:
    """Fill a resting order at its own price; False, and the order is gone, when its account lacks the margin."""
    account = core.accounts[order.user]
    opens = ZERO if order.reduce_only else margin.opening(account, order.coin, order.is_buy, size)
    if opens:
        needed = opens * order.px / margin.leverage(account, order.coin)
        free = margin.cross_value(account, core.mark) - margin.cross_used(account, core.mark)
        if needed > free:
            lifecycle.end(core, account, order, lifecycle.NO_MARGIN)
            return False
    order.left -= size
    booking.book(
        core, account, order.coin, is_buy=order.is_buy, px=order.px, size=size, is_taker=False, oid=order.oid,
        cloid=order.cloid, tid=tid, tx=tx, liquidation=liquidation,
    )  # fmt: skip
    settle(core, order)
    return True


def settle(core: Core, order: Order) -> None:
    """After a fill: end an order that is whole, tell one that is not, and fit the others to the position."""
    account = core.accounts[order.user]
    if order.left == 0:
        lifecycle.end(core, account, order, FILLED)
    elif order.oid in account.orders:
        order.status_ms = core.now_ms
        core.tell_order(order)
    lifecycle.fit_to_position(core, account, order.coin)
