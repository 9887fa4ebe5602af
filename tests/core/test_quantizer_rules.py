"""What the quantizer emits obeys the venue's rules, for every coin of the recorded meta and for random prices.

The rules are written here from the venue's page alone, on the text that goes over the wire, so that they cannot share a
mistake with the arithmetic that they check.
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, check_notional, limit_price, quantize_price, quantize_size, wire
from perp_bot.core.types import Instrument
from perp_bot.data.meta import bundled_instruments

COINS = sorted(bundled_instruments()[0].values(), key=lambda coin: coin.asset_id)


def price_obeys(text: str, sz_decimals: int) -> bool:
    """At most 5 significant figures and 6 - szDecimals decimals; a whole number is always allowed."""
    assert re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?", text), text
    whole, _, decimals = text.partition(".")
    if not decimals:
        return whole != "0"
    return len((whole + decimals).lstrip("0")) <= 5 and len(decimals) <= 6 - sz_decimals


def size_obeys(text: str, sz_decimals: int) -> bool:
    """At most szDecimals decimals, and above 0."""
    assert re.fullmatch(r"(0|[1-9]\d*)(\.\d*[1-9])?", text), text
    return text != "0" and len(text.partition(".")[2]) <= sz_decimals


def neighbour(price: Decimal, sz_decimals: int, direction: int) -> Decimal | None:
    """Return the next allowed price up or down, by trying every power of ten; None when there is none above 0."""
    steps = (price + direction * Decimal(1).scaleb(exponent) for exponent in range(-6, 1))
    allowed = (step for step in steps if step > 0 and price_obeys(text_of(step), sz_decimals))
    return next(allowed, None)


def text_of(value: Decimal) -> str:
    """Write a Decimal out, without the code under test."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def check_price(price: Decimal, sz_decimals: int) -> None:
    """Assert that each direction gives an allowed price, on its side, with none allowed in between; or our error."""
    upper = quantize_price(price, sz_decimals, Rounding.UP)
    check_side(price, sz_decimals, upper, 1)
    finest = Decimal(1).scaleb(sz_decimals - 6)
    if price < finest:
        with pytest.raises(OrderRuleError, match=r"^price \S+ rounds to 0 on a grid of \S+$"):
            quantize_price(price, sz_decimals, Rounding.DOWN)
        lower = Decimal(0)
    else:
        lower = quantize_price(price, sz_decimals, Rounding.DOWN)
        check_side(price, sz_decimals, lower, -1)
    if price > finest / 2:
        nearest = quantize_price(price, sz_decimals, Rounding.NEAREST)
        assert nearest in (lower, upper)
        assert abs(nearest - price) <= min(upper - price, price - lower)
    else:
        with pytest.raises(OrderRuleError, match="rounds to 0"):
            quantize_price(price, sz_decimals, Rounding.NEAREST)


def check_side(price: Decimal, sz_decimals: int, found: Decimal, direction: int) -> None:
    assert price_obeys(wire(found), sz_decimals), (price, sz_decimals, found)
    assert (found - price) * direction >= 0
    nearer = neighbour(found, sz_decimals, -direction)
    assert nearer is None or (nearer - price) * direction < 0, (price, found, nearer)


def check_size(size: Decimal, sz_decimals: int) -> None:
    """Assert that a size is truncated by less than a lot; below one lot ours is the error."""
    lot = Decimal(1).scaleb(-sz_decimals)
    if size < lot:
        with pytest.raises(OrderRuleError, match=rf"^size \S+ is below one lot of {lot}$"):
            quantize_size(size, sz_decimals)
        return
    found = quantize_size(size, sz_decimals)
    assert size_obeys(wire(found), sz_decimals)
    assert 0 <= size - found < lot


def test_the_bundled_meta_is_the_whole_recorded_universe() -> None:
    """Every lot from whole coins to 0.00001 is among them."""
    assert len(COINS) > 200
    assert {coin.sz_decimals for coin in COINS} == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("coin", COINS, ids=lambda coin: coin.symbol)
def test_every_recorded_coin_at_three_price_scales(coin: Instrument) -> None:
    """Near the coin's finest tick, at a usual price, and far above 100,000, with digits that fit no grid."""
    digits = coin.sz_decimals
    finest = Decimal(1).scaleb(digits - 6)
    for price in (finest * Decimal("3.7391846"), Decimal("137.4689153"), Decimal("948271.6358")):
        check_price(price, digits)
        for is_buy in (True, False):
            limit = limit_price(price, digits, is_buy=is_buy)
            assert price_obeys(wire(limit), digits)
            assert limit <= price if is_buy else limit >= price
        for notional in (Decimal("12.3456789"), Decimal("1005"), Decimal("250000.01")):
            check_size(notional / price, digits)


prices = st.builds(
    lambda figures, exponent: Decimal(figures).scaleb(exponent), st.integers(1, 10**10), st.integers(-14, 2)
)
lots = st.integers(0, 5)


@pytest.mark.slow
@given(prices, lots)
def test_any_price(price: Decimal, sz_decimals: int) -> None:
    """From far below the finest tick to a trillion."""
    check_price(price, sz_decimals)


@pytest.mark.slow
@given(st.integers(1, 99999), st.integers(-6, 3), lots, st.sampled_from(Rounding))
def test_a_price_on_the_grid_stays(figures: int, exponent: int, sz_decimals: int, rounding: Rounding) -> None:
    """An allowed price is not moved, in whichever direction."""
    price = Decimal(figures).scaleb(exponent)
    if price_obeys(text_of(price), sz_decimals):
        assert quantize_price(price, sz_decimals, rounding) == price


@given(st.floats(1e-7, 1e9), lots)
def test_a_float_goes_the_same_way_as_its_text(price: float, sz_decimals: int) -> None:
    """Floats come in through their shortest text, exponents too."""
    check_price(Decimal(repr(price)), sz_decimals)
    if price >= 10.0 ** (sz_decimals - 6):
        as_text = quantize_price(repr(price), sz_decimals, Rounding.DOWN)
        assert quantize_price(price, sz_decimals, Rounding.DOWN) == as_text


@given(prices, lots)
def test_any_size(size: Decimal, sz_decimals: int) -> None:
    """Truncated, never rounded up: a position is never larger than sizing said."""
    check_size(size, sz_decimals)


@given(prices, prices, lots, st.booleans())
def test_ten_dollars(size: Decimal, price: Decimal, sz_decimals: int, closes_whole_position: bool) -> None:
    """What passes is worth 10 USD by the texts on the wire, or closes the whole position; the rest is our error."""
    try:
        sent_size, sent_px = quantize_size(size, sz_decimals), quantize_price(price, sz_decimals, Rounding.DOWN)
    except OrderRuleError:
        return
    worth = Decimal(wire(sent_size)) * Decimal(wire(sent_px))
    if worth < 10 and not closes_whole_position:
        with pytest.raises(OrderRuleError, match="below the venue's minimum of 10 USD"):
            check_notional(sent_size, sent_px, closes_whole_position=False)
    else:
        check_notional(sent_size, sent_px, closes_whole_position=closes_whole_position)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_price_is_our_own_error(price: str, rounding: Rounding) -> None:
    """Before a nonce is spent on it."""
    with pytest.raises(OrderRuleError):
        quantize_price(price, 2, rounding)
    with pytest.raises(OrderRuleError):
        quantize_size(price, 2)
