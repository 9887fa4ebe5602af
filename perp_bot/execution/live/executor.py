"""Live trading: our orders at the venue, as state machines that events move and that never wait.

Everything here runs on the loop's thread and is a function of its calls: intents and cancels in, the venue's answers
and reports in, commands for the venue thread and order events out. It reads no clock (`begin_pass` brings both times)
and sends nothing whose intent is not on disk: what it wants to send next it hands to the loop (`due_orders`), which
commits the intent and submits it.

- An entry rests as a limit until `expires_ms`; then it is cancelled, what filled is settled by the venue's word, and
  the remainder alone is taken at once within `max_slippage_pct`.
- Every position has a resting reduce-only stop at its `stop_px` (`protection`); a new one is placed before an old one
  is cancelled. Without full coverage for the grace it is placed again and told; for twice as long, the position is
  closed.
- A closing order that did not close is followed by another, until the position is gone.
- Positions are kept from the venue's fills. The venue's account is read every minute and after every reconnect, and
  compared (`reconcile`); a difference seen twice stops entries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.account_events import (
    AccountEvent,
    AccountRead,
    ActionAnswered,
    ActionOutcome,
    ActionSettled,
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
    Liquidity,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderState,
    OrderType,
    Position,
    PublicTrade,
)
from perp_bot.core.venue_account import OrderReport, VenueAccount, VenueFill
from perp_bot.data.limiter import RequestClass
from perp_bot.execution import orders
from perp_bot.execution.account import LIQUIDATION, TRAILING_STOP
from perp_bot.execution.closing import exit_intent
from perp_bot.execution.executor import OrderEvent, OrderFilled, OrderUpdate
from perp_bot.execution.live import reconcile, wire
from perp_bot.execution.live.commands import (
    AskForOrder,
    Command,
    ReadAccount,
    ReadFills,
    ReadFunding,
    SendAction,
    VenuePort,
)
from perp_bot.execution.live.pricing import EXIT_BOUNDS, venue_order
from perp_bot.execution.live.protection import Protection, protection, stops_of
from perp_bot.execution.live.rejections import RULES, Reason
from perp_bot.execution.live.working import Chase, Working
from perp_bot.execution.positions import StopRule, after_fill, realized_by
from perp_bot.execution.stops import stop_intent, stop_reason

LOG = logging.getLogger(__name__)

SOURCE = "live"
OUTSIDE = "outside"  # the strategy of what the account's owner, or the venue, did beside us
UNPROTECTED = "unprotected"

FILLS_WAIT_S = 0.3  # an answer that names a fill, and the stream that has not told it yet
WORD_WAIT_S = 0.5  # a cancel that was taken, and the stream that has not told what it left
ASK_AGAIN_S = 1.0
ASK_AGAIN_MAX_S = 10.0
READ_EVERY_S = 60.0
READ_AGAIN_S = 1.0
REARM_MAX_S = 5.0
CHASE_MAX_S = 5.0
FILLS_BEFORE_MS = 60_000
EXPIRED_MARGIN_MS = 5_000
_FINISHED_KEPT = 1_000
_BLOCKING = frozenset(reconcile.Drift) - {reconcile.Drift.FOREIGN_ORDER, reconcile.Drift.PRICE}

_CLASSES = {
    OrderRole.ENTRY: RequestClass.ENTRY,
    OrderRole.EXIT: RequestClass.EXIT,
    OrderRole.STOP: RequestClass.PROTECTIVE,
}


@dataclass(frozen=True, slots=True)
class Told:
    """Something a person should know of, for the log and the alerts."""

    kind: str
    text: str
    symbol: str | None
    is_grave: bool


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
        self._grace_s = config.execution.protection_grace_seconds
        self._entry_bound = to_decimal(config.execution.max_slippage_pct)
        self._live: dict[str, Working] = {}  # by cloid, in the order of submission
        self._finished: dict[str, Order] = {}
        self._known: set[str] = set()  # every client order id ever used here
        self._cloids: dict[int, str] = {}  # by the venue's order id
        self._outside: dict[str, Order] = {}
        self._positions: dict[str, Position] = {}
        self._books: dict[str, Book] = {}
        self._contexts: dict[str, AssetContext] = {}
        self._seen_fills: set[str] = set()
        self._last_fill_ms = baseline_ms
        self._events: list[OrderEvent] = []
        self._funding: list[FundingPayment] = []
        self._told: list[Told] = []
        self._remainders: list[OrderIntent] = []  # what resting entries left, to be taken
        self._chases: dict[str, Chase] = {}
        self._uncovered_s: dict[str, float] = {}  # since when (monotonic)
        self._arm: dict[str, tuple[int, float]] = {}  # stops tried, and when to try again
        self._warned: set[str] = set()
        self._number = 0
        self._asked: dict[int, tuple[str, str]] = {}  # reads under way: (kind, cloid)
        self._sent: dict[int, tuple[str, str]] = {}  # actions under way: (place or cancel, cloid)
        self._now_ms = 0
        self._now_s = 0.0
        self._next_read_s = 0.0
        self._suspects: frozenset[tuple[str, str, int | None, str | None]] = frozenset()
        self._known_foreign: frozenset[tuple[str, int | None]] = frozenset()
        self.drift: tuple[reconcile.Difference, ...] = ()
        self.account: VenueAccount | None = None
        self.account_reads = 0  # answered reads of the account, for who has to see it flat twice
        self.read_trouble: str | None = None

    # ------------------------------------------------------------ Executor

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Send an order whose intent is on disk; a repeated cloid is answered with the order as it stands."""
        working = self._live.get(intent.cloid)
        known = working.order if working is not None else self._finished.get(intent.cloid)
        if known is not None:
            self._events.append(OrderUpdate(known))
            return
        self._known.add(intent.cloid)
        working = self._live[intent.cloid] = Working(orders.new_order(intent))
        if intent.role is OrderRole.EXIT:
            chase = self._chases.setdefault(intent.symbol, Chase(intent.reason, intent.decision_id))
            chase.orders.append(intent.cloid)
        try:
            action = wire.order_action([self._venue_order(intent)])
        except OrderRuleError as error:
            self._end(working, OrderState.REJECTED, now_ms, str(error))
            return
        number = working.command = self._next_number()
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
            intent = working.order.intent
            is_resting_entry = intent.role is OrderRole.ENTRY and intent.order_type is OrderType.LIMIT
            if not is_resting_entry or intent.expires_ms is None or working.cancel_note is not None:
                continue
            if now_ms >= intent.expires_ms:
                working.then_takes = True
                self._want_cancel(working, "takes: not filled in time")

    def next_deadline_ms(self) -> int | None:
        """Return the venue time of the next `on_time` that changes something; None when there is none."""
        due = (
            w.order.intent.expires_ms
            for w in self._live.values()
            if w.order.intent.role is OrderRole.ENTRY and w.cancel_note is None
        )
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
        return None if position is None else self._protection(position).coverage

    def take_told(self) -> tuple[Told, ...]:
        """Return and clear what a person should know."""
        told, self._told = tuple(self._told), []
        return told

    def take_funding(self) -> tuple[FundingPayment, ...]:
        """Return and clear the funding that the venue has booked since the last call."""
        funding, self._funding = tuple(self._funding), []
        return funding

    def trouble(self) -> str | None:
        """Return why no entry may be made, apart from limits; None when nothing stands against it."""
        grave = [item.text for item in self.drift if item.kind in _BLOCKING]
        if grave:
            return "books and venue differ: " + "; ".join(grave)
        if self._config.execution.unknown_positions == "refuse":
            unknown = next((p.symbol for p in self.positions if not self._is_ours(p)), None)
            if unknown is not None:
                return f"{unknown}: a position that perpbot did not open (execution.unknown_positions: refuse)"
        return self.read_trouble

    def restore_positions(self, positions: Iterable[Position]) -> None:
        """Take positions as the stored fills add up to them, with their stored stops."""
        self._positions = {position.symbol: position for position in positions}

    def restore(self, stored: Sequence[Order], fill_ids: Iterable[str], last_fill_ms: int) -> None:
        """Go on after a restart from every stored order (oldest first) and booked fill.

        An order that was on disk and not answered may have reached the venue: it is asked for, and written off only
        once its validity is over.
        """
        self._seen_fills = set(fill_ids)
        self._last_fill_ms = max(self._last_fill_ms, last_fill_ms)
        for order in stored:
            self._known.add(order.intent.cloid)
            if order.intent.cloid.startswith("venue:"):
                self._outside[order.intent.cloid] = order
            elif order.is_live:
                note = "its answer was lost with the last run"
                working = Working(orders.unanswered(order, order.updated_ms, note))
                working.asked_again_at_s = 0.0
                self._live[order.intent.cloid] = working
                if working.order is not order:
                    self._events.append(OrderUpdate(working.order))
            else:
                self._finished[order.intent.cloid] = order

    # ------------------------------------------------------------ one pass

    def begin_pass(self, now_ms: int, now_s: float, *, reads: bool = True) -> None:
        """Take the venue's and the monotonic time of a pass, and do what waited for them; `reads` False: no more."""
        self._now_ms, self._now_s = now_ms, now_s
        if not reads:
            self._next_read_s = now_s + READ_AGAIN_S
            return
        for working in list(self._live.values()):
            if working.asked_again_at_s is not None and now_s >= working.asked_again_at_s:
                self._ask_again(working)
        if now_s >= self._next_read_s and not any(kind == "account" for kind, _ in self._asked.values()):
            self.read_account()

    def due_orders(self) -> tuple[OrderIntent, ...]:
        """Return the orders that have to go out now, each once: remainders, stops, further closing orders.

        The loop commits and submits them at once; superfluous stops are cancelled here.
        """
        found: list[OrderIntent] = []
        for position in self.positions:
            intent = self._protect(position)
            if intent is not None:
                found.append(intent)
        for symbol in list(self._chases):
            intent = self._next_exit(symbol)
            if intent is not None:
                found.append(intent)
        found += self._remainders
        self._remainders = []
        self._drop_idle_stops()
        return tuple(found)

    def resync(self) -> None:
        """Read fills, funding and the account: after a reconnect, the stream has lost what it told meanwhile."""
        since_ms = max(0, self._last_fill_ms - FILLS_BEFORE_MS)
        self._ask(ReadFills(self._next_number(), since_ms, RequestClass.PROTECTIVE), "fills")
        self._ask(ReadFunding(self._next_number(), max(self._baseline_ms, self._now_ms - 2 * HOUR_MS)), "funding")
        self.read_account()

    def read_account(self, cls: RequestClass = RequestClass.RECONCILE) -> None:
        """Ask for positions and open orders."""
        self._next_read_s = self._now_s + READ_EVERY_S
        self._ask(ReadAccount(self._next_number(), cls), "account")

    # ------------------------------------------------------------ events

    def on_event(self, event: AccountEvent) -> None:
        """Take one of the venue's answers or reports; a repeated or late one changes nothing."""
        if isinstance(event, FillsReported):
            self._asked.pop(event.number or 0, None)
            for fill in event.fills:
                self._take_fill(fill)
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
            self._take_funding(event)
        else:
            assert isinstance(event, ReadFailed)
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
            self._keep(working, orders.unanswered(working.order, self._now_ms, event.text))
            self._sent[event.number] = ("settle", cloid)
        elif event.outcome is ActionOutcome.REJECTED:
            self._refused(working, event.reason, event.text)
        else:
            self._end(working, OrderState.CANCELLED, self._now_ms, f"not sent: {event.text}")

    def _take_entry(self, working: Working, answer: EntryAnswer) -> None:
        if answer.oid is not None:
            working.oid = answer.oid
            self._cloids[answer.oid] = working.cloid
        if answer.outcome is EntryOutcome.REFUSED:
            self._refused(working, answer.reason, answer.text)
        elif answer.outcome is EntryOutcome.UNCLEAR:
            working.asked_again_at_s = self._now_s
            self._keep(working, orders.unanswered(working.order, self._now_ms, answer.text))
        elif answer.outcome is EntryOutcome.FILLED:
            self._accept(working)
            working.venue_filled = answer.size
            if working.order.intent.order_type is OrderType.TAKER:
                working.ended = "immediate: the rest is gone"
            self._advance(working)
        else:
            self._accept(working)
            self._advance(working)

    def _refused(self, working: Working, reason: str, text: str) -> None:
        known = reason in Reason.__members__.values()
        rule = RULES[Reason(reason)] if known else RULES[Reason.UNKNOWN]
        if rule.alerts:
            intent = working.order.intent
            self._tell("REFUSED", f"{intent.role} {intent.symbol}: {text}; {rule.then}", intent.symbol, grave=True)
        if reason == Reason.TRIGGER_PX and working.order.intent.role is OrderRole.STOP:
            self._stop_was_passed(working)
        state = OrderState.CANCELLED if reason == Reason.NO_MATCH else OrderState.REJECTED
        self._end(working, state, self._now_ms, text)

    def _take_cancel_answer(self, working: Working, event: ActionAnswered) -> None:
        working.cancel_command = None
        done = event.outcome is ActionOutcome.ACCEPTED and event.entries[0].outcome is EntryOutcome.DONE
        gone = event.outcome is ActionOutcome.ACCEPTED and event.entries[0].reason == Reason.GONE
        if done:
            working.asked_again_at_s = self._now_s + WORD_WAIT_S  # for what it left, unless the stream tells
        elif gone:
            self._ask_for(working)
        else:
            working.asked_again_at_s = self._now_s + self._patience(working)

    def _take_settled(self, event: ActionSettled) -> None:
        _, cloid = self._sent.pop(event.number, ("", ""))
        for report in event.found:
            self._take_report(report)
        working = self._live.get(cloid)
        if working is None:
            return
        if cloid in event.never:
            self._end(working, OrderState.CANCELLED, self._now_ms, "it never reached the venue")
        elif cloid in event.untraced:
            intent = working.order.intent
            text = f"{intent.role} {intent.side} {intent.size} {intent.symbol}: nothing is known of it at the venue"
            self._tell("UNTRACED", f"{text}; the account decides", intent.symbol, grave=True)
            self._end(working, OrderState.CANCELLED, self._now_ms, "untraced: its nonce is spent, no order is known")
            self.resync()
        elif working.cancel_note is not None:
            self._send_cancel(working)

    def _take_report(self, report: OrderReport) -> None:
        cloid = report.cloid if report.cloid in self._live else self._cloids.get(report.oid)
        working = self._live.get(cloid or "")
        if working is None:
            return  # of another's, or of one that has ended
        if working.oid is None:
            working.oid = report.oid
            self._cloids[report.oid] = working.cloid
        if working.ended is not None:
            return  # a late report of an order that has ended at the venue
        if report.is_open:
            self._accept(working)
        else:
            working.ended = report.status
            working.is_refused = report.status.lower().endswith("rejected")
            working.venue_filled = report.filled
        self._advance(working)

    def _take_asked(self, event: OrderAsked) -> None:
        for number in [n for n, (kind, cloid) in self._asked.items() if kind == "order" and cloid == event.cloid]:
            del self._asked[number]
        working = self._live.get(event.cloid)
        if working is None:
            return
        if event.report is not None:
            self._take_report(event.report)
            if working.cancel_note is not None and working.ended is None and working.cancel_command is None:
                self._send_cancel(working)
            return
        if working.command is not None or self._is_settling(working):
            return
        intent = working.order.intent
        over_ms = intent.created_ms + self._entry_valid_ms + EXPIRED_MARGIN_MS
        if intent.role is OrderRole.ENTRY and self._now_ms < over_ms:
            working.asked_again_at_s = self._now_s + self._patience(working)  # it may still be on its way
            return
        self._end(working, OrderState.CANCELLED, self._now_ms, "the venue does not know it")

    def _take_failure(self, event: ReadFailed) -> None:
        kind, cloid = self._asked.pop(event.number, ("", ""))
        if kind == "account":
            self.read_trouble = f"the account cannot be read: {event.text}"
            self._next_read_s = self._now_s + READ_AGAIN_S * 2
        elif kind == "fills":
            self._ask(ReadFills(self._next_number(), self._last_fill_ms - FILLS_BEFORE_MS), "retry")
        working = self._live.get(cloid)
        if working is not None:
            working.asked_again_at_s = self._now_s + self._patience(working)

    # ------------------------------------------------------------ fills and funding

    def _take_fill(self, fill: VenueFill) -> None:
        if fill.fill_id in self._seen_fills:
            return
        if fill.at_ms <= self._baseline_ms:
            return  # part of the account as it was found
        self._seen_fills.add(fill.fill_id)
        self._last_fill_ms = max(self._last_fill_ms, fill.at_ms)
        if fill.builder_fee_usd and not fill.builder_fee_usd.is_zero():
            text = f"{fill.symbol}: a builder took {fill.builder_fee_usd} USD of a fill; none is configured"
            self._tell("BUILDER_FEE", text, fill.symbol, grave=True)
        cloid = fill.cloid if fill.cloid in self._known else self._cloids.get(fill.oid)
        working = self._live.get(cloid or "")
        if working is not None:
            self._accept(working)
            working.oid = fill.oid
            self._cloids[fill.oid] = working.cloid
            self._book(fill, working.order)
            self._advance(working)
        elif cloid in self._finished:
            self._book(fill, self._finished[cloid])
        else:
            self._take_outside_fill(fill)

    def _book(self, fill: VenueFill, order: Order) -> None:
        """Book one fill of an order: the order's new value, the position, the event."""
        intent = order.intent
        booked = Fill(
            fill_id=fill.fill_id,
            cloid=intent.cloid,
            symbol=fill.symbol,
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
            closed_pnl_usd=realized_by(self._positions.get(fill.symbol), fill.side, fill.size, fill.px),
        )
        try:
            filled = orders.filled(order, fill.size, fill.px, fill.at_ms)
        except OrderRuleError as error:
            # The money has moved, whatever our order says: it is booked, and a person looks at it.
            self._tell("RECONCILE", f"a fill that its order does not allow: {error}", fill.symbol, grave=True)
            filled = order
        effect = after_fill(self._positions.get(fill.symbol), booked, intent, self._stop_rule)
        if effect.position is None:
            self._positions.pop(fill.symbol, None)
        else:
            self._positions[fill.symbol] = effect.position
        self._store(filled)
        self._events.append(OrderFilled(filled, booked))
        if effect.position is None:
            self._closed(fill.symbol)

    def _store(self, order: Order) -> None:
        cloid = order.intent.cloid
        working = self._live.get(cloid)
        if working is not None and order.is_live:
            working.order = order
            return
        self._live.pop(cloid, None)
        if cloid.startswith("venue:"):
            self._outside[cloid] = order
            return
        self._finished[cloid] = order
        if len(self._finished) > _FINISHED_KEPT:
            del self._finished[next(iter(self._finished))]

    def _take_outside_fill(self, fill: VenueFill) -> None:
        """Book a fill that no order of ours made: the owner's own trade, a liquidation, an auto-deleveraging."""
        position = self._positions.get(fill.symbol)
        reduces = position is not None and fill.side is position.side.closing
        cloid = f"venue:{fill.oid}" if fill.oid else f"venue:found:{fill.symbol}"
        reason = _outside_reason(fill)
        before = self._outside.get(cloid)
        size = fill.size + (Decimal(0) if before is None else before.intent.size)
        intent = OrderIntent(
            cloid=cloid,
            decision_id=f"{OUTSIDE}:{fill.symbol}:{fill.oid}",
            symbol=fill.symbol,
            side=fill.side,
            role=OrderRole.EXIT if reduces else OrderRole.ENTRY,
            order_type=OrderType.TAKER,
            size=size,
            limit_px=None,
            trigger_px=None,
            reduce_only=False,
            created_ms=fill.at_ms,
            expires_ms=None,
            strategy=position.strategy if reduces and position is not None else self._outside_strategy,
            source=SOURCE,
            reason=reason,
        )
        order = orders.new_order(intent) if before is None else replace(before, intent=intent, state=OrderState.OPEN)
        text = f"{reason}: {fill.side} {fill.size} {fill.symbol} @ {fill.px} ({fill.direction}), not by perpbot"
        self._tell("OUTSIDE", text, fill.symbol, grave=True)
        self._book(fill, order)

        position = self._positions.get(fill.symbol)
        if position is not None and not reduces and self._config.execution.unknown_positions == "flatten":
            self._chase(position, "flatten_unknown")

    def find(self, account: VenueAccount) -> None:
        """Take the positions that the account was found with into the books, at the venue's entry prices."""
        for held in account.positions:
            if held.entry_px is None:
                continue
            side = OrderSide.BUY if held.signed_size > 0 else OrderSide.SELL
            self._take_outside_fill(
                VenueFill(
                    held.symbol, side, held.entry_px, abs(held.signed_size), Decimal(0), Decimal(0), self._baseline_ms,
                    0, None, 0, Liquidity.TAKER, Decimal(0), "found at the start", "USDC", False, None,
                )
            )  # fmt: skip

    @property
    def _outside_strategy(self) -> str:
        adopts = self._config.execution.unknown_positions == "adopt"
        return self._config.trading.strategy if adopts else OUTSIDE

    def _take_funding(self, event: FundingReported) -> None:
        self._asked = {number: what for number, what in self._asked.items() if what[0] != "funding"}
        for row in event.payments:
            if row.at_ms <= self._baseline_ms:
                continue
            position, context = self._positions.get(row.symbol), self._contexts.get(row.symbol)
            # The venue does not say at which oracle price it booked; the payment itself is exact.
            oracle = Decimal(0) if context is None else to_decimal(context.oracle_px)
            if row.rate != 0 and row.signed_size != 0:
                oracle = -row.usd / (row.signed_size * row.rate)
            strategy = OUTSIDE if position is None else position.strategy
            hour_ms = row.at_ms - row.at_ms % HOUR_MS
            payment = FundingPayment(row.symbol, hour_ms, row.signed_size, oracle, row.rate, row.usd, strategy, SOURCE)
            self._funding.append(payment)

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
            if working.asked_again_at_s is None:
                working.asked_again_at_s = self._now_s + FILLS_WAIT_S
            return
        if working.ended is None:
            return
        note = working.cancel_note or working.ended
        refused = working.is_refused and working.order.filled == 0
        state = OrderState.REJECTED if refused else OrderState.CANCELLED
        self._end(working, state, self._now_ms, note)

    def _end(self, working: Working, state: OrderState, at_ms: int, note: str) -> None:
        order, intent = working.order, working.order.intent
        if state is OrderState.REJECTED and order.state in (OrderState.INTENT, OrderState.UNKNOWN):
            ended = orders.rejected(order, at_ms, note)
        else:
            ended = orders.cancelled(order, at_ms, note)
        self._store(ended)
        self._events.append(OrderUpdate(ended))
        if intent.role is OrderRole.ENTRY and working.then_takes:
            self._take_remainder(ended)
        if intent.role is OrderRole.STOP and intent.symbol in self._positions:
            self._note_arm(intent.symbol)

    def _take_remainder(self, order: Order) -> None:
        """Take what a resting entry left, under a client order id of its own; dust below 10 USD is left."""
        intent, left = order.intent, order.remaining
        if left <= 0:
            return
        attempt = self._fresh(intent.decision_id, OrderRole.ENTRY)
        cloid = orders.cloid_for(SOURCE, intent.decision_id, OrderRole.ENTRY, attempt)
        taker = replace(
            intent,
            cloid=cloid,
            order_type=OrderType.TAKER,
            size=left,
            limit_px=None,
            expires_ms=None,
            created_ms=self._now_ms,
        )
        try:
            px = self._venue_order(taker).px
            check_notional(left, px, closes_whole_position=False)
        except OrderRuleError as error:
            self._tell("CANCELLED", f"{intent.symbol}: the rest of the entry is not taken: {error}", intent.symbol)
            return
        self._remainders.append(replace(taker, limit_px=px))

    def _keep(self, working: Working, order: Order) -> None:
        working.order = order
        self._events.append(OrderUpdate(order))

    def _venue_order(self, intent: OrderIntent) -> wire.VenueOrder:
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            raise OrderRuleError(f"the venue has no perp called {intent.symbol}")
        bound = self._entry_bound
        if intent.role is OrderRole.EXIT:
            chase = self._chases.get(intent.symbol)
            bound = EXIT_BOUNDS[min(0 if chase is None else chase.attempt, len(EXIT_BOUNDS) - 1)]
        return venue_order(intent, instrument, self._books.get(intent.symbol), self._contexts.get(intent.symbol), bound)

    def _want_cancel(self, working: Working, note: str) -> None:
        working.cancel_note = note
        is_at_venue = working.command is None and working.order.state not in (OrderState.INTENT, OrderState.UNKNOWN)
        if is_at_venue and working.cancel_command is None and working.ended is None:
            self._send_cancel(working)

    def _send_cancel(self, working: Working) -> None:
        intent = working.order.intent
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            return
        number = working.cancel_command = self._next_number()
        self._sent[number] = ("cancel", working.cloid)
        action = wire.cancel_by_cloid_action([(instrument.asset_id, working.cloid)])
        # Ending an entry order is protection: nothing may fill behind a kill or an exit.
        cls = RequestClass.PROTECTIVE if intent.role is OrderRole.ENTRY else RequestClass.EXIT
        self._port.put(SendAction(number, action, cls, sent_ms=self._now_ms))

    def _ask_again(self, working: Working) -> None:
        working.asked_again_at_s = None
        if working.cancel_note is not None and working.cancel_command is None and working.ended is None:
            if working.order.state not in (OrderState.INTENT, OrderState.UNKNOWN) and working.asks == 0:
                self._ask_for(working)  # a cancel was taken: what has it left?
                return
            if working.order.state not in (OrderState.INTENT, OrderState.UNKNOWN):
                self._send_cancel(working)
                return
        if working.misses_fills:
            since_ms = min(working.order.intent.created_ms, self._last_fill_ms) - FILLS_BEFORE_MS
            self._ask(ReadFills(self._next_number(), max(0, since_ms), RequestClass.PROTECTIVE), "fills")
            working.asked_again_at_s = self._now_s + self._patience(working)
            return
        if working.command is None and not self._is_settling(working):
            self._ask_for(working)

    def _ask_for(self, working: Working) -> None:
        working.asks += 1
        cls = _CLASSES[working.order.intent.role]
        self._ask(AskForOrder(self._next_number(), working.cloid, cls), "order", working.cloid)

    def _patience(self, working: Working) -> float:
        working.asks += 1
        return min(ASK_AGAIN_MAX_S, float(ASK_AGAIN_S * 2 ** min(working.asks - 1, 5)))

    def _is_settling(self, working: Working) -> bool:
        return ("settle", working.cloid) in self._sent.values()

    def _ask(self, command: Command, kind: str, cloid: str = "") -> None:
        self._asked[command.number] = (kind, cloid)
        self._port.put(command)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _fresh(self, decision_id: str, role: OrderRole) -> int:
        """Return the first attempt of a decision in a role whose client order id was never used."""
        attempt = 0
        while orders.cloid_for(SOURCE, decision_id, role, attempt) in self._known:
            attempt += 1
        return attempt

    def _tell(self, kind: str, text: str, symbol: str | None, *, grave: bool = False) -> None:
        self._told.append(Told(kind, text, symbol, grave))

    # ------------------------------------------------------------ protection

    def _protection(self, position: Position) -> Protection:
        return protection(position, self.live_orders)

    def _is_ours(self, position: Position) -> bool:
        return position.strategy != OUTSIDE

    def _protect(self, position: Position) -> OrderIntent | None:
        """Look at a position's stop; return the one that has to be placed now."""
        symbol, now_s = position.symbol, self._now_s
        found = self._protection(position)
        for cloid in found.superfluous:
            working = self._live[cloid]
            if working.cancel_note is None:
                self._want_cancel(working, "replaced by a newer stop")
        if found.coverage >= 1:
            since_s = self._uncovered_s.pop(symbol, None)
            if symbol in self._warned and since_s is not None:
                self._warned.discard(symbol)
                text = f"{symbol} is protected again after {now_s - since_s:.1f} s"
                self._tell("PROTECTION", text, symbol)
            self._arm.pop(symbol, None)
            if not found.is_wanted:
                return None
        else:
            self._watch_uncovered(position, found)
        tries, next_s = self._arm.get(symbol, (0, 0.0))
        if not found.is_wanted or now_s < next_s or position.stop_px is None:
            return None
        opening = f"{position.entry_decision_id}@{position.opened_ms}"
        attempt = self._fresh(opening, OrderRole.STOP)
        moved = any(o.intent.trigger_px != to_decimal(position.stop_px) for o in stops_of(symbol, self.live_orders))
        reason = TRAILING_STOP if moved and found.coverage >= 1 else stop_reason(position, self._stop_rule)
        self._arm[symbol] = (tries + 1, now_s + min(REARM_MAX_S, 0.25 * 2 ** min(tries, 6)))
        return stop_intent(
            position, to_decimal(position.stop_px), self._now_ms, reason=reason, source=SOURCE, attempt=attempt
        )

    def _watch_uncovered(self, position: Position, found: Protection) -> None:
        symbol = position.symbol
        since_s = self._uncovered_s.setdefault(symbol, self._now_s)
        bare_s = self._now_s - since_s
        if bare_s < self._grace_s:
            return
        if symbol not in self._warned:
            self._warned.add(symbol)
            text = f"{symbol}: {found.coverage:.0%} of the position is covered by a resting stop for {bare_s:.1f} s"
            self._tell("PROTECTION", f"{text}; a stop is being placed again", symbol, grave=True)
        if bare_s >= 2 * self._grace_s and symbol not in self._chases and self._is_ours(position):
            self._tell("PROTECTION", f"{symbol}: no stop for {bare_s:.1f} s: closing", symbol, grave=True)
            self._chase(position, UNPROTECTED)

    def _note_arm(self, symbol: str) -> None:
        """A stop has ended while its position is open: the first replacement goes out at once."""
        if symbol not in self._arm:
            self._arm[symbol] = (0, self._now_s)

    def _stop_was_passed(self, working: Working) -> None:
        """The venue refuses the stop's price: the mark is beyond it, so the position should be closed already."""
        symbol = working.order.intent.symbol
        position = self._positions.get(symbol)
        if position is None or symbol in self._chases:
            return
        if not self._is_ours(position):
            text = f"{symbol}: the mark is beyond the stop of a position that is not perpbot's: it has none"
            self._tell("PROTECTION", text, symbol, grave=True)
            self._arm[symbol] = (6, self._now_s + REARM_MAX_S)
            return
        self._tell("PROTECTION", f"{symbol}: the mark is beyond its stop already: closing", symbol, grave=True)
        self._chase(position, working.order.intent.reason)

    def _drop_idle_stops(self) -> None:
        """Cancel what would only close a position that is gone."""
        for working in self._live.values():
            intent = working.order.intent
            if intent.role is OrderRole.STOP and intent.symbol not in self._positions and working.cancel_note is None:
                self._want_cancel(working, "reduce-only: position closed")

    # ------------------------------------------------------------ closing

    def _chase(self, position: Position, reason: str) -> None:
        decision_id = f"{position.strategy}:{position.symbol}:{reason}:{self._now_ms}"
        self._chases[position.symbol] = Chase(reason, decision_id)

    def _next_exit(self, symbol: str) -> OrderIntent | None:
        """Return the next closing order of a coin that is being closed, once the one before has ended."""
        chase, position = self._chases[symbol], self._positions.get(symbol)
        under_way = [w for w in self._live.values() if w.cloid in chase.orders]
        if position is None:
            if not under_way:
                del self._chases[symbol]
            return None
        if under_way:
            return None
        if chase.orders and chase.next_at_s == 0.0:
            chase.attempt += 1
            chase.next_at_s = self._now_s + min(CHASE_MAX_S, 0.25 * 2 ** min(chase.attempt - 1, 5))
        if self._now_s < chase.next_at_s:
            return None
        chase.next_at_s = 0.0
        attempt = self._fresh(chase.decision_id, OrderRole.EXIT)
        return exit_intent(position, chase.reason, self._now_ms, chase.decision_id, attempt)

    def _closed(self, symbol: str) -> None:
        """A position is gone: what watched over it is forgotten; its stops go with the next `due_orders`."""
        self._uncovered_s.pop(symbol, None)
        self._arm.pop(symbol, None)
        self._warned.discard(symbol)
        for working in list(self._live.values()):
            intent = working.order.intent
            if intent.symbol == symbol and intent.role is OrderRole.ENTRY and working.cancel_note is None:
                self._want_cancel(working, "its position was closed")

    # ------------------------------------------------------------ the venue's account

    def _take_account(self, event: AccountRead) -> None:
        self._asked.pop(event.number, None)
        self.account, self.read_trouble = event.account, None
        self.account_reads += 1
        if self._is_moving():
            self._next_read_s = min(self._next_read_s, self._now_s + READ_AGAIN_S)
            return
        resting = [o for o in self.live_orders if o.state in (OrderState.OPEN, OrderState.PARTLY_FILLED)]
        coins = self._config.trading.symbols
        found = reconcile.differences(
            event.account,
            event.orders,
            positions=self.positions,
            orders=resting,
            leverage=dict.fromkeys(coins, self._config.trading.leverage),
        )
        for item in found:
            working = self._live.get(item.cloid or "")
            if working is not None and item.kind in (reconcile.Drift.MISSING_STOP, reconcile.Drift.LOST_ORDER):
                self._ask_for(working)
        keys = frozenset((item.kind.value, item.symbol, item.oid, item.cloid) for item in found)
        confirmed = tuple(i for i in found if (i.kind.value, i.symbol, i.oid, i.cloid) in self._suspects)
        if keys - self._suspects or len(confirmed) != len(found):
            since_ms = max(0, self._last_fill_ms - FILLS_BEFORE_MS)
            self._ask(ReadFills(self._next_number(), since_ms), "fills")
            self._next_read_s = self._now_s + READ_AGAIN_S
        self._suspects = keys
        self._tell_drift(confirmed)

    def _tell_drift(self, confirmed: tuple[reconcile.Difference, ...]) -> None:
        """Tell new differences in one batch, and their end."""
        before = {(item.kind, item.symbol, item.oid) for item in self.drift}
        new = [item for item in confirmed if (item.kind, item.symbol, item.oid) not in before]
        if new:
            text = "; ".join(f"{item.kind.value}: {item.text}" for item in new)
            self._tell("DRIFT", text, None, grave=any(item.kind in _BLOCKING for item in new))
        elif self.drift and not confirmed:
            self._tell("DRIFT", "books and venue agree again", None)
        self.drift = confirmed

    def _is_moving(self) -> bool:
        """Whether something is under way that the venue may have done and we have not booked."""
        return any(
            w.command is not None
            or w.cancel_command is not None
            or w.misses_fills
            or w.order.state is OrderState.UNKNOWN
            for w in self._live.values()
        )


def _outside_reason(fill: VenueFill) -> str:
    if fill.is_liquidation:
        return LIQUIDATION
    return "auto_deleveraging" if "auto-deleverag" in fill.direction.lower() else OUTSIDE
