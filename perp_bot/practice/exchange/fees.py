"""What a fill costs: by the value traded in the fourteen days before."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO

Json = dict[str, Any]

DAYS = 14
BASE = ("0.00045", "0.00015", "0.0007", "0.0004")  # taker, maker; the same of spot
VIP: tuple[tuple[str, str, str, str, str], ...] = (
    ("5000000.0", "0.0004", "0.00012", "0.0006", "0.0003"),
    ("25000000.0", "0.00035", "0.00008", "0.0005", "0.0002"),
    ("100000000.0", "0.0003", "0.00004", "0.0004", "0.0001"),
    ("500000000.0", "0.00028", "0.0", "0.00035", "0.0"),
    ("2000000000.0", "0.00026", "0.0", "0.0003", "0.0"),
    ("7000000000.0", "0.00024", "0.0", "0.00025", "0.0"),
)
MAKERS = (("0.005", "-0.00001"), ("0.015", "-0.00002"), ("0.03", "-0.00003"))


def schedule() -> Json:
    """Return the venue's fee tiers as of 2026-07, as userFees shows them."""
    taker, maker, spot_taker, spot_maker = BASE
    return {
        "cross": taker,
        "add": maker,
        "spotCross": spot_taker,
        "spotAdd": spot_maker,
        "tiers": {
            "vip": [
                {"ntlCutoff": cutoff, "cross": cross, "add": add, "spotCross": spot_cross, "spotAdd": spot_add}
                for cutoff, cross, add, spot_cross, spot_add in VIP
            ],
            "mm": [{"makerFractionCutoff": cutoff, "add": add} for cutoff, add in MAKERS],
        },
        "referralDiscount": "0.04",
        "stakingDiscountTiers": [{"bpsOfMaxSupply": "0.0", "discount": "0.0"}],
    }


def utc_day(at_ms: int) -> str:
    """Return the UTC date of a moment."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d}"


def rates(account: Account, at_ms: int) -> tuple[Decimal, Decimal]:
    """Return taker and maker rate of an account: by the fourteen UTC days before this one."""
    days = {utc_day(at_ms - back * DAY_MS) for back in range(1, DAYS + 1)}
    volume = sum((sum(parts, ZERO) for day, parts in account.volume_by_day.items() if day in days), ZERO)
    taker, maker = Decimal(BASE[0]), Decimal(BASE[1])
    for cutoff, cross, add, _, _ in VIP:
        if volume > Decimal(cutoff):
            taker, maker = Decimal(cross), Decimal(add)
    return taker, maker


def count(account: Account, at_ms: int, usd: Decimal, *, is_taker: bool) -> None:
    """Count what was traded."""
    account.volume_usd += usd
    parts = account.volume_by_day.setdefault(utc_day(at_ms), [ZERO, ZERO])
    parts[0 if is_taker else 1] += usd
