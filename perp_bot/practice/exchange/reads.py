"""What the venue answers about an account."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.exchange import budget, fees, margin
from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import ZERO, money, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import Order
from perp_bot.practice.market.coins import COINS, INDEX
from perp_bot.practice.server.meta import fee_schedule

Json = dict[str, Any]

MOST_ROWS = 2_000
FUNDING_ROWS = 500
_PERIODS = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime")


def clearinghouse(core: Core, account: Account) -> Json:
    """Return balances and positions; those of a unified account are in the spot state."""
    mark = core.mark
    cross = margin.cross_value(account, mark)
    crossed = sum((abs(p.szi) * mark(p.coin) for p in account.held() if p.is_cross), ZERO)
    isolated = sum((margin.value_usd(p, mark(p.coin)) for p in account.held() if not p.is_cross), ZERO)
    used = margin.cross_used(account, mark)
    return {
        "marginSummary": _summary(
            margin.account_value(account, mark), margin.notional_usd(account, mark), account.raw_usd, used + isolated
        ),
        "crossMarginSummary": _summary(cross, crossed, account.cash_usd, used),
        "crossMaintenanceMarginUsed": money(margin.cross_maintenance(account, mark)),
        "withdrawable": money(margin.withdrawable_usd(account, mark)),
        "assetPositions": [
            {"type": "oneWay", "position": _position(account, position, core)} for position in _in_order(account)
        ],
        "time": core.now_ms,
    }


def _summary(value: Decimal, notional: Decimal, raw: Decimal, used: Decimal) -> Json:
    return {
        "accountValue": money(value),
        "totalNtlPos": money(notional),
        "totalRawUsd": money(raw),
        "totalMarginUsed": money(used),
    }


def _in_order(account: Account) -> list[Position]:
    return sorted(account.held(), key=lambda position: INDEX[position.coin])


def _position(account: Account, position: Position, core: Core) -> Json:
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
        "entryPx": text(round(position.entry_px, 8)),
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


def spot(core: Core, account: Account) -> Json:
    """Return the spot balances: of a unified account its USDC, of a standard one none."""
    if account.mode != "unified":
        return {"balances": []}
    total = margin.account_value(account, core.mark)
    hold = total - margin.withdrawable_usd(account, core.mark)
    return {
        "balances": [
            {"coin": "USDC", "token": 0, "total": money(total), "hold": money(max(ZERO, hold)), "entryNtl": "0.0"}
        ]
    }


def open_orders(account: Account) -> list[Json]:
    """Return the open orders in the plain form; triggers look like limit orders in it."""
    return [order.brief() for order in _standing(account)]


def frontend_orders(account: Account) -> list[Json]:
    """Return the open orders with everything; waiting children nest in their parents."""
    return [order.full() for order in _standing(account)]


def _standing(account: Account) -> list[Order]:
    return [order for order in account.orders.values() if not order.is_waiting]


def order_status(account: Account, key: int | str) -> Json:
    """Return what became of an order, by the venue's id or the client's."""
    known: Iterable[Order] = (*account.orders.values(), *reversed(account.ended))
    found = next((order for order in known if key in (order.oid, order.cloid)), None)
    if found is None:
        return {"status": "unknownOid"}
    return {
        "status": "order",
        "order": {"order": found.full(), "status": found.status, "statusTimestamp": found.status_ms},
    }


def historical_orders(account: Account) -> list[Json]:
    """Return the newest orders with what became of them, newest first."""
    known = [*account.ended, *_standing(account)]
    newest = sorted(known, key=lambda order: (order.status_ms, order.oid), reverse=True)[:MOST_ROWS]
    return [{"order": o.full(), "status": o.status, "statusTimestamp": o.status_ms} for o in newest]


def fills(account: Account) -> list[Json]:
    """Return the newest fills, newest first."""
    return list(account.fills)[::-1][:MOST_ROWS]


def fills_between(account: Account, start_ms: int, end_ms: int, *, is_reversed: bool = False) -> list[Json]:
    """Return the fills of a stretch of time, oldest first."""
    found = [row for row in account.fills if start_ms <= row["time"] <= end_ms]
    return (found[::-1] if is_reversed else found)[:MOST_ROWS]


def between(rows: list[Json], start_ms: int, end_ms: int) -> list[Json]:
    """Return the rows of a stretch of time, oldest first."""
    return [row for row in rows if start_ms <= row["time"] <= end_ms][:FUNDING_ROWS]


def rate_limit(account: Account) -> Json:
    """Return the address's budget of actions."""
    return {
        "cumVlm": text(round(account.volume_usd, 2)),
        "nRequestsUsed": account.requests_used,
        "nRequestsCap": budget.cap(account),
        "nRequestsSurplus": 0,
    }


def user_fees(core: Core, account: Account) -> Json:
    """Return the fee rates and the volume of fifteen days."""
    taker, maker = fees.rates(account, core.now_ms)
    days = [datetime.fromtimestamp((core.now_ms - back * DAY_MS) / 1_000, UTC) for back in range(14, -1, -1)]
    rows = []
    for day in days:
        name = f"{day:%Y-%m-%d}"
        crossed, added = account.volume_by_day.get(name, [ZERO, ZERO])
        rows.append({"date": name, "userCross": money(crossed), "userAdd": money(added), "exchange": "0.0"})
    return {
        "dailyUserVlm": rows,
        "feeSchedule": fee_schedule(),
        "userCrossRate": text(taker),
        "userAddRate": text(maker),
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }


def portfolio(core: Core, account: Account) -> list[Any]:
    """Return value and profit of now, one point a period: no history is kept."""
    value = margin.account_value(account, core.mark)
    deposits = sum((Decimal(row["delta"]["usdc"]) for row in account.ledger if "usdc" in row["delta"]), ZERO)
    kept = {
        "accountValueHistory": [[core.now_ms, money(value)]],
        "pnlHistory": [[core.now_ms, money(value - deposits)]],
        "vlm": money(account.volume_usd),
    }
    return [[period, dict(kept)] for period in _PERIODS]


def active_asset(core: Core, account: Account, coin: str) -> Json:
    """Return leverage and room to trade of a coin: buy, then sell."""
    spec, mark = COINS[INDEX[coin]], core.mark(coin)
    is_cross, value = account.leverage_of(coin, spec.max_leverage)
    free = max(ZERO, margin.free_usd(account, core.mark))
    szi = account.szi(coin)
    room = [free + (2 * abs(szi) * mark / value if (szi > 0) != is_buy and szi else ZERO) for is_buy in (True, False)]
    sizes = [round(usd * value / mark, spec.sz_decimals) for usd in room]
    return {
        "user": account.address,
        "coin": coin,
        "leverage": {"type": "cross" if is_cross else "isolated", "value": value},
        "maxTradeSzs": [text(size) for size in sizes],
        "availableToTrade": [money(usd) for usd in room],
        "markPx": text(mark),
    }
