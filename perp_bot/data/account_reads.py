"""Reads of one account at the venue. Everything goes to the account's address, never to the agent's."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from perp_bot.core.errors import BadAnswer, VenueRefused
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.venue_account import OrderReport, RestingOrder, VenueAccount, VenueFill, VenueFunding
from perp_bot.data import limiter as weights
from perp_bot.data.account_wire import (
    WireAgent,
    WireAssetData,
    WireFill,
    WireOrder,
    WireOrderStatus,
    WireRole,
    WireSpot,
    WireUserFunding,
    fill_of,
    funding_row_of,
    report_of,
    resting_of,
)
from perp_bot.data.answers import UserRateLimit
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import RequestClass

Row = TypeVar("Row", WireFill, WireUserFunding)

FILLS_BEFORE_MS = 60_000  # fills are read again from a little earlier: one may be told late
MOST_FILLS = 2_000
MOST_FUNDINGS = 500
ROLE_WEIGHT = 60
EXPECTED_ROWS = 20  # charged before the answer tells how many there are


@dataclass(frozen=True, slots=True)
class CoinSetting:
    """Leverage and margin mode that hold for a coin, and the margin free to buy or sell it, USD."""

    leverage: int
    is_cross: bool
    available_buy_usd: float
    available_sell_usd: float


@dataclass(frozen=True, slots=True)
class Agent:
    """An API wallet of an account; `valid_until_ms` None: it has no end."""

    name: str
    address: str
    valid_until_ms: int | None


class AccountReads:
    """Typed reads of one account; safe from any thread. Every call may raise VenueError."""

    def __init__(self, client: VenueClient, address: str) -> None:
        self.address = address
        self._client = client

    @property
    def where(self) -> str:
        """The venue's address."""
        return self._client.base_url

    def venue_ms(self) -> int:
        """Return the venue's time, as far as it is known."""
        return self._client.now_ms()

    def account(self, cls: RequestClass = RequestClass.RECONCILE) -> VenueAccount:
        """Return balances and positions (weight 2)."""
        return self._client.clearinghouse_state(self.address, request_class=cls)

    def open_orders(self, cls: RequestClass = RequestClass.RECONCILE) -> tuple[RestingOrder, ...]:
        """Return every open order, triggers included (weight 20).

        Stops and targets that wait for their parent are not among them: they end with it, and protect nothing yet. The
        venue lists them beside it too (the SDK's recording of 2023-11).
        """
        payload = {"type": "frontendOpenOrders", "user": self.address, "dex": ""}
        rows = self._client.read(payload, tuple[WireOrder, ...], weights.info_weight(), cls)
        waiting = {child.oid for row in rows for child in row.children}
        return tuple(resting_of(row) for row in rows if row.oid not in waiting)

    def order(self, cloid: str, cls: RequestClass = RequestClass.RECONCILE) -> OrderReport | None:
        """Return what became of an order; None when the venue does not know it (weight 2)."""
        payload = {"type": "orderStatus", "user": self.address, "oid": cloid}
        found = self._client.read(payload, WireOrderStatus, weights.light_weight(), cls)
        if found.status == "unknownOid":
            return None
        if found.order is None:
            raise BadAnswer(f"{self._client.base_url} answered orderStatus with {found.status!r} and no order")
        return report_of(found.order)

    def fills_since(self, start_ms: int, cls: RequestClass = RequestClass.RECONCILE) -> tuple[VenueFill, ...]:
        """Return the fills from `start_ms` on, oldest first, page by page (weight 20 and 1 per 20 rows each)."""
        rows = self._pages("userFillsByTime", WireFill, start_ms, MOST_FILLS, cls)
        found = {fill.fill_id: fill for fill in map(fill_of, rows)}
        return tuple(sorted(found.values(), key=lambda fill: fill.at_ms))

    def funding_since(self, start_ms: int, cls: RequestClass = RequestClass.RECONCILE) -> tuple[VenueFunding, ...]:
        """Return the funding booked from `start_ms` on, oldest first, page by page (weight as of fills)."""
        rows = self._pages("userFunding", WireUserFunding, start_ms, MOST_FUNDINGS, cls)
        found = {(payment.symbol, payment.at_ms // HOUR_MS): payment for payment in map(funding_row_of, rows)}
        return tuple(sorted(found.values(), key=lambda payment: payment.at_ms))

    def _pages(self, kind: str, row_type: type[Row], start_ms: int, most: int, cls: RequestClass) -> list[Row]:
        """Return every row from `start_ms` on; the next page begins at the last row's time, which comes again."""
        found: list[Row] = []
        while True:
            payload = {"type": kind, "user": self.address, "startTime": max(0, start_ms)}
            weight = weights.row_weight(EXPECTED_ROWS)
            rows: list[Row] = self._client.read(payload, list[row_type], weight, cls)  # type: ignore[valid-type]
            self._client.limiter.charge(weights.row_weight(len(rows)) - weight)
            found += rows
            if len(rows) < most:
                return found
            if rows[-1].time <= start_ms:
                raise BadAnswer(f"{self.address}: a full page of {kind} does not go beyond {start_ms}")
            start_ms = rows[-1].time

    def coin(self, symbol: str, cls: RequestClass = RequestClass.RECONCILE) -> CoinSetting:
        """Return leverage, margin mode and room of a coin (weight 20)."""
        payload = {"type": "activeAssetData", "user": self.address, "coin": symbol}
        row = self._client.read(payload, WireAssetData, weights.info_weight(), cls)
        buy, sell = row.availableToTrade
        return CoinSetting(row.leverage.value, row.leverage.type == "cross", float(buy), float(sell))

    def budget(self, cls: RequestClass = RequestClass.RECONCILE) -> UserRateLimit:
        """Return the address's lifetime budget of actions (weight 20)."""
        return self._client.user_rate_limit(self.address, request_class=cls)

    def role_of(self, address: str, cls: RequestClass = RequestClass.RECONCILE) -> tuple[str, str | None]:
        """Return what an address is, and the master of an agent (weight 60)."""
        row = self._client.read({"type": "userRole", "user": address}, WireRole, ROLE_WEIGHT, cls)
        master = None if row.data is None else row.data.get("user") or row.data.get("master")
        return row.role, None if master is None else str(master).lower()

    def agents(self, cls: RequestClass = RequestClass.RECONCILE) -> tuple[Agent, ...]:
        """Return the named API wallets of the account (weight 20)."""
        payload = {"type": "extraAgents", "user": self.address}
        rows = self._client.read(payload, tuple[WireAgent, ...], weights.info_weight(), cls)
        return tuple(Agent(row.name, row.address.lower(), row.validUntil) for row in rows)

    def mode(self, cls: RequestClass = RequestClass.RECONCILE) -> str:
        """Return the account's mode in the venue's word: disabled is standard, unifiedAccount unified (weight 20)."""
        payload = {"type": "userAbstraction", "user": self.address}
        return str(self._client.read(payload, str, weights.info_weight(), cls))

    def spot_usd(self, cls: RequestClass = RequestClass.RECONCILE) -> Decimal:
        """Return the USDC among the spot balances, where a unified account has its money (weight 2)."""
        payload = {"type": "spotClearinghouseState", "user": self.address}
        found: WireSpot = self._client.read(payload, WireSpot, weights.light_weight(), cls)
        return found.usd

    def builders(self, cls: RequestClass = RequestClass.RECONCILE) -> tuple[str, ...] | None:
        """Return the builders that may take a fee of this account's orders; None where the venue does not list them.

        The read is that of public clients of 2026, not seen on the wire; the practice venue has none (weight 20).
        """
        payload = {"type": "approvedBuilders", "user": self.address}
        try:
            found: tuple[str, ...] = self._client.read(payload, tuple[str, ...], weights.info_weight(), cls)
        except VenueRefused:
            return None
        return found
