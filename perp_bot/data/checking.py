"""What is stored, and what is odd about it: gaps, impossible rows, dead stretches, jumps, funding holes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.timeframes import DAY_MS, FIXED_MS, HOUR_MS, iso
from perp_bot.data.columns import CandleArrays, read_candles, read_funding, read_minutes
from perp_bot.data.db.reader import Reader

QUIET_MS = DAY_MS  # without any volume for this long, a market was not one
JUMP = 0.3  # of a price from one close to the next
_SHOWN = 20  # findings of one kind and series


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
    generated: int
    funding_hours: int  # stored rates within the span
    minutes: int  # recorded minutes of mark and oracle within the span


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity: what, where (epoch ms), in a sentence."""

    kind: str  # gap, impossible, no_volume, jump, funding_gap
    symbol: str
    timeframe: str
    at_ms: int
    text: str


def stored_series(db_path: Path) -> list[SeriesReport]:
    """Return every candle series of a database."""
    with Reader(db_path) as reader:
        spans = reader.series()
    out = []
    for span in spans:
        found = read_candles(db_path, span.symbol, span.timeframe)
        steps, length = np.diff(found.open_ms), FIXED_MS.get(span.timeframe)
        wide = steps[steps > length] if length is not None else steps[:0]
        end_ms = span.last_ms + (length or DAY_MS)
        out.append(
            SeriesReport(
                span.symbol,
                span.timeframe,
                len(found),
                span.first_ms,
                span.last_ms,
                len(wide),
                int((wide // (length or 1) - 1).sum()),
                int(np.count_nonzero(found.generated)),
                len(read_funding(db_path, span.symbol, span.first_ms, end_ms).hour_ms),
                len(read_minutes(db_path, span.symbol, span.first_ms, end_ms).minute_ms),
            )
        )
    return out


def findings(db_path: Path) -> Iterator[Finding]:
    """Yield what is odd, series by series; at most twenty of a kind and one that counts the rest."""
    funded: set[str] = set()
    with Reader(db_path) as reader:
        spans = reader.series()
    for span in spans:
        found = read_candles(db_path, span.symbol, span.timeframe)
        for kind in (_gaps, _impossible, _quiet, _jumps):
            yield from _first(kind(found))
        if span.symbol not in funded:
            funded.add(span.symbol)
            yield from _first(_funding_gaps(db_path, span.symbol))


def _first(all_of_a_kind: Iterator[Finding]) -> Iterator[Finding]:
    count = 0
    last = None
    for item in all_of_a_kind:
        count += 1
        last = item
        if count <= _SHOWN:
            yield item
    if last is not None and count > _SHOWN:
        text = f"and {count - _SHOWN} more like it, the last at {iso(last.at_ms)}"
        yield Finding(last.kind, last.symbol, last.timeframe, last.at_ms, text)


def _gaps(found: CandleArrays) -> Iterator[Finding]:
    length = FIXED_MS.get(found.timeframe)
    if length is None:
        return
    for place in np.flatnonzero(np.diff(found.open_ms) > length).tolist():
        begin, end = int(found.open_ms[place]) + length, int(found.open_ms[place + 1])
        count = (end - begin) // length
        text = f"{count} candle{'s' if count > 1 else ''} missing from {iso(begin)} to {iso(end)}"
        yield Finding("gap", found.symbol, found.timeframe, begin, text)


def _impossible(found: CandleArrays) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        top, bottom = np.maximum(found.open, found.close), np.minimum(found.open, found.close)
        fine = (found.high >= top) & (found.low <= bottom) & (found.low > 0) & np.isfinite(found.high)
    for place in np.flatnonzero(~fine).tolist():
        prices = " ".join(f"{getattr(found, name)[place]:g}" for name in ("open", "high", "low", "close"))
        text = f"impossible prices at {iso(int(found.open_ms[place]))}: open high low close {prices}"
        yield Finding("impossible", found.symbol, found.timeframe, int(found.open_ms[place]), text)


def _quiet(found: CandleArrays) -> Iterator[Finding]:
    edges = np.diff(np.concatenate(([0], (found.volume == 0).astype(np.int8), [0])))
    for begin, end in zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True):
        first, last = int(found.open_ms[begin]), int(found.open_ms[end - 1])
        if last - first >= QUIET_MS:
            text = f"no volume from {iso(first)} to {iso(last)} ({end - begin} candles)"
            yield Finding("no_volume", found.symbol, found.timeframe, first, text)


def _jumps(found: CandleArrays) -> Iterator[Finding]:
    with np.errstate(divide="ignore", invalid="ignore"):
        change = found.close[1:] / found.close[:-1] - 1
    for place in np.flatnonzero(np.abs(change) > JUMP).tolist():
        at_ms = int(found.open_ms[place + 1])
        text = f"the close of {iso(at_ms)} is {change[place]:+.1%} from the one before"
        yield Finding("jump", found.symbol, found.timeframe, at_ms, text)


def _funding_gaps(db_path: Path, symbol: str) -> Iterator[Finding]:
    hours: NDArray[np.int64] = read_funding(db_path, symbol).hour_ms
    for place in np.flatnonzero(np.diff(hours) > HOUR_MS).tolist():
        begin, end = int(hours[place]) + HOUR_MS, int(hours[place + 1])
        text = f"{(end - begin) // HOUR_MS} funding rates missing from {iso(begin)} to {iso(end)}"
        yield Finding("funding_gap", symbol, "", begin, text)
