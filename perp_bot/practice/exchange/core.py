"""What every part of the exchange works on: the accounts, the feed, the time, and what is to be told to whom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.feed import Feed
from perp_bot.practice.exchange.orders import Order

FIRST_OID = 77_000_000_001


@dataclass(frozen=True, slots=True)
class UserEvent:
    """Something one user's channel says: `orderUpdates`, `user`, `userFills`, `userFundings`, or a ledger update."""

    user: str
    channel: str
    data: Any


class Core:
    """The exchange's state. `now_ms` is the time of what is being handled."""

    def __init__(self, feed: Feed, now_ms: int, seed: int) -> None:
        self.feed = feed
        self.now_ms = now_ms
        self.accounts: dict[str, Account] = {}
        self.eaten: dict[tuple[str, bool, Decimal], Decimal] = {}  # of the path's levels, by coin, is bid, price
        self.rejections: list[str] = []  # a fault: what the next orders are told
        self._eaten_of: dict[str, tuple[int, int]] = {}
        self._seed = seed
        self._oid = FIRST_OID
        self._count = 0
        self._events: list[UserEvent] = []
        self._updates: dict[str, list[Any]] = {}  # order updates that wait for the end of the moment

    def move_to(self, at_ms: int) -> None:
        """Let it be a later moment; order updates of one moment are one message, those of the next another."""
        if at_ms != self.now_ms:
            self._flush_all()
            self.now_ms = at_ms

    def mark(self, coin: str) -> Decimal:
        """Return the mark price of now; of a delisted coin the last one."""
        since_ms = self.feed.delisted_since(coin)
        return self.feed.mark(coin, self.now_ms if since_ms is None else min(since_ms, self.now_ms))

    def next_oid(self) -> int:
        """Return a new order id."""
        self._oid += 1
        return self._oid

    def next_hash(self) -> str:
        """Return a transaction hash: 0x and 64 hex digits, of a counter and the seed."""
        self._count += 1
        return "0x" + hashlib.blake2b(f"exchange/{self._seed}/{self._count}".encode(), digest_size=32).hexdigest()

    def next_tid(self) -> int:
        """Return a trade id of 50 bits."""
        self._count += 1
        digest = hashlib.blake2b(f"exchange/tid/{self._seed}/{self._count}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 14

    # ------------------------------------------------------------ liquidity that was taken

    def forget_eaten(self, coin: str) -> None:
        """Let go of what was taken from a book that has changed since."""
        version = self.feed.book_version(coin, self.now_ms)
        if self._eaten_of.get(coin) != version:
            self._eaten_of[coin] = version
            for key in [key for key in self.eaten if key[0] == coin]:
                del self.eaten[key]

    # ------------------------------------------------------------ what users are told

    def tell(self, user: str, channel: str, data: Any) -> None:
        """Queue an event for a user's channel, after the order updates that came before it."""
        self._flush(user)
        self._events.append(UserEvent(user, channel, data))

    def tell_order(self, order: Order) -> None:
        """Queue an order's state as it is now; what becomes of several at one moment is one message."""
        self._updates.setdefault(order.user, []).append(order.update())

    def drain(self) -> list[UserEvent]:
        """Return and forget what is to be told."""
        self._flush_all()
        events, self._events = self._events, []
        return events

    def _flush_all(self) -> None:
        for user in list(self._updates):
            self._flush(user)

    def _flush(self, user: str) -> None:
        updates = self._updates.pop(user, None)
        if updates:
            self._events.append(UserEvent(user, "orderUpdates", updates))


def oldest_first(orders: Iterable[Order]) -> list[Order]:
    """Return orders by time, then id."""
    return sorted(orders, key=lambda order: (order.at_ms, order.oid))
