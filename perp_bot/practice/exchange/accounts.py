"""One account: its cash, positions, orders and what it did; every change of cash has one of four reasons."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.exchange.orders import Order

Json = dict[str, Any]

STANDARD, UNIFIED = "standard", "unified"
MODES = (STANDARD, UNIFIED)
DEFAULT_LEVERAGE = 20
MOST_ENDED = 2_000  # orders that are remembered after their end
MOST_FILLS = 10_000
MOST_POINTS = 10_000


@dataclass(slots=True)
class Position:
    """A position in one coin. An isolated one has money of its own: `raw_usd`, which its fills move."""

    coin: str
    szi: Decimal = ZERO
    entry_px: Decimal = ZERO
    is_cross: bool = True
    leverage: int = DEFAULT_LEVERAGE
    raw_usd: Decimal = ZERO
    funding_all: Decimal = ZERO  # paid, over all time
    funding_open: Decimal = ZERO  # since the position was opened
    funding_change: Decimal = ZERO  # since its size last changed

    @property
    def is_long(self) -> bool:
        """Return whether it is long."""
        return self.szi > 0


@dataclass(slots=True)
class Agent:
    """A key that may act for an account."""

    address: str
    name: str | None
    valid_until_ms: int


@dataclass(slots=True)
class Account:
    """An account. `cash_usd` is the money of its cross part; with the isolated parts it is the venue's totalRawUsd."""

    address: str
    cash_usd: Decimal = ZERO
    mode: str = STANDARD
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, tuple[bool, int]] = field(default_factory=dict)  # coin -> is_cross, value
    orders: dict[int, Order] = field(default_factory=dict)  # open ones, children that wait included
    ended: deque[Order] = field(default_factory=lambda: deque(maxlen=MOST_ENDED))
    fills: deque[Json] = field(default_factory=lambda: deque(maxlen=MOST_FILLS))
    fundings: list[Json] = field(default_factory=list)
    ledger: list[Json] = field(default_factory=list)
    agents: dict[str, Agent] = field(default_factory=dict)
    volume_usd: Decimal = ZERO  # all time
    volume_by_day: dict[str, list[Decimal]] = field(default_factory=dict)  # taker, maker
    requests_used: int = 0
    slow_since_ms: int | None = None  # the last action above the address limit
    cancel_at_ms: int | None = None  # a scheduled cancel
    cancels_fired: tuple[str, int] = ("", 0)  # UTC day, how often
    cooldown_until_ms: int = 0  # after a partial liquidation
    history: deque[tuple[int, Decimal, Decimal]] = field(default_factory=lambda: deque(maxlen=MOST_POINTS))
    # moments, value and profit at the hours that were settled while it held something

    def position(self, coin: str) -> Position:
        """Return the position in a coin, an empty one if there is none."""
        found = self.positions.get(coin)
        if found is None:
            found = self.positions[coin] = Position(coin)
        return found

    def szi(self, coin: str) -> Decimal:
        """Return the signed size held in a coin."""
        found = self.positions.get(coin)
        return ZERO if found is None else found.szi

    def held(self) -> list[Position]:
        """Return the positions that are not flat."""
        return [position for position in self.positions.values() if position.szi]

    def orders_of(self, coin: str) -> list[Order]:
        """Return the open orders in a coin that exist on the venue, oldest first."""
        return [order for order in self.orders.values() if order.coin == coin and not order.is_waiting]

    def leverage_of(self, coin: str, most: int) -> tuple[bool, int]:
        """Return whether a coin is cross and at what leverage; untouched: cross 20x, or the coin's highest if lower."""
        return self.leverage.get(coin, (True, min(DEFAULT_LEVERAGE, most)))

    @property
    def raw_usd(self) -> Decimal:
        """Return totalRawUsd: deposits, fills, fees and funding, nothing else."""
        return self.cash_usd + sum((p.raw_usd for p in self.positions.values()), ZERO)
