"""Places one order: the rules it must keep, what it takes at once, and what of it rests."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import lifecycle, margin, matching
from perp_bot.practice.exchange import order_rules as rules
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import CANCELED, FILLED, Order, Tif, Trigger, shown_type
from perp_bot.practice.exchange.tiers import tier_of
from perp_bot.practice.market.coins import COINS, CoinSpec

Json = dict[str, Any]

TOLERANCE = Decimal("0.1")  # of a market stop or take profit


class Refused(Exception):
    """An order that the venue does not take; the text is its own."""


class RefusedBatch(Refused):
    """An order that lets its whole batch be refused with one entry: it is looked at before any other."""


@dataclass(frozen=True, slots=True)
class Wish:
    """An order as it came on the wire."""

    asset: int
    is_buy: bool
    px: Decimal
    size: Decimal
    reduce_only: bool
    tif: Tif | None
    trigger: Trigger | None
    cloid: str | None


def check_batch(core: Core, wish: Wish) -> None:
    """Refuse the whole batch for what no market can change.

    Raises:
        RefusedBatch: unknown coin, too many figures or decimals, no size, a price far off.
    """
    spec = core.feed.spec(wish.asset)
    if spec is None:
        raise RefusedBatch(rules.NO_ASSET)
    if wish.px <= 0 or (wish.trigger is not None and wish.trigger.px <= 0):
        raise RefusedBatch(rules.INVALID_PRICE)
    if not rules.is_on_lot(wish.size, spec) or wish.size < 0:
        raise RefusedBatch(rules.INVALID_SIZE)
    if core.feed.is_live(spec.name, core.now_ms) and rules.is_far(wish.px, core.mark(spec.name)):
        raise RefusedBatch(rules.FAR)


def make(core: Core, account: Account, wish: Wish, *, is_position: bool = False) -> Order:
    """Return the order of a wish; it is not open yet."""
    trigger = wish.trigger
    tif: Tif | None = None if trigger is not None and trigger.is_market else wish.tif or "Gtc"
    return Order(
        user=account.address,
        oid=core.next_oid(),
        coin=COINS[wish.asset].name,
        is_buy=wish.is_buy,
        px=wish.px,
        size=wish.size,
        left=wish.size,
        tif=tif,
        at_ms=core.now_ms,
        status_ms=core.now_ms,
        reduce_only=wish.reduce_only,
        cloid=wish.cloid,
        trigger=trigger,
        is_position=is_position,
        shown_type=shown_type(trigger, tif),
        trigger_px=trigger.px if trigger is not None else ZERO,
    )


def place(core: Core, account: Account, order: Order) -> Json:
    """Place an order and return its entry of `statuses`: resting, filled, or an error in the venue's words."""
    try:
        _check(core, account, order)
        if order.trigger is not None:
            return _place_trigger(core, account, order)
        return _place_limit(core, account, order)
    except Refused as refusal:
        reason = str(refusal)
        reject(core, account, order, reason)
        return {"error": f"{reason} asset={core.feed.asset(order.coin)}"}


def reject(core: Core, account: Account, order: Order, reason: str) -> None:
    """Remember a refused order with the status of its reason."""
    order.status, order.status_ms = rules.status_of(reason), core.now_ms
    account.ended.append(order)
    core.tell_order(order)


def _check(core: Core, account: Account, order: Order) -> None:
    spec = COINS[core.feed.asset(order.coin)]
    if core.rejections:
        raise Refused(core.rejections.pop(0))
    if not core.feed.is_live(order.coin, core.now_ms):
        raise Refused(rules.DELISTED)
    trigger = order.trigger
    if not rules.is_on_tick(order.px, spec) or (trigger is not None and not rules.is_on_tick(trigger.px, spec)):
        raise Refused(rules.TICK)
    if order.size == 0 and not order.is_position:
        raise Refused(rules.ZERO_SIZE)
    szi = account.szi(order.coin)
    if order.reduce_only and not order.is_waiting:
        if szi == 0 or (szi > 0) == order.is_buy:
            raise Refused(rules.REDUCE_ONLY)
        order.left = abs(szi) if order.is_position else min(order.left, abs(szi))
    _check_count(account, order)
    if trigger is not None and (
        trigger.fires(order.is_buy, core.mark(order.coin)) or (order.px - trigger.px) * order.sign < 0
    ):
        raise Refused(rules.BAD_TRIGGER)
    _check_value(order, spec, szi)


def _check_count(account: Account, order: Order) -> None:
    """Refuse what would be one open order too many; of the last ones none may be a trigger or reduce-only."""
    is_scarce = order.reduce_only or order.trigger is not None
    rests = order.tif not in ("Ioc", "FrontendMarket")
    most = rules.MOST_ORDERS if is_scarce else rules.most_orders(account.volume_usd)
    if rests and len(account.orders) >= most:
        raise Refused(rules.TOO_MANY)


