"""Margin tiers: how much leverage a notional may have, and the maintenance margin it needs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.market.coins import COINS, MARGIN_TABLES, CoinSpec
from perp_bot.practice.market.noise import Floats


@dataclass(frozen=True, slots=True)
class Tier:
    """One margin tier: from this notional on, the highest leverage, and what the maintenance margin is less."""

    lower_usd: Decimal
    max_leverage: int
    rate: Decimal  # maintenance: half of the initial margin at the highest leverage
    deducted_usd: Decimal


def tiers_of(spec: CoinSpec) -> tuple[Tier, ...]:
    """Return a coin's margin tiers, lowest first, with their deductions.

    ded_n = ded_(n-1) + lowerBound_n x (rate_n - rate_(n-1)): the venue's margin tiers page.
    """
    table = next((tiers for number, _, tiers in MARGIN_TABLES if number == spec.margin_table_id), None)
    found: list[Tier] = []
    for bound, leverage in table or (("0.0", spec.max_leverage),):
        lower, rate = Decimal(bound), Decimal(1) / (2 * leverage)
        before = found[-1] if found else None
        deducted = ZERO if before is None else before.deducted_usd + lower * (rate - before.rate)
        found.append(Tier(lower, leverage, rate, deducted))
    return tuple(found)


TIERS: dict[str, tuple[Tier, ...]] = {spec.name: tiers_of(spec) for spec in COINS}


def tier_of(coin: str, notional_usd: Decimal) -> Tier:
    """Return the tier of a notional; a bound belongs to the higher tier."""
    return next(tier for tier in reversed(TIERS[coin]) if notional_usd >= tier.lower_usd)


def maintenance_usd(coin: str, notional_usd: Decimal) -> Decimal:
    """Return the maintenance margin of a notional: rate x notional - deduction of its tier."""
    tier = tier_of(coin, notional_usd)
    return notional_usd * tier.rate - tier.deducted_usd


def maintenance_of(coin: str, notional_usd: Floats) -> Floats:
    """Return the maintenance margin of many notionals at once, in floats.

    Rates rise with the tiers, so the tier of a notional is the one that gives the most.
    """
    found = np.zeros_like(notional_usd)
    for tier in TIERS[coin]:
        np.maximum(found, notional_usd * float(tier.rate) - float(tier.deducted_usd), out=found)
    return found
