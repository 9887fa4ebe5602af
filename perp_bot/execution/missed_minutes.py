"""Minutes that nobody watched, as market input for the stop of a position."""

from __future__ import annotations

from collections.abc import Iterable

from perp_bot.core.types import AssetContext, Book, BookLevel, Candle, Position


def stop_inputs(position: Position, minutes: Iterable[Candle]) -> tuple[Book, AssetContext] | None:
    """Return market input that fires the stop where a minute of the downtime went through it; None when none did.

    The venue keeps no marks, so the minute's extremes stand in for them. The fill is at the stop, or at the minute's
    open where it gapped through.
    """
    if position.stop_px is None:
        return None
    sign = position.side.sign
    for candle in minutes:
        worst = candle.low if sign > 0 else candle.high
        if candle.open_ms <= position.opened_ms or (worst - position.stop_px) * sign > 0:
            continue
        gapped = (candle.open - position.stop_px) * sign <= 0
        px = candle.open if gapped else position.stop_px
        at_ms = candle.close_ms - 1
        level = (BookLevel(px, float(position.size) * 10.0),)
        book = Book(position.symbol, at_ms, level, level)
        return book, AssetContext(position.symbol, at_ms, worst, worst, None, None, None, None)
    return None
