"""The trading loop: one thread, one queue, one fixed order of handling.

Each pass takes a batch and handles it in this order: controls, fills and order events, marks and books, closes,
timers; then it checks the books, publishes the state and answers who waits. It never waits for anything but its
queue, and for the commit of an intent.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from perp_bot.core.account_events import AccountEvent
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import IpcError, PerpBotError
from perp_bot.core.events import BoundaryClosed, FeedOverflow, FundingSettled, MarketEvent, MissedMinutes, StreamStatus
from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.core.types import Instrument, OrderIntent
from perp_bot.data.db.rows import StateRow
from perp_bot.data.market import FeedHealth
from perp_bot.decision.exits import due_timeouts, next_timeout_ms, timeout_at_ms
from perp_bot.decision.targets import due_targets
from perp_bot.execution import orders
from perp_bot.ipc.control import ControlRequest
from perp_bot.ipc.protocol import ControlResult
from perp_bot.ops.crash_points import crash_point
from perp_bot.trading.answers import Later, OwedAnswers
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.boundary import BoundaryDesk
from perp_bot.trading.controls import Controls
from perp_bot.trading.delisting import Delistings
from perp_bot.trading.desk import Desk
from perp_bot.trading.downtime import PassedStops
from perp_bot.trading.halts import Halts
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_side import LiveSide
from perp_bot.trading.notes import Notes
from perp_bot.trading.queue import Batch, EventQueue
from perp_bot.trading.venue_health import venue_trouble

LOG = logging.getLogger(__name__)

TICK_S = 0.25  # the loop's own pulse: liveness, latch, health, state at least once a second
SETTLE_POLL_S = 0.002  # while somebody waits for the loop to settle
MARKET_READY_S = 5.0  # a boundary waits that long for the first marks and books after a start
STATE_EVERY_S = 1.0
STATE_AT_MOST_EVERY_S = 0.05


class Market(Protocol):
    """The market side, as the loop sees it."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """What the venue lists."""

    def request_funding(self, symbol: str, hour_ms: int) -> None:
        """Ask for a settled rate."""

    def is_settled(self) -> bool:
        """Whether no read that the loop waits for is due or under way."""

    def health(self) -> FeedHealth:
        """How it does."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop tells the outside; none of them may block."""

    publish: Callable[[], None]
    on_clock: Callable[[int], None]
    signals_idle: Callable[[], bool]
    audit: Callable[[], Decimal]  # looks around, and returns the gap between books and database, USD


