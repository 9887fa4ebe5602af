"""Mean reversion, compiled: the conditions of `strategies.mean_reversion` over whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_layout as account
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.grid import REGIMES, Grid
from perp_bot.backtest.indicator_columns import adx, rsi, scores_and_bands
from perp_bot.backtest.strategy_kernel import (
    TIE,
    Candidates,
    Column,
    Limits,
    Matrix,
    column_of,
    exact_row,
    flagged,
    make_cold,
    near_a_limit,
    warm_from,
)
from perp_bot.config.model import Config
from perp_bot.indicators.row import IndicatorParams
from perp_bot.strategies.mean_reversion import EXIT_COMPLETE, EXIT_ZSCORE_STOP
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.regimes import factors, scaled

VALUES = ("zscore", "rsi", "adx")
_MEMORY = (1, 2)  # RSI and ADX
_LONG, _SHORT = 0, 1
_ENTRY_KEYS = (
    "signals.zscore_entry_threshold",
    "signals.rsi_overbought",
    "signals.rsi_oversold",
    "signals.adx_threshold",
)
_EXIT_KEYS = ("signals.zscore_exit_threshold", "signals.zscore_stop_threshold")


class MeanReversionKernel:
    """See `StrategyKernel`. The band is not a limit but part of the columns: a set with another band has its own."""

    exit_reasons = (EXIT_COMPLETE, EXIT_ZSCORE_STOP)
    threshold_keys = frozenset((*_ENTRY_KEYS, *_EXIT_KEYS))

    def params(self, config: Config) -> IndicatorParams:
        """Return the periods that the signals section names."""
        return params_of(config)

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
        """Return z, the bands, RSI and ADX; ADX is NaN before warm-up."""
        out = scores_and_bands(grid, params)
        out["rsi"] = rsi(grid, params.rsi_period)
        out["adx"] = adx(grid, params.adx_period)
        make_cold(out["adx"], warm_from(grid, params))
        return out

    def exit_thresholds(self, config: Config, values: Mapping[str, Column]) -> Matrix:
        """Return |z| of the exit and z of the stop."""
        return np.column_stack([column_of(config, values, key) for key in _EXIT_KEYS])

    def exits(self, grid: Grid, columns: dict[str, Matrix], thresholds: Column) -> NDArray[np.uint8]:
        """Return the bits of `mean_reversion_complete` and `zscore_stop`."""
        out = np.empty(grid.close.shape, np.uint8)
        inside = np.array([scaled(float(thresholds[0]), factors(regime).exit) for regime in REGIMES])
        research_kernel(exit_bits)(columns["zscore"], inside, float(thresholds[1]), grid.regimes, out)
        return out

    def limits(self, config: Config, values: Mapping[str, Column]) -> Limits:
        """Return the limits of z (its sign turned for shorts), RSI (likewise) and ADX."""
        entry, bought, sold, trend = (column_of(config, values, key) for key in _ENTRY_KEYS)
        out = np.empty((len(entry), 2, len(REGIMES), len(VALUES)))
        for place, regime in enumerate(REGIMES):
            factor = factors(regime)
            for side, share in ((_LONG, factor.entry_long), (_SHORT, factor.entry_short)):
                z = entry if share == 1 else entry * share.numerator / share.denominator  # as `scaled`
                out[:, side, place, 0] = -z if factor.entries_allowed else -np.inf
            out[:, _LONG, place, 1] = sold
            out[:, _SHORT, place, 1] = -bought
            out[:, :, place, 2] = trend[:, np.newaxis]
        return out

    def candidates(self, grid: Grid, columns: dict[str, Matrix], config: Config, limits: Limits) -> Candidates:
        """Return the bars beyond the band whose values are within the loosest limits."""
        loose = limits.max(axis=0)
        loose[:, :, list(_MEMORY)] += 2 * TIE
        flags = np.empty(grid.close.shape, np.uint8)
        c = columns
        research_kernel(candidate_flags)(
            grid.close, c["zscore"], c["upper"], c["middle"], c["lower"], c["rsi"], c["adx"],
            grid.regimes, _band_factors(), loose, flags,
        )  # fmt: skip
        bar, symbol = flagged(flags)
        side = (flags[symbol, bar] == account.ENTER_SHORT).astype(np.int8)
        sign = np.where(side == _LONG, 1.0, -1.0)
        values = np.column_stack((c["zscore"][symbol, bar] * sign, c["rsi"][symbol, bar] * sign, c["adx"][symbol, bar]))
        self._settle(grid, config, bar, symbol, sign, values, limits)
        missing = np.full(len(bar), np.nan)
        return Candidates(bar, symbol.astype(np.int32), side, values, missing, missing.copy())

    def _settle(
        self, grid: Grid, config: Config, bar: Any, symbol: Any, sign: Any, values: Matrix, limits: Limits
    ) -> None:
        """Replace RSI and ADX by the decision window's own wherever a comparison is within a tie."""
        is_near = np.zeros(len(bar), np.bool_)
        for value in _MEMORY:
            is_near |= near_a_limit(values[:, value], limits[..., value])
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
