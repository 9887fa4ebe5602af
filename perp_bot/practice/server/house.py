"""The practice venue's own trader, who takes liquidity away or brings it, so that an order fills in part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from typing import Any

from perp_bot.practice.market.coins import COINS
from perp_bot.practice.server import shapes
from perp_bot.practice.server.venue import Venue

Json = dict[str, Any]

ADDRESS = "0x" + b"practice-venue-house".hex()
_MONEY_USD = Decimal(10) ** 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order that shall fill in part: this much of it, and no more."""

    asset: int
    is_buy: bool
    px: Decimal
    part: Decimal


def wanted(wire: Mapping[str, Any], share: float) -> Wanted | None:
    """Return how much of an order shall fill; None for a trigger order, which does not fill when it is sent."""
    if "limit" not in wire["t"]:
        return None
    step = Decimal(1).scaleb(-COINS[wire["a"]].sz_decimals)
    size = Decimal(wire["s"])
    part = min((size * Decimal(str(share))).quantize(step, ROUND_UP), size - step)
    return Wanted(wire["a"], wire["b"], Decimal(wire["p"]), part) if part > 0 else None


class House:
    """Acts on the exchange as any account does; it is opened when it is first needed."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    def leave(self, order: Wanted, now_ms: int) -> None:
        """Take what the book offers up to an order's price, all but the part that it shall get."""
        offered = sum((size for _, size in self._levels(order, not order.is_buy, now_ms)), Decimal(0))
        if offered > order.part:
            self._take(order, order.is_buy, offered - order.part, now_ms)

    def bring(self, order: Wanted, now_ms: int) -> None:
        """Fill the part of an order that rests: take what is better, and what stands before it, first."""
        before = sum((size for _, size in self._levels(order, order.is_buy, now_ms)), Decimal(0))
        self._take(order, not order.is_buy, before + order.part, now_ms)

    def _levels(self, order: Wanted, is_bid: bool, now_ms: int) -> list[tuple[Decimal, Decimal]]:
        """Return the path's levels of one side that a trade at the order's price would reach."""
        book = shapes.l2_book(self._venue.market, COINS[order.asset].name, now_ms, now_ms, None, None)
        rows = [(Decimal(row["px"]), Decimal(row["sz"])) for row in book["levels"][0 if is_bid else 1]]
        return [(px, size) for px, size in rows if (px >= order.px if is_bid else px <= order.px)]

    def _take(self, order: Wanted, is_buy: bool, size: Decimal, now_ms: int) -> None:
        exchange = self._venue.exchange
        if not self._venue.is_account(ADDRESS):
            exchange.fund(ADDRESS, _MONEY_USD)
        wire = {
            "a": order.asset,
            "b": is_buy,
            "p": f"{order.px:f}",
            "s": f"{size:f}",
            "r": False,
            "t": {"limit": {"tif": "Ioc"}},
        }
        exchange.act(ADDRESS, {"type": "order", "orders": [wire], "grouping": "na"}, now_ms)
