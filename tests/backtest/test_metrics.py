"""Metrics: worked by hand, against an independent library, and where they are not defined."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import empyrical
import numpy as np
import pandas as pd
import pytest
from result_rig import START_MS, STEP_MS, result, trade

from perp_bot.backtest.curve import curve_sums
from perp_bot.backtest.metrics import Metrics, as_json, measure
from perp_bot.core.timeframes import HOUR_MS, TIMEFRAMES, length_ms, periods_per_year

CLOSE = 1e-9
YEAR_15M = 35_040


def walk(seed: int, count: int, *, sigma: float = 0.002, drift: float = 0.0) -> Any:
    """Return an equity curve from 1000 with normal returns."""
    return 1000 * np.cumprod(1 + np.random.default_rng(seed).normal(drift, sigma, count))


@pytest.mark.parametrize("timeframe", ["1m", "15m", "1h", "8h", "1d"])
@pytest.mark.parametrize("seed", range(4))
def test_ratios_agree_with_an_independent_library(timeframe: str, seed: int) -> None:
    """Return, volatility, Sharpe, Sortino, drawdown and Calmar equal empyrical's on random curves, to 1e-9 relative.

    The library is told the candles of our 365-day year; its own tables know trading days only.
    """
    days = 60
    curve = walk(seed, days * 24 * HOUR_MS // length_ms(timeframe), drift=1e-5 * (seed - 1))
    found = measure(result(curve, timeframe=timeframe))
    returns = pd.Series(np.concatenate([[1000.0], curve])).pct_change().iloc[1:]
    year = periods_per_year(timeframe)
    expected = {
        "total_return": empyrical.cum_returns_final(returns),
        "annual_return": empyrical.annual_return(returns, annualization=year),
        "volatility": empyrical.annual_volatility(returns, annualization=year),
        "sharpe": empyrical.sharpe_ratio(returns, annualization=year),
        "sortino": empyrical.sortino_ratio(returns, annualization=year),
        "max_drawdown": -empyrical.max_drawdown(returns),
        "calmar": empyrical.calmar_ratio(returns, annualization=year),
    }
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(float(value), rel=CLOSE), name


def test_where_the_library_differs_and_why() -> None:
    """A curve that never falls: empyrical's Sortino is infinite; ours is undefined, with a reason."""
    curve = 1000 * 1.001 ** np.arange(1, YEAR_15M // 12 + 100)
    curve[::2] *= 1.0001
    curve = np.maximum.accumulate(curve)
    returns = pd.Series(curve).pct_change().iloc[1:]
    with np.errstate(divide="ignore"):
        assert math.isinf(empyrical.sortino_ratio(returns, annualization=YEAR_15M))
    assert np.isnan(empyrical.calmar_ratio(returns, annualization=YEAR_15M))
    found = measure(result(curve))
    assert found.sortino is None
    assert found.reason("sortino") == "no candle lost"
    assert found.calmar is None
    assert found.reason("calmar") == "equity never fell"


def test_a_year_is_that_of_the_timeframe() -> None:
    """15m: 35,040 candles; a Sharpe of the same returns scales with the root of the candles of a year."""
    curve = walk(3, 500, drift=1e-4)
    by_tf = {tf: measure(result(curve, timeframe=tf)).sharpe for tf in TIMEFRAMES if tf != "1M"}
    base = by_tf["15m"]
    assert base is not None
    returns = curve / np.concatenate([[1000.0], curve[:-1]]) - 1
    assert base == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(YEAR_15M), rel=1e-12)
    for timeframe, value in by_tf.items():
        assert value == pytest.approx(base * math.sqrt(periods_per_year(timeframe) / YEAR_15M), rel=1e-12), timeframe


def test_a_drawdown_is_told_from_peak_to_recovery() -> None:
    """Start 1000, up to 1100, down to 880 (20 %), back at 1100 two closes later, then a shallower, longer fall."""
    found = measure(result([1050, 1100, 990, 880, 1000, 1100, 1090, 1080, 1070, 1060, 1050]))
    assert found.max_drawdown == pytest.approx(0.2)
    assert found.max_drawdown_usd == pytest.approx(220)
    assert found.drawdown_from_ms == START_MS + 2 * STEP_MS
    assert found.drawdown_trough_ms == START_MS + 4 * STEP_MS
    assert found.drawdown_recovered_ms == START_MS + 6 * STEP_MS
    assert found.drawdown_duration_ms == 4 * STEP_MS
    assert found.longest_drawdown_ms == 5 * STEP_MS


