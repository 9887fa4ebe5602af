"""Many parameter sets at once: those with the same indicator periods share columns, candidates and exit bits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_layout as account
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.engine import span_of
from perp_bot.backtest.grid import Grid, grid_of
from perp_bot.backtest.kernel_run import market_arguments
from perp_bot.backtest.kernels import kernel_of
from perp_bot.backtest.market import Market
from perp_bot.backtest.plain import plain_sums
from perp_bot.backtest.settings import instrument_table, settings_row
from perp_bot.backtest.strategy_kernel import Candidates, Limits, StrategyKernel
from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import periods_per_year
from perp_bot.strategies import registry

Column = NDArray[np.float64]
Matrix = NDArray[np.float64]
Value = float | int | str | bool

_MOST_EXIT_BYTES = 256 << 20  # of exit bits held at a time
_MOST_REMEMBERED = 500_000  # trades kept for the sets that take the same one (70 MB a thread)


@dataclass(frozen=True, slots=True, eq=False)
class SweepTable:
    """One value a point, in the order of `points`. Ratios are NaN where undefined (no trade, nothing lost, no risk)."""

    points: tuple[Mapping[str, Value], ...]
    trades: NDArray[np.int64]
    net_usd: Column
    gross_usd: Column
    fees_usd: Column
    funding_usd: Column
    slippage_usd: Column
    end_equity_usd: Column
    missing_funding_hours: NDArray[np.int64]
    sharpe: Column  # annualised
    sortino: Column  # annualised
    calmar: Column
    annual_return: Column  # fraction
    max_drawdown_pct: Column  # fraction
    win_rate: Column  # fraction
    profit_factor: Column


def with_values(config: Config, point: Mapping[str, Value]) -> Config:
    """Return the config with dotted keys set, e.g. {"signals.zscore_entry_threshold": 2.2}.

    Raises:
        UsageError: there is no such key.
    """
    sections: dict[str, dict[str, Value]] = {}
    for key, value in point.items():
        section, _, name = key.partition(".")
        if not hasattr(getattr(config, section, None), name):
            raise UsageError(f"there is no setting {key!r}")
        sections.setdefault(section, {})[name] = value
    changed = {section: replace(getattr(config, section), **values) for section, values in sections.items()}
    return replace(config, **changed)


def run_points(
    config: Config,
    market: Market,
    strategy_name: str,
    points: Sequence[Mapping[str, Value]],
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    threads: int | None = None,
    with_metrics: bool = True,
) -> SweepTable:
    """Simulate every point on (from_ms, to_ms]; the same as `engine.run` with each point's config.

    A strategy without a compiled form runs point by point in plain Python. `threads` None: one a core. Without
    metrics (trades and money alone, the ratios NaN) a trade that several points take is simulated once.
    """
    grid = grid_of(market)
    begin, end = span_of(grid, from_ms, to_ms)
    return run_points_on(config, grid, strategy_name, points, begin, end, threads=threads, with_metrics=with_metrics)


def run_points_on(
    config: Config,
    grid: Grid,
    strategy_name: str,
    points: Sequence[Mapping[str, Value]],
    begin: int,
    end: int,
    *,
    threads: int | None = None,
    with_metrics: bool = True,
) -> SweepTable:
    """Simulate every point on the bars `begin`..`end` - 1 of a grid."""
    kernel = kernel_of(strategy_name)
    sums = np.zeros((len(points), account.SUMS))
    if kernel is None:
        for place, point in enumerate(points):
            each = with_values(config, point)
            sums[place] = plain_sums(each, grid, registry.create(strategy_name, each), begin, end)
    else:
        workers = threads or os.cpu_count() or 1
        _run_compiled(grid, kernel, config, points, begin, end, sums, workers, remembers=not with_metrics)
    return table_of(points, sums, config, grid.market.timeframe, end - begin, with_metrics=with_metrics)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Parameter sets that share columns, candidates and a stack of exit bits; `places` are theirs among the points."""

    places: NDArray[np.int64]
    config: Config
    candidates: Candidates
    exits: NDArray[np.uint8]
    limits: Limits  # the distinct ones
    limits_row: NDArray[np.int64]  # the place of each set's
    settings: Matrix


def _run_compiled(
    grid: Grid,
    kernel: StrategyKernel,
    config: Config,
    points: Sequence[Mapping[str, Value]],
    begin: int,
    end: int,
    sums: Matrix,
    workers: int,
    *,
    remembers: bool,
) -> None:
    from perp_bot.backtest import sweep_kernel

    sweep = research_kernel(sweep_kernel.sweep)
    table = instrument_table(grid.market)
    no_trades, no_curve = np.empty((0, account.TRADE_COLUMNS)), np.empty(0)

    def run(block: _Block, part: NDArray[np.int64]) -> None:
        mine, counts = np.zeros((len(part), account.SUMS)), np.zeros((len(part), account.COUNTS), np.int64)
        found = block.candidates
        room = len(block.exits) * len(found.bar)
        is_small = remembers and room <= _MOST_REMEMBERED
        memory = np.zeros((len(block.exits), len(found.bar) if is_small else 0, account.REMEMBERED))
        sweep(
            grid.first_ms, grid.step_ms, begin, end,
            *market_arguments(grid, table, block.config),
            block.exits,
            found.bar, found.symbol, found.side, found.values, found.stop, found.target,
            block.limits, block.limits_row[part], block.settings[part], memory, no_trades, no_curve, counts, mine,
        )  # fmt: skip
        sums[block.places[part]] = mine

    with ThreadPoolExecutor(workers) as pool:
        for block in _blocks(grid, kernel, config, points):
            for_each = _parts(block, workers)
            for job in [pool.submit(run, block, part) for part in for_each]:
                job.result()


