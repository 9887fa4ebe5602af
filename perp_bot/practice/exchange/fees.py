"""What a fill costs: by the value traded in the fourteen days before."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.server.meta import fee_schedule

DAYS = 14


def utc_day(at_ms: int) -> str:
    """Return the UTC date of a moment."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, UTC):%Y-%m-%d}"


def rates(account: Account, at_ms: int) -> tuple[Decimal, Decimal]:
    """Return taker and maker rate of an account."""
    days = {utc_day(at_ms - back * DAY_MS) for back in range(1, DAYS + 1)}
    volume = sum((sum(parts, ZERO) for day, parts in account.volume_by_day.items() if day in days), ZERO)
    schedule = fee_schedule()
    taker, maker = Decimal(schedule["cross"]), Decimal(schedule["add"])
    for tier in schedule["tiers"]["vip"]:
        if volume > Decimal(tier["ntlCutoff"]):
            taker, maker = Decimal(tier["cross"]), Decimal(tier["add"])
    return taker, maker


def count(account: Account, at_ms: int, usd: Decimal, *, is_taker: bool) -> None:
    """Count what was traded."""
    account.volume_usd += usd
    parts = account.volume_by_day.setdefault(utc_day(at_ms), [ZERO, ZERO])
    parts[0 if is_taker else 1] += usd
