"""Why a session's fills have their prices: each part by its own formula from recorded inputs, none as a residual.

With r the reference, b0 the touch of the book when the order was sent, b1 the touch when it filled, and w the price
that walking that book gives for the filled size:

- spread = b0 - r, latency = b1 - b0, slippage = w - b1 (a taker); a fill at its own limit p has spread = p - r alone;
- a triggered stop has its trigger as reference and no spread: latency = b1 - r, slippage = w - b1.

The reference is the close of the deciding candle; of an order that no candle decided (a timeout, an operator) the
middle of the book when it was sent. What a booked fill differs by from w (or p) is in none of the parts: it remains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from perp_bot.config.model import BacktestConfig
from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import Book, ClosedTrade, Fill, FundingPayment, Liquidity, Order, OrderRole
from perp_bot.execution import fills as model
from perp_bot.execution.fills import LevelFill, average_px, fee_usd, walk


class BooksWanted:
    """Keeps, of a stream of books, the newest one at each wanted moment."""

    def __init__(self, moments: Iterable[tuple[str, int]]) -> None:
        self._left: dict[str, list[int]] = {}
        for symbol, at_ms in sorted(set(moments), reverse=True):
            self._left.setdefault(symbol, []).append(at_ms)
        self._newest: dict[str, Book] = {}
        self._found: dict[tuple[str, int], Book] = {}

    def take(self, book: Book) -> None:
        """Take the next book of a coin, oldest first."""
        before = self._newest.get(book.symbol)
        if before is not None and book.venue_ms <= before.venue_ms:
            return
        self._settle(book.symbol, book.venue_ms)
        self._newest[book.symbol] = book

    def _settle(self, symbol: str, before_ms: int) -> None:
        left, newest = self._left.get(symbol, []), self._newest.get(symbol)
        while left and left[-1] < before_ms:
            at_ms = left.pop()
            if newest is not None:
                self._found[(symbol, at_ms)] = newest

    def found(self) -> Mapping[tuple[str, int], Book]:
        """Return the books, by coin and moment."""
        for symbol in self._left:
            self._settle(symbol, 2**62)
        return self._found


@dataclass(frozen=True, slots=True)
class PriceParts:
    """The average price of one side of a trade as recorded inputs explain it, in USD a coin."""

    reference_px: Decimal
    spread: Decimal
    latency: Decimal
    slippage: Decimal
    fees_usd: Decimal  # of the fills at their explained prices

    @property
    def px(self) -> Decimal:
        """The explained price."""
        return self.reference_px + self.spread + self.latency + self.slippage


@dataclass(slots=True)
class _Sum:
    size: Decimal = Decimal(0)
    reference: Decimal = Decimal(0)
    spread: Decimal = Decimal(0)
    latency: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)

    def add(self, size: Decimal, reference: Decimal, steps: Sequence[Decimal], fees: Decimal) -> None:
        self.size += size
        self.reference += size * reference
        self.spread += size * steps[0]
        self.latency += size * steps[1]
        self.slippage += size * steps[2]
        self.fees += fees

    def parts(self) -> PriceParts:
        n = self.size
        return PriceParts(self.reference / n, self.spread / n, self.latency / n, self.slippage / n, self.fees)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The recorded inputs of a session's fills."""

    orders: Mapping[str, Order]  # by cloid
    close_px: Mapping[str, float]  # by decision id
    books: Mapping[tuple[str, int], Book]
    costs: BacktestConfig
    fills: Sequence[Fill] = field(default_factory=tuple)
    funding: Sequence[FundingPayment] = field(default_factory=tuple)

    def parts_of(self, fills: Sequence[Fill]) -> PriceParts | None:
        """Return what the average price of fills of one side is made of; None where a book was not recorded."""
        total = _Sum()
        for group in _together(fills):
            if not self._add(total, group):
                return None
        return total.parts() if total.size else None

    def _add(self, total: _Sum, group: Sequence[Fill]) -> bool:
        first = group[0]
        order = self.orders.get(first.cloid)
        if order is None:
            return False
        size = sum((fill.size for fill in group), Decimal(0))
        sent = self._touch(first, order.intent.created_ms)
        reference = self._reference(order, first)
        if first.liquidity is Liquidity.MAKER:
            limit = order.intent.limit_px
            if limit is None or reference is None:
                return False
            fees = sum((fee_usd(f.size, limit, Liquidity.MAKER, self.costs) for f in group), Decimal(0))
            total.add(size, reference, (limit - reference, Decimal(0), Decimal(0)), fees)
            return True
        levels = self._walked(first, size)
        walked, touch = average_px(levels), self._touch(first, first.venue_ms)
        if walked is None or touch is None or reference is None or sum(level.size for level in levels) != size:
            return False
        fees = sum((fee_usd(level.size, level.px, Liquidity.TAKER, self.costs) for level in levels), Decimal(0))
        if order.intent.role is OrderRole.STOP:
            total.add(size, reference, (Decimal(0), touch - reference, walked - touch), fees)
            return True
        if sent is None:
            return False
        total.add(size, reference, (sent - reference, touch - sent, walked - touch), fees)
        return True

    def _reference(self, order: Order, fill: Fill) -> Decimal | None:
        intent = order.intent
        if intent.role is OrderRole.STOP:
            return intent.trigger_px
        close_px = self.close_px.get(intent.decision_id)
        if close_px is not None:
            return to_decimal(close_px)
        book = self.books.get((fill.symbol, intent.created_ms))
        if book is None or not book.bids or not book.asks:
            return None
        return (to_decimal(book.bids[0].px) + to_decimal(book.asks[0].px)) / 2

    def _touch(self, fill: Fill, at_ms: int) -> Decimal | None:
        book = self.books.get((fill.symbol, at_ms))
        levels = () if book is None else (book.asks if fill.side.sign > 0 else book.bids)
        return to_decimal(levels[0].px) if levels else None

    def _walked(self, fill: Fill, size: Decimal) -> tuple[LevelFill, ...]:
        book = self.books.get((fill.symbol, fill.venue_ms))
        levels = () if book is None else (book.asks if fill.side.sign > 0 else book.bids)
        return walk(levels, fill.side, size)


