"""A backtest from a recording's market alone: the books, trades, marks, closes and rates that a session saw.

Nothing of the session itself is used: not its orders, decisions or account, nor what its operator did. The account
begins flat with the configured capital; boundaries are decided by `decision.path`, fills come from the paper executor,
limits are `risk`'s. The order of things is written here anew, not taken from the daemon's loop, so that a fault of
either shows as a difference between the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import msgspec
import numpy as np

from perp_bot.backtest.grid import REGIMES, regimes_at
from perp_bot.backtest.market import Regimes
from perp_bot.backtest.market_tape import Tape
from perp_bot.backtest.operator import SimulatedOperator
from perp_bot.config.model import Config
from perp_bot.core.collector import collecting_rarely
from perp_bot.core.events import BoundaryClosed, CloseStatus, FundingSettled, MissedMinutes, SeriesClose
from perp_bot.core.rounding import to_decimal
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, day_of
from perp_bot.core.types import (
    AssetContext,
    Book,
    Candle,
    ClosedTrade,
    DecisionRecord,
    Fill,
    FundingPayment,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    Position,
    PublicTrade,
    Regime,
    Side,
)
from perp_bot.data.recordings import Recording, SessionReader
from perp_bot.data.session_format import Opening, Pass, events_of
from perp_bot.decision.delay import PendingEntry
from perp_bot.decision.exits import due_timeouts, timeout_at_ms
from perp_bot.decision.path import Boundary, SymbolInput, decide_boundary
from perp_bot.decision.targets import due_targets
from perp_bot.decision.view import build_view, columns_of
from perp_bot.execution.account import Account
from perp_bot.execution.executor import OrderFilled
from perp_bot.execution.funding import FundingDue, funding_due, funding_payment
from perp_bot.execution.missed_minutes import stop_inputs
from perp_bot.execution.paper import PaperExecutor
from perp_bot.indicators.warmup import decision_window
from perp_bot.risk import limits
from perp_bot.risk.sizing import instrument_stop_px
from perp_bot.risk.state import RiskState
from perp_bot.strategies import registry
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import MarketView, Strategy

SOURCE = "backtest"
STALE_RATE_MS = 10 * MINUTE_MS  # a rate that the session did not ask for is taken from the store this much later
Rates = Mapping[tuple[str, int], float]  # (symbol, hour) -> settled rate, for hours in which only the backtest held


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """What came of it."""

    trades: tuple[ClosedTrade, ...]
    fills: tuple[Fill, ...]
    funding: tuple[FundingPayment, ...]
    journal: tuple[DecisionRecord, ...]
    equity: tuple[tuple[int, float, float], ...]  # (close, equity, notional held)
    positions: tuple[Position, ...]  # still open
    risk: RiskState
    tape: Tape
    orders: Mapping[str, Order]  # by cloid
    missing_hours: int
    resumes: int
    regimes: Regimes | None  # that it was decided with
    stop_moves: tuple[tuple[int, str, float], ...]  # (time, symbol, price), oldest first
    is_whole: bool  # the recording reaches to the orderly end of its session
    is_cut: bool  # the simulation was interrupted


def simulate(
    config: Config,
    recording: Recording,
    rates: Rates | None = None,
    progress: Callable[[int], None] | None = None,
    regimes: Regimes | None = None,
) -> RecordedRun:
    """Run the configured strategy over a recorded market. An interrupt ends the run; what came before is kept.

    A recording holds no regimes: `regimes` are the store's, and where it has none the regime is NORMAL.

    Raises:
        StoreError: the recording cannot be read or holds no beginning.
    """
    reader = SessionReader(recording)
    run = _Run(config, reader.opening(), rates or {}, regimes)
    is_cut = False
    try:
        with collecting_rarely():
            for count, item in enumerate(reader.each_pass(), start=1):
                run.take(item)
                if progress is not None and count % 1_000 == 0:
                    progress(count)
    except KeyboardInterrupt:
        is_cut = True
    return run.outcome(is_whole=reader.is_whole, is_cut=is_cut)


@dataclass(slots=True)
class _Series:
    """Closed candles of a coin, and the unconfirmed ones behind them."""

    final: list[Candle]
    unconfirmed: list[Candle] = field(default_factory=list)

    def take(self, item: SeriesClose, window: int) -> Candle | None:
        """Add what closed; return the candle to decide on when it is provisional."""
        rows = list(item.candles)
        provisional = rows.pop() if item.status is CloseStatus.PROVISIONAL and rows else None
        known = {row.open_ms: row for row in (*self.final, *rows)}
        self.final = sorted(known.values(), key=lambda row: row.open_ms)[-window - 64 :]
        last_ms = self.final[-1].open_ms if self.final else -1
        waiting = {row.open_ms: row for row in self.unconfirmed if row.open_ms > last_ms}
        if provisional is not None:
            waiting = {at: row for at, row in waiting.items() if at < provisional.open_ms}
            waiting[provisional.open_ms] = provisional
        self.unconfirmed = [waiting[at] for at in sorted(waiting)]
        return provisional


@dataclass(frozen=True, slots=True)
class _Market:
    """Market input of a moment."""

    books: list[Book]
    marks: list[AssetContext]
    trades: list[PublicTrade]

    def split(self, at_ms: int) -> tuple[_Market, _Market]:
        """Return what is not later than a time, and the rest."""
        early = _Market(
            [book for book in self.books if book.venue_ms <= at_ms],
            [mark for mark in self.marks if mark.venue_ms <= at_ms],
            [trade for trade in self.trades if trade.venue_ms <= at_ms],
        )
        late = _Market(
            [book for book in self.books if book.venue_ms > at_ms],
            [mark for mark in self.marks if mark.venue_ms > at_ms],
            [trade for trade in self.trades if trade.venue_ms > at_ms],
        )
        return early, late


class _Run:
    """One simulated account over a recorded market."""

    def __init__(self, config: Config, opening: Opening, rates: Rates, regimes: Regimes | None) -> None:
        self._config = config
        self._regimes = regimes
        self._strategy: Strategy = registry.create(config.trading.strategy, config)
        self._window = decision_window(params_of(config))
        self._listed: dict[str, Instrument] = {item.symbol: item for item in opening.instruments}
        self._stepped = opening.speed is None
        self._book_max_age_ms = opening.book_max_age_ms
        self._account = Account(SOURCE, to_decimal(config.trading.capital_usd), self._stop)
        self._executor = PaperExecutor(config, SOURCE, self._listed, self._stop, opening.book_max_age_ms)
        self._risk = RiskState()
        self._contexts: dict[str, AssetContext] = {}
        self._books: dict[str, Book] = {}
        self._series = {symbol: _Series(list(opening.histories.get(symbol, ()))) for symbol in config.trading.symbols}
        self._pending: tuple[PendingEntry, ...] = ()
        self._closes: list[BoundaryClosed] = []
        self._has_frame = False
        self._hour_ms: int | None = None
        self._due: dict[tuple[str, int], FundingDue] = {}
        self._rates = rates
        self._sent: set[str] = set()
        self._booked = (0, 0)
        self._week_nets: dict[int, float] = {}
        self._limits_seen: tuple[object, ...] | None = None
        self._operator = SimulatedOperator(config)
        self._tape = Tape()
        self._fills: list[Fill] = []
        self._paid: list[FundingPayment] = []
        self._orders: dict[str, Order] = {}
        self._journal: list[DecisionRecord] = []
        self._equity: list[tuple[int, float, float]] = []
        self._stop_moves: list[tuple[int, str, float]] = []
        self._missing_hours = 0

    def _stop(self, symbol: str, side: Side, entry_px: Decimal, size: Decimal, own_px: float | None) -> float | None:
        instrument = self._listed.get(symbol)
        return own_px if instrument is None else instrument_stop_px(
            self._config, instrument, side, entry_px, size, own_px
        )  # fmt: skip

    def outcome(self, *, is_whole: bool, is_cut: bool) -> RecordedRun:
        """Return what came of it; hours whose rate is not known are counted as missing."""
        for due in [*self._due.values()]:
            self._pay_stored(due)
        return RecordedRun(
            self._account.trades, tuple(self._fills), tuple(self._paid), tuple(self._journal), tuple(self._equity),
            self._account.positions, self._risk, self._tape, self._orders, self._missing_hours + len(self._due),
            self._operator.resumes, self._regimes, tuple(self._stop_moves), is_whole, is_cut,
        )  # fmt: skip

    # ------------------------------------------------------------ one moment

    def take(self, item: Pass) -> None:
        """Let one recorded moment happen."""
        now_ms = item.now_ms
        for _, name, found in item.answers:
            if name == "instruments":  # the venue's list of coins changed
                listed = msgspec.convert(found, list[Instrument])
                self._listed.clear()
                self._listed.update((one.symbol, one) for one in listed)
        self._market(item, now_ms)
        for event in events_of(item.events):
            if isinstance(event, BoundaryClosed):
                self._closes.append(event)
                self._decide_all(now_ms)
            elif isinstance(event, FundingSettled):
                rate = event.funding
                self._pay(self._due.pop((rate.symbol, rate.hour_ms), None), rate.rate)
            elif isinstance(event, MissedMinutes):
                self._missed(event, now_ms)
        self._decide_all(now_ms)
        self._timers(now_ms)
        self._limits(now_ms)
        self._has_frame = self._has_frame or item.frame_ms is not None

    def _market(self, item: Pass, now_ms: int) -> None:
        """Take books, trades and marks hour by hour: who held what at an hour pays its funding."""
        left = _Market(
            [*item.first_books.values(), *item.books.values()],
            [mark for marks in item.contexts.values() for mark in marks],
            item.trades,
        )
        while self._hour_ms is not None and self._hour_ms < now_ms:
            hour_ms = self._hour_ms
            early, left = left.split(hour_ms)
            self._feed(early, hour_ms)
            self._note_hours(hour_ms)
            if self._hour_ms == hour_ms:
                break  # no oracle price yet
        self._feed(left, now_ms)
        self._note_hours(now_ms)

    def _feed(self, market: _Market, to_ms: int) -> None:
        books, marks, trades = market.books, market.marks, market.trades
        if not (books or marks or trades):
            return
        executor = self._executor
        executor.on_trades(trades)
        for book in books:
            executor.on_book(book)
            self._tape.on_book(book)
            if book.venue_ms >= self._books.get(book.symbol, book).venue_ms:
                self._books[book.symbol] = book
        executor.on_context(marks)
        by_symbol: dict[str, tuple[AssetContext, ...]] = {}
        for mark in marks:
            if math.isfinite(mark.mark_px) and mark.mark_px > 0:
                self._contexts[mark.symbol] = mark
            by_symbol[mark.symbol] = (*by_symbol.get(mark.symbol, ()), mark)
            self._tape.on_mark(mark)
        executor.on_time(to_ms)
        self._settle()
        exiting = [symbol for symbol in by_symbol if self._is_exiting(symbol)]
        for intent in due_targets(self._account.positions, by_symbol, to_ms, exiting):
            self._close(intent, to_ms)

    # ------------------------------------------------------------ funding

    def _note_hours(self, now_ms: int) -> None:
        if self._hour_ms is None:
            self._hour_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
            return
        for due in [*self._due.values()]:
            if now_ms - due.hour_ms >= STALE_RATE_MS:
                self._pay_stored(due)
        while self._hour_ms <= now_ms:
            held = self._account.positions
            unknown = [position for position in held if position.symbol not in self._contexts]
            if unknown and now_ms - self._hour_ms < HOUR_MS:
                return
            for position in held:
                context = self._contexts.get(position.symbol)
                owed = None if context is None else funding_due(position, self._hour_ms, context.oracle_px)
                if owed is not None:
                    self._due[(owed.symbol, owed.hour_ms)] = owed
                self._missing_hours += context is None
            self._hour_ms += HOUR_MS

    def _pay_stored(self, due: FundingDue) -> None:
        rate = self._rates.get((due.symbol, due.hour_ms))
        if rate is not None:
            self._pay(self._due.pop((due.symbol, due.hour_ms)), rate)

    def _pay(self, due: FundingDue | None, rate: float) -> None:
        if due is None:
            return
        payment = funding_payment(due, rate)
        change = self._account.apply_funding(payment)
        self._paid.append(payment)
        trade = change.closed_trade
        if trade is not None and self._risk.day_start_ms == day_of(trade.closed_ms):
            net = self._risk.day_realized_net_usd + float(payment.usd)
            self._risk = replace(self._risk, day_realized_net_usd=net)

    # ------------------------------------------------------------ orders

    def _settle(self) -> None:
        """Book what the executor has to report."""
        for event in self._executor.drain():
            order = event.order
            self._orders[order.intent.cloid] = order
            if not isinstance(event, OrderFilled):
                continue
            change = self._account.apply_fill(event.fill, order.intent)
            self._fills.append(event.fill)
            if change.closed_trade is not None:
                self._risk = self._risk.on_trade_closed(change.closed_trade, self._config.risk).state

    def _working(self) -> list[Order]:
        return [order for order in self._executor.live_orders if order.intent.role is OrderRole.ENTRY]

    def _entry_of(self, symbol: str) -> Order | None:
        return next((order for order in self._working() if order.intent.symbol == symbol), None)

    def _is_exiting(self, symbol: str) -> bool:
        return any(o.intent.symbol == symbol and o.intent.role is OrderRole.EXIT for o in self._executor.live_orders)

    def _send(self, intent: OrderIntent, now_ms: int) -> None:
        self._executor.submit(intent, now_ms)
        self._settle()

    def _close(self, intent: OrderIntent, now_ms: int) -> None:
        """Send a closing order once; an entry order of the coin goes first."""
        if intent.cloid in self._sent:
            return
        self._sent.add(intent.cloid)
        entry = self._entry_of(intent.symbol)
        if entry is not None:
            self._executor.cancel(entry.intent.cloid, now_ms, f"closing: {intent.reason}")
            self._settle()
        self._send(intent, now_ms)

    def _missed(self, event: MissedMinutes, now_ms: int) -> None:
        """Fire a stop that was passed while the stream was away."""
        position = self._account.position(event.symbol)
        fired = None if position is None else stop_inputs(position, event.candles)
        if fired is None:
            return
        seen = [item.venue_ms for item in (self._books.get(event.symbol), self._contexts.get(event.symbol)) if item]
        at_ms = max([now_ms, *(ms + 1 for ms in seen)])
        entry = self._entry_of(event.symbol)
        if entry is not None:
            self._executor.cancel(entry.intent.cloid, now_ms, "the position's stop was passed")
        self._executor.on_book(replace(fired[0], venue_ms=at_ms))
        self._executor.on_context([replace(fired[1], venue_ms=at_ms)])
        self._settle()

    def _timers(self, now_ms: int) -> None:
        self._executor.on_time(now_ms)
        self._settle()
        for position in self._account.positions:
            if not self._is_exiting(position.symbol):
                attempt = max(0, now_ms - timeout_at_ms(position, self._config)) // MINUTE_MS
                for intent in due_timeouts((position,), self._config, now_ms, attempt=attempt):
                    self._close(intent, now_ms)
        self._settle()

    # ------------------------------------------------------------ limits

    def _marks(self) -> dict[str, float]:
        return {symbol: context.mark_px for symbol, context in self._contexts.items()}

    def _equity_usd(self) -> float | None:
        equity = self._account.equity(self._marks())
        return None if equity is None else float(equity)

    def _limits(self, now_ms: int) -> None:
        """Measure the limits at the newest marks; entries that work go when one is hit."""
        equity = self._equity_usd()
        if equity is not None and self._contexts:
            measured = self._risk.on_equity(equity, now_ms, self._config.risk).state
            self._risk = self._operator.look(self._risk, measured, now_ms, equity)
        seen = (
            self._risk.session_paused, self._risk.drawdown_paused, self._risk.day_realized_net_usd,
            self._risk.cooldown_until_ms, self._lost_weeks(now_ms) >= self._config.risk.losing_weeks,
        )  # fmt: skip
        if seen == self._limits_seen:
            return
        self._limits_seen = seen
        if not self._working() and not self._pending:
            return
        uses = limits.limits(self._config, self._view(now_ms))
        hit = next((use for use in uses if use.name in limits.HALTING and use.breached), None)
        if hit is not None:
            for order in self._working():
                self._executor.cancel(order.intent.cloid, now_ms, f"entries halted: {hit.text}")
            self._pending = ()
            self._settle()

    def _lost_weeks(self, now_ms: int) -> int:
        if self._booked != self._account.booked:  # the sums change with fills and payments only
            self._booked, self._week_nets = self._account.booked, limits.weekly_nets(self._account.trades)
        return limits.losing_weeks(self._week_nets, now_ms)

    def _view(self, now_ms: int) -> limits.RiskView:
        held = tuple(position.symbol for position in self._account.positions)
        working = self._working()
        entries = tuple(dict.fromkeys(o.intent.symbol for o in working if o.intent.symbol not in held))
        return limits.RiskView(
            now_ms=now_ms,
            state=self._risk,
            equity_usd=self._equity_usd(),
            open_symbols=held,
            entry_symbols=entries,
            margin_used_usd=self._margin_usd(working),
            losing_weeks=self._lost_weeks(now_ms),
            mode=SOURCE,
            entries_today=self._opened_on(now_ms) + len(entries),
        )

    def _margin_usd(self, working: Sequence[Order]) -> float | None:
        marks = self._marks()
        notional = 0.0
        for position in self._account.positions:
            if position.symbol not in marks:
                return None
            notional += float(position.size * to_decimal(marks[position.symbol]))
        for order in working:
            price = order.intent.limit_px
            if price is None:
                mark = marks.get(order.intent.symbol)
                price = None if mark is None else to_decimal(mark)
            if price is None:
                return None
            notional += float(order.remaining * price)
        return notional / self._config.trading.leverage

    def _opened_on(self, now_ms: int) -> int:
        day_ms = day_of(now_ms)
        opened = [*(p.opened_ms for p in self._account.positions), *(t.opened_ms for t in self._account.trades)]
        return sum(at_ms >= day_ms for at_ms in opened)

    # ------------------------------------------------------------ decisions

    def _decide_all(self, now_ms: int) -> None:
        """Decide the closes that wait, once every coin has a mark and a book."""
        symbols = [symbol for symbol in self._config.trading.symbols if self._is_traded(symbol)]
        is_ready = all(symbol in self._contexts and symbol in self._books for symbol in symbols)
        if not self._closes or not is_ready or (self._stepped and not self._has_frame):
            return
        closes, self._closes = self._closes, []
        for event in closes:
            if event.timeframe == self._config.data.primary_timeframe:
                self._decide(event, now_ms)

    def _is_traded(self, symbol: str) -> bool:
        instrument = self._listed.get(symbol)
        return instrument is not None and not instrument.is_delisted

    def _decide(self, event: BoundaryClosed, now_ms: int) -> None:
        inputs = tuple(self._input(item, event.close_ms) for item in event.series if item.symbol in self._series)
        boundary = Boundary(
            timeframe=event.timeframe,
            close_ms=event.close_ms,
            now_ms=now_ms,
            source=SOURCE,
            regime=self._regime(event.close_ms),
            symbols=inputs,
            risk=self._view(event.close_ms),
            pending=self._pending,
            book_max_age_ms=self._book_max_age_ms,
        )
        decision = decide_boundary(self._config, self._strategy, boundary)
        for cloid in decision.cancel_cloids:
            self._executor.cancel(cloid, now_ms, "conditions no longer hold")
        for item in decision.decided:
            self._journal.append(item.record)
            moved_px, symbol = item.move_stop_px, item.record.symbol
            if moved_px is not None and self._executor.move_stop(symbol, moved_px, now_ms):
                self._account.set_stop(symbol, moved_px)
                self._stop_moves.append((now_ms, symbol, moved_px))
        self._settle()
        self._pending = decision.pending
        for item in decision.decided:
            if item.intent is not None:
                self._send(item.intent, now_ms)
        self._note_equity(event.close_ms)

    def _regime(self, close_ms: int) -> Regime:
        """Return the regime that was known at a close."""
        return REGIMES[int(regimes_at(self._regimes, np.array([close_ms]))[0])]

    def _input(self, item: SeriesClose, close_ms: int) -> SymbolInput:
        series = self._series[item.symbol]
        provisional = series.take(item, self._window)
        if provisional is not None and provisional.close_ms != close_ms:
            provisional = None
        view = self._market_view(item.symbol, close_ms, is_provisional=provisional is not None)
        return SymbolInput(
            symbol=item.symbol,
            view=view,
            instrument=self._listed.get(item.symbol),
            book=self._books.get(item.symbol),
            position=self._account.position(item.symbol),
            live_entry=self._entry_of(item.symbol),
            live_exit=self._is_exiting(item.symbol),
            missing=item.note or "the venue gave no row for this close",
            unconfirmed=() if provisional is None else tuple(series.unconfirmed[:-1]),
        )

    def _market_view(self, symbol: str, close_ms: int, *, is_provisional: bool) -> MarketView | None:
        series = self._series[symbol]
        rows = [row for row in series.final if row.close_ms <= close_ms]
        if is_provisional:
            rows += series.unconfirmed
        if not rows or rows[-1].close_ms != close_ms:
            return None
        return build_view(
            rows[-1],
            columns_of(rows[-self._window :]),
            params_of(self._config),
            regime=self._regime(close_ms),
            position=self._account.position(symbol),
            provisional=is_provisional,
        )

    def _note_equity(self, close_ms: int) -> None:
        equity, marks = self._equity_usd(), self._marks()
        if equity is not None:
            held = sum(float(position.size) * marks[position.symbol] for position in self._account.positions)
            self._equity.append((close_ms, equity, held))
