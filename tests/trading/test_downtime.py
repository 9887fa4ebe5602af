"""What the downtime did to an open position, from one-minute candles."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.core.types import Candle, Position, Side
from perp_bot.execution.missed_minutes import stop_inputs
from perp_bot.trading.downtime import due_from_candles, missed_hours, unwatched

START = 1_768_446_000_000  # a whole hour


def minute(index: int, low: float, high: float, open_px: float = 100.0) -> Candle:
    return Candle("BTC", "1m", START + index * MINUTE_MS, open_px, high, low, open_px, 1.0)


def position(side: Side, stop_px: float) -> Position:
    return Position("BTC", side, Decimal("2"), Decimal(100), START - 1, "s", "paper", stop_px, None, "d")


def test_a_minute_through_the_stop_fires_at_the_stop() -> None:
    """Long stopped at 98: a minute with low 97.5 that opened at 100 fills at 98 and marks 97.5."""
    fired = stop_inputs(position(Side.LONG, 98.0), [minute(0, 99.0, 101.0), minute(1, 97.5, 100.5)])
    assert fired is not None
    book, context = fired
    assert book.bids[0].px == 98.0
    assert context.mark_px == 97.5
    assert context.venue_ms == START + 2 * MINUTE_MS - 1


def test_a_gap_through_the_stop_fires_at_the_open() -> None:
    """Short stopped at 102: a minute that opens at 103 fills at 103, never at the stop's better price."""
    fired = stop_inputs(position(Side.SHORT, 102.0), [minute(0, 102.5, 104.0, open_px=103.0)])
    assert fired is not None
    assert fired[0].asks[0].px == 103.0


def test_nothing_fires_before_the_position_was_opened_or_inside_the_stop() -> None:
    """A minute that began before the opening, and one that only comes near, change nothing."""
    held = position(Side.LONG, 98.0)
    late = Position("BTC", Side.LONG, Decimal(1), Decimal(100), START + 30_000, "s", "paper", 98.0, None, "d")
    assert stop_inputs(held, [minute(0, 98.01, 101.0)]) is None
    assert stop_inputs(late, [minute(0, 90.0, 101.0)]) is None


def test_every_whole_hour_of_the_downtime_is_due_once_and_a_missing_price_is_said() -> None:
    """Down from 00:10 to 02:30: the hours 01:00 and 02:00; without a candle at 02:00 that hour is named as missing."""
    held = position(Side.LONG, 90.0)
    hours = missed_hours(held, START + 10 * MINUTE_MS, START + 2 * HOUR_MS + 30 * MINUTE_MS)
    assert hours == (START + HOUR_MS, START + 2 * HOUR_MS)
    priced, missing = due_from_candles(held, hours, [minute(60, 99.0, 101.0, open_px=100.5)])
    assert [(due.hour_ms, due.oracle_px, due.signed_size) for due in priced] == [
        (START + HOUR_MS, Decimal("100.5"), Decimal("2"))
    ]
    assert missing == [START + 2 * HOUR_MS]


def test_the_replayed_minute_of_a_stepped_venue_is_not_downtime() -> None:
    """A venue that sends its newest minute again leaves nothing to make up for when only that minute was missed."""
    assert unwatched(START, START + MINUTE_MS, START) is None
    assert unwatched(START, START + 3 * MINUTE_MS, START + 2 * MINUTE_MS) == (START, START + 2 * MINUTE_MS)
    assert unwatched(0, START, None) is None
