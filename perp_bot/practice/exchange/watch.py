"""Finds the next moment at which something may happen to somebody, so that quiet time costs nothing.

A moment may turn out to concern nobody; none that does is missed. What happens then is clockwork's affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import Order
from perp_bot.practice.exchange.tiers import maintenance_of
from perp_bot.practice.market.noise import Floats

_RELATIVE, _ABSOLUTE = 1e-9, 1e-6  # how near to its maintenance margin an account is looked at exactly


@dataclass(slots=True)
class _Interest:
    """What would concern somebody in one coin: prices that fill resting orders, marks that fire triggers."""

    bid: Decimal | None = None  # the highest resting buy
    ask: Decimal | None = None  # the lowest resting sale
    rise: Decimal | None = None  # the lowest trigger that a rising mark fires
    fall: Decimal | None = None

    def add(self, order: Order) -> None:
        """Take an open order in."""
        trigger = order.trigger
        if trigger is not None:
            if order.is_buy == trigger.is_stop:
                self.rise = trigger.px if self.rise is None else min(self.rise, trigger.px)
            else:
                self.fall = trigger.px if self.fall is None else max(self.fall, trigger.px)
        elif order.is_buy:
            self.bid = order.px if self.bid is None else max(self.bid, order.px)
        else:
            self.ask = order.px if self.ask is None else min(self.ask, order.px)


def next_moment(core: Core, until_ms: int) -> int | None:
    """Return the first moment after now, up to `until_ms`, at which something may happen; None when nothing can.

    `until_ms` lies in the same hour as the first ms after now.
    """
    search = _Search(core, until_ms)
    interests: dict[str, _Interest] = {}
    coins: set[str] = set()
    for account in core.accounts.values():
        if account.cancel_at_ms is not None:
            search.found(account.cancel_at_ms)
        for order in account.orders.values():
            coins.add(order.coin)
            if not order.is_waiting:
                interests.setdefault(order.coin, _Interest()).add(order)
        coins.update(position.coin for position in account.held())
    search.end_of_trading(coins)
    search.funding(position.coin for account in core.accounts.values() for position in account.held())
    for coin, interest in interests.items():
        search.prices(coin, interest)
    for account in core.accounts.values():
        search.margins(account)
    return search.first_ms


class _Search:
    """Narrows (now, until] down to the first moment found."""

    def __init__(self, core: Core, until_ms: int) -> None:
        self._core = core
        self._until_ms = until_ms
        self.first_ms: int | None = None

    def found(self, at_ms: int | None) -> None:
        """Keep a moment if it is the first; what was due before now is due at once."""
        if at_ms is not None and at_ms <= self._until_ms:
            self.first_ms = self._until_ms = max(at_ms, self._core.now_ms + 1)

    def end_of_trading(self, coins: Iterable[str]) -> None:
        """Find coins that no longer trade and still have orders or positions."""
        for coin in coins:
            self.found(self._core.feed.delisted_since(coin))

    def funding(self, coins: Iterable[str]) -> None:
        """Find hours that are settled."""
        for coin in set(coins):
            rows = self._core.feed.funding(coin, self._core.now_ms, self._until_ms)
            self.found(rows[0][0] if rows else None)

    def prices(self, coin: str, interest: _Interest) -> None:
        """Find trades, books and marks that reach orders."""
        feed, after_ms = self._core.feed, self._core.now_ms
        if interest.bid is not None or interest.ask is not None:
            self.found(feed.first_cross(coin, after_ms, self._until_ms, interest.bid, interest.ask))
            self.found(feed.first_reach(coin, after_ms, self._until_ms, interest.bid, interest.ask))
        if interest.rise is not None or interest.fall is not None:
            self.found(feed.first_mark(coin, after_ms, self._until_ms, interest.rise, interest.fall))

    def margins(self, account: Account) -> None:
        """Find marks that leave an account, or an isolated position of it, without maintenance margin."""
        held = account.held()
        for position in held:
            if not position.is_cross:
                self.found(self._short_of_margin(position.raw_usd, [position]))
        crossed = [position for position in held if position.is_cross]
        if crossed:
            self.found(self._short_of_margin(account.cash_usd, crossed))

    def _short_of_margin(self, cash: Decimal, positions: list[Position]) -> int | None:
        feed, after_ms = self._core.feed, self._core.now_ms
        times = feed.mark_times(positions[0].coin, after_ms, self._until_ms)
        if not len(times):
            return None
        left: Floats = np.full(len(times), float(cash))
        scale = abs(float(cash))
        for position in positions:
            notional = feed.marks(position.coin, after_ms, self._until_ms) * abs(float(position.szi))
            left += notional if position.is_long else -notional
            left -= maintenance_of(position.coin, notional)
            scale += float(notional[0])
        near = np.flatnonzero(left < scale * _RELATIVE + _ABSOLUTE)
        return int(times[near[0]]) if len(near) else None
