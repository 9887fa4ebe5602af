"""After a reconnect: fill what the stream missed by REST, then report the stream as up, saying what was missed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import VenueError
from perp_bot.core.events import MarketSink, MissedMinutes, StreamStatus
from perp_bot.data.candles import CandleManager

log = logging.getLogger(__name__)

RETRY_S = 3.0

Missed = Callable[[int], tuple[MissedMinutes, ...]]


@dataclass(slots=True)
class _Gap:
    """One outage."""

    since_ms: int  # venue time of the loss
    outage_s: float  # wall
    subscriptions: int
    reconnects: int
    next_try_s: float = 0.0
    is_reported: bool = False


class GapFill:
    """A chore of the REST worker."""

    name = "gap fill"

    def __init__(self, candles: CandleManager, sink: MarketSink, missed: Missed) -> None:
        """`missed` reads the whole minutes since a venue time, one event a coin; VenueError when REST fails."""
        self._candles = candles
        self._missed = missed
        self._sink = sink
        self._lock = threading.Lock()
        self._gap: _Gap | None = None

    def request(
        self, since_ms: int, outage_s: float, subscriptions: int, reconnects: int, rest_problem: str | None
    ) -> None:
        """Ask for the gap since `since_ms` (venue time) to be filled; a newer request replaces an older one.

        While REST fails (`rest_problem`) the stream is reported as up at once: the filling may take long.
        """
        gap = _Gap(since_ms, outage_s, subscriptions, reconnects)
        if rest_problem is not None:
            self._report(gap, f"the gap is not filled yet: {rest_problem}")
        with self._lock:
            self._gap = gap

    def wait_s(self) -> float | None:
        """Return wall seconds until the next try."""
        with self._lock:
            return None if self._gap is None else max(0.0, self._gap.next_try_s - monotonic_s())

    def is_pending(self) -> bool:
        """Return whether a gap is open."""
        with self._lock:
            return self._gap is not None

    def run(self) -> None:
        """Fill the gap, and report once whether that worked."""
        with self._lock:
            gap = self._gap
        if gap is None:
            return
        filled, problem = self._candles.fill_gap(gap.since_ms)
        if problem is None:
            problem = self._tell_missed(gap)
        outcome = f"{filled} candles filled by REST" if problem is None else f"the gap is not filled yet: {problem}"
        if gap.is_reported:
            log.info("market stream: %s", outcome)
        else:
            self._report(gap, outcome)
        with self._lock:
            if problem is not None:
                gap.next_try_s = monotonic_s() + RETRY_S
            elif self._gap is gap:
                self._gap = None

    def _tell_missed(self, gap: _Gap) -> str | None:
        try:
            events = self._missed(gap.since_ms)
        except VenueError as error:
            return str(error)
        for event in events:
            self._sink.put_event(event)
        return None

    def _report(self, gap: _Gap, outcome: str) -> None:
        note = f"reconnected after {gap.outage_s:.1f} s, {gap.subscriptions} subscriptions, {outcome}"
        gap.is_reported = True
        log.info("market stream: %s", note)
        self._sink.put_event(StreamStatus(True, gap.reconnects, note))
