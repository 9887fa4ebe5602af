"""Settled funding rates that the trading loop waits for: asked again until the venue has them, never invented."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import VenueError
from perp_bot.core.events import FundingSettled, MarketSink
from perp_bot.core.types import FundingRate
from perp_bot.data.limiter import RequestClass

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.25
RETRY_MAX_S = 15.0
TIMEOUT_S = 5.0


class FundingSourceClient(Protocol):
    """The one REST read that this needs (`VenueClient.funding_history`)."""

    def funding_history(
        self,
        symbol: str,
        start_ms: int,
        end_ms: int,
        *,
        request_class: RequestClass = ...,
        max_wait_s: float = ...,
        timeout_s: float | None = ...,
    ) -> tuple[FundingRate, ...]:
        """Return the settled rates of [start_ms, end_ms]."""


@dataclass(slots=True)
class _Request:
    """One rate that is waited for."""

    next_try_s: float = 0.0
    pause_s: float = RETRY_FIRST_S
    absent_at_ms: int | None = None  # venue time at which it was not there yet


class FundingDesk:
    """Answer `request` with a FundingSettled event; a chore of the REST worker."""

    name = "funding rates"

    def __init__(
        self,
        *,
        client: FundingSourceClient,
        clock: VenueClock,
        sink: MarketSink,
        store: Callable[[tuple[FundingRate, ...]], None],
    ) -> None:
        self._client = client
        self._clock = clock
        self._sink = sink
        self._store = store
        self._lock = threading.Lock()
        self._waiting: dict[tuple[int, str], _Request] = {}

    def request(self, symbol: str, hour_ms: int) -> None:
        """Ask for the rate that settled at `hour_ms`; asking twice is asking once."""
        with self._lock:
            self._waiting.setdefault((hour_ms, symbol), _Request())

    def wait_s(self) -> float | None:
        """Return wall seconds until a rate is asked for."""
        now_s, now_ms = monotonic_s(), self._clock.now_ms()
        with self._lock:
            waits = [
                max(0.0, wait.next_try_s - now_s) for wait in self._waiting.values() if not self._is_idle(wait, now_ms)
            ]
        return min(waits, default=None)

    def is_pending(self) -> bool:
        """Return whether a rate is due; at `step` one that the venue does not have yet waits for the clock."""
        now_ms = self._clock.now_ms()
        with self._lock:
            return any(not self._is_idle(wait, now_ms) for wait in self._waiting.values())

    def _is_idle(self, wait: _Request, now_ms: int) -> bool:
        """At `step` nothing new can be there before the clock moves."""
        return self._clock.stepped and wait.absent_at_ms is not None and now_ms <= wait.absent_at_ms

    def run(self) -> None:
        """Ask for every rate that is due, the oldest hour first."""
        now_s, now_ms = monotonic_s(), self._clock.now_ms()
        with self._lock:
            due = sorted(
                key
                for key, wait in self._waiting.items()
                if wait.next_try_s <= now_s and not self._is_idle(wait, now_ms)
            )
        for hour_ms, symbol in due:
            try:
                found = self._ask(symbol, hour_ms)
            except VenueError as error:
                log.info("funding of %s at %s: %s", symbol, timeframes.iso(hour_ms), error)
                # At `step` a failed read is tried again with the next frame: no frame waits for a venue that is away.
                self._postpone((hour_ms, symbol), now_ms if self._clock.stepped else None)
                continue
            if found is None:
                self._postpone((hour_ms, symbol), now_ms)
                continue
            self._store((found,))
            self._sink.put_event(FundingSettled(found))
            with self._lock:
                del self._waiting[(hour_ms, symbol)]

    def _ask(self, symbol: str, hour_ms: int) -> FundingRate | None:
        rates = self._client.funding_history(
            symbol,
            hour_ms,
            hour_ms + timeframes.HOUR_MS - 1,
            request_class=RequestClass.RECONCILE,
            max_wait_s=1.0,
            timeout_s=TIMEOUT_S,
        )
        return next((rate for rate in rates if rate.hour_ms == hour_ms), None)

    def _postpone(self, key: tuple[int, str], absent_at_ms: int | None) -> None:
        with self._lock:
            wait = self._waiting[key]
            wait.absent_at_ms = absent_at_ms
            if absent_at_ms is not None and self._clock.stepped:
                return  # the next clock frame decides when to ask again
            wait.next_try_s = monotonic_s() + wait.pause_s
            wait.pause_s = min(RETRY_MAX_S, wait.pause_s * 2)
