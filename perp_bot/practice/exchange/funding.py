"""Hourly funding: size x oracle x rate, positive paid by longs, at the moments of the path's own settlement rows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import margin
from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import money, money_steps, text
from perp_bot.practice.exchange.core import Core

Json = dict[str, Any]

NO_HASH = "0x" + "0" * 64


def settle(core: Core, coins: list[str]) -> None:
    """Charge the rates that land at this very moment to every position in these coins."""
    for coin in coins:
        for _, rate in core.feed.funding(coin, core.now_ms - 1, core.now_ms):
            oracle = core.feed.oracle(coin, core.now_ms)
            for account in core.accounts.values():
                position = account.positions.get(coin)
                if position is not None and position.szi:
                    _pay(core, account, position, oracle, rate)
                    account.history.append((core.now_ms, *margin.value_and_profit(account, core.mark)))


def _pay(core: Core, account: Account, position: Position, oracle: Decimal, rate: Decimal) -> None:
    paid = money_steps(position.szi * oracle * rate)
    if position.is_cross:
        account.cash_usd -= paid
    else:
        position.raw_usd -= paid
    position.funding_all += paid
    position.funding_open += paid
    position.funding_change += paid
    delta: Json = {
        "coin": position.coin,
        "usdc": money(-paid),
        "szi": text(position.szi),
        "fundingRate": text(rate),
        "nSamples": None,
    }
    row = {"time": core.now_ms, "hash": NO_HASH, "delta": {"type": "funding", **delta}}
    account.fundings.append(row)
    core.tell(account.address, "user", {"funding": {"time": core.now_ms, **delta}})
    core.tell(account.address, "userFundings", [{"time": core.now_ms, **delta}])
