"""The simulation: one account, all symbols, boundary by boundary, as the daemon does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.backtest.market import Market
from perp_bot.backtest.results import BacktestResult
from perp_bot.config.model import Config


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run. Decisions are made at closes in (from_ms, to_ms]; warm-up is taken from the candles before."""

    from_ms: int | None = None  # None: everything stored
    to_ms: int | None = None
    plain: bool = False  # run the strategy in plain Python even where it has a kernel
    progress: Callable[[float], None] | None = None  # called with the share done, 0 to 1


def run(config: Config, market: Market, strategy_name: str, options: RunOptions | None = None) -> BacktestResult:
    """Simulate `strategy_name` on `market` with the settings of `config`."""
    raise NotImplementedError
