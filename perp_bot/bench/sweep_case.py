"""The sweep that ours and vectorbt are measured on: thresholds of a long-only mean reversion, checked by point."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.market import Candles
from perp_bot.bench import reference, research_case
from perp_bot.bench.reference import Flags, Floats
from perp_bot.core.errors import PerpBotError
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import decision_window

# What a point sets, in the order of its numbers.
KEYS = (
    "signals.zscore_entry_threshold",
    "signals.zscore_exit_threshold",
    "signals.rsi_oversold",
    "signals.adx_threshold",
)
BLOCKS = (10, 25, 100)
CHECKED = 20  # points that are compared with the reference in every run
TOLERANCE_USD = 1e-9 * research_case.CAPITAL_USD

Point = Sequence[float]
Figures = NDArray[np.float64]  # a row a point: trades, PnL in USD


def grid(quick: bool) -> NDArray[np.float64]:
    """Return the points, 10 x 5 x 4 x 5, which make some 87,000 trades in 100,000 candles; quick: a few of them."""
    axes = (
        np.round(2.0 + 0.2 * np.arange(10), 1),
        (0.1, 0.2, 0.3, 0.4, 0.5),
        (24.0, 27.0, 30.0, 33.0),
        (16.0, 19.0, 22.0, 25.0, 28.0),
    )
    points = np.array(list(itertools.product(*axes)))
    return points[::37] if quick else points


@dataclass(frozen=True, slots=True, eq=False)
class SweepTask:
    """One sweep: long only, fee and slippage folded, nothing that a peer does not know."""

    candles: Candles
    points: NDArray[np.float64]
    zscore: Floats
    rsi: Floats
    adx: Floats
    size: Floats  # coins that an entry decided at a close buys
    stop_px: Floats  # of such an entry

    @classmethod
    def of(cls, candles: Candles, points: NDArray[np.float64]) -> SweepTask:
        """Make the columns that every engine shares."""
        next_open = np.append(candles.open[1:], candles.close[-1])
        return cls(
            candles,
            points,
            batch.zscore(candles.close, 20),
            batch.rsi(candles.close, 14),
            batch.adx(candles.high, candles.low, candles.close, 14),
            research_case.bought_coins(candles.close),
            research_case.stop_below(next_open, candles.close),
        )

    def signals(self, point: Point) -> tuple[Flags, Flags]:
        """Return when a point enters and leaves."""
        entry_z, exit_z, rsi_below, adx_below = point
        with np.errstate(invalid="ignore"):
            enter = (self.zscore < -entry_z) & (self.rsi < rsi_below) & (self.adx < adx_below)
            leave = np.abs(self.zscore) < exit_z
        enter[: first_bar()] = False
        return enter, leave

    def due(self, point: Point, *, like_vectorbt: bool = False) -> tuple[float, float]:
        """Return trades and PnL of a point by the plain loop."""
        enter, leave = self.signals(point)
        trades = reference.at_next_open(
            self.candles.open, self.candles.low, enter, leave, self.stop_px, research_case.FEE,
            like_vectorbt=like_vectorbt,
        )  # fmt: skip
        return float(len(trades)), float(sum(trade.pnl_usd * self.size[trade.entry_bar - 1] for trade in trades))

    def write(self, folder: Path) -> None:
        """Write what the peer's worker reads."""
        for name in ("open", "high", "low", "close"):
            np.save(folder / f"{name}.npy", getattr(self.candles, name))
        for name in ("points", "zscore", "rsi", "adx", "size", "stop_px"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        settings = {"fee": research_case.FEE, "first_bar": first_bar(), "blocks": BLOCKS}
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


def first_bar() -> int:
    """Return the first bar that may enter: the one that fills the decision window."""
    return decision_window(IndicatorParams()) - 1


def check_sampled(task: SweepTask, ours: Figures) -> str:
    """Return in words how points spread over the grid agree with the reference.

    Raises:
        PerpBotError: one of them does not.
    """
    if not ours[:, 0].sum() > 0:
        raise PerpBotError("the sweep makes no trade: equality of nothing proves nothing")
    sample = np.unique(np.linspace(0, len(task.points) - 1, CHECKED).astype(int))
    for place in sample.tolist():
        _check_point("ours", task, place, ours[place], task.due(task.points[place].tolist()))
    return f"{len(sample)} points equal to the plain loop"


def check_vectorbt(task: SweepTask, ours: Figures, theirs: Figures) -> str:
    """Return on how many points vectorbt gives the same trades and PnL as ours.

    Raises:
        PerpBotError: a point differs, and not because of the semantics of its stops.
    """
    is_equal = (ours[:, 0] == theirs[:, 0]) & (np.abs(ours[:, 1] - theirs[:, 1]) <= TOLERANCE_USD)
    for place in np.flatnonzero(~is_equal).tolist():
        point = task.points[place].tolist()
        _check_point("ours", task, place, ours[place], task.due(point))
        _check_point("vectorbt", task, place, theirs[place], task.due(point, like_vectorbt=True))
    equal = int(is_equal.sum())
    rest = len(ours) - equal
    return f"{equal:,} points equal" + (f", {rest:,} differ by its stops alone" if rest else "")


def _check_point(who: str, task: SweepTask, place: int, found: NDArray[np.float64], due: tuple[float, float]) -> None:
    if found[0] != due[0] or not abs(found[1] - due[1]) <= TOLERANCE_USD:
        point = dict(zip(KEYS, task.points[place].tolist(), strict=True))
        raise PerpBotError(
            f"{who}: {found[0]:.0f} trades and {found[1]:.6f} USD at {point}, due are {due[0]:.0f} and {due[1]:.6f}"
        )
