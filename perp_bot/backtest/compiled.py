"""The compiled kernels of research: each function compiled once, when it is first used, and kept on disk.

What is kept is stamped with all of their sources. Where nothing can be kept (a read-only
installation without a user's cache folder) the kernels are compiled anew in each process.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from perp_bot.indicators.library import is_kept, stamp, tell_compiling
from perp_bot.strategies import trailing

LOG = logging.getLogger(__name__)

_SOURCES = (
    "account_*.py",
    "kernel_*.py",
    "arithmetic.py",
    "luck.py",
    "sweep_kernel.py",
    "load.py",
    "curve.py",
)


@lru_cache(maxsize=64)
def research_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled for whatever it is called with; the first call compiles, or reads what was kept."""
    import numba

    try:
        compiled = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
        stamp(compiled, sources_hash())
    except (OSError, RuntimeError) as error:
        LOG.warning("compiled kernels cannot be kept (%s); they are compiled anew in each process", error)
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    if compiled.py_func.__name__ == "simulate" and not is_kept(compiled):
        tell_compiling()
    ready: Callable[..., Any] = compiled
    return ready


@lru_cache(maxsize=1)
def sources_hash() -> str:
    """Return a hash of the kernels' sources."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for pattern in _SOURCES:
        for path in sorted(folder.glob(pattern)):
            digest.update(path.read_bytes())
    digest.update(Path(trailing.__file__).read_bytes())
    return digest.hexdigest()


def warm() -> None:
    """Compile everything now: all indicators, a backtest and a sweep of both strategies on a small made market."""
    import numpy as np

    from perp_bot.backtest.engine import run
    from perp_bot.backtest.market import Candles, Funding, Market, SymbolMarket
    from perp_bot.backtest.sweep import run_points
    from perp_bot.config.model import Config
    from perp_bot.core.types import Instrument
    from perp_bot.indicators import compiled
    from perp_bot.indicators.rescaled_range import compiled_ranges
    from perp_bot.indicators.streaming import compiled_streams

    n = 600
    close = 100 + np.sin(np.arange(n) / 7.0)
    times = np.arange(n, dtype=np.int64) * 900_000
    candles = Candles("15m", times, close.copy(), close + 1, close - 1, close, np.ones(n))
    funding = Funding(np.empty(0, np.int64), np.empty(0))
    market = Market("15m", (SymbolMarket("BTC", Instrument("BTC", 0, 5, 40), "made", candles, funding),))
    compiled.load()
    compiled_streams()
    compiled_ranges()
    for strategy in ("mean_reversion", "macd_cross"):
        run(Config(), market, strategy)
        run_points(Config(), market, strategy, [{}])
