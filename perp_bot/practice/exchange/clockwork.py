"""Lets time pass: trades of the path, new marks, funding hours and scheduled cancels, in the order they happen."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from perp_bot.practice.exchange import booking, funding, lifecycle, liquidation, matching, placing
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.core import Core, oldest_first
from perp_bot.practice.exchange.feed import MARK_STEP_MS, SECOND_MS
from perp_bot.practice.exchange.fees import utc_day

Event = tuple[int, int, int, Callable[[], None]]  # time, rank, coin, what happens

_TRADE, _SECOND, _FUNDING, _MARK, _CANCEL, _DELIST = range(6)


def advance(core: Core, now_ms: int) -> None:
    """Handle everything up to `now_ms`. In one go or in many: the same."""
    if now_ms <= core.now_ms:
        return
    events = [
        event for place, coin in enumerate(_busy(core)) for event in _events(core, coin, place, core.now_ms, now_ms)
    ]
    events += _cancels(core, now_ms)
    for at_ms, _, _, happen in sorted(events, key=lambda event: event[:3]):
        core.now_ms = at_ms
        happen()
    core.now_ms = now_ms


def _busy(core: Core) -> list[str]:
    """Return the coins in which somebody has a position or an order."""
    coins = {order.coin for account in core.accounts.values() for order in account.orders.values()}
    coins |= {position.coin for account in core.accounts.values() for position in account.held()}
    return sorted(coins, key=core.feed.asset)


def _events(core: Core, coin: str, place: int, after_ms: int, until_ms: int) -> list[Event]:
    since_ms = core.feed.delisted_since(coin)
    events: list[Event] = []
    if since_ms is not None:
        events.append((max(since_ms, after_ms + 1), _DELIST, place, partial(_delist, core, coin)))
        until_ms = min(until_ms, since_ms)
    trades = core.feed.trades(coin, after_ms, until_ms)
    events += [(seen.at_ms, _TRADE, place, partial(matching.trade, core, coin, seen)) for seen in trades]
    seconds, marks = _every(SECOND_MS, after_ms, until_ms), _every(MARK_STEP_MS, after_ms, until_ms)
    events += [(at_ms, _SECOND, place, partial(matching.cross, core, coin)) for at_ms in seconds]
    events += [(at_ms, _MARK, place, partial(_mark, core, coin)) for at_ms in marks]
    hours = core.feed.funding(coin, after_ms, until_ms)
    events += [(at_ms, _FUNDING, place, partial(funding.settle, core, coin, rate)) for at_ms, rate in hours]
    return events


def _every(step_ms: int, after_ms: int, until_ms: int) -> range:
    """Return the multiples of a step in (after, until]."""
    return range(after_ms - after_ms % step_ms + step_ms, until_ms + 1, step_ms)


def _mark(core: Core, coin: str) -> None:
    """Fire the triggers that a new mark has reached, then liquidate whom it leaves without margin."""
    mark = core.mark(coin)
    for account in list(core.accounts.values()):
        for order in oldest_first(account.orders_of(coin)):
            if order.is_open and order.trigger is not None and order.trigger.fires(order.is_buy, mark):
                placing.fire(core, account, order)
        if account.szi(coin):
            liquidation.check(core, account)


def _cancels(core: Core, now_ms: int) -> list[Event]:
    return [
        (account.cancel_at_ms, _CANCEL, 0, partial(cancel_all, core, account))
        for account in core.accounts.values()
        if account.cancel_at_ms is not None and account.cancel_at_ms <= now_ms
    ]


def cancel_all(core: Core, account: Account) -> None:
    """Carry a scheduled cancel out: every open order ends, stops included."""
    account.cancel_at_ms = None
    day, fired = utc_day(core.now_ms), account.cancels_fired
    account.cancels_fired = (day, fired[1] + 1 if fired[0] == day else 1)
    for order in oldest_first(account.orders.values()):
        if order.oid in account.orders:
            lifecycle.end(core, account, order, "scheduledCancel")


def _delist(core: Core, coin: str) -> None:
    """Settle a coin that no longer trades: orders end, positions are closed at the last oracle price."""
    since_ms = core.feed.delisted_since(coin)
    assert since_ms is not None
    oracle = core.feed.oracle(coin, since_ms)
    for account in core.accounts.values():
        for order in oldest_first(account.orders_of(coin)):
            if order.oid in account.orders:
                lifecycle.end(core, account, order, "delistedCanceled")
        szi = account.szi(coin)
        if szi:
            _settle(core, account, coin, oracle)


def _settle(core: Core, account: Account, coin: str, oracle: Decimal) -> None:

    szi = account.szi(coin)
    booking.book(
        core, account, coin, is_buy=szi < 0, px=oracle, size=abs(szi), is_taker=True, oid=core.next_oid(),
        tid=core.next_tid(), tx=core.next_hash(), is_free=True,
    )  # fmt: skip
