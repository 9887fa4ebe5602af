"""The venue's own books while a bot trades: what was sent, what was held, what was bare and for how long."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.core import UserEvent
from perp_bot.practice.exchange.exchange import Exchange
from perp_bot.practice.server.witness import Witness

Json = dict[str, Any]
ZERO = Decimal(0)


@dataclass(slots=True)
class Bare:
    """A stretch in which resting stops covered a position less than whole. Times are the wall's, monotonic."""

    coin: str
    since_s: float
    by_fill: bool  # else a stop went
    until_s: float | None = None
    ended: str = ""  # covered, or flat

    @property
    def seconds(self) -> float:
        """Return how long it lasted, or has lasted so far."""
        return (time.monotonic() if self.until_s is None else self.until_s) - self.since_s


@dataclass(slots=True)
class Sent:
    """One action that the bot signed and the venue carried out."""

    at_s: float
    kind: str
    raises: int  # orders in it that are not reduce-only
    was_stale: bool


@dataclass(slots=True)
class _Round:
    """The bot's entries in a coin since it was last flat there."""

    is_buy: bool
    wanted: Decimal
    cloids: list[str] = field(default_factory=list)


class Books(Witness):
    """Follows one account, on the venue's thread; read from others once the venue rests."""

    def __init__(self, user: str, coins: tuple[str, ...]) -> None:
        self._user = user
        self._coins = coins  # by asset id
        self.requests: list[tuple[float, str]] = []  # (when, type or "exchange")
        self.sent: list[Sent] = []
        self.bare: list[Bare] = []
        self.round_trips = 0
        self.doubled: dict[str, Decimal] = {}  # by coin: most that the bot's entries exceeded the size it began with
        self.flips: list[Json] = []  # fills of the bot's own orders that turned a position around
        self.is_stale = False  # a scenario says so: nothing sent from now on may add exposure
        self._rounds: dict[str, _Round] = {}
        self._open_bare: dict[str, Bare] = {}
        self._held: dict[str, Decimal] = {}

    # ------------------------------------------------------------ told by the venue

    def asked(self, place: str, kind: str | None) -> None:
        """Count a request."""
        self.requests.append((time.monotonic(), (kind or "unknown") if place == "info" else place))

    def acted(self, user: str, action: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """Note what the bot sent, and the entries in it that the venue took."""
        orders = action["orders"] if action["type"] == "order" else []
        raising = [order for order in orders if not order["r"]]
        self.sent.append(Sent(time.monotonic(), str(action["type"]), len(raising), self.is_stale))
        if reply["status"] != "ok":
            return
        for order, status in zip(orders, reply["response"]["data"]["statuses"] if orders else (), strict=True):
            if not order["r"] and isinstance(status, Mapping) and "error" not in status:
                coin, size = self._coins[order["a"]], Decimal(order["s"])
                entries = self._rounds.setdefault(coin, _Round(order["b"], size))
                entries.cloids.append(order["c"])

    def happened(self, exchange: Exchange, events: list[UserEvent], now_ms: int) -> None:
        """Look at exposure and protection as they are after it."""
        fills = [
            row for event in events if event.channel == "userFills" and event.user == self._user for row in event.data
        ]
        for row in fills:
            before = Decimal(row["startPosition"])
            after = before + (1 if row["side"] == "B" else -1) * Decimal(row["sz"])
            if "cloid" in row and before * after < 0:
                self.flips.append(row)
        held, cover = positions_of(exchange, self._user), coverage_of(exchange, self._user)
        for coin in held.keys() | self._held.keys() | self._rounds.keys():
            self._look_at_exposure(exchange, coin, held.get(coin, ZERO))
            self._look_at_protection(coin, held.get(coin, ZERO), cover, any(row["coin"] == coin for row in fills))
        self._held = held

    def _look_at_exposure(self, exchange: Exchange, coin: str, size: Decimal) -> None:
        entries = self._rounds.get(coin)
        if self._held.get(coin, ZERO) and not size:
            self.round_trips += 1
        if entries is None:
            return
        exposed, is_open = ZERO, False
        for cloid in entries.cloids:
            found = exchange.order_status(self._user, cloid)
            if found["status"] != "order":
                continue
            order, status = found["order"]["order"], found["order"]["status"]
            rests = status == "open"
            is_open |= rests
            exposed += Decimal(order["origSz"]) - (ZERO if rests else Decimal(order["sz"]))
        if exposed > entries.wanted:
            self.doubled[coin] = max(self.doubled.get(coin, ZERO), exposed - entries.wanted)
        if not size and not is_open:
            del self._rounds[coin]

    def _look_at_protection(self, coin: str, size: Decimal, cover: dict[str, Decimal], has_fill: bool) -> None:
        now_s, bare = time.monotonic(), self._open_bare.get(coin)
        is_bare = bool(size) and cover.get(coin, ZERO) < abs(size)
        if is_bare and bare is None:
            self._open_bare[coin] = bare = Bare(coin, now_s, has_fill)
            self.bare.append(bare)
        elif not is_bare and bare is not None:
            bare.until_s, bare.ended = now_s, "covered" if size else "flat"
            del self._open_bare[coin]

    # ------------------------------------------------------------ asked by scenarios

    @property
    def stale_entries(self) -> int:
        """Return how many orders that add exposure came while the scenario had the data called stale."""
        return sum(action.raises for action in self.sent if action.was_stale)

    @property
    def trading_actions(self) -> int:
        """Return how many orders and cancels were carried out."""
        return sum(action.kind != "updateLeverage" for action in self.sent)

    def requests_a_minute(self) -> float:
        """Return the most requests in any minute of the wall's time (all of them, when it was shorter)."""
        times = sorted(at_s for at_s, _ in self.requests)
        first, most = 0, 0
        for last, at_s in enumerate(times):
            while times[first] < at_s - 60.0:
                first += 1
            most = max(most, last - first + 1)
        return float(most)

    def kinds(self) -> Counter[str]:
        """Return how often each type was asked."""
        return Counter(kind for _, kind in self.requests)


def positions_of(exchange: Exchange, user: str) -> dict[str, Decimal]:
    """Return signed sizes by coin."""
    rows = exchange.clearinghouse_state(user)["assetPositions"]
    return {row["position"]["coin"]: Decimal(row["position"]["szi"]) for row in rows}


def coverage_of(exchange: Exchange, user: str) -> dict[str, Decimal]:
    """Return by coin how much of its position resting reduce-only stops would close."""
    held, found = positions_of(exchange, user), dict[str, Decimal]()
    for order in exchange.frontend_open_orders(user):
        size = held.get(order["coin"], ZERO)
        is_stop = order["isTrigger"] and order["reduceOnly"] and order["orderType"].startswith("Stop")
        if is_stop and (order["side"] == "A") == (size > 0):
            found[order["coin"]] = found.get(order["coin"], ZERO) + Decimal(order["sz"])
    return found
