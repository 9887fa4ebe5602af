"""The address's budget of actions: 10,000 and one for each USDC traded; above it one action every ten seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perp_bot.practice.exchange import actions
from perp_bot.practice.exchange.accounts import Account

BASE = 10_000
CANCELS_MORE = 100_000
SLOW_MS = 10_000


def cap(account: Account) -> int:
    """Return how many actions the address may have sent by now."""
    return BASE + int(account.volume_usd)


def refusal(account: Account, action: Mapping[str, Any], now_ms: int, cost: int | None = None) -> str | None:
    """Count an action; return the venue's text, and count nothing, when the budget does not hold it."""
    amount, limit = actions.cost(action) if cost is None else cost, cap(account)
    if actions.is_cancel(action):
        limit = min(limit + CANCELS_MORE, 2 * limit)
    if account.requests_used + amount > limit:
        last = account.slow_since_ms
        if last is not None and now_ms < last + SLOW_MS:
            return (
                f"Too many cumulative requests sent ({account.requests_used} > {limit}) for cumulative volume traded "
                f"${account.volume_usd:.2f}. Place taker orders to free up 1 request per USDC traded."
            )
        account.slow_since_ms = now_ms
    account.requests_used += amount
    return None
