"""Margin: what an account is worth, what positions and resting orders bind, and when a position is liquidated."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.exchange.tiers import TIERS, Tier, maintenance_usd
from perp_bot.practice.market.coins import COINS, INDEX

Mark = Callable[[str], Decimal]

LEAST_SHARE = Decimal("0.1")  # of the notional stays bound, whatever the leverage


def value_usd(position: Position, mark: Decimal) -> Decimal:
    """Return what a position adds to the account's value at a price, its own money included."""
    return position.raw_usd + position.szi * mark


def cross_value(account: Account, mark: Mark) -> Decimal:
    """Return the value of the cross part."""
    return account.cash_usd + sum((p.szi * mark(p.coin) for p in account.held() if p.is_cross), ZERO)


def account_value(account: Account, mark: Mark) -> Decimal:
    """Return totalRawUsd + sum of size x mark."""
    return account.raw_usd + sum((p.szi * mark(p.coin) for p in account.held()), ZERO)


def value_and_profit(account: Account, mark: Mark) -> tuple[Decimal, Decimal]:
    """Return what the account is worth, and that less what was deposited."""
    value = account_value(account, mark)
    moved = sum((Decimal(row["delta"].get("usdc", "0")) for row in account.ledger), ZERO)
    return value, value - moved


def unrealized_usd(account: Account, mark: Mark) -> Decimal:
    """Return the profit of all positions at the marks."""
    return sum((p.szi * (mark(p.coin) - p.entry_px) for p in account.held()), ZERO)


def notional_usd(account: Account, mark: Mark) -> Decimal:
    """Return the sum of the positions' values without their signs."""
    return sum((abs(p.szi) * mark(p.coin) for p in account.held()), ZERO)


def cross_notional(account: Account, mark: Mark) -> Decimal:
    """Return the same of the cross positions."""
    return sum((abs(p.szi) * mark(p.coin) for p in account.held() if p.is_cross), ZERO)


def used_usd(position: Position, mark: Decimal) -> Decimal:
    """Return the margin a position uses: its initial margin, or what an isolated one is worth."""
    if not position.is_cross:
        return value_usd(position, mark)
    return abs(position.szi) * mark / position.leverage


def cross_used(account: Account, mark: Mark) -> Decimal:
    """Return the initial margin of the cross positions."""
    return sum((used_usd(p, mark(p.coin)) for p in account.held() if p.is_cross), ZERO)


def reserved_usd(account: Account) -> Decimal:
    """Return what resting orders reserve: the initial margin of what they would open."""
    total = ZERO
    for order in account.orders.values():
        if order.rests and not order.reduce_only:
            opens = opening(account, order.coin, order.is_buy, order.left)
            total += opens * order.px / leverage(account, order.coin)
    return total


def leverage(account: Account, coin: str) -> int:
    """Return the leverage set for a coin."""
    return account.leverage_of(coin, COINS[INDEX[coin]].max_leverage)[1]


def opening(account: Account, coin: str, is_buy: bool, size: Decimal) -> Decimal:
    """Return how much of an order would open rather than close."""
    szi = account.szi(coin)
    against = abs(szi) if szi and (szi > 0) != is_buy else ZERO
    return max(ZERO, size - against)


def free_usd(account: Account, mark: Mark) -> Decimal:
    """Return what is left to open positions with."""
    return cross_value(account, mark) - cross_used(account, mark) - reserved_usd(account)


def withdrawable_usd(account: Account, mark: Mark) -> Decimal:
    """Return max(0, value - max(initial margin with resting orders, a tenth of the notional))."""
    bound = max(
        cross_used(account, mark) + reserved_usd(account),
        cross_notional(account, mark) * LEAST_SHARE,
    )
    return max(ZERO, cross_value(account, mark) - bound)


def cross_maintenance(account: Account, mark: Mark) -> Decimal:
    """Return the maintenance margin of the cross positions."""
    return sum((maintenance_usd(p.coin, abs(p.szi) * mark(p.coin)) for p in account.held() if p.is_cross), ZERO)


def liquidation_px(account: Account, position: Position, mark: Mark) -> Decimal | None:
    """Return the mark at which a position would be liquidated, everything else as it is; None when there is none."""
    q, p0 = position.szi, mark(position.coin)
    if position.is_cross:
        value = cross_value(account, mark)
        others = cross_maintenance(account, mark) - maintenance_usd(position.coin, abs(q) * p0)
    else:
        value, others = value_usd(position, p0), ZERO
    return liquidation_px_of(q, p0, value, others, TIERS[position.coin])


def liquidation_px_of(
    szi: Decimal, mark: Decimal, value: Decimal, others: Decimal, tiers: tuple[Tier, ...]
) -> Decimal | None:
    """Return (others - ded - value + q p0) / (q - |q| rate), in the tier that the price itself belongs to.

    `value` is the value of the cross part, or of the isolated position with its profit; `others` the maintenance of
    the other cross positions. The venue's liquidations page.
    """
    size = abs(szi)
    for place, tier in enumerate(tiers):
        px = (others - tier.deducted_usd - value + szi * mark) / (szi - size * tier.rate)
        above = tiers[place + 1].lower_usd if place + 1 < len(tiers) else None
        if px > 0 and tier.lower_usd <= size * px and (above is None or size * px < above):
            return px
    return None
