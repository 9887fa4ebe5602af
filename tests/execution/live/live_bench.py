"""The live executor between a loop and a model venue: every command and every report comes when the test says.

The bench plays the loop as `trading.live_side` does: a pass takes events, books what the executor drains, commits and
submits what is due. What it has stored is what a restart finds; the books are the real ones (`execution.account`).
Safety is checked at every step, from the venue's truth and never from the executor's word alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

from model_venue import SYMBOL, ZERO, ModelVenue

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
    ReadFailed,
)
from perp_bot.core.types import (
    AssetContext,
    Book,
    BookLevel,
    Fill,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderType,
    Side,
)
from perp_bot.execution import orders
from perp_bot.execution.account import Account
from perp_bot.execution.closing import exit_intent
from perp_bot.execution.executor import OrderFilled
from perp_bot.execution.live.commands import (
    AskForOrder,
    Command,
    ReadAccount,
    ReadBudget,
    ReadCoin,
    ReadFills,
    ReadFunding,
    SendAction,
)
from perp_bot.execution.live.executor import LiveExecutor
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.live.rejections import Reason
from perp_bot.execution.live.voice import Told

T0 = 1_700_000_000_000
ENTRY_VALID_MS = 10_000
FALLBACK_MS = 30_000
CONFIG = Config()
_ROUNDS = 3
_WHOLE_ACTION = {Reason.UNKNOWN_WALLET, Reason.ACTION_BUDGET, Reason.EXPIRED, Reason.NO_DEPOSIT, Reason.BAD_REQUEST}


def D(text: str | int) -> Decimal:
    return Decimal(text)


def rule(symbol: str, side: Side, entry_px: Decimal, size: Decimal, own_stop_px: float | None) -> float | None:
    """A stop that depends on price and size, so that every fill moves it."""
    return round(float(entry_px - side.sign * (5 + 1 / size)), 2)


def entry(
    decision: str = "d1",
    size: str = "1",
    *,
    side: OrderSide = OrderSide.BUY,
    limit: str = "100",
    at: int = T0,
    order_type: OrderType = OrderType.LIMIT,
) -> OrderIntent:
    """Return an entry as a decision makes it."""
    is_limit = order_type is OrderType.LIMIT
    return OrderIntent(
        orders.cloid_for("live", decision, OrderRole.ENTRY),
        decision,
        SYMBOL,
        side,
        OrderRole.ENTRY,
        order_type,
        Decimal(size),
        Decimal(limit) if is_limit else None,
        None,
        False,
        at,
        at + FALLBACK_MS if is_limit else None,
        "mean_reversion",
        "live",
        "test",
    )


class Port:
    """Collects commands until the test serves them; `look` sees each as it is given."""

    def __init__(self, look: Callable[[Command], None]) -> None:
        self.inbox: list[Command] = []
        self._look = look

    def put(self, command: Command) -> None:
        if isinstance(command, ReadBudget | ReadCoin):
            return  # looked at by the clock, apart from orders; tests of their own
        self._look(command)
        self.inbox.append(command)

    def is_idle(self) -> bool:
        return not self.inbox


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """An action whose answer was lost, until what became of it is found out; `untraced` when it cannot be."""

    command: SendAction
    untraced: bool


Stored = Order | tuple[Order, Fill] | tuple[str, float]


@dataclass(slots=True)
class Bench:
    """One executor at one venue, and everything that is under way between them."""

    config: Config = CONFIG
    venue: ModelVenue = field(default_factory=lambda: ModelVenue(T0))
    port: Port = field(init=False)
    executor: LiveExecutor = field(init=False)
    outbox: list[AccountEvent] = field(default_factory=list)
    unsettled: list[_Unsettled] = field(default_factory=list)
    log: list[Stored] = field(default_factory=list)
    durable: int = 0
    told: list[Told] = field(default_factory=list)
    sizes: dict[str, Decimal] = field(default_factory=dict)
    now_s: float = 0.0
    baseline_ms: int = T0 - 1
    closing: bool = False
    book: bool = True
    latched: bool = False
    asked: list[Command] = field(default_factory=list)  # every command that was served
    sent: list[SendAction] = field(default_factory=list)
    replaced: set[str] = field(default_factory=set)  # stops that were live while another was the good one
    needless: set[str] = field(default_factory=set)  # stops that were live while nothing was held
    ghosts: list[SendAction] = field(default_factory=list)
    decided: dict[str, set[str]] = field(default_factory=dict)  # the entries' client order ids, by decision
    books: Account = field(init=False)

    def __post_init__(self) -> None:
        self.port = Port(self._check_cancel)
        self.executor = self._new_executor()
        self.books = Account("live", D(1_000), rule)

    # ------------------------------------------------------------ the loop

    def _new_executor(self) -> LiveExecutor:
        return LiveExecutor(
            self.config,
            {SYMBOL: Instrument(SYMBOL, 0, 3, 40)},
            rule,
            self.port,
            entry_valid_ms=ENTRY_VALID_MS,
            baseline_ms=self.baseline_ms,
        )

    @property
    def now_ms(self) -> int:
        return self.venue.now_ms

    def begin(self, dt: float = 0.0) -> None:
        """Begin a pass after `dt` seconds."""
        self.now_s = round(self.now_s + dt, 3)
        self.venue.now_ms += round(dt * 1000)
        mark = float(self.venue.mark)
        self.executor.on_context([AssetContext(SYMBOL, self.now_ms, mark, mark, None, None, None, None)])
        if self.book:
            level = (BookLevel(mark, 1_000.0),)
            self.executor.on_book(Book(SYMBOL, self.now_ms, level, level))
        self.executor.begin_pass(self.now_ms, self.now_s)

    def run_pass(self, *events: AccountEvent, dt: float = 0.0) -> None:
        """Live through one pass of the loop."""
        self.begin(dt)
        for event in events:
            self.executor.on_event(event)
        self.follow_up()
        self.executor.on_time(self.now_ms)
        self.follow_up()
        self.check()

    def follow_up(self) -> None:
        """Book what was drained, send what is due."""
        self._settle()
        for _ in range(_ROUNDS):
            due = self.executor.due_orders()
            if not due:
                break
            for intent in due:
                self.send(intent)
            self._settle()
        self.told += self.executor.take_told()

    def send(self, intent: OrderIntent) -> None:
        """Commit an intent and submit it."""
        if intent.role is OrderRole.ENTRY:
            self.sizes.setdefault(intent.decision_id, intent.size)
            self.decided.setdefault(intent.decision_id, set()).add(intent.cloid)
        self.log.append(orders.new_order(intent))
        self.durable = len(self.log)
        self.executor.submit(intent, self.now_ms)
        self._settle()

    def enter(self, **changes: str) -> OrderIntent:
        """Decide an entry now."""
        intent = replace(entry(**changes), created_ms=self.now_ms, expires_ms=self.now_ms + FALLBACK_MS)  # type: ignore[arg-type]
        self.send(intent)
        self.run_pass()
        return intent

    def close(self, decision: str = "x1") -> None:
        """Decide to close: the coin's entry goes first, as the loop does."""
        position = next(iter(self.executor.positions), None)
        if position is None or self.executor.is_closing(SYMBOL):
            return
        self.closing = True
        for order in self.executor.live_orders:
            if order.intent.role is OrderRole.ENTRY:
                self.executor.cancel(order.intent.cloid, self.now_ms, "closing: test")
        intent = exit_intent(position, "test", self.now_ms, f"{decision}@{self.now_ms}")
        if not any(stored == orders.new_order(intent) for stored in self.log):
            self.send(intent)
        self.run_pass()

    def move_stop(self, px: float) -> bool:
        """Let the strategy move the stop."""
        has_moved = self.executor.move_stop(SYMBOL, px, self.now_ms)
        if has_moved:
            self.log.append((SYMBOL, px))
            self.books.set_stop(SYMBOL, px)
            self.durable = len(self.log)
        self.run_pass()
        return has_moved

    def _settle(self) -> None:
        for event in self.executor.drain():
            if not isinstance(event, OrderFilled):
                self.log.append(event.order)
                continue
            self.log.append((event.order, event.fill))
            change = self.books.apply_fill(event.fill, event.order.intent)
            assert change.is_new, f"a fill was booked twice: {event.fill.fill_id}"

    # ------------------------------------------------------------ the store, and a restart from it

    def stored(self, count: int | None = None) -> tuple[dict[str, Order], list[Fill], Account]:
        """Return the orders, fills and books that the first `count` writes make."""
        kept = self.log[:count]
        known: dict[str, Order] = {}
        fills: list[Fill] = []
        account = Account("live", D(1_000), rule)
        for item in kept:
            if isinstance(item, Order):
                known[item.intent.cloid] = item
                continue
            if isinstance(item[0], str):
                assert isinstance(item[1], float)
                if account.position(SYMBOL) is not None:
                    account.set_stop(SYMBOL, item[1])
                continue
            order, fill = item
            assert isinstance(fill, Fill)
            known[order.intent.cloid] = order
            fills.append(fill)
            assert account.apply_fill(fill, order.intent).is_new, f"a fill was booked twice: {fill.fill_id}"
        return known, fills, account

    def restart(self, unflushed: int = 0) -> None:
        """Kill the loop, losing at most the last `unflushed` writes that no commit made durable; start again."""
        count = max(self.durable, len(self.log) - unflushed)
        self.log = self.log[:count]
        known, fills, self.books = self.stored()
        self.ghosts += [
            command for command in self.port.inbox if isinstance(command, SendAction) and command.expires_after
        ]
        self.port = Port(self._check_cancel)
        self.outbox, self.unsettled, self.venue.stream = [], [], []
        self.executor = self._new_executor()
        rows = [o if o.intent.cloid.startswith("venue:") else orders.settled(o, fills) for o in known.values()]
        rows.sort(key=lambda order: (order.intent.created_ms, order.intent.cloid))
        last_ms = max((fill.venue_ms for fill in fills), default=0)
        self.executor.restore(rows, (fill.fill_id for fill in fills), last_ms)
        self.executor.restore_positions(self.books.positions)
        self.start(max(last_ms, self.baseline_ms))

    def start(self, since_ms: int, *, is_first: bool = False) -> None:
        """Take the account as the venue has it, as the loop does at its start."""
        self.begin()
        if is_first:
            self.executor.find(self.venue.account())
        else:
            self.executor.on_event(FillsReported(self.venue.fills_since(since_ms - 60_000)))
        self.follow_up()
        self.executor.on_event(AccountRead(0, self.venue.account(), self.venue.open_orders()))
        self.follow_up()
        self.check()

    # ------------------------------------------------------------ serving commands

    def serve(self, index: int, fate: str = "ok") -> None:
        """Let the venue meet one command. Fates of an action: see `_act`; of a read: ok, fail."""
        command = self.port.inbox.pop(index)
        self.asked.append(command)
        if isinstance(command, SendAction):
            self._act(command, fate)
        elif fate == "fail":
            self.outbox.append(ReadFailed(command.number, "no answer"))
        elif isinstance(command, AskForOrder):
            self.outbox.append(OrderAsked(command.cloid, self.venue.report_of(command.cloid)))
        elif isinstance(command, ReadAccount):
            self.outbox.append(AccountRead(command.number, self.venue.account(), self.venue.open_orders()))
        elif isinstance(command, ReadFills):
            self.outbox.append(FillsReported(self.venue.fills_since(command.since_ms), command.number))
        else:
            assert isinstance(command, ReadFunding)
            paid = tuple(row for row in self.venue.funding if row.at_ms >= command.since_ms)
            self.outbox.append(FundingReported(paid, command.number))

    def _act(self, command: SendAction, fate: str) -> None:
        """ok; a reason's name: refused; lost: done, the answer lost; vanished: never arrived, as little known;
        untraced: done, and not to be found; traceless: neither done nor found; not_sent; unclear: done, unreadable."""
        self.sent.append(command)
        number, action = command.number, command.action
        expired = command.expires_after is not None and self.now_ms > command.expires_after
        reaches = fate not in ("not_sent", "vanished", "traceless")
        is_entry = action["type"] == "order" and not action["orders"][0]["r"]
        if fate == "not_sent" or (self.latched and is_entry):
            self.outbox.append(ActionAnswered(number, ActionOutcome.NOT_SENT, text="killed"))
            return
        if reaches and expired:
            self.outbox.append(ActionAnswered(number, ActionOutcome.REJECTED, (), Reason.EXPIRED.value, "expired"))
            return
        if fate in _REASONS and _REASONS[fate] in _WHOLE_ACTION:
            self.outbox.append(ActionAnswered(number, ActionOutcome.REJECTED, (), fate, fate))
            return
        answer: EntryAnswer | None = None
        if reaches:
            answer = self._execute(command, fate)
        if fate in ("lost", "vanished", "untraced", "traceless"):
            self.outbox.append(ActionAnswered(number, ActionOutcome.UNKNOWN, text="no answer"))
            if command.cloids:
                self.unsettled.append(_Unsettled(command, fate in ("untraced", "traceless")))
            return
        assert answer is not None
        if fate == "unclear" and command.cloids:
            answer = EntryAnswer(answer.cloid, EntryOutcome.UNCLEAR, text="?")
        self.outbox.append(ActionAnswered(number, ActionOutcome.ACCEPTED, (answer,)))

    def _execute(self, command: SendAction, fate: str = "ok") -> EntryAnswer:
        action = command.action
        if action["type"] == "cancelByCloid":
            cloid = action["cancels"][0]["cloid"]
            return self.venue.cancel(cloid)
        wire = action["orders"][0]
        return self.venue.refuse(wire, _REASONS[fate]) if fate in _REASONS else self.venue.place(wire)

    def land(self) -> None:
        """Let an entry of the last run reach the venue now, if it is still valid."""
        if not self.ghosts:
            return
        ghost = self.ghosts.pop(0)
        if self.now_ms <= (ghost.expires_after or 0):
            self._execute(ghost)

    def settle_unknown(self, index: int) -> None:
        """Find out what became of an action whose answer was lost, by the venue's truth now."""
        item = self.unsettled.pop(index)
        (cloid,) = item.command.cloids
        report = self.venue.report_of(cloid)
        if item.untraced:
            event = ActionSettled(item.command.number, (), (), (cloid,))
        elif report is not None:
            event = ActionSettled(item.command.number, (report,), (), ())
        else:
            event = ActionSettled(item.command.number, (), (cloid,), ())
        self.outbox.append(event)

    # ------------------------------------------------------------ delivering

    def deliver(self, index: int = 0, *, dt: float = 0.0) -> None:
        """Hand the executor one answer; the two of one command come in their order."""
        number = getattr(self.outbox[index], "number", None)
        first = next(i for i, e in enumerate(self.outbox) if i == index or getattr(e, "number", self) == number)
        self.run_pass(self.outbox.pop(first), dt=dt)

    def hear(self, index: int = 0, *, keep: bool = False) -> None:
        """Hand the executor one message of the stream; `keep`: it comes again later."""
        item = self.venue.stream[index] if keep else self.venue.stream.pop(index)
        self.run_pass(item)

    def hear_all(self) -> None:
        """Hand over the whole stream, in order, in one pass."""
        items, self.venue.stream = self.venue.stream, []
        self.run_pass(*items)

    def serve_all(self, fate: str = "ok") -> None:
        """Serve and deliver until nothing is under way, without letting time pass."""
        for _ in range(60):
            while self.port.inbox:
                self.serve(0, fate)
            while self.unsettled:
                self.settle_unknown(0)
            events, self.outbox = self.outbox, []
            items, self.venue.stream = self.venue.stream, []
            if not events and not items:
                return
            self.run_pass(*events, *items)
        raise AssertionError("it never comes to rest within one moment")

    def quiesce(self, limit_s: float = 200.0, dt: float = 0.5) -> float:
        """Let everything be delivered and time pass until all agrees; return the seconds that took."""
        began_s = self.now_s
        self.serve_all()
        while self.now_s - began_s < limit_s:
            if self.disagreement() is None:
                return self.now_s - began_s
            self.run_pass(dt=dt)
            self.serve_all()
        raise AssertionError(f"no agreement within {limit_s} s: {self.disagreement()}; told {self.told[-3:]}")

    # ------------------------------------------------------------ what must hold

    def disagreement(self) -> str | None:
        """Return what is not yet as it has to be once everything was delivered; None when all is well."""
        held = next((p.signed_size for p in self.executor.positions), ZERO)
        if held != self.venue.position:
            return f"position {held}, the venue has {self.venue.position}"
        live = {order.intent.cloid for order in self.executor.live_orders}
        resting = {order.cloid for order in self.venue.orders.values() if order.is_open and order.cloid}
        if live != resting:
            return f"live orders {live}, the venue's are {resting}"
        believed, true = self.executor.coverage(SYMBOL), self.true_coverage()
        if held != 0 and (believed is None or believed > true):
            return f"coverage {true} at the venue, {believed} believed"
        if held != 0 and believed != 1 and not self._is_passed_of_others():
            return f"coverage {true}"
        if held == 0 and resting - self._entries_of_now():
            return f"orders rest behind a closed position: {resting}"
        if held != 0 and self.executor.is_closing(SYMBOL):
            return "it is being closed, and is not"
        if any(not working.is_at_venue for working in self.executor._ledger.live.values()):
            return "the venue's word about an order is missing"
        if any(working.cancel_note is not None for working in self.executor._ledger.live.values()):
            return "an order is to be cancelled, and rests"
        stops = [o for o in self.executor.live_orders if o.intent.role is OrderRole.STOP]
        if len(stops) > 1 and believed == 1:
            return f"{len(stops)} stops"
        trouble = self.executor.trouble()
        if trouble is not None and "refuse" in trouble:
            trouble = None
        if not self.executor.is_settled() or trouble is not None:
            return f"not settled, or {trouble}"
        return None

    def _is_passed_of_others(self) -> bool:
        """Whether what is held is not perpbot's and has no stop because the mark is beyond it, which was told."""
        (position,) = self.executor.positions
        is_beyond = (self.venue.mark - Decimal(str(position.stop_px))) * position.side.sign <= 0
        return position.strategy == OUTSIDE and is_beyond and any("beyond the stop" in told.text for told in self.told)

    def _entries_of_now(self) -> set[str]:
        return {o.intent.cloid for o in self.executor.live_orders if o.intent.role is OrderRole.ENTRY}

    def true_coverage(self) -> Decimal:
        """Return the share of the venue's position that its own resting stops cover."""
        if self.venue.position == 0:
            return D(1)
        side = OrderSide.SELL if self.venue.position > 0 else OrderSide.BUY
        stops = (o for o in self.venue.orders.values() if o.is_open and o.trigger_px is not None and o.side is side)
        return min(D(1), sum((o.left for o in stops), ZERO) / abs(self.venue.position))

    def check(self) -> None:
        """Check what must hold at every moment."""
        for decision, size in self.sizes.items():
            found = [self.venue.orders[cloid] for cloid in self.decided[decision] if cloid in self.venue.orders]
            filled = sum((order.filled for order in found), ZERO)
            most = filled + sum((order.left for order in found if order.is_open), ZERO)
            assert filled <= size, f"{decision}: {filled} filled of {size}"
            assert most <= size, f"{decision}: {most} live and filled of {size}"
        stops = {o.intent.cloid for o in self.executor.live_orders if o.intent.role is OrderRole.STOP}
        if not self.executor.positions:
            self.needless |= stops
        for position in self.executor.positions:
            live = self.executor.live_orders
            self.needless |= {o.intent.cloid for o in live if o.intent.side is not position.side.closing}
            good = [
                order
                for order in self.venue.orders.values()
                if order.trigger_px is not None and order.is_open and order.left >= position.size
            ]
            if len(good) > 1 and position.stop_px in [float(order.trigger_px or 0) for order in good]:
                self.replaced |= stops
        entries = {cloid for cloids in self.decided.values() for cloid in cloids}
        assert self.venue.flips <= entries, "a closing order or a stop went through zero"
        self._check_books()

    def _check_books(self) -> None:
        """The stored fills give the executor's position; no fill is stored twice."""
        ours = {p.symbol: (p.signed_size, p.entry_px, p.stop_px) for p in self.executor.positions}
        books = {p.symbol: (p.signed_size, p.entry_px, p.stop_px) for p in self.books.positions}
        assert ours == books, f"books {books}, executor {ours}"

    def _check_cancel(self, command: Command) -> None:
        """A stop goes only when its position is gone, or another as good rests."""
        if not isinstance(command, SendAction) or command.action["type"] != "cancelByCloid":
            return
        order = self.venue.orders.get(command.action["cancels"][0]["cloid"])
        held = next(iter(self.executor.positions), None)
        if order is None or not order.is_open or order.trigger_px is None or held is None or self.venue.position == 0:
            return
        if order.side is not held.side.closing or (self.venue.position > 0) == (order.side is OrderSide.BUY):
            return
        known = min(abs(self.venue.position), held.size)
        is_again = order.cloid in self.replaced
        has_rested = any(
            o.trigger_px is not None and (is_again or float(o.trigger_px) == held.stop_px) and o.size >= known
            for o in self.venue.orders.values()
            if o is not order and o.has_rested and not o.is_withdrawn
        )
        assert has_rested or order.cloid in self.needless, (
            f"the stop at {order.trigger_px} is cancelled, and none at {held.stop_px} rests"
        )

    def kinds(self) -> list[str]:
        """Return what was told, by kind."""
        return [told.kind for told in self.told]

    def commands(self, kind: type[Command]) -> list[Command]:
        """Return the commands of a kind that wait."""
        return [command for command in self.port.inbox if isinstance(command, kind)]


_REASONS = {reason.value: reason for reason in Reason}
