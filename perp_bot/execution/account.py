"""The books of one account, kept from fills and funding alone (I11).

equity = cash + sum(signed size x mark). Cash is the venue's totalRawUsd: each fill moves it by -signed size x price -
fee, funding adds. A second formula, start + realized + unrealized - fees + funding, is kept from other numbers and
compared at every tick.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import ClosedTrade, Fill, FundingPayment, OrderIntent, OrderRole, Position, Side
from perp_bot.execution.positions import ZERO, FillEffect, StopRule, after_fill

ZSCORE_STOP = "zscore_stop"
CAPITAL_STOP = "capital_stop"
STRATEGY_STOP = "strategy_stop"  # the strategy's own, nearer than the capital stop
TRAILING_STOP = "trailing_stop"
LIQUIDATION = "liquidation"  # by the venue: worse than a stop, and followed by the same cooldown
STOP_REASONS = frozenset({CAPITAL_STOP, ZSCORE_STOP, STRATEGY_STOP, TRAILING_STOP, LIQUIDATION})


@dataclass(frozen=True, slots=True)
class AccountChange:
    """What a fill or a payment changed: the symbol's position now, and the round trip it closed or corrected."""

    position: Position | None
    closed_trade: ClosedTrade | None = None
    is_new: bool = True  # False: this fill or payment was booked before; nothing changed


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """Everything the account holds, as one comparable value."""

    cash_usd: Decimal
    realized_usd: Decimal  # before fees
    fees_usd: Decimal
    funding_usd: Decimal  # positive = received
    positions: tuple[Position, ...]
    trades: tuple[ClosedTrade, ...]


@dataclass(slots=True)
class _RoundTrip:
    """Sums of a round trip under way."""

    side: Side
    trade_id: str
    opened_ms: int
    entry_decision_id: str
    opened_size: Decimal = ZERO
    opened_usd: Decimal = ZERO
    closed_size: Decimal = ZERO
    closed_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO
    funding_usd: Decimal = ZERO
    stopped: bool = field(default=False)

    def finish(self, fill: Fill) -> ClosedTrade:
        """Return the round trip that `fill` ended."""
        gross = (self.closed_usd - self.opened_usd) * self.side.sign
        return ClosedTrade(
            trade_id=self.trade_id,
            symbol=fill.symbol,
            side=self.side,
            size=self.opened_size,
            entry_px=self.opened_usd / self.opened_size,
            exit_px=self.closed_usd / self.closed_size,
            opened_ms=self.opened_ms,
            closed_ms=fill.venue_ms,
            gross_usd=gross,
            fees_usd=self.fees_usd,
            funding_usd=self.funding_usd,
            net_usd=gross - self.fees_usd + self.funding_usd,
            exit_reason=fill.reason,
            strategy=fill.strategy,
            source=fill.source,
            entry_decision_id=self.entry_decision_id,
            stopped=self.stopped,
        )


