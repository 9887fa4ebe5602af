"""Mean reversion, compiled: the conditions of `strategies.mean_reversion` over whole columns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_kernel as account
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.grid import REGIMES, Grid
from perp_bot.backtest.strategy_kernel import (
    TIE,
    Candidates,
    Limits,
    Matrix,
    exact_row,
    loosest,
    make_cold,
    near_a_limit,
    warm_from,
)
from perp_bot.config.model import Config
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.strategies.mean_reversion import EXIT_COMPLETE, EXIT_ZSCORE_STOP
from perp_bot.strategies.parameters import params_from
from perp_bot.strategies.regimes import factors, scaled

VALUES = ("zscore", "rsi", "adx")
_MEMORY = (1, 2)  # RSI and ADX
_LONG, _SHORT = 0, 1


class MeanReversionKernel:
    """See `StrategyKernel`. The band is not a limit but part of the columns: a set with another band has its own."""

    exit_reasons = (EXIT_COMPLETE, EXIT_ZSCORE_STOP)

    def params(self, config: Config) -> IndicatorParams:
        """Return the periods that the signals section names."""
        return params_from(config.signals)

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
        """Return z, the bands, RSI and ADX; ADX is NaN before warm-up."""
        names = ("zscore", "upper", "middle", "lower", "rsi", "adx")
        out = {name: np.empty(grid.close.shape) for name in names}
        for row in range(len(grid.close)):
            high, low, close = grid.high[row], grid.low[row], grid.close[row]
            out["zscore"][row] = batch.zscore(close, params.zscore_lookback)
            bands = batch.bollinger(close, params.bollinger_period, params.bollinger_std)
            out["upper"][row], out["middle"][row], out["lower"][row] = bands
            out["rsi"][row] = batch.rsi(close, params.rsi_period)
            out["adx"][row] = batch.adx(high, low, close, params.adx_period)
        make_cold(out["adx"], warm_from(grid, params))
        return out

    def exit_key(self, config: Config) -> Hashable:
        """Return the two exit thresholds."""
        return config.signals.zscore_exit_threshold, config.signals.zscore_stop_threshold

    def exits(self, grid: Grid, columns: dict[str, Matrix], config: Config) -> NDArray[np.uint8]:
        """Return the bits of `mean_reversion_complete` and `zscore_stop`."""
        out = np.empty(grid.close.shape, np.uint8)
        inside = np.array([_exit_threshold(config, name) for name in range(len(REGIMES))])
        research_kernel(exit_bits)(columns["zscore"], inside, config.signals.zscore_stop_threshold, grid.regimes, out)
        return out

    def limits(self, config: Config) -> Limits:
        """Return the limits of z (its sign turned for shorts), RSI (likewise) and ADX."""
        signals = config.signals
        out = np.empty((2, len(REGIMES), len(VALUES)))
        for place, regime in enumerate(REGIMES):
            factor = factors(regime)
            z_long = scaled(signals.zscore_entry_threshold, factor.entry_long)
            z_short = scaled(signals.zscore_entry_threshold, factor.entry_short)
            is_open = factor.entries_allowed
            out[_LONG, place] = (-z_long if is_open else -np.inf, signals.rsi_oversold, signals.adx_threshold)
            out[_SHORT, place] = (-z_short if is_open else -np.inf, -signals.rsi_overbought, signals.adx_threshold)
        return out

    def candidates(
        self, grid: Grid, columns: dict[str, Matrix], configs: Sequence[Config], limits: Sequence[Limits]
    ) -> Candidates:
        """Return the bars beyond the band whose values are within the loosest limits."""
        loose = loosest(limits)
        loose[:, :, list(_MEMORY)] += 2 * TIE
        flags = np.empty(grid.close.shape, np.uint8)
        c = columns
        research_kernel(candidate_flags)(
            grid.close, c["zscore"], c["upper"], c["middle"], c["lower"], c["rsi"], c["adx"],
            grid.regimes, _band_factors(), loose, flags,
        )  # fmt: skip
        bar, symbol = np.nonzero(flags.T) if len(flags) > 1 else (np.flatnonzero(flags[0]), np.zeros(0, np.int64))
        if len(flags) == 1:
            symbol = np.zeros(len(bar), np.int64)
        side = (flags[symbol, bar] == account.ENTER_SHORT).astype(np.int8)
        sign = np.where(side == _LONG, 1.0, -1.0)
        values = np.column_stack((c["zscore"][symbol, bar] * sign, c["rsi"][symbol, bar] * sign, c["adx"][symbol, bar]))
        self._settle(grid, configs[0], bar, symbol, sign, values, np.stack(limits))
        missing = np.full(len(bar), np.nan)
        return Candidates(
            bar.astype(np.int64), symbol.astype(np.int32), side, np.ascontiguousarray(values), missing, missing.copy()
        )

    def _settle(
        self, grid: Grid, config: Config, bar: Any, symbol: Any, sign: Any, values: Matrix, limits: Limits
    ) -> None:
        """Replace RSI and ADX by the decision window's own wherever a comparison is within a tie."""
        is_near = np.zeros(len(bar), np.bool_)
        for value in _MEMORY:
            is_near |= near_a_limit(values[:, value], limits[..., value].ravel())
        for place in np.flatnonzero(is_near):
            row = exact_row(grid, int(symbol[place]), int(bar[place]), self.params(config))
            values[place, 1] = np.nan if row.rsi is None else row.rsi * sign[place]
            values[place, 2] = np.nan if row.adx is None else row.adx

    def trailing(self, config: Config) -> tuple[float, float, float]:
        """None."""
        return 0.0, 0.0, 0.0

    def trades_a_day(self, config: Config) -> int:
        """No limit."""
        return 0


