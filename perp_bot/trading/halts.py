"""What stops entries on its own: limits that were hit and degraded states. Told when it begins and when it is over.

A new entry is refused by the gate; this room sees to it that the entry orders which work already are cancelled too, and
that a pause is on its way to the disk in the pass that brought it.
"""

from __future__ import annotations

import logging
from typing import Protocol

from perp_bot.risk import limits
from perp_bot.risk.manager import Pause
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.notes import Notes


class CancelEntries(Protocol):
    """Cancels the entry orders that work and forgets those that wait: all, or those that `pause` covers."""

    def __call__(self, now_ms: int, why: str, pause: Pause | None = None, /) -> int:
        """Return how many were cancelled."""


class Halts:
    """Follows equity, limits and degraded states on the loop's thread."""

    def __init__(
        self, desk: Desk, journal: Journal, notes: Notes, books: Bookkeeper, cancel_entries: CancelEntries
    ) -> None:
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._books = books
        self._cancel_entries = cancel_entries
        self._told: dict[str, str] = {}  # degraded states that were told and are not over
        self._seen: tuple[object, ...] | None = None  # what the halting limits were last measured on
        self._are_weeks_lost = False
        self._coins: frozenset[str] = frozenset()  # whose entries are stopped

    def look_at_equity(self, now_ms: int) -> None:
        """Measure the limits at the newest marks; a drawdown pause is stored at once, peaks when the loop remembers."""
        desk = self._desk
        equity, before = desk.equity_usd(), desk.risk
        if equity is not None and desk.market.marks():
            self._books.take(before.on_equity(equity, now_ms, desk.config.risk), now_ms)
            if (desk.risk.session_paused, desk.risk.drawdown_paused) != (before.session_paused, before.drawdown_paused):
                self._journal.put(self._books.risk_row(now_ms))
        self._look_at_weeks(now_ms)
        self._cancel_halted(now_ms)

    def _look_at_weeks(self, now_ms: int) -> None:
        desk = self._desk
        weeks = limits.losing_weeks(desk.week_nets, now_ms)
        are_lost = weeks >= desk.config.risk.losing_weeks and not desk.force
        if are_lost and not self._are_weeks_lost:
            text = f"{weeks} calendar weeks in a row lost money (limit {desk.config.risk.losing_weeks}): entries halted"
            self._notes.say("HALTED", text, now_ms, level=logging.WARNING)
        self._are_weeks_lost = are_lost

    def _cancel_halted(self, now_ms: int) -> None:
        """Cancel working entries when a halting limit was hit since the last look."""
        risk = self._desk.risk
        seen = (
            risk.session_paused,
            risk.drawdown_paused,
            risk.day_realized_net_usd,
            risk.cooldown_until_ms,
            self._are_weeks_lost,
        )
        if seen == self._seen:
            return
        self._seen = seen
        if not self._desk.entries_working() and not self._desk.pending:
            return
        uses = limits.limits(self._desk.config, self._desk.risk_view(now_ms))
        hit = next((use for use in uses if use.name in limits.HALTING and use.breached), None)
        if hit is not None:
            self._cancel_entries(now_ms, f"entries halted: {hit.text}")

    def look_at_degraded(self, now_ms: int) -> None:
        """Tell which degraded states have begun and which are over.

        On paper an entry order cannot fill while the venue is away, and gives up by itself; live it rests there, and
        what it leaves would be taken on prices that are no longer known: it is cancelled. So it is, live and on paper,
        where fills could not be written down or were missed.
        """
        desk = self._desk
        found = {"venue": desk.venue_trouble, "store": desk.store_trouble, "overflow": desk.overflow}
        found["reconcile"] = None if desk.live is None else desk.live.trouble()
        self._look_at_coins(now_ms)
        for name, text in found.items():
            was = self._told.pop(name, None)
            if text is not None:
                self._told[name] = text
            if (was is None) == (text is None):
                continue
            if text is None:
                self._notes.say("RECOVERED", f"over: {was}", now_ms)
                continue
            self._notes.say("DEGRADED", f"entries stop: {text}", now_ms, level=logging.WARNING)
            if name != "venue" or desk.live is not None:
                self._cancel_entries(now_ms, f"entries stop: {text}")

    def _look_at_coins(self, now_ms: int) -> None:
        """Cancel what works of a coin whose entries have just been stopped; the executor has told why."""
        found = dict(self._desk.coin_troubles())
        for symbol in sorted(found.keys() - self._coins):
            why = f"entries of {symbol} stop: {found[symbol].text}"
            self._cancel_entries(now_ms, why, Pause("symbol", symbol))
        self._coins = frozenset(found)
