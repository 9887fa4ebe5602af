"""A sweep in blocks: what is finished stays when it is interrupted, and blocks can be computed anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.engine import span_of
from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.kernels import kernel_of
from perp_bot.backtest.market import Market
from perp_bot.backtest.sweep import SweepTable, Value, run_points_on
from perp_bot.config.model import Config

Advance = Callable[[float], None]
_FIRST_BLOCK = 16  # points; how long they take says how many the next one has
_BLOCK_S = 0.5  # of work a block here: Ctrl-C and the progress bar wait no longer


@dataclass(frozen=True, slots=True)
class SweepCase:
    """What every point of a sweep is run on: closes in (from_ms, to_ms]."""

    config: Config
    market: Market
    strategy: str
    from_ms: int | None = None
    to_ms: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """The finished points of a sweep, in their order."""

    table: SweepTable
    places: NDArray[np.int64]  # of the finished points among those asked for
    asked: int

    @property
    def is_partial(self) -> bool:
        """Whether it was interrupted."""
        return len(self.places) < self.asked


def sweep_here(case: SweepCase, points: Sequence[Mapping[str, Value]], advance: Advance) -> Swept:
    """Run the points on this machine's cores; Ctrl-C gives the finished ones."""
    grid = grid_of(case.market)
    begin, end = span_of(grid, case.from_ms, case.to_ms)
    order = together(case.strategy, points)
    parts: list[tuple[list[int], SweepTable]] = []
    done, size = 0, _FIRST_BLOCK
    try:
        while done < len(order):
            places = order[done : done + size]
            begun = time.perf_counter()
            table = run_points_on(case.config, grid, case.strategy, [points[place] for place in places], begin, end)
            parts.append((places, table))
            done += len(places)
            advance(done / len(order))
            taken_s = max(1e-4, time.perf_counter() - begun)
            size = max(1, min(4 * size, round(len(places) * _BLOCK_S / taken_s)))
    except KeyboardInterrupt:
        if not parts:
            raise
    return joined(parts, points)


def together(strategy: str, points: Sequence[Mapping[str, Value]]) -> list[int]:
    """Return the places of the points, those that share indicator columns next to one another."""
    shared = _shared(strategy, points)
    return sorted(range(len(points)), key=lambda place: shared[place])


def dealt(
    strategy: str, points: Sequence[Mapping[str, Value]], places: Sequence[int], size: int
) -> Iterator[list[int]]:
    """Yield blocks of about `size` places, of alike work.

    Points that share columns stay together, and are dealt like cards: neighbours trade alike, and would make one
    block long and another short. Of sets too few for a block, several make one.
    """
    shared = _shared(strategy, points)
    gathered: list[int] = []
    for _, group in groupby(places, key=lambda place: shared[place]):
        alike = list(group)
        count = len(alike) // size
        if count:
            yield from (alike[first::count] for first in range(count))
            continue
        gathered += alike
        if len(gathered) >= size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _shared(strategy: str, points: Sequence[Mapping[str, Value]]) -> list[tuple[tuple[str, Value], ...]]:
    """Return what decides a point's indicator columns."""
    kernel = kernel_of(strategy)
    if kernel is None:
        return [() for _ in points]
    keys = kernel.threshold_keys
    return [tuple(sorted(item for item in point.items() if item[0] not in keys)) for point in points]


def joined(parts: Sequence[tuple[Sequence[int], SweepTable]], points: Sequence[Mapping[str, Value]]) -> Swept:
    """Return the parts as one table, in the order of the points."""
    places = np.concatenate([np.asarray(places, np.int64) for places, _ in parts])
    order = np.argsort(places)
    columns = {
        item.name: np.concatenate([getattr(table, item.name) for _, table in parts])[order]
        for item in fields(SweepTable)
        if item.name != "points"
    }
    kept = tuple(points[place] for place in places[order])
    return Swept(replace(parts[0][1], points=kept, **columns), places[order], len(points))
