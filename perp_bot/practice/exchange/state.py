"""An account's balances and positions as the venue answers them; in unified mode the money is in the spot state."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import margin
from perp_bot.practice.exchange.accounts import UNIFIED, Account, Position
from perp_bot.practice.exchange.amounts import ZERO, money, money_steps, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.market.coins import COINS, INDEX

Json = dict[str, Any]


def clearinghouse(core: Core, account: Account) -> Json:
    """Return balances and positions: accountValue = totalRawUsd + sum of size x mark, in every mode.

    The perp state of a unified account holds what its positions have gained alone: its money is a spot balance.
    """
    mark = core.mark
    elsewhere = settled_usd(core, account) if account.mode == UNIFIED else ZERO
    isolated = sum((margin.value_usd(p, mark(p.coin)) for p in account.held() if not p.is_cross), ZERO)
    used = margin.cross_used(account, mark)
    return {
        "marginSummary": _summary(
            margin.account_value(account, mark) - elsewhere,
            margin.notional_usd(account, mark),
            account.raw_usd - elsewhere,
            used + isolated,
        ),
        "crossMarginSummary": _summary(
            margin.cross_value(account, mark) - elsewhere,
            margin.cross_notional(account, mark),
            account.cash_usd - elsewhere,
            used,
        ),
        "crossMaintenanceMarginUsed": money(margin.cross_maintenance(account, mark)),
        "withdrawable": "0.0" if account.mode == UNIFIED else money(margin.withdrawable_usd(account, mark)),
        "assetPositions": [
            {"type": "oneWay", "position": _position(core, account, position)}
            for position in sorted(account.held(), key=lambda one: INDEX[one.coin])
        ],
        "time": core.now_ms,
    }


def settled_usd(core: Core, account: Account) -> Decimal:
    """Return an account's money without what its positions have gained."""
    return money_steps(margin.account_value(account, core.mark) - margin.unrealized_usd(account, core.mark))


def spot(core: Core, account: Account) -> Json:
    """Return the spot balances: of a unified account its USDC, of a standard one none."""
    if account.mode != UNIFIED:
        return {"balances": []}
    total = settled_usd(core, account)
    hold = margin.account_value(account, core.mark) - margin.withdrawable_usd(account, core.mark)
    shown = {"total": money(total), "hold": money(min(max(ZERO, hold), max(ZERO, total)))}
    return {"balances": [{"coin": "USDC", "token": 0, **shown, "entryNtl": "0.0"}]}


def active_asset(core: Core, account: Account, coin: str) -> Json:
    """Return leverage and room to trade of a coin: buying, then selling."""
    spec, mark = COINS[INDEX[coin]], core.mark(coin)
    is_cross, value = account.leverage_of(coin, spec.max_leverage)
    leverage: Json = {"type": "cross" if is_cross else "isolated", "value": value}
    position = account.positions.get(coin)
    if not is_cross:
        leverage["rawUsd"] = money(position.raw_usd if position is not None else ZERO)
    free = max(ZERO, margin.free_usd(account, core.mark))
    szi = account.szi(coin)
    room = [free + (2 * abs(szi) * mark / value if szi and (szi > 0) != is_buy else ZERO) for is_buy in (True, False)]
    step = Decimal(1).scaleb(-spec.sz_decimals)
    sizes = [usd * value / mark // step * step for usd in room] if core.feed.is_live(coin, core.now_ms) else [ZERO] * 2
    return {
        "user": account.address,
        "coin": coin,
        "leverage": leverage,
        "maxTradeSzs": [text(size) for size in sizes],
        "availableToTrade": [money(usd) for usd in room],
        "markPx": text(mark),
    }


def _summary(value: Decimal, notional: Decimal, raw: Decimal, used: Decimal) -> Json:
    return {
        "accountValue": money(value),
        "totalNtlPos": money(notional),
        "totalRawUsd": money(raw),
        "totalMarginUsed": money(used),
    }


def _position(core: Core, account: Account, position: Position) -> Json:
    mark = core.mark(position.coin)
    notional = abs(position.szi) * mark
    unrealized = (mark - position.entry_px) * position.szi
    at_entry = abs(position.szi) * position.entry_px / position.leverage
    liquidation = margin.liquidation_px(account, position, core.mark)
    leverage: Json = {"type": "cross" if position.is_cross else "isolated", "value": position.leverage}
    if not position.is_cross:
        leverage["rawUsd"] = money(position.raw_usd)
    return {
        "coin": position.coin,
        "szi": text(position.szi),
        "leverage": leverage,
        "entryPx": text(_shown_entry(position)),
        "positionValue": money(notional),
        "unrealizedPnl": money(unrealized),
        "returnOnEquity": text(round(unrealized / at_entry, 10)) if at_entry else "0.0",
        "liquidationPx": None if liquidation is None else text(round(liquidation, 10)),
        "marginUsed": money(margin.used_usd(position, mark)),
        "maxLeverage": COINS[INDEX[position.coin]].max_leverage,
        "cumFunding": {
            "allTime": money(position.funding_all),
            "sinceOpen": money(position.funding_open),
            "sinceChange": money(position.funding_change),
        },
    }


def _shown_entry(position: Position) -> Decimal:
    """Return the entry price to the decimals of the coin's prices."""
    return round(position.entry_px, COINS[INDEX[position.coin]].px_decimals)
