"""What either engine found, as one `BacktestResult`, with the notes that qualify it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.data_notes import notes_of
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
        notes=notes_of(grid, config, begin, end, missing_hours),
        is_partial=is_partial,
        data_hash=market.data_hash,
    )


def rows_in(grid: Grid, begin: int, end: int) -> int:
    """Return how many candles there are in a span, all symbols together."""
    if grid.market.rows == grid.close.size:
        return len(grid.close) * (end - begin)
    return int(np.isfinite(grid.close[:, begin:end]).sum())
