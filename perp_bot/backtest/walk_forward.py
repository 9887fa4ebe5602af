"""Walk-forward: parameters chosen on a training window are judged on the window after it, again and again.

- In each training window the whole grid is run; the set with the highest objective among those with at least
  `LEAST_TRADES` trades is chosen, the first of equals. Where no set has that many, the settings in use stay.
- Indicators are warm at the first close of a window: their history is what lies before it.
- The first test window begins with `trading.capital_usd`, each further one with what the one before ended with, as if
  the operator set the capital to it; limits begin anew. Training windows have the same capital.
  A position that is open at its end is closed at the last close, for the taker fee and the mean slippage.
- The stitched equity is the test windows one after another. Nothing in them was seen when their parameters were chosen.
- The last test window is kept back: an ordinary run works on a market that ends before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.data_notes import notes_of
from perp_bot.backtest.engine import RunOptions, run, span_of
from perp_bot.backtest.grid import Grid, grid_of
from perp_bot.backtest.market import Market
from perp_bot.backtest.market_cut import until
from perp_bot.backtest.parameters import Axis, Point, Value, grid_points, lawful, refuse_too_many, value_in
from perp_bot.backtest.parameters import count_of as grid_size
from perp_bot.backtest.results import BacktestResult, Trades
from perp_bot.backtest.sweep import SweepTable, run_points_on, with_values
from perp_bot.backtest.walk_windows import Schedule, Window, schedule
from perp_bot.config.model import Config
from perp_bot.core.counting import counted
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import DAY_MS, iso
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies.parameters import params_of

OBJECTIVES = {"sharpe": "sharpe", "calmar": "calmar", "net": "net_usd"}  # name -> column of a sweep
LEAST_TRADES = 5
Advance = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """What to do."""

    train_days: int
    test_days: int
    step_days: int
    anchored: bool
    objective: str
    axes: tuple[Axis, ...]
    use_final: bool = False


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What one window gave. Objectives are None where they are not defined."""

    window: Window
    is_final: bool
    chosen: Point  # all parameters of the grid; the settings in use where no set had enough trades
    is_fallback: bool
    capital_usd: float  # that training and test begin with
    train_objective: float | None
    train_net_usd: float
    train_trades: int
    test_objective: float | None
    test_net_usd: float  # equity at the end less start: open positions and their closing costs included
    test_trades: int
    closing_cost_usd: float  # of the position that the window's end closed
    train_missing_hours: int = 0  # held without a known funding rate: above 0 the figures are incomplete
    test_missing_hours: int = 0

    @property
    def train_return(self) -> float:
        """Net of the training window over its capital, a fraction."""
        return self.train_net_usd / self.capital_usd

    @property
    def test_return(self) -> float:
        """Net of the test window over its capital, a fraction."""
        return self.test_net_usd / self.capital_usd


@dataclass(frozen=True, slots=True)
class Stability:
    """How much a parameter moved from window to window."""

    key: str
    name: str
    chosen: tuple[Value, ...]  # by window
    most_common: Value
    share: float  # of the windows that chose the most common value
    spread: float  # standard deviation of the chosen values over the width of the axis; 0: never moved, 0.5: all over


@dataclass(frozen=True, slots=True, eq=False)
class WalkForward:
    """Everything a walk-forward says."""

    schedule: Schedule
    windows: tuple[WindowResult, ...]
    stability: tuple[Stability, ...]
    points: int  # parameter sets of the grid
    left_out: int
    trial_sharpes: tuple[float, ...]  # annualised, of every set over the whole test span: what luck has to choose from
    stitched: BacktestResult
    is_partial: bool

    @property
    def is_incomplete(self) -> bool:
        """Whether some window, training or test, was held through hours without a known funding rate."""
        return any(item.train_missing_hours or item.test_missing_hours for item in self.windows)

    @property
    def efficiency(self) -> float | None:
        """Return a day out of sample over return a day in sample; None where nothing was gained in sample."""
        inside_days = sum(item.window.train_to_ms - item.window.train_from_ms for item in self.windows) / DAY_MS
        outside_days = sum(item.window.test_to_ms - item.window.train_to_ms for item in self.windows) / DAY_MS
        inside = sum(item.train_return for item in self.windows)
        if inside <= 0 or not inside_days or not outside_days:
            return None
        return sum(item.test_return for item in self.windows) / outside_days / (inside / inside_days)


def plan(config: Config, market: Market, options: WalkOptions, from_ms: int | None, to_ms: int | None) -> Schedule:
    """Return the windows of the stored span.

    Raises:
        UsageError: too little data; says what is needed.
    """
    grid = grid_of(market)
    begin, end = span_of(grid, from_ms, to_ms)
    warm = decision_window(params_of(config))
    first = max(begin, warm - 1)
    if first >= end:
        raise UsageError(
            f"warm-up takes {warm:,} {market.timeframe} candles ({warm * grid.step_ms / DAY_MS:g} days), there are "
            f"{end:,}; walk-forward needs them and {options.train_days + options.step_days + options.test_days} days"
        )
    return schedule(
        grid.close_ms(first - 1) if first else grid.first_ms, grid.close_ms(end - 1), train_days=options.train_days,
        test_days=options.test_days, step_days=options.step_days, anchored=options.anchored,
    )  # fmt: skip