class TradingLoop:
    """Runs passes until asked to stop."""

    def __init__(
        self,
        desk: Desk,
        queue: EventQueue,
        clock: VenueClock,
        journal: Journal,
        notes: Notes,
        books: Bookkeeper,
        boundary: BoundaryDesk,
        controls: Controls,
        market: Market,
        hooks: Hooks,
    ) -> None:
        self._desk = desk
        self._queue = queue
        self._clock = clock
        self._journal = journal
        self._notes = notes
        self._books = books
        self._boundary = boundary
        self._controls = controls
        self._market = market
        self._hooks = hooks
        self.live_side = LiveSide(desk, journal, notes, books)
        self._delistings = Delistings(desk, notes)
        self._passed_stops = PassedStops(desk, books, notes)
        self._halts = Halts(desk, journal, notes, books, controls.cancel_entries)
        self._stopping = threading.Event()
        self._waiters: list[tuple[ControlRequest, int]] = []
        self._owed = OwedAnswers()
        self._held: list[BoundaryClosed] = []  # closes that arrived before the first marks and books
        self._started_s = monotonic_s()
        self._frame_ms: int | None = None  # newest clock frame handled (at step)
        self._published_s = 0.0
        self._is_unpublished = False  # something changed since the last state went out
        self._health_s = 0.0
        self._stored_risk = desk.risk
        self._stored_risk_s = 0.0
        self._stored_handled_ms = 0
        self._sent_once: set[str] = set()  # cloids of closing orders that no candle made
        self.reconnects = 0

    def stop(self) -> None:
        """Ask the loop to end after its pass; from any thread or a signal handler."""
        self._stopping.set()
        self._queue.wake()

    def run(self) -> None:
        """Handle batches until stopped."""
        while not self._stopping.is_set():
            batch = self._queue.take(self._wait_s())
            if batch.first_put_s is not None:
                self._desk.lag.add((monotonic_s() - batch.first_put_s) * 1000.0)
            self.handle(batch)
        self._owed.settle()
        for request, _ in self._waiters:
            request.respond(IpcError("the daemon is stopping", code="refused"))

    def _wait_s(self) -> float:
        if self._owed or self._reached():
            return SETTLE_POLL_S
        wait_s = STATE_AT_MOST_EVERY_S if self._is_unpublished else TICK_S
        due_ms = self._next_timer_ms()
        if due_ms is not None:
            until_s = self._clock.wall_seconds_until(due_ms)
            if until_s is not None:
                wait_s = min(wait_s, max(until_s, 0.001))
        return wait_s

    def _next_timer_ms(self) -> int | None:
        desk = self._desk
        due = [
            desk.executor.next_deadline_ms(),
            next_timeout_ms(desk.account.positions, desk.config),
            self._next_hour_ms(),
        ]
        return min((item for item in due if item is not None), default=None)

    def _next_hour_ms(self) -> int | None:
        hour_ms = self._desk.next_hour_ms
        if hour_ms is None or not self._desk.account.positions or hour_ms <= self._desk.handled_ms:
            return None  # an hour that waits for its first oracle price is looked at by the pulse, not in a spin
        return hour_ms

    # ------------------------------------------------------------ one pass

    def handle(self, batch: Batch) -> None:
        """Handle one batch."""
        self.take_pass(batch, self._now_ms() if batch.frame is None else batch.frame.venue_ms)

    def take_pass(self, batch: Batch, now_ms: int) -> None:
        """Handle one batch at a time of the venue's clock (a replay gives the recorded one)."""
        desk = self._desk
        desk.instruments.look(desk.outside)
        changed = self.live_side.begin_pass(batch, now_ms)
        changed |= self._controls.latch.look(now_ms)
        for request in batch.controls:
            changed |= self._control(request, now_ms)
        changed |= self._books.settle(now_ms) > 0
        changed |= self._market_input(batch, now_ms)
        changed |= self.live_side.follow_up(now_ms)
        for event in sorted(batch.events, key=_overflow_first):
            changed |= self._event(event, now_ms)
        changed |= self._release_held(now_ms)
        changed |= self._timers(now_ms)
        changed |= self.live_side.follow_up(now_ms)
        self._halts.look_at_equity(now_ms)
        self._books.check(now_ms)
        if batch.frame is not None:
            self._frame_ms = batch.frame.venue_ms
            self._hooks.on_clock(batch.frame.venue_ms)
        desk.handled_ms = max(desk.handled_ms, now_ms)
        self._remember(now_ms, is_frame=batch.frame is not None)
        self._look_at_health(now_ms)
        self._publish(changed)
        self._answer_waiters()
        self._owed.look()
        lost = desk.outside.took(now_ms, batch)
        if lost is not None:
            text = f"the recording of this session ends here, trading goes on: {lost}"
            self._notes.say("RECORDING", text, now_ms, level=logging.WARNING)

    def _now_ms(self) -> int:
        """Return the time of a pass without a clock frame.

        At `step` the clock moves before the minute's marks and trades are taken; time has come only as far as the
        newest frame handled, by this run or the one before, or a timer would fire on the prices of a minute ago.
        """
        if not self._clock.stepped:
            return self._clock.now_ms()
        return self._frame_ms or self._desk.handled_ms or self._clock.now_ms()

    def _control(self, request: ControlRequest, now_ms: int) -> bool:
        if request.cmd == "wait_until":
            self._waiters.append((request, request.args.venue_ms or 0))
            return False
        if self._desk.outside.ask("expired", bool, lambda: request.is_expired(monotonic_s())):
            return False
        try:
            answer = self._controls.handle(request, now_ms)
        except PerpBotError as error:  # whatever an operator asks for, the loop goes on
            request.respond(error if isinstance(error, IpcError) else IpcError(str(error)))
            return True
        self._published_s = 0.0
        if isinstance(answer, Later):
            self._owed.owe(request, answer)
        else:
            self._publish(changed=True)  # who asks for the state next sees what came of it
            request.respond(answer)
        return True

    def _market_input(self, batch: Batch, now_ms: int) -> bool:
        """Give the market to the executor, hour by hour: who held what at an hour decides who pays its funding."""
        count = 0
        while (hour_ms := self._desk.next_hour_ms) is not None and hour_ms < now_ms:
            before, batch = batch.split(hour_ms)
            count += self._take_market(before, hour_ms)
            self._funding_hours(hour_ms)
            if self._desk.next_hour_ms == hour_ms:
                break  # no oracle price yet: the hour waits for one
        count += self._take_market(batch, now_ms)
        self._funding_hours(now_ms)
        return count > 0

    def _take_market(self, batch: Batch, now_ms: int) -> int:
        """Give trades, books and marks to the executor and keep the newest; stops fire here. Return what was booked."""
        desk = self._desk
        if not (batch.trades or batch.books or batch.contexts):
            return 0
        executor = desk.executor
        if batch.trades:
            executor.on_trades(batch.trades)
        for book in batch.first_books.values():
            executor.on_book(book)
        for book in batch.books.values():
            desk.market.take_book(book)
            executor.on_book(book)
        for contexts in batch.contexts.values():
            executor.on_context(contexts)
            desk.market.take_context(contexts[-1])
        executor.on_time(now_ms)
        count = self._books.settle(now_ms)
        exiting = [symbol for symbol in batch.contexts if desk.is_exiting(symbol)]
        for intent in due_targets(desk.account.positions, batch.contexts, now_ms, exiting):
            count += self._send_once(intent, now_ms)
        return count

    def _funding_hours(self, now_ms: int) -> None:
        if self._desk.live is not None:
            return  # the venue books it, and tells
        for symbol, hour_ms in self._books.note_hours(now_ms):
            self._market.request_funding(symbol, hour_ms)

    # ------------------------------------------------------------ events

    def _event(self, event: MarketEvent, now_ms: int) -> bool:
        if isinstance(event, BoundaryClosed):
            self._held.append(event)
            return self._release_held(now_ms)
        if isinstance(event, FundingSettled):
            self._books.pay(event.funding, now_ms)
            return True
        if isinstance(event, AccountEvent):
            return False  # taken at the beginning of the pass
        if isinstance(event, MissedMinutes):
            return self._passed_stops.after_outage(event.symbol, event.candles, now_ms)
        if isinstance(event, StreamStatus):
            return self._stream(event, now_ms)
        assert isinstance(event, FeedOverflow)
        self._desk.overflow = f"the queue of {event.what} overflowed: paper fills may be missing until the next close"
        self._halts.look_at_degraded(now_ms)
        return True

    def _close(self, event: BoundaryClosed, now_ms: int) -> bool:
        self._look_at_trouble(now_ms)  # as it is now: the reads that confirmed this close came after the last look
        return self._boundary.close(event, now_ms)

    def _is_market_ready(self) -> bool:
        """Whether every listed coin has a mark and a book, or the wait for them is over."""
        if self._clock.stepped and self._frame_ms is None:
            return False  # the venue sends its newest minute again: the first frame always comes
        desk = self._desk
        if desk.outside.ask("waited for the market", bool, lambda: monotonic_s() - self._started_s > MARKET_READY_S):
            return True
        listed = [symbol for symbol in desk.symbols if not self._delistings.is_delisted(symbol)]
        return all(desk.market.context(symbol) and desk.market.book(symbol) for symbol in listed)

    def _release_held(self, now_ms: int) -> bool:
        if not self._held or not self._is_market_ready():
            return False
        held, self._held = self._held, []
        closed = [self._close(event, now_ms) for event in held]  # every one of them, not only the first
        return any(closed)

    def _stream(self, event: StreamStatus, now_ms: int) -> bool:
        if event.connected:
            kind = "RECONNECT" if event.reconnects > self.reconnects else "CONNECTED"
            self.reconnects = max(self.reconnects, event.reconnects)
            self._notes.say(kind, event.note, now_ms)
            self.live_side.resync(now_ms)
        else:
            self._notes.say("DISCONNECTED", event.note, now_ms, level=logging.WARNING)
        self._health_s = 0.0
        return True

    # ------------------------------------------------------------ timers

    def _timers(self, now_ms: int) -> bool:
        desk = self._desk
        desk.executor.on_time(now_ms)
        count = self._books.settle(now_ms)
        for intent in (*self._due_timeouts(now_ms), *self._delistings.due(now_ms)):
            count += self._send_once(intent, now_ms)
        return count + self._books.settle(now_ms) > 0

    def _due_timeouts(self, now_ms: int) -> list[OrderIntent]:
        """Return the closing orders of positions that are too old; one that closed nothing is followed in a minute."""
        config = self._desk.config
        due: list[OrderIntent] = []
        for position in self._desk.account.positions:
            if self._desk.is_managed(position) and not self._desk.is_exiting(position.symbol):
                attempt = max(0, now_ms - timeout_at_ms(position, config)) // MINUTE_MS
                due += due_timeouts((position,), config, now_ms, attempt=attempt)
        return due

    def _send_once(self, intent: OrderIntent, now_ms: int) -> int:
        """Send a closing order, unless it was: one that closed nothing is not journalled again at every pass."""
        if intent.cloid in self._sent_once:
            return 0
        self._sent_once.add(intent.cloid)
        self.send_exit(intent, now_ms)
        return 1

    def send_exit(self, intent: OrderIntent, now_ms: int) -> None:
        """Journal a closing order and hand it over; it goes out even when the store fails.

        An entry order of the coin goes first: it could fill behind the exit.
        """
        entry = self._desk.live_entry(intent.symbol)
        if entry is not None:
            self._desk.executor.cancel(entry.intent.cloid, now_ms, f"closing: {intent.reason}")
            self._books.settle(now_ms)
        self._journal.commit_order(orders.new_order(intent))
        crash_point("send.before")
        self._desk.executor.submit(intent, now_ms)
        crash_point("send.after")
        self._books.settle(now_ms)

    def _remember(self, now_ms: int, *, is_frame: bool) -> None:
        """Store risk state and progress: at every step, else about once a second."""
        desk = self._desk
        if not (is_frame or self._clock.stepped or desk.outside.ask("state due", bool, self._is_state_due)):
            return
        self._stored_risk_s = monotonic_s()
        if desk.risk != self._stored_risk:
            self._journal.put(self._books.risk_row(now_ms))
            self._stored_risk = desk.risk
        if is_frame or (not self._clock.stepped and desk.handled_ms > self._stored_handled_ms):
            totals = StateRow(desk.state_key("totals"), desk.totals.to_json(), now_ms)
            self._journal.put(StateRow(desk.state_key("handled_ms"), desk.handled_ms, now_ms), totals)
            self._stored_handled_ms = desk.handled_ms

    def _is_state_due(self) -> bool:
        return monotonic_s() - self._stored_risk_s >= STATE_EVERY_S

    # ------------------------------------------------------------ health, state, waiters

    def _look_at_health(self, now_ms: int) -> None:
        if not self._desk.outside.ask("health due", bool, lambda: monotonic_s() - self._health_s >= TICK_S):
            return
        self._health_s = monotonic_s()
        self._look_at_trouble(now_ms)
        self._delistings.look(now_ms)
        gap = self._desk.outside.ask("gap", str | None, self._audit)
        self._books.take_audit(Decimal(gap or 0), now_ms)
        self._journal.look_after_emergency()

    def _audit(self) -> str | None:
        gap = self._hooks.audit()
        return str(gap) if gap else None

    def _look_at_trouble(self, now_ms: int) -> None:
        self._desk.store_trouble = self._journal.trouble
        self._desk.venue_trouble = self._desk.outside.ask("venue trouble", str | None, self._venue_trouble)
        self._halts.look_at_degraded(now_ms)

    def _venue_trouble(self) -> str | None:
        marks = self._desk.market
        listed = [symbol for symbol in self._desk.symbols if not self._delistings.is_delisted(symbol)]
        return venue_trouble(
            self._market.health(),
            {symbol: marks.mark_age_s(symbol) for symbol in listed},
            up_s=monotonic_s() - self._started_s,
            speed=self._clock.speed,
        )

    def _publish(self, changed: bool) -> None:
        self._is_unpublished |= changed
        since_s = monotonic_s() - self._published_s
        is_due = since_s >= STATE_AT_MOST_EVERY_S or bool(self._owed)
        if since_s >= STATE_EVERY_S or (self._is_unpublished and is_due):
            self._published_s = monotonic_s()
            self._is_unpublished = False
            self._hooks.publish()

    def _answer_waiters(self) -> None:
        """Answer `wait_until` once the venue's time is handled and nothing of it is under way, and it is on disk."""
        if not self._waiters:
            return
        now_s = monotonic_s()
        self._waiters = [item for item in self._waiters if not item[0].is_expired(now_s)]
        done = self._reached()
        if not done or self._held or not self._is_settled():
            return
        # While writing fails the rows wait in memory: who asks is answered all the same.
        if self._journal.trouble_now is None and not self._journal.is_on_disk():
            return
        self._hooks.publish()
        for request, venue_ms in done:
            request.respond(ControlResult("done", f"handled {venue_ms}"))
        self._waiters = [item for item in self._waiters if item not in done]

    def _reached(self) -> list[tuple[ControlRequest, int]]:
        """Return the waiters whose time the loop has handled."""
        reached_ms = self._frame_ms if self._clock.stepped else self._desk.handled_ms
        return [] if reached_ms is None else [item for item in self._waiters if item[1] <= reached_ms]

    def _is_settled(self) -> bool:
        # The market side first: what it still owes would arrive in the queue, which is looked at after it.
        return (
            self._market.is_settled()
            and self._hooks.signals_idle()
            and self.live_side.is_settled()
            and self._queue.is_empty
        )


def _overflow_first(event: MarketEvent) -> bool:
    """Sort key: what was lost is known before anything is decided; else the order of arrival."""
    return not isinstance(event, FeedOverflow)
