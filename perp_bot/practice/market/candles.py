"""Candles of all fourteen intervals, aggregated from minutes and hours; the running one from the trades so far."""

from __future__ import annotations

import numpy as np

from perp_bot.core.timeframes import FIXED_MS, HOUR_MS, MINUTE_MS, close_of, open_of
from perp_bot.practice.market.coin_market import CoinMarket
from perp_bot.practice.market.hours import CLOSE, COUNT, HIGH, LOW, OPEN, VOLUME
from perp_bot.practice.market.noise import Ints

MOST_ROWS = 5_000


def snapshot(market: CoinMarket, interval: str, start_ms: int, end_ms: int, now_ms: int) -> list[tuple[int, Ints]]:
    """Return (open time, row in units) of the newest 5000 candles that overlap [start, end], the running one included.

    Nothing later than `now_ms` is in any row; before the recording there is nothing.
    """
    first_ms = max(open_of(interval, max(start_ms, 0)), open_of(interval, market.origin_ms))
    last_ms = open_of(interval, min(end_ms, now_ms))
    if last_ms < first_ms:
        return []
    first_ms = max(first_ms, _oldest(interval, last_ms))
    closed_until = min(close_of(interval, last_ms), open_of(interval, now_ms))
    out = _closed(market, interval, first_ms, closed_until)
    if last_ms == open_of(interval, now_ms):
        running = candle(market, interval, last_ms, now_ms)
        if running is not None:
            out.append((last_ms, running))
    return out[-MOST_ROWS:]


def candle(market: CoinMarket, interval: str, open_ms: int, now_ms: int) -> Ints | None:
    """Return one candle as it stands at `now_ms`, closed or running; None when nothing has traded in it."""
    until_ms = min(close_of(interval, open_ms), now_ms)
    parts: list[Ints] = []
    at_ms = max(open_ms, market.origin_ms)
    hours = (until_ms - market.origin_ms) // HOUR_MS
    if at_ms % HOUR_MS == 0 and hours > market.hour_of(at_ms):
        parts.append(market.hour_rows(hours)[market.hour_of(at_ms) :])
        at_ms = market.origin_ms + hours * HOUR_MS
    while at_ms + MINUTE_MS <= until_ms:
        hour = market.hour_of(at_ms)
        upto_ms = min(until_ms, market.origin_ms + (hour + 1) * HOUR_MS)
        from_minute = (at_ms - market.origin_ms) // MINUTE_MS % 60
        minutes = (upto_ms - at_ms) // MINUTE_MS
        parts.append(market.minutes(hour)[from_minute : from_minute + minutes])
        at_ms += minutes * MINUTE_MS
    if until_ms == now_ms and at_ms < until_ms:
        running = market.open_minute(now_ms)
        if running is not None:
            parts.append(running[None, :])
    if not parts:
        return None
    return _merge(np.concatenate(parts))


def _oldest(interval: str, last_ms: int) -> int:
    """Return the open of the oldest candle that a request ending at `last_ms` can hold, the last one being empty."""
    if interval == "1M":
        return 0  # 5000 months reach before the epoch
    return last_ms - MOST_ROWS * FIXED_MS[interval]


def _closed(market: CoinMarket, interval: str, first_ms: int, until_ms: int) -> list[tuple[int, Ints]]:
    """Return the closed candles that open in [first, until)."""
    if until_ms <= first_ms:
        return []
    step_ms = FIXED_MS.get(interval)
    if step_ms is not None and step_ms < HOUR_MS:
        return _below_hour(market, step_ms, first_ms, until_ms)
    first_hour = max(0, market.hour_of(first_ms))
    hours = market.hour_of(until_ms)
    rows = market.hour_rows(hours)[first_hour:]
    if not len(rows):
        return []
    opens = market.origin_ms + np.arange(first_hour, hours, dtype=np.int64) * HOUR_MS
    if step_ms is not None:
        groups = opens - opens % step_ms
    else:
        groups = np.array([open_of("1M", int(at)) for at in opens], dtype=np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
    merged = _reduce(rows, starts)
    return list(zip(groups[starts].tolist(), merged, strict=True))


def _below_hour(market: CoinMarket, step_ms: int, first_ms: int, until_ms: int) -> list[tuple[int, Ints]]:
    factor = step_ms // MINUTE_MS
    starts = np.arange(0, 60, factor)
    out: list[tuple[int, Ints]] = []
    for hour in range(market.hour_of(first_ms), market.hour_of(until_ms - 1) + 1):
        opens_at = market.origin_ms + hour * HOUR_MS
        rows = market.minutes(hour)
        if factor > 1:
            rows = _reduce(rows, starts)
        for position in range(len(rows)):
            open_ms = opens_at + position * step_ms
            if first_ms <= open_ms < until_ms:
                out.append((open_ms, rows[position]))
    return out


def _reduce(rows: Ints, starts: Ints) -> Ints:
    """Merge runs of rows that begin at `starts`."""
    ends = np.append(starts[1:], len(rows)) - 1
    out = np.empty((len(starts), 6), np.int64)
    out[:, OPEN] = rows[starts, OPEN]
    out[:, HIGH] = np.maximum.reduceat(rows[:, HIGH], starts)
    out[:, LOW] = np.minimum.reduceat(rows[:, LOW], starts)
    out[:, CLOSE] = rows[ends, CLOSE]
    out[:, VOLUME] = np.add.reduceat(rows[:, VOLUME], starts)
    out[:, COUNT] = np.add.reduceat(rows[:, COUNT], starts)
    return out


def _merge(rows: Ints) -> Ints:
    merged: Ints = _reduce(rows, np.zeros(1, np.int64))[0]
    return merged
