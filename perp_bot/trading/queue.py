"""The trading loop's one queue.

Marks and books are latest-value slots; a slot of marks keeps the extremes since it was last read, because a spike
must fire the stop even when the next update has already taken it back. Trades and events are lossless and bounded:
an overflow becomes a `FeedOverflow`, and entries stop. At `step` the venue ends each batch with a clock frame; a
sealed batch is handled whole before anything that came later, so that thread timing never changes a decision.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace

from perp_bot.core.clock import monotonic_s
from perp_bot.core.events import ClockFrame, FeedOverflow, MarketEvent
from perp_bot.core.types import AssetContext, Book, PublicTrade
from perp_bot.ipc.control import ControlRequest

MAX_TRADES = 100_000
MAX_EVENTS = 10_000
MAX_CONTROLS = 1_000


@dataclass(slots=True)
class _ContextSlot:
    """Marks of one coin since the last read: lowest, highest and newest, with their order of arrival."""

    low: tuple[int, AssetContext]
    high: tuple[int, AssetContext]
    last: tuple[int, AssetContext]

    def add(self, order: int, context: AssetContext) -> None:
        if context.mark_px < self.low[1].mark_px:
            self.low = (order, context)
        if context.mark_px > self.high[1].mark_px:
            self.high = (order, context)
        self.last = (order, context)

    def in_order(self) -> tuple[AssetContext, ...]:
        """Return the kept contexts, oldest first, each once."""
        kept = dict((self.low, self.high, self.last))
        return tuple(kept[order] for order in sorted(kept))


@dataclass(slots=True)
class Batch:
    """What one pass of the loop handles."""

    contexts: dict[str, tuple[AssetContext, ...]] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    first_books: dict[str, Book] = field(default_factory=dict)  # the oldest since the last read, where it is another
    trades: list[PublicTrade] = field(default_factory=list)
    events: list[MarketEvent] = field(default_factory=list)
    controls: list[ControlRequest] = field(default_factory=list)
    frame: ClockFrame | None = None
    first_put_s: float | None = None  # monotonic time of the oldest item, for the loop's lag

    def split(self, at_ms: int) -> tuple[Batch, Batch]:
        """Return the market data up to `at_ms` (by its own time) and everything else."""
        early, late = Batch(), replace(self, contexts={}, books={}, first_books={}, trades=[])
        for symbol, contexts in self.contexts.items():
            for part, is_early in ((early, True), (late, False)):
                kept = tuple(context for context in contexts if (context.venue_ms <= at_ms) is is_early)
                if kept:
                    part.contexts[symbol] = kept
        for symbol, book in self.books.items():
            (early if book.venue_ms <= at_ms else late).books[symbol] = book
        for symbol, book in self.first_books.items():
            if book.venue_ms > at_ms:
                late.first_books[symbol] = book
            elif symbol in early.books:
                early.first_books[symbol] = book
            else:
                early.books[symbol] = book
        for trade in self.trades:
            (early if trade.venue_ms <= at_ms else late).trades.append(trade)
        return early, late

    @property
    def is_empty(self) -> bool:
        """Whether the pass has nothing but timers to handle."""
        return not (self.contexts or self.books or self.trades or self.events or self.controls or self.frame)


@dataclass(slots=True)
class _Open:
    """The batch being filled."""

    slots: dict[str, _ContextSlot] = field(default_factory=dict)
    books: dict[str, Book] = field(default_factory=dict)
    first_books: dict[str, Book] = field(default_factory=dict)
    trades: list[PublicTrade] = field(default_factory=list)
    events: list[MarketEvent] = field(default_factory=list)
    first_put_s: float | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.slots or self.books or self.trades or self.events)

    def close(self, frame: ClockFrame | None) -> Batch:
        contexts = {symbol: slot.in_order() for symbol, slot in self.slots.items()}
        return Batch(contexts, self.books, self.first_books, self.trades, self.events, [], frame, self.first_put_s)


class EventQueue:
    """Implements `core.events.MarketSink` for producers; the loop alone calls `take`."""

    def __init__(self, *, max_trades: int = MAX_TRADES, max_events: int = MAX_EVENTS) -> None:
        self._ready = threading.Condition()
        self._open = _Open()
        self._sealed: deque[Batch] = deque()
        self._controls: deque[ControlRequest] = deque()
        self._order = 0
        self._max_trades = max_trades
        self._max_events = max_events
        self._overflowed: set[str] = set()
        self._woken = False
        self._stepped = False

    def set_stepped(self, stepped: bool) -> None:
        """At `step`, market data waits for its clock frame; events and controls never wait."""
        with self._ready:
            self._stepped = stepped

    # ------------------------------------------------------------ producers

    def put_context(self, context: AssetContext) -> None:
        """Put a mark/oracle update in its slot, keeping the extremes since the last read."""
        with self._ready:
            self._order += 1
            slot = self._open.slots.get(context.symbol)
            if slot is None:
                entry = (self._order, context)
                self._open.slots[context.symbol] = _ContextSlot(entry, entry, entry)
            else:
                slot.add(self._order, context)
            self._touched()

    def put_book(self, book: Book) -> None:
        """Put a book in its latest-value slot, keeping the first since the last read: a spike is priced from it."""
        with self._ready:
            previous = self._open.books.get(book.symbol)
            if previous is not None:
                self._open.first_books.setdefault(book.symbol, previous)
            self._open.books[book.symbol] = book
            self._touched()

    def put_trades(self, trades: tuple[PublicTrade, ...]) -> None:
        """Append trades; beyond the bound they are dropped and a FeedOverflow says so."""
        with self._ready:
            if len(self._open.trades) + len(trades) > self._max_trades:
                self._overflow("trades")
            else:
                self._open.trades.extend(trades)
            self._touched()

    def put_event(self, event: MarketEvent) -> None:
        """Append an event; beyond the bound it is dropped and a FeedOverflow says so."""
        with self._ready:
            if len(self._open.events) >= self._max_events:
                self._overflow("events")
            else:
                self._open.events.append(event)
            self._touched()

    def seal(self, frame: ClockFrame) -> None:
        """End the batch at a clock frame."""
        with self._ready:
            if self._stepped and self._open.events:
                # A close of the step before, not taken yet, comes before the marks of this one.
                self._sealed.append(Batch(events=self._open.events))
                self._open.events = []
            self._sealed.append(self._open.close(frame))
            self._open = _Open()
            self._overflowed.clear()
            self._ready.notify()

    def submit(self, request: ControlRequest) -> None:
        """Take a control request from the socket thread (implements `ipc.control.ControlPort`)."""
        with self._ready:
            if len(self._controls) >= MAX_CONTROLS:
                raise OverflowError("the trading loop has 1,000 unanswered control requests")
            self._controls.append(request)
            self._ready.notify()

    def wake(self) -> None:
        """Make the loop take a pass now (shutdown, a settled background read)."""
        with self._ready:
            self._woken = True
            self._ready.notify()

    def _touched(self) -> None:
        if self._open.first_put_s is None:
            self._open.first_put_s = monotonic_s()
        self._ready.notify()

    def _overflow(self, what: str) -> None:
        if what not in self._overflowed:
            self._overflowed.add(what)
            self._open.events.append(FeedOverflow(what))

    # ------------------------------------------------------------ the loop

    def take(self, timeout_s: float | None) -> Batch:
        """Return the next batch, waiting up to `timeout_s` (None: for ever); an empty batch on time-out or wake."""
        with self._ready:
            if not self._has_work():
                self._ready.wait_for(self._has_work, timeout_s)
            self._woken = False
            if self._sealed:
                batch = self._sealed.popleft()
            elif self._stepped:
                batch = Batch(events=self._open.events)
                self._open.events = []
            elif not self._open.is_empty:
                batch = self._open.close(None)
                self._open = _Open()
                self._overflowed.clear()
            else:
                batch = Batch()
            batch.controls = list(self._controls)
            self._controls.clear()
            return batch

    def _has_work(self) -> bool:
        waiting = bool(self._open.events) if self._stepped else not self._open.is_empty
        return bool(self._sealed or self._controls or self._woken or waiting)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be handled."""
        with self._ready:
            return not self._has_work()
