"""The newest prices the loop has seen, each with the moment it arrived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from perp_bot.core.clock import monotonic_s
from perp_bot.core.types import AssetContext, Book


class MarketState:
    """Newest context and book of each coin. Written by the loop; books are read by the signal thread (one dict get)."""

    def __init__(self) -> None:
        self._contexts: dict[str, tuple[AssetContext, float]] = {}
        self._books: dict[str, tuple[Book, float]] = {}
        self._marks: dict[str, Decimal] = {}

    def take_context(self, context: AssetContext) -> None:
        """Keep a context as the newest of its coin; one whose mark is no price is passed over, and the age tells."""
        if not (math.isfinite(context.mark_px) and context.mark_px > 0):
            return
        self._contexts[context.symbol] = (context, monotonic_s())
        self._marks[context.symbol] = Decimal(repr(context.mark_px))

    def take_book(self, book: Book) -> None:
        """Keep a book as the newest of its coin."""
        self._books[book.symbol] = (book, monotonic_s())

    def context(self, symbol: str) -> AssetContext | None:
        """Return the newest context, or None before the first."""
        found = self._contexts.get(symbol)
        return None if found is None else found[0]

    def book(self, symbol: str) -> Book | None:
        """Return the newest book, or None before the first."""
        found = self._books.get(symbol)
        return None if found is None else found[0]

    def mark_age_s(self, symbol: str) -> float | None:
        """Return seconds since the newest context arrived."""
        found = self._contexts.get(symbol)
        return None if found is None else monotonic_s() - found[1]

    def book_age_s(self, symbol: str) -> float | None:
        """Return seconds since the newest book arrived."""
        found = self._books.get(symbol)
        return None if found is None else monotonic_s() - found[1]

    def marks(self) -> Mapping[str, Decimal]:
        """Return the newest mark of every coin that has one: the loop's own table, not a copy."""
        return self._marks
