"""What an order must be before it is looked at further, and the venue's words where it is not.

Texts marked "own" are ours: the venue's are not known.
"""

from __future__ import annotations

from decimal import Decimal

from perp_bot.practice.market.coins import CoinSpec

LEAST_USD = Decimal(10)
MOST_CANCELS = 200
MOST_ORDERS, ORDERS_LIMIT, USD_PER_ORDER = 1_000, 5_000, 5_000_000

TICK = "Price must be divisible by tick size."
LEAST_VALUE = "Order must have minimum value of $10."
MARGIN = "Insufficient margin to place order."
REDUCE_ONLY = "Reduce only order would increase position."
POST_ONLY = "Post only order would have immediately matched, bbo was {bid}@{ask}."
NO_MATCH = "Order could not immediately match against any resting orders."
BAD_TRIGGER = "Invalid TP/SL price."
NO_LIQUIDITY = "No liquidity available for market order."
INTEREST_CAPPED = "Order would increase open interest while open interest is capped"
AGGRESSIVE_AT_CAP = "Order rejected due to price more aggressive than oracle while at open interest cap"
INTEREST_TOO_QUICK = "Order would increase open interest too quickly"
ORACLE = "Order price too far from oracle"
TIER = "Order would cause position to exceed margin tier limit at current leverage"
FAR = "Order price cannot be more than 80% away from the reference price"
INVALID_PRICE = "Order has invalid price."
INVALID_SIZE = "Order has invalid size."
ZERO_SIZE = "Order has zero size."
NEVER = "Order was never placed, already canceled, or filled."
NO_MODIFY = "Cannot modify canceled or filled order"
DELISTED = "Trading is halted."  # own
TOO_LARGE = "Order has too large value."  # own
TOO_MANY = "Too many open orders."  # own
NO_ORDER = "Must have at least one order."  # own
NOT_REDUCING = "TP/SL orders must be reduce-only."  # own
NO_ASSET = "Invalid asset."  # own
EXECUTABLE = "Modified order must be Alo or a non-executable Gtc order."  # own

STATUS = {
    TICK: "tickRejected",
    LEAST_VALUE: "minTradeNtlRejected",
    MARGIN: "perpMarginRejected",
    REDUCE_ONLY: "reduceOnlyRejected",
    POST_ONLY.partition("{")[0]: "badAloPxRejected",
    NO_MATCH: "iocCancelRejected",
    BAD_TRIGGER: "badTriggerPxRejected",
    NO_LIQUIDITY: "marketOrderNoLiquidityRejected",
    INTEREST_CAPPED: "positionIncreaseAtOpenInterestCapRejected",
    AGGRESSIVE_AT_CAP: "tooAggressiveAtOpenInterestCapRejected",
    INTEREST_TOO_QUICK: "openInterestIncreaseRejected",
    ORACLE: "oracleRejected",
    TIER: "perpMaxPositionRejected",
    TOO_MANY: "tooManyOpenOrdersRejected",
}


def status_of(reason: str) -> str:
    """Return the status in history of an order refused with a text."""
    return next((status for text, status in STATUS.items() if reason.startswith(text)), "rejected")


def is_on_tick(px: Decimal, spec: CoinSpec) -> bool:
    """Return whether a price has 5 significant figures and 6 - szDecimals decimals at most, or is whole.

    With szDecimals 1: 1234.5 and 123456 are, 1234.56 and 0.012345 are not.
    """
    if px == px.to_integral_value():
        return True
    digits = px.normalize().as_tuple()
    decimals = -int(digits.exponent)
    return decimals <= spec.px_decimals and len(digits.digits) <= 5


def is_on_lot(size: Decimal, spec: CoinSpec) -> bool:
    """Return whether a size has at most szDecimals decimals."""
    return -int(size.normalize().as_tuple().exponent) <= spec.sz_decimals


def is_far(px: Decimal, reference: Decimal) -> bool:
    """Return whether a price is more than 80 % away from the reference."""
    return abs(px - reference) > reference * Decimal("0.8")


def most_usd(spec: CoinSpec, *, is_market: bool) -> Decimal:
    """Return the largest value of one order: by the coin's highest leverage; limit orders ten times that."""
    leverage = spec.max_leverage
    market = 30_000_000 if leverage >= 25 else 5_000_000 if leverage >= 20 else 2_000_000 if leverage >= 10 else 500_000
    return Decimal(market if is_market else 10 * market)


def most_orders(volume_usd: Decimal) -> int:
    """Return how many open orders an account may have: 1000 and one per 5M USD traded, up to 5000."""
    return min(ORDERS_LIMIT, MOST_ORDERS + int(volume_usd // USD_PER_ORDER))
