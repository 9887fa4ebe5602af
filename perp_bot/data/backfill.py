"""Fetch the past into the store, as far back as the venue has it; asks only for what is missing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from perp_bot.core import timeframes
from perp_bot.core.errors import PerpBotError, VenueAway, VenueError
from perp_bot.core.types import Candle, CandleSource
from perp_bot.data.client import FUNDING_PAGE, MAX_CANDLES, VenueClient
from perp_bot.data.db.rows import CandleRows, FundingRateRow
from perp_bot.data.limiter import RequestClass
from perp_bot.data.store_ports import CandleReader, RowWriter

FUNDING = "funding"
PATIENCE_S = 90.0  # the budget of a minute comes back within a minute
ATTEMPTS = 4
PAUSE_S = 1.0
SETTLED_MS = 5_000  # a candle that closed this long ago is final even if no later one is there
FUNDING_LANDS_MS = timeframes.MINUTE_MS
_BRIDGE = 60  # two holes this close together are one request: 60 candles cost one weight, a request 20

T = TypeVar("T")


class Progress(Protocol):
    """Who draws the bars."""

    def begin(self, name: str, steps: int) -> None:
        """A series begins; `steps` requests are planned for it."""

    def advance(self, name: str) -> None:
        """One request is done."""

    def end(self, name: str, text: str) -> None:
        """The series is done."""


class NoProgress:
    """Draws nothing."""

    def begin(self, name: str, steps: int) -> None:
        """Ignore."""

    def advance(self, name: str) -> None:
        """Ignore."""

    def end(self, name: str, text: str) -> None:
        """Ignore."""


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What was asked of one series, what was there, what came; counts of candles, or of hours of funding."""

    symbol: str
    timeframe: str  # or "funding"
    asked: int
    had: int
    fetched: int
    missing: int
    days_asked: float
    days_have: float
    error: str | None
    text: str  # e.g. "BTC 15m: 52.1 of 90 days, the venue has no more"


@dataclass(frozen=True, slots=True)
class _Work:
    """One series' plan: which rows exist already, and which pages to ask for."""

    symbol: str
    timeframe: str
    asked: tuple[int, ...]  # open times (or hours)
    had: frozenset[int]
    pages: tuple[tuple[int, int], ...]  # first and last open time of each request

    @property
    def name(self) -> str:
        return f"{self.symbol} {self.timeframe}"


def backfill(
    client: VenueClient,
    reader: CandleReader,
    writer: RowWriter,
    symbols: Sequence[str],
    timeframes_wanted: Sequence[str],
    days: float,
    now_ms: int,
    progress: Progress | None = None,
    *,
    generated: bool = False,
    stop: threading.Event | None = None,
) -> tuple[SeriesReport, ...]:
    """Complete the last `days` days of every series and of the funding rates; return a report for each.

    Rows are queued on `writer` (flush it afterwards); `generated` marks those of a practice venue. A series whose
    reads keep failing is reported with its error, and the next run resumes where this one ended.

    Raises:
        VenueAway: when no venue answers at all.
    """
    shown = progress or NoProgress()
    halt = stop or threading.Event()
    reports: list[SeriesReport] = []
    for symbol in symbols:
        for timeframe in timeframes_wanted:
            work = plan_candles(reader, symbol, timeframe, days, now_ms)
            fetch = partial(_candle_page, client, writer, work, now_ms=now_ms, generated=generated)
            reports.append(_run(work, days, shown, halt, fetch))
        work = plan_funding(reader, symbol, days, now_ms)
        fetch = partial(_funding_page, client, writer, work, now_ms=now_ms)
        reports.append(_run(work, days, shown, halt, fetch))
    return tuple(reports)


# ---------------------------------------------------------------- planning


def plan_candles(reader: CandleReader, symbol: str, timeframe: str, days: float, now_ms: int) -> _Work:
    """Plan one candle series: every closed candle of the last `days` days that the store lacks and the venue has."""
    end_ms = timeframes.open_of(timeframe, now_ms)
    asked = _opens(timeframe, end_ms - round(days * timeframes.DAY_MS), end_ms)
    stored = reader.candles(symbol, timeframe, asked[0], end_ms) if asked else []
    had = frozenset(row.open_ms for row in stored if row.source is not CandleSource.STREAM)
    # The newest 5,000 include the open candle; what is older does not exist at the venue any more.
    oldest = max(0, len(asked) - (MAX_CANDLES - 1))
    lacking = [index for index, open_ms in enumerate(asked) if index >= oldest and open_ms not in had]
    pages = _pages(lacking, MAX_CANDLES - 1, _BRIDGE)
    return _Work(symbol, timeframe, tuple(asked), had & set(asked), tuple((asked[a], asked[b]) for a, b in pages))


