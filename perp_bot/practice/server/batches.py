"""The entries of an action: how many there are, and single ones that a fault refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perp_bot.practice.faults import Fault
from perp_bot.practice.market.coins import INDEX

Json = dict[str, Any]

_ENTRIES = {"order": "orders", "cancel": "cancels", "cancelByCloid": "cancels", "batchModify": "modifies"}
_ANSWER_TYPES = {"order": "order", "batchModify": "order", "cancel": "cancel", "cancelByCloid": "cancel"}
_PER_WEIGHT = 40
_NAMES = {index: name for name, index in INDEX.items()}


def size(action: Mapping[str, Any]) -> int:
    """Return how many entries an action has; one for an action that is no batch."""
    entries = action.get(_ENTRIES.get(str(action.get("type")), ""))
    return len(entries) if isinstance(entries, list) else 1


def weight(action: Mapping[str, Any]) -> int:
    """Return what an action costs of the IP's weight: 1 and one more for every 40 entries."""
    return 1 + size(action) // _PER_WEIGHT


@dataclass(frozen=True, slots=True)
class Struck:
    """A batch from which a fault has taken entries: what is left of it, and the answers of those taken."""

    action: Mapping[str, Any] | None  # None: nothing is left
    kind: str
    errors: Mapping[int, str]

    def answered(self, reply: Json | None) -> Json:
        """Return the reply to the rest with the refusals in their places."""
        if reply is None:
            statuses: list[Any] = []
            reply = {"status": "ok", "response": {"type": _ANSWER_TYPES[self.kind], "data": {"statuses": statuses}}}
        elif reply["status"] == "ok":
            statuses = list(reply["response"]["data"]["statuses"])
            reply = {**reply, "response": {**reply["response"], "data": {"statuses": statuses}}}
        else:
            return reply
        for index in sorted(self.errors):
            statuses.insert(index, {"error": self.errors[index]})
        return reply


def strike(fault: Fault, action: Mapping[str, Any]) -> Struck | None:
    """Take out the entries that an order_error fault refuses; None when it concerns none.

    A parent that is refused takes the stop and target of its group along.
    """
    kind = str(action["type"])
    key = _ENTRIES.get(kind)
    if key is None:
        return None
    entries = action[key]
    errors: dict[int, str] = {}
    for index, entry in enumerate(entries):
        asset = _asset(entry)
        if fault.count is not None and len(errors) >= fault.count:
            break
        if not fault.coins or _NAMES.get(asset) in fault.coins:
            errors[index] = f"{fault.text} asset={asset}"
    if not errors:
        return None
    if action.get("grouping") == "normalTpsl" and 0 in errors:
        errors = dict.fromkeys(range(len(entries)), errors[0])
    left = [entry for index, entry in enumerate(entries) if index not in errors]
    return Struck({**action, key: left} if left else None, kind, errors)


def _asset(entry: Mapping[str, Any]) -> int:
    found = entry.get("a", entry.get("asset"))
    return int(entry["order"]["a"] if found is None else found)
