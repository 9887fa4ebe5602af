"""Sensitivity: what becomes of a strategy when its parameters are a little different.

The neighbourhood is every parameter set that was tried: one at a time, each value of each axis with everything else as
it is in use; of a grid, every combination. A set is profitable when the account ends above its start, open positions
included. A strategy is called robust when the settings in use are profitable and so is `ROBUST_SHARE` of the
neighbourhood: a peak that its neighbours do not share is most likely luck.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.parameters import (
    Axis,
    Point,
    Value,
    checked,
    count_of,
    grid_points,
    lawful,
    refuse_too_many,
    value_in,
)
from perp_bot.backtest.sweep import SweepTable
from perp_bot.backtest.sweep_blocks import Swept
from perp_bot.config.model import Config
from perp_bot.core.counting import counted
from perp_bot.core.errors import UsageError

ROBUST_SHARE = 0.7
_MOST_MAPS = 6  # heat maps of a grid with many axes


@dataclass(frozen=True, slots=True)
class Heatmap:
    """One figure over two parameters; `values[row][column]` belongs to `y[row]` and `x[column]`."""

    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    values: tuple[tuple[float | None, ...], ...]  # None: not tried, or left out
    chosen: tuple[float, float] | None = None  # the settings in use, where they are on the map
    others: int = 0  # how many further parameters differ; the value is the median over them
    is_incomplete: bool = False  # some of the values lack funding of hours without a known rate


@dataclass(frozen=True, slots=True)
class Strip:
    """One parameter, everything else as in use: profit (USD) of each value; None where it was not tried."""

    key: str
    name: str
    in_use: Value
    values: tuple[Value, ...]
    profit_usd: tuple[float | None, ...]
    trades: tuple[int | None, ...]
    is_incomplete: bool = False  # some of them lack funding of hours without a known rate

    @property
    def share_profitable(self) -> float | None:
        """Share of the tried values that end above the start."""
        return share_of(self.profit_usd)


@dataclass(frozen=True, slots=True)
class Plan:
    """The parameter sets of a run: the first one is the settings in use."""

    axes: tuple[Axis, ...]
    is_grid: bool
    points: tuple[Point, ...]
    left_out: int  # combinations that cannot be a config
    left_out_reason: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """What the neighbourhood looks like."""

    plan: Plan
    swept: Swept
    profit_usd: NDArray[np.float64]  # by finished point
    missing_hours: NDArray[np.int64]  # held without a known funding rate, by finished point
    base_profit_usd: float | None  # None: interrupted before the settings in use were run
    share_profitable: float
    neighbours: int
    strips: tuple[Strip, ...]
    maps: tuple[Heatmap, ...]
    best: int  # place of the highest profit among the finished points

    @property
    def is_incomplete(self) -> bool:
        """Whether a set was held through hours without a known funding rate."""
        return bool(self.missing_hours.any())

    @property
    def lacks_in_use(self) -> bool:
        """Whether the settings in use were; False where they were not run."""
        return bool(self.missing_hours[self.swept.places == 0].any())

    @property
    def is_robust(self) -> bool:
        """Whether the settings in use are profitable, and enough of what is around them."""
        return (self.base_profit_usd or 0.0) > 0 and self.share_profitable >= ROBUST_SHARE


def share_of(profits: Sequence[float | None]) -> float | None:
    """Return the share of the known profits that are above 0; None when none is known."""
    known = [value for value in profits if value is not None]
    return sum(value > 0 for value in known) / len(known) if known else None


def one_at_a_time(config: Config, axes: Sequence[Axis]) -> Plan:
    """Return each value of each axis with everything else as in use.

    Raises:
        UsageError: more sets than the limit; nothing to vary.
    """
    count = sum(len(axis.values) for axis in axes)
    refuse_too_many(count, "one at a time")

    def made() -> Iterator[Point]:
        for axis in axes:
            for value in axis.values:
                point = {axis.key: checked(axis.key, value, "one at a time")}
                if value != value_in(config, axis.key):
                    yield point

    return _plan(config, axes, made(), is_grid=False)


def cross(config: Config, axes: Sequence[Axis]) -> Plan:
    """Return every combination of the axes.

    Raises:
        UsageError: more sets than the limit; no combination can be a config.
    """
    refuse_too_many(count_of(axes), "grid")
    in_use = {axis.key: value_in(config, axis.key) for axis in axes}
    return _plan(config, axes, (point for point in grid_points(axes) if point != in_use), is_grid=True)


def _plan(config: Config, axes: Sequence[Axis], made: Iterator[Point], *, is_grid: bool) -> Plan:
    points, left_out, reason = lawful(config, made)
    if not points:
        raise UsageError(f"nothing to vary: {reason or 'every value is the one in use'}")
    return Plan(tuple(axes), is_grid, ({}, *points), left_out, reason)


def read(config: Config, plan: Plan, swept: Swept) -> Sensitivity:
    """Return what the finished points say."""
    table = swept.table
    start = np.array([float(point.get("trading.capital_usd", config.trading.capital_usd)) for point in table.points])
    profit = table.end_equity_usd - start
    found = {int(place): row for row, place in enumerate(swept.places)}
    around = profit[swept.places > 0] if _is_base_apart(config, plan) else profit
    return Sensitivity(
        plan=plan,
        swept=swept,
        profit_usd=profit,
        missing_hours=table.missing_funding_hours,
        base_profit_usd=float(profit[found[0]]) if 0 in found else None,
        share_profitable=float((around > 0).mean()) if len(around) else 0.0,
        neighbours=len(around),
        strips=() if plan.is_grid else tuple(_strips(config, plan, profit, found, table)),
        maps=tuple(_maps(config, plan, profit, found, table.missing_funding_hours)) if plan.is_grid else (),
        best=int(np.argmax(profit)),
    )


def _is_base_apart(config: Config, plan: Plan) -> bool:
    """Whether the settings in use are not themselves a value of the axes: then they are no neighbour of theirs."""
    if plan.is_grid:
        return any(value_in(config, axis.key) not in axis.values for axis in plan.axes)
    return all(value_in(config, axis.key) not in axis.values for axis in plan.axes)


def _strips(
    config: Config, plan: Plan, profit: NDArray[np.float64], found: Mapping[int, int], table: SweepTable
) -> Iterator[Strip]:
    rows = {tuple(point.items()): found.get(place) for place, point in enumerate(plan.points)}
    for axis in plan.axes:
        in_use = value_in(config, axis.key)
        places = [rows.get(() if value == in_use else ((axis.key, value),)) for value in axis.values]
        yield Strip(
            axis.key, axis.name, in_use, tuple(axis.values),
            tuple(None if row is None else float(profit[row]) for row in places),
            tuple(None if row is None else int(table.trades[row]) for row in places),
            any(row is not None and table.missing_funding_hours[row] > 0 for row in places),
        )  # fmt: skip


def _maps(
    config: Config, plan: Plan, profit: NDArray[np.float64], found: Mapping[int, int], missing: NDArray[np.int64]
) -> Iterator[Heatmap]:
    in_use = {axis.key: value_in(config, axis.key) for axis in plan.axes}
    for y, x in list(combinations(plan.axes, 2))[:_MOST_MAPS]:
        cells: dict[tuple[Value, Value], list[float]] = {}
        for place, row in found.items():
            point = plan.points[place] or in_use
            cells.setdefault((point[y.key], point[x.key]), []).append(float(profit[row]))
        values = tuple(
            tuple(float(np.median(cells[b, a])) if (b, a) in cells else None for a in x.values) for b in y.values
        )
        is_on = in_use[x.key] in x.values and in_use[y.key] in y.values
        yield Heatmap(
            x.name, y.name, tuple(map(float, x.values)), tuple(map(float, y.values)), values,
            (float(in_use[x.key]), float(in_use[y.key])) if is_on else None, len(plan.axes) - 2,
            bool(missing.any()),
        )  # fmt: skip


def funding_note(found: Sensitivity) -> str | None:
    """Return which figures lack funding; None where none does."""
    lacking = found.missing_hours[found.missing_hours > 0]
    if not len(lacking):
        return None
    return (
        f"{len(lacking):,} of {counted(len(found.missing_hours), 'set')} were held through hours without a known "
        f"funding rate (up to {counted(int(lacking.max()), 'hour')}): nothing is booked for them, their figures (*) "
        "are incomplete"
    )


def as_json(config: Config, found: Sensitivity) -> dict[str, Any]:
    """Return what is stored and printed, as plain values."""
    table = found.swept.table

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "mode": "grid" if found.plan.is_grid else "one at a time",
        "axes": {axis.key: list(axis.values) for axis in found.plan.axes},
        "in_use": {axis.key: value_in(config, axis.key) for axis in found.plan.axes},
        "asked": found.swept.asked,
        "finished": len(found.swept.places),
        "is_partial": found.swept.is_partial,
        "left_out": found.plan.left_out,
        "left_out_reason": found.plan.left_out_reason,
        "base_profit_usd": found.base_profit_usd,
        "neighbours": found.neighbours,
        "share_profitable": found.share_profitable,
        "robust_share": ROBUST_SHARE,
        "is_robust": None if found.swept.is_partial else found.is_robust,  # of a part there is no verdict
        "incomplete_sets": int((found.missing_hours > 0).sum()),
        "points": [
            {
                "point": dict(point), "profit_usd": float(found.profit_usd[row]), "trades": int(table.trades[row]),
                "net_usd": float(table.net_usd[row]), "sharpe": known(float(table.sharpe[row])),
                "max_drawdown": known(float(table.max_drawdown_pct[row])),
                "missing_funding_hours": int(found.missing_hours[row]),
            }
            for row, point in enumerate(table.points)
        ],
        "heatmaps": [
            {"x_name": item.x_name, "y_name": item.y_name, "x": list(item.x), "y": list(item.y),
             "values": [list(row) for row in item.values], "chosen": item.chosen, "others": item.others}
            for item in found.maps
        ],
    }  # fmt: skip
