"""Works our orders at the venue: sends them, takes its answers and reports, cancels, asks again, ends them.

Every order is a `Working` in the ledger, moved by events; nothing here waits. What an order's end makes due (the rest
of an entry) is kept for the executor's `due_orders`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal

from perp_bot.core.account_events import (
    ActionAnswered,
    ActionOutcome,
    ActionSettled,
    EntryAnswer,
    EntryOutcome,
    OrderAsked,
)
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import check_notional
from perp_bot.core.types import AssetContext, Book, Instrument, Order, OrderIntent, OrderRole, OrderState, OrderType
from perp_bot.core.venue_account import OrderReport
from perp_bot.data.limiter import RequestClass
from perp_bot.execution import orders
from perp_bot.execution.live import wire
from perp_bot.execution.live.account_watch import AccountWatch
from perp_bot.execution.live.chasing import Chases
from perp_bot.execution.live.commands import SendAction, VenuePort
from perp_bot.execution.live.guard import Guard
from perp_bot.execution.live.identities import SOURCE, Identities
from perp_bot.execution.live.ledger import Ledger
from perp_bot.execution.live.pricing import venue_order
from perp_bot.execution.live.questions import CLASSES, Questions
from perp_bot.execution.live.rejections import RULES, Reason, rejection_of_status
from perp_bot.execution.live.voice import Voice
from perp_bot.execution.live.working import Working

LOG = logging.getLogger(__name__)

FILLS_WAIT_S = 0.3  # an answer that names a fill, and the stream that has not told it yet
FILL_READS = 2  # after which a reduce-only order has filled no more than the fills that were read
WORD_WAIT_S = 0.5  # a cancel that was taken, and the stream that has not told what it left
EXPIRED_MARGIN_MS = 5_000
NOT_SENT = "not sent"  # how the notes of orders begin that the venue never had
NEVER_THERE = "it never reached the venue"
_CANCELED = "canceled"  # the venue's word for what was cancelled by request


class OrderDesk:
    """The orders of one session under way; on the loop's thread."""

    def __init__(
        self,
        ledger: Ledger,
        questions: Questions,
        identities: Identities,
        chases: Chases,
        guard: Guard,
        watch: AccountWatch,
        voice: Voice,
        instruments: Mapping[str, Instrument],
        port: VenuePort,
        *,
        entry_valid_ms: int,
        entry_bound: Decimal,
        resync: Callable[[], None],
    ) -> None:
        """`entry_bound`: a share beyond the best price; `resync` reads everything again."""
        self._ledger = ledger
        self._questions = questions
        self._identities = identities
        self._chases = chases
        self._guard = guard
        self._watch = watch
        self._voice = voice
        self._instruments = instruments
        self._port = port
        self._entry_valid_ms = entry_valid_ms
        self._entry_bound = entry_bound
        self._resync = resync
        self._sent: dict[int, tuple[str, str]] = {}  # actions under way: (place, cancel or settle, cloid)
        self._remainders: list[OrderIntent] = []  # what resting entries left, to be taken
        self.books: dict[str, Book] = {}
        self.contexts: dict[str, AssetContext] = {}
        self.now_ms = 0  # of the pass
        self.now_s = 0.0

    # ------------------------------------------------------------ what goes out

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Send an order whose intent is on disk; a repeated cloid is answered with the order as it stands."""
        ledger = self._ledger
        working = ledger.live.get(intent.cloid)
        known = working.order if working is not None else ledger.finished.get(intent.cloid)
        if known is not None:
            ledger.tell(known)
            return
        if self._identities.is_used(intent.cloid):
            LOG.error("%s %s: its client order id was used before; not sent again", intent.role, intent.symbol)
            return
        self._identities.use((intent.cloid,))
        working = ledger.live[intent.cloid] = Working(orders.new_order(intent))
        if intent.role is OrderRole.EXIT:
            self._chases.joined(intent)
        try:
            action = wire.order_action([self._venue_order(intent)])
        except OrderRuleError as error:
            self._end(working, OrderState.REJECTED, str(error))
            return
        number = working.command = self._identities.next_number()
        self._sent[number] = ("place", intent.cloid)
        expires = now_ms + self._entry_valid_ms if intent.role is OrderRole.ENTRY else None
        self._port.put(SendAction(number, action, CLASSES[intent.role], (intent.cloid,), expires, now_ms))
        ledger.tell(working.order)

    def cancel(self, cloid: str, note: str) -> None:
        """Ask for a cancel; an order that has ended answers as it stands, a position's stop stays."""
        ledger = self._ledger
        working = ledger.live.get(cloid)
        if working is None:
            if cloid in ledger.finished:
                ledger.tell(ledger.finished[cloid])
            return
        intent = working.order.intent
        if intent.role is OrderRole.STOP and intent.symbol in ledger.positions:
            ledger.tell(working.order)  # protective: it goes with its position, never before
            return
        working.then_takes = False
        self.want_cancel(working, note)

    def want_cancel(self, working: Working, note: str) -> None:
        """Cancel an order, now or once the venue has told that it has it; the first reason is kept."""
        if working.cancel_note is not None:
            return
        working.cancel_note = note
        if working.is_at_venue and working.command is None:
            self._send_cancel(working)

    def put_cancel(self, intent: OrderIntent) -> int | None:
        """Send the cancel of an order; return the command's number, None for a coin that the venue does not list."""
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            return None
        number = self._identities.next_number()
        self._sent[number] = ("cancel", intent.cloid)
        action = wire.cancel_by_cloid_action([(instrument.asset_id, intent.cloid)])
        # Ending an entry order is protection: nothing may fill behind a kill or an exit.
        cls = RequestClass.PROTECTIVE if intent.role is OrderRole.ENTRY else RequestClass.EXIT
        self._port.put(SendAction(number, action, cls, sent_ms=self.now_ms))
        return number

    def take_remainders(self) -> list[OrderIntent]:
        """Return and clear what resting entries left, to be taken."""
        remainders, self._remainders = self._remainders, []
        return remainders

    def cancel_overdue(self, now_ms: int) -> None:
        """Cancel resting entries whose time is over; their remainder is taken once the venue has said what filled."""
        for working in list(self._ledger.live.values()):
            if (due_ms := _fallback_ms(working)) is not None and now_ms >= due_ms:
                working.then_takes = True
                self.want_cancel(working, "takes: not filled in time")

    def next_deadline_ms(self) -> int | None:
        """Return the venue time at which the next resting entry is cancelled to take; None when none rests."""
        due = (_fallback_ms(working) for working in self._ledger.live.values())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def closed(self, symbol: str) -> None:
        """A position is gone: nothing may fill behind it; its stops go with the next `due_orders`."""
        self._guard.forget(symbol)
        self._remainders = [intent for intent in self._remainders if intent.symbol != symbol]
        for working in self._ledger.entries_of(symbol):
            working.then_takes = False
            self.want_cancel(working, "its position was closed")

    # ------------------------------------------------------------ answers to actions

    def take_answer(self, event: ActionAnswered) -> None:
        """Take the answer to an order or a cancel."""
        kind, cloid = self._sent.pop(event.number, ("", ""))
        working = self._ledger.live.get(cloid)
        if working is None:
            return
        if kind == "cancel":
            self._take_cancel_answer(working, event)
            return
        working.command = None
        if event.outcome is ActionOutcome.ACCEPTED:
            self._take_entry(working, event.entries[0])
        elif event.outcome is ActionOutcome.UNKNOWN:
            working.is_settling = True
            self._sent[event.number] = ("settle", cloid)
            self._ledger.keep(working, orders.unanswered(working.order, self.now_ms, event.text))
        elif event.outcome is ActionOutcome.REJECTED:
            self._refused(working, event.reason, event.text)
        else:
            self._end(working, OrderState.CANCELLED, f"{NOT_SENT}: {event.text}")

    def _take_entry(self, working: Working, answer: EntryAnswer) -> None:
        if answer.oid is not None:
            self._bind(working, answer.oid)
        if answer.outcome is EntryOutcome.REFUSED:
            self._refused(working, answer.reason, answer.text)
            return
        if answer.outcome is EntryOutcome.UNCLEAR:
            working.look_again_at_s = self.now_s
            self._ledger.keep(working, orders.unanswered(working.order, self.now_ms, answer.text))
            return
        self._accept(working)
        if answer.outcome is EntryOutcome.FILLED:
            working.venue_filled = answer.size
            if working.order.intent.order_type is OrderType.TAKER:
                working.ended = "immediate: the rest is gone"
        self._advance(working)

    def _refused(self, working: Working, reason: str, text: str) -> None:
        intent, rule = working.order.intent, RULES[Reason(reason)]
        if rule.alerts:
            told = f"{intent.role} {intent.symbol}: {text}; {rule.then}"
            self._voice.tell("REFUSED", told, intent.symbol, grave=True)
        position = self._ledger.positions.get(intent.symbol)
        if reason == Reason.TRIGGER_PX and intent.role is OrderRole.STOP and position is not None:
            self._guard.stop_was_passed(position, intent.reason, self.now_ms, self.now_s)
        if reason == Reason.REDUCE_ONLY or (reason == Reason.MINIMUM and intent.reduce_only):
            self._doubt()  # the position is gone or turned, or larger than what was to close all of it
        working.then_takes = False  # a refusal is not answered by taking what was refused
        self._end(working, OrderState.CANCELLED if reason == Reason.NO_MATCH else OrderState.REJECTED, text)

    def _take_cancel_answer(self, working: Working, event: ActionAnswered) -> None:
        working.cancel_command = None
        entry = event.entries[0] if event.outcome is ActionOutcome.ACCEPTED else None
        if entry is not None and entry.outcome is EntryOutcome.DONE:
            working.look_again_at_s = self.now_s + WORD_WAIT_S  # for what it left, unless the stream tells
        elif entry is not None and entry.reason == Reason.GONE:
            self.ask_for(working)
        else:
            working.look_again_at_s = self.now_s + working.patience_s()

    def take_settled(self, event: ActionSettled) -> None:
        """Take what became of an order whose answer was lost."""
        _, cloid = self._sent.pop(event.number, ("", ""))
        working = self._ledger.live.get(cloid)
        if working is not None:
            working.is_settling = False
        for report in event.found:
            self.take_report(report)
        if working is None or cloid not in self._ledger.live:
            return
        if cloid in event.never:
            self._end(working, OrderState.CANCELLED, NEVER_THERE)
        elif cloid in event.untraced:
            intent = working.order.intent
            text = f"{intent.role} {intent.side} {intent.size} {intent.symbol}: the venue knows nothing of it"
            self._voice.tell("UNTRACED", f"{text}; the account decides", intent.symbol, grave=True)
            working.then_takes = False  # it may rest or have filled: taking its rest could double it
            self._end(working, OrderState.CANCELLED, "untraced: its nonce is spent, no order is known")
            self._resync()

    # ------------------------------------------------------------ the venue's word about an order

    def take_report(self, report: OrderReport) -> None:
        """Take what became of an order; of another's, of one that has ended, or a late one: nothing."""
        working = self._ledger.live.get(self._identities.cloid_of(report.oid, report.cloid) or "")
        if working is None or working.ended is not None:
            return
        self._bind(working, report.oid)
        if report.is_open:
            working.shrink(report.left)
            self._accept(working)
            self._doubt_position(working)
        else:
            working.ended = report.status
            working.venue_filled = report.filled
        self._advance(working)

    def take_asked(self, event: OrderAsked) -> None:
        """Take the answer to a question about an order."""
        self._questions.order_answered(event.cloid)
        working = self._ledger.live.get(event.cloid)
        if working is None:
            return
        asked_ms, working.asked_ms = working.asked_ms, None
        if working.command is not None or working.is_settling:
            return
        if event.report is not None:
            self.take_report(event.report)
            if working.cloid in self._ledger.live and working.cancel_note is not None and working.is_at_venue:
                working.look_again_at_s = self.now_s + working.patience_s()  # the cancel was not taken, or is late
            return
        intent = working.order.intent
        over_ms = intent.created_ms + self._entry_valid_ms + EXPIRED_MARGIN_MS
        if intent.role is OrderRole.ENTRY and (asked_ms is None or asked_ms < over_ms):
            working.look_again_at_s = self.now_s + working.patience_s()  # it may have been on its way then
            return
        self._end(working, OrderState.CANCELLED, "the venue does not know it")

    def take_fill(self, working: Working, oid: int) -> None:
        """The venue has filled an order, so it has it."""
        self._accept(working)
        self._bind(working, oid)

    def fill_booked(self, working: Working) -> None:
        """A fill of an order is booked: perhaps it has ended with it."""
        self._advance(working)

    def fills_were_read(self, cloid: str) -> None:
        """Fills were read because an order misses some: believe them where the venue's count cannot be.

        What is left of a reduce-only order shrinks with the position, its size stays: the difference is no fill.
        """
        working = self._ledger.live.get(cloid)
        if working is None or not working.misses_fills or not working.order.intent.reduce_only:
            return
        working.fill_reads += 1
        if working.fill_reads >= FILL_READS:
            working.venue_filled = working.order.filled
            self._advance(working)

    def question_failed(self, cloid: str) -> None:
        """A question about an order was not answered: ask again in a while."""
        working = self._ledger.live.get(cloid)
        if working is not None:
            working.asked_ms = None
            working.look_again_at_s = self.now_s + working.patience_s()

    def _doubt_position(self, working: Working) -> None:
        """Read the fills when the venue shrank a stop below what the books hold: it holds less."""
        intent = working.order.intent
        held = self._ledger.positions.get(intent.symbol)
        if intent.role is not OrderRole.STOP or held is None or intent.side is held.side.opening:
            return
        if working.rests is not None and working.rests < min(held.size, working.order.remaining):
            self._doubt()

    def _doubt(self) -> None:
        """The books may be wrong about a position: the stream has not told of a fill."""
        self._questions.fills(self._questions.read_until_ms, self.now_ms)
        self._watch.read_again(self.now_s)

    # ------------------------------------------------------------ an order's way

    def _bind(self, working: Working, oid: int) -> None:
        working.oid = oid
        self._identities.bind(oid, working.cloid)

    def _accept(self, working: Working) -> None:
        order = orders.accepted(working.order, self.now_ms)
        if order is not working.order:
            self._ledger.keep(working, order)
        if working.cancel_note is not None and working.cancel_command is None and working.ended is None:
            self._send_cancel(working)

    def _advance(self, working: Working) -> None:
        """End an order whose end the venue has told, once its fills are booked; ask for fills that are missing."""
        if working.cloid not in self._ledger.live:
            return
        if working.misses_fills:
            if working.look_again_at_s is None:
                working.look_again_at_s = self.now_s + FILLS_WAIT_S
        elif working.ended is not None:
            if working.ended != _CANCELED:
                working.then_takes = False  # the venue ended it for a reason of its own
            refusal = rejection_of_status(working.ended)
            if refusal is not None and working.order.filled == 0:
                self._refused(working, refusal.reason, refusal.text)
            else:
                self._end(working, OrderState.CANCELLED, working.cancel_note or working.ended)

    def _end(self, working: Working, state: OrderState, note: str) -> None:
        order = working.order
        if state is OrderState.REJECTED and order.state in (OrderState.INTENT, OrderState.UNKNOWN):
            ended = orders.rejected(order, self.now_ms, note)
        else:
            ended = orders.cancelled(order, self.now_ms, note)
        self._ledger.store(ended)
        self._ledger.tell(ended)
        if working.then_takes:
            self._take_remainder(ended)

    def _take_remainder(self, order: Order) -> None:
        """Take what a resting entry left, under a client order id of its own; dust below 10 USD is left."""
        intent, left = order.intent, order.remaining
        if left <= 0:
            return
        attempt = self._identities.fresh(intent.decision_id, OrderRole.ENTRY)
        cloid = orders.cloid_for(SOURCE, intent.decision_id, OrderRole.ENTRY, attempt)
        taker = replace(intent, cloid=cloid, order_type=OrderType.TAKER, size=left, limit_px=None, expires_ms=None)
        try:
            px = self._venue_order(taker).px
            check_notional(left, px, closes_whole_position=False)
        except OrderRuleError as error:
            self._voice.tell("CANCELLED", f"{intent.symbol}: the entry's rest is not taken: {error}", intent.symbol)
            return
        self._remainders.append(replace(taker, limit_px=px, created_ms=self.now_ms))

    def _venue_order(self, intent: OrderIntent) -> wire.VenueOrder:
        symbol = intent.symbol
        instrument = self._instruments.get(symbol)
        if instrument is None:
            raise OrderRuleError(f"the venue has no perp called {symbol}")
        bound = self._chases.bound(symbol) if intent.role is OrderRole.EXIT else self._entry_bound
        return venue_order(intent, instrument, self.books.get(symbol), self.contexts.get(symbol), bound)

    def _send_cancel(self, working: Working) -> None:
        working.cancel_command = self.put_cancel(working.order.intent)

    # ------------------------------------------------------------ looking again

    def look_again(self) -> None:
        """What was promised has not been told in time: ask for it, or do it again."""
        for working in list(self._ledger.live.values()):
            if working.look_again_at_s is not None and self.now_s >= working.look_again_at_s:
                self._look_again(working)

    def _look_again(self, working: Working) -> None:
        working.look_again_at_s = None
        is_cancelling = working.cancel_note is not None and working.cancel_command is None
        if working.misses_fills:
            since_ms = min(working.order.intent.created_ms, self._questions.read_until_ms)
            self._questions.fills(since_ms, self.now_ms, working.cloid)
            working.look_again_at_s = self.now_s + working.patience_s()
        elif is_cancelling and working.is_at_venue and working.asks:
            working.asks = 0
            self._send_cancel(working)
        elif working.command is None and working.cancel_command is None and not working.is_settling:
            self.ask_for(working)

    def ask_for(self, working: Working) -> None:
        """Ask what became of an order."""
        self._questions.order(working, self.now_ms)


def _fallback_ms(working: Working) -> int | None:
    """Return when a resting entry is cancelled to take; None for what is not one, or is being cancelled."""
    intent = working.order.intent
    rests = intent.role is OrderRole.ENTRY and intent.order_type is OrderType.LIMIT
    return intent.expires_ms if rests and working.cancel_note is None else None
