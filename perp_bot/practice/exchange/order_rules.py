"""What an order must be before it is looked at further, and the venue's words where it is not."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.practice.market.coins import CoinSpec

LEAST_USD = Decimal(10)
MOST_CANCELS = 200

TICK = "Price must be divisible by tick size."
LEAST_VALUE = "Order must have minimum value of $10."
MARGIN = "Insufficient margin to place order."
REDUCE_ONLY = "Reduce only order would increase position."
POST_ONLY = "Post only order would have immediately matched, bbo was {bid}@{ask}."
NO_MATCH = "Order could not immediately match against any resting orders."
BAD_TRIGGER = "Invalid TP/SL price."
NO_LIQUIDITY = "No liquidity available for market order."
FAR = "Order price cannot be more than 80% away from the reference price"
INVALID_PRICE = "Order has invalid price."
INVALID_SIZE = "Order has invalid size."
ZERO_SIZE = "Order has zero size."
NEVER = "Order was never placed, already canceled, or filled."
NO_MODIFY = "Cannot modify canceled or filled order"
DELISTED = "Trading is halted."  # the text is not verified
TOO_LARGE = "Order has too large value."  # the text is not verified

STATUS = {
    TICK: "tickRejected",
    LEAST_VALUE: "minTradeNtlRejected",
    MARGIN: "perpMarginRejected",
    REDUCE_ONLY: "reduceOnlyRejected",
    POST_ONLY: "badAloPxRejected",
    NO_MATCH: "iocCancelRejected",
    BAD_TRIGGER: "badTriggerPxRejected",
    NO_LIQUIDITY: "marketOrderNoLiquidityRejected",
}


def is_on_tick(px: Decimal, spec: CoinSpec) -> bool:
    """Return whether a price has 5 significant figures and 6 - szDecimals decimals at most, or is whole."""
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
