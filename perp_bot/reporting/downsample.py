"""Long series as few points as a picture has pixels, without losing a high or a low."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
Times = NDArray[np.int64]


class Buckets(NamedTuple):
    """Stretches of equal length in time; those without a value are left out."""

    at_ms: Column  # middle of the values' own times
    low: Column
    high: Column
    last: Column
    breaks: tuple[int, ...]  # places that follow a hole: no line leads to them


def buckets(times_ms: Times, low: Column, high: Column, last: Column, most: int) -> Buckets:
    """Return lowest low, highest high and last value of at most `most` stretches of a series in order of time."""
    count = len(times_ms)
    if count == 0:
        empty = np.zeros(0)
        return Buckets(empty, empty, empty, empty, ())
    if count <= most:
        at = times_ms.astype(np.float64)
        return Buckets(at, low, high, last, _holes(at, float(np.median(np.diff(at))) if count > 1 else 0.0))
    begin, end = int(times_ms[0]), int(times_ms[-1])
    edges = np.linspace(begin, end + 1, most + 1)
    first = np.unique(np.searchsorted(times_ms, edges[:-1], "left"))
    first = first[first < count]
    after = np.append(first[1:], count)
    at = (times_ms[first] + times_ms[after - 1]) / 2.0
    return Buckets(
        at,
        np.minimum.reduceat(low, first),
        np.maximum.reduceat(high, first),
        last[after - 1],
        _holes(at, (end - begin) / most),
    )


def _holes(at: Column, step: float) -> tuple[int, ...]:
    if len(at) < 2 or step <= 0:
        return ()
    return tuple((np.flatnonzero(np.diff(at) > 2.5 * step) + 1).tolist())
