"""The closed candles a run starts with: from the store, completed by REST."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import VenueError
from perp_bot.core.types import Candle, CandleSource
from perp_bot.data.client import MAX_CANDLES, VenueClient
from perp_bot.data.limiter import RequestClass
from perp_bot.data.store_ports import CandleReader

log = logging.getLogger(__name__)

ATTEMPTS = 4
PAUSE_S = 0.5
SETTLED_S = 2.5  # a close this long ago cannot change any more


def previous_opens(timeframe: str, before_ms: int, count: int) -> list[int]:
    """Return the `count` open times before the boundary `before_ms`, oldest first."""
    opens: list[int] = []
    at_ms = before_ms
    for _ in range(count):
        at_ms = timeframes.open_of(timeframe, at_ms - 1)
        opens.append(at_ms)
    return opens[::-1]


def closed_history(
    symbol: str,
    timeframe: str,
    bars: int,
    *,
    client: VenueClient,
    reader: CandleReader,
    clock: VenueClock,
    store: Callable[[tuple[Candle, ...]], None],
    stop: threading.Event,
) -> tuple[Candle, ...]:
    """Return the newest closed candles, at most `bars`, oldest first; what REST adds is stored.

    A provisional row in the store counts as missing. A candle that the venue does not have is left out.

    Raises:
        VenueError: when REST fails four times in a row.
    """
    boundary_ms = timeframes.open_of(timeframe, clock.now_ms())
    wanted = previous_opens(timeframe, boundary_ms, bars)
    if not wanted:
        return ()
    stored = reader.last_candles(symbol, timeframe, bars, before_ms=boundary_ms)
    known = {row.open_ms: row for row in stored if row.source is not CandleSource.STREAM and row.open_ms >= wanted[0]}
    missing = [open_ms for open_ms in wanted if open_ms not in known]
    if missing:
        fetched = _fetch(symbol, timeframe, missing[0], boundary_ms, client, clock, stop)
        fresh = tuple(row for row in fetched if known.get(row.open_ms) != row)
        if fresh:
            store(fresh)
            known.update((row.open_ms, row) for row in fresh)
    return tuple(known[open_ms] for open_ms in wanted if open_ms in known)


def _fetch(
    symbol: str,
    timeframe: str,
    start_ms: int,
    boundary_ms: int,
    client: VenueClient,
    clock: VenueClock,
    stop: threading.Event,
) -> tuple[Candle, ...]:
    """Read final rows from `start_ms` up to the boundary."""
    # Up to the end of the open candle: its row proves that the one before it is final.
    end_ms = timeframes.close_of(timeframe, boundary_ms) - 1
    for attempt in range(1, ATTEMPTS + 1):
        try:
            rows = client.candles(symbol, timeframe, start_ms, end_ms, RequestClass.RECONCILE)
            break
        except VenueError as error:
            if attempt == ATTEMPTS or not error.retryable or stop.wait(PAUSE_S * attempt):
                raise
            log.warning("history of %s %s: %s; trying again", symbol, timeframe, error)
    closed = [row for row in rows if row.open_ms < boundary_ms]
    settled_ms = 0 if clock.stepped else int(SETTLED_S * 1000 * max(1.0, clock.speed or 1.0))
    is_proven = bool(rows) and rows[-1].open_ms >= boundary_ms
    if closed and closed[-1].close_ms == boundary_ms and not is_proven and clock.now_ms() < boundary_ms + settled_ms:
        closed.pop()  # it may still change; the boundary's confirmation brings it
    return tuple(closed[-MAX_CANDLES:])
