"""The kernel's quantizer agrees with the Decimal one; luck is a function of the fill; its uniform is one."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from perp_bot.backtest import account_rules, arithmetic, luck
from perp_bot.backtest.compiled import research_kernel
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, plain, quantize_price, quantize_size, tick_exponent, to_decimal

PRICES = st.floats(1e-4, 1e7).map(lambda px: float(f"{px:.12g}"))
DIGITS = st.integers(0, 5)


@settings(max_examples=500)
@given(PRICES, DIGITS)
def test_ticks_down_and_up_are_the_decimal_ones(px: float, digits: int) -> None:
    """The float nearest to what `core.rounding` gives, for any price and lot size."""
    for rounding, ours in ((Rounding.DOWN, arithmetic.tick_down), (Rounding.UP, arithmetic.tick_up)):
        try:
            wanted = float(quantize_price(px, digits, rounding))
        except OrderRuleError:
            wanted = 0.0
        assert ours(px, digits) == wanted


@settings(max_examples=300)
@given(PRICES, DIGITS)
def test_prices_on_the_grid_stay(px: float, digits: int) -> None:
    """Rounding again in either direction changes nothing, and the next tick is one quantum away."""
    on_grid = arithmetic.tick_up(px, digits)
    assert arithmetic.tick_down(on_grid, digits) == arithmetic.tick_up(on_grid, digits) == on_grid
    exact = to_decimal(on_grid)
    assert arithmetic.next_tick(on_grid, digits) == float(
        plain(exact + Decimal(1).scaleb(tick_exponent(exact, digits)))
    )


@settings(max_examples=300)
@given(st.floats(0.5, 1e6), PRICES, DIGITS)
def test_sizes_are_truncated_as_the_decimals_are(notional: float, px: float, digits: int) -> None:
    """notional / price in lots, for prices on the grid."""
    on_grid = arithmetic.tick_up(px, digits)
    exact = to_decimal(notional) / to_decimal(on_grid)
    part = exact.scaleb(digits) % 1
    assume(
        Decimal("1e-7") < part < 1 - Decimal("1e-7") or part == 0
    )  # within a ten-millionth of a lot floats may differ
    try:
        wanted = float(quantize_size(exact, digits))
    except OrderRuleError:
        wanted = 0.0
    assert arithmetic.lots_down(notional / on_grid, digits) == wanted


def test_money_is_a_multiple_of_the_wires_quantum() -> None:
    """1e-8 USD, half to even."""
    assert arithmetic.to_money(0.123456785000001) == 0.12345679
    assert arithmetic.to_money(2.5e-8) == 2e-8
    assert Decimal(str(arithmetic.to_money(1.234567891))) == Decimal("1.234567891").quantize(
        Decimal("1e-8"), ROUND_DOWN
    )


@pytest.mark.slow
def test_the_kernels_luck_is_the_same_number() -> None:
    """Machine words against Python's integers."""
    draw = research_kernel(account_rules.draw)
    rng = np.random.default_rng(1)
    for _ in range(200):
        seed, key, at_ms, role = (int(rng.integers(0, 2**31)) for _ in range(4))
        assert draw(float(seed), key, at_ms * 1000, role % 3) == luck.unit_draw(seed, key, at_ms * 1000, role % 3)


def test_luck_is_uniform_and_depends_on_everything() -> None:
    """20,000 fills: every tenth of the range is met as often as chance allows, and each argument matters."""
    draws = np.array([luck.unit_draw(42, 7, 900_000 * n, luck.ENTRY) for n in range(20_000)])
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    chi2 = ((counts - 2_000) ** 2 / 2_000).sum()
    assert chi2 < 27.9  # 99.9 % of chi-square with 9 degrees of freedom
    base = luck.unit_draw(42, 7, 900_000, luck.ENTRY)
    others = [
        luck.unit_draw(43, 7, 900_000, luck.ENTRY),
        luck.unit_draw(42, 8, 900_000, luck.ENTRY),
        luck.unit_draw(42, 7, 1_800_000, luck.ENTRY),
        luck.unit_draw(42, 7, 900_000, luck.EXIT),
    ]
    assert len({base, *others}) == 5
