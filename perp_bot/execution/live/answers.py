"""What the venue's answer to an action says, entry by entry.

An answer can fail in three places: its status, each entry of its statuses, and the one status of a TWAP. All three are
looked at. What does not read exactly as the protocol promises is not guessed at: the whole answer is malformed, or the
one entry unclear, and an outcome that is not clear has to be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from perp_bot.execution.live.rejections import Rejection, rejection_of


@dataclass(frozen=True, slots=True)
class Resting:
    """On the book, or a trigger order that waits."""

    oid: int


@dataclass(frozen=True, slots=True)
class Filled:
    """Filled at once, perhaps in part: of an immediate order the rest is gone. Prices and sizes as the venue says."""

    oid: int
    size: Decimal
    avg_px: Decimal


@dataclass(frozen=True, slots=True)
class WaitingForFill:
    """A stop or target whose parent has not filled."""


@dataclass(frozen=True, slots=True)
class WaitingForTrigger:
    """A stop or target whose parent filled at once."""


@dataclass(frozen=True, slots=True)
class Done:
    """A cancel, a leverage or anything else that has no order of its own was done."""


@dataclass(frozen=True, slots=True)
class Refused:
    """This entry was refused; others of the same action may not have been."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class Unclear:
    """An entry that does not read as promised: whether its order lives has to be asked for."""

    text: str


Entry = Resting | Filled | WaitingForFill | WaitingForTrigger | Done | Refused | Unclear


@dataclass(frozen=True, slots=True)
class Answered:
    """An entry and the client order id of its order (None where there is none)."""

    cloid: str | None
    entry: Entry


class Malformed(Exception):
    """The answer is not one of the venue's forms; what became of the action is unknown."""


def decode(body: bytes, expected: int, cloids: Sequence[str | None]) -> tuple[Answered, ...] | Rejection:
    """Return the entries of an answer in the order of the action's, or why the whole action was refused.

    Args:
        body: the answer as it came, HTTP 200.
        expected: how many entries the action has.
        cloids: the client order ids of its orders, in order; () when it places none.

    Raises:
        Malformed: when the answer, or the number of its entries, is not as promised.
    """
    answer = _loaded(body)
    response = answer.get("response")
    if answer.get("status") == "err":
        if not isinstance(response, str):
            raise Malformed(f"a refusal without a text: {_shown(response)}")
        return rejection_of(response)
    if answer.get("status") != "ok" or not isinstance(response, dict):
        raise Malformed(f"neither ok nor err: {_shown(answer)}")
    if cloids:
        raws = _of_orders(_statuses(response), expected)
        return tuple(Answered(cloid, _order_entry(raw, cloid)) for cloid, raw in zip(cloids, raws, strict=True))
    return tuple(Answered(None, _other_entry(raw)) for raw in _of_others(response, expected))


def _loaded(body: bytes) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        begins = body[:60].decode("utf-8", "replace")
        raise Malformed(f"not JSON; it begins {_shown(begins)}") from None
    if not isinstance(answer, dict):
        raise Malformed(f"not an object: {_shown(answer)}")
    return answer


def _statuses(response: dict[str, Any]) -> list[Any]:
    data = response.get("data")
    statuses = data.get("statuses") if isinstance(data, dict) else None
    if not isinstance(statuses, list):
        raise Malformed(f"ok without statuses: {_shown(response)}")
    return statuses


def _of_orders(statuses: list[Any], expected: int) -> list[Any]:
    if len(statuses) == 1 and _error(statuses[0]) is not None:
        return statuses * expected  # refused before any order was looked at: one text for all of them
    return _as_many(statuses, expected)


def _of_others(response: dict[str, Any], expected: int) -> list[Any]:
    if response.get("type") == "default" and response.get("data") is None:
        return ["success"] * expected
    data = response.get("data")
    if isinstance(data, dict) and "status" in data and "statuses" not in data:
        return _as_many([data["status"]], expected)  # of a TWAP
    return _as_many(_statuses(response), expected)


def _as_many(statuses: list[Any], expected: int) -> list[Any]:
    if len(statuses) != expected:
        raise Malformed(f"{len(statuses)} statuses for {expected} entries: {_shown(statuses)}")
    return statuses


def _order_entry(raw: Any, cloid: str | None) -> Entry:
    if raw == "waitingForFill":
        return WaitingForFill()
    if raw == "waitingForTrigger":
        return WaitingForTrigger()
    error = _error(raw)
    if error is not None:
        return Refused(rejection_of(error))
    if not isinstance(raw, dict) or len(raw) != 1:
        return Unclear(_shown(raw))
    ((kind, value),) = raw.items()
    if not isinstance(value, dict) or not _is_id(value.get("oid")):
        return Unclear(_shown(raw))
    named = value.get("cloid")
    if named is not None and cloid is not None and named != cloid:
        return Unclear(f"the answer names {_shown(named)} where {cloid} stands in the action")
    if kind == "resting":
        return Resting(value["oid"])
    size, px = _positive(value.get("totalSz")), _positive(value.get("avgPx"))
    if kind == "filled" and size is not None and px is not None:
        return Filled(value["oid"], size, px)
    return Unclear(_shown(raw))


def _other_entry(raw: Any) -> Entry:
    if raw == "success":
        return Done()
    error = _error(raw)
    return Unclear(_shown(raw)) if error is None else Refused(rejection_of(error))


def _error(raw: Any) -> str | None:
    if isinstance(raw, dict) and len(raw) == 1 and isinstance(raw.get("error"), str):
        text: str = raw["error"]
        return text
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _positive(value: Any) -> Decimal | None:
    if not isinstance(value, str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 120 else f"{text[:117]}..."
