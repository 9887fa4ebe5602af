"""Ours in the comparison with the peers, and with everything that only ours has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.engine import run as run_engine
from perp_bot.backtest.engine_result import result_of
from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.kernel_run import KernelRun, run_account, run_kernel
from perp_bot.backtest.market import Market
from perp_bot.backtest.metrics import Metrics, measure
from perp_bot.backtest.strategy_kernel import Candidates, StrategyKernel
from perp_bot.bench import research_case
from perp_bot.bench.measure import Measurement, summarize
from perp_bot.bench.reference import Trade
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.config.model import Config
from perp_bot.strategies import mean_reversion

GIVEN, INDICATORS_GIVEN, WITH_INDICATORS = "signals given", "indicators given", "with indicators"
STATISTICS = "signals given, statistics"


class Engine:
    """One kernel on one market, by stages: what is measured without indicators has them made beforehand."""

    def __init__(self, market: Market, kernel: StrategyKernel, config: Config) -> None:
        self.grid = grid_of(market)
        self._kernel, self._config = kernel, config
        self._columns = kernel.columns(self.grid, kernel.params(config))
        self._limits = kernel.limits(config, {})
        self._thresholds = kernel.exit_thresholds(config, {})[0]
        self._candidates = kernel.candidates(self.grid, self._columns, config, self._limits)
        self._exits = kernel.exits(self.grid, self._columns, self._thresholds)

    def with_indicators(self) -> KernelRun:
        """Run everything from candles to trades and equity."""
        return run_kernel(self.grid, self._kernel, self._config, 0, self.grid.bars)

    def indicators_given(self) -> KernelRun:
        """Run from indicator columns to trades and equity."""
        candidates = self._kernel.candidates(self.grid, self._columns, self._config, self._limits)
        return self._account(candidates, self._kernel.exits(self.grid, self._columns, self._thresholds))

    def signals_given(self) -> KernelRun:
        """Run the account alone: from entries and exits to trades and equity."""
        return self._account(self._candidates, self._exits)

    def signals_given_and_measured(self) -> Metrics:
        """Run the account alone, and measure what it gave."""
        found, grid = self.signals_given(), self.grid
        return measure(
            result_of(
                grid, self._config, mean_reversion.NAME, 0, grid.bars,
                trades=found.trades, equity=found.equity_usd, held=found.held_usd, blocked={}, open_positions=0,
                missing_hours=0, resumes=0, is_partial=False,
            )
        )  # fmt: skip

    def _account(self, candidates: Candidates, exits: NDArray[np.uint8]) -> KernelRun:
        limits = self._limits[0]
        return run_account(self.grid, self._kernel, self._config, candidates, limits, exits, 0, self.grid.bars)


def like_peers(market: Market) -> Engine:
    """Return ours with the semantics of the peers."""
    return Engine(market, research_case.ReversionKernel(), research_case.peer_config())


def peer_cases(engine: Engine) -> dict[str, Callable[[], object]]:
    """Return what is timed beside the peers' cases of the same names."""
    return {
        GIVEN: engine.signals_given,
        INDICATORS_GIVEN: engine.indicators_given,
        WITH_INDICATORS: engine.with_indicators,
        STATISTICS: engine.signals_given_and_measured,
    }


def trades_of(engine: Engine) -> list[Trade]:
    """Return the trades of a run, as the reference gives its own."""
    return research_case.rows_of(engine.with_indicators().trades, engine.grid.first_ms, engine.grid.step_ms)


def all_semantics(market: Market, several: Market, rounds: int, subject: str) -> list[Measurement]:
    """Measure the shipped strategy with every rule at its default: one symbol, then several in one account."""
    config = default_config(market)
    one = Engine(market, MeanReversionKernel(), config)
    many = Engine(several, MeanReversionKernel(), default_config(several))
    result = run_engine(config, market, mean_reversion.NAME)
    measure(result)
    rows = market.rows
    trades = {"one": len(one.indicators_given().trades), "many": len(many.indicators_given().trades)}
    calls = {
        "all semantics, signals given": (one.signals_given, rows),
        "all semantics, indicators given": (one.indicators_given, rows),
        "all semantics, with indicators": (one.with_indicators, rows),
        "all semantics, engine.run": (lambda: run_engine(config, market, mean_reversion.NAME), rows),
        "metrics and equity curve": (lambda: measure(result), rows),
        f"{len(several.symbols)} symbols in one account, indicators given": (many.indicators_given, several.rows),
        f"{len(several.symbols)} symbols in one account, with indicators": (many.with_indicators, several.rows),
    }
    kept = "limit then taker, slippage, hourly funding, liquidation, every gate at its default"
    details = {
        "all semantics, indicators given": f"goal 12; {trades['one']:,} trades; {kept}",
        "metrics and equity curve": "goal 5",
        f"{len(several.symbols)} symbols in one account, indicators given": f"goal 12; {trades['many']:,} trades",
    }
    seconds = in_turn({name: clocked(call) for name, (call, _) in calls.items()}, rounds)
    return [
        summarize(subject, name, "ns/row", seconds[name], scale=1e9 / count, detail=details.get(name, ""))
        for name, (_, count) in calls.items()
    ]


def default_config(market: Market) -> Config:
    plain = Config()
    return replace(
        plain,
        trading=replace(plain.trading, symbols=tuple(item.symbol for item in market.symbols), capital_usd=100_000.0),
        data=replace(plain.data, primary_timeframe=market.timeframe, timeframes=(market.timeframe,)),
    )
