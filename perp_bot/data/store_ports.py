"""What the market side needs of the store; `data.db.writer.Writer` and `data.db.reader.Reader` fit."""

from __future__ import annotations

from typing import Protocol

from perp_bot.core.types import Candle, FundingRate
from perp_bot.data.db.rows import Row


class RowWriter(Protocol):
    """Takes rows, never blocks."""

    def put(self, *rows: Row) -> None:
        """Queue rows to be written."""


class CandleReader(Protocol):
    """Reads stored market data; used on the thread that made it."""

    def last_candles(self, symbol: str, timeframe: str, n: int, before_ms: int | None = None) -> list[Candle]:
        """Return the newest `n` candles, oldest first."""

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Return candles that open in the range, oldest first."""

    def candle_span(self, symbol: str, timeframe: str) -> tuple[int, int, int] | None:
        """Return first open, last open and count; None = no candle."""

    def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRate]:
        """Return stored rates of the range, oldest first."""

    def close(self) -> None:
        """Close the connection."""
