"""CandleManager: closed candles, confirmed by REST, one event a boundary.

A boundary is due when the stream rolls over to a later candle, or when the venue's clock has passed the end plus a
grace. Then the last two rows are read by REST (more, when more were missed); the REST row is final once the answer
also holds a later row, or nothing later came for half of the time we are willing to wait. What is not confirmed in
`confirm_timeout_s` of wall time is reported as PROVISIONAL (the stream's row) or MISSING, and corrected in the store
later. The open candle never enters the store.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from perp_bot.core import timeframes
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import VenueError
from perp_bot.core.events import BoundaryClosed, CloseStatus, MarketSink, SeriesClose
from perp_bot.core.types import Candle
from perp_bot.data.limiter import RequestClass

log = logging.getLogger(__name__)

GRACE_S = 1.0
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 1.0
LATE_FIRST_S = 2.0
LATE_MAX_S = 30.0
STREAM_ROW_MAX_AGE_S = 15.0  # the stream's row is a close only if it was still arriving about then
ATTEMPT_TIMEOUT_S = 3.0


class CandleSourceClient(Protocol):
    """The one REST read that this needs (`VenueClient.candles`)."""

    def candles(
        self,
        symbol: str,
        timeframe: str,
        start_ms: int,
        end_ms: int,
        request_class: RequestClass = ...,
        *,
        max_wait_s: float = ...,
        timeout_s: float | None = ...,
    ) -> tuple[Candle, ...]:
        """Return candles that open in [start_ms, end_ms]."""


@dataclass(slots=True)
class _Series:
    """What is known of one deciding series."""

    symbol: str
    timeframe: str
    final_close_ms: int | None = None  # the loop has final rows up to here
    stored_close_ms: int | None = None  # the store has final rows up to here
    stream_rows: dict[int, tuple[Candle, float]] = field(default_factory=dict)  # open ms -> newest row, when

    def keep(self, candle: Candle, now_s: float) -> None:
        self.stream_rows[candle.open_ms] = (candle, now_s)
        while len(self.stream_rows) > 3:
            del self.stream_rows[min(self.stream_rows)]


@dataclass(slots=True)
class _Group:
    """All deciding series of one timeframe: they close together."""

    timeframe: str
    series: tuple[_Series, ...]
    next_close_ms: int = 0  # the first boundary that is not reported yet
    ended_ms: int = 0  # the newest boundary known to have ended
    noticed_s: dict[int, float] = field(default_factory=dict)  # boundary -> when we noticed its end

    @property
    def is_due(self) -> bool:
        return 0 < self.next_close_ms <= self.ended_ms

    def notice(self, close_ms: int) -> bool:
        """Take note that the boundary `close_ms` has ended; return whether that is news."""
        if self.next_close_ms == 0 or close_ms < self.next_close_ms or close_ms <= self.ended_ms:
            return False
        self.ended_ms = close_ms
        self.noticed_s[close_ms] = monotonic_s()
        return True


@dataclass(slots=True)
class _Attempt:
    """The state of one boundary's confirmation."""

    close_ms: int
    confirmed: dict[str, tuple[Candle, ...]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


class CandleManager:
    """Confirm closes of the deciding series and report each boundary once; a chore of the REST worker."""

    name = "candle confirmation"

    def __init__(
        self,
        deciding: tuple[tuple[str, str], ...],
        *,
        client: CandleSourceClient,
        clock: VenueClock,
        sink: MarketSink,
        store: Callable[[tuple[Candle, ...]], None],
        confirm_timeout_s: float,
        is_listed: Callable[[str], bool] = lambda symbol: True,
    ) -> None:
        """`is_listed` tells whether the venue still trades a coin; nobody waits for the close of one it does not."""
        self._client = client
        self._is_listed = is_listed
        self._clock = clock
        self._sink = sink
        self._store = store
        self._confirm_timeout_s = confirm_timeout_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._groups = {
            timeframe: _Group(timeframe, tuple(_Series(coin, name) for coin, name in deciding if name == timeframe))
            for timeframe in dict.fromkeys(name for _, name in deciding)
        }
        self._series = {(s.symbol, s.timeframe): s for group in self._groups.values() for s in group.series}
        self._late_at_s: float | None = None
        self._late_wait_s = LATE_FIRST_S

    # ------------------------------------------------------------ before the start

    def prime(self, symbol: str, timeframe: str, close_ms: int) -> None:
        """Say that the loop and the store have final rows of a series up to `close_ms`."""
        series = self._series.get((symbol, timeframe))
        if series is not None:
            with self._lock:
                series.final_close_ms = series.stored_close_ms = close_ms

    def begin(self) -> None:
        """Take up the newest closed boundary of each timeframe: it is reported first, confirmed like any other.

        At `step` it is reported with the clock frame that the venue sends again, after that step's marks.
        """
        now_ms = self._clock.now_ms()
        with self._lock:
            for group in self._groups.values():
                group.next_close_ms = timeframes.open_of(group.timeframe, now_ms)
                if not self._clock.stepped:
                    group.notice(group.next_close_ms)

    def stop(self) -> None:
        """Give up waiting for confirmations."""
        self._stop.set()

    # ------------------------------------------------------------ input (socket thread)

    def on_stream(self, candle: Candle) -> bool:
        """Take a row of the stream; return whether a boundary became due."""
        series = self._series.get((candle.symbol, candle.timeframe))
        if series is None:
            return False
        with self._lock:
            series.keep(candle, monotonic_s())
            if self._clock.stepped:
                return False  # the clock frame alone ends a candle there
            return self._groups[candle.timeframe].notice(candle.open_ms)

    def on_clock(self, venue_ms: int) -> bool:
        """Take a clock frame of the stepped practice venue; return whether a boundary became due."""
        with self._lock:
            news = [group.notice(timeframes.open_of(group.timeframe, venue_ms)) for group in self._groups.values()]
        return any(news)

    # ------------------------------------------------------------ chore (REST worker)

    def wait_s(self) -> float | None:
        """Return wall seconds until a boundary is due; 0 = one is."""
        self._notice_by_clock()
        with self._lock:
            if any(group.is_due for group in self._groups.values()):
                return 0.0
            if self._clock.stepped:
                return None
            waits = [self._wall_until(group) for group in self._groups.values() if group.next_close_ms]
        return min(waits, default=None)

    def is_pending(self) -> bool:
        """Return whether a boundary is due and not reported yet."""
        self._notice_by_clock()
        with self._lock:
            return any(group.is_due for group in self._groups.values())

    def run(self) -> None:
        """Confirm and report the oldest boundary that is due."""
        with self._lock:
            due = [group for group in self._groups.values() if group.is_due]
            if not due:
                return
            group = min(due, key=lambda candidate: candidate.next_close_ms)
            close_ms = self._boundary_of(group)
            since_s = group.noticed_s.get(close_ms, group.noticed_s.get(group.ended_ms, monotonic_s()))
        attempt = self._confirm(group, close_ms, since_s)
        if self._stop.is_set():
            return
        self._report(group, attempt)

    def _wall_until(self, group: _Group) -> float:
        end_s = self._clock.wall_seconds_until(group.next_close_ms) or 0.0
        return end_s + self._grace_s(group)

    def _grace_s(self, group: _Group) -> float:
        """Return the wall seconds after an end at which silence of the stream no longer holds us up."""
        speed = self._clock.speed or 1.0
        candle_s = (timeframes.close_of(group.timeframe, 0)) / 1000.0 / speed
        return min(GRACE_S, candle_s / 10)

    def _notice_by_clock(self) -> None:
        if self._clock.stepped:
            return
        speed = self._clock.speed or 1.0
        with self._lock:
            for group in self._groups.values():
                graced_ms = self._clock.now_ms() - int(self._grace_s(group) * speed * 1000)
                group.notice(timeframes.open_of(group.timeframe, graced_ms))

    def _boundary_of(self, group: _Group) -> int:
        """Return the boundary to report next.

        After an outage of more than a candle the newest one is taken and brings the missed candles along; a small
        lag at high speed is worked off boundary by boundary.
        """
        first_ms, newest_ms = group.next_close_ms, group.ended_ms
        following_ms = timeframes.close_of(group.timeframe, first_ms)
        if newest_ms < following_ms:
            return first_ms
        if self._clock.stepped:
            return newest_ms
        lag_s = (self._clock.now_ms() - following_ms) / 1000.0 / (self._clock.speed or 1.0)
        return newest_ms if lag_s > self._confirm_timeout_s else first_ms

    # ------------------------------------------------------------ confirmation

    def _confirm(self, group: _Group, close_ms: int, since_s: float) -> _Attempt:
        attempt = _Attempt(close_ms)
        pause_s = RETRY_FIRST_S
        # At least one attempt, however late we are.
        deadline_s = max(since_s + self._confirm_timeout_s, monotonic_s() + RETRY_FIRST_S)
        patient_until_s = since_s + self._confirm_timeout_s / 2
        while True:
            for series in group.series:
                if series.symbol not in attempt.confirmed and not self._stop.is_set():
                    self._try_confirm(series, attempt, deadline_s, monotonic_s() >= patient_until_s)
            left_s = deadline_s - monotonic_s()
            waiting = [s for s in group.series if s.symbol not in attempt.confirmed and self._is_listed(s.symbol)]
            if not waiting or left_s <= 0 or self._stop.is_set():
                return attempt
            self._stop.wait(min(pause_s, left_s))
            pause_s = min(pause_s * 1.6, RETRY_MAX_S)

    def _try_confirm(self, series: _Series, attempt: _Attempt, deadline_s: float, is_patience_over: bool) -> None:
        close_ms = attempt.close_ms
        open_ms = timeframes.open_of(series.timeframe, close_ms - 1)
        known_ms = open_ms if series.final_close_ms is None else series.final_close_ms
        start_ms = min(known_ms, timeframes.open_of(series.timeframe, open_ms - 1))
        left_s = max(0.2, deadline_s - monotonic_s())
        try:
            rows = self._read(series, start_ms, close_ms, min(left_s, ATTEMPT_TIMEOUT_S), RequestClass.MARKET)
        except VenueError as error:
            attempt.notes[series.symbol] = str(error)
            return
        wanted = tuple(row for row in rows if min(known_ms, open_ms) <= row.open_ms < close_ms)
        if not wanted or wanted[-1].open_ms != open_ms:
            attempt.notes[series.symbol] = "the venue has no row of this candle"
            return
        if not self._is_final(rows, close_ms, is_patience_over):
            attempt.notes[series.symbol] = "the venue's row is not final yet"
            return
        attempt.confirmed[series.symbol] = wanted

    def _is_final(self, rows: tuple[Candle, ...], close_ms: int, is_patience_over: bool) -> bool:
        """Return whether the row that ends at `close_ms` cannot change any more.

        A later row proves it. In a silent market none comes; then the clock has to do, after a while, so that an
        answer made just before the end is not taken for the close.
        """
        if rows[-1].open_ms >= close_ms:
            return True
        has_ended = self._clock.now_ms() >= close_ms
        return has_ended and (self._clock.stepped or is_patience_over)

    def _read(
        self, series: _Series, start_ms: int, close_ms: int, timeout_s: float, request_class: RequestClass
    ) -> tuple[Candle, ...]:
        # Up to the end of the candle after the boundary: that row is the proof of the close.
        end_ms = timeframes.close_of(series.timeframe, close_ms) - 1
        return self._client.candles(
            series.symbol,
            series.timeframe,
            start_ms,
            end_ms,
            request_class,
            max_wait_s=min(1.0, timeout_s),
            timeout_s=timeout_s,
        )

    def _report(self, group: _Group, attempt: _Attempt) -> None:
        close_ms = attempt.close_ms
        closes = tuple(self._series_close(series, attempt) for series in group.series)
        listed = [close for close in closes if self._is_listed(close.symbol)]
        unconfirmed = [close.symbol for close in listed if close.status is not CloseStatus.CONFIRMED]
        if unconfirmed:
            log.warning(
                "%s close %s not confirmed: %s", group.timeframe, timeframes.iso(close_ms), ", ".join(unconfirmed)
            )
            self._late_at_s = self._late_at_s or monotonic_s() + LATE_FIRST_S
        self._sink.put_event(BoundaryClosed(group.timeframe, close_ms, closes))
        with self._lock:
            group.next_close_ms = timeframes.close_of(group.timeframe, close_ms)
            group.noticed_s = {end: when for end, when in group.noticed_s.items() if end > close_ms}

    def _series_close(self, series: _Series, attempt: _Attempt) -> SeriesClose:
        close_ms = attempt.close_ms
        rows = attempt.confirmed.get(series.symbol)
        if rows is not None:
            self._store(rows)
            with self._lock:
                series.final_close_ms = series.stored_close_ms = close_ms
            return SeriesClose(series.symbol, CloseStatus.CONFIRMED, rows)
        note = attempt.notes.get(series.symbol, "no answer in time")
        open_ms = timeframes.open_of(series.timeframe, close_ms - 1)
        with self._lock:
            found = series.stream_rows.get(open_ms)
        if found is None:
            return SeriesClose(series.symbol, CloseStatus.MISSING, (), note)
        row, received_s = found
        ended_ago_s = (self._clock.now_ms() - close_ms) / 1000.0 / (self._clock.speed or 1.0)
        before_end_s = monotonic_s() - received_s - max(0.0, ended_ago_s)
        if before_end_s > STREAM_ROW_MAX_AGE_S:
            stale = f"{note}; the stream's row is {before_end_s:.0f} s older than the close"
            return SeriesClose(series.symbol, CloseStatus.MISSING, (), stale)
        self._store((row,))
        return SeriesClose(series.symbol, CloseStatus.PROVISIONAL, (row,), note)

    # ------------------------------------------------------------ late rows and gaps

    def late_wait_s(self) -> float | None:
        """Return wall seconds until unconfirmed closes are read again; None = there are none."""
        return None if self._late_at_s is None else max(0.0, self._late_at_s - monotonic_s())

    def read_late(self) -> None:
        """Read what was not confirmed in time and correct the store; the loop gets it with the next close."""
        failed = False
        for series in self._behind():
            try:
                self._catch_up(series, self._groups[series.timeframe].next_close_ms)
            except VenueError as error:
                log.info("late candles of %s %s: %s", series.symbol, series.timeframe, error)
                failed = True
                break
        if failed or self._behind():
            self._late_wait_s = min(LATE_MAX_S, self._late_wait_s * 2)
            self._late_at_s = monotonic_s() + self._late_wait_s
        else:
            self._late_at_s, self._late_wait_s = None, LATE_FIRST_S

    def _behind(self) -> list[_Series]:
        with self._lock:
            return [
                series
                for group in self._groups.values()
                for series in group.series
                if self._is_listed(series.symbol)
                and (series.stored_close_ms or 0) < timeframes.open_of(group.timeframe, group.next_close_ms - 1)
                and group.next_close_ms > 0
            ]

    def fill_gap(self, since_ms: int) -> tuple[int, str | None]:
        """Read what closed since `since_ms` of every deciding series into the store.

        Returns:
            How many candles closed in that time and are stored now, and the error that ended the reading, if any.
        """
        filled = 0
        now_ms = self._clock.now_ms()
        for series in self._series.values():
            end_ms = timeframes.open_of(series.timeframe, now_ms)
            if end_ms <= since_ms:
                continue
            try:
                rows = self._catch_up(series, end_ms, since_ms)
            except VenueError as error:
                return filled, str(error)
            filled += sum(1 for row in rows if row.close_ms > since_ms)
        return filled, None

    def _catch_up(self, series: _Series, until_ms: int, since_ms: int | None = None) -> tuple[Candle, ...]:
        """Read and store final rows that close in (stored, `until_ms`]; return them."""
        before_ms = timeframes.open_of(series.timeframe, until_ms - 1)
        known_ms = before_ms if series.stored_close_ms is None else series.stored_close_ms
        start_ms = min(known_ms, timeframes.open_of(series.timeframe, since_ms or before_ms))
        rows = self._read(series, start_ms, until_ms, ATTEMPT_TIMEOUT_S, RequestClass.RECONCILE)
        closed = tuple(row for row in rows if row.close_ms <= until_ms)
        if closed and not self._is_final(rows, closed[-1].close_ms, is_patience_over=False):
            closed = closed[:-1]  # the close itself is the boundary's own confirmation to make
        if closed:
            self._store(closed)
            with self._lock:
                series.stored_close_ms = max(known_ms, closed[-1].close_ms)
        return closed


class LateCandles:
    """Correct the store with rows that came too late for their boundary; a chore of the REST worker."""

    name = "late candles"

    def __init__(self, manager: CandleManager) -> None:
        self._manager = manager

    def wait_s(self) -> float | None:
        """Return wall seconds until the next try."""
        return self._manager.late_wait_s()

    def run(self) -> None:
        """Read again."""
        self._manager.read_late()

    def is_pending(self) -> bool:
        """Never: nobody waits for a correction."""
        return False
