"""A coin that the venue delists while we run: told once, no entries, and an open position is settled.

The venue settles positions of a delisted coin itself and its book is empty from then on, so nothing could be sold.
On paper the newest oracle price stands in for the venue's settlement price (an hour's mean of it), and the fee of a
taker is counted.
"""

from __future__ import annotations

import logging

from perp_bot.core.types import AssetContext, Book, BookLevel, OrderIntent, Position
from perp_bot.decision.exits import timer_decision_id
from perp_bot.execution.closing import exit_intent
from perp_bot.trading.desk import Desk, position_text
from perp_bot.trading.notes import Notes

DELISTED = "delisted"


class Delistings:
    """Follows the venue's list of coins on the loop's thread."""

    def __init__(self, desk: Desk, notes: Notes) -> None:
        self._desk = desk
        self._notes = notes
        self._told: set[str] = set()
        self._settling: set[str] = set()

    def is_delisted(self, symbol: str) -> bool:
        """Whether the venue does not (or no longer) trade the coin."""
        instrument = self._desk.instruments().get(symbol)
        return instrument is None or instrument.is_delisted

    def look(self, now_ms: int) -> None:
        """Tell what is new."""
        for symbol in self._desk.symbols:
            gone = self.is_delisted(symbol)
            if gone and symbol not in self._told:
                self._told.add(symbol)
                text = f"{symbol} is delisted at the venue: no entries; an open position is settled"
                self._notes.say("DELISTED", text, now_ms, symbol, level=logging.WARNING)
            elif not gone and symbol in self._told:
                self._told.discard(symbol)
                self._notes.say("LISTED", f"{symbol} is listed again: entries are allowed", now_ms, symbol)

    def due(self, now_ms: int) -> tuple[OrderIntent, ...]:
        """Give the executor a price for held coins that are delisted, and return the closing orders to send."""
        intents = []
        for position in self._desk.account.positions:
            symbol = position.symbol
            context, instrument = self._desk.market.context(symbol), self._desk.instruments().get(symbol)
            # By the venue's own word alone: a list without the coin may be a broken answer.
            if instrument is None or not instrument.is_delisted or context is None:
                self._settling.discard(symbol)
                continue
            if symbol not in self._settling:
                self._settling.add(symbol)
                self._tell(position, context, now_ms)
            if self._desk.live is not None:
                continue  # the venue settles it, and tells
            self._desk.executor.on_book(_settlement_book(position, context, now_ms))
            if not self._desk.is_exiting(symbol):
                intents.append(exit_intent(position, DELISTED, now_ms, timer_decision_id(position, DELISTED)))
        return tuple(intents)

    def _tell(self, position: Position, context: AssetContext, now_ms: int) -> None:
        if self._desk.live is not None:
            text = f"{position.symbol} is delisted: the venue settles {position_text(position)} at an hour's mean"
            self._notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.WARNING)
            return
        text = (
            f"{position.symbol} is delisted: {position_text(position)} is settled on paper at its last oracle price "
            f"{context.oracle_px:.8g} (the venue settles at an hour's mean)"
        )
        self._notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.WARNING)


def _settlement_book(position: Position, context: AssetContext, now_ms: int) -> Book:
    """Return a book that takes the whole position at the oracle price, newer than the venue's empty one."""
    level = (BookLevel(context.oracle_px, float(position.size) * 10.0),)
    return Book(position.symbol, now_ms + 1, level, level)
