"""What a signed request has to look like, and the one form of an action that its signature covers.

The venue reads an action into typed fields and hashes those, not the text it received: measured on its testnet in
2026-09, keys in another order and zeros at the end of a price change nothing for it. So a client that signs another
order of keys, or "84000.0", has signed something else than the venue hashes, and is a stranger. The same holds here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_MOST = 1 << 64
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_CLOID = re.compile(r"0x[0-9a-fA-F]{32}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,64}")
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
_DECIMALS = 8


class NotAnAction(Exception):
    """A field is missing or of the wrong kind: the venue answers 422."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The three numbers of a signature."""

    r: int
    s: int
    v: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """A signed request, parsed; the action in its canonical form."""

    action: Mapping[str, Any]
    nonce: int
    signature: Signature
    vault: str | None
    expires_ms: int | None

    @property
    def kind(self) -> str:
        """The action's type."""
        return str(self.action["type"])


def envelope(body: object) -> Envelope:
    """Parse the body of an /exchange request; NotAnAction when a field is missing or wrong."""
    if not isinstance(body, Mapping):
        raise NotAnAction
    signature = _mapping(body.get("signature"))
    vault, expires = body.get("vaultAddress"), body.get("expiresAfter")
    return Envelope(
        action=canonical(_mapping(body.get("action"))),
        nonce=_count(body.get("nonce")),
        signature=Signature(_number(signature.get("r")), _number(signature.get("s")), _count(signature.get("v"))),
        vault=None if vault is None else address(vault),
        expires_ms=None if expires is None else _count(expires),
    )


def canonical(action: Mapping[str, Any]) -> Json:
    """Return an action as its signature covers it: known types in the venue's order, others as they came."""
    kind = _text(action.get("type"))
    form = _FORMS.get(kind)
    return dict(action) if form is None else {"type": kind, **form(action)}


def address(value: object) -> str:
    """Return an address in lower case."""
    text = _text(value)
    if not _ADDRESS.fullmatch(text):
        raise NotAnAction
    return text.lower()


def _order_action(action: Mapping[str, Any]) -> Json:
    grouping = action.get("grouping", "na")
    if grouping not in ("na", "normalTpsl", "positionTpsl") and not isinstance(grouping, Mapping):
        raise NotAnAction
    out: Json = {"orders": [_order(one) for one in _list(action.get("orders"))], "grouping": grouping}
    if action.get("builder") is not None:
        builder = _mapping(action["builder"])
        out["builder"] = {"b": address(builder.get("b")), "f": _count(builder.get("f"))}
    return out


def _order(order: object) -> Json:
    wire = _mapping(order)
    out: Json = {
        "a": _count(wire.get("a")),
        "b": _flag(wire.get("b")),
        "p": _decimal(wire.get("p")),
        "s": _decimal(wire.get("s")),
        "r": _flag(wire.get("r")),
        "t": _order_type(_mapping(wire.get("t"))),
    }
    if wire.get("c") is not None:
        out["c"] = _cloid(wire["c"])
    return out


def _order_type(kind: Mapping[str, Any]) -> Json:
    if set(kind) == {"limit"}:
        tif = _text(_mapping(kind["limit"]).get("tif"))
        if tif not in ("Gtc", "Ioc", "Alo", "FrontendMarket", "LiquidationMarket"):
            raise NotAnAction
        return {"limit": {"tif": tif}}
    if set(kind) == {"trigger"}:
        trigger = _mapping(kind["trigger"])
        if trigger.get("tpsl") not in ("tp", "sl"):
            raise NotAnAction
        return {
            "trigger": {
                "isMarket": _flag(trigger.get("isMarket")),
                "triggerPx": _decimal(trigger.get("triggerPx")),
                "tpsl": trigger["tpsl"],
            }
        }
    raise NotAnAction


def _cancel(action: Mapping[str, Any]) -> Json:
    rows = [_mapping(one) for one in _list(action.get("cancels"))]
    return {"cancels": [{"a": _count(row.get("a")), "o": _count(row.get("o"))} for row in rows], **_fast(action)}


def _cancel_by_cloid(action: Mapping[str, Any]) -> Json:
    rows = [_mapping(one) for one in _list(action.get("cancels"))]
    cancels = [{"asset": _count(row.get("asset")), "cloid": _cloid(row.get("cloid"))} for row in rows]
    return {"cancels": cancels, **_fast(action)}


def _fast(action: Mapping[str, Any]) -> Json:
    return {"f": True} if action.get("f") is not None and _flag(action["f"]) else {}


def _modify(action: Mapping[str, Any]) -> Json:
    oid = action.get("oid")
    out: Json = {"oid": _cloid(oid) if isinstance(oid, str) else _count(oid), "order": _order(action.get("order"))}
    return out | _always(action)


def _batch_modify(action: Mapping[str, Any]) -> Json:
    return {"modifies": [_modify(_mapping(one)) for one in _list(action.get("modifies"))]} | _always(action)


def _always(action: Mapping[str, Any]) -> Json:
    return {"a": True} if action.get("a") is not None and _flag(action["a"]) else {}


def _schedule_cancel(action: Mapping[str, Any]) -> Json:
    return {} if action.get("time") is None else {"time": _count(action["time"])}


def _update_leverage(action: Mapping[str, Any]) -> Json:
    return {
        "asset": _count(action.get("asset")),
        "isCross": _flag(action.get("isCross")),
        "leverage": _count(action.get("leverage")),
    }


def _update_isolated_margin(action: Mapping[str, Any]) -> Json:
    amount = action.get("ntli")
    if isinstance(amount, bool) or not isinstance(amount, int) or abs(amount) >= _MOST // 2:
        raise NotAnAction
    return {"asset": _count(action.get("asset")), "isBuy": _flag(action.get("isBuy")), "ntli": amount}


_FORMS: dict[str, Callable[[Mapping[str, Any]], Json]] = {
    "order": _order_action,
    "cancel": _cancel,
    "cancelByCloid": _cancel_by_cloid,
    "modify": _modify,
    "batchModify": _batch_modify,
    "scheduleCancel": _schedule_cancel,
    "updateLeverage": _update_leverage,
    "updateIsolatedMargin": _update_isolated_margin,
    "noop": lambda _: {},
}


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise NotAnAction
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise NotAnAction
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotAnAction
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise NotAnAction
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MOST:
        raise NotAnAction
    return value


def _cloid(value: object) -> str:
    text = _text(value)
    if not _CLOID.fullmatch(text):
        raise NotAnAction
    return text.lower()


def _number(value: object) -> int:
    text = _text(value)
    if not _HEX.fullmatch(text):
        raise NotAnAction
    return int(text, 16)


def _decimal(value: object) -> str:
    """Return a price or size without zeros at its ends; the venue reads at most eight decimals."""
    text = _text(value)
    if not _DECIMAL.fullmatch(text):
        raise NotAnAction
    whole, _, decimals = text.partition(".")
    decimals = decimals.rstrip("0")
    if len(decimals) > _DECIMALS:
        raise NotAnAction
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{decimals}" if decimals else whole
