"""The strategies that have a compiled form."""

from __future__ import annotations

from collections.abc import Callable

from perp_bot.backtest.kernel_macd_cross import MacdCrossKernel
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.strategy_kernel import StrategyKernel
from perp_bot.strategies import macd_cross, mean_reversion

_KERNELS: dict[str, Callable[[], StrategyKernel]] = {
    mean_reversion.NAME: MeanReversionKernel,
    macd_cross.NAME: MacdCrossKernel,
}


def kernel_of(strategy_name: str) -> StrategyKernel | None:
    """Return the compiled form of a strategy; None where it runs in plain Python alone."""
    make = _KERNELS.get(strategy_name)
    return None if make is None else make()