def moments_of(fills: Iterable[Fill], orders: Mapping[str, Order]) -> list[tuple[str, int]]:
    """Return the moments whose books explain these fills."""
    wanted = []
    for fill in fills:
        wanted.append((fill.symbol, fill.venue_ms))
        if fill.cloid in orders:
            wanted.append((fill.symbol, orders[fill.cloid].intent.created_ms))
    return wanted


def _together(fills: Iterable[Fill]) -> list[list[Fill]]:
    """Group fills that one order took from one book."""
    groups: dict[tuple[str, int, Liquidity], list[Fill]] = {}
    for fill in fills:
        groups.setdefault((fill.cloid, fill.venue_ms, fill.liquidity), []).append(fill)
    return list(groups.values())


def funding_usd(payments: Iterable[FundingPayment]) -> Decimal:
    """Return hourly funding by its formula: -(signed size x oracle x rate), each hour to 1e-8 USD."""
    quantum = model.MONEY_QUANTUM
    hours = (-(p.signed_size * p.oracle_px * p.rate).quantize(quantum) for p in payments)
    return sum(hours, Decimal(0))


@dataclass(frozen=True, slots=True)
class ExplainedTrade:
    """A round trip as its recorded inputs explain it."""

    entry: PriceParts
    exit: PriceParts
    funding_usd: Decimal


def explain(evidence: Evidence, trades: Iterable[ClosedTrade]) -> dict[str, ExplainedTrade]:
    """Return what is explained of each trade, by trade id; a trade whose books were not recorded is left out."""
    by_trade = _by_trade(evidence.fills)
    found: dict[str, ExplainedTrade] = {}
    for trade in trades:
        own = by_trade.get(trade.trade_id, [])
        opening, closing = trade.side.opening, trade.side.closing
        entry = evidence.parts_of([fill for fill in own if fill.side is opening])
        exit_ = evidence.parts_of([fill for fill in own if fill.side is closing])
        if entry is None or exit_ is None:
            continue
        hours = [
            payment
            for payment in evidence.funding
            if payment.symbol == trade.symbol and trade.opened_ms < payment.hour_ms <= trade.closed_ms
        ]
        found[trade.trade_id] = ExplainedTrade(entry, exit_, funding_usd(hours))
    return found


def _by_trade(fills: Iterable[Fill]) -> dict[str, list[Fill]]:
    """Return the fills of each round trip, from flat to flat, under the id that the account gives it."""
    found: dict[str, list[Fill]] = {}
    held: dict[str, Decimal] = {}
    open_id: dict[str, str] = {}
    for fill in fills:
        before = held.get(fill.symbol, Decimal(0))
        if before == 0:
            open_id[fill.symbol] = f"trade:{fill.fill_id}"
        held[fill.symbol] = before + fill.size * fill.side.sign
        found.setdefault(open_id[fill.symbol], []).append(fill)
    return found