def plan_funding(reader: CandleReader, symbol: str, days: float, now_ms: int) -> _Work:
    """Plan the funding rates: every settled hour of the last `days` days that the store lacks."""
    end_ms = timeframes.open_of("1h", now_ms - FUNDING_LANDS_MS) + timeframes.HOUR_MS
    asked = _opens("1h", end_ms - round(days * timeframes.DAY_MS), end_ms)
    stored = reader.funding_rates(symbol, asked[0], end_ms) if asked else []
    had = frozenset(rate.hour_ms for rate in stored)
    lacking = [index for index, hour_ms in enumerate(asked) if hour_ms not in had]
    pages = _pages(lacking, FUNDING_PAGE, 20)
    return _Work(symbol, FUNDING, tuple(asked), had & set(asked), tuple((asked[a], asked[b]) for a, b in pages))


def _opens(timeframe: str, start_ms: int, end_ms: int) -> list[int]:
    """Return the open times in [start, end)."""
    at_ms = timeframes.open_of(timeframe, start_ms)
    if at_ms < start_ms:
        at_ms = timeframes.close_of(timeframe, at_ms)
    step_ms = timeframes.FIXED_MS.get(timeframe)
    if step_ms is not None:
        return list(range(at_ms, end_ms, step_ms))
    opens: list[int] = []
    while at_ms < end_ms:
        opens.append(at_ms)
        at_ms = timeframes.close_of(timeframe, at_ms)
    return opens


def _pages(lacking: list[int], most: int, bridge: int) -> list[tuple[int, int]]:
    """Join sorted indices into (first, last) runs of at most `most`, bridging holes of up to `bridge`."""
    runs: list[tuple[int, int]] = []
    for index in lacking:
        if runs and index - runs[-1][1] <= bridge and index - runs[-1][0] < most:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


# ---------------------------------------------------------------- fetching


def _candle_page(
    client: VenueClient, writer: RowWriter, work: _Work, page: tuple[int, int], *, now_ms: int, generated: bool
) -> set[int]:
    first_ms, last_ms = page
    # One candle more than is lacking: a later row proves that the last one is final.
    proof_ms = timeframes.close_of(work.timeframe, last_ms)
    rows = client.candles(work.symbol, work.timeframe, first_ms, proof_ms, RequestClass.RESEARCH, max_wait_s=PATIENCE_S)
    final = tuple(row for row in rows if _is_final(row, rows, now_ms))
    if final:
        writer.put(CandleRows(final, generated=generated))
    return {row.open_ms for row in final}


def _is_final(row: Candle, rows: tuple[Candle, ...], now_ms: int) -> bool:
    return row.close_ms <= now_ms and (row is not rows[-1] or row.close_ms + SETTLED_MS <= now_ms)


def _funding_page(
    client: VenueClient, writer: RowWriter, work: _Work, page: tuple[int, int], *, now_ms: int
) -> set[int]:
    first_ms, last_ms = page
    end_ms = min(now_ms, last_ms + timeframes.HOUR_MS - 1)
    rates = client.funding_history(
        work.symbol, first_ms, end_ms, request_class=RequestClass.RESEARCH, max_wait_s=PATIENCE_S
    )
    if rates:
        writer.put(*(FundingRateRow(rate) for rate in rates))
    return {rate.hour_ms for rate in rates}


def _run(
    work: _Work, days: float, progress: Progress, stop: threading.Event, fetch: Callable[[tuple[int, int]], set[int]]
) -> SeriesReport:
    progress.begin(work.name, len(work.pages))
    found: set[int] = set()
    error: str | None = None
    for page in reversed(work.pages):  # the newest first: what a resumed run needs soonest
        if stop.is_set():
            error = "interrupted"
            break
        try:
            found |= _persist(partial(fetch, page), stop)
        except VenueAway:
            raise
        except PerpBotError as problem:
            error = str(problem)
            break
        progress.advance(work.name)
    report = _report(work, days, found, error)
    progress.end(work.name, report.text)
    return report


def _persist(fetch: Callable[[], T], stop: threading.Event) -> T:
    """Try a read up to four times when the failure may pass."""
    for attempt in range(1, ATTEMPTS):
        try:
            return fetch()
        except VenueError as problem:
            if not problem.retryable or stop.wait(PAUSE_S * attempt):
                raise
    return fetch()


def _report(work: _Work, days: float, found: set[int], error: str | None) -> SeriesReport:
    asked = set(work.asked)
    fetched = len((found & asked) - work.had)
    missing = len(asked) - len(work.had) - fetched
    share = 1.0 if not asked else (len(asked) - missing) / len(asked)
    days_have = days * share
    if missing == 0:
        text = f"{work.name}: {_days(days)} of {_days(days)} days"
    elif error is not None:
        text = f"{work.name}: {_days(days_have)} of {_days(days)} days, stopped: {error}; run it again to resume"
    else:
        text = f"{work.name}: {_days(days_have)} of {_days(days)} days, the venue has no more"
    return SeriesReport(
        work.symbol, work.timeframe, len(asked), len(work.had), fetched, missing, days, days_have, error, text
    )


def _days(days: float) -> str:
    return f"{days:.1f}".removesuffix(".0")
