"""Candles are corrected by what is final, and the revision says when a series moved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import store_samples as sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perp_bot.core.types import Candle, CandleSource
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import CandleRows
from perp_bot.data.db.writer import Writer

REST, STREAM, IMPORT = CandleSource.REST, CandleSource.STREAM, CandleSource.IMPORT


def _stored(db: Path) -> tuple[float, CandleSource, int]:
    with Reader(db) as reader:
        (series,) = reader.series()
        (candle,) = reader.candles("BTC", "15m", 0, 2**60)
    return candle.close, candle.source, series.revision


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (STREAM, REST, (2.0, REST, 2)),
        (STREAM, IMPORT, (2.0, IMPORT, 2)),
        (STREAM, STREAM, (2.0, STREAM, 2)),
        (REST, REST, (2.0, REST, 2)),
        (IMPORT, REST, (2.0, REST, 2)),
        (REST, STREAM, (1.0, REST, 1)),
        (IMPORT, STREAM, (1.0, IMPORT, 1)),
    ],
)
def test_a_final_row_replaces_and_a_stream_row_never_replaces_a_final_one(
    writer: Writer, db: Path, first: CandleSource, second: CandleSource, expected: tuple[float, CandleSource, int]
) -> None:
    """REST and import rows are final; a stream row is provisional. The revision moves only with the row."""
    writer.put(CandleRows((sample.candle(close=1.0, source=first),)))
    writer.put(CandleRows((sample.candle(close=2.0, source=second),)))
    writer.flush(5)
    assert _stored(db) == expected


def test_the_same_row_again_does_not_move_the_revision(writer: Writer, db: Path) -> None:
    """A snapshot made from the series stays valid while nothing changed, with and without a trade count."""
    for candle in (sample.candle(), sample.candle(), replace(sample.candle(), trades=None)):
        writer.put(CandleRows((candle,)))
    writer.put(CandleRows((replace(sample.candle(), trades=None),)))
    writer.flush(5)
    assert _stored(db) == (100.5, REST, 2)


def test_each_series_has_its_own_revision(writer: Writer, db: Path) -> None:
    """One batch that touches one of two series moves only that one."""
    eth = replace(sample.candle(), symbol="ETH")
    writer.put(CandleRows((sample.candle(), eth)))
    writer.put(CandleRows((sample.candle(), replace(eth, close=99.5))))
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.series() == [
            ("BTC", "15m", 1, 1, sample.T0, sample.T0),
            ("ETH", "15m", 2, 1, sample.T0, sample.T0),
        ]


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(CandleSource), st.integers(1, 3)), max_size=12))
def test_any_order_of_arrival_ends_at_the_newest_final_row(
    writer: Writer, db: Path, rows: list[tuple[int, CandleSource, int]]
) -> None:
    """Against a dictionary that follows the rule in four lines, and the revision counts the changes."""
    with Reader(db) as reader:
        before = {span.symbol: span.revision for span in reader.series()}
        symbol = f"C{len(before)}"  # a series of its own for each example
        expected: dict[int, Candle] = {}
        changes = 0
        for slot, source, close in rows:
            candle = replace(sample.candle(slot * 900_000, float(close), source), symbol=symbol)
            old = expected.get(slot)
            if old != candle and (old is None or source is not STREAM or old.source is STREAM):
                expected[slot] = candle
                changes += 1
            writer.put(CandleRows((candle,)))
        writer.flush(5)
        assert reader.candles(symbol, "15m", 0, 2**60) == [expected[slot] for slot in sorted(expected)]
        revisions = {span.symbol: span.revision for span in reader.series()}
        assert revisions.get(symbol, 0) == changes
