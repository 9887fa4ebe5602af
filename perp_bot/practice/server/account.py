"""Account reads of an address that has never traded: what the venue answers for an empty account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from perp_bot.core.timeframes import DAY_MS
from perp_bot.practice.server.meta import fee_schedule

Json = dict[str, Any]

DEFAULT_LEVERAGE = 20
BASE_REQUESTS = 10_000
_PERIODS = ("day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime")


def clearinghouse_state(at_ms: int) -> Json:
    """Return balances and positions: none."""
    summary = {"accountValue": "0.0", "totalNtlPos": "0.0", "totalRawUsd": "0.0", "totalMarginUsed": "0.0"}
    return {
        "marginSummary": summary,
        "crossMarginSummary": dict(summary),
        "crossMaintenanceMarginUsed": "0.0",
        "withdrawable": "0.0",
        "assetPositions": [],
        "time": at_ms,
    }


def rate_limit() -> Json:
    """Return the action budget: 10,000 and one per USDC traded."""
    return {"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": BASE_REQUESTS, "nRequestsSurplus": 0}


def fees(at_ms: int) -> Json:
    """Return the base tier and fifteen days without volume."""
    days = [datetime.fromtimestamp((at_ms - back * DAY_MS) / 1_000, UTC) for back in range(14, -1, -1)]
    return {
        "dailyUserVlm": [
            {"date": f"{day:%Y-%m-%d}", "userCross": "0.0", "userAdd": "0.0", "exchange": "0.0"} for day in days
        ],
        "feeSchedule": fee_schedule(),
        "userCrossRate": "0.00045",
        "userAddRate": "0.00015",
        "userSpotCrossRate": "0.0007",
        "userSpotAddRate": "0.0004",
        "activeReferralDiscount": "0.0",
        "trial": None,
        "stakingLink": None,
        "activeStakingDiscount": {"bpsOfMaxSupply": "0.0", "discount": "0.0"},
    }


def portfolio(at_ms: int) -> list[Any]:
    """Return the value and profit histories: one point, zero."""
    point = [[at_ms, "0.0"]]
    return [[period, {"accountValueHistory": point, "pnlHistory": point, "vlm": "0.0"}] for period in _PERIODS]


def active_asset_data(user: str, coin: str, max_leverage: int, mark_px: str) -> Json:
    """Return leverage and room to trade of one coin: none without money."""
    return {
        "user": user,
        "coin": coin,
        "leverage": {"type": "cross", "value": min(DEFAULT_LEVERAGE, max_leverage)},
        "maxTradeSzs": ["0.0", "0.0"],
        "availableToTrade": ["0.0", "0.0"],
        "markPx": mark_px,
    }
