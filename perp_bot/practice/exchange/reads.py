"""What the venue answers about orders, fills, payments, fees and history of an account."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.exchange import budget, fees, margin
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.amounts import ZERO, money, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import Order

Json = dict[str, Any]

MOST_ROWS = 2_000
FUNDING_ROWS = 500
FEE_DAYS = 15  # shown in userFees, today included
_PERIODS = {"day": DAY_MS, "week": 7 * DAY_MS, "month": 30 * DAY_MS, "allTime": None}


def open_orders(account: Account) -> list[Json]:
    """Return the open orders in the plain form, newest first; triggers look like limit orders in it."""
    return [order.brief() for order in _newest_first(account) if not order.is_waiting]


def frontend_orders(account: Account) -> list[Json]:
    """Return the open orders with everything, newest first.

    Children that wait for their parent stand in the list and in the parent's `children`, as recorded in the SDK's
    cassette of 2023-11.
    """
    return [order.full() for order in _newest_first(account)]


def _newest_first(account: Account) -> list[Order]:
    return sorted(account.orders.values(), key=lambda order: (order.at_ms, order.oid), reverse=True)


def order_status(account: Account, key: int | str) -> Json:
    """Return what became of an order, by the venue's id or the client's."""
    known: Iterable[Order] = (*account.orders.values(), *reversed(account.ended))
    found = next((order for order in known if key in (order.oid, order.cloid)), None)
    return {"status": "unknownOid"} if found is None else {"status": "order", "order": _with_status(found)}


def historical_orders(account: Account) -> list[Json]:
    """Return past and open orders with what became of them, newest first."""
    known = [*account.ended, *account.orders.values()]
    newest = sorted(known, key=lambda order: (order.status_ms, order.oid), reverse=True)[:MOST_ROWS]
    return [_with_status(order) for order in newest]


def _with_status(order: Order) -> Json:
    return {"order": order.full(), "status": order.status, "statusTimestamp": order.status_ms}


def fills(account: Account) -> list[Json]:
    """Return the newest fills, newest first."""
    return list(account.fills)[::-1][:MOST_ROWS]


def fills_between(account: Account, start_ms: int, end_ms: int, *, is_reversed: bool) -> list[Json]:
    """Return the first fills of a stretch of time, oldest first; reversed: the last ones, newest first."""
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
    days = [fees.utc_day(core.now_ms - back * DAY_MS) for back in range(FEE_DAYS - 1, -1, -1)]
    rows = []
    for day in days:
        crossed, added = account.volume_by_day.get(day, [ZERO, ZERO])
        rows.append({"date": day, "userCross": money(crossed), "userAdd": money(added), "exchange": "0.0"})
    return {
        "dailyUserVlm": rows,
        "feeSchedule": fees.schedule(),
        "userCrossRate": text(taker),
        "userAddRate": text(maker),
        "userSpotCrossRate": fees.BASE[2],
        "userSpotAddRate": fees.BASE[3],
        "activeReferralDiscount": "0.0",
        "trial": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }


def portfolio(core: Core, account: Account) -> list[Any]:
    """Return value and profit at the hours settled while positions were held, and now; profit counts from the first."""
    now = (core.now_ms, *margin.value_and_profit(account, core.mark))
    shown = {name: _period(core, account, [*account.history, now], length) for name, length in _PERIODS.items()}
    perp = {f"perp{name[0].upper()}{name[1:]}": period for name, period in shown.items()}
    return [[name, period] for name, period in {**shown, **perp}.items()]


def _period(core: Core, account: Account, points: list[tuple[int, Decimal, Decimal]], length_ms: int | None) -> Json:
    since_ms = 0 if length_ms is None else core.now_ms - length_ms
    kept = [point for point in points if point[0] >= since_ms]
    before = kept[0][2] if length_ms is not None else ZERO
    first_day = fees.utc_day(since_ms)
    volume = sum((sum(parts, ZERO) for day, parts in account.volume_by_day.items() if day >= first_day), ZERO)
    return {
        "accountValueHistory": [[at_ms, money(value)] for at_ms, value, _ in kept],
        "pnlHistory": [[at_ms, money(profit - before)] for at_ms, _, profit in kept],
        "vlm": money(volume),
    }
