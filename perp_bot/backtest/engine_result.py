"""What either engine found, as one `BacktestResult`, with the notes that qualify it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.grid import Grid
from perp_bot.backtest.results import BacktestResult, Trades
from perp_bot.config.model import Config


def result_of(
    grid: Grid,
    config: Config,
    strategy_name: str,
    begin: int,
    end: int,
    *,
    trades: Trades,
    equity: NDArray[np.float64],
    held: NDArray[np.float64],
    blocked: dict[str, int],
    open_positions: int,
    missing_hours: int,
    resumes: int,
    is_partial: bool,
) -> BacktestResult:
    """Return the result of the bars `begin`..`end` - 1."""
    market = grid.market
    return BacktestResult(
        strategy=strategy_name,
        symbols=tuple(item.symbol for item in market.symbols),
        timeframe=market.timeframe,
        start_equity_usd=config.trading.capital_usd,
        rows=rows_in(grid, begin, end),
        trades=trades,
        close_ms=grid.first_ms + (np.arange(begin, end, dtype=np.int64) + 1) * grid.step_ms,
        equity_usd=equity,
        held_usd=held,
        blocked=blocked,
        open_positions=open_positions,
        missing_funding_hours=missing_hours,
        resumes=resumes,
        notes=notes_of(grid, missing_hours),
        is_partial=is_partial,
        data_hash=market.data_hash,
    )


def rows_in(grid: Grid, begin: int, end: int) -> int:
    """Return how many candles there are in a span, all symbols together."""
    if grid.market.rows == grid.close.size:
        return len(grid.close) * (end - begin)
    return int(np.isfinite(grid.close[:, begin:end]).sum())


def notes_of(grid: Grid, missing_hours: int) -> tuple[str, ...]:
    """Return what qualifies any result on this grid."""
    notes = [*grid.market.notes, *grid.notes]
    sources = sorted({item.instrument_source for item in grid.market.symbols})
    notes.append(f"tick, lot and margin rules: {', '.join(sources)}")
    holes = grid.close.size - grid.market.rows
    if holes:
        notes.append(f"{holes:,} candles are missing: no decision there, and a new warm-up behind each hole")
    for item in grid.market.symbols:
        if item.generated_rows:
            share = item.generated_rows / max(1, len(item.candles))
            notes.append(f"{item.symbol}: {share:.1%} of the candles are generated, not recorded")
    if missing_hours:
        notes.append(f"{missing_hours:,} hours were held without a known funding rate: funding figures are incomplete")
    if not len(grid.regimes):
        notes.append("regime NORMAL throughout: no other was recorded for these days")
    return tuple(notes)
