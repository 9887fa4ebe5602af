"""The simulation: one account, all symbols, boundary by boundary, as the daemon does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.backtest import account_layout as account
from perp_bot.backtest import plain
from perp_bot.backtest.engine_result import result_of
from perp_bot.backtest.grid import Grid, grid_of
from perp_bot.backtest.kernel_run import RULES, run_kernel
from perp_bot.backtest.kernels import kernel_of
from perp_bot.backtest.market import Market
from perp_bot.backtest.results import BacktestResult
from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import iso
from perp_bot.strategies import registry


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. Decisions are made at closes in (from_ms, to_ms]; warm-up is taken from the candles before."""

    from_ms: int | None = None  # None: everything stored
    to_ms: int | None = None
    plain: bool = False  # run the strategy in plain Python even where it has a kernel
    progress: Callable[[float], None] | None = None  # called with the share done, 0 to 1


def run(config: Config, market: Market, strategy_name: str, options: RunOptions | None = None) -> BacktestResult:
    """Simulate `strategy_name` on `market` with the settings of `config`.

    Raises:
        UsageError: there is no such strategy, no candle in the span, or the span is turned round.
    """
    options = options or RunOptions()
    strategy = registry.create(strategy_name, config)
    grid = grid_of(market)
    begin, end = span_of(grid, options.from_ms, options.to_ms)
    kernel = None if options.plain else kernel_of(strategy_name)
    if kernel is None:
        return plain.run_plain(config, grid, strategy, begin, end, options.progress)
    found = run_kernel(grid, kernel, config, begin, end)
    counts = found.counts
    return result_of(
        grid, config, strategy_name, begin, end,
        trades=found.trades, equity=found.equity_usd, held=found.held_usd,
        blocked={rule: int(counts[place]) for place, rule in enumerate(RULES) if counts[place]},
        open_positions=int(found.sums[account.S_OPEN]), missing_hours=int(found.sums[account.S_MISSING_HOURS]),
        resumes=int(counts[account.RESUMES]), is_partial=False,
    )  # fmt: skip


def span_of(grid: Grid, from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    """Return the bars (begin, end) whose closes are in (from_ms, to_ms].

    Raises:
        UsageError: the span is turned round, or holds no bar.
    """
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError(f"--from {iso(from_ms)} is not before --to {iso(to_ms)}")
    begin = 0 if from_ms is None else grid.place(from_ms + 1)
    end = grid.bars if to_ms is None else min(grid.bars, (to_ms - grid.first_ms) // grid.step_ms)
    if begin >= end:
        stored = f"{iso(grid.first_ms)} to {iso(grid.close_ms(grid.bars - 1))}"
        raise UsageError(f"no {grid.market.timeframe} candle closes in the span; stored are {stored}")
    return begin, end
