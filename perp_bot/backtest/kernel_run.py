"""Runs a strategy's kernel and the account kernel over a grid, for one parameter set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_kernel, account_rules
from perp_bot.backtest import account_layout as account
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.grid import Fine, Grid
from perp_bot.backtest.results import Trades
from perp_bot.backtest.settings import InstrumentTable, instrument_table, regime_factors, settings_row
from perp_bot.backtest.strategy_kernel import Candidates, Limits, StrategyKernel
from perp_bot.config.model import Config
from perp_bot.decision.exits import TIMEOUT
from perp_bot.execution.account import CAPITAL_STOP, STRATEGY_STOP, TRAILING_STOP

TARGET, LIQUIDATION = "target", "liquidation"
_NO_MATRIX = np.empty((1, 0))
_NO_FINE = Fine(1, 0, _NO_MATRIX, _NO_MATRIX, _NO_MATRIX, _NO_MATRIX, _NO_MATRIX, np.empty((1, 0), np.uint8))

# Rules by their place in the kernel's counts, as the gate names them.
RULES = (
    "leverage",
    "delisted",
    "regime",
    "equity_unknown",
    "daily_loss_limit",
    "session_drawdown",
    "max_drawdown",
    "max_positions",
    "cooldown",
    "losing_weeks",
    "margin_limit",
    "insufficient_margin",
    "max_trades_per_day",
    "size",
    "stop_beyond_liquidation",
)


@dataclass(frozen=True, slots=True, eq=False)
class KernelRun:
    """What the kernel gave: counts and sums in the order that `account_kernel` names them."""

    trades: Trades
    equity_usd: NDArray[np.float64]
    held_usd: NDArray[np.float64]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]


def reasons_of(kernel: StrategyKernel) -> tuple[str, ...]:
    """Return the exit reasons in the order of the kernel's codes."""
    return (*kernel.exit_reasons, TIMEOUT, CAPITAL_STOP, TARGET, LIQUIDATION, STRATEGY_STOP, TRAILING_STOP)


def market_arguments(grid: Grid, table: InstrumentTable, config: Config) -> tuple[Any, ...]:
    """Return the kernel's arguments between the span and the exit bits: everything that is not the strategy's."""
    fine = grid.fine or _NO_FINE
    sizes, allowed = regime_factors(config)
    return (
        grid.open, grid.high, grid.low, grid.close, grid.trigger_low, grid.trigger_high,
        fine.step_ms, fine.per_bar, fine.open, fine.high, fine.low, fine.trigger_low, fine.trigger_high, fine.is_whole,
        grid.first_hour_ms, grid.rates, grid.oracles,
        table.rules, table.tier_bound, table.tier_rate, table.tier_deducted,
        grid.regimes, sizes, allowed,
    )  # fmt: skip


def run_kernel(grid: Grid, kernel: StrategyKernel, config: Config, begin: int, end: int) -> KernelRun:
    """Simulate the bars `begin`..`end` - 1."""
    columns = kernel.columns(grid, kernel.params(config))
    limits = kernel.limits(config, {})
    candidates = kernel.candidates(grid, columns, config, limits)
    exits = kernel.exits(grid, columns, kernel.exit_thresholds(config, {})[0])
    return run_account(grid, kernel, config, candidates, limits[0], exits, begin, end)


def run_account(
    grid: Grid,
    kernel: StrategyKernel,
    config: Config,
    candidates: Candidates,
    limits: Limits,
    exits: NDArray[np.uint8],
    begin: int,
    end: int,
) -> KernelRun:
    """Run the account of one parameter set with everything recorded."""
    room = len(candidates.bar) + len(grid.close)
    rows = np.empty((room, account.TRADE_COLUMNS))
    equity, held = np.empty(end - begin), np.empty(end - begin)
    counts, sums = np.zeros(account.COUNTS, np.int64), np.zeros(account.SUMS)
    found, admitted = candidates, np.empty(len(candidates.bar), np.int64)
    entries = research_kernel(account_rules.admit)(found.bar, found.side, found.values, grid.regimes, limits, admitted)
    count = research_kernel(account_kernel.simulate)(
        grid.first_ms, grid.step_ms, begin, end,
        *market_arguments(grid, instrument_table(grid.market), config),
        exits.reshape(1, *exits.shape),
        found.bar, found.symbol, found.side, found.stop, found.target, admitted[:entries],
        settings_row(config, kernel),
        np.empty((1, 0, account.REMEMBERED)), rows, equity, held, counts, sums,
    )  # fmt: skip
    assert count <= room
    symbols = tuple(item.symbol for item in grid.market.symbols)
    return KernelRun(trades_of(rows[:count], symbols, reasons_of(kernel)), equity, held, counts, sums)


def trades_of(rows: NDArray[np.float64], symbols: tuple[str, ...], reasons: tuple[str, ...]) -> Trades:
    """Return the kernel's trade rows as columns."""

    def whole(column: int, kind: Any) -> Any:
        return rows[:, column].astype(kind)

    def real(column: int) -> NDArray[np.float64]:
        return np.ascontiguousarray(rows[:, column])

    return Trades(
        symbols=symbols,
        reasons=reasons,
        symbol=whole(account.T_SYMBOL, np.int32),
        side=whole(account.T_SIDE, np.int8),
        decided_ms=whole(account.T_DECIDED, np.int64),
        opened_ms=whole(account.T_OPENED, np.int64),
        closed_ms=whole(account.T_CLOSED, np.int64),
        size=real(account.T_SIZE),
        entry_px=real(account.T_ENTRY),
        exit_px=real(account.T_EXIT),
        stop_px=real(account.T_STOP),
        exit_reason=whole(account.T_REASON, np.int8),
        entry_is_maker=whole(account.T_MAKER, np.bool_),
        gross_usd=real(account.T_GROSS),
        fees_usd=real(account.T_FEES),
        funding_usd=real(account.T_FUNDING),
        slippage_usd=real(account.T_SLIPPAGE),
        net_usd=real(account.T_NET),
        mae_usd=real(account.T_MAE),
        mfe_usd=real(account.T_MFE),
        missing_funding_hours=whole(account.T_MISSING, np.int32),
        last_stop_px=real(account.T_LAST_STOP),
    )
