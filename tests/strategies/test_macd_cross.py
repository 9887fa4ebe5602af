"""MACD cross: each condition, stop and target, the trailing stop, and nothing on missing numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.model import Config, MacdConfig
from perp_bot.core.types import Candle, Enter, Exit, Hold, Position, Regime, Side
from perp_bot.indicators.row import IndicatorRow
from perp_bot.strategies import registry
from perp_bot.strategies.macd_cross import MacdCross
from perp_bot.strategies.protocol import MarketView
from perp_bot.strategies.trailing import trailed_stop

STRATEGY = MacdCross(MacdConfig(), "15m", 400)
CANDLE = Candle("BTC", "15m", 0, 100.0, 101.0, 99.0, 100.0, 12.0)
LONG_ROW = IndicatorRow(rsi=55.0, atr=1.0, macd_histogram=0.2, macd_histogram_before=-0.1, volume_mean=10.0)
SHORT_ROW = replace(LONG_ROW, rsi=45.0, macd_histogram=-0.2, macd_histogram_before=0.1)


def view(row: IndicatorRow = LONG_ROW, candle: Candle = CANDLE, **changes: object) -> MarketView:
    base = MarketView("BTC", "15m", 900_000, candle, 512, row, Regime.NORMAL, None)
    return replace(base, **changes)  # type: ignore[arg-type]


def decide(row: IndicatorRow = LONG_ROW, candle: Candle = CANDLE, **changes: object) -> Enter | Exit | Hold:
    return STRATEGY.on_candle(view(row, candle, **changes)).decision


def held(side: Side, stop_px: float | None = None) -> Position:
    return Position("BTC", side, Decimal(1), Decimal(100), 0, "macd_cross", "paper", stop_px, None, "id")


def test_a_cross_up_with_volume_enters_long_with_stop_and_target() -> None:
    """Stop 2 ATR below the close, target twice as far above."""
    found = decide()
    assert isinstance(found, Enter)
    assert (found.side, found.stop_px, found.target_px) == (Side.LONG, 98.0, 104.0)
    assert found.reason == "histogram -0.1 to +0.2; RSI 55.0; volume 12 of a mean of 10"


def test_a_cross_down_enters_short() -> None:
    """The mirror."""
    found = decide(SHORT_ROW)
    assert isinstance(found, Enter)
    assert (found.side, found.stop_px, found.target_px) == (Side.SHORT, 102.0, 96.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rsi": 70.0}, "no long: RSI 70.0 not < 70"),
        ({"volume_mean": 12.5}, "no long: volume 12 below its mean of 12.5"),
        ({"atr": 0.04}, "no long: stop 0.080% away, allowed 0.10% to 10%"),
        ({"atr": 5.5}, "no long: stop 11.000% away, allowed 0.10% to 10%"),
        ({"macd_histogram_before": 0.05}, "no cross: histogram +0.05 to +0.2"),
        ({"atr": None}, "missing atr"),
        ({"volume_mean": math.nan}, "missing volume_mean"),
    ],
)
def test_one_condition_that_fails_is_named(changes: dict[str, float | None], reason: str) -> None:
    """Each alone keeps it out."""
    assert decide(replace(LONG_ROW, **changes)) == Hold("BTC", reason)


def test_from_zero_is_a_cross_and_to_zero_is_none() -> None:
    """At or below, then above."""
    assert isinstance(decide(replace(LONG_ROW, macd_histogram_before=0.0)), Enter)
    assert isinstance(decide(replace(LONG_ROW, macd_histogram=0.0)), Hold)


ABOVE = replace(LONG_ROW, macd_histogram_before=0.05)  # crossed at an earlier candle
BELOW = replace(SHORT_ROW, macd_histogram_before=-0.05)


def test_a_waiting_entry_is_asked_whether_its_cross_still_stands() -> None:
    """A cross is true of one candle; an entry that waits goes on while the histogram stays on its side of 0."""
    found = decide(ABOVE, waiting=Side.LONG)
    assert isinstance(found, Enter)
    assert (found.side, found.stop_px, found.target_px) == (Side.LONG, 98.0, 104.0)
    found = decide(BELOW, waiting=Side.SHORT)
    assert isinstance(found, Enter)
    assert (found.side, found.stop_px, found.target_px) == (Side.SHORT, 102.0, 96.0)
    assert STRATEGY.on_candle(view(ABOVE, waiting=Side.LONG)).conditions["cross"] is True


@pytest.mark.parametrize(
    ("row", "waiting", "reason"),
    [
        (ABOVE, None, "no cross: histogram +0.05 to +0.2"),
        (ABOVE, Side.SHORT, "no cross: histogram +0.05 to +0.2"),
        (BELOW, Side.LONG, "no cross: histogram -0.05 to -0.2"),
        (replace(ABOVE, macd_histogram=0.0), Side.LONG, "no cross: histogram +0.05 to +0"),
        (replace(ABOVE, rsi=70.0), Side.LONG, "no long: RSI 70.0 not < 70"),
        (replace(ABOVE, volume_mean=12.5), Side.LONG, "no long: volume 12 below its mean of 12.5"),
        (replace(ABOVE, atr=5.5), Side.LONG, "no long: stop 11.000% away, allowed 0.10% to 10%"),
    ],
)
def test_a_waiting_entry_is_given_up_when_a_condition_is_gone(
    row: IndicatorRow, waiting: Side | None, reason: str
) -> None:
    """The histogram on the other side or at 0, and every filter as at first; what does not wait needs a cross."""
    assert decide(row, waiting=waiting) == Hold("BTC", reason)


def test_a_cross_the_other_way_is_the_other_sides() -> None:
    """Whatever waits."""
    found = decide(SHORT_ROW, waiting=Side.LONG)
    assert isinstance(found, Enter)
    assert found.side is Side.SHORT


def test_volume_at_its_mean_is_enough() -> None:
    """At least."""
    assert isinstance(decide(replace(LONG_ROW, volume_mean=12.0)), Enter)


def test_no_entry_before_warm_up_on_a_provisional_candle_or_in_a_crisis() -> None:
    """As mean reversion."""
    assert decide(bars=399) == Hold("BTC", "warmup 399/400 bars")
    assert decide(provisional=True) == Hold("BTC", "provisional candle")
    assert decide(regime=Regime.CRISIS) == Hold("BTC", "regime CRISIS: no entries (conditions of long hold)")


def test_a_cross_against_the_position_does_not_end_it() -> None:
    """Stop, target and timeout do."""
    found = decide(SHORT_ROW, position=held(Side.LONG, 98.0))
    assert found == Hold("BTC", "holding long: stop, target or timeout ends it")


@pytest.mark.parametrize(
    ("side", "close", "stop", "moved"),
    [
        (Side.LONG, 100.9, 98.0, None),  # below the gain from which it trails
        (Side.LONG, 101.7, 98.0, 101.5 * 0.98),  # 1.5 % in whole steps, 2 % behind
        (Side.LONG, 101.7, 99.6, None),  # no nearer than it is
        (Side.SHORT, 98.3, 102.0, 98.5 * 1.02),
        (Side.SHORT, 99.2, 102.0, None),
    ],
)
def test_the_stop_trails_in_steps(side: Side, close: float, stop: float, moved: float | None) -> None:
    """From +1 %, 2 % behind, every 0.5 %."""
    found = decide(candle=replace(CANDLE, close=close), position=held(side, stop))
    assert isinstance(found, Hold)
    assert found.stop_px == (None if moved is None else pytest.approx(moved, rel=1e-12))


@given(st.floats(0.5, 2.0), st.sampled_from([1.0, -1.0]), st.floats(0.001, 0.05), st.floats(0.001, 0.05))
def test_a_trailed_stop_is_behind_the_close_by_its_distance_and_less_than_a_step(
    close: float, side: float, distance: float, step: float
) -> None:
    """Never through the market, never more than a step later than it could be."""
    stop = trailed_stop(side, 1.0, close, 0.01, distance, step)
    gain = (close - 1) * side
    if gain < 0.01 - 1e-6:
        assert stop == 0
    elif gain > 0.01 + 1e-6:
        exact = (1 + side * gain) * (1 - side * distance)
        assert (stop - exact) * side <= 1e-9
        assert (exact - stop) * side <= step * (1 + distance) + 1e-9


def test_it_can_be_chosen_by_name_and_knows_its_limit() -> None:
    """10 a day."""
    strategy = registry.create("macd_cross", Config())
    assert (strategy.name, strategy.max_trades_per_day, strategy.needs.warmup_bars) == ("macd_cross", 10, 512)
