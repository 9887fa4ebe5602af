"""Mean reversion: each condition, each boundary, each regime, and nothing on missing numbers."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.model import Config, SignalsConfig
from perp_bot.core.errors import UsageError
from perp_bot.core.types import Candle, Enter, Exit, Hold, Position, Regime, Side
from perp_bot.indicators.row import IndicatorRow
from perp_bot.strategies import registry
from perp_bot.strategies.conditions import condition_report
from perp_bot.strategies.mean_reversion import MeanReversion
from perp_bot.strategies.protocol import Evaluation, MarketView

STRATEGY = MeanReversion(SignalsConfig(), "15m", 400)
CANDLE = Candle("BTC", "15m", 0, 100.0, 100.0, 100.0, 104.2, 1.0)
# Middle 100, sigma 2: bands at 96 and 104. The short's row and its mirror.
SHORT_ROW = IndicatorRow(zscore=2.1, bb_upper=104.0, bb_middle=100.0, bb_lower=96.0, rsi=71.0, adx=20.0)
LONG_ROW = replace(SHORT_ROW, zscore=-2.1, rsi=29.0)
LONG_CANDLE = replace(CANDLE, close=95.8)


def held(side: Side) -> Position:
    return Position("BTC", side, Decimal(1), Decimal(100), 0, "mean_reversion", "paper", None, None, "id")


def view(row: IndicatorRow = SHORT_ROW, candle: Candle = CANDLE, **changes: object) -> MarketView:
    base = MarketView("BTC", "15m", 900_000, candle, 512, row, Regime.NORMAL, None)
    return replace(base, **changes)  # type: ignore[arg-type]


def decide(row: IndicatorRow = SHORT_ROW, candle: Candle = CANDLE, **changes: object) -> Enter | Exit | Hold:
    return STRATEGY.on_candle(view(row, candle, **changes)).decision


def test_all_four_conditions_of_a_short_enter_short() -> None:
    """SHORT when z > +2, RSI > 70, close > upper band, ADX < 25; the reason names every number."""
    assert decide() == Enter("BTC", Side.SHORT, "z +2.10 > +2.00; RSI 71.0 > 70.0; close 104.2 > 104; ADX 20.0 < 25.0")


def test_all_four_conditions_of_a_long_enter_long() -> None:
    """LONG is the mirror: z < -2, RSI < 30, close < lower band, ADX < 25."""
    assert decide(LONG_ROW, LONG_CANDLE) == Enter(
        "BTC", Side.LONG, "z -2.10 < -2.00; RSI 29.0 < 30.0; close 95.8 < 96; ADX 20.0 < 25.0"
    )


@pytest.mark.parametrize(
    ("name", "row", "candle"),
    [
        ("zscore", replace(SHORT_ROW, zscore=2.0), CANDLE),
        ("rsi", replace(SHORT_ROW, rsi=70.0), CANDLE),
        ("band", SHORT_ROW, replace(CANDLE, close=104.0)),
        ("adx", replace(SHORT_ROW, adx=25.0), CANDLE),
        ("zscore", replace(LONG_ROW, zscore=-2.0), LONG_CANDLE),
        ("rsi", replace(LONG_ROW, rsi=30.0), LONG_CANDLE),
        ("band", LONG_ROW, replace(CANDLE, close=96.0)),
        ("adx", replace(LONG_ROW, adx=25.0), LONG_CANDLE),
    ],
)
def test_a_value_that_equals_its_threshold_does_not_enter(name: str, row: IndicatorRow, candle: Candle) -> None:
    """Every comparison is strict, and each condition alone forbids the entry."""
    evaluation = STRATEGY.on_candle(view(row, candle))
    assert isinstance(evaluation.decision, Hold)
    assert [key for key, value in evaluation.conditions.items() if value is not True] == [name]


@pytest.mark.parametrize(
    ("side", "z", "expected"),
    [
        (Side.LONG, -0.29, "mean_reversion_complete"),
        (Side.LONG, 0.29, "mean_reversion_complete"),
        (Side.LONG, -0.3, None),
        (Side.LONG, 0.3, None),
        (Side.LONG, -3.0, None),
        (Side.LONG, -3.01, "zscore_stop"),
        (Side.LONG, 3.5, None),
        (Side.SHORT, 3.0, None),
        (Side.SHORT, 3.01, "zscore_stop"),
        (Side.SHORT, -3.5, None),
        (Side.SHORT, 0.0, "mean_reversion_complete"),
    ],
)
def test_exits_at_their_boundaries(side: Side, z: float, expected: str | None) -> None:
    """|z| < 0.3 completes; z beyond 3 against the position stops; equal values hold; favourable extremes hold."""
    decision = decide(replace(SHORT_ROW, zscore=z), position=held(side))
    assert (decision.reason if isinstance(decision, Exit) else None) == expected


def test_an_exit_needs_z_alone() -> None:
    """Missing RSI, ADX and bands, a provisional candle and a short history do not keep a position from its exit."""
    row = IndicatorRow(zscore=0.1)
    decision = decide(row, position=held(Side.LONG), provisional=True, bars=30)
    assert decision == Exit("BTC", "mean_reversion_complete")


def test_a_position_never_gets_an_entry() -> None:
    """Exits win over entries: while a position is open the entry conditions decide nothing."""
    assert isinstance(decide(position=held(Side.LONG)), Hold)


def test_no_entry_on_a_provisional_candle() -> None:
    """An unconfirmed close decides exits only."""
    assert decide(provisional=True) == Hold("BTC", "provisional candle")


def test_no_entry_before_the_warm_up_ends() -> None:
    """The reason counts the bars."""
    assert decide(bars=312) == Hold("BTC", "warmup 312/400 bars")
    assert isinstance(decide(bars=400), Enter)


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["zscore", "rsi", "adx", "bb_upper", "bb_middle", "bb_lower"])
def test_a_missing_or_non_finite_indicator_holds_and_is_named(name: str, bad: float | None) -> None:
    """No comparison with NaN or infinity can pass; the condition is None, not False."""
    row = replace(SHORT_ROW, **{name: bad})
    evaluation = STRATEGY.on_candle(view(row))
    assert evaluation.decision == Hold("BTC", f"missing {name}")
    assert all(math.isfinite(value) for value in evaluation.thresholds.values())
    expected = {"zscore": "zscore", "rsi": "rsi", "adx": "adx", "bb_upper": "band", "bb_middle": "band"}
    if name in expected:
        assert evaluation.conditions[expected[name]] is None


def test_a_nan_close_holds() -> None:
    """A candle with NaN decides nothing."""
    assert decide(candle=replace(CANDLE, close=math.nan)) == Hold("BTC", "missing close")


@pytest.mark.parametrize(
    ("regime", "long_entry", "short_entry", "exit_z"),
    [
        (Regime.NORMAL, 2.0, 2.0, 0.3),
        (Regime.HIGH_RISK, 2.5, 2.5, 0.5),
        (Regime.CRISIS, 2.5, 2.5, 0.5),
        (Regime.DOVISH_SHIFT, 1.8, 2.0, 0.3),
        (Regime.HAWKISH_SHIFT, 2.0, 1.8, 0.3),
    ],
)
def test_regimes_scale_z_and_band_together(
    regime: Regime, long_entry: float, short_entry: float, exit_z: float
) -> None:
    """The table of factors at the defaults, exactly; the band moves by the same factor on the same side."""
    thresholds = STRATEGY.on_candle(view(regime=regime)).thresholds
    assert thresholds["zscore_entry_long"] == long_entry
    assert thresholds["zscore_entry_short"] == short_entry
    assert thresholds["zscore_exit"] == exit_z
    assert thresholds["zscore_stop"] == 3.0
    assert thresholds["band_short"] == pytest.approx(100 + 2 * short_entry, rel=1e-15)
    assert thresholds["band_long"] == pytest.approx(100 - 2 * long_entry, rel=1e-15)


def test_a_regime_moves_the_decision_itself() -> None:
    """z 1.9 enters short under HAWKISH_SHIFT only, z 2.1 under HIGH_RISK not at all."""
    near = replace(SHORT_ROW, zscore=1.9)
    candle = replace(CANDLE, close=103.8)
    assert isinstance(decide(near, candle, regime=Regime.HAWKISH_SHIFT), Enter)
    assert isinstance(decide(near, candle, regime=Regime.NORMAL), Hold)
    assert isinstance(decide(near, candle, regime=Regime.DOVISH_SHIFT), Hold)
    assert isinstance(decide(regime=Regime.HIGH_RISK), Hold)


numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(numbers, numbers, numbers, numbers, numbers, numbers, st.floats(), st.sampled_from(list(Regime)))
def test_whatever_the_numbers_a_crisis_never_enters_and_nothing_missing_enters(
    z: float | None,
    upper: float | None,
    middle: float | None,
    lower: float | None,
    rsi: float | None,
    adx: float | None,
    close: float,
    regime: Regime,
) -> None:
    """An entry has six finite inputs, satisfies every stated threshold, and never happens in a CRISIS."""
    row = IndicatorRow(zscore=z, bb_upper=upper, bb_middle=middle, bb_lower=lower, rsi=rsi, adx=adx)
    evaluation = STRATEGY.on_candle(view(row, replace(CANDLE, close=close), regime=regime))
    if isinstance(evaluation.decision, Enter):
        assert regime is not Regime.CRISIS
        known = [z, upper, middle, lower, rsi, adx, close]
        assert all(value is not None and math.isfinite(value) for value in known)
        assert all(value is True for value in evaluation.conditions.values())


@given(st.floats(-5, 5), st.floats(0, 100), st.floats(0, 100), st.floats(90, 110))
def test_the_mirrored_market_gets_the_mirrored_decision(z: float, rsi: float, adx: float, close: float) -> None:
    """Long is short mirrored at the middle of the band and at RSI 50."""
    row = IndicatorRow(zscore=z, bb_upper=104.0, bb_middle=100.0, bb_lower=96.0, rsi=rsi, adx=adx)
    there = decide(row, replace(CANDLE, close=close))
    mirrored = replace(row, zscore=-z, rsi=100 - rsi)
    back = decide(mirrored, replace(CANDLE, close=200 - close))
    if 100 - (100 - rsi) != rsi or 200 - (200 - close) != close:
        return  # the mirror itself rounds
    assert isinstance(there, Enter) == isinstance(back, Enter)
    if isinstance(there, Enter) and isinstance(back, Enter):
        assert there.side is back.side.opposite


def test_the_report_counts_what_each_condition_alone_removes() -> None:
    """One evaluation fails by RSI alone, one by ADX alone, one by both, one is incomplete, one enters."""
    rows = [
        SHORT_ROW,
        replace(SHORT_ROW, rsi=60.0),
        replace(SHORT_ROW, adx=30.0),
        replace(SHORT_ROW, rsi=60.0, adx=30.0),
        replace(SHORT_ROW, rsi=None),
    ]
    report = condition_report(STRATEGY.on_candle(view(row)) for row in rows)
    assert (report.evaluations, report.incomplete, report.all_held) == (5, 1, 1)
    assert report.removed_alone == {"zscore": 0, "rsi": 1, "band": 0, "adx": 1}
    assert report.held == {"zscore": 4, "rsi": 2, "band": 4, "adx": 2}
    assert report.lines()[2] == "rsi: held 2 times, alone removed 1 entries"


def test_at_equal_length_and_sigma_the_band_repeats_the_z_condition() -> None:
    """With length 20 and sigma 2 for both, z > 2 and close > upper band are one statement, in every regime."""
    sigma, middle = 2.0, 100.0
    for z in (-2.6, -2.1, -1.9, 0.5, 1.75, 1.85, 1.95, 2.05, 2.45, 2.55):
        close = middle + z * sigma
        row = IndicatorRow(zscore=z, bb_upper=104.0, bb_middle=100.0, bb_lower=96.0, rsi=50.0, adx=20.0)
        for regime in Regime:
            conditions = STRATEGY.on_candle(view(row, replace(CANDLE, close=close), regime=regime)).conditions
            assert conditions["zscore"] == conditions["band"]


def test_the_registry_builds_by_name_and_declares_needs() -> None:
    """The factory takes thresholds, timeframe and warm-up from the config."""
    strategy = registry.create("mean_reversion", Config())
    assert strategy.name == "mean_reversion"
    assert strategy.needs.timeframes == ("15m",)
    assert strategy.needs.warmup_bars >= 387  # ADX 14 by the 1e-9 rule
    assert not strategy.needs.trades


def test_an_unknown_strategy_names_the_nearest() -> None:
    """One clear line, with a suggestion."""
    with pytest.raises(UsageError, match=r"no strategy 'mean_revresion'.*did you mean mean_reversion"):
        registry.create("mean_revresion", Config())


def test_an_empty_report_is_honest() -> None:
    """No evaluations, no claims; an evaluation without conditions is incomplete."""
    assert condition_report([]).lines() == ["0 evaluations, 0 incomplete, 0 with every condition met"]
    assert condition_report([Evaluation(Hold("BTC", "x"))]).incomplete == 1
