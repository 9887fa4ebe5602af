"""Live trading: our orders at the venue, as state machines that events move and that never wait.

Everything here runs on the loop's thread and is a function of its calls: intents and cancels in, the venue's answers
and reports in, commands for the venue thread and order events out. It reads no clock (`begin_pass` brings both times)
and sends nothing whose intent is not on disk: what it wants to send next it hands to the loop (`due_orders`), which
commits the intent and submits it.

- An entry rests as a limit until `expires_ms`; then it is cancelled, what filled is settled by the venue's word, and
  the remainder alone is taken at once within `max_slippage_pct` (`order_desk`).
- Every position has a resting reduce-only stop at its `stop_px` (`guard`, `protection`).
- A closing order that did not close is followed by another, until the position is gone (`chasing`).
- Positions are kept from the venue's fills, whoever made them (`ledger`, `outside`). The venue's account is read every
  minute and after every reconnect, and compared (`account_watch`, `reconcile`); a difference seen twice stops entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.account_events import (
    AccountEvent,
    AccountRead,
    ActionAnswered,
    ActionSettled,
    CoinRead,
    FillsReported,
    FundingReported,
    OrderAsked,
    OrdersReported,
    ReadFailed,
)
from perp_bot.core.rounding import to_decimal
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import (
    AssetContext,
    Book,
    FundingPayment,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    Position,
    PublicTrade,
)
from perp_bot.core.venue_account import VenueAccount, VenueFill, VenueFunding
from perp_bot.data.account_reads import FILLS_BEFORE_MS
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.executor import OrderEvent
from perp_bot.execution.live.account_watch import AccountWatch
from perp_bot.execution.live.chasing import Chases
from perp_bot.execution.live.commands import ReadBudget, ReadCoin, SendAction, VenuePort
from perp_bot.execution.live.guard import Guard
from perp_bot.execution.live.identities import SOURCE, Identities
from perp_bot.execution.live.ledger import Ledger
from perp_bot.execution.live.leverage import LeverageWatch
from perp_bot.execution.live.order_desk import OrderDesk
from perp_bot.execution.live.outside import (
    OPENED,
    OUTSIDE,
    found_fill,
    is_direct,
    outside_cloid,
    outside_order,
    split_fill,
)
from perp_bot.execution.live.protection import protection
from perp_bot.execution.live.questions import Questions
from perp_bot.execution.live.reconcile import Drift
from perp_bot.execution.live.voice import Told, Voice
from perp_bot.execution.positions import StopRule

LOOK_BACK_MAX_MS = 7 * 24 * HOUR_MS  # while a position differs, ten times farther back with each read
BUDGET_EVERY_S = 60.0
FLATTEN_UNKNOWN = "flatten_unknown"  # why a position is closed that perpbot did not open


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
        self._port = port
        self._baseline_ms = baseline_ms
        self._seen_fills: set[str] = set()
        self._funding: list[FundingPayment] = []
        self._look_back_ms = 0
        self._next_budget_s = 0.0
        self._voice = Voice()
        self._identities = Identities()
        self._ledger = Ledger(stop_rule, self._voice)
        self._questions = Questions(port, self._identities, baseline_ms)
        self._chases = Chases(self._identities)
        grace_s = config.execution.protection_grace_seconds
        self._guard = Guard(grace_s, stop_rule, self._identities, self._voice, self._chases)
        self._watch = AccountWatch(config, self._voice)
        self._leverage = LeverageWatch(config, instruments, self._voice)
        self._desk = OrderDesk(
            self._ledger, self._questions, self._identities, self._chases, self._guard, self._watch, self._voice,
            instruments, port,
            entry_valid_ms=entry_valid_ms,
            entry_bound=to_decimal(config.execution.max_slippage_pct),
            resync=self.resync,
        )  # fmt: skip

    # ------------------------------------------------------------ Executor

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Send an order whose intent is on disk; a repeated cloid is answered with the order as it stands."""
        self._desk.submit(intent, now_ms)

    def cancel(self, cloid: str, now_ms: int, note: str) -> None:
        """Ask for a cancel; an order that has ended answers as it stands, a position's stop stays."""
        self._desk.cancel(cloid, note)

    def move_stop(self, symbol: str, stop_px: float, now_ms: int) -> bool:
        """Move a position's stop: the new one is placed first (see `due_orders`). Return whether there is one."""
        position = self._ledger.positions.get(symbol)
        if position is None or symbol in self._chases:
            return False
        self._ledger.positions[symbol] = replace(position, stop_px=stop_px)
        return True

    def drain(self) -> list[OrderEvent]:
        """Return and clear the events since the last call, in order."""
        return self._ledger.drain()

    # ------------------------------------------------------------ market input: prices to bound takers by

    def on_trades(self, trades: Iterable[PublicTrade]) -> None:
        """Public trades fill nothing here."""

    def on_book(self, book: Book) -> None:
        """Keep the newest book."""
        self._desk.books[book.symbol] = book

    def on_context(self, contexts: Iterable[AssetContext]) -> None:
        """Keep the newest mark."""
        for context in contexts:
            self._desk.contexts[context.symbol] = context

    def on_time(self, now_ms: int) -> None:
        """Cancel resting entries whose time is over; their remainder is taken once the venue has said what filled."""
        self._desk.cancel_overdue(now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return the venue time of the next `on_time` that changes something; None when there is none."""
        return self._desk.next_deadline_ms()

    # ------------------------------------------------------------ state

    @property
    def positions(self) -> tuple[Position, ...]:
        """Positions by the venue's fills, by symbol."""
        return self._ledger.held

    @property
    def live_orders(self) -> tuple[Order, ...]:
        """Orders that can still fill, stops included, in the order of submission."""
        return self._ledger.live_orders

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
        return symbol in self._chases and symbol in self._ledger.positions

    def is_settled(self) -> bool:
        """Whether the venue owes no answer that would come by itself now."""
        return self._port.is_idle() and not any(
            w.command is not None or w.cancel_command is not None or w.misses_fills for w in self._ledger.live.values()
        )

    def coverage(self, symbol: str) -> Decimal | None:
        """Return which share of a position resting stops cover, 0..1; None when flat."""
        return self._ledger.coverage(symbol)

    def liquidation_px(self, symbol: str) -> Decimal | None:
        """Return where the venue would liquidate a position, as it last said; None when it does not say."""
        held = () if self._watch.account is None else self._watch.account.positions
        return next((position.liquidation_px for position in held if position.symbol == symbol), None)

    def take_told(self) -> tuple[Told, ...]:
        """Return and clear what a person should know."""
        return self._voice.take()

    def take_ended(self) -> tuple[Order, ...]:
        """Return and clear the orders that have ended since the last call, with a fill or without."""
        return self._ledger.take_ended()

    def take_funding(self) -> tuple[FundingPayment, ...]:
        """Return and clear the funding that the venue has booked since the last call."""
        funding, self._funding = tuple(self._funding), []
        return funding

    def differs(self) -> bool:
        """Whether the last reads of the account differed from the books in what matters."""
        return self._watch.differs

    def trouble(self) -> str | None:
        """Return why no entry may be made, apart from limits; None when nothing stands against it."""
        found = self._watch.trouble()
        if found is None and self._config.execution.unknown_positions == "refuse":
            unknown = next((p.symbol for p in self.positions if p.strategy == OUTSIDE), None)
            if unknown is not None:
                return f"{unknown}: a position that perpbot did not open (execution.unknown_positions: refuse)"
        return found

    def coin_troubles(self) -> dict[str, str]:
        """Return why no entry of a coin may be made, by coin: leverage or margin mode are not as configured."""
        return self._watch.coin_troubles() | self._leverage.coin_troubles()

    # ------------------------------------------------------------ the beginning

    def restore(self, stored: Sequence[Order], fill_ids: Iterable[str], last_fill_ms: int) -> None:
        """Go on after a restart from every stored order (oldest first) and booked fill.

        An order that was on disk and not answered may have reached the venue: it is asked for, and written off only
        once its validity is over.
        """
        self._seen_fills = set(fill_ids)
        self._questions.read_until_ms = max(self._questions.read_until_ms, last_fill_ms)
        self._identities.use(order.intent.cloid for order in stored)
        self._ledger.restore(stored)
        for order in self.live_orders:
            if order.intent.role is OrderRole.EXIT:
                self._chases.joined(order.intent)

    def restore_positions(self, positions: Iterable[Position]) -> None:
        """Take positions as the stored fills add up to them, with their stored stops; after `restore`.

        An entry that has filled and holds nothing any more was to go with its position.
        """
        held = self._ledger.positions = {position.symbol: position for position in positions}
        for position in self.positions:
            self._flatten_unknown(position)
        for working in self._ledger.live.values():
            order = working.order
            if order.intent.role is OrderRole.ENTRY and order.filled > 0 and order.intent.symbol not in held:
                working.cancel_note = "its position was closed"

    def find(self, account: VenueAccount) -> None:
        """Take the positions that the account was found with into the books, at the venue's entry prices."""
        for held in account.positions:
            fill = found_fill(held, self._baseline_ms)
            if fill is not None:
                self._take_outside_fill(fill)

    # ------------------------------------------------------------ one pass

    def begin_pass(self, now_ms: int, now_s: float) -> None:
        """Take the venue's and the monotonic time of a pass, and do what waited for them."""
        self._desk.now_ms, self._desk.now_s = now_ms, now_s
        self._desk.look_again()
        coin = self._leverage.due(now_s)
        if coin is not None:
            self._port.put(ReadCoin(self._identities.next_number(), coin))
        if now_s >= self._next_budget_s:
            self._next_budget_s = now_s + BUDGET_EVERY_S
            self._port.put(ReadBudget(self._identities.next_number()))
        if self._watch.is_due(now_s) and not self._questions.is_reading_account:
            self.read_account()

    def due_orders(self) -> tuple[OrderIntent, ...]:
        """Return the orders that have to go out now, each once: stops, further closing orders, remainders.

        The loop commits and submits them at once; superfluous stops are cancelled here.
        """
        ledger, now_ms, now_s = self._ledger, self._desk.now_ms, self._desk.now_s
        found: list[OrderIntent] = []
        for position in self.positions:
            live = ledger.protective()
            state = self._guard.look(position, live, now_ms, now_s)
            for cloid in state.superfluous:
                self._desk.want_cancel(ledger.live[cloid], "replaced by a newer stop")
            stop = self._guard.stop_due(position, state, live, now_ms, now_s)
            found += [] if stop is None else [stop]
        leaving = {w.order.intent.symbol for w in ledger.live.values() if w.is_leaving_entry}
        found += self._chases.due(ledger.positions, self.live_orders, leaving, now_ms, now_s)
        found += self._desk.take_remainders()
        for working in list(ledger.live.values()):
            intent = working.order.intent
            held = ledger.positions.get(intent.symbol)
            if intent.role is OrderRole.STOP and (held is None or intent.side is not held.side.closing):
                self._desk.want_cancel(working, "reduce-only: position closed")
        return tuple(found)

    def resync(self) -> None:
        """Read fills, funding and the account: after a reconnect, the stream has lost what it told meanwhile."""
        now_ms = self._desk.now_ms
        self._questions.fills(self._questions.read_until_ms, now_ms)
        self._questions.funding(max(self._baseline_ms, now_ms - 2 * HOUR_MS))
        self.read_account()
        for working in self._ledger.live.values():
            if working.command is None and not working.is_settling:
                working.look_again_at_s = self._desk.now_s  # what the stream would have told of it is lost

    def read_account(self, cls: RequestClass = RequestClass.RECONCILE) -> None:
        """Ask for positions and open orders."""
        self._watch.asked(self._desk.now_s)
        self._questions.account(cls)

    def confirm_flat(self) -> None:
        """Ask for the account now, unless that is under way: somebody wants to see it flat."""
        if not self._questions.is_reading_account:
            self.read_account(RequestClass.PROTECTIVE)

    # ------------------------------------------------------------ events

    def on_event(self, event: AccountEvent) -> None:
        """Take one of the venue's answers or reports; a repeated or late one changes nothing."""
        if isinstance(event, FillsReported):
            for fill in event.fills:
                self._take_fill(fill)
            self._desk.fills_were_read(self._questions.fills_answered(event.number))
        elif isinstance(event, OrdersReported):
            for report in event.reports:
                self._desk.take_report(report)
        elif isinstance(event, ActionAnswered):
            self._desk.take_answer(event)
        elif isinstance(event, ActionSettled):
            self._desk.take_settled(event)
        elif isinstance(event, OrderAsked):
            self._desk.take_asked(event)
        elif isinstance(event, AccountRead):
            self._take_account(event)
        elif isinstance(event, FundingReported):
            self._questions.answered(event.number)
            self._funding += [self._payment(row) for row in event.payments if row.at_ms > self._baseline_ms]
        elif isinstance(event, CoinRead):
            self._take_coin(event)
        elif isinstance(event, ReadFailed):
            self._take_failure(event)

    def _take_coin(self, event: CoinRead) -> None:
        symbol = event.symbol
        is_traded = any(order.intent.symbol == symbol for order in self.live_orders)
        action = self._leverage.take(event, is_flat=symbol not in self._ledger.positions and not is_traded)
        if action is not None:
            number = self._identities.next_number()
            self._port.put(SendAction(number, action, RequestClass.RECONCILE, sent_ms=self._desk.now_ms))

    def _take_account(self, event: AccountRead) -> None:
        self._questions.answered(event.number)
        live, now_s = self._ledger.live, self._desk.now_s
        moving = any(working.is_moving for working in live.values())
        lost = self._watch.take(event, self.positions, self.live_orders, is_moving=moving, now_s=now_s)
        for cloid in lost or ():
            self._desk.ask_for(live[cloid])
        for rests in event.orders:
            if rests.cloid in live:
                live[rests.cloid].shrink(rests.left)
        if lost is None:
            return
        self._end_strays()
        if self._watch.has_suspects:
            # What stays different may be a fill from before the stored ones, lost by an earlier run.
            self._look_back_ms = min(LOOK_BACK_MAX_MS, self._look_back_ms * 10) if self._watch.position_differs else 0
            since_ms = max(self._baseline_ms, self._questions.read_until_ms - self._look_back_ms)
            self._questions.fills(since_ms, self._desk.now_ms)
            self._look_back_ms = max(self._look_back_ms, FILLS_BEFORE_MS)

    def _end_strays(self) -> None:
        """Cancel orders of ours that the venue has resting, seen twice, though they ended here (untraced ones).

        A stop stays for as long as no other covers the position where it has to.
        """
        for item in self._watch.drift:
            order = self._ledger.finished.get(item.cloid or "")
            if item.kind is not Drift.FOREIGN_ORDER or order is None:
                continue
            held, is_stop = self._ledger.positions.get(item.symbol), order.intent.role is OrderRole.STOP
            if not is_stop or held is None or protection(held, self._ledger.protective()).is_good:
                self._desk.put_cancel(order.intent)

    def _take_failure(self, event: ReadFailed) -> None:
        kind, cloid = self._questions.failed(event.number)
        if kind == "account":
            self._watch.failed(event.text, self._desk.now_s)
        elif kind in ("fills", "funding"):
            self._watch.read_again(self._desk.now_s)  # a difference there asks for the fills again
        self._desk.question_failed(cloid)

    # ------------------------------------------------------------ fills and funding

    def _take_fill(self, fill: VenueFill) -> None:
        if fill.fill_id in self._seen_fills or fill.at_ms <= self._baseline_ms:
            return  # booked, or part of the account as it was found
        self._seen_fills.add(fill.fill_id)
        if fill.builder_fee_usd:
            text = f"{fill.symbol}: a builder took {fill.builder_fee_usd} USD of a fill; none is configured"
            self._voice.tell("BUILDER_FEE", text, fill.symbol, grave=True)
        cloid = self._identities.cloid_of(fill.oid, fill.cloid) or ""
        working = self._ledger.live.get(cloid)
        if working is not None:
            self._desk.take_fill(working, fill.oid)
            self._book(fill, working.order, fill.fill_id)
            self._desk.fill_booked(working)
        elif cloid in self._ledger.finished:
            self._book(fill, self._ledger.finished[cloid], fill.fill_id)
        else:
            self._take_outside_fill(fill)

    def _book(self, fill: VenueFill, order: Order, fill_id: str) -> None:
        if self._ledger.book(fill, order, fill_id):
            self._desk.closed(fill.symbol)

    def _take_outside_fill(self, fill: VenueFill) -> None:
        """Book a fill that is not ours; one that turns a position closes it, and opens one that is not ours either."""
        position = self._ledger.positions.get(fill.symbol)
        if position is None or fill.side is position.side.opening or fill.size <= position.size:
            self._take_outside_part(fill, fill.fill_id)
            return
        closing, opening = split_fill(fill, position.size)
        self._take_outside_part(closing, fill.fill_id)
        self._take_outside_part(opening, f"{fill.fill_id}:{OPENED}")

    def _take_outside_part(self, fill: VenueFill, fill_id: str) -> None:
        ledger = self._ledger
        policy = self._config.execution.unknown_positions
        strategy = self._config.trading.strategy if policy == "adopt" else OUTSIDE
        before = ledger.outside.get(outside_cloid(fill))
        order = outside_order(fill, ledger.positions.get(fill.symbol), before, strategy)
        text = f"{order.intent.reason}: {fill.side} {fill.size} {fill.symbol} @ {fill.px} ({fill.direction})"
        who = "by perpbot without its daemon" if is_direct(fill) else "not by perpbot"
        self._voice.tell("OUTSIDE", f"{text}, {who}", fill.symbol, grave=not is_direct(fill))
        self._book(fill, order, fill_id)
        opened = ledger.positions.get(fill.symbol)
        if opened is not None:
            self._flatten_unknown(opened)

    def _flatten_unknown(self, position: Position) -> None:
        if self._config.execution.unknown_positions == "flatten" and position.strategy == OUTSIDE:
            self._chases.start(position, FLATTEN_UNKNOWN, self._desk.now_ms)

    def _payment(self, row: VenueFunding) -> FundingPayment:
        """Return the venue's funding as ours; the oracle price, which it does not tell, follows from the payment."""
        position, context = self._ledger.positions.get(row.symbol), self._desk.contexts.get(row.symbol)
        oracle = Decimal(0) if context is None else to_decimal(context.oracle_px)
        if row.rate != 0 and row.signed_size != 0:
            oracle = -row.usd / (row.signed_size * row.rate)
        strategy = OUTSIDE if position is None else position.strategy
        hour_ms = row.at_ms - row.at_ms % HOUR_MS
        return FundingPayment(row.symbol, hour_ms, row.signed_size, oracle, row.rate, row.usd, strategy, SOURCE)
