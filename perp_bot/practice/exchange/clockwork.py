"""Lets time pass: trades of the path, books, funding hours, marks and scheduled cancels, in the order they happen."""

from __future__ import annotations

from perp_bot.practice.exchange import booking, funding, lifecycle, liquidation, matching, placing, watch
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.core import Core, oldest_first
from perp_bot.practice.exchange.feed import MARK_STEP_MS, SECOND_MS
from perp_bot.practice.exchange.fees import utc_day

SETTLEMENT = "Settlement"  # what the venue calls the closing of a delisted coin's positions


def advance(core: Core, until_ms: int) -> None:
    """Handle everything up to `until_ms`. In one go or in many pieces: the same."""
    while core.now_ms < until_ms:
        upto_ms = min(until_ms, core.feed.last_of_hour(core.now_ms + 1))
        at_ms = watch.next_moment(core, upto_ms)
        core.move_to(upto_ms if at_ms is None else at_ms)
        if at_ms is not None:
            _happen(core)


def _happen(core: Core) -> None:
    """Do everything that is due at this very moment: what trades did comes before what a new mark does."""
    coins = _busy(core)
    for coin in coins:
        if core.feed.is_live(coin, core.now_ms):
            for seen in core.feed.trades_at(coin, core.now_ms):
                matching.trade(core, coin, seen)
    if core.feed.into_hour(core.now_ms) % SECOND_MS == 0:
        for coin in coins:
            if core.feed.is_live(coin, core.now_ms):
                matching.cross(core, coin)
    funding.settle(core, coins)
    if core.feed.into_hour(core.now_ms) % MARK_STEP_MS == 0:
        _new_marks(core, coins)
    for account in core.accounts.values():
        if account.cancel_at_ms is not None and account.cancel_at_ms <= core.now_ms:
            _cancel_all(core, account)
    for coin in coins:
        since_ms = core.feed.delisted_since(coin)
        if since_ms is not None and since_ms <= core.now_ms:
            _delist(core, coin, since_ms)


def _busy(core: Core) -> list[str]:
    """Return the coins in which somebody has a position or an order."""
    coins = {order.coin for account in core.accounts.values() for order in account.orders.values()}
    coins |= {position.coin for account in core.accounts.values() for position in account.held()}
    return sorted(coins, key=core.feed.asset)


def _new_marks(core: Core, coins: list[str]) -> None:
    """Fire the triggers that the new marks have reached, then liquidate whom they leave without margin."""
    for coin in coins:
        if not core.feed.is_live(coin, core.now_ms):
            continue
        mark = core.mark(coin)
        for account in list(core.accounts.values()):
            for order in oldest_first(account.orders_of(coin)):
                if order.is_open and order.trigger is not None and order.trigger.fires(order.is_buy, mark):
                    placing.fire(core, account, order)
    for account in list(core.accounts.values()):
        liquidation.check(core, account)


def _cancel_all(core: Core, account: Account) -> None:
    """Carry a scheduled cancel out: every open order ends, stops included."""
    account.cancel_at_ms = None
    day, fired = utc_day(core.now_ms), account.cancels_fired
    account.cancels_fired = (day, fired[1] + 1 if fired[0] == day else 1)
    gone = oldest_first(account.orders.values())
    for order in gone:
        if order.oid in account.orders:
            lifecycle.end(core, account, order, "scheduledCancel")
    lifecycle.tell_cancelled(core, account, gone)


def _delist(core: Core, coin: str, since_ms: int) -> None:
    """Settle a coin that no longer trades: orders end, positions are closed at the last oracle price."""
    oracle = core.feed.oracle(coin, since_ms)
    for account in core.accounts.values():
        gone = oldest_first(order for order in account.orders.values() if order.coin == coin)
        for order in gone:
            if order.oid in account.orders:
                lifecycle.end(core, account, order, "delistedCanceled")
        lifecycle.tell_cancelled(core, account, gone)
        szi = account.szi(coin)
        if szi:
            booking.book(
                core, account, coin, is_buy=szi < 0, px=oracle, size=abs(szi), is_taker=True, oid=core.next_oid(),
                tid=core.next_tid(), tx=core.next_hash(), is_free=True, direction=SETTLEMENT,
            )  # fmt: skip