def test_a_fall_of_one_close_recovers_at_the_next() -> None:
    """Down and up again at once: from, trough and recovery are three closes in a row."""
    found = measure(result([1100, 990, 1100, 1200]))
    assert found.drawdown_recovered_ms == START_MS + 3 * STEP_MS
    assert found.drawdown_duration_ms == found.longest_drawdown_ms == 2 * STEP_MS


def test_a_fall_from_the_start_counts_and_may_not_have_recovered() -> None:
    """The start equity is the first peak; without a recovery the duration runs to the end."""
    found = measure(result([950, 900, 960]))
    assert found.max_drawdown == pytest.approx(0.1)
    assert found.drawdown_from_ms == START_MS
    assert found.drawdown_recovered_ms is None
    assert found.reason("drawdown_recovered_ms") == "not recovered by the end"
    assert found.drawdown_duration_ms == 3 * STEP_MS == found.longest_drawdown_ms


def test_the_largest_fall_in_dollars_may_be_another_one() -> None:
    """50 % of 1000 is deeper than 10 % of 10,000, and smaller."""
    found = measure(result([500, 1000, 10_000, 9_000]))
    assert (found.max_drawdown, found.max_drawdown_usd) == (pytest.approx(0.5), pytest.approx(1000))


def brute_drawdown(curve: Any) -> float:
    values = [1000.0, *curve]
    return max(1 - values[j] / max(values[: j + 1]) for j in range(len(values)))


@pytest.mark.parametrize("seed", range(30))
def test_the_drawdown_is_that_of_the_definition(seed: int) -> None:
    """The one-pass kernel equals the definition, on curves of every length."""
    rng = np.random.default_rng(seed)
    curve = np.round(1000 * np.cumprod(1 + rng.normal(0, 0.05, rng.integers(1, 80))))
    sums = curve_sums(1000.0, curve, np.zeros(len(curve)))
    assert sums.drawdown == pytest.approx(brute_drawdown(curve), abs=1e-15)
    values = [1000.0, *curve]
    if sums.drawdown:
        assert 1 - values[sums.trough + 1] / values[sums.peak + 1] == pytest.approx(sums.drawdown)
        after = [place for place in range(sums.trough, len(curve)) if curve[place] >= values[sums.peak + 1]]
        assert sums.recovered == (after[0] if after else -1)


def test_trades_are_summed_as_defined() -> None:
    """Two winners and a loser, by hand."""
    rows = [
        trade(gross_usd=3.0, fees_usd=0.1, funding_usd=0.1),  # 3.0
        trade(gross_usd=1.0, fees_usd=0.1, funding_usd=0.1, closed_ms=START_MS + 2 * STEP_MS, mae_usd=-0.1),  # 1.0
        trade(gross_usd=-1.5, fees_usd=0.3, funding_usd=-0.2, closed_ms=START_MS + 9 * STEP_MS, mae_usd=-3.0,
              mfe_usd=0.2),  # -2.0
    ]  # fmt: skip
    found = measure(result([1003, 1004, 1002], rows, held=[100, 0, 50]))
    assert (found.trades, found.win_rate, found.exposure) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.net_usd == pytest.approx(2.0)
    assert found.profit_factor == pytest.approx(4.0 / 2.0)
    assert found.expectancy_usd == pytest.approx(2 / 3)
    assert (found.best_usd, found.worst_usd) == (pytest.approx(3.0), pytest.approx(-2.0))
    assert (found.gross_usd, found.fees_usd) == (pytest.approx(2.5), pytest.approx(0.5))
    assert (found.funding_usd, found.slippage_usd) == (pytest.approx(0.0), pytest.approx(0.06))
    assert found.gross_usd - found.fees_usd + found.funding_usd == pytest.approx(found.net_usd)
    assert found.holding_mean_ms == pytest.approx(5 * STEP_MS)
    assert found.holding_median_ms == 4 * STEP_MS
    assert (found.mae_mean_usd, found.mae_worst_usd) == (pytest.approx(-1.2), -3.0)
    assert (found.mae_winners_usd, found.mfe_losers_usd) == (pytest.approx(-0.3), pytest.approx(0.2))
    assert (found.mfe_mean_usd, found.mfe_best_usd) == (pytest.approx(3.2 / 3), 1.5)
    assert found.turnover == pytest.approx(3 * 201 / 1003)
    assert found.open_usd == 0.0


