"""The arithmetic of a trailing stop: plain functions of floats that numba can compile as well."""

from __future__ import annotations

import math

_WHOLE = 1e-9  # steps: a gain that is a step but for rounding has reached it


def trailed_stop(side: float, entry_px: float, close_px: float, after: float, distance: float, step: float) -> float:
    """Return where the stop trails at a close, USD; 0.0 while the gain is below `after`.

    The gain is the move of the close from the entry as a fraction, in whole steps; the stop is `distance` behind the
    price of that gain. Worked example: long from 100, close 101.7, steps of 0.5 %: gain 1.5 %, 101.5 x 0.98 = 99.47.
    """
    gain = (close_px / entry_px - 1.0) * side
    if after <= 0.0 or gain < after - _WHOLE * step:
        return 0.0
    reached = math.floor(gain / step + _WHOLE) * step
    return entry_px * (1.0 + side * reached) * (1.0 - side * distance)
