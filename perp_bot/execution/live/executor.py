"""Live trading: our orders at the venue, as state machines that events move and that never wait.

Everything here runs on the loop's thread and is a function of its calls: intents and cancels in, the venue's answers
and reports in, commands for the venue thread and order events out. It reads no clock (`begin_pass` brings both times)
and sends nothing whose intent is not on disk: what it wants to send next it hands to the loop (`due_orders`), which
commits the intent and submits it.

- An entry rests as a limit until `expires_ms`; then it is cancelled, what filled is settled by the venue's word, and
  the remainder alone is taken at once within `max_slippage_pct`.
- Every position has a resting reduce-only stop at its `stop_px` (`guard`, `protection`).
- A closing order that did not close is followed by another, until the position is gone (`chasing`).
- Positions are kept from the venue's fills, whoever made them (`outside`). The venue's account is read every minute and
  after every reconnect, and compared (`account_watch`, `reconcile`); a difference seen twice stops entries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.account_events import (
    AccountEvent,
    AccountRead,
    ActionAnswered,
    ActionOutcome,
    ActionSettled,
    CoinRead,
    EntryAnswer,
    EntryOutcome,
    FillsReported,
    FundingReported,
    OrderAsked,
    OrdersReported,
    ReadFailed,
)
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import check_notional, to_decimal
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import (
    AssetContext,
    Book,
    Fill,
    FundingPayment,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    OrderState,
    OrderType,
    Position,
    PublicTrade,
)
from perp_bot.core.venue_account import OrderReport, VenueAccount, VenueFill, VenueFunding
from perp_bot.data.limiter import RequestClass
from perp_bot.execution import orders
from perp_bot.execution.executor import OrderEvent, OrderFilled, OrderUpdate
from perp_bot.execution.live import wire
from perp_bot.execution.live.account_watch import AccountWatch
from perp_bot.execution.live.chasing import Chases
from perp_bot.execution.live.commands import (
    AskForOrder,
    Command,
    ReadAccount,
    ReadBudget,
    ReadCoin,
    ReadFills,
    ReadFunding,
    SendAction,
    VenuePort,
)
from perp_bot.execution.live.guard import Guard
from perp_bot.execution.live.identities import SOURCE, Identities
from perp_bot.execution.live.leverage import LeverageWatch
from perp_bot.execution.live.outside import (
    OPENED,
    OUTSIDE,
    PREFIX,
    found_fill,
    is_direct,
    outside_cloid,
    outside_order,
    split_fill,
)
from perp_bot.execution.live.pricing import venue_order
from perp_bot.execution.live.protection import protection
from perp_bot.execution.live.reconcile import Drift
from perp_bot.execution.live.rejections import RULES, Reason, rejection_of_status
from perp_bot.execution.live.voice import Told, Voice
from perp_bot.execution.live.working import Working
from perp_bot.execution.positions import StopRule, after_fill, realized_by

LOG = logging.getLogger(__name__)

FILLS_WAIT_S = 0.3  # an answer that names a fill, and the stream that has not told it yet
FILL_READS = 2  # after which a reduce-only order has filled no more than the fills that were read
WORD_WAIT_S = 0.5  # a cancel that was taken, and the stream that has not told what it left
FILLS_BEFORE_MS = 60_000  # fills are read again from a little earlier
LOOK_BACK_MAX_MS = 7 * 24 * HOUR_MS  # while a position differs, ten times farther back with each read
EXPIRED_MARGIN_MS = 5_000
BUDGET_EVERY_S = 60.0
FLATTEN_UNKNOWN = "flatten_unknown"  # why a position is closed that perpbot did not open
_CANCELED = "canceled"  # the venue's word for what was cancelled by request
_FINISHED_KEPT = 1_000

_CLASSES = {
    OrderRole.ENTRY: RequestClass.ENTRY,
    OrderRole.EXIT: RequestClass.EXIT,
    OrderRole.STOP: RequestClass.PROTECTIVE,
}


class LiveExecutor:
    """Execute orders at the venue. Owned by the loop's thread; never blocks, reads no clock."""

    def __init__(
        self,
        config: Config,
        instruments: Mapping[str, Instrument],
        stop_rule: StopRule,
        port: VenuePort,
        *,
        entry_valid_ms: int,
        baseline_ms: int,
    ) -> None:
        """Start flat.

        Args:
            config: the settings.
            instruments: the venue's coins, as they are now.
            stop_rule: the one that the account uses.
            port: where commands go.
            entry_valid_ms: venue time after which the venue must not take an entry that we sent.
            baseline_ms: fills and funding up to this time belong to the account as it was found.
        """
        self._config = config
        self._instruments = instruments
        self._stop_rule = stop_rule
        self._port = port
        self._entry_valid_ms = entry_valid_ms
        self._baseline_ms = baseline_ms
        self._entry_bound = to_decimal(config.execution.max_slippage_pct)
        self._live: dict[str, Working] = {}  # by cloid, in the order of submission
        self._finished: dict[str, Order] = {}
        self._outside: dict[str, Order] = {}  # what stands for others' orders, by their cloid in the books
        self._positions: dict[str, Position] = {}
        self._books: dict[str, Book] = {}
        self._contexts: dict[str, AssetContext] = {}
        self._seen_fills: set[str] = set()
        self._read_until_ms = baseline_ms  # up to then every fill has been read; the stream alone may have lost one
        self._look_back_ms = 0
        self._reading: dict[int, int] = {}  # reads of fills under way: when they were asked for
        self._events: list[OrderEvent] = []
        self._funding: list[FundingPayment] = []
        self._ended: list[Order] = []
        self._next_budget_s = 0.0
        self._remainders: list[OrderIntent] = []  # what resting entries left, to be taken
        self._asked: dict[int, tuple[str, str]] = {}  # reads under way: (kind, cloid)
        self._sent: dict[int, tuple[str, str]] = {}  # actions under way: (place or cancel, cloid)
        self._now_ms = 0
        self._now_s = 0.0
        self._voice = Voice()
        self._identities = Identities()
        self._chases = Chases(self._identities)
        grace_s = config.execution.protection_grace_seconds
        self._guard = Guard(grace_s, stop_rule, self._identities, self._voice, self._chases)
        self._watch = AccountWatch(config, self._voice)
        self._leverage = LeverageWatch(config, instruments, self._voice)

    # ------------------------------------------------------------ Executor

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Send an order whose intent is on disk; a repeated cloid is answered with the order as it stands."""
        working = self._live.get(intent.cloid)
        known = working.order if working is not None else self._finished.get(intent.cloid)
        if known is not None:
            self._events.append(OrderUpdate(known))
            return
        if self._identities.is_used(intent.cloid):
            LOG.error("%s %s: its client order id was used before; not sent again", intent.role, intent.symbol)
            return
        self._identities.use((intent.cloid,))
        working = self._live[intent.cloid] = Working(orders.new_order(intent))
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
        cls = _CLASSES[intent.role]
        self._port.put(SendAction(number, action, cls, (intent.cloid,), expires, now_ms))
        self._events.append(OrderUpdate(working.order))

    def cancel(self, cloid: str, now_ms: int, note: str) -> None:
        """Ask for a cancel; an order that has ended answers as it stands, a position's stop stays."""
        working = self._live.get(cloid)
        if working is None:
            if cloid in self._finished:
                self._events.append(OrderUpdate(self._finished[cloid]))
            return
        intent = working.order.intent
        if intent.role is OrderRole.STOP and intent.symbol in self._positions:
            self._events.append(OrderUpdate(working.order))  # protective: it goes with its position, never before
            return
        working.then_takes = False
        self._want_cancel(working, note)

    def move_stop(self, symbol: str, stop_px: float, now_ms: int) -> bool:
        """Move a position's stop: the new one is placed first (see `due_orders`). Return whether there is one."""
        position = self._positions.get(symbol)
        if position is None or symbol in self._chases:
            return False
        self._positions[symbol] = replace(position, stop_px=stop_px)
        return True

    def drain(self) -> list[OrderEvent]:
        """Return and clear the events since the last call, in order."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ market input: prices to bound takers by

    def on_trades(self, trades: Iterable[PublicTrade]) -> None:
        """Public trades fill nothing here."""

    def on_book(self, book: Book) -> None:
        """Keep the newest book."""
        self._books[book.symbol] = book

    def on_context(self, contexts: Iterable[AssetContext]) -> None:
        """Keep the newest mark."""
        for context in contexts:
            self._contexts[context.symbol] = context

    def on_time(self, now_ms: int) -> None:
        """Cancel resting entries whose time is over; their remainder is taken once the venue has said what filled."""
        for working in list(self._live.values()):
            if (due_ms := _fallback_ms(working)) is not None and now_ms >= due_ms:
                working.then_takes = True
                self._want_cancel(working, "takes: not filled in time")

    def next_deadline_ms(self) -> int | None:
        """Return the venue time of the next `on_time` that changes something; None when there is none."""
        due = (_fallback_ms(working) for working in self._live.values())
        return min((at_ms for at_ms in due if at_ms is not None), default=None)

    # ------------------------------------------------------------ state

    @property
    def positions(self) -> tuple[Position, ...]:
        """Positions by the venue's fills, by symbol."""
        return tuple(self._positions[symbol] for symbol in sorted(self._positions))

    @property
    def live_orders(self) -> tuple[Order, ...]:
        """Orders that can still fill, stops included, in the order of submission."""
        return tuple(working.order for working in self._live.values())

    @property
    def account(self) -> VenueAccount | None:
        """The account as the venue last had it."""
        return self._watch.account

    @property
    def account_reads(self) -> int:
        """How many reads of the account were answered, for who has to see it flat twice."""
        return self._watch.reads

    def is_closing(self, symbol: str) -> bool:
        """Whether closing orders of the coin follow one another until it is flat."""
        return symbol in self._chases and symbol in self._positions

    def is_settled(self) -> bool:
        """Whether the venue owes no answer that would come by itself now."""
        return self._port.is_idle() and not any(
            w.command is not None or w.cancel_command is not None or w.misses_fills for w in self._live.values()
        )

    def coverage(self, symbol: str) -> Decimal | None:
        """Return which share of a position resting stops cover, 0..1; None when flat."""
        position = self._positions.get(symbol)
        return None if position is None else protection(position, self._protective()).coverage

    def liquidation_px(self, symbol: str) -> Decimal | None:
        """Return where the venue would liquidate a position, as it last said; None when it does not say."""
        held = () if self._watch.account is None else self._watch.account.positions
        return next((position.liquidation_px for position in held if position.symbol == symbol), None)

    def take_told(self) -> tuple[Told, ...]:
        """Return and clear what a person should know."""
        return self._voice.take()

    def take_ended(self) -> tuple[Order, ...]:
        """Return and clear the orders that have ended since the last call, with a fill or without."""
        ended, self._ended = tuple(self._ended), []
        return ended

    def differs(self) -> bool:
        """Whether the last reads of the account differed from the books in what matters."""
        return self._watch.differs

    def take_funding(self) -> tuple[FundingPayment, ...]:
        """Return and clear the funding that the venue has booked since the last call."""
        funding, self._funding = tuple(self._funding), []
        return funding

    def trouble(self) -> str | None:
        """Return why no entry may be made, apart from limits; None when nothing stands against it."""
        found = self._watch.trouble() or self._leverage.trouble()
        if found is None and self._config.execution.unknown_positions == "refuse":
            unknown = next((p.symbol for p in self.positions if p.strategy == OUTSIDE), None)
            if unknown is not None:
                return f"{unknown}: a position that perpbot did not open (execution.unknown_positions: refuse)"
        return found

    def restore_positions(self, positions: Iterable[Position]) -> None:
        """Take positions as the stored fills add up to them, with their stored stops; after `restore`.

        An entry that has filled and holds nothing any more was to go with its position.
        """
        self._positions = {position.symbol: position for position in positions}
        for position in self.positions:
            self._flatten_unknown(position)
        for working in self._live.values():
            order = working.order
            if order.intent.role is OrderRole.ENTRY and order.filled > 0 and order.intent.symbol not in self._positions:
                working.cancel_note = "its position was closed"

    def restore(self, stored: Sequence[Order], fill_ids: Iterable[str], last_fill_ms: int) -> None:
        """Go on after a restart from every stored order (oldest first) and booked fill.

        An order that was on disk and not answered may have reached the venue: it is asked for, and written off only
        once its validity is over.
        """
        self._seen_fills = set(fill_ids)
        self._read_until_ms = max(self._read_until_ms, last_fill_ms)
        self._identities.use(order.intent.cloid for order in stored)
        for order in stored:
            cloid = order.intent.cloid
            if cloid.startswith(PREFIX):
                self._outside[cloid] = order
            elif not order.is_live:
                self._finished[cloid] = order
            else:
                asked = orders.unanswered(order, order.updated_ms, "its answer was lost with the last run")
                self._live[cloid] = Working(asked, look_again_at_s=0.0)
                if order.intent.role is OrderRole.EXIT:
                    self._chases.joined(order.intent)
                if asked is not order:
                    self._events.append(OrderUpdate(asked))

    def find(self, account: VenueAccount) -> None:
        """Take the positions that the account was found with into the books, at the venue's entry prices."""
        for held in account.positions:
            fill = found_fill(held, self._baseline_ms)
            if fill is not None:
                self._take_outside_fill(fill)

    # ------------------------------------------------------------ one pass

    def begin_pass(self, now_ms: int, now_s: float) -> None:
        """Take the venue's and the monotonic time of a pass, and do what waited for them."""
        self._now_ms, self._now_s = now_ms, now_s
        for working in list(self._live.values()):
            if working.look_again_at_s is not None and now_s >= working.look_again_at_s:
                self._look_again(working)
        coin = self._leverage.due(now_s)
        if coin is not None:
            self._port.put(ReadCoin(self._identities.next_number(), coin))
        if now_s >= self._next_budget_s:
            self._next_budget_s = now_s + BUDGET_EVERY_S
            self._port.put(ReadBudget(self._identities.next_number()))
        if self._watch.is_due(now_s) and not any(kind == "account" for kind, _ in self._asked.values()):
            self.read_account()

    def due_orders(self) -> tuple[OrderIntent, ...]:
        """Return the orders that have to go out now, each once: stops, further closing orders, remainders.

        The loop commits and submits them at once; superfluous stops are cancelled here.
        """
        found: list[OrderIntent] = []
        for position in self.positions:
            live = self._protective()
            state = self._guard.look(position, live, self._now_ms, self._now_s)
            for cloid in state.superfluous:
                self._want_cancel(self._live[cloid], "replaced by a newer stop")
            stop = self._guard.stop_due(position, state, live, self._now_ms, self._now_s)
            found += [] if stop is None else [stop]
        leaving = {w.order.intent.symbol for w in self._live.values() if w.is_leaving_entry}
        found += self._chases.due(self._positions, self.live_orders, leaving, self._now_ms, self._now_s)
        found += self._remainders
        self._remainders = []
        for working in list(self._live.values()):
            intent = working.order.intent
            held = self._positions.get(intent.symbol)
            if intent.role is OrderRole.STOP and (held is None or intent.side is not held.side.closing):
                self._want_cancel(working, "reduce-only: position closed")
        return tuple(found)

    def _protective(self) -> tuple[Order, ...]:
        """Return the live orders that may count as protection: one that is being cancelled protects nothing."""
        return tuple(working.as_rests for working in self._live.values() if working.cancel_note is None)

    def resync(self) -> None:
        """Read fills, funding and the account: after a reconnect, the stream has lost what it told meanwhile."""
        self._read_fills(self._read_until_ms)
        since_ms = max(self._baseline_ms, self._now_ms - 2 * HOUR_MS)
        self._ask(ReadFunding(self._identities.next_number(), since_ms), "funding")
        self.read_account()
        for working in self._live.values():
            if working.command is None and not working.is_settling:
                working.look_again_at_s = self._now_s  # what the stream would have told of it is lost

    def read_account(self, cls: RequestClass = RequestClass.RECONCILE) -> None:
        """Ask for positions and open orders."""
        self._watch.asked(self._now_s)
        self._ask(ReadAccount(self._identities.next_number(), cls), "account")

    def confirm_flat(self) -> None:
        """Ask for the account now, unless that is under way: somebody wants to see it flat."""
        if not any(kind == "account" for kind, _ in self._asked.values()):
            self.read_account(RequestClass.PROTECTIVE)

    # ------------------------------------------------------------ events

    def on_event(self, event: AccountEvent) -> None:
        """Take one of the venue's answers or reports; a repeated or late one changes nothing."""
        if isinstance(event, FillsReported):
            _, asked_for = self._asked.pop(event.number or 0, ("", ""))
            for fill in event.fills:
                self._take_fill(fill)
            self._read_until_ms = max(self._read_until_ms, self._reading.pop(event.number or 0, 0))
            self._take_fills_read(asked_for)
        elif isinstance(event, OrdersReported):
            for report in event.reports:
                self._take_report(report)
        elif isinstance(event, ActionAnswered):
            self._take_answer(event)
        elif isinstance(event, ActionSettled):
            self._take_settled(event)
        elif isinstance(event, OrderAsked):
            self._take_asked(event)
        elif isinstance(event, AccountRead):
            self._take_account(event)
        elif isinstance(event, FundingReported):
            self._asked.pop(event.number or 0, None)
            self._funding += [self._payment(row) for row in event.payments if row.at_ms > self._baseline_ms]
        elif isinstance(event, CoinRead):
            self._take_coin(event)
        elif isinstance(event, ReadFailed):
            self._take_failure(event)

    def _take_answer(self, event: ActionAnswered) -> None:
        kind, cloid = self._sent.pop(event.number, ("", ""))
        working = self._live.get(cloid)
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
            self._keep(working, orders.unanswered(working.order, self._now_ms, event.text))
        elif event.outcome is ActionOutcome.REJECTED:
            self._refused(working, event.reason, event.text)
        else:
            self._end(working, OrderState.CANCELLED, f"not sent: {event.text}")

    def _take_entry(self, working: Working, answer: EntryAnswer) -> None:
        if answer.oid is not None:
            working.oid = answer.oid
            self._identities.bind(answer.oid, working.cloid)
        if answer.outcome is EntryOutcome.REFUSED:
            self._refused(working, answer.reason, answer.text)
            return
        if answer.outcome is EntryOutcome.UNCLEAR:
            working.look_again_at_s = self._now_s
            self._keep(working, orders.unanswered(working.order, self._now_ms, answer.text))
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
            self._voice.tell(
                "REFUSED", f"{intent.role} {intent.symbol}: {text}; {rule.then}", intent.symbol, grave=True
            )
        position = self._positions.get(intent.symbol)
        if reason == Reason.TRIGGER_PX and intent.role is OrderRole.STOP and position is not None:
            self._guard.stop_was_passed(position, intent.reason, self._now_ms, self._now_s)
        if reason == Reason.REDUCE_ONLY or (reason == Reason.MINIMUM and intent.reduce_only):
            # The position is gone or turned, or larger than what was to close all of it: the stream has not told.
            self._read_fills(self._read_until_ms)
            self._watch.read_again(self._now_s)
        working.then_takes = False  # a refusal is not answered by taking what was refused
        self._end(working, OrderState.CANCELLED if reason == Reason.NO_MATCH else OrderState.REJECTED, text)

    def _take_cancel_answer(self, working: Working, event: ActionAnswered) -> None:
        working.cancel_command = None
        entry = event.entries[0] if event.outcome is ActionOutcome.ACCEPTED else None
        if entry is not None and entry.outcome is EntryOutcome.DONE:
            working.look_again_at_s = self._now_s + WORD_WAIT_S  # for what it left, unless the stream tells
        elif entry is not None and entry.reason == Reason.GONE:
            self._ask_for(working)
        else:
            working.look_again_at_s = self._now_s + working.patience_s()

    def _take_settled(self, event: ActionSettled) -> None:
        _, cloid = self._sent.pop(event.number, ("", ""))
        working = self._live.get(cloid)
        if working is not None:
            working.is_settling = False
        for report in event.found:
            self._take_report(report)
        if working is None or cloid not in self._live:
            return
        if cloid in event.never:
            self._end(working, OrderState.CANCELLED, "it never reached the venue")
        elif cloid in event.untraced:
            intent = working.order.intent
            text = f"{intent.role} {intent.side} {intent.size} {intent.symbol}: the venue knows nothing of it"
            self._voice.tell("UNTRACED", f"{text}; the account decides", intent.symbol, grave=True)
            working.then_takes = False  # it may rest or have filled: taking its rest could double it
            self._end(working, OrderState.CANCELLED, "untraced: its nonce is spent, no order is known")
            self.resync()

    def _take_report(self, report: OrderReport) -> None:
        working = self._live.get(self._identities.cloid_of(report.oid, report.cloid) or "")
        if working is None or working.ended is not None:
            return  # of another's, of one that has ended, or a late one
        working.oid = report.oid
        self._identities.bind(report.oid, working.cloid)
        if report.is_open:
            working.shrink(report.left)
            self._accept(working)
            self._doubt_position(working)
        else:
            working.ended = report.status
            working.venue_filled = report.filled
        self._advance(working)

    def _doubt_position(self, working: Working) -> None:
        """Read the fills when the venue shrank a stop below what the books hold: it holds less."""
        intent = working.order.intent
        held = self._positions.get(intent.symbol)
        if intent.role is not OrderRole.STOP or held is None or intent.side is held.side.opening:
            return
        if working.rests is not None and working.rests < min(held.size, working.order.remaining):
            self._read_fills(self._read_until_ms)
            self._watch.read_again(self._now_s)

    def _take_asked(self, event: OrderAsked) -> None:
        self._asked = {number: asked for number, asked in self._asked.items() if asked != ("order", event.cloid)}
        working = self._live.get(event.cloid)
        if working is None:
            return
        asked_ms, working.asked_ms = working.asked_ms, None
        if working.command is not None or working.is_settling:
            return
        if event.report is not None:
            self._take_report(event.report)
            if working.cloid in self._live and working.cancel_note is not None and working.is_at_venue:
                working.look_again_at_s = self._now_s + working.patience_s()  # the cancel was not taken, or is late
            return
        intent = working.order.intent
        over_ms = intent.created_ms + self._entry_valid_ms + EXPIRED_MARGIN_MS
        if intent.role is OrderRole.ENTRY and (asked_ms is None or asked_ms < over_ms):
            working.look_again_at_s = self._now_s + working.patience_s()  # it may have been on its way then
            return
        self._end(working, OrderState.CANCELLED, "the venue does not know it")

    def _take_coin(self, event: CoinRead) -> None:
        symbol = event.symbol
        is_flat = symbol not in self._positions and not any(o.intent.symbol == symbol for o in self.live_orders)
        action = self._leverage.take(event, is_flat=is_flat)
        if action is not None:
            number = self._identities.next_number()
            self._port.put(SendAction(number, action, RequestClass.RECONCILE, sent_ms=self._now_ms))

    def _take_account(self, event: AccountRead) -> None:
        self._asked.pop(event.number, None)
        moving = any(working.is_moving for working in self._live.values())
        lost = self._watch.take(event, self.positions, self.live_orders, is_moving=moving, now_s=self._now_s)
        for cloid in lost or ():
            self._ask_for(self._live[cloid])
        for rests in event.orders:
            if rests.cloid in self._live:
                self._live[rests.cloid].shrink(rests.left)
        if lost is not None:
            self._end_strays()
        if lost is not None and self._watch.has_suspects:
            # What stays different may be a fill from before the stored ones, lost by an earlier run.
            self._look_back_ms = min(LOOK_BACK_MAX_MS, self._look_back_ms * 10) if self._watch.position_differs else 0
            self._read_fills(max(self._baseline_ms, self._read_until_ms - self._look_back_ms))
            self._look_back_ms = max(self._look_back_ms, FILLS_BEFORE_MS)

    def _end_strays(self) -> None:
        """Cancel orders of ours that the venue has resting, seen twice, though they ended here (untraced ones).

        A stop stays for as long as no other covers the position where it has to.
        """
        for item in self._watch.drift:
            order = self._finished.get(item.cloid or "")
            if item.kind is not Drift.FOREIGN_ORDER or order is None:
                continue
            held = self._positions.get(item.symbol)
            if order.intent.role is not OrderRole.STOP or held is None or protection(held, self._protective()).is_good:
                self._put_cancel(order.intent)

    def _take_failure(self, event: ReadFailed) -> None:
        kind, cloid = self._asked.pop(event.number, ("", ""))
        self._reading.pop(event.number, None)
        if kind == "account":
            self._watch.failed(event.text, self._now_s)
        elif kind in ("fills", "funding"):
            self._watch.read_again(self._now_s)  # a difference there asks for the fills again
        working = self._live.get(cloid)
        if working is not None:
            working.asked_ms = None
            working.look_again_at_s = self._now_s + working.patience_s()

    # ------------------------------------------------------------ fills and funding

    def _take_fill(self, fill: VenueFill) -> None:
        if fill.fill_id in self._seen_fills or fill.at_ms <= self._baseline_ms:
            return  # booked, or part of the account as it was found
        self._seen_fills.add(fill.fill_id)
        if fill.builder_fee_usd:
            text = f"{fill.symbol}: a builder took {fill.builder_fee_usd} USD of a fill; none is configured"
            self._voice.tell("BUILDER_FEE", text, fill.symbol, grave=True)
        cloid = self._identities.cloid_of(fill.oid, fill.cloid) or ""
        working = self._live.get(cloid)
        if working is not None:
            self._accept(working)
            working.oid = fill.oid
            self._identities.bind(fill.oid, cloid)
            self._book(fill, working.order, fill.fill_id)
            self._advance(working)
        elif cloid in self._finished:
            self._book(fill, self._finished[cloid], fill.fill_id)
        else:
            self._take_outside_fill(fill)

    def _take_fills_read(self, cloid: str) -> None:
        """Fills were read because an order misses some: believe them where the venue's count cannot be.

        What is left of a reduce-only order shrinks with the position, its size stays: the difference is no fill.
        """
        working = self._live.get(cloid)
        if working is None or not working.misses_fills or not working.order.intent.reduce_only:
            return
        working.fill_reads += 1
        if working.fill_reads >= FILL_READS:
            working.venue_filled = working.order.filled
            self._advance(working)

    def _take_outside_fill(self, fill: VenueFill) -> None:
        """Book a fill that is not ours; one that turns a position closes it, and opens one that is not ours either."""
        position = self._positions.get(fill.symbol)
        if position is None or fill.side is position.side.opening or fill.size <= position.size:
            self._take_outside_part(fill, fill.fill_id)
            return
        closing, opening = split_fill(fill, position.size)
        self._take_outside_part(closing, fill.fill_id)
        self._take_outside_part(opening, f"{fill.fill_id}:{OPENED}")

    def _take_outside_part(self, fill: VenueFill, fill_id: str) -> None:
        position = self._positions.get(fill.symbol)
        policy = self._config.execution.unknown_positions
        strategy = self._config.trading.strategy if policy == "adopt" else OUTSIDE
        order = outside_order(fill, position, self._outside.get(outside_cloid(fill)), strategy)
        text = f"{order.intent.reason}: {fill.side} {fill.size} {fill.symbol} @ {fill.px} ({fill.direction})"
        who = "by perpbot without its daemon" if is_direct(fill) else "not by perpbot"
        self._voice.tell("OUTSIDE", f"{text}, {who}", fill.symbol, grave=not is_direct(fill))
        self._book(fill, order, fill_id)
        opened = self._positions.get(fill.symbol)
        if opened is not None:
            self._flatten_unknown(opened)

    def _flatten_unknown(self, position: Position) -> None:
        if self._config.execution.unknown_positions == "flatten" and position.strategy == OUTSIDE:
            self._chases.start(position, FLATTEN_UNKNOWN, self._now_ms)

    def _book(self, fill: VenueFill, order: Order, fill_id: str) -> None:
        """Book one fill: the order's new value, the position, the event."""
        intent, symbol = order.intent, fill.symbol
        before = self._positions.get(symbol)
        booked = Fill(
            fill_id=fill_id,
            cloid=intent.cloid,
            symbol=symbol,
            side=fill.side,
            px=fill.px,
            size=fill.size,
            fee_usd=fill.fee_usd,
            liquidity=fill.liquidity,
            venue_ms=fill.at_ms,
            role=intent.role,
            strategy=intent.strategy,
            source=SOURCE,
            reason=intent.reason,
            closed_pnl_usd=realized_by(before, fill.side, fill.size, fill.px),
        )
        try:
            filled = orders.filled(order, fill.size, fill.px, fill.at_ms)
        except OrderRuleError as error:
            # The money has moved, whatever our order says: it is booked, and a person looks at it.
            self._voice.tell("RECONCILE", f"a fill that its order does not allow: {error}", symbol, grave=True)
            filled = order
        effect = after_fill(before, booked, intent, self._stop_rule)
        if effect.position is None:
            self._positions.pop(symbol, None)
        else:
            self._positions[symbol] = effect.position
            self._shrink_stops(effect.position)
        self._store(filled)
        self._events.append(OrderFilled(filled, booked))
        if effect.position is None or (before is not None and effect.position.side is not before.side):
            self._closed(symbol)

    def _shrink_stops(self, position: Position) -> None:
        """What rests reduce-only is never larger than the position, and does not grow with it again."""
        for working in self._live.values():
            if working.order.intent.symbol == position.symbol:
                working.shrink(position.size)

    def _closed(self, symbol: str) -> None:
        """A position is gone: nothing may fill behind it; its stops go with the next `due_orders`."""
        self._guard.forget(symbol)
        self._remainders = [intent for intent in self._remainders if intent.symbol != symbol]
        for working in list(self._live.values()):
            if working.order.intent.symbol == symbol and working.order.intent.role is OrderRole.ENTRY:
                working.then_takes = False
                self._want_cancel(working, "its position was closed")

    def _payment(self, row: VenueFunding) -> FundingPayment:
        """Return the venue's funding as ours; the oracle price, which it does not tell, follows from the payment."""
        position, context = self._positions.get(row.symbol), self._contexts.get(row.symbol)
        oracle = Decimal(0) if context is None else to_decimal(context.oracle_px)
        if row.rate != 0 and row.signed_size != 0:
            oracle = -row.usd / (row.signed_size * row.rate)
        strategy = OUTSIDE if position is None else position.strategy
        hour_ms = row.at_ms - row.at_ms % HOUR_MS
        return FundingPayment(row.symbol, hour_ms, row.signed_size, oracle, row.rate, row.usd, strategy, SOURCE)

    # ------------------------------------------------------------ orders

    def _accept(self, working: Working) -> None:
        order = orders.accepted(working.order, self._now_ms)
        if order is not working.order:
            self._keep(working, order)
        if working.cancel_note is not None and working.cancel_command is None and working.ended is None:
            self._send_cancel(working)

    def _advance(self, working: Working) -> None:
        """End an order whose end the venue has told, once its fills are booked; ask for fills that are missing."""
        if working.cloid not in self._live:
            return
        if working.misses_fills:
            if working.look_again_at_s is None:
                working.look_again_at_s = self._now_s + FILLS_WAIT_S
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
            ended = orders.rejected(order, self._now_ms, note)
        else:
            ended = orders.cancelled(order, self._now_ms, note)
        self._store(ended)
        self._events.append(OrderUpdate(ended))
        if working.then_takes:
            self._take_remainder(ended)

    def _store(self, order: Order) -> None:
        """Remember an order's new value where it belongs now."""
        cloid = order.intent.cloid
        if cloid.startswith(PREFIX):
            self._outside[cloid] = order
        elif cloid in self._live and order.is_live:
            self._live[cloid].order = order
        else:
            if self._live.pop(cloid, None) is not None:
                self._ended.append(order)
            self._finished[cloid] = order
            if len(self._finished) > _FINISHED_KEPT:
                del self._finished[next(iter(self._finished))]

    def _keep(self, working: Working, order: Order) -> None:
        working.order = order
        self._events.append(OrderUpdate(order))

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
        self._remainders.append(replace(taker, limit_px=px, created_ms=self._now_ms))

    def _venue_order(self, intent: OrderIntent) -> wire.VenueOrder:
        symbol = intent.symbol
        instrument = self._instruments.get(symbol)
        if instrument is None:
            raise OrderRuleError(f"the venue has no perp called {symbol}")
        bound = self._chases.bound(symbol) if intent.role is OrderRole.EXIT else self._entry_bound
        return venue_order(intent, instrument, self._books.get(symbol), self._contexts.get(symbol), bound)

    # ------------------------------------------------------------ cancels and questions

    def _want_cancel(self, working: Working, note: str) -> None:
        """Cancel an order, now or once the venue has told that it has it; the first reason is kept."""
        if working.cancel_note is not None:
            return
        working.cancel_note = note
        if working.is_at_venue and working.command is None:
            self._send_cancel(working)

    def _send_cancel(self, working: Working) -> None:
        working.cancel_command = self._put_cancel(working.order.intent)

    def _put_cancel(self, intent: OrderIntent) -> int | None:
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            return None
        number = self._identities.next_number()
        self._sent[number] = ("cancel", intent.cloid)
        action = wire.cancel_by_cloid_action([(instrument.asset_id, intent.cloid)])
        # Ending an entry order is protection: nothing may fill behind a kill or an exit.
        cls = RequestClass.PROTECTIVE if intent.role is OrderRole.ENTRY else RequestClass.EXIT
        self._port.put(SendAction(number, action, cls, sent_ms=self._now_ms))
        return number

    def _look_again(self, working: Working) -> None:
        """What was promised has not been told in time: ask for it, or do it again."""
        working.look_again_at_s = None
        if working.misses_fills:
            self._read_fills(min(working.order.intent.created_ms, self._read_until_ms), working.cloid)
            working.look_again_at_s = self._now_s + working.patience_s()
        elif (
            working.cancel_note is not None and working.is_at_venue and working.cancel_command is None and working.asks
        ):
            working.asks = 0
            self._send_cancel(working)
        elif working.command is None and working.cancel_command is None and not working.is_settling:
            self._ask_for(working)

    def _ask_for(self, working: Working) -> None:
        working.asks += 1
        if working.asked_ms is None:
            working.asked_ms = self._now_ms
        cls = _CLASSES[working.order.intent.role]
        self._ask(AskForOrder(self._identities.next_number(), working.cloid, cls), "order", working.cloid)

    def _read_fills(self, since_ms: int, cloid: str = "") -> None:
        number, since_ms = self._identities.next_number(), max(0, since_ms - FILLS_BEFORE_MS)
        self._reading[number] = self._now_ms
        self._ask(ReadFills(number, since_ms, RequestClass.PROTECTIVE), "fills", cloid)

    def _ask(self, command: Command, kind: str, cloid: str = "") -> None:
        self._asked[command.number] = (kind, cloid)
        self._port.put(command)


def _fallback_ms(working: Working) -> int | None:
    """Return when a resting entry is cancelled to take; None for what is not one, or is being cancelled."""
    intent = working.order.intent
    rests = intent.role is OrderRole.ENTRY and intent.order_type is OrderType.LIMIT
    return intent.expires_ms if rests and working.cancel_note is None else None
