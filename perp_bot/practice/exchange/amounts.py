"""Exact numbers as the venue writes them on the wire."""

from __future__ import annotations

import re
from decimal import Decimal

ZERO = Decimal(0)
_WIRE = re.compile(r"-?(0|[1-9]\d*)(\.\d{1,8})?")


def text(value: Decimal) -> str:
    """Return a number as the venue answers it: plain, no trailing zeros, but always one decimal ("84143.0")."""
    plain = format(value.normalize(), "f")
    if plain in ("-0", "0"):
        return "0.0"
    return plain if "." in plain else plain + ".0"


def money_steps(value: Decimal) -> Decimal:
    """Return an amount of USD in whole millionths, as the venue keeps it."""
    return round(value, 6)


def money(value: Decimal) -> str:
    """Return an amount of USD as the venue answers it: six decimals at most."""
    return text(money_steps(value))


def parse(wire: object) -> Decimal | None:
    """Return the number of a wire string, None when it is not one: at most 8 decimals, no exponent."""
    if not isinstance(wire, str) or not _WIRE.fullmatch(wire):
        return None
    return Decimal(wire)
