"""Hourly funding: size x oracle x rate, positive paid by longs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import money, text
from perp_bot.practice.exchange.core import Core

Json = dict[str, Any]


def settle(core: Core, coin: str, rate: Decimal) -> None:
    """Charge one hour's rate to every position in a coin."""
    oracle = core.feed.oracle(coin, core.now_ms)
    for account in core.accounts.values():
        position = account.positions.get(coin)
        if position is not None and position.szi:
            _pay(core, account, position, oracle, rate)


def _pay(core: Core, account: Account, position: Position, oracle: Decimal, rate: Decimal) -> None:
    paid = round(position.szi * oracle * rate, 6)
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
    account.fundings.append({"time": core.now_ms, "hash": "0x" + "0" * 64, "delta": {"type": "funding", **delta}})
    core.tell(account.address, "user", {"funding": {"time": core.now_ms, **delta}})
    core.tell(account.address, "userFundings", [{"time": core.now_ms, **delta}])