def _exit_threshold(config: Config, regime: int) -> float:
    return scaled(config.signals.zscore_exit_threshold, factors(REGIMES[regime]).exit)


def _band_factors() -> NDArray[np.float64]:
    """Return numerator and denominator of the band's factor by side and regime: `scaled` multiplies, then divides."""
    out = np.ones((2, len(REGIMES), 2))
    for place, regime in enumerate(REGIMES):
        sides: tuple[Fraction, Fraction] = (factors(regime).entry_long, factors(regime).entry_short)
        for side, factor in enumerate(sides):
            out[side, place] = factor.numerator, factor.denominator
    return out


def exit_bits(zscore, inside, stop, regimes, out):  # type: ignore[no-untyped-def]
    """Fill the exit bits of every bar from z; NaN gives none."""
    for s in range(zscore.shape[0]):
        z = zscore[s]
        bits = out[s]
        if len(regimes) == 0:
            threshold = inside[0]
            for i in range(len(z)):
                both = 12 if abs(z[i]) < threshold else 0
                bits[i] = both | (16 if -z[i] > stop else 0) | (32 if z[i] > stop else 0)
        else:
            for i in range(len(z)):
                both = 12 if abs(z[i]) < inside[regimes[i]] else 0
                bits[i] = both | (16 if -z[i] > stop else 0) | (32 if z[i] > stop else 0)


def candidate_flags(  # type: ignore[no-untyped-def]
    close, zscore, upper, middle, lower, rsi, adx, regimes, band, loose, out
):
    """Fill 1 where a long, 2 where a short may be entered: beyond the band, every value below its loosest limit."""
    for s in range(zscore.shape[0]):
        c, z, up, mid, lo, r, a, flag = close[s], zscore[s], upper[s], middle[s], lower[s], rsi[s], adx[s], out[s]
        if len(regimes) == 0:
            z_long, r_long, a_long = loose[0, 0, 0], loose[0, 0, 1], loose[0, 0, 2]
            z_short, r_short, a_short = loose[1, 0, 0], loose[1, 0, 1], loose[1, 0, 2]
            for i in range(len(z)):
                long = (z[i] < z_long) & (r[i] < r_long) & (a[i] < a_long) & (c[i] < lo[i])
                short = (-z[i] < z_short) & (-r[i] < r_short) & (a[i] < a_short) & (c[i] > up[i])
                flag[i] = (1 if long else 0) | (2 if short else 0)
        else:
            for i in range(len(z)):
                g = regimes[i]
                edge = lo[i]
                if band[0, g, 0] != band[0, g, 1]:
                    edge = mid[i] + (lo[i] - mid[i]) * band[0, g, 0] / band[0, g, 1]
                long = (z[i] < loose[0, g, 0]) & (r[i] < loose[0, g, 1]) & (a[i] < loose[0, g, 2]) & (c[i] < edge)
                edge = up[i]
                if band[1, g, 0] != band[1, g, 1]:
                    edge = mid[i] + (up[i] - mid[i]) * band[1, g, 0] / band[1, g, 1]
                short = (-z[i] < loose[1, g, 0]) & (-r[i] < loose[1, g, 1]) & (a[i] < loose[1, g, 2]) & (c[i] > edge)
                flag[i] = (1 if long else 0) | (2 if short else 0)
