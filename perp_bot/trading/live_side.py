"""What the loop does for live trading beside its passes on paper: the venue's events in, due orders out.

On paper every call here does nothing.
"""

from __future__ import annotations

import logging
from typing import get_args

from perp_bot.core.account_events import AccountEvent, AccountRead, FillsReported, FundingReported
from perp_bot.core.clock import monotonic_s
from perp_bot.core.types import OrderIntent, OrderRole
from perp_bot.data.db.rows import OrderRow, StateRow
from perp_bot.execution import orders
from perp_bot.execution.live.books import BASELINE
from perp_bot.execution.live.executor import LiveExecutor
from perp_bot.ops.crash_points import crash_point
from perp_bot.risk import kill_switch
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_account import LiveStart
from perp_bot.trading.notes import Notes
from perp_bot.trading.queue import Batch
from perp_bot.trading.tripping import Tripping

_EVENTS = get_args(AccountEvent)
_ROUNDS = 3  # an order that is refused at once may ask for another in the same pass


class LiveSide:
    """Feeds the live executor on the loop's thread."""

    def __init__(self, desk: Desk, journal: Journal, notes: Notes, books: Bookkeeper) -> None:
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._books = books
        self._tripping = Tripping(desk, journal, notes)

    def start(self, start: LiveStart, now_ms: int) -> None:
        """Take the account as the venue has it: what happened meanwhile is booked, what is held is protected."""
        live = self._desk.live
        assert live is not None
        live.begin_pass(now_ms, self._desk.outside.ask("monotonic", float, monotonic_s))
        if start.is_first:
            live.find(start.account)
            self._found(start, now_ms)
        live.on_event(FillsReported(start.fills))
        live.on_event(FundingReported(start.funding))
        self.follow_up(now_ms)
        live.on_event(AccountRead(0, start.account, start.orders))
        self.follow_up(now_ms)

    def _found(self, start: LiveStart, now_ms: int) -> None:
        """Store the account as it was found, in one transaction: after a crash all of it is known, or nothing."""
        rows, _ = self._books.collect(now_ms)
        cash = StateRow(self._desk.state_key("start_cash"), str(start.start_cash), now_ms)
        self._journal.put(*rows, StateRow(BASELINE, start.baseline_ms, now_ms), cash)

    def begin_pass(self, batch: Batch, now_ms: int) -> bool:
        """Take the venue's answers and reports before anything else, and send what they make due."""
        live = self._desk.live
        if live is None:
            return False
        now_s = self._desk.outside.ask("monotonic", float, monotonic_s)
        live.begin_pass(now_ms, now_s)
        for event in batch.events:
            if isinstance(event, _EVENTS):
                live.on_event(event)
                self._tripping.take(event, live, now_ms)
        self._tripping.look(live, now_ms, now_s)
        return self.follow_up(now_ms)

    def follow_up(self, now_ms: int) -> bool:
        """Book what the executor has to report, and send what it wants to send next."""
        live = self._desk.live
        if live is None:
            return False
        count = self._books.settle(now_ms) + self._tell(live, now_ms)
        for _ in range(_ROUNDS):
            due = live.due_orders()
            if not due:
                break
            for intent in due:
                self._send(live, intent, now_ms)
            count += len(due) + self._books.settle(now_ms)
        return count + self._tell(live, now_ms) > 0

    def resync(self, now_ms: int) -> None:
        """Read again what the stream may have lost."""
        if self._desk.live is not None:
            self._desk.live.resync()

    def is_settled(self) -> bool:
        """Whether the venue owes no answer."""
        return self._desk.live is None or self._desk.live.is_settled()

    def _send(self, live: LiveExecutor, intent: OrderIntent, now_ms: int) -> None:
        """Commit an intent and submit it; protective ones go out when the store fails, entries do not."""
        order = orders.new_order(intent)
        if intent.role is OrderRole.ENTRY and self._is_latched():
            self._journal.put(OrderRow(orders.cancelled(order, now_ms, "killed before it was sent")))
            return
        if not self._journal.commit_order(order):
            return
        crash_point("send.before")
        live.submit(intent, now_ms)
        crash_point("send.after")

    def _is_latched(self) -> bool:
        desk = self._desk
        return desk.outside.ask("latched before an entry", bool, lambda: kill_switch.is_latched(desk.kill_latch))

    def _tell(self, live: LiveExecutor, now_ms: int) -> int:
        told, paid = live.take_told(), live.take_funding()
        for item in told:
            level = logging.WARNING if item.is_grave else logging.INFO
            self._notes.say(item.kind, item.text, now_ms, item.symbol, level=level)
        for payment in paid:
            self._books.book_funding(payment, now_ms)
        return len(told) + len(paid)