def test_what_is_still_open_is_told_apart() -> None:
    """Equity at the end holds more than the closed trades: the rest is the open position's."""
    found = measure(result([1000, 1005.85], [trade()], open_positions=1))
    assert found.net_usd == pytest.approx(0.85)
    assert found.open_usd == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("found", "names"),
    [
        (measure(result([])), {"total_return", "sharpe", "exposure", "win_rate", "open_usd", "turnover"}),
        (measure(result([1000.0])), {"sharpe", "volatility", "sortino", "annual_return", "calmar", "win_rate"}),
        (measure(result([1000.0] * 4000)), {"sharpe", "sortino", "calmar", "drawdown_from_ms"}),
        (measure(result([1000.0] * 4, [trade()])), {"profit_factor", "mfe_losers_usd"}),
        (measure(result([1000.0] * 4, [trade(gross_usd=-1.0)])), {"mae_winners_usd"}),
    ],
    ids=["no candle", "one candle", "no trade", "no loser", "no winner"],
)
def test_what_is_not_defined_is_none_with_a_reason(found: Metrics, names: set[str]) -> None:
    """Never 0, never NaN; every None has its reason and nothing else has one."""
    figures = [item.name for item in fields(Metrics) if item.metadata]
    missing = {name for name in figures if getattr(found, name) is None}
    assert names <= missing
    assert missing == {name for name, _ in found.undefined}
    assert all(reason for _, reason in found.undefined)
    numbers = [getattr(found, name) for name in figures if getattr(found, name) is not None]
    assert all(math.isfinite(value) for value in numbers)


def test_a_short_span_is_not_made_into_a_year() -> None:
    """29 days have no annual return and no Calmar; 30 have; total return, volatility and Sharpe always."""
    short = measure(result(walk(1, 29 * 96)))
    assert (short.annual_return, short.calmar) == (None, None)
    assert short.reason("annual_return") == "29.0 days are fewer than 30: a year made of them is a guess"
    assert short.sharpe is not None
    assert measure(result(walk(1, 30 * 96))).annual_return is not None


def test_ruin_is_minus_one_and_ends_the_returns() -> None:
    """Equity of 0: the return is -100 %, and later candles neither earn nor divide by zero."""
    found = measure(result([500.0, 0.0, *([0.0] * 4000)]))
    assert (found.total_return, found.annual_return, found.max_drawdown) == (-1.0, -1.0, 1.0)
    assert found.sharpe is not None
    assert found.sharpe < 0


def test_unknown_funding_marks_what_includes_it() -> None:
    """Every figure with funding is named as incomplete; those without are not. Nothing is when all hours are known."""
    marked = as_json(measure(result([1000.0, 1001.0], missing_funding_hours=3)))["incomplete"]
    assert {"net_usd", "funding_usd", "sharpe", "total_return", "win_rate", "max_drawdown"} <= set(marked)
    assert not {"gross_usd", "fees_usd", "slippage_usd", "exposure", "trades", "holding_mean_ms"} & set(marked)
    assert as_json(measure(result([1000.0, 1001.0])))["incomplete"] == []


def test_equity_that_is_no_number_is_refused() -> None:
    """A fault of an engine must not become a figure."""
    with pytest.raises(ValueError, match="not a number"):
        measure(result([1000.0, math.nan, 1001.0]))


def test_every_figure_is_documented() -> None:
    """Definition and unit stand beside each field."""
    for item in fields(Metrics):
        if item.name not in ("undefined", "incomplete", "returns"):
            assert item.metadata["doc"].endswith("."), item.name
            assert item.metadata["unit"], item.name
