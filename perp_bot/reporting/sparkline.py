"""An equity curve in one line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-~=+*#"


def sparkline(values: Sequence[float] | NDArray[np.float64], width: int, *, plain: bool = False) -> str:
    """Return at most `width` characters, each the mean of its stretch of `values`; lowest to highest fills the height.

    `plain` uses ASCII. A curve that does not move is a line at half height.
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[np.isfinite(found)]
    if not len(found) or width < 1:
        return ""
    levels = PLAIN if plain else BLOCKS
    means = np.array([part.mean() for part in np.array_split(found, min(width, len(found)))])
    low, high = float(means.min()), float(means.max())
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        return levels[len(levels) // 2 - 1] * len(means)
    steps = np.minimum(len(levels) - 1, ((means - low) / (high - low) * len(levels)).astype(int))
    return "".join(levels[step] for step in steps)
