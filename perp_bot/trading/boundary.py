"""A closed boundary, decided: views from closed candles, the one decision path, journal first, then orders."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from perp_bot.core.clock import monotonic_s, wall_ms
from perp_bot.core.events import BoundaryClosed, CloseStatus, SeriesClose
from perp_bot.core.types import Action, Candle, GateReason, OrderIntent, OrderRole
from perp_bot.data.db.rows import DecisionRow, EquityRow, OrderRow, PositionRow, Row, StateRow
from perp_bot.decision import delay
from perp_bot.decision.path import Boundary, BoundaryDecision, Decided, SymbolInput, decide_boundary, decision_id_of
from perp_bot.decision.view import build_view, columns_of
from perp_bot.execution import orders
from perp_bot.indicators.warmup import decision_window
from perp_bot.ops.crash_points import crash_point
from perp_bot.risk import kill_switch
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import MarketView
from perp_bot.trading.bookkeeping import Bookkeeper
from perp_bot.trading.desk import Desk
from perp_bot.trading.history import SeriesHistory
from perp_bot.trading.journal import Journal
from perp_bot.trading.notes import Notes

LOG = logging.getLogger(__name__)

UNCONFIRMED_KEPT = 96  # closes in a row that exits are decided on without a REST row; a day of 15m candles

StoredCandles = Callable[[str, str, int], list[Candle]]  # (symbol, timeframe, newest n), oldest first


class BoundaryDesk:
    """Decides boundaries of the primary timeframe."""

    def __init__(self, desk: Desk, journal: Journal, books: Bookkeeper, notes: Notes, stored: StoredCandles) -> None:
        self._desk = desk
        self._journal = journal
        self._books = books
        self._notes = notes
        self._stored = stored
        self._unconfirmed: dict[str, tuple[Candle, ...]] = {}  # by symbol: the stream's rows after the last final one
        self._params = params_of(desk.config)
        self.window = decision_window(self._params)

    def close(self, event: BoundaryClosed, now_ms: int) -> bool:
        """Take a boundary; return whether anything was decided on it."""
        desk = self._desk
        started_s = monotonic_s()
        if event.timeframe != desk.config.data.primary_timeframe:
            return False
        provisional = {item.symbol: self._take(item, event.close_ms) for item in event.series}
        inputs = [self._input(item, event, provisional[item.symbol]) for item in event.series]
        todo = tuple(item for item in inputs if not self._is_decided(item.symbol, event))
        if not todo:
            if now_ms == event.close_ms:  # a restart at step: the last run may have ended before it stored this row
                self._note_equity(event)
            return False
        decided_on = {item.symbol for item in todo}  # after a restart the newest close comes again: counted once
        desk.totals.candles_processed += sum(len(item.candles) for item in event.series if item.symbol in decided_on)
        boundary = self._boundary(event, todo, now_ms)
        decision = decide_boundary(desk.config, desk.strategy, boundary)
        self._carry_out(boundary, decision, now_ms, started_s)
        self._note_equity(event)
        if all(item.status is CloseStatus.CONFIRMED for item in event.series):
            desk.overflow = None  # every series was just completed by REST
        return True

    def _note_equity(self, event: BoundaryClosed) -> None:
        account, marks = self._desk.account, self._desk.market.marks()
        equity, unrealized = account.equity(marks), account.unrealized_usd(marks)
        if equity is not None and unrealized is not None:
            self._journal.put(
                EquityRow(self._desk.source, event.close_ms, float(equity), str(account.cash_usd), float(unrealized))
            )

    # ------------------------------------------------------------ candles

    def _take(self, item: SeriesClose, close_ms: int) -> Candle | None:
        """Add confirmed candles to the history; return the provisional one, which never enters it."""
        desk = self._desk
        history = desk.histories.setdefault(item.symbol, SeriesHistory(item.symbol, self._timeframe, self.window + 64))
        final = list(item.candles)
        provisional = None
        if item.status is CloseStatus.PROVISIONAL and final:
            provisional = final.pop()
        gaps = history.gaps
        history.extend(final)
        if history.gaps > gaps or len(history) < self.window:
            self._repair(history)
        if history.gaps > gaps:
            at_hand = len(desk.histories[item.symbol])
            text = "%s %s: a gap in the closes; %d candles at hand with what the store has, decisions need %d"
            LOG.warning(text, item.symbol, self._timeframe, at_hand, self.window)
        self._keep_unconfirmed(item.symbol, provisional)
        return provisional if provisional is not None and provisional.close_ms == close_ms else None

    def _keep_unconfirmed(self, symbol: str, provisional: Candle | None) -> None:
        """Remember the stream's rows until final ones replace them: exits go on over several unconfirmed closes."""
        last = self._desk.histories[symbol].last
        kept = [row for row in self._unconfirmed.get(symbol, ()) if last is None or row.open_ms > last.open_ms]
        if provisional is not None:
            kept = [row for row in kept if row.open_ms < provisional.open_ms] + [provisional]
        self._unconfirmed[symbol] = tuple(kept[-UNCONFIRMED_KEPT:])

    def _repair(self, history: SeriesHistory) -> None:
        """Fill the history from the store, which REST completes."""
        last = history.last
        stored = self._desk.outside.ask(
            "stored candles",
            list[Candle],
            lambda: self._stored(history.symbol, self._timeframe, self.window + 64),
        )
        if not stored or (last is not None and stored[-1].open_ms < last.open_ms):
            stored = [*stored, *history.until(2**62)]
        fresh = SeriesHistory(history.symbol, self._timeframe, self.window + 64)
        fresh.extend(sorted({candle.open_ms: candle for candle in stored}.values(), key=lambda c: c.open_ms))
        if len(fresh) >= len(history):
            self._desk.histories[history.symbol] = fresh

    @property
    def _timeframe(self) -> str:
        return self._desk.config.data.primary_timeframe

    # ------------------------------------------------------------ inputs

    def _is_decided(self, symbol: str, event: BoundaryClosed) -> bool:
        identity = decision_id_of(self._desk.strategy.name, symbol, event.timeframe, event.close_ms)
        return identity in self._desk.decided_ids

    def _input(self, item: SeriesClose, event: BoundaryClosed, provisional: Candle | None) -> SymbolInput:
        desk = self._desk
        view, missing = self._view(item, event.close_ms, provisional)
        position = desk.account.position(item.symbol)
        if position is not None and not desk.is_managed(position):
            view, missing = None, "a position that perpbot did not open: protected, not managed"
        return SymbolInput(
            symbol=item.symbol,
            view=view,
            instrument=desk.instruments().get(item.symbol),
            book=desk.market.book(item.symbol),
            position=position,
            live_entry=desk.live_entry(item.symbol),
            live_exit=desk.is_exiting(item.symbol),
            missing=missing,
            unconfirmed=() if provisional is None else self._unconfirmed[item.symbol][:-1],
        )

    def _view(self, item: SeriesClose, close_ms: int, provisional: Candle | None) -> tuple[MarketView | None, str]:
        desk = self._desk
        candles = desk.histories[item.symbol].until(close_ms)
        if provisional is not None:
            candles = (*candles, *self._unconfirmed[item.symbol])
        if not candles or candles[-1].close_ms != close_ms:
            return None, item.note or "the venue gave no row for this close"
        view = build_view(
            candles[-1],
            columns_of(candles[-self.window :]),
            self._params,
            regime=desk.regime,
            position=desk.account.position(item.symbol),
            provisional=provisional is not None,
        )
        return view, ""

    def _boundary(self, event: BoundaryClosed, todo: tuple[SymbolInput, ...], now_ms: int) -> Boundary:
        desk = self._desk
        return Boundary(
            timeframe=event.timeframe,
            close_ms=event.close_ms,
            now_ms=now_ms,
            source=desk.source,
            regime=desk.regime,
            symbols=todo,
            risk=desk.risk_view(event.close_ms),
            blocks=desk.blocks(),
            pending=desk.pending,
            book_max_age_ms=desk.book_max_age_ms,
        )

    # ------------------------------------------------------------ outcome

    def _carry_out(self, boundary: Boundary, decision: BoundaryDecision, now_ms: int, started_s: float) -> None:
        """Write the whole boundary down in one transaction, then send.

        Its symbols were decided together, on one state of the account: after a crash either all of it stands or none.
        """
        desk = self._desk
        for cloid in decision.cancel_cloids:
            desk.executor.cancel(cloid, now_ms, "conditions no longer hold")
        told = [row for item in decision.decided for row in self._move_stop(item, now_ms)]
        rows, _ = self._books.collect(now_ms)
        rows += told
        asked = {item.symbol for item in boundary.symbols}
        pending = (*(entry for entry in desk.pending if entry.symbol not in asked), *decision.pending)
        if pending != desk.pending:
            desk.pending = pending
            rows.append(StateRow(desk.state_key("pending"), delay.pending_to_json(pending), now_ms))
        for item in decision.decided:
            self._note(item)
        rows.append(StateRow(desk.state_key("totals"), desk.totals.to_json(), now_ms))
        for intent in self._written(boundary, decision, rows, started_s):
            self._send(intent, now_ms)
            self._books.settle(now_ms)

    def _move_stop(self, item: Decided, now_ms: int) -> list[Row]:
        """Move a held position's stop, at the executor and in the books; return the rows that say so."""
        desk, symbol, stop_px = self._desk, item.record.symbol, item.move_stop_px
        if stop_px is None or not desk.executor.move_stop(symbol, stop_px, now_ms):
            return []
        position = desk.account.set_stop(symbol, stop_px)
        text = f"{symbol}: the stop trails to {stop_px:.8g}"
        return [PositionRow(desk.source, symbol, position), self._notes.tell("TRAIL", text, now_ms, symbol)]

    def _written(
        self, boundary: Boundary, decision: BoundaryDecision, rows: list[Row], started_s: float
    ) -> tuple[OrderIntent, ...]:
        """Commit decisions, intents and `rows`; return the intents that may be sent.

        When the store fails, exits go out all the same and entries become BLOCKED rows.
        """
        intents = tuple(item.intent for item in decision.decided if item.intent is not None)
        decided = tuple(self._row(item, started_s) for item in decision.decided)
        if not intents:
            self._journal.put(*rows, *decided)
            return ()
        if self._journal.commit_orders(tuple(orders.new_order(intent) for intent in intents), (*rows, *decided)):
            return intents
        is_entry = [item.intent is not None and item.intent.role is OrderRole.ENTRY for item in decision.decided]
        items = (
            self._blocked(boundary, item) if entry else item
            for item, entry in zip(decision.decided, is_entry, strict=True)
        )
        self._journal.put(*rows, *(self._row(item, started_s) for item in items))
        return tuple(intent for intent in intents if intent.role is not OrderRole.ENTRY)

    def _note(self, item: Decided) -> None:
        desk = self._desk
        desk.decided_ids.append(item.record.decision_id)
        desk.last_decisions[item.record.symbol] = item.record
        desk.totals.decisions += 1

    def _send(self, intent: OrderIntent, now_ms: int) -> None:
        """Look at the latch, then hand a committed intent to the executor."""
        desk = self._desk
        if intent.role is OrderRole.ENTRY and self._is_latched():
            order = orders.new_order(intent)
            self._journal.put(OrderRow(orders.cancelled(order, now_ms, "killed before it was sent")))
            return
        crash_point("send.before")
        desk.executor.submit(intent, now_ms)
        crash_point("send.after")

    def _is_latched(self) -> bool:
        desk = self._desk
        return desk.outside.ask("latched before an entry", bool, lambda: kill_switch.is_latched(desk.kill_latch))

    def _blocked(self, boundary: Boundary, item: Decided) -> Decided:
        """Return the row of an entry whose intent could not be written: decided again, with that as a reason."""
        trouble = self._journal.trouble or "the intent could not be committed in time"
        reasons = (*boundary.blocks.degraded, GateReason("store", trouble))
        symbols = tuple(entry for entry in boundary.symbols if entry.symbol == item.record.symbol)
        again = replace(boundary, symbols=symbols, blocks=replace(boundary.blocks, degraded=reasons))
        blocked = decide_boundary(self._desk.config, self._desk.strategy, again).decided[0]
        assert blocked.record.action is not Action.ENTER
        self._desk.last_decisions[blocked.record.symbol] = blocked.record
        return blocked

    def _row(self, item: Decided, started_s: float) -> DecisionRow:
        return DecisionRow(item.record, wall_ms(), None, (monotonic_s() - started_s) * 1000.0)
