"""One order, what may become of it, and how the venue shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from perp_bot.practice.exchange.amounts import ZERO, text

Json = dict[str, Any]
Tif = Literal["Gtc", "Ioc", "Alo", "FrontendMarket", "LiquidationMarket"]

OPEN, FILLED, CANCELED, TRIGGERED = "open", "filled", "canceled", "triggered"


@dataclass(slots=True)
class Trigger:
    """When a stop or take-profit order becomes a market or a limit order."""

    px: Decimal
    is_market: bool
    is_stop: bool  # else take profit

    def fires(self, is_buy: bool, mark: Decimal) -> bool:
        """Return whether the mark has reached it: a stop when the price went against what it closes."""
        return mark >= self.px if is_buy == self.is_stop else mark <= self.px


@dataclass(slots=True)
class Order:
    """An order of one account. `left` is what is still to be filled; `is_position`: whatever the position is."""

    user: str
    oid: int
    coin: str
    is_buy: bool
    px: Decimal
    size: Decimal  # as it was sent
    left: Decimal
    tif: Tif | None
    at_ms: int
    reduce_only: bool = False
    cloid: str | None = None
    trigger: Trigger | None = None  # None again once it has fired and rests as a limit order
    is_position: bool = False
    status: str = OPEN
    status_ms: int = 0
    ahead: Decimal = ZERO  # size of the path's orders at its price that were there first
    parent: Order | None = None  # of a child that waits for it to fill
    children: list[Order] = field(default_factory=list)
    siblings: list[Order] = field(default_factory=list)
    shown_type: str = "Limit"
    trigger_px: Decimal = ZERO  # as shown, also after it fired

    @property
    def is_open(self) -> bool:
        """Return whether it can still be filled, cancelled or triggered."""
        return self.status == OPEN

    @property
    def is_waiting(self) -> bool:
        """Return whether it is a child that does not exist on the venue yet."""
        return self.parent is not None

    @property
    def rests(self) -> bool:
        """Return whether it lies in the book."""
        return self.is_open and self.trigger is None and not self.is_waiting

    @property
    def sign(self) -> int:
        """Return +1 for a buy, -1 for a sell."""
        return 1 if self.is_buy else -1

    @property
    def side(self) -> str:
        """Return the venue's letter."""
        return "B" if self.is_buy else "A"

    def brief(self) -> Json:
        """Return it as openOrders and orderUpdates show it."""
        shown: Json = {
            "coin": self.coin,
            "side": self.side,
            "limitPx": text(self.px),
            "sz": text(self.left),
            "oid": self.oid,
            "timestamp": self.at_ms,
            "origSz": text(self.size),
        }
        if self.reduce_only:
            shown["reduceOnly"] = True
        if self.cloid is not None:
            shown["cloid"] = self.cloid
        return shown

    def update(self) -> Json:
        """Return an entry of orderUpdates."""
        return {"order": self.brief(), "status": self.status, "statusTimestamp": self.status_ms}

    def full(self) -> Json:
        """Return it as frontendOpenOrders, orderStatus and historicalOrders show it."""
        is_trigger = self.shown_type not in ("Limit", "Market")
        return {
            "coin": self.coin,
            "side": self.side,
            "limitPx": text(self.px),
            "sz": text(self.left),
            "oid": self.oid,
            "timestamp": self.at_ms,
            "triggerCondition": self._condition() if is_trigger else "N/A",
            "isTrigger": is_trigger,
            "triggerPx": text(self.trigger_px),
            "children": [child.full() for child in self.children if child.is_open],
            "isPositionTpsl": self.is_position,
            "reduceOnly": self.reduce_only,
            "orderType": self.shown_type,
            "origSz": text(self.size),
            "tif": self.tif,
            "cloid": self.cloid,
        }

    def _condition(self) -> str:
        is_stop = self.shown_type.startswith("Stop")
        return f"Price {'above' if self.is_buy == is_stop else 'below'} {text(self.trigger_px).removesuffix('.0')}"


def shown_type(trigger: Trigger | None, tif: str | None) -> str:
    """Return the venue's name for an order's kind."""
    if trigger is None:
        return "Market" if tif == "FrontendMarket" else "Limit"
    return f"{'Stop' if trigger.is_stop else 'Take Profit'} {'Market' if trigger.is_market else 'Limit'}"
