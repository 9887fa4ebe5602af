"""Notional, size, and the one stop price from capital at risk."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perp_bot.config.model import Config
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, quantize_price, tick_exponent
from perp_bot.core.types import Instrument, Regime, Side
from perp_bot.risk.sizing import (
    capital_stop_px,
    entry_notional_usd,
    entry_size,
    instrument_stop_px,
    liquidation_px,
    protective_stop_px,
    risk_usd,
    stop_beyond_liquidation,
)

CONFIG = Config()


@pytest.mark.parametrize(
    ("regime", "expected"),
    [
        (Regime.NORMAL, 1005.0),
        (Regime.HIGH_RISK, 502.5),
        (Regime.CRISIS, 0.0),
        (Regime.DOVISH_SHIFT, 1005.0),
        (Regime.HAWKISH_SHIFT, 1005.0),
    ],
)
def test_notional_is_capital_times_limit_times_leverage_times_regime(regime: Regime, expected: float) -> None:
    """670 x 0.5 x 3 = 1,005; half in HIGH_RISK, nothing in a CRISIS."""
    assert entry_notional_usd(CONFIG, regime) == expected


def test_the_worked_example_of_the_docstring() -> None:
    """0.01005 BTC at 100,000 risks 20.10 USD: stops at 98,000 and 102,000."""
    size = entry_size(1005.0, Decimal(100_000), 5)
    assert size == Decimal("0.01005")
    assert risk_usd(CONFIG) == Decimal("20.1")
    assert protective_stop_px(CONFIG, Side.LONG, Decimal(100_000), size, 5) == Decimal(98_000)
    assert protective_stop_px(CONFIG, Side.SHORT, Decimal(100_000), size, 5) == Decimal(102_000)


prices = st.decimals(Decimal("0.01"), Decimal(200_000), places=6)


@given(prices, st.floats(11, 1e6), st.floats(0.001, 0.5), st.integers(0, 5), st.sampled_from(list(Side)))
def test_the_loss_at_the_stop_is_the_risk_within_one_tick_and_never_more(
    raw_px: Decimal, notional: float, risk_share: float, sz_decimals: int, side: Side
) -> None:
    """Rounded inward: entry to stop times size never exceeds the risk, and misses it by less than a tick."""
    try:
        entry = quantize_price(raw_px, sz_decimals, Rounding.NEAREST)
        size = entry_size(notional, entry, sz_decimals)
        at_risk = Decimal(str(risk_share)) * Decimal(str(notional))
        stop = capital_stop_px(side, entry, size, at_risk, sz_decimals)
    except OrderRuleError:
        assume(False)
    loss = (entry - stop) * side.sign * size
    tick = Decimal(1).scaleb(tick_exponent(max(stop, entry), sz_decimals))
    assert 0 < loss <= at_risk
    lowest = Decimal(1).scaleb(-(6 - sz_decimals))
    if stop != lowest:
        assert at_risk - loss < tick * size
    assert quantize_price(stop, sz_decimals, Rounding.NEAREST) == stop


def test_a_long_that_cannot_lose_the_risk_gets_the_lowest_price() -> None:
    """10 USD of notional with 20 USD at risk: the stop is the venue's smallest price."""
    assert capital_stop_px(Side.LONG, Decimal(100), Decimal("0.1"), Decimal(20), 2) == Decimal("0.0001")


def test_a_risk_below_one_tick_is_refused_before_the_entry_but_a_position_has_a_stop() -> None:
    """One cent on a whole coin at 100,000 is no stop; a position gets the next tick all the same."""
    with pytest.raises(OrderRuleError, match="less than one tick"):
        capital_stop_px(Side.LONG, Decimal(100_000), Decimal(1), Decimal("0.01"), 5)
    tiny = replace(CONFIG, risk=replace(CONFIG.risk, max_loss_per_trade_pct=0.000001))
    btc = Instrument("BTC", 0, 5, 40)
    assert instrument_stop_px(tiny, btc, Side.LONG, Decimal(100_000), Decimal(1), None) == 99_999.0
    assert instrument_stop_px(tiny, btc, Side.SHORT, Decimal(100_000), Decimal(1), None) == 100_001.0


def test_the_rule_of_a_position_is_the_one_function() -> None:
    """Estimate before the entry and stop after the fill agree when the fill is at the estimated price."""
    btc = Instrument("BTC", 0, 5, 40)
    entry, size = Decimal(100_000), Decimal("0.01005")
    for side in Side:
        expected = float(protective_stop_px(CONFIG, side, entry, size, 5))
        assert instrument_stop_px(CONFIG, btc, side, entry, size, None) == expected


def test_the_nearer_of_capital_stop_and_the_strategys_own_is_taken() -> None:
    """A wider own stop never widens the risk; one on the wrong side of the entry is not a stop."""
    entry, size = Decimal(100_000), Decimal("0.01005")
    assert protective_stop_px(CONFIG, Side.LONG, entry, size, 5, 99_000.0) == Decimal(99_000)
    assert protective_stop_px(CONFIG, Side.LONG, entry, size, 5, 90_000.0) == Decimal(98_000)
    assert protective_stop_px(CONFIG, Side.LONG, entry, size, 5, 101_000.0) == Decimal(98_000)
    assert protective_stop_px(CONFIG, Side.SHORT, entry, size, 5, 101_000.0) == Decimal(101_000)
    assert protective_stop_px(CONFIG, Side.SHORT, entry, size, 5, 110_000.0) == Decimal(102_000)


def test_liquidation_is_estimated_by_the_venues_formula() -> None:
    """Long 0.01 at 100,000 with 500 USD at 40x: available 500 - 12.5, /0.01, /(1 - 1/80)."""
    price = liquidation_px(Side.LONG, 100_000, 0.01, 500, 40)
    assert price == pytest.approx(100_000 - 48_750 / (1 - 1 / 80))
    assert liquidation_px(Side.LONG, 100_000, 0.01, 5_000, 40) is None
    short = liquidation_px(Side.SHORT, 100_000, 0.01, 500, 40)
    assert short == pytest.approx(100_000 + 48_750 / (1 + 1 / 80))


def test_a_stop_beyond_liquidation_is_seen() -> None:
    """The venue would be first: long at or below, short at or above."""
    assert stop_beyond_liquidation(Side.LONG, Decimal(50), 50.0)
    assert not stop_beyond_liquidation(Side.LONG, Decimal(51), 50.0)
    assert stop_beyond_liquidation(Side.SHORT, Decimal(150), 150.0)
    assert not stop_beyond_liquidation(Side.SHORT, Decimal(149), 150.0)
    assert not stop_beyond_liquidation(Side.LONG, Decimal(1), None)
