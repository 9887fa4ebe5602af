"""The venue's actions as the dictionaries that are hashed, signed and sent.

Key order is part of the hash, and what is not set is absent, never null. Prices and sizes come as Decimals that are on
the venue's grid already (`core.rounding`); here they only become text. The SDK builds the same dictionaries (tested).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import wire
from perp_bot.core.types import OrderSide

Action = dict[str, Any]

MAX_CANCELS = 200  # in one action; the venue refuses more
_CLOID = re.compile(r"0x[0-9a-f]{32}")
_ORDER_LISTS = {"order": "orders", "batchModify": "modifies"}
_LISTS = {**_ORDER_LISTS, "cancel": "cancels", "cancelByCloid": "cancels"}


class Tif(StrEnum):
    """How long a limit order stands."""

    GTC = "Gtc"
    IOC = "Ioc"
    ALO = "Alo"  # post only


class TriggerKind(StrEnum):
    """What a trigger order is for: it decides on which side of the mark it fires."""

    STOP_LOSS = "sl"
    TAKE_PROFIT = "tp"


class Grouping(StrEnum):
    """How the orders of one action belong together."""

    NONE = "na"
    PARENT_AND_STOPS = "normalTpsl"  # the first is the parent, the others its stop and target of fixed size
    POSITION_STOPS = "positionTpsl"  # they resize and end with the position


@dataclass(frozen=True, slots=True)
class Trigger:
    """When a resting order goes live: the mark reaches `px`."""

    px: Decimal
    kind: TriggerKind
    is_market: bool = True


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order as the venue takes it. `px` of a trigger order is the worst price it may take once triggered."""

    asset_id: int
    side: OrderSide
    px: Decimal
    size: Decimal
    execution: Tif | Trigger
    reduce_only: bool
    cloid: str | None


def order_action(orders: Iterable[VenueOrder], grouping: Grouping = Grouping.NONE) -> Action:
    """Return the action that places orders, in their order."""
    wires = [_order_wire(order) for order in orders]
    return {"type": "order", "orders": _some(wires, "order"), "grouping": grouping.value}


def cancel_action(cancels: Iterable[tuple[int, int]]) -> Action:
    """Return the action that cancels (asset id, order id) pairs."""
    wires: list[Action] = [{"a": asset_id, "o": oid} for asset_id, oid in cancels]
    return {"type": "cancel", "cancels": _few(wires)}


def cancel_by_cloid_action(cancels: Iterable[tuple[int, str]]) -> Action:
    """Return the action that cancels (asset id, client order id) pairs."""
    wires: list[Action] = [{"asset": asset_id, "cloid": checked_cloid(cloid)} for asset_id, cloid in cancels]
    return {"type": "cancelByCloid", "cancels": _few(wires)}


def batch_modify_action(modifies: Iterable[tuple[int | str, VenueOrder]]) -> Action:
    """Return the action that replaces orders, each named by order id or client order id; each gets a new order id."""
    wires: list[Action] = [
        {"oid": checked_cloid(oid) if isinstance(oid, str) else oid, "order": _order_wire(order)}
        for oid, order in modifies
    ]
    return {"type": "batchModify", "modifies": _some(wires, "modify")}


def update_leverage_action(asset_id: int, leverage: int, *, is_cross: bool) -> Action:
    """Return the action that sets a coin's leverage and margin mode."""
    if leverage < 1:
        raise OrderRuleError(f"leverage must be a whole number from 1 on, not {leverage}")
    return {"type": "updateLeverage", "asset": asset_id, "isCross": is_cross, "leverage": leverage}


def schedule_cancel_action(at_ms: int | None) -> Action:
    """Return the action that cancels every order, stops included, at `at_ms` of the venue; None takes that back."""
    return {"type": "scheduleCancel"} if at_ms is None else {"type": "scheduleCancel", "time": at_ms}


def noop_action() -> Action:
    """Return the action that does nothing but use up its nonce."""
    return {"type": "noop"}


def raises_exposure(action: Mapping[str, Any]) -> bool:
    """Return whether an action can open or enlarge a position: it places an order that is not reduce-only.

    An action of a kind that this module does not make counts as one.
    """
    kind = action.get("type")
    if kind == "order":
        return not all(order["r"] is True for order in action["orders"])
    if kind == "batchModify":
        return not all(modify["order"]["r"] is True for modify in action["modifies"])
    return kind not in ("cancel", "cancelByCloid", "updateLeverage", "scheduleCancel", "noop")


def entries(action: Mapping[str, Any]) -> int:
    """Return how many entries the venue answers, and counts against the address's budget: one an order or cancel."""
    name = _LISTS.get(str(action.get("type")))
    return len(action[name]) if name is not None else 1


def cloids(action: Mapping[str, Any]) -> tuple[str | None, ...]:
    """Return the client order id of each order that an action places, in its order; () when it places none."""
    kind = str(action.get("type"))
    if kind not in _ORDER_LISTS:
        return ()
    wires = action[_ORDER_LISTS[kind]]
    return tuple((item["order"] if kind == "batchModify" else item).get("c") for item in wires)


def checked_cloid(cloid: str) -> str:
    """Return a client order id, or raise OrderRuleError when it is not 0x and 32 lower-case hex digits."""
    if not _CLOID.fullmatch(cloid):
        raise OrderRuleError(f"a client order id is 0x and 32 lower-case hex digits, not {cloid!r}")
    return cloid


def _order_wire(order: VenueOrder) -> Action:
    wired: Action = {
        "a": order.asset_id,
        "b": order.side is OrderSide.BUY,
        "p": _positive(order.px, "price"),
        "s": _positive(order.size, "size"),
        "r": order.reduce_only,
        "t": _execution_wire(order.execution),
    }
    if order.cloid is not None:
        wired["c"] = checked_cloid(order.cloid)
    return wired


def _execution_wire(execution: Tif | Trigger) -> Action:
    if isinstance(execution, Tif):
        return {"limit": {"tif": execution.value}}
    trigger_px = _positive(execution.px, "trigger price")
    return {"trigger": {"isMarket": execution.is_market, "triggerPx": trigger_px, "tpsl": execution.kind.value}}


def _positive(value: Decimal, what: str) -> str:
    text = wire(value)
    if value <= 0:
        raise OrderRuleError(f"a {what} must be above 0, not {text}")
    return text


def _some(wires: list[Action], what: str) -> list[Action]:
    if not wires:
        raise OrderRuleError(f"an action needs at least one {what}")
    return wires


def _few(wires: list[Action]) -> list[Action]:
    if len(wires) > MAX_CANCELS:
        raise OrderRuleError(f"one action cancels at most {MAX_CANCELS} orders, not {len(wires)}")
    return _some(wires, "cancel")
