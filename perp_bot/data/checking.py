"""What is stored, and what is odd about it: gaps, impossible rows, dead stretches, outliers, funding holes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.counting import counted
from perp_bot.core.timeframes import DAY_MS, FIXED_MS, HOUR_MS, TIMEFRAMES, close_of, iso
from perp_bot.data.columns import CandleArrays, read_candles, read_funding, read_minutes
from perp_bot.data.db.connection import open_readonly, translate
from perp_bot.data.db.reader import Reader, SeriesSpan

QUIET_MS = DAY_MS  # without any volume for so long, a market was not one
JUMP = 0.3  # of a price: from one close to the next, or from a candle's body to its high or low


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """One stored candle series."""

    symbol: str
    timeframe: str
    candles: int
    first_ms: int
    last_ms: int
    gaps: int  # steps larger than the interval
    missing: int  # candles that those steps lack
    generated: int  # candles that a generator made
    sources: dict[str, int]  # candles by where they came from
    funding_hours: int  # stored rates within the span
    minutes: int  # recorded minutes of mark and oracle within the span


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity: what, where (epoch ms), in a sentence."""

    kind: str  # gap, off_grid, impossible, no_volume, jump, spike, funding_gap
    symbol: str
    timeframe: str  # empty for funding
    at_ms: int
    text: str


def stored_series(db_path: Path) -> list[SeriesReport]:
    """Return every candle series of a database, by symbol, the finest timeframe first.

    Raises:
        StoreError: no database there, or it cannot be read.
    """
    sources = _sources(db_path)
    return [_report(db_path, span, sources.get((span.symbol, span.timeframe), {})) for span in _spans(db_path)]


def findings(db_path: Path) -> Iterator[Finding]:
    """Yield what is odd, series by series, then the funding of each symbol.

    Raises:
        StoreError: no database there, or it cannot be read.
    """
    spans = _spans(db_path)
    for span in spans:
        found = read_candles(db_path, span.symbol, span.timeframe)
        for kind in (_gaps, _off_grid, _impossible, oddities):
            yield from kind(found)
    for symbol in sorted({span.symbol for span in spans}):
        mine = [span for span in spans if span.symbol == symbol]
        yield from _funding_gaps(db_path, symbol, min(span.first_ms for span in mine), max(map(_end_ms, mine)))


def oddities(found: CandleArrays) -> Iterator[Finding]:
    """Yield what is lawful and still no market: dead stretches, jumps, spikes."""
    for kind in (_quiet, _jumps, _spikes):
        yield from kind(found)


def _spans(db_path: Path) -> list[SeriesSpan]:
    with Reader(db_path) as reader:
        spans = reader.series()
    rank = {timeframe: place for place, timeframe in enumerate(TIMEFRAMES)}
    return sorted(spans, key=lambda span: (span.symbol, rank.get(span.timeframe, len(rank))))


def _end_ms(span: SeriesSpan) -> int:
    return close_of(span.timeframe, span.last_ms)


def _sources(db_path: Path) -> dict[tuple[str, str], dict[str, int]]:
    out: dict[tuple[str, str], dict[str, int]] = {}
    try:
        with closing(open_readonly(db_path)) as connection:
            for symbol, timeframe, source, count in connection.execute(
                "SELECT symbol,timeframe,source,count(*) FROM candles GROUP BY symbol,timeframe,source ORDER BY 4 DESC"
            ):
                out.setdefault((symbol, timeframe), {})[source] = count
    except sqlite3.Error as error:
        raise translate(error, db_path) from error
    return out


def _report(db_path: Path, span: SeriesSpan, sources: dict[str, int]) -> SeriesReport:
    found = read_candles(db_path, span.symbol, span.timeframe)
    _, lacking = _missing(found)
    end_ms = _end_ms(span)
    return SeriesReport(
        symbol=span.symbol,
        timeframe=span.timeframe,
        candles=len(found),
        first_ms=span.first_ms,
        last_ms=span.last_ms,
        gaps=len(lacking),
        missing=int(lacking.sum()),
        generated=found.generated_rows,
        sources=sources,
        # a candle pays the hours after its open, its close included
        funding_hours=len(read_funding(db_path, span.symbol, span.first_ms + 1, end_ms + 1)),
        minutes=len(read_minutes(db_path, span.symbol, span.first_ms, end_ms)),
    )


