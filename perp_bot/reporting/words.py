"""How reports write figures: by unit, missing as a dash."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape

from perp_bot.core.money import pct, usd
from perp_bot.core.visible import visible

MISSING = "-"


def on_page(text: str) -> str:
    """Return a text for HTML: markup and control characters in it are shown, never obeyed."""
    return escape(visible(text))


def day(at_ms: int | None) -> str:
    """Return YYYY-MM-DD, UTC."""
    return MISSING if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def minute(at_ms: int | None) -> str:
    """Return YYYY-MM-DD HH:MM, UTC."""
    return MISSING if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def length(span_ms: float | None) -> str:
    """Return a length of time in its two largest units: `45s`, `12m`, `3h 04m`, `2d 03h`."""
    if span_ms is None or not math.isfinite(span_ms):
        return MISSING
    seconds = round(span_ms / 1000)
    if seconds < 60:
        return f"{seconds}s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 48 * 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(minutes / 60)
    return f"{hours // 24}d {hours % 24:02d}h"


def ratio(value: float | None) -> str:
    """Return a ratio with two decimals."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:,.2f}"


def price(value: float) -> str:
    """Return a price with five significant figures or all its whole digits."""
    if not math.isfinite(value) or value <= 0:
        return MISSING
    decimals = max(0, min(8, 4 - math.floor(math.log10(value))))
    return f"{value:,.{decimals}f}"


def by_unit(value: float | None, unit: str, *, sign: bool = False) -> str:
    """Return a figure as its unit wants it (the units of `backtest.metrics`)."""
    if value is None:
        return MISSING
    if unit == "fraction":
        return pct(value, sign=sign)
    if unit == "USD":
        return usd(value, sign=sign)
    if unit == "ms":
        return length(value)
    return f"{int(value):,}" if unit == "count" else ratio(value)


def starred(text: str, is_incomplete: bool) -> str:
    """Return a figure with the star of what lacks funding; missing stays missing."""
    return f"{text}*" if is_incomplete and text != MISSING else text
