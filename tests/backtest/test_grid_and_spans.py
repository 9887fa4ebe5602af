"""Candles that cannot be right are refused in one line, spans are what they say, and warm-up comes from before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_rig import QUARTER, START, coin, config_with, flat, market_of, wandering

from perp_bot.backtest.engine import RunOptions, run, span_of
from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.market import Candles, Market
from perp_bot.core.errors import UsageError

CONFIG = config_with(
    signals__zscore_entry_threshold=1.2,
    signals__rsi_overbought=55.0,
    signals__rsi_oversold=45.0,
    signals__adx_threshold=60.0,
    signals__bollinger_std=1.0,
    risk__session_drawdown_pct=1.0,
    risk__max_drawdown_pct=1.0,
    risk__daily_loss_limit_pct=1.0,
    risk__losing_weeks=99,
)


def shuffled(market: Market, order: list[int]) -> Market:
    """Return a market whose rows stand in another order."""
    item = market.symbols[0]
    columns = (getattr(item.candles, name)[order] for name in ("open_ms", "open", "high", "low", "close", "volume"))
    return replace(market, symbols=(replace(item, candles=Candles("15m", *columns)),))


@pytest.mark.parametrize(
    ("order", "where"),
    [([0, 2, 1, 3], "2023-11-15T00:15:00Z"), ([0, 1, 1, 2], "2023-11-15T00:15:00Z")],
    ids=["reordered", "twice"],
)
def test_rows_out_of_order_or_twice_are_named(order: list[int], where: str) -> None:
    """A row must never land on another bar's place."""
    with pytest.raises(UsageError, match=f"AAA: the candle at {where} is out of order or there twice"):
        grid_of(shuffled(market_of(coin(flat(4))), order))


def test_a_row_off_the_grid_is_named() -> None:
    """Seven minutes past is no 15m candle."""
    market = market_of(coin(flat(4)))
    market.symbols[0].candles.open_ms[2] += 7 * 60_000
    with pytest.raises(UsageError, match="AAA: the candle at 2023-11-15T00:37:00Z does not open on a 15m boundary"):
        grid_of(market)


def test_no_candles_at_all_is_one_clear_line() -> None:
    """With what to do."""
    market = market_of(coin(flat(1)))
    empty = Candles("15m", np.empty(0, np.int64), *(np.empty(0) for _ in range(5)))
    with pytest.raises(UsageError, match="no 15m candles to run on; see: perpbot data list"):
        grid_of(replace(market, symbols=(replace(market.symbols[0], candles=empty),)))


def test_one_candle_and_a_warm_up_longer_than_the_data_give_no_trades() -> None:
    """No decision is made before warm-up, and nothing fails."""
    for bars in (1, 300):
        result = run(CONFIG, wandering(1, bars), "mean_reversion")
        assert (len(result.trades), len(result.equity_usd), result.rows) == (0, bars, bars)
        assert set(result.equity_usd.tolist()) == {670.0}


def test_a_span_that_is_turned_round_or_empty_is_refused() -> None:
    """From after to; a span before the data."""
    grid = grid_of(market_of(coin(flat(10))))
    with pytest.raises(UsageError, match="is not before --to"):
        span_of(grid, START + QUARTER, START)
    with pytest.raises(UsageError, match="no 15m candle closes in the span; stored are 2023-11-15T00:00:00Z"):
        span_of(grid, START - 10 * QUARTER, START)


def test_a_span_holds_the_closes_after_from_up_to_to() -> None:
    """(from, to]: adjoining spans share no decision."""
    grid = grid_of(market_of(coin(flat(10))))
    middle = START + 4 * QUARTER
    assert span_of(grid, None, middle) == (0, 4)
    assert span_of(grid, middle, None) == (4, 10)
    assert span_of(grid, middle + 1, None) == (4, 10)
    assert span_of(grid, START - 1, START + 99 * QUARTER) == (0, 10)


@pytest.mark.slow
def test_warm_up_is_taken_from_before_the_span() -> None:
    """Decisions in a span do not depend on where it begins: the first trades of a part are those of the whole."""
    market = wandering(5, 3_000)
    whole = run(CONFIG, market, "mean_reversion")
    flat_from = next(
        int(whole.close_ms[bar]) for bar in range(1_500, 3_000) if whole.held_usd[bar] == whole.held_usd[bar - 1] == 0
    )
    part = run(CONFIG, market, "mean_reversion", RunOptions(from_ms=flat_from))
    later = [row[:9] for row in whole.trades.rows() if row.decided_ms > flat_from]
    assert len(later) > 10
    assert [row[:9] for row in part.trades.rows()] == later
    assert part.close_ms[0] == flat_from + QUARTER


def test_symbols_with_different_ranges_run_where_they_are() -> None:
    """One starts later and ends earlier: the other trades before and after as if alone."""
    market = wandering(6, 1_500, coins=2)
    short = market.symbols[1]
    kept = Candles(
        "15m", *(getattr(short.candles, n)[200:900] for n in ("open_ms", "open", "high", "low", "close", "volume"))
    )
    result = run(CONFIG, replace(market, symbols=(market.symbols[0], replace(short, candles=kept))), "mean_reversion")
    assert result.rows == 2_200
    assert {row.symbol for row in result.trades.rows()} == {"AAA", "BBB"}
    assert any(note.startswith("the coins are stored over different ranges") for note in result.notes)
    assert not any("missing" in note for note in result.notes)


def test_a_bar_of_58_percent_and_days_of_no_volume_are_only_prices() -> None:
    """Nothing is smoothed, nothing fails, equity stays finite."""
    market = wandering(7, 1_200)
    candles = market.symbols[0].candles
    candles.low[800] = candles.close[800] = candles.open[800] * 0.42
    candles.open[801:] *= 0.42
    candles.high[801:] *= 0.42
    candles.low[801:] *= 0.42
    candles.close[801:] *= 0.42
    candles.volume[300:500] = 0.0
    result = run(CONFIG, market, "mean_reversion")
    assert np.isfinite(result.equity_usd).all()
    assert len(result.trades) > 5
