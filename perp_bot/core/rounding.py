"""The one price and size quantizer of the order boundary.

Venue rules (perps): a price has at most 5 significant figures and at most 6 - szDecimals decimals, whole numbers are
always allowed; a size has at most szDecimals decimals; an order is worth at least 10 USD unless it closes the whole
position. Source: the venue's tick-and-lot-size page. A limit is rounded away from the market (buys down, sells up)
unless the caller says otherwise; sizes are always truncated.

Worked example: szDecimals 1 allows 1234.5, 0.01234 and 123456, not 1234.56 and not 0.012345.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from enum import StrEnum

from perp_bot.core.errors import OrderRuleError

MIN_NOTIONAL_USD = Decimal(10)
MAX_SIGNIFICANT = 5
MAX_DECIMALS = 6
MAX_WIRE_DECIMALS = 8


class Rounding(StrEnum):
    """Which way a price goes to reach the grid."""

    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


_MODE = {Rounding.DOWN: ROUND_FLOOR, Rounding.UP: ROUND_CEILING, Rounding.NEAREST: ROUND_HALF_EVEN}


def to_decimal(value: Decimal | float | int | str) -> Decimal:
    """Return `value` as Decimal through its shortest text; OrderRuleError for NaN and infinities."""
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if not number.is_finite():
        raise OrderRuleError(f"a price or size must be a finite number, not {value!r}")
    return number


def tick_exponent(price: Decimal, sz_decimals: int) -> int:
    """Return the exponent of the price grid at `price`: -2 means cents, 0 whole numbers."""
    by_figures = price.adjusted() - (MAX_SIGNIFICANT - 1)
    by_decimals = -(MAX_DECIMALS - sz_decimals)
    return min(0, max(by_figures, by_decimals))


def quantize_price(price: Decimal | float | str, sz_decimals: int, rounding: Rounding) -> Decimal:
    """Return the nearest price on the venue's grid in the direction of `rounding`.

    Raises:
        OrderRuleError: when the price is not positive or rounds to zero.
    """
    exact = to_decimal(price)
    if exact <= 0:
        raise OrderRuleError(f"a price must be above 0, not {exact}")
    quantum = Decimal(1).scaleb(tick_exponent(exact, sz_decimals))
    # Rounding up across a power of ten (99999.5 -> 100000) lands on the coarser grid by itself.
    result = exact.quantize(quantum, rounding=_MODE[rounding])
    if result <= 0:
        raise OrderRuleError(f"price {exact} rounds to 0 on a grid of {quantum}")
    return plain(result)


def limit_price(price: Decimal | float | str, sz_decimals: int, *, is_buy: bool) -> Decimal:
    """Return a limit on the grid that is never more aggressive than `price` (buys down, sells up)."""
    return quantize_price(price, sz_decimals, Rounding.DOWN if is_buy else Rounding.UP)


def quantize_size(size: Decimal | float | str, sz_decimals: int) -> Decimal:
    """Return `size` truncated to the venue's lot.

    Raises:
        OrderRuleError: when the size is not positive or truncates to zero.
    """
    exact = to_decimal(size)
    result = exact.quantize(Decimal(1).scaleb(-sz_decimals), rounding=ROUND_DOWN)
    if result <= 0:
        raise OrderRuleError(f"size {exact} is below one lot of {Decimal(1).scaleb(-sz_decimals)}")
    return plain(result)


def check_notional(size: Decimal, price: Decimal, *, closes_whole_position: bool) -> None:
    """Raise OrderRuleError when an order is worth less than 10 USD; closing the whole position is exempt."""
    notional = size * price
    if notional < MIN_NOTIONAL_USD and not closes_whole_position:
        raise OrderRuleError(f"order of {size} x {price} = {notional:.2f} USD is below the venue's minimum of 10 USD")


def plain(value: Decimal) -> Decimal:
    """Return `value` without trailing zeros and without an exponent in its text."""
    trimmed = value.normalize()
    return trimmed if trimmed.as_tuple().exponent <= 0 else trimmed.quantize(Decimal(1))  # type: ignore[operator]


def wire(value: Decimal) -> str:
    """Return the text the venue takes: exact, no exponent, no trailing zeros, at most 8 decimals.

    Raises:
        OrderRuleError: when the value is not finite or has more decimals; nothing is ever rounded here.
    """
    if not value.is_finite():
        raise OrderRuleError(f"a price or size must be a finite number, not {value}")
    whole, _, decimals = format(value, "f").partition(".")
    decimals = decimals.rstrip("0")
    if len(decimals) > MAX_WIRE_DECIMALS:
        raise OrderRuleError(f"{value} has more than {MAX_WIRE_DECIMALS} decimals: round it to the venue's grid first")
    text = f"{whole}.{decimals}" if decimals else whole
    return "0" if text == "-0" else text
