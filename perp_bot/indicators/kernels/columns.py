"""The columns that every kernel reads and fills, and the numbers they share."""

from __future__ import annotations

import math
from typing import Protocol, overload

NAN = math.nan
INF = math.inf
BLOCK = 256  # bars per pass: columns of 2 KiB stay in the first-level cache


class Floats(Protocol):
    """A column of float64: an array when compiled, a memoryview of the same array when interpreted."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> float: ...
    @overload
    def __getitem__(self, index: slice, /) -> Floats: ...
    def __setitem__(self, index: int, value: float, /) -> None: ...


def fill(value: float, out: Floats) -> None:
    """Set every value of a column."""
    for i in range(len(out)):
        out[i] = value


def copy(x: Floats, out: Floats) -> None:
    """Copy a column."""
    for i in range(len(out)):
        out[i] = x[i]
