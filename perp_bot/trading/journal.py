"""What the loop writes down, and in which order.

Nothing is sent before its intent is on disk. An entry whose intent cannot be committed is dropped; a protective
order (exit, stop) goes out all the same, its intent kept in the pre-allocated emergency journal and queued for the
database until it lands.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from perp_bot.core.clock import wall_ms
from perp_bot.core.errors import StoreError
from perp_bot.core.types import Order, OrderRole, OrderState
from perp_bot.data.db import rows
from perp_bot.data.db.writer import CommitUncertain, WriterHealth
from perp_bot.trading.outside import Outside

LOG = logging.getLogger(__name__)

INTENT_DEADLINE_S = 2.0


class RowWriter(Protocol):
    """The writer thread, as the loop sees it."""

    def put(self, *rows: rows.Row) -> None:
        """Queue rows; never blocks."""

    def commit(self, *rows: rows.Row, deadline_s: float) -> None:
        """Wait until rows are on disk, or raise StoreError."""

    def flush(self, timeout_s: float) -> None:
        """Wait until everything queued is on disk, or raise StoreError."""

    def emergency_append(self, row_json: dict[str, Any]) -> None:
        """Record a protective action in the pre-allocated file, or raise StoreError."""

    def emergency_clear(self) -> None:
        """Forget the records of that file."""

    def health(self) -> WriterHealth:
        """How the writer fares."""


class Journal:
    """The loop's one way to the store."""

    def __init__(self, writer: RowWriter, outside: Outside | None = None) -> None:
        self._writer = writer
        self._outside = outside or Outside()
        self._has_emergency = False

    def put(self, *items: rows.Row) -> None:
        """Queue rows; never blocks and never raises for the disk's sake."""
        self._writer.put(*items)

    def commit_order(self, order: Order) -> bool:
        """Commit one order's intent; return whether the order may be sent."""
        return self.commit_orders((order,), ()) or order.intent.role is not OrderRole.ENTRY

    def commit_orders(self, items: tuple[Order, ...], with_them: tuple[rows.Row, ...]) -> bool:
        """Commit orders' intents and the rows that belong to them in one transaction; return whether they landed.

        When they did not: entries must not be sent, protective orders may (the emergency journal has them, and they
        are queued), and the rows of `with_them` are the caller's again. While writing is known to fail, no time is
        lost on trying: a stop must not wait for a disk.
        """
        trouble = self.trouble
        try:
            if trouble is not None:
                raise StoreError(trouble)
            order_rows = (rows.OrderRow(order) for order in items)
            self._commit(*with_them, *order_rows)
            return True
        except StoreError as error:
            for order in items:
                self._not_committed(order, error)
            return False

    def _commit(self, *items: rows.Row) -> None:
        """Commit rows, or raise StoreError; whether they landed is part of a recording."""

        def commit() -> tuple[bool, str] | None:
            try:
                self._writer.commit(*items, deadline_s=INTENT_DEADLINE_S)
            except StoreError as error:
                return isinstance(error, CommitUncertain), str(error)
            return None

        def again(failure: tuple[bool, str] | None) -> None:
            if failure is None:
                self._writer.put(*items)

        failure = self._outside.ask("commit failed", tuple[bool, str] | None, commit, again)
        if failure is not None:
            is_uncertain, text = failure
            raise CommitUncertain(text) if is_uncertain else StoreError(text)

    def _not_committed(self, order: Order, error: StoreError) -> None:
        symbol = order.intent.symbol
        if order.intent.role is not OrderRole.ENTRY:
            LOG.error("protective order sent on the emergency journal: %s", error, extra={"symbol": symbol})
            self._remember(order)
            self._writer.put(rows.OrderRow(order))
            return
        LOG.error("entry not sent: its intent could not be written: %s", error, extra={"symbol": symbol})
        if isinstance(error, CommitUncertain):
            note = "not sent: the commit of its intent was not confirmed"
            self._writer.put(rows.OrderRow(replace(order, state=OrderState.CANCELLED, note=note)))

    def _remember(self, order: Order) -> None:
        intent = order.intent
        record = {
            "wall_ms": wall_ms(),
            "cloid": intent.cloid,
            "decision_id": intent.decision_id,
            "symbol": intent.symbol,
            "side": intent.side.value,
            "role": intent.role.value,
            "size": str(intent.size),
            "reason": intent.reason,
        }
        self.note_emergency()
        try:
            self._writer.emergency_append(record)
        except StoreError as error:
            LOG.error("the emergency journal failed too: %s", error, extra={"symbol": intent.symbol})

    def note_emergency(self) -> None:
        """Note that the emergency journal holds records, to be forgotten once the database has everything."""
        self._has_emergency = True

    def look_after_emergency(self) -> None:
        """Forget the emergency journal once everything it stands for is in the database."""
        if not self._has_emergency:
            return
        health = self._writer.health()
        if not health.ok or health.pending > 0:
            return
        try:
            self._writer.emergency_clear()
        except StoreError as error:
            LOG.error("the emergency journal cannot be cleared; its exits are looked at again at a start: %s", error)
        self._has_emergency = False

    def is_on_disk(self) -> bool:
        """Return whether everything queued is on disk; never waits, but asks the writer to hurry."""
        health = self._writer.health()
        if health.ok and health.pending > 0:
            with suppress(StoreError):
                self._writer.flush(0.0)
            health = self._writer.health()
        return health.ok and health.pending == 0

    @property
    def trouble(self) -> str | None:
        """Why entries must stop, or None when writes succeed; what is decided on it is part of a recording."""
        return self._outside.ask("store trouble", str | None, lambda: self.trouble_now)

    @property
    def trouble_now(self) -> str | None:
        """The same, for answers to operators only."""
        health = self._writer.health()
        return None if health.ok else (health.error or "the database cannot be written")

    @property
    def last_commit_age_s(self) -> float | None:
        """Seconds since the last commit; None before the first."""
        return self._writer.health().last_commit_age_s
