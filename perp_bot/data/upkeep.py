"""What is only stored: candle series nobody decides on, and every hour's funding rate. Read late, many rows at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import RateLimited, VenueError
from perp_bot.core.types import Candle, FundingRate
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import RequestClass

log = logging.getLogger(__name__)

FUNDING = "funding"
ROWS_A_READ = 1000
FIRST_ROWS = 500  # of a series that the store does not have; `perpbot backfill` fetches the depth
LEAST_VENUE_MS = 15 * timeframes.MINUTE_MS
LEAST_WALL_S = 5.0
FUNDING_LANDS_MS = 2 * timeframes.MINUTE_MS
RETRY_S = 20.0
TIMEOUT_S = 5.0
VENUE_KEEPS_ROWS = 5000


@dataclass(slots=True)
class StoredSeries:
    """One series and how far the store has it; timeframe `funding` means the settled rates."""

    symbol: str
    timeframe: str
    next_open_ms: int  # the first candle (or hour) that the store lacks
    due_ms: int = 0
    due_s: float = 0.0


class SeriesUpkeep:
    """Keep the other series current in the lowest class of the limiter; a chore of the REST worker."""

    name = "other series"

    def __init__(
        self,
        series: tuple[StoredSeries, ...],
        *,
        client: VenueClient,
        clock: VenueClock,
        store_candles: Callable[[tuple[Candle, ...]], None],
        store_funding: Callable[[tuple[FundingRate, ...]], None],
    ) -> None:
        self._series = series
        self._client = client
        self._clock = clock
        self._store_candles = store_candles
        self._store_funding = store_funding

    def wait_s(self) -> float | None:
        """Return wall seconds until a series is due; None = not before the venue's clock is moved."""
        waits = [wait for wait in (self._wait_of(item) for item in self._series) if wait is not None]
        return min(waits, default=None)

    def _wait_of(self, item: StoredSeries) -> float | None:
        until_s = self._clock.wall_seconds_until(item.due_ms)
        return None if until_s is None else max(0.0, until_s, item.due_s - monotonic_s())

    def is_pending(self) -> bool:
        """Never: nobody waits for it."""
        return False

    def run(self) -> None:
        """Read one series that is due."""
        item = next((item for item in self._series if self._wait_of(item) == 0.0), None)
        if item is None:
            return
        try:
            more = self._read_funding(item) if item.timeframe == FUNDING else self._read_candles(item)
        except RateLimited as error:
            log.debug("%s %s waits for budget: %s", item.symbol, item.timeframe, error)
            item.due_s = monotonic_s() + RETRY_S
            return
        except VenueError as error:
            log.info("%s %s not read for the store: %s", item.symbol, item.timeframe, error)
            item.due_s = monotonic_s() + RETRY_S
            return
        item.due_s = monotonic_s() + (0.5 if more else LEAST_WALL_S)
        if not more:
            item.due_ms = self._next_due_ms(item)

    def _next_due_ms(self, item: StoredSeries) -> int:
        now_ms = self._clock.now_ms()
        if item.timeframe == FUNDING:
            return timeframes.close_of("1h", timeframes.open_of("1h", now_ms)) + FUNDING_LANDS_MS
        first_close_ms = timeframes.close_of(item.timeframe, item.next_open_ms)
        return max(now_ms + LEAST_VENUE_MS, first_close_ms + timeframes.MINUTE_MS)

    def _read_candles(self, item: StoredSeries) -> bool:
        now_ms = self._clock.now_ms()
        length_ms = timeframes.FIXED_MS.get(item.timeframe, 31 * timeframes.DAY_MS)
        # The venue keeps its newest 5,000 candles: after a long absence the rest is gone, and not asked for.
        kept_from_ms = timeframes.open_of(item.timeframe, now_ms - VENUE_KEEPS_ROWS * length_ms)
        item.next_open_ms = max(item.next_open_ms, kept_from_ms)
        end_ms = min(now_ms, item.next_open_ms + ROWS_A_READ * length_ms - 1)
        rows = self._client.candles(
            item.symbol,
            item.timeframe,
            item.next_open_ms,
            end_ms,
            RequestClass.RESEARCH,
            max_wait_s=0.0,
            timeout_s=TIMEOUT_S,
        )
        # A row counts as final when a later one is there, or when its end is a minute past.
        settled_ms = now_ms - timeframes.MINUTE_MS
        final = tuple(
            row for row in rows if row.close_ms <= now_ms and (row is not rows[-1] or row.close_ms <= settled_ms)
        )
        if final:
            self._store_candles(final)
            item.next_open_ms = final[-1].close_ms
        elif end_ms < now_ms:
            item.next_open_ms = end_ms + 1  # a stretch that the venue does not have (any more)
        return end_ms < now_ms

    def _read_funding(self, item: StoredSeries) -> bool:
        rates = self._client.funding_history(
            item.symbol,
            item.next_open_ms,
            self._clock.now_ms(),
            request_class=RequestClass.RESEARCH,
            max_wait_s=0.0,
            timeout_s=TIMEOUT_S,
        )
        if rates:
            self._store_funding(rates)
            item.next_open_ms = rates[-1].hour_ms + timeframes.HOUR_MS
        return False
