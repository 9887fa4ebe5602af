"""Fakes around the market side: a sink that records in order, a store in memory, waiting with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from perp_bot.core import timeframes
from perp_bot.core.events import BoundaryClosed, ClockFrame, MarketEvent
from perp_bot.core.types import AssetContext, Book, Candle, CandleSource, FundingRate, PublicTrade
from perp_bot.data.db.rows import AssetMinute, CandleRows, FundingRateRow, Row

HOUR = timeframes.HOUR_MS
MINUTE = timeframes.MINUTE_MS
T0 = 1_768_446_000_000  # 2026-01-15T03:00:00Z, a whole hour


def wait_for(condition: Callable[[], Any], timeout_s: float = 8.0) -> Any:
    """Return the condition's value as soon as it is true; fail after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        value = condition()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"not true within {timeout_s} s")


class RecordingSink:
    """Everything that reached the loop, in order."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.log: list[Any] = []

    def put_context(self, context: AssetContext) -> None:
        self._add(context)

    def put_book(self, book: Book) -> None:
        self._add(book)

    def put_trades(self, trades: tuple[PublicTrade, ...]) -> None:
        for trade in trades:
            self._add(trade)

    def put_event(self, event: MarketEvent) -> None:
        self._add(event)

    def seal(self, frame: ClockFrame) -> None:
        self._add(frame)

    def _add(self, item: Any) -> None:
        with self.lock:
            self.log.append(item)

    def of(self, kind: type) -> list[Any]:
        with self.lock:
            return [item for item in self.log if isinstance(item, kind)]

    @property
    def boundaries(self) -> list[BoundaryClosed]:
        return self.of(BoundaryClosed)


class MemoryStore:
    """Writer and reader in one: candles by key, REST replaces stream."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.rows: list[Row] = []
        self.by_key: dict[tuple[str, str, int], Candle] = {}
        self.rates: dict[tuple[str, int], FundingRate] = {}
        self.generated: set[bool] = set()

    def put(self, *rows: Row) -> None:
        with self.lock:
            self.rows.extend(rows)
            for row in rows:
                if isinstance(row, CandleRows):
                    self.generated.add(row.generated)
                    for candle in row.candles:
                        self._put_candle(candle)
                elif isinstance(row, FundingRateRow):
                    self.rates[(row.funding.symbol, row.funding.hour_ms)] = row.funding

    def _put_candle(self, candle: Candle) -> None:
        key = (candle.symbol, candle.timeframe, candle.open_ms)
        known = self.by_key.get(key)
        is_worse = candle.source is CandleSource.STREAM and known is not None and known.source is CandleSource.REST
        if not is_worse:
            self.by_key[key] = candle

    def minutes(self) -> list[AssetMinute]:
        with self.lock:
            return [row for row in self.rows if isinstance(row, AssetMinute)]

    def series(self, symbol: str, timeframe: str) -> list[Candle]:
        with self.lock:
            found = [row for (coin, name, _), row in self.by_key.items() if (coin, name) == (symbol, timeframe)]
        return sorted(found, key=lambda row: row.open_ms)

    def last_candles(self, symbol: str, timeframe: str, n: int, before_ms: int | None = None) -> list[Candle]:
        rows = [row for row in self.series(symbol, timeframe) if before_ms is None or row.open_ms < before_ms]
        return rows[-n:]

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int) -> list[Candle]:
        return [row for row in self.series(symbol, timeframe) if start_ms <= row.open_ms < end_ms]

    def candle_span(self, symbol: str, timeframe: str) -> tuple[int, int, int] | None:
        rows = self.series(symbol, timeframe)
        return (rows[0].open_ms, rows[-1].open_ms, len(rows)) if rows else None

    def funding_rates(self, symbol: str, start_ms: int, end_ms: int) -> list[FundingRate]:
        hours = sorted(hour for coin, hour in self.rates if coin == symbol and start_ms <= hour < end_ms)
        return [self.rates[(symbol, hour)] for hour in hours]

    def close(self) -> None:
        """Nothing to close."""


def candle(symbol: str, timeframe: str, open_ms: int, close: float = 100.0, source: str = "rest") -> Candle:
    """Return a plausible candle."""
    top, low = max(100.0, close) + 1, min(100.0, close) - 1
    return Candle(symbol, timeframe, open_ms, 100.0, top, low, close, 5.0, 3, CandleSource(source))


def wire_candle(symbol: str, timeframe: str, open_ms: int, close: float = 100.0) -> dict[str, Any]:
    """Return a candleSnapshot row."""
    row = candle(symbol, timeframe, open_ms, close)
    end_ms = timeframes.close_of(timeframe, open_ms) - 1
    text = {"o": str(row.open), "c": str(row.close), "h": str(row.high), "l": str(row.low), "v": "5.0"}
    return {"t": open_ms, "T": end_ms, "s": symbol, "i": timeframe, "n": 3} | text
