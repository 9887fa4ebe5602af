"""Marks and oracle prices, gathered into one row a coin and minute."""

from __future__ import annotations

from dataclasses import dataclass

from perp_bot.core import timeframes
from perp_bot.core.types import AssetContext
from perp_bot.data.db.rows import AssetMinute


@dataclass(slots=True)
class _Minute:
    """One coin's minute under way."""

    minute_ms: int
    mark: list[float]  # open, high, low, close
    oracle: list[float]
    last: AssetContext
    samples: int = 1

    def add(self, context: AssetContext) -> None:
        for ohlc, px in ((self.mark, context.mark_px), (self.oracle, context.oracle_px)):
            ohlc[1] = max(ohlc[1], px)
            ohlc[2] = min(ohlc[2], px)
            ohlc[3] = px
        self.last = context
        self.samples += 1

    def row(self) -> AssetMinute:
        return AssetMinute(
            symbol=self.last.symbol,
            minute_ms=self.minute_ms,
            mark_ohlc=(self.mark[0], self.mark[1], self.mark[2], self.mark[3]),
            oracle_ohlc=(self.oracle[0], self.oracle[1], self.oracle[2], self.oracle[3]),
            open_interest=self.last.open_interest,
            premium=self.last.premium,
            funding_estimate=self.last.funding_hourly,
            samples=self.samples,
        )


class AssetMinutes:
    """Gather contexts; owned by the socket thread."""

    def __init__(self) -> None:
        self._open: dict[str, _Minute] = {}

    def add(self, context: AssetContext) -> AssetMinute | None:
        """Take a context and return the row of the minute that it ended, if it did.

        A context that is not newer than the last one changes nothing (the practice venue repeats a step's frames to
        a client that comes back).
        """
        minute_ms = context.venue_ms - context.venue_ms % timeframes.MINUTE_MS
        current = self._open.get(context.symbol)
        if current is not None and (context.venue_ms < current.last.venue_ms or context == current.last):
            return None
        if current is not None and minute_ms == current.minute_ms:
            current.add(context)
            return None
        mark, oracle = context.mark_px, context.oracle_px
        self._open[context.symbol] = _Minute(minute_ms, [mark] * 4, [oracle] * 4, context)
        return None if current is None else current.row()

    def drain(self) -> tuple[AssetMinute, ...]:
        """Return the rows of the minutes under way and forget them (at the end of a run)."""
        rows = tuple(minute.row() for minute in self._open.values())
        self._open.clear()
        return rows
