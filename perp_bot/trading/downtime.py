"""What happened while nobody watched: stops that were passed and funding hours, made up for from the venue's candles.

The venue keeps neither marks nor oracle prices. On paper the minutes' extremes stand in for marks and their opens for
oracle prices, and every such correction is told. (Live, the stop rests at the venue and fires by itself.)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from perp_bot.core.errors import VenueError
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, iso
from perp_bot.core.types import AssetContext, Book, Candle, Position
from perp_bot.data.limiter import RequestClass
from perp_bot.execution import funding
from perp_bot.execution.missed_minutes import stop_inputs
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.desk import Desk
from perp_bot.trading.notes import Notes


class MinuteSource(Protocol):
    """Where the minutes of a downtime come from: the venue's REST side."""

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int, cls: RequestClass) -> Sequence[Candle]:
        """Return candles of the range, oldest first, or raise VenueError."""


class PassedStops:
    """Fires stops that the price passed while nobody watched."""

    def __init__(self, desk: Desk, books: Bookkeeper, notes: Notes) -> None:
        self._desk = desk
        self._books = books
        self._notes = notes

    def after_outage(self, symbol: str, minutes: Iterable[Candle], now_ms: int) -> bool:
        """Fire the stop that was passed while the stream was away; return whether there was one."""
        if self._desk.live is not None:
            return False  # the stop rests at the venue and fires there
        position = self._desk.account.position(symbol)
        fired = None if position is None else stop_inputs(position, minutes)
        if position is None or fired is None:
            return False
        book, context = fired
        # The stream is back: what it brought since is newer, so this input takes the present time; its price stays.
        at_ms = max(now_ms, self._newest_ms(symbol) + 1)
        text = f"{symbol}: its stop was passed at {iso(context.venue_ms)} while the market stream was away"
        self.fire(position, replace(book, venue_ms=at_ms), replace(context, venue_ms=at_ms), now_ms, text)
        return True

    def fire(self, position: Position, book: Book, context: AssetContext, now_ms: int, text: str) -> None:
        """Give the executor the input that triggers and fills the stop, and tell why."""
        self._notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.WARNING)
        entry = self._desk.live_entry(position.symbol)
        if entry is not None:  # the book made up here is there for the stop alone
            self._desk.executor.cancel(entry.intent.cloid, now_ms, "the position's stop was passed")
        self._desk.executor.on_book(book)
        self._desk.executor.on_context([context])
        self._books.settle(now_ms)

    def _newest_ms(self, symbol: str) -> int:
        book, context = self._desk.market.book(symbol), self._desk.market.context(symbol)
        return max(0 if book is None else book.venue_ms, 0 if context is None else context.venue_ms)


class Downtime:
    """Runs once, after the desk is rebuilt and before anything is decided."""

    def __init__(self, desk: Desk, client: MinuteSource, books: Bookkeeper, notes: Notes) -> None:
        self._desk = desk
        self._client = client
        self._books = books
        self._notes = notes
        self._stops = PassedStops(desk, books, notes)

    def make_up(self, now_ms: int, replay_from_ms: int | None) -> None:
        """Fire stops and note funding of the hours that nobody watched, for positions that were open."""
        if self._desk.live is not None:
            return  # stops rest at the venue, which books the funding too
        handled_ms = self._desk.handled_ms
        stretch = unwatched(handled_ms, now_ms, replay_from_ms)
        watched_from_ms = handled_ms if stretch is None else stretch[1]
        if handled_ms > 0:  # an hour that a short stop hides, or that is replayed, is still to be noted by the loop
            self._desk.next_hour_ms = watched_from_ms - watched_from_ms % HOUR_MS + HOUR_MS
        if stretch is None:
            return
        since_ms, until_ms = stretch
        for position in self._desk.account.positions:
            try:
                rows = self._client.candles(position.symbol, "1m", since_ms, until_ms, RequestClass.RECONCILE)
            except VenueError as error:
                text = f"{position.symbol}: the downtime since {iso(since_ms)} cannot be checked: {error}"
                self._notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.ERROR)
                continue
            minutes = [row for row in rows if row.open_ms >= since_ms and row.close_ms <= until_ms]
            self._tell_unknown(position.symbol, minutes, since_ms, now_ms)
            fired = stop_inputs(position, minutes)
            held_until_ms = until_ms if fired is None else fired[1].venue_ms
            self._owe_missed_hours(position, minutes, since_ms, held_until_ms)
            if fired is not None:
                text = f"{position.symbol}: its stop was passed at {iso(fired[1].venue_ms)} while the daemon was down"
                self._stops.fire(position, *fired, now_ms, text)

    def _tell_unknown(self, symbol: str, minutes: list[Candle], since_ms: int, now_ms: int) -> None:
        """Say which part of the downtime the venue no longer has (it keeps 5,000 minutes)."""
        known_ms = minutes[0].open_ms if minutes else now_ms
        if known_ms - since_ms < 2 * MINUTE_MS:
            return
        text = (
            f"{symbol}: the venue has no minutes from {iso(since_ms)} to {iso(known_ms)}: its stop is not checked there"
        )
        self._notes.say("RECONCILE", text, now_ms, symbol, level=logging.WARNING)

    def _owe_missed_hours(self, position: Position, minutes: list[Candle], since_ms: int, until_ms: int) -> None:
        symbol, known = position.symbol, self._desk.funding_due
        hours = [h for h in missed_hours(position, since_ms, until_ms) if (symbol, h) not in known]
        priced, missing = due_from_candles(position, hours, minutes)
        for due in priced:
            self._books.owe(due)
        if priced:
            text = (
                f"{symbol}: funding of {len(priced)} hours of the downtime is due, at the minute's open as oracle price"
            )
            self._notes.say("RECONCILE", text, until_ms, symbol)
        if missing:
            text = f"{symbol}: {len(missing)} funding hours of the downtime cannot be priced and are missing"
            self._notes.say("RECONCILE", text, until_ms, symbol, level=logging.WARNING)


def missed_hours(position: Position, since_ms: int, until_ms: int) -> tuple[int, ...]:
    """Return the whole hours in the downtime at which `position` was open."""
    return tuple(hour for hour in funding.whole_hours(since_ms, until_ms) if hour > position.opened_ms)


def due_from_candles(
    position: Position, hours: Iterable[int], minutes: Iterable[Candle]
) -> tuple[list[funding.FundingDue], list[int]]:
    """Return the funding due of missed hours, priced at the minute's open, and the hours without a candle.

    The venue does not keep oracle prices; the trade price at the hour stands in for it on paper, and is said so.
    """
    opens = {candle.open_ms: candle.open for candle in minutes}
    found, missing = [], []
    for hour_ms in hours:
        price = opens.get(hour_ms)
        due = None if price is None else funding.funding_due(position, hour_ms, price)
        if due is None:
            missing.append(hour_ms)
        else:
            found.append(due)
    return found, missing


def unwatched(handled_ms: int, now_ms: int, replay_from_ms: int | None) -> tuple[int, int] | None:
    """Return (since, until) of the stretch that nobody watched; None when it is shorter than a minute.

    A stepped venue sends its newest minute again, so that minute is not part of it.
    """
    if handled_ms <= 0:
        return None
    until_ms = now_ms if replay_from_ms is None else min(now_ms, replay_from_ms)
    return (handled_ms, until_ms) if until_ms - handled_ms >= MINUTE_MS else None