def walk_forward(
    config: Config,
    market: Market,
    strategy: str,
    options: WalkOptions,
    windows: Schedule,
    advance: Advance,
) -> WalkForward:
    """Run it; Ctrl-C after the first window gives the finished ones, marked partial.

    Raises:
        UsageError: a grid above the limit, or without a set that can be a config.
    """
    refuse_too_many(grid_size(options.axes), "grid")
    points, left_out, reason = lawful(config, grid_points(options.axes))
    if not points:
        raise UsageError(f"the grid has no set that can be a config: {reason}")
    last = windows.final if options.use_final else windows.windows[-1]
    known = market if options.use_final else until(market, last.test_to_ms)
    grid = grid_of(known)
    todo = (*windows.windows, *((windows.final,) if options.use_final else ()))
    done: list[tuple[WindowResult, BacktestResult]] = []
    is_partial = False
    capital = config.trading.capital_usd
    try:
        for place, window in enumerate(todo):
            one, result = _window(config, known, grid, strategy, options, points, window, capital)
            done.append((replace(one, is_final=window is windows.final), result))
            capital += one.test_net_usd
            advance((place + 1) / (len(todo) + 1))
            if capital <= 0:
                break
        span = (todo[0].train_to_ms, todo[-1].test_to_ms)
        over_all = run_points_on(config, grid, strategy, points, *span_of(grid, *span))
        sharpes = tuple(float(value) for value in over_all.sharpe if math.isfinite(value))
    except KeyboardInterrupt:
        if not done:
            raise
        is_partial, sharpes = True, ()
    advance(1.0)
    found, tested = [one for one, _ in done], [result for _, result in done]
    return WalkForward(
        schedule=windows, windows=tuple(found), stability=tuple(_stability(options.axes, found)),
        points=len(points), left_out=left_out, trial_sharpes=sharpes,
        stitched=_stitched(config, grid, found, tested, len(points), is_partial=is_partial), is_partial=is_partial,
    )  # fmt: skip


def _window(
    config: Config,
    market: Market,
    grid: Grid,
    strategy: str,
    options: WalkOptions,
    points: Sequence[Point],
    window: Window,
    capital_usd: float,
) -> tuple[WindowResult, BacktestResult]:
    own = with_values(config, {"trading.capital_usd": capital_usd})
    training = span_of(grid, window.train_from_ms, window.train_to_ms)
    table = run_points_on(own, grid, strategy, points, *training)
    best = choose(table, options.objective)
    if best is None:
        chosen: Point = {axis.key: value_in(config, axis.key) for axis in options.axes}
        table = run_points_on(own, grid, strategy, [chosen], *training)
    else:
        chosen = points[best]
    row = 0 if best is None else best
    tuned = with_values(own, chosen)
    span = RunOptions(window.train_to_ms, window.test_to_ms)
    result, cost = closed_at_end(tuned, run(tuned, market, strategy, span))
    judged = run_points_on(tuned, grid, strategy, [{}], *span_of(grid, span.from_ms, span.to_ms))
    column = OBJECTIVES[options.objective]
    return WindowResult(
        window=window, is_final=False, chosen=chosen, is_fallback=best is None, capital_usd=capital_usd,
        train_objective=_known(getattr(table, column)[row]),
        train_net_usd=float(table.end_equity_usd[row]) - capital_usd,
        train_trades=int(table.trades[row]),
        test_objective=_known(getattr(judged, column)[0]),
        test_net_usd=float(result.equity_usd[-1]) - capital_usd,
        test_trades=len(result.trades),
        closing_cost_usd=cost,
        train_missing_hours=int(table.missing_funding_hours[row]),
        test_missing_hours=result.missing_funding_hours,
    ), result  # fmt: skip


def choose(table: SweepTable, objective: str) -> int | None:
    """Return the place of the best set: highest objective of those with enough trades, the first of equals."""
    values = np.where(table.trades >= LEAST_TRADES, getattr(table, OBJECTIVES[objective]), np.nan)
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def closed_at_end(config: Config, result: BacktestResult) -> tuple[BacktestResult, float]:
    """Return the result with what closing the open position at the last close costs taken off, and that cost (USD)."""
    costs = config.backtest
    rate = costs.taker_fee_rate + (costs.slippage_min_pct + costs.slippage_max_pct) / 2
    cost = float(result.held_usd[-1]) * rate
    equity = result.equity_usd.copy()
    equity[-1] -= cost
    return replace(result, equity_usd=equity), cost


def _stability(axes: Sequence[Axis], found: Sequence[WindowResult]) -> list[Stability]:
    out = []
    for axis in axes:
        chosen = tuple(item.chosen[axis.key] for item in found)
        common = max(dict.fromkeys(chosen), key=chosen.count)
        width = float(max(axis.values)) - float(min(axis.values))
        spread = float(np.std([float(value) for value in chosen])) / width if width else 0.0
        out.append(Stability(axis.key, axis.name, chosen, common, chosen.count(common) / len(chosen), spread))
    return out