def _check_value(order: Order, spec: CoinSpec, szi: Decimal) -> None:
    closes = szi != 0 and (szi > 0) != order.is_buy
    is_whole_close = closes and (order.size == abs(szi) or (order.reduce_only and order.size > abs(szi)))
    if not (is_whole_close or order.is_position) and order.size * order.px < rules.LEAST_USD:
        raise Refused(rules.LEAST_VALUE)
    if order.size * order.px > rules.most_usd(spec, is_market=order.tif in ("Ioc", "FrontendMarket")):
        raise Refused(rules.TOO_LARGE)


def check_margin(core: Core, account: Account, order: Order) -> None:
    """Refuse an order whose opening part the account's free margin, or the tier of its leverage, does not carry.

    Raises:
        Refused: it does not.
    """
    if order.reduce_only:
        return
    opens = margin.opening(account, order.coin, order.is_buy, order.left)
    if not opens:
        return
    leverage = margin.leverage(account, order.coin)
    after_usd = abs(account.szi(order.coin) + order.sign * order.left) * core.mark(order.coin)
    if leverage > tier_of(order.coin, after_usd).max_leverage:
        raise Refused(rules.TIER)
    if opens * order.px / leverage > margin.free_usd(account, core.mark):
        raise Refused(rules.MARGIN)


def _place_trigger(core: Core, account: Account, order: Order) -> Json:
    lifecycle.begin(core, account, order)
    return {"resting": _named({"oid": order.oid}, order)}


def _place_limit(core: Core, account: Account, order: Order) -> Json:
    check_margin(core, account, order)
    if order.tif == "Alo" and matching.would_match(core, order):
        bid, ask = matching.best(core, order.coin)
        shown = [text(px).removesuffix(".0") if px is not None else "None" for px in (bid, ask)]
        raise Refused(rules.POST_ONLY.format(bid=shown[0], ask=shown[1]))
    is_immediate = order.tif in ("Ioc", "FrontendMarket")
    order.status_ms = core.now_ms
    taken = matching.take(core, order, limit=order.px)
    if is_immediate and not taken.size:
        raise Refused(rules.NO_LIQUIDITY if order.tif == "FrontendMarket" else rules.NO_MATCH)
    if order.left == 0 or is_immediate:
        _finish(core, account, order)
        return {"filled": _named(_filled(order, taken), order)}
    order.ahead = matching.size_at(core, order.coin, order.px, is_bid=order.is_buy)
    lifecycle.begin(core, account, order)
    lifecycle.fit_to_position(core, account, order.coin)
    return {"resting": _named({"oid": order.oid}, order)}


def _finish(core: Core, account: Account, order: Order) -> None:
    """End an order that does not rest: filled, or what an immediate one did not get is cancelled without a word."""
    lifecycle.end(core, account, order, FILLED if order.left == 0 else CANCELED)
    lifecycle.fit_to_position(core, account, order.coin)


def _filled(order: Order, taken: matching.Taken) -> Json:
    return {"totalSz": text(taken.size), "avgPx": text(round(taken.avg_px, 8)), "oid": order.oid}


def _named(entry: Json, order: Order) -> Json:
    return entry if order.cloid is None else {**entry, "cloid": order.cloid}


def fire(core: Core, account: Account, order: Order) -> None:
    """Turn a trigger order whose price was reached into what it becomes."""
    trigger = order.trigger
    assert trigger is not None
    szi = account.szi(order.coin)
    if order.reduce_only and (szi == 0 or (szi > 0) == order.is_buy):
        lifecycle.end(core, account, order, lifecycle.REDUCED)
        return
    if order.is_position:
        order.left = abs(szi)
    elif order.reduce_only:
        order.left = min(order.left, abs(szi))
    order.status, order.status_ms = "triggered", core.now_ms
    core.tell_order(order)
    order.status, order.trigger = "open", None
    account.orders.pop(order.oid, None)
    if not order.reduce_only and not _carries(core, account, order):
        lifecycle.end(core, account, order, lifecycle.NO_MARGIN)
        return
    limit = order.px
    if trigger.is_market:
        limit = core.mark(order.coin) * (1 + TOLERANCE * order.sign)
    taken = matching.take(core, order, limit=limit)
    if trigger.is_market or order.left == 0:
        if not taken.size:
            lifecycle.end(core, account, order, rules.STATUS[rules.NO_LIQUIDITY])
        else:
            _finish(core, account, order)
        return
    order.ahead = matching.size_at(core, order.coin, order.px, is_bid=order.is_buy)
    lifecycle.begin(core, account, order)
    lifecycle.fit_to_position(core, account, order.coin)


def _carries(core: Core, account: Account, order: Order) -> bool:
    try:
        check_margin(core, account, order)
    except Refused:
        return False
    return True
