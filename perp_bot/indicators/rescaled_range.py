"""The rolling Hurst exponent from one rescaled range: log(R/S) / log(n) over the last n log returns, every bar.

R is the range of the cumulated deviations from the window's mean, S the population standard deviation of its returns
(Hurst 1951). One window alone is a rough reading: on a random walk it reads 0.52 at n = 100, with a standard error of
0.05; `hurst_rs` averages over chunk sizes, `hurst_vr` is another estimator. This one is for research over whole series
at speed: lanes across bars, the cumulated returns being the log price itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from perp_bot.indicators.compiled import Column
from perp_bot.indicators.kernels.rescaled_range import scratch
from perp_bot.indicators.library import COLUMN, Library, cached
from perp_bot.indicators.row import check_period

LEAST_PERIOD = 8


def rescaled_range(close: Column, n: int) -> Column:
    """Return log(R/S)/log(n) of each bar's last `n` log returns; NaN before there are n, where one is missing, or flat.

    Agrees with a two-pass reference to 1e-9. The first call compiles it.
    """
    check_period("n", n, LEAST_PERIOD)
    prices = np.ascontiguousarray(close, np.float64)
    out = np.full(len(prices), np.nan)
    if len(prices) <= n:
        return out
    with np.errstate(invalid="ignore", divide="ignore"):
        level = np.log(np.where((prices > 0) & np.isfinite(prices), prices, np.nan))
    compiled_ranges()(level, n, np.empty(scratch(n)), out[n:])
    return out


@lru_cache(maxsize=1)
def compiled_ranges() -> Callable[[Column, int, Column, Column], None]:
    """Return the compiled kernel, compiling it first if need be."""
    return cached(_compile)


def _compile(*, use_cache: bool) -> Callable[[Column, int, Column, Column], None]:
    signatures = {"rescaled_ranges": f"void({COLUMN}, int64, {COLUMN}, {COLUMN})"}
    # nothing is decided on it, and a multiply-add is a quarter of its work
    library = Library(signatures, use_cache=use_cache, is_told=True, fastmath={"contract"})
    kernel: Callable[[Column, int, Column, Column], None] = library.kernel("rescaled_ranges")
    return kernel
