"""Closed, confirmed candles at hand: one bounded series per coin and timeframe, oldest first, without gaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from perp_bot.core.types import Candle


class SeriesHistory:
    """The newest `capacity` closed candles of one series.

    A gap empties what came before it: an indicator over a hole would be a wrong number, so warm-up starts again
    (the market side fills gaps by REST before it reports a boundary: this is the last defence; `gaps` counts it).
    """

    def __init__(self, symbol: str, timeframe: str, capacity: int) -> None:
        self.symbol = symbol
        self.timeframe = timeframe
        self.gaps = 0
        self._candles: deque[Candle] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._candles)

    @property
    def last(self) -> Candle | None:
        """The newest closed candle."""
        return self._candles[-1] if self._candles else None

    def extend(self, candles: Iterable[Candle]) -> int:
        """Append candles in time order and return how many were new; a row known already replaces itself."""
        added = 0
        for candle in candles:
            last = self.last
            if last is None or candle.open_ms == last.close_ms:
                self._candles.append(candle)
                added += 1
            elif candle.open_ms > last.close_ms:
                self.gaps += 1
                self._candles.clear()
                self._candles.append(candle)
                added += 1
            else:
                self._correct(candle)
        return added

    def _correct(self, candle: Candle) -> None:
        """Replace the row of the same open time, when it is still at hand."""
        last = self._candles[-1]
        step = last.close_ms - last.open_ms
        back = (last.open_ms - candle.open_ms) // step
        if back < len(self._candles) and self._candles[-1 - back].open_ms == candle.open_ms:
            self._candles[-1 - back] = candle

    def until(self, close_ms: int) -> tuple[Candle, ...]:
        """Return the candles that closed at or before `close_ms`, oldest first."""
        later = 0
        for candle in reversed(self._candles):  # hardly ever more than the newest is later
            if candle.close_ms <= close_ms:
                break
            later += 1
        return tuple(islice(self._candles, len(self._candles) - later))

    def columns(self, close_ms: int, bars: int) -> tuple[list[float], list[float], list[float]]:
        """Return high, low, close of the newest `bars` candles closed by `close_ms`, oldest first."""
        rows = self.until(close_ms)[-bars:]
        return [row.high for row in rows], [row.low for row in rows], [row.close for row in rows]
