"""Reads actions as they come on the wire; what does not read is not an action at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.amounts import parse
from perp_bot.practice.exchange.orders import Tif, Trigger
from perp_bot.practice.exchange.placing import Wish

CLOID = re.compile(r"0x[0-9a-fA-F]{32}")
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
TIFS: dict[str, Tif] = {"Gtc": "Gtc", "Ioc": "Ioc", "Alo": "Alo", "FrontendMarket": "FrontendMarket"}
GROUPINGS = frozenset({"na", "normalTpsl", "positionTpsl"})


class Unreadable(Exception):
    """A body that is not an action of the venue: 422."""


def wish(raw: object) -> Wish:
    """Return the order of its wire form {a, b, p, s, r, t[, c]}."""
    order = mapping(raw)
    kind = mapping(order.get("t"))
    tif, trigger = None, None
    if "limit" in kind:
        tif = TIFS.get(str(mapping(kind["limit"]).get("tif")))
        if tif is None:
            raise Unreadable
    elif "trigger" in kind:
        trigger = _trigger(mapping(kind["trigger"]))
    else:
        raise Unreadable
    cloid = order.get("c")
    if cloid is not None and (not isinstance(cloid, str) or not CLOID.fullmatch(cloid)):
        raise Unreadable
    return Wish(
        asset=whole(order.get("a")),
        is_buy=truth(order.get("b")),
        px=number(order.get("p")),
        size=number(order.get("s")),
        reduce_only=truth(order.get("r")),
        tif=tif,
        trigger=trigger,
        cloid=None if cloid is None else cloid.lower(),
    )


def _trigger(raw: Mapping[str, Any]) -> Trigger:
    if raw.get("tpsl") not in ("tp", "sl"):
        raise Unreadable
    return Trigger(number(raw.get("triggerPx")), truth(raw.get("isMarket")), raw["tpsl"] == "sl")


def oid_or_cloid(raw: object) -> int | str:
    """Return an order's id, or the client's own."""
    if isinstance(raw, str) and CLOID.fullmatch(raw):
        return raw.lower()
    return whole(raw)


def mapping(raw: object) -> Mapping[str, Any]:
    """Return an object."""
    if not isinstance(raw, Mapping):
        raise Unreadable
    return raw


def items(raw: object) -> list[Any]:
    """Return a list."""
    if not isinstance(raw, list):
        raise Unreadable
    return raw


def whole(raw: object) -> int:
    """Return a whole number from 0."""
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 0:
        raise Unreadable
    return raw


def truth(raw: object) -> bool:
    """Return a truth value."""
    if not isinstance(raw, bool):
        raise Unreadable
    return raw


def number(raw: object) -> Decimal:
    """Return the number of a wire string."""
    found = parse(raw)
    if found is None:
        raise Unreadable
    return found
