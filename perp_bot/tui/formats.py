"""How prices, sizes and times are written on the dashboard (amounts and shares: `core.money`)."""

from __future__ import annotations

import math
from datetime import UTC, datetime

MAX_SIGNIFICANT = 5
MAX_DECIMALS = 6


def price(px: float | None, sz_decimals: int | None = None, *, extra: int = 0) -> str:
    """Return a price on the venue's grid (5 significant figures); `extra` more decimals for averages.

    Without szDecimals the price is printed with up to six decimals, nothing rounded away.
    """
    if px is None or not math.isfinite(px):
        return "-"
    if sz_decimals is None or px == 0:
        text = f"{px:,.6f}".rstrip("0").rstrip(".")
        return text or "0"
    figures = MAX_SIGNIFICANT - 1 - math.floor(math.log10(abs(px)))
    decimals = max(0, min(figures, MAX_DECIMALS - sz_decimals)) + extra
    return f"{px:,.{decimals}f}"


def size(coins: float | None, sz_decimals: int | None = None) -> str:
    """Return a size in coins with the instrument's decimals."""
    if coins is None or not math.isfinite(coins):
        return "-"
    if sz_decimals is None:
        return f"{coins:,.6f}".rstrip("0").rstrip(".") or "0"
    return f"{coins:,.{sz_decimals}f}"


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """Return a plain number, `-` when missing; never a negative zero."""
    if value is None or not math.isfinite(value):
        return "-"
    if abs(value) < 0.5 * 10**-digits:
        value = 0.0
    return f"{value:{'+' if sign else ''},.{digits}f}"


def compact_usd(value: float | None) -> str:
    """Return dollars in short form (`1.2M`), for depth and notional."""
    if value is None or not math.isfinite(value):
        return "-"
    for limit, divisor, unit in ((1e9, 1e9, "B"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / divisor:,.1f}{unit}"
    return f"{value:,.0f}"


def _moment(at_ms: int, *, utc: bool) -> datetime | None:
    try:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment if utc else moment.astimezone()


def clock(at_ms: int | None, *, utc: bool = True) -> str:
    """Return HH:MM:SS, `-` when missing or impossible."""
    moment = None if at_ms is None else _moment(at_ms, utc=utc)
    return "-" if moment is None else moment.strftime("%H:%M:%S")


def stamp(at_ms: int | None, *, utc: bool = True) -> str:
    """Return YYYY-MM-DD HH:MM:SS with the zone, `-` when missing or impossible."""
    moment = None if at_ms is None else _moment(at_ms, utc=utc)
    if moment is None:
        return "-"
    return moment.strftime("%Y-%m-%d %H:%M:%S") + (" UTC" if utc else moment.strftime(" %Z"))


def day_clock(at_ms: int | None, *, utc: bool = True) -> str:
    """Return MM-DD HH:MM:SS, `-` when missing or impossible."""
    moment = None if at_ms is None else _moment(at_ms, utc=utc)
    return "-" if moment is None else moment.strftime("%m-%d %H:%M:%S")


def span_ms(length_ms: float) -> str:
    """Return a length of time: `45s`, `4m12s`, `3h04m`, `2d03h`."""
    seconds = max(0, int(length_ms / 1000))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02d}h"
