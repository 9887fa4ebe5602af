"""The touch and the mark of every coin over recorded time: what slippage and open gains are measured on."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import NamedTuple

from perp_bot.core.types import AssetContext, Book, OrderSide


class Touch(NamedTuple):
    """Best prices of a book."""

    bid: float
    ask: float

    def against(self, side: OrderSide) -> float:
        """Return the price that an order of `side` takes first."""
        return self.ask if side is OrderSide.BUY else self.bid


@dataclass(slots=True)
class _Line:
    """Values of one coin, each with its time, times rising."""

    at_ms: list[int] = field(default_factory=list)
    values: list[Touch] = field(default_factory=list)


@dataclass(slots=True)
class _Marks:
    at_ms: list[int] = field(default_factory=list)
    px: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tape:
    """Grows with the recording; asked afterwards."""

    touches: dict[str, _Line] = field(default_factory=dict)
    marks: dict[str, _Marks] = field(default_factory=dict)

    def on_book(self, book: Book) -> None:
        """Take a book with both sides, newer than the last."""
        line = self.touches.setdefault(book.symbol, _Line())
        if book.bids and book.asks and (not line.at_ms or book.venue_ms > line.at_ms[-1]):
            line.at_ms.append(book.venue_ms)
            line.values.append(Touch(book.bids[0].px, book.asks[0].px))

    def on_mark(self, context: AssetContext) -> None:
        """Take a mark that is not older than the last."""
        line = self.marks.setdefault(context.symbol, _Marks())
        if not line.at_ms or context.venue_ms >= line.at_ms[-1]:
            line.at_ms.append(context.venue_ms)
            line.px.append(context.mark_px)

    def touch_at(self, symbol: str, at_ms: int) -> Touch | None:
        """Return the newest touch at a time; None before the first."""
        line = self.touches.get(symbol, _Line())
        place = bisect.bisect_right(line.at_ms, at_ms)
        return line.values[place - 1] if place else None

    def marks_between(self, symbol: str, from_ms: int, to_ms: int) -> list[float]:
        """Return the marks of (from_ms, to_ms]."""
        line = self.marks.get(symbol, _Marks())
        return line.px[bisect.bisect_right(line.at_ms, from_ms) : bisect.bisect_right(line.at_ms, to_ms)]
