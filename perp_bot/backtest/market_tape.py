"""The touch of every coin over recorded time, and what each order was due at: what prices of fills are explained by."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from typing import NamedTuple

from perp_bot.core.types import AssetContext, Book, Fill, Order, OrderIntent, OrderSide


class Touch(NamedTuple):
    """Best prices of a book."""

    bid: float
    ask: float

    def against(self, side: OrderSide) -> float:
        """Return the price that an order of `side` takes first."""
        return self.ask if side is OrderSide.BUY else self.bid


@dataclass(slots=True)
class _Touches:
    at_ms: list[int] = field(default_factory=list)
    touch: list[Touch] = field(default_factory=list)


@dataclass(slots=True)
class Tape:
    """Grows with the recording; asked afterwards."""

    books: dict[str, _Touches] = field(default_factory=dict)
    extremes: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # marks, in the order they came
    fills: list[tuple[Fill, Order]] = field(default_factory=list)
    orders: dict[str, OrderIntent] = field(default_factory=dict)

    def on_book(self, book: Book) -> None:
        """Take a book with both sides, newer than the last."""
        touches = self.books.setdefault(book.symbol, _Touches())
        if not book.bids or not book.asks or (touches.at_ms and book.venue_ms <= touches.at_ms[-1]):
            return
        touches.at_ms.append(book.venue_ms)
        touches.touch.append(Touch(book.bids[0].px, book.asks[0].px))

    def on_mark(self, context: AssetContext) -> None:
        """Take a mark."""
        self.extremes.setdefault(context.symbol, []).append((context.venue_ms, context.mark_px))

    def on_order(self, intent: OrderIntent) -> None:
        """Take an order as it is sent."""
        self.orders[intent.cloid] = intent

    def on_fill(self, fill: Fill, order: Order) -> None:
        """Take a fill with its order."""
        self.fills.append((fill, order))
        self.orders.setdefault(fill.cloid, order.intent)

    def touch_at(self, symbol: str, at_ms: int) -> Touch | None:
        """Return the newest touch at a time; None before the first."""
        touches = self.books.get(symbol)
        place = 0 if touches is None else bisect.bisect_right(touches.at_ms, at_ms)
        return None if touches is None or place == 0 else touches.touch[place - 1]

    def marks_between(self, symbol: str, from_ms: int, to_ms: int) -> list[float]:
        """Return the marks of (from_ms, to_ms]."""
        return [px for at_ms, px in self.extremes.get(symbol, ()) if from_ms < at_ms <= to_ms]
