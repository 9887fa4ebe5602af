"""Hourly funding of open positions: what is due at a whole hour, and what it comes to when the rate is known."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from perp_bot.core.rounding import to_decimal
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import FundingPayment, Position
from perp_bot.execution.fills import MONEY_QUANTUM


@dataclass(frozen=True, slots=True)
class FundingDue:
    """An hour passed with a position open; its rate is still to come. `oracle_px` is the oracle price at the hour."""

    symbol: str
    hour_ms: int
    signed_size: Decimal
    oracle_px: Decimal
    strategy: str
    source: str


def whole_hours(after_ms: int, until_ms: int) -> tuple[int, ...]:
    """Return the whole hours (ms) in (after_ms, until_ms]."""
    first = after_ms - after_ms % HOUR_MS + HOUR_MS
    return tuple(range(first, until_ms + 1, HOUR_MS))


def funding_due(position: Position, hour_ms: int, oracle_px: float | Decimal) -> FundingDue | None:
    """Return what the position owes or is owed at `hour_ms`; None when it was opened at or after the hour."""
    if position.opened_ms >= hour_ms:
        return None
    return FundingDue(
        position.symbol, hour_ms, position.signed_size, to_decimal(oracle_px), position.strategy, position.source
    )


def funding_payment(due: FundingDue, rate: float | Decimal) -> FundingPayment:
    """Return the payment: usd = -(signed size x oracle x rate), to 1e-8 USD; positive = received.

    Worked example: long 0.5 at an oracle of 100,000 and a rate of 0.0000125 pays 0.625 USD.
    """
    exact = to_decimal(rate)
    usd = -(due.signed_size * due.oracle_px * exact).quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)
    return FundingPayment(due.symbol, due.hour_ms, due.signed_size, due.oracle_px, exact, usd, due.strategy, due.source)