class Account:
    """Cash, positions and totals of one source (paper, live, a backtest). Exact: every amount is a Decimal."""

    def __init__(self, source: str, start_cash: Decimal, stop_rule: StopRule | None = None) -> None:
        """Open the books with `start_cash`; `stop_rule` sets the stop of every position from its real fills."""
        self.source = source
        self.start_cash = start_cash
        self._stop_rule = stop_rule
        self._cash = start_cash
        self._realized = ZERO
        self._fees = ZERO
        self._funding = ZERO
        self._positions: dict[str, Position] = {}
        self._rounds: dict[str, _RoundTrip] = {}
        self._trades: list[ClosedTrade] = []
        self._fill_ids: set[str] = set()
        self._funded: set[tuple[str, int]] = set()

    @classmethod
    def rebuild(
        cls,
        source: str,
        start_cash: Decimal,
        fills: Iterable[Fill],
        funding: Iterable[FundingPayment],
        *,
        intents: Mapping[str, OrderIntent] | None = None,
        stop_rule: StopRule | None = None,
    ) -> Account:
        """Return the account that stored rows add up to; equal to the one that lived through them.

        `fills` in the order they were booked; funding in any order (each hour belongs to the position that was open
        then). `intents` by cloid name the decisions behind entries.
        """
        account = cls(source, start_cash, stop_rule)
        known = intents or {}
        for fill in fills:
            account.apply_fill(fill, known.get(fill.cloid))
        for payment in funding:
            account.apply_funding(payment)
        return account

    # ------------------------------------------------------------ reading

    @property
    def cash_usd(self) -> Decimal:
        """Cash by I11."""
        return self._cash

    @property
    def realized_usd(self) -> Decimal:
        """Realised PnL since the account began, before fees and funding."""
        return self._realized

    @property
    def fees_usd(self) -> Decimal:
        """Fees paid since the account began."""
        return self._fees

    @property
    def funding_usd(self) -> Decimal:
        """Funding since the account began, positive = received."""
        return self._funding

    @property
    def positions(self) -> tuple[Position, ...]:
        """Open positions, by symbol."""
        return tuple(self._positions[symbol] for symbol in sorted(self._positions))

    @property
    def trades(self) -> tuple[ClosedTrade, ...]:
        """Closed round trips, oldest first."""
        return tuple(self._trades)

    @property
    def booked(self) -> tuple[int, int]:
        """How many fills and funding payments are booked."""
        return len(self._fill_ids), len(self._funded)

    def position(self, symbol: str) -> Position | None:
        """Return the open position of a symbol."""
        return self._positions.get(symbol)

    def totals(self) -> AccountTotals:
        """Return everything as one value, to compare or to show."""
        return AccountTotals(self._cash, self._realized, self._fees, self._funding, self.positions, self.trades)

    def unrealized_usd(self, marks: Mapping[str, float | Decimal]) -> Decimal | None:
        """Return open PnL at `marks`; None when the mark of an open position is missing."""
        if any(symbol not in marks for symbol in self._positions):
            return None
        return sum((p.unrealized_usd(marks[p.symbol]) for p in self._positions.values()), ZERO)

    def equity(self, marks: Mapping[str, float | Decimal]) -> Decimal | None:
        """Return cash + sum(signed size x mark); None when the mark of an open position is missing."""
        if any(symbol not in marks for symbol in self._positions):
            return None
        held = (p.signed_size * to_decimal(marks[p.symbol]) for p in self._positions.values())
        return self._cash + sum(held, ZERO)

    def check(self, marks: Mapping[str, float | Decimal]) -> Decimal:
        """Return how far the two formulas of equity are apart, USD (0 but for the 28th digit).

        A position without a mark is valued at its entry price in both: the identity holds at any price.
        """
        by_cash, by_parts = self._cash, self.start_cash + self._realized - self._fees + self._funding
        for position in self._positions.values():
            price = to_decimal(marks.get(position.symbol, position.entry_px))
            by_cash += position.signed_size * price
            by_parts += position.unrealized_usd(price)
        return abs(by_cash - by_parts)

    # ------------------------------------------------------------ booking

    def apply_fill(self, fill: Fill, intent: OrderIntent | None = None) -> AccountChange:
        """Book a fill once; a repeated fill id changes nothing.

        A fill through zero (the venue's "Long > Short") closes one round trip and opens the next, its fee split by
        size.
        """
        if fill.fill_id in self._fill_ids:
            return AccountChange(self._positions.get(fill.symbol), is_new=False)
        self._fill_ids.add(fill.fill_id)
        effect = after_fill(self._positions.get(fill.symbol), fill, intent, self._stop_rule)
        self._cash -= fill.size * fill.side.sign * fill.px + fill.fee_usd
        self._fees += fill.fee_usd
        self._realized += effect.realized_usd
        trade = self._count_closing(fill, effect)
        self._put(fill.symbol, effect.position)
        self._count_opening(fill, effect)
        return AccountChange(effect.position, trade)

    def apply_funding(self, payment: FundingPayment) -> AccountChange:
        """Book an hour's funding once.

        The hour belongs to the position that was open then. When that has closed since (the rate came late), its
        round trip is corrected and returned as `closed_trade`.
        """
        key = (payment.symbol, payment.hour_ms)
        position = self._positions.get(payment.symbol)
        if key in self._funded:
            return AccountChange(position, is_new=False)
        self._funded.add(key)
        self._cash += payment.usd
        self._funding += payment.usd
        if position is not None and position.opened_ms < payment.hour_ms:
            position = replace(position, funding_usd=position.funding_usd + payment.usd)
            self._positions[payment.symbol] = position
            self._rounds[payment.symbol].funding_usd += payment.usd
            return AccountChange(position)
        return AccountChange(position, self._correct_trade(payment))

    def set_stop(self, symbol: str, stop_px: float | None) -> Position:
        """Move the stop of an open position (a stored stop after a restart, a trailing stop)."""
        position = replace(self._positions[symbol], stop_px=stop_px)
        self._positions[symbol] = position
        return position

    def _put(self, symbol: str, position: Position | None) -> None:
        if position is None:
            self._positions.pop(symbol, None)
        else:
            self._positions[symbol] = position

    def _count_closing(self, fill: Fill, effect: FillEffect) -> ClosedTrade | None:
        if not effect.closed_size:
            return None
        trip = self._rounds[fill.symbol]
        trip.closed_size += effect.closed_size
        trip.closed_usd += effect.closed_size * fill.px
        trip.fees_usd += effect.closing_fee_usd
        trip.stopped = trip.stopped or fill.role is OrderRole.STOP or fill.reason in STOP_REASONS
        if trip.closed_size < trip.opened_size:
            return None
        del self._rounds[fill.symbol]
        trade = trip.finish(fill)
        self._trades.append(trade)
        return trade

    def _count_opening(self, fill: Fill, effect: FillEffect) -> None:
        if not effect.opened_size or effect.position is None:
            return
        trip = self._rounds.get(fill.symbol)
        if trip is None:
            position = effect.position
            trip = _RoundTrip(position.side, f"trade:{fill.fill_id}", fill.venue_ms, position.entry_decision_id)
            self._rounds[fill.symbol] = trip
        trip.opened_size += effect.opened_size
        trip.opened_usd += effect.opened_size * fill.px
        trip.fees_usd += effect.opening_fee_usd

    def _correct_trade(self, payment: FundingPayment) -> ClosedTrade | None:
        for place in range(len(self._trades) - 1, -1, -1):
            trade = self._trades[place]
            if trade.symbol == payment.symbol and trade.opened_ms < payment.hour_ms <= trade.closed_ms:
                corrected = replace(
                    trade, funding_usd=trade.funding_usd + payment.usd, net_usd=trade.net_usd + payment.usd
                )
                self._trades[place] = corrected
                return corrected
        return None  # no position of ours was open then: the cash moved all the same
