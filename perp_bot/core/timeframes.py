"""The venue's fourteen candle intervals: names, lengths and boundaries in epoch milliseconds, UTC.

All but the month have a fixed length and are aligned to the epoch, as the venue's are; the week therefore starts on
Thursday [unverified against the wire]. The month follows the calendar.
"""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

FIXED_MS: dict[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
TIMEFRAMES: tuple[str, ...] = (*FIXED_MS, "1M")


def length_ms(timeframe: str) -> int:
    """Return the length of a fixed interval in ms; ValueError for the month and for unknown names."""
    try:
        return FIXED_MS[timeframe]
    except KeyError:
        raise ValueError(f"{timeframe!r} has no fixed length; fixed intervals: {', '.join(FIXED_MS)}") from None


def open_of(timeframe: str, at_ms: int) -> int:
    """Return the open time (ms) of the candle that contains `at_ms`."""
    if timeframe == "1M":
        day = datetime.fromtimestamp(at_ms / 1000, UTC)
        return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp() * 1000)
    step = length_ms(timeframe)
    return at_ms - at_ms % step


def close_of(timeframe: str, open_ms: int) -> int:
    """Return the first ms after the candle that opened at `open_ms` (the next candle's open)."""
    if timeframe == "1M":
        day = datetime.fromtimestamp(open_ms / 1000, UTC)
        year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
        return int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
    return open_ms + length_ms(timeframe)


def periods_per_year(timeframe: str) -> float:
    """Return how many candles of `timeframe` a 365-day year holds (15m: 35,040); the market never closes."""
    if timeframe == "1M":
        return 12.0
    return 365 * DAY_MS / length_ms(timeframe)


def day_of(at_ms: int) -> int:
    """Return the start (ms) of the UTC day that contains `at_ms`."""
    return at_ms - at_ms % DAY_MS


def week_of(at_ms: int) -> int:
    """Return the start (ms) of the calendar week (Monday 00:00 UTC) that contains `at_ms`."""
    days = at_ms // DAY_MS
    return (days - (days + 3) % 7) * DAY_MS  # 1970-01-01 was a Thursday


def iso(at_ms: int) -> str:
    """Return `at_ms` as UTC text, e.g. 2026-01-31T18:00:00Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
