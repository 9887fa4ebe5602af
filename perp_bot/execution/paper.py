"""Paper trading: the venue's side of our orders, filled by the one fill model from real market input.

Market input is put in an inbox and worked off in time order (book, trades, marks at equal times) by `drain` and
`on_time`, so the outcome is the same whether it arrives in one batch or in many. Replayed input, older than what was
handled, changes nothing; after `restore` from stored orders and positions the same input gives the same fills with
the same ids.

- A limit entry rests, fills as maker when traded through, and at `expires_ms` takes the rest from the book: the same
  order goes on as a taker, so that no crash can fall between a cancel and its successor. Its fills say which is which.
- A taker needs a book not older than `book_max_age_ms` at its time; otherwise it waits for the next one. An entry
  gives up waiting after two minutes of venue time (no entry on a stale market); exits and stops wait as long as it
  takes.
- Every position has a resting reduce-only stop at its `stop_px`; its size follows the position, it is cancelled when
  flat. When it triggers, an entry order that still works on the coin is cancelled.
- Fill ids are `cloid:size filled before`, unique and derived from the order alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, check_notional, plain, quantize_price, quantize_size, to_decimal, wire
from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.core.types import (
    AssetContext,
    Book,
    Fill,
    Instrument,
    Liquidity,
    Order,
    OrderIntent,
    OrderRole,
    OrderState,
    OrderType,
    Position,
    PublicTrade,
)
from perp_bot.execution import fills, orders
from perp_bot.execution.account import TRAILING_STOP
from perp_bot.execution.executor import OrderEvent, OrderFilled, OrderUpdate
from perp_bot.execution.positions import StopRule, after_fill, realized_by
from perp_bot.execution.stops import stop_intent, stop_reason

BOOK_MAX_AGE_MS = 15_000
BOOK_CADENCE_WALL_S = 0.5  # a fast practice venue publishes a few books a wall second
ENTRY_GIVES_UP_MS = 2 * MINUTE_MS
_FINISHED_KEPT = 1_000  # answers to a repeated submit; far more than can be under way

# An order's note is stored with it; these two forms carry what a restart must know.
_BY_TRADE = re.compile(r"^maker, public trade (\d+)$")
_TRIGGERED = re.compile(r"^triggered by mark \S+ at (\d+)$")

_BOOK, _TRADE, _MARK = range(3)
_Input = tuple[int, int, int, Book | PublicTrade | AssetContext]


def book_max_age_ms(speed: float | None) -> int:
    """Return how old a book may be at a venue that runs `speed` times as fast as the wall (None: stepped)."""
    return max(BOOK_MAX_AGE_MS, round(BOOK_CADENCE_WALL_S * 1000 * (speed or 1.0)))


class PaperExecutor:
    """Execute orders on paper. Owned by the loop's thread; never blocks, reads no clock."""

    def __init__(
        self,
        config: Config,
        source: str,
        instruments: Mapping[str, Instrument],
        stop_rule: StopRule,
        book_max_age_ms: int = BOOK_MAX_AGE_MS,
    ) -> None:
        """Start flat. `stop_rule` is the one that the account uses; `book_max_age_ms` of venue time."""
        self._costs = config.backtest
        self._source = source
        self._instruments = instruments
        self._stop_rule = stop_rule
        self._book_max_age_ms = book_max_age_ms
        self._gives_up_ms = max(ENTRY_GIVES_UP_MS, 2 * book_max_age_ms)
        self._live: dict[str, Order] = {}  # by cloid, in the order of submission
        self._finished: dict[str, Order] = {}
        self._taking: dict[str, int] = {}  # cloid -> venue time from which it takes
        self._positions: dict[str, Position] = {}
        self._books: dict[str, Book] = {}
        self._mark_ms: dict[str, int] = {}
        self._trade_ms: dict[str, tuple[int, set[int]]] = {}  # newest trade time, and the ids seen at it
        self._resume_tid: dict[str, int] = {}  # after a restart: the public trade that filled an order last
        self._retry: set[str] = set()  # after a restart: takers that try again when the replay has reached their time
        self._inbox: list[_Input] = []
        self._events: list[OrderEvent] = []

    # ------------------------------------------------------------ Executor

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Take an order at `now_ms`; a repeated cloid is answered with the order as it stands."""
        self._settle()
        known = self._live.get(intent.cloid) or self._finished.get(intent.cloid)
        if known is not None:
            self._events.append(OrderUpdate(known))
            return
        order = orders.new_order(intent)
        refusal = self._refusal(intent)
        if refusal is not None:
            self._keep(orders.rejected(order, now_ms, refusal))
            return
        self._keep(orders.accepted(order, now_ms))
        if intent.order_type is OrderType.TAKER:
            self._start_taking(intent.cloid, now_ms)

    def cancel(self, cloid: str, now_ms: int, note: str) -> None:
        """Cancel an order; one that has ended answers as it stands, a position's stop stays."""
        self._settle()
        order = self._live.get(cloid)
        if order is None:
            if cloid in self._finished:
                self._events.append(OrderUpdate(self._finished[cloid]))
            return
        if order.intent.role is OrderRole.STOP and order.intent.symbol in self._positions:
            self._events.append(OrderUpdate(order))  # protective: it goes with its position, never before
            return
        self._keep(orders.cancelled(order, now_ms, note))

    def move_stop(self, symbol: str, stop_px: float, now_ms: int) -> bool:
        """Move a position's stop (a trailing one): one order whose trigger changes, so that it is never without.

        Marks up to `now_ms` do not trigger it. Return whether it moved: not without a position, nor while it fires.
        """
        self._settle()
        position = self._positions.get(symbol)
        stop = next((order for order in self._of(symbol) if order.intent.role is OrderRole.STOP), None)
        if position is None or stop is None or stop.intent.cloid in self._taking:
            return False
        self._positions[symbol] = replace(position, stop_px=stop_px)
        moved = replace(stop.intent, trigger_px=to_decimal(stop_px), stop_px=stop_px, reason=TRAILING_STOP)
        self._keep(replace(stop, intent=moved, updated_ms=now_ms))
        return True

    def drain(self) -> list[OrderEvent]:
        """Work off what has arrived, then return and clear the events since the last call, in order."""
        self._settle()
        events, self._events = self._events, []
        return events

    def is_closing(self, symbol: str) -> bool:
        """Whether another closing order will follow the last one: never, on paper one waits until it has filled."""
        return False

    # ------------------------------------------------------------ market input

    def on_trades(self, trades: Iterable[PublicTrade]) -> None:
        """Take public trades."""
        for trade in trades:
            self._put(trade.venue_ms, _TRADE, trade)

    def on_book(self, book: Book) -> None:
        """Take a book snapshot."""
        self._put(book.venue_ms, _BOOK, book)

    def on_context(self, contexts: Iterable[AssetContext]) -> None:
        """Take mark updates, the extremes since the last call included."""
        for context in contexts:
            self._put(context.venue_ms, _MARK, context)

    def on_time(self, now_ms: int) -> None:
        """Move the venue's time to `now_ms`: everything that has arrived first, then what is due."""
        self._settle()
        self._fire_until(now_ms)

    def next_deadline_ms(self) -> int | None:
        """Return the venue time of the next `on_time` that changes something; None when there is none."""
        return min((due for order in self._live.values() if (due := self._due_ms(order)) is not None), default=None)

    # ------------------------------------------------------------ state

    @property
    def positions(self) -> tuple[Position, ...]:
        """The venue's truth about positions, by symbol; stops and decisions as the orders gave them."""
        return tuple(self._positions[symbol] for symbol in sorted(self._positions))

    @property
    def live_orders(self) -> tuple[Order, ...]:
        """Orders that can still fill, stops included, in the order of submission."""
        return tuple(self._live.values())

    def restore(self, live_orders: Sequence[Order], positions: Iterable[Position]) -> None:
        """Go on after a restart from stored live orders (oldest first) and positions (rebuilt from fills).

        Intents that were on disk and not yet sent are sent; a position without a stored stop gets it.
        """
        self._positions = {position.symbol: position for position in positions}
        for order in live_orders:
            intent = order.intent
            if order.state is OrderState.INTENT:
                self._keep(orders.accepted(order, intent.created_ms))
            else:
                self._live[intent.cloid] = order
            triggered, by_trade = _TRIGGERED.match(order.note), _BY_TRADE.match(order.note)
            if by_trade is not None:
                self._resume_tid[intent.cloid] = int(by_trade[1])
            if intent.order_type is OrderType.TAKER or triggered is not None:
                self._taking[intent.cloid] = int(triggered[1]) if triggered is not None else intent.created_ms
                self._retry.add(intent.cloid)
        symbols = {order.intent.symbol for order in live_orders} | set(self._positions)
        for symbol in sorted(symbols):
            position = self._positions.get(symbol)
            self._follow_position(symbol, 0 if position is None else position.opened_ms)

    # ------------------------------------------------------------ time order

    def _put(self, at_ms: int, rank: int, item: Book | PublicTrade | AssetContext) -> None:
        self._inbox.append((at_ms, rank, len(self._inbox), item))

    def _settle(self) -> None:
        """Work off the inbox in time order."""
        if not self._inbox:
            return
        inbox, self._inbox = self._inbox, []
        inbox.sort(key=lambda entry: entry[:3])
        for at_ms, _, _, item in inbox:
            self._fire_until(at_ms - 1)  # what is due at the same ms comes after its input: expires_ms is inclusive
            if isinstance(item, Book):
                self._take_book(item)
            elif isinstance(item, PublicTrade):
                self._take_trade(item)
            else:
                self._take_mark(item)

    def _fire_until(self, now_ms: int) -> None:
        """Let everything due until `now_ms` happen, in the order of its time."""
        while self._live:
            due = [(at, cloid) for cloid, order in self._live.items() if (at := self._due_ms(order)) is not None]
            if not due or min(due)[0] > now_ms:
                return
            at_ms, cloid = min(due, key=lambda entry: entry[0])
            if cloid in self._retry:
                self._retry.discard(cloid)
                self._take(cloid)
            elif cloid in self._taking:
                minutes = self._gives_up_ms / MINUTE_MS
                note = f"no fresh book for {minutes:g} min: entry given up"
                self._keep(orders.cancelled(self._live[cloid], at_ms, note))
            else:
                # The note of a maker fill stays: it keeps a replayed trade from filling twice after a restart.
                untouched = self._live[cloid].filled == 0
                self._start_taking(cloid, at_ms, "takes: not filled in time" if untouched else "")

    def _due_ms(self, order: Order) -> int | None:
        since = self._taking.get(order.intent.cloid)
        if order.intent.cloid in self._retry:
            return since
        if order.intent.role is not OrderRole.ENTRY:
            return None
        return order.intent.expires_ms if since is None else since + self._gives_up_ms

    # ------------------------------------------------------------ the three inputs

    def _take_book(self, book: Book) -> None:
        newest = self._books.get(book.symbol)
        if newest is not None and book.venue_ms <= newest.venue_ms:
            return
        self._books[book.symbol] = book
        for order in self._of(book.symbol):
            if order.intent.cloid in self._taking and order.intent.cloid not in self._retry:
                self._take(order.intent.cloid)

    def _take_trade(self, trade: PublicTrade) -> None:
        newest_ms, seen = self._trade_ms.get(trade.symbol, (-1, set()))
        if trade.venue_ms < newest_ms or (trade.venue_ms == newest_ms and trade.tid in seen):
            return
        self._trade_ms[trade.symbol] = (trade.venue_ms, {trade.tid} | (seen if trade.venue_ms == newest_ms else set()))
        instrument = self._instruments.get(trade.symbol)
        resting = [order for order in self._of(trade.symbol) if order.intent.order_type is OrderType.LIMIT]
        if instrument is None or not resting:  # most trades of a day: their sizes need not be known
            return
        left = fills.tradable_size(trade, instrument.sz_decimals)
        for order in resting:
            if left <= 0:
                return
            intent = order.intent
            if intent.limit_px is None or self._was_used(order, trade):
                continue
            if not fills.in_maker_window(intent.created_ms, intent.expires_ms, trade.venue_ms):
                continue
            if fills.trades_through(intent.side, intent.limit_px, trade.px):
                part = min(left, self._fillable(order))
                if part <= 0:
                    continue
                left -= part
                note = f"maker, public trade {trade.tid}"
                self._fill(order, part, intent.limit_px, trade.venue_ms, Liquidity.MAKER, note)

    def _was_used(self, order: Order, trade: PublicTrade) -> bool:
        """Whether a restored order was filled by this replayed trade, or by one after it."""
        if order.filled == 0 or trade.venue_ms > order.updated_ms:
            self._resume_tid.pop(order.intent.cloid, None)
            return False
        if trade.venue_ms < order.updated_ms:
            return True
        resume_tid = self._resume_tid.get(order.intent.cloid)
        if resume_tid == trade.tid:
            del self._resume_tid[order.intent.cloid]  # trades after it at the same ms are new
            return True
        return resume_tid is not None

    def _take_mark(self, context: AssetContext) -> None:
        symbol, at_ms, mark = context.symbol, context.venue_ms, context.mark_px
        if at_ms < self._mark_ms.get(symbol, -1) or not (math.isfinite(mark) and mark > 0):
            return
        self._mark_ms[symbol] = at_ms
        position = self._positions.get(symbol)
        if position is None:
            return
        for order in self._of(symbol):
            intent = order.intent
            if intent.role is not OrderRole.STOP or intent.trigger_px is None or intent.cloid in self._taking:
                continue
            # A stop is never older than its position: this also keeps marks from before the opening out.
            if at_ms > order.updated_ms and fills.stop_triggered(position.side, intent.trigger_px, mark):
                self._cancel_entries(symbol, at_ms)
                self._start_taking(intent.cloid, at_ms, f"triggered by mark {mark:g} at {at_ms}")

    # ------------------------------------------------------------ taking

    def _start_taking(self, cloid: str, since_ms: int, note: str = "") -> None:
        self._taking[cloid] = since_ms
        if note:
            self._keep(replace(self._live[cloid], note=note))
        self._take(cloid)

    def _take(self, cloid: str) -> None:
        """Take from the newest book what it offers, unless it is too old or was taken from before."""
        order, since_ms = self._live[cloid], self._taking[cloid]
        intent = order.intent
        book = self._books.get(intent.symbol)
        if book is None or since_ms - book.venue_ms > self._book_max_age_ms:
            return
        if order.filled > 0 and book.venue_ms <= order.updated_ms and order.updated_ms >= since_ms:
            return
        levels = book.asks if intent.side.sign > 0 else book.bids
        wanted = self._fillable(order)
        if not intent.reduce_only and order.filled > 0 and levels and self._is_dust(wanted, levels[0].px):
            self._keep(orders.cancelled(order, max(since_ms, book.venue_ms), "rest is below the venue's 10 USD"))
            return
        limit = intent.limit_px if intent.order_type is OrderType.TAKER else None
        if intent.trigger_px is not None:
            limit = fills.stop_limit_px(intent.side, intent.trigger_px)
        for level in fills.walk(levels, intent.side, wanted, limit):
            at_ms = max(since_ms, book.venue_ms)
            self._fill(self._live[cloid], level.size, level.px, at_ms, Liquidity.TAKER, order.note)

    def _is_dust(self, size: Decimal, px: float) -> bool:
        try:
            check_notional(size, to_decimal(px), closes_whole_position=False)
        except OrderRuleError:
            return True
        return False

    def _fillable(self, order: Order) -> Decimal:
        """Return how much the order may still fill: reduce-only never more than the position."""
        position = self._positions.get(order.intent.symbol)
        if not order.intent.reduce_only:
            return order.remaining
        return min(order.remaining, position.size) if position is not None else Decimal(0)

    def _fill(self, order: Order, size: Decimal, px: Decimal, at_ms: int, liquidity: Liquidity, note: str) -> None:
        intent = order.intent
        position = self._positions.get(intent.symbol)
        fill = Fill(
            fill_id=f"{intent.cloid}:{wire(order.filled)}",
            cloid=intent.cloid,
            symbol=intent.symbol,
            side=intent.side,
            px=px,
            size=size,
            fee_usd=fills.fee_usd(size, px, liquidity, self._costs),
            liquidity=liquidity,
            venue_ms=at_ms,
            role=intent.role,
            strategy=intent.strategy,
            source=intent.source,
            reason=intent.reason,
            closed_pnl_usd=realized_by(position, intent.side, size, px),
        )
        done = orders.filled(order, size, px, at_ms, note)
        effect = after_fill(position, fill, intent, self._stop_rule)
        if effect.position is None:
            self._positions.pop(intent.symbol, None)
        else:
            self._positions[intent.symbol] = effect.position
        self._keep(done, fill)
        self._follow_position(intent.symbol, at_ms)

    # ------------------------------------------------------------ protection

    def _follow_position(self, symbol: str, at_ms: int) -> None:
        """Bring the resting stop to the position; when flat, cancel everything reduce-only."""
        position = self._positions.get(symbol)
        if position is None:
            for order in self._of(symbol):
                if order.intent.reduce_only:
                    self._keep(orders.cancelled(order, max(at_ms, order.updated_ms), "reduce-only: position closed"))
            return
        if position.stop_px is None:
            return
        trigger = to_decimal(position.stop_px)
        stop = next((order for order in self._of(symbol) if order.intent.role is OrderRole.STOP), None)
        if stop is None:
            why = stop_reason(position, self._stop_rule)
            intent = stop_intent(position, trigger, at_ms, reason=why, source=self._source)
            self._keep(orders.accepted(orders.new_order(intent), at_ms))
            return
        size = stop.filled + position.size
        if size != stop.intent.size or trigger != stop.intent.trigger_px:
            reason = stop.intent.reason if trigger == stop.intent.trigger_px else stop_reason(position, self._stop_rule)
            moved = replace(stop.intent, size=size, trigger_px=trigger, stop_px=position.stop_px, reason=reason)
            self._keep(replace(stop, intent=moved, updated_ms=at_ms))

    def _cancel_entries(self, symbol: str, at_ms: int) -> None:
        for order in self._of(symbol):
            if order.intent.role is OrderRole.ENTRY:
                self._keep(orders.cancelled(order, at_ms, "the position's stop was triggered"))

    # ------------------------------------------------------------ orders

    def _of(self, symbol: str) -> list[Order]:
        return [order for order in self._live.values() if order.intent.symbol == symbol]

    def _keep(self, order: Order, fill: Fill | None = None) -> None:
        """Remember the order's new value and report it."""
        cloid = order.intent.cloid
        if order.is_live:
            self._live[cloid] = order
        else:
            self._live.pop(cloid, None)
            self._taking.pop(cloid, None)
            self._resume_tid.pop(cloid, None)
            self._retry.discard(cloid)
            self._finished[cloid] = order
            if len(self._finished) > _FINISHED_KEPT:
                del self._finished[next(iter(self._finished))]
        self._events.append(OrderUpdate(order) if fill is None else OrderFilled(order, fill))

    def _refusal(self, intent: OrderIntent) -> str | None:
        """Return why the venue would refuse the order, in its own words; None when it would not."""
        instrument = self._instruments.get(intent.symbol)
        if instrument is None:
            return f"the venue has no perp called {intent.symbol}"
        if instrument.is_delisted and not intent.reduce_only:
            return f"{intent.symbol} is delisted"
        try:
            if quantize_size(intent.size, instrument.sz_decimals) != plain(intent.size):
                return "Order has invalid size."
            if intent.limit_px is not None:
                on_grid = quantize_price(intent.limit_px, instrument.sz_decimals, Rounding.NEAREST)
                if on_grid != plain(intent.limit_px):
                    return "Price must be divisible by tick size."
        except OrderRuleError as error:
            return str(error)
        position = self._positions.get(intent.symbol)
        if intent.reduce_only and (position is None or intent.side is position.side.opening):
            return "Reduce only order would increase position."
        closes_all = intent.reduce_only and position is not None and intent.size >= position.size
        px = intent.limit_px or self._touch(intent)
        if px is not None and intent.size * px < 10 and not closes_all:
            return "Order must have minimum value of $10."
        return None

    def _touch(self, intent: OrderIntent) -> Decimal | None:
        book = self._books.get(intent.symbol)
        levels = () if book is None else (book.asks if intent.side.sign > 0 else book.bids)
        return to_decimal(levels[0].px) if levels else None