def _parts(block: _Block, workers: int) -> list[NDArray[np.int64]]:
    """Share the sets of a block out: those with the same exits to one thread, where they remember each other's trades.

    Within a thread those with the same limits follow each other: what these admit is then listed once.
    """
    exits = block.settings[:, account.EXIT_ROW]
    parts = np.array_split(np.argsort(exits, kind="stable"), min(workers, len(exits)))
    return [part[np.argsort(block.limits_row[part], kind="stable")] for part in parts]


def _blocks(
    grid: Grid, kernel: StrategyKernel, config: Config, points: Sequence[Mapping[str, Value]]
) -> Iterator[_Block]:
    """Group the points by everything but thresholds, and lay the thresholds out as columns."""
    slow = sorted({key for point in points for key in point} - kernel.threshold_keys)
    groups: dict[tuple[frozenset[str], tuple[Value, ...]], list[int]] = {}
    for place, point in enumerate(points):
        fixed = tuple([point[key] for key in slow if key in point]) if slow else ()
        groups.setdefault((frozenset(point), fixed), []).append(place)
    for (keys, _), places in groups.items():
        some = [points[place] for place in places]
        base = with_values(config, {key: some[0][key] for key in slow if key in keys})
        values = {
            key: np.array([point[key] for point in some], np.float64) for key in sorted(keys & kernel.threshold_keys)
        } or {"": np.zeros(len(places))}
        columns = kernel.columns(grid, kernel.params(base))
        limits = kernel.limits(base, values)
        found = kernel.candidates(grid, columns, base, limits)
        distinct, row = _distinct(kernel.exit_thresholds(base, values))
        flat, limits_row = _distinct(limits.reshape(len(places), -1))
        distinct_limits = flat.reshape(-1, *limits.shape[1:])
        most = max(1, _MOST_EXIT_BYTES // max(1, grid.close.size))
        for first in range(0, len(distinct), most):
            inside = np.flatnonzero((row >= first) & (row < first + most))
            exits = np.stack([kernel.exits(grid, columns, each) for each in distinct[first : first + most]])
            settings = np.repeat(settings_row(base, kernel)[np.newaxis], len(inside), axis=0)
            settings[:, account.EXIT_ROW] = row[inside] - first
            yield _Block(np.array(places)[inside], base, found, exits, distinct_limits, limits_row[inside], settings)


def _distinct(rows: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the distinct rows in the order they appear first, and the place of each row's among them."""
    seen: dict[bytes, int] = {}
    place = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in rows], np.int64)
    _, first = np.unique(place, return_index=True)
    return rows[first], place


def table_of(
    points: Sequence[Mapping[str, Value]],
    sums: Matrix,
    config: Config,
    timeframe: str,
    bars: int,
    *,
    with_metrics: bool,
) -> SweepTable:
    """Return sums of the kernel as figures; the formulas are those of `metrics`."""
    if not with_metrics:
        sums = sums.copy()
        sums[:, [account.S_R1, account.S_R2, account.S_DOWN2, account.S_DRAWDOWN]] = np.nan
    capital = "trading.capital_usd"
    start = np.array([float(point.get(capital, config.trading.capital_usd)) for point in points])
    year = periods_per_year(timeframe)
    count, end = sums[:, account.S_TRADES], sums[:, account.S_END_USD]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[:, account.S_R1] / bars
        variance = np.maximum(0.0, sums[:, account.S_R2] - bars * mean**2) / (bars - 1)
        annual = np.where(end > 0, (end / start) ** (year / bars) - 1.0, -1.0)
        drawdown = sums[:, account.S_DRAWDOWN]
        return SweepTable(
            points=tuple(points),
            trades=count.astype(np.int64),
            net_usd=sums[:, account.S_NET],
            gross_usd=sums[:, account.S_GROSS],
            fees_usd=sums[:, account.S_FEES],
            funding_usd=sums[:, account.S_FUNDING],
            slippage_usd=sums[:, account.S_SLIPPAGE],
            end_equity_usd=end,
            missing_funding_hours=sums[:, account.S_MISSING_HOURS].astype(np.int64),
            sharpe=_defined(mean / np.sqrt(variance) * np.sqrt(year)),
            sortino=_defined(mean / np.sqrt(sums[:, account.S_DOWN2] / bars) * np.sqrt(year)),
            calmar=_defined(annual / drawdown),
            annual_return=annual,
            max_drawdown_pct=drawdown,
            win_rate=_defined(sums[:, account.S_WINS] / count),
            profit_factor=_defined(sums[:, account.S_WON_USD] / sums[:, account.S_LOST_USD]),
        )


def _defined(values: Column) -> Column:
    return np.where(np.isfinite(values), values, np.nan)
