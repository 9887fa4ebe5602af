"""What the executor reports, booked: orders, fills, positions, trades, risk, funding. One place changes the books."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from perp_bot.core.money import usd
from perp_bot.core.timeframes import HOUR_MS, day_of, iso
from perp_bot.core.types import ClosedTrade, FundingPayment, FundingRate, Order, OrderRole, OrderState, Position
from perp_bot.data.db.rows import (
    FillRow,
    FundingDueRow,
    FundingPaidRow,
    OrderRow,
    PositionRow,
    Row,
    StateRow,
    TradeRow,
)
from perp_bot.decision.exits import TIMEOUT
from perp_bot.execution import funding
from perp_bot.execution.executor import OrderEvent, OrderFilled
from perp_bot.risk.limits import weekly_nets
from perp_bot.risk.state import Transition
from perp_bot.trading.desk import ACCOUNTING_TOLERANCE_USD, Desk, position_text
from perp_bot.trading.journal import Journal
from perp_bot.trading.notes import Notes

LOG = logging.getLogger(__name__)

NoteCash = Callable[[int, int, Decimal], None]


class Bookkeeper:
    """Apply executor events and funding to the desk, and write down every change in one transaction each."""

    def __init__(self, desk: Desk, journal: Journal, notes: Notes, note_cash: NoteCash) -> None:
        """`note_cash` hears (fills, payments, cash) after every change, for the audit against the database."""
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._note_cash = note_cash
        self._tell_cash()

    def _tell_cash(self) -> None:
        fills, payments = self._desk.account.booked
        self._note_cash(fills, payments, self._desk.account.cash_usd)

    # ------------------------------------------------------------ orders and fills

    def settle(self, now_ms: int) -> int:
        """Book everything the executor has to report; return how many events there were.

        One transaction: fills that one book gave together are on disk together, so that a restart neither takes the
        rest from another book nor meets a position without its stop.
        """
        rows, count = self.collect(now_ms)
        self._journal.put(*rows)
        return count

    def collect(self, now_ms: int) -> tuple[list[Row], int]:
        """Book as `settle` does, but leave the rows to the caller's transaction; return them and the event count."""
        events = self._desk.executor.drain()
        rows: list[Row] = []
        for event in events:
            rows += self._book(event, now_ms)
        return rows, len(events)

    def _book(self, event: OrderEvent, now_ms: int) -> list[Row]:
        order = event.order
        if not isinstance(event, OrderFilled):
            return [OrderRow(order), *self._tell_order(order, now_ms)]
        fill = event.fill
        was = self._desk.account.position(fill.symbol)
        change = self._desk.account.apply_fill(fill, order.intent)
        if not change.is_new:
            return [OrderRow(order)]
        rows: list[Row] = [OrderRow(order), FillRow(fill), PositionRow(self._desk.source, fill.symbol, change.position)]
        if was is None and change.position is not None:
            self._desk.totals.entries += 1
            rows.append(self._tell_open(change.position, str(fill.liquidity), fill.venue_ms))
        if change.closed_trade is not None:
            self._desk.totals.exits += 1
            rows += self._close(change.closed_trade, now_ms)
        rows.append(StateRow(self._desk.state_key("totals"), self._desk.totals.to_json(), now_ms))
        self._tell_cash()
        return rows

    def _tell_order(self, order: Order, now_ms: int) -> list[Row]:
        """Tell of an order that ended without a fill; return the rows."""
        intent = order.intent
        if order.state is OrderState.REJECTED:
            text = f"{intent.role} {intent.side} {intent.size} {intent.symbol} rejected: {order.note}"
            return [self._notes.tell("REJECTED", text, now_ms, intent.symbol, level=logging.WARNING)]
        if order.state is OrderState.CANCELLED and intent.role is not OrderRole.STOP:
            text = f"{intent.role} {intent.side} {intent.symbol} cancelled: {order.note}"
            return [self._notes.tell("CANCELLED", text, now_ms, intent.symbol)]
        return []

    def _tell_open(self, position: Position, liquidity: str, at_ms: int) -> Row:
        stop = "no stop" if position.stop_px is None else f"stop {position.stop_px:.8g}"
        return self._notes.tell("OPEN", f"{position_text(position)} ({liquidity}), {stop}", at_ms, position.symbol)

    def _close(self, trade: ClosedTrade, now_ms: int) -> list[Row]:
        desk = self._desk
        text = (
            f"{trade.side.upper()} {trade.size} {trade.symbol} closed @ {trade.exit_px:.8g} ({trade.exit_reason}): "
            f"net {usd(trade.net_usd, sign=True)} USD (gross {usd(trade.gross_usd, sign=True)}, fees "
            f"{usd(trade.fees_usd)}, funding {usd(trade.funding_usd, sign=True)})"
        )
        kind = "STOP" if trade.stopped else "TIMEOUT" if trade.exit_reason == TIMEOUT else "CLOSE"
        told = [
            self._notes.tell(kind, text, trade.closed_ms, trade.symbol),
            *self._adopt(desk.risk.on_trade_closed(trade, desk.config.risk), now_ms),
        ]
        for week, net in weekly_nets([trade]).items():
            desk.week_nets[week] = desk.week_nets.get(week, 0.0) + net
        return [TradeRow(trade), self.risk_row(now_ms), *told]

    # ------------------------------------------------------------ funding

    def note_hours(self, now_ms: int) -> list[tuple[str, int]]:
        """Note the funding that the hours up to `now_ms` made due; return (symbol, hour) whose rates to ask for.

        Right after a start an hour waits for the first oracle prices; after an hour without one (a delisted coin) it
        is given up and said so.
        """
        desk = self._desk
        if desk.next_hour_ms is None:
            desk.next_hour_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
            return []
        asked: list[tuple[str, int]] = []
        for hour_ms in funding.whole_hours(desk.next_hour_ms - HOUR_MS, now_ms):
            contexts = {p.symbol: desk.market.context(p.symbol) for p in desk.account.positions}
            if None in contexts.values() and now_ms - hour_ms < HOUR_MS:
                return asked
            desk.next_hour_ms = hour_ms + HOUR_MS
            for position in desk.account.positions:
                context = contexts[position.symbol]
                if context is None:
                    text = f"{position.symbol}: no oracle price at {iso(hour_ms)}: its funding is missing"
                    self._notes.say("RECONCILE", text, now_ms, position.symbol, level=logging.WARNING)
                    continue
                due = funding.funding_due(position, hour_ms, context.oracle_px)
                if due is not None and (due.symbol, hour_ms) not in desk.funding_due:
                    self.owe(due)
                    asked.append((due.symbol, hour_ms))
        return asked

    def owe(self, due: funding.FundingDue) -> None:
        """Write down that an hour's funding is due; it is paid when its rate arrives."""
        self._desk.funding_due[(due.symbol, due.hour_ms)] = due
        self._journal.put(
            FundingDueRow(due.symbol, due.hour_ms, str(due.signed_size), str(due.oracle_px), due.strategy, due.source)
        )

    def pay(self, rate: FundingRate, now_ms: int) -> None:
        """Book the funding of an hour whose rate arrived; nothing when nothing is due."""
        desk = self._desk
        due = desk.funding_due.pop((rate.symbol, rate.hour_ms), None)
        if due is None:
            return
        self.book_funding(funding.funding_payment(due, rate.rate), now_ms)

    def book_funding(self, payment: FundingPayment, now_ms: int) -> None:
        """Book an hour's funding once: on paper worked out from the settled rate, live as the venue has booked it."""
        desk = self._desk
        change = desk.account.apply_funding(payment)
        if not change.is_new:
            return
        rows: list[Row] = [FundingPaidRow(payment), PositionRow(desk.source, payment.symbol, change.position)]
        if change.closed_trade is not None:
            self._correct_day(change.closed_trade, float(payment.usd))
            rows += [TradeRow(change.closed_trade), self.risk_row(now_ms)]
        amount = f"{usd(payment.usd, sign=True)} USD at {payment.rate:.7%} on {payment.signed_size}"
        text = f"{payment.symbol} {iso(payment.hour_ms)}: {amount}"
        self._tell_cash()
        self._journal.put(*rows, self._notes.tell("FUNDING", text, now_ms, payment.symbol))

    def _correct_day(self, trade: ClosedTrade, payment_usd: float) -> None:
        desk = self._desk
        if desk.risk.day_start_ms == day_of(trade.closed_ms):
            net = desk.risk.day_realized_net_usd + payment_usd
            desk.risk = replace(desk.risk, day_realized_net_usd=net)
        for week in weekly_nets([trade]):
            desk.week_nets[week] = desk.week_nets.get(week, 0.0) + payment_usd

    # ------------------------------------------------------------ risk and identities

    def take(self, transition: Transition, now_ms: int) -> bool:
        """Adopt a new risk state and tell what changed; return whether it did."""
        changed = transition.state != self._desk.risk
        self._journal.put(*self._adopt(transition, now_ms))
        return changed

    def _adopt(self, transition: Transition, now_ms: int) -> list[Row]:
        self._desk.risk = transition.state
        rows: list[Row] = []
        for text in transition.notes:
            kind = "HALTED" if "paused" in text else "RISK"
            level = logging.WARNING if kind == "HALTED" else logging.INFO
            rows.append(self._notes.tell(kind, text, now_ms, level=level))
        return rows

    def risk_row(self, now_ms: int) -> StateRow:
        """Return the row that stores the risk state."""
        return StateRow(self._desk.state_key("risk"), self._desk.risk.to_json(), now_ms)

    def check(self, now_ms: int) -> None:
        """Check I11 at the newest marks; a gap of a cent or more stops entries and says so."""
        desk = self._desk
        gap = desk.account.check(desk.market.marks())
        self.note_gap(gap, "cash and positions against start, realized, unrealized, fees and funding", now_ms)
        if desk.accounting_trouble is None:
            self._compare_positions(now_ms)

    def _compare_positions(self, now_ms: int) -> None:
        """Compare the books with the account's own word about positions (on paper: the executor's)."""
        books = {p.symbol: p.signed_size for p in self._desk.account.positions}
        truth = {p.symbol: p.signed_size for p in self._desk.executor.positions}
        if books == truth:
            return
        symbol = min(s for s in books.keys() | truth.keys() if books.get(s) != truth.get(s))
        text = f"the books hold {books.get(symbol, 0)} {symbol}, the account {truth.get(symbol, 0)}"
        self._desk.accounting_trouble = text
        self._notes.say("HALTED", text, now_ms, symbol, level=logging.ERROR)

    def take_audit(self, gap: Decimal, now_ms: int) -> None:
        """Take the gap that the audit measured between the account and the database."""
        if gap > 0:
            self.note_gap(gap, "the account against what its rows in the database sum to", now_ms)

    def note_gap(self, gap: Decimal, what: str, now_ms: int) -> None:
        """Take a measured accounting gap in USD."""
        desk = self._desk
        desk.accounting_error_usd = gap
        if desk.accounting_error_usd > desk.accounting_error_max_usd:
            desk.accounting_error_max_usd = desk.accounting_error_usd
        if desk.accounting_error_usd < ACCOUNTING_TOLERANCE_USD or desk.accounting_trouble is not None:
            return
        desk.accounting_trouble = f"the books are {desk.accounting_error_usd:.2f} USD apart: {what}"
        self._notes.say("HALTED", desk.accounting_trouble, now_ms, level=logging.ERROR)
