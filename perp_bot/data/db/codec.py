"""How typed values are spelled in the tables: canonical JSON, exact decimals, a position as JSON.

Canonical JSON has sorted keys, no spaces, floats by their shortest text, ASCII only: equal values give equal bytes.
A NaN is missing and becomes null; an infinity is a fault and is refused.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from perp_bot.core.types import Position, Side


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: dicts with text keys, lists, tuples (read as lists), text, numbers, None.

    Raises:
        ValueError: for an infinity.
        TypeError: for a value that JSON does not have (a Decimal, a dataclass).
    """
    try:
        return _dump(value)
    except ValueError:
        return _dump(_without_nan(value))


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def decimal_text(value: Decimal) -> str:
    """Return the exact text of `value`, without an exponent.

    Raises:
        ValueError: for NaN and infinities.
    """
    if not value.is_finite():
        raise ValueError(f"a stored amount must be a finite number, not {value}")
    return format(value, "f")


def optional_decimal_text(value: Decimal | None) -> str | None:
    """Return the exact text, or None when missing."""
    return None if value is None else decimal_text(value)


def optional_decimal(text: str | None) -> Decimal | None:
    """Return the number of a stored text, or None when missing."""
    return None if text is None else Decimal(text)


def position_json(position: Position) -> str:
    """Return a position as canonical JSON, amounts as decimal texts."""
    return canonical_json(
        {
            "symbol": position.symbol,
            "side": position.side.value,
            "size": decimal_text(position.size),
            "entry_px": decimal_text(position.entry_px),
            "opened_ms": position.opened_ms,
            "strategy": position.strategy,
            "source": position.source,
            "stop_px": position.stop_px,
            "target_px": position.target_px,
            "entry_decision_id": position.entry_decision_id,
            "fees_usd": decimal_text(position.fees_usd),
            "funding_usd": decimal_text(position.funding_usd),
            "realized_usd": decimal_text(position.realized_usd),
        }
    )


def position_from_json(text: str) -> Position:
    """Return the position of `position_json`."""
    stored = json.loads(text)
    return Position(
        symbol=stored["symbol"],
        side=Side(stored["side"]),
        size=Decimal(stored["size"]),
        entry_px=Decimal(stored["entry_px"]),
        opened_ms=stored["opened_ms"],
        strategy=stored["strategy"],
        source=stored["source"],
        stop_px=stored["stop_px"],
        target_px=stored["target_px"],
        entry_decision_id=stored["entry_decision_id"],
        fees_usd=Decimal(stored["fees_usd"]),
        funding_usd=Decimal(stored["funding_usd"]),
        realized_usd=Decimal(stored["realized_usd"]),
    )