def _stitched(
    config: Config,
    grid: Grid,
    found: Sequence[WindowResult],
    tested: Sequence[BacktestResult],
    points: int,
    *,
    is_partial: bool,
) -> BacktestResult:
    """Return the test windows as one account, each on top of the one before."""
    first = tested[0]
    start = config.trading.capital_usd
    ends = sum(1 for one in found if one.closing_cost_usd > 0)
    span = span_of(grid, found[0].window.train_to_ms, found[-1].window.test_to_ms)
    missing_hours = sum(result.missing_funding_hours for result in tested)
    notes = [*notes_of(grid, config, *span, missing_hours)]
    if len(found) == 1:
        notes.append("1 test window")
    else:
        notes.append(
            f"{len(found)} test windows stitched; each begins with what the one before left, its limits not yet used"
        )
    if found[-1].capital_usd + found[-1].test_net_usd <= 0:
        notes.append("the account was used up: no window after that")
    if ends:
        cost = sum(one.closing_cost_usd for one in found)
        notes.append(
            f"positions that were open at the end of {counted(ends, 'window')} are closed there "
            f"for {cost:.2f} USD; they are not among the trades"
        )
    blocked: dict[str, int] = {}
    for result in tested:
        for rule, count in result.blocked.items():
            blocked[rule] = blocked.get(rule, 0) + count
    return replace(
        first,
        rows=sum(result.rows for result in tested),
        trades=_joined_trades([result.trades for result in tested]),
        close_ms=np.concatenate([result.close_ms for result in tested]),
        equity_usd=np.concatenate([result.equity_usd for result in tested]),
        held_usd=np.concatenate([_closed(result.held_usd) for result in tested]),
        blocked=blocked,
        open_positions=0,
        missing_funding_hours=missing_hours,
        resumes=sum(result.resumes for result in tested),
        start_equity_usd=start,
        trials=points,
        notes=tuple(notes),
        is_partial=is_partial,
    )


def _closed(held_usd: NDArray[np.float64]) -> NDArray[np.float64]:
    out = held_usd.copy()
    out[-1] = 0.0
    return out


def _joined_trades(parts: Sequence[Trades]) -> Trades:
    names = [name for name in Trades.__dataclass_fields__ if name not in ("symbols", "reasons")]
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Trades(symbols=parts[0].symbols, reasons=parts[0].reasons, **columns)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def as_json(found: WalkForward, options: WalkOptions) -> dict[str, Any]:
    """Return what is stored and printed, as plain values."""
    plan_ = found.schedule
    final = plan_.final
    return {
        "train_days": plan_.train_days,
        "test_days": plan_.test_days,
        "step_days": plan_.step_days,
        "anchored": plan_.is_anchored,
        "objective": options.objective,
        "axes": {axis.key: list(axis.values) for axis in options.axes},
        "points": found.points,
        "left_out": found.left_out,
        "is_partial": found.is_partial,
        "efficiency": found.efficiency,
        "final": {
            "from_ms": final.train_to_ms, "to_ms": final.test_to_ms, "days": plan_.test_days,
            "used": any(item.is_final for item in found.windows),
        },
        "windows": [
            {
                "train_from": iso(item.window.train_from_ms), "train_to": iso(item.window.train_to_ms),
                "test_to": iso(item.window.test_to_ms), "is_final": item.is_final, "chosen": dict(item.chosen),
                "is_fallback": item.is_fallback, "capital_usd": item.capital_usd,
                "train_return": item.train_return, "test_return": item.test_return,
                "train_objective": item.train_objective,
                "train_net_usd": item.train_net_usd, "train_trades": item.train_trades,
                "test_objective": item.test_objective, "test_net_usd": item.test_net_usd,
                "test_trades": item.test_trades, "closing_cost_usd": item.closing_cost_usd,
                "train_missing_funding_hours": item.train_missing_hours,
                "test_missing_funding_hours": item.test_missing_hours,
            }
            for item in found.windows
        ],
        "stability": [
            {"parameter": item.key, "chosen": list(item.chosen), "most_common": item.most_common,
             "share": item.share, "spread": item.spread}
            for item in found.stability
        ],
    }  # fmt: skip


def used_before(
    records: Sequence[tuple[str, int, Mapping[str, Any], str, str]], window: Window, strategy: str, timeframe: str
) -> list[tuple[str, int]]:
    """Return (run, when) of the earlier runs that looked at a part of the final window with this strategy.

    `records` are (id, saved ms, extra, strategy, timeframe) of stored walk-forwards.
    """
    out = []
    for run_id, saved_ms, extra, of, on in records:
        final = extra.get("final") or {}
        overlaps = final.get("from_ms", 0) < window.test_to_ms and final.get("to_ms", 0) > window.train_to_ms
        if final.get("used") and overlaps and of == strategy and on == timeframe:
            out.append((run_id, saved_ms))
    return out
