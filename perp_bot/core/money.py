"""The one formatter of money and shares, for people."""

from __future__ import annotations

import math
from decimal import Decimal


def usd(value: float | Decimal | None, *, sign: bool = False) -> str:
    """Return dollars with two decimals and separators (`1,234.50`), or `-` when missing."""
    if value is None or not math.isfinite(value):
        return "-"
    amount = float(value)
    if abs(amount) < 0.005:
        amount = 0.0  # no negative zero on a screen
    return f"{amount:+,.2f}" if sign else f"{amount:,.2f}"


def pct(fraction: float | Decimal | None, *, sign: bool = False, digits: int = 2) -> str:
    """Return a fraction as percent text (0.03 -> `3.00 %`), or `-` when missing."""
    if fraction is None or not math.isfinite(fraction):
        return "-"
    value = float(fraction) * 100.0
    if abs(value) < 0.5 * 10**-digits:
        value = 0.0
    return f"{value:{'+' if sign else ''},.{digits}f} %"
