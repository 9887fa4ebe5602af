"""Monte Carlo bands: what the same trades could have come to in another order, or drawn again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_PATHS, MIN_PATHS = 1000, 200
_MAX_DRAWS = 1_000_000  # so that a result of many trades does not take seconds
_CHUNK = 500_000  # draws at a time: memory stays at a few tens of MB
_POINTS = 200  # of a band's curve


@dataclass(frozen=True, slots=True, eq=False)
class TradeBands:
    """Quantiles (`QUANTILES`) over random paths of the trades' nets."""

    paths: int
    trades: int
    place: NDArray[np.int64]  # after how many trades each column of `curves` is
    curves: NDArray[np.float64]  # equity USD, drawn again with replacement: a row a quantile
    actual: Column  # equity at the same places, trades in their real order
    end_usd: tuple[float, ...]  # equity after all trades, drawn again
    drawdown: tuple[float, ...]  # deepest fall, drawn again, fraction
    shuffled_drawdown: tuple[float, ...]  # deepest fall of the same trades in another order
    actual_drawdown: float  # deepest fall between trades, in the real order
    loss_share: float  # of the paths drawn again that end below the start
    ruin_share: float  # of them that reach 0


def trade_bands(start_usd: float, net_usd: Column, seed: int, *, compounding: bool = False) -> TradeBands | None:
    """Return the bands of trades in the order of their closing; None for fewer than two.

    Nets are added up; with `compounding` they are shares of the equity before them and multiplied.
    """
    count = len(net_usd)
    if count < 2 or start_usd <= 0:
        return None
    steps = _steps(start_usd, np.asarray(net_usd, dtype=np.float64), compounding=compounding)
    paths = max(MIN_PATHS, min(MAX_PATHS, _MAX_DRAWS // count))
    place = np.unique(np.linspace(0, count, min(count, _POINTS) + 1).astype(np.int64))
    rng = np.random.default_rng(seed)
    sampled = np.empty((paths, len(place)))
    falls, shuffled, ruined = np.empty(paths), np.empty(paths), 0
    chunk = max(1, _CHUNK // count)
    for first in range(0, paths, chunk):
        rows = slice(first, min(paths, first + chunk))
        size = rows.stop - first
        drawn = _curves(start_usd, steps[rng.integers(0, count, (size, count))], compounding=compounding)
        sampled[rows] = drawn[:, place]
        falls[rows] = _deepest(drawn)
        ruined += int((drawn.min(axis=1) <= 0).sum())
        other = rng.permuted(np.broadcast_to(steps, (size, count)), axis=1)
        shuffled[rows] = _deepest(_curves(start_usd, other, compounding=compounding))
    real = _curves(start_usd, steps[None, :], compounding=compounding)
    ends = sampled[:, -1]
    return TradeBands(
        paths=paths,
        trades=count,
        place=place,
        curves=np.quantile(sampled, QUANTILES, axis=0),
        actual=real[0, place],
        end_usd=tuple(np.quantile(ends, QUANTILES).tolist()),
        drawdown=tuple(np.quantile(falls, QUANTILES).tolist()),
        shuffled_drawdown=tuple(np.quantile(shuffled, QUANTILES).tolist()),
        actual_drawdown=float(_deepest(real)[0]),
        loss_share=float((ends < start_usd).mean()),
        ruin_share=ruined / paths,
    )


def _steps(start_usd: float, net_usd: Column, *, compounding: bool) -> Column:
    if not compounding:
        return net_usd
    before = start_usd + np.concatenate([[0.0], np.cumsum(net_usd)[:-1]])
    return np.maximum(-1.0, np.divide(net_usd, before, out=np.zeros_like(net_usd), where=before > 0))


def _curves(start_usd: float, steps: NDArray[np.float64], *, compounding: bool) -> NDArray[np.float64]:
    """Return equity after 0, 1, 2, ... trades: a row a path."""
    curves = np.empty((steps.shape[0], steps.shape[1] + 1))
    curves[:, 0] = start_usd
    if compounding:
        np.cumprod(1 + steps, axis=1, out=curves[:, 1:])
        curves[:, 1:] *= start_usd
    else:
        np.cumsum(steps, axis=1, out=curves[:, 1:])
        curves[:, 1:] += start_usd
    return curves


def _deepest(curves: NDArray[np.float64]) -> Column:
    peaks = np.maximum.accumulate(curves, axis=1)
    deepest: Column = np.clip(1 - curves / peaks, 0.0, 1.0).max(axis=1)  # below 0 there is nothing left to lose
    return deepest