def _missing(found: CandleArrays) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Return the rows before each gap, and how many candles it lacks."""
    if found.timeframe in FIXED_MS:
        steps = np.diff(found.open_ms) // FIXED_MS[found.timeframe]
    else:
        steps = np.diff(found.open_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64))
    places = np.flatnonzero(steps > 1)
    return places, steps[places] - 1


def _gaps(found: CandleArrays) -> Iterator[Finding]:
    for place, count in zip(*(column.tolist() for column in _missing(found)), strict=True):
        begin, end = close_of(found.timeframe, int(found.open_ms[place])), int(found.open_ms[place + 1])
        text = f"{count} candle{'s' if count > 1 else ''} missing from {iso(begin)} to {iso(end)}"
        yield _finding("gap", found, begin, text)


def _off_grid(found: CandleArrays) -> Iterator[Finding]:
    if found.timeframe in FIXED_MS:
        off = found.open_ms % FIXED_MS[found.timeframe] != 0
    else:
        times = found.open_ms.astype("datetime64[ms]")
        off = times != times.astype("datetime64[M]")
    for at_ms in found.open_ms[off].tolist():
        yield _finding("off_grid", found, at_ms, f"{iso(at_ms)} is not the open of a {found.timeframe} candle")


def _impossible(found: CandleArrays) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        top, bottom = np.maximum(found.open, found.close), np.minimum(found.open, found.close)
        fine = (found.high >= top) & (found.low <= bottom) & (found.low > 0) & (found.high < np.inf)
        fine &= (found.volume >= 0) & (found.volume < np.inf)
    for place in np.flatnonzero(~fine).tolist():
        at_ms = int(found.open_ms[place])
        numbers = ", ".join(
            f"{name} {getattr(found, name)[place]:.10g}" for name in ("open", "high", "low", "close", "volume")
        )
        yield _finding("impossible", found, at_ms, f"an impossible candle at {iso(at_ms)}: {numbers}")


def _quiet(found: CandleArrays) -> Iterator[Finding]:
    is_quiet = found.volume == 0
    if not is_quiet.any():
        return
    edges = np.diff(np.concatenate(([0], is_quiet.astype(np.int8), [0])))
    for begin, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        first, until = int(found.open_ms[begin]), close_of(found.timeframe, int(found.open_ms[end - 1]))
        if until - first >= QUIET_MS:
            text = f"no volume from {iso(first)} to {iso(until)} ({counted(end - begin, 'candle')})"
            yield _finding("no_volume", found, first, text)


def _jumps(found: CandleArrays) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        change = found.close[1:] / found.close[:-1] - 1
    for place in np.flatnonzero(_is_far(change)).tolist():
        at_ms = int(found.open_ms[place + 1])
        yield _finding("jump", found, at_ms, f"the close of {iso(at_ms)} is {change[place]:+.1%} from the one before")


def _spikes(found: CandleArrays) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(found) and (found.high / found.low).max() < 1 + JUMP:
            return  # no candle is that long: a million of them need one look
        up = found.high / np.maximum(found.open, found.close) - 1
        down = found.low / np.minimum(found.open, found.close) - 1
    for name, away in (("high", up), ("low", down)):
        for place in np.flatnonzero(_is_far(away)).tolist():
            at_ms = int(found.open_ms[place])
            text = f"the {name} of {iso(at_ms)} is {away[place]:+.1%} from its open and close"
            yield _finding("spike", found, at_ms, text)


def _is_far(change: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where a price moved by JUMP or more up, or down by what it takes as much to make good."""
    with np.errstate(invalid="ignore"):
        return np.asarray((change >= JUMP) | (change <= 1 / (1 + JUMP) - 1))


def _funding_gaps(db_path: Path, symbol: str, first_ms: int, end_ms: int) -> Iterator[Finding]:
    """Look for the hours after `first_ms`, `end_ms` included; the very last may not be settled yet."""
    expected = np.arange(first_ms // HOUR_MS + 1, end_ms // HOUR_MS + 1) * HOUR_MS
    lacks = ~np.isin(expected, read_funding(db_path, symbol).hour_ms)
    if not len(expected):
        return
    if lacks.all():
        text = f"no funding rate is stored from {iso(first_ms)} to {iso(end_ms)}"
        yield Finding("funding_gap", symbol, "", int(expected[0]), text)
        return
    edges = np.diff(np.concatenate(([0], lacks.astype(np.int8), [0])))
    for begin, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        if begin == len(expected) - 1:
            continue
        first, last, count = int(expected[begin]), int(expected[end - 1]), end - begin
        text = f"{count} funding rate{'s' if count > 1 else ''} missing from {iso(first)} to {iso(last)}"
        yield Finding("funding_gap", symbol, "", first, text)


def _finding(kind: str, found: CandleArrays, at_ms: int, text: str) -> Finding:
    return Finding(kind, found.symbol, found.timeframe, at_ms, text)
