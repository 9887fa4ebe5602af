"""Closed candles at hand."""

from __future__ import annotations

from perp_bot.core.types import Candle
from perp_bot.trading.history import SeriesHistory

MINUTE = 60_000


def candle(index: int, close: float = 1.0) -> Candle:
    return Candle("BTC", "1m", index * MINUTE, close, close, close, close, 1.0)


def test_candles_append_in_order_and_repeat_harmlessly() -> None:
    """A row delivered twice is one row."""
    history = SeriesHistory("BTC", "1m", 10)
    assert history.extend([candle(0), candle(1)]) == 2
    assert history.extend([candle(1), candle(2)]) == 1
    assert [row.open_ms for row in history.until(10 * MINUTE)] == [0, MINUTE, 2 * MINUTE]


def test_a_corrected_row_replaces_the_old_one() -> None:
    """The final row wins over a provisional one of the same minute."""
    history = SeriesHistory("BTC", "1m", 10)
    history.extend([candle(0), candle(1, 5.0), candle(2)])
    history.extend([candle(1, 7.0)])
    assert [row.close for row in history.until(10 * MINUTE)] == [1.0, 7.0, 1.0]


def test_a_gap_starts_warm_up_again() -> None:
    """No indicator is ever computed across a hole."""
    history = SeriesHistory("BTC", "1m", 10)
    history.extend([candle(0), candle(1), candle(5)])
    assert len(history) == 1
    assert history.gaps == 1


def test_nothing_later_than_asked_is_given() -> None:
    """`until` and `columns` never show a candle that closes after the asked time."""
    history = SeriesHistory("BTC", "1m", 10)
    history.extend([candle(index, float(index)) for index in range(5)])
    assert history.columns(3 * MINUTE, 2) == ([1.0, 2.0], [1.0, 2.0], [1.0, 2.0])


def test_capacity_bounds_memory() -> None:
    """Only the newest candles stay."""
    history = SeriesHistory("BTC", "1m", 3)
    history.extend([candle(index) for index in range(100)])
    assert len(history) == 3
