"""MACD cross, compiled: the conditions of `strategies.macd_cross` over whole columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import account_layout as account
from perp_bot.backtest.compiled import research_kernel
from perp_bot.backtest.grid import REGIMES, Grid
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
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.regimes import factors

VALUES = ("histogram", "histogram_before", "rsi")  # the first two with the side's sign: below 0, at most 0
_LONG, _SHORT = 0, 1
_KEYS = ("macd.rsi_overbought", "macd.rsi_oversold")
_AT_MOST_0 = 1e-300  # strictly below this: at most 0
_NEAR = 1e-7  # of the close: a histogram so small may have the other sign in the decision's own window
_NEAR_TICKS = 1e-5


class MacdCrossKernel:
    """See `StrategyKernel`. It leaves by stop, target and timeout alone: there are no exit bits."""

    exit_reasons = ("exit", "stop")
    threshold_keys = frozenset(_KEYS)

    def params(self, config: Config) -> IndicatorParams:
        """Return the periods of the config."""
        return params_of(config)

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, Matrix]:
        """Return histogram, RSI, ATR and the volume's mean; RSI is NaN before warm-up."""
        out = {name: np.empty(grid.close.shape) for name in ("histogram", "rsi", "atr", "volume_mean")}
        for row in range(len(grid.close)):
            high, low, close = grid.high[row], grid.low[row], grid.close[row]
            _, _, out["histogram"][row] = batch.macd(close, params.macd_fast, params.macd_slow, params.macd_signal)
            out["rsi"][row] = batch.rsi(close, params.rsi_period)
            out["atr"][row] = batch.atr(high, low, close, params.atr_period)
            out["volume_mean"][row] = batch.volume_mean(grid.volume[row], params.volume_period)
        make_cold(out["rsi"], warm_from(grid, params))
        return out

    def exit_thresholds(self, config: Config, values: Mapping[str, Column]) -> Matrix:
        """Return nothing to depend on."""
        return np.zeros((max((len(column) for column in values.values()), default=1), 1))

    def exits(self, grid: Grid, columns: dict[str, Matrix], thresholds: Column) -> NDArray[np.uint8]:
        """Return no bits."""
        return np.zeros(grid.close.shape, np.uint8)

    def limits(self, config: Config, values: Mapping[str, Column]) -> Limits:
        """Return the limits: the cross, and RSI (its sign turned for shorts)."""
        bought, sold = (column_of(config, values, key) for key in _KEYS)
        out = np.empty((len(bought), 4, len(REGIMES), len(VALUES)))
        for place, regime in enumerate(REGIMES):
            out[:, :, place, 0] = 0.0 if factors(regime).entries_allowed else -np.inf
        out[:, : account.FIRST_WAITING, :, 1] = _AT_MOST_0
        out[:, account.FIRST_WAITING :, :, 1] = np.inf  # it has crossed before: on which side it was is no matter
        for first in (0, account.FIRST_WAITING):
            out[:, first + _LONG, :, 2] = bought[:, np.newaxis]
            out[:, first + _SHORT, :, 2] = -sold[:, np.newaxis]
        return out

    def candidates(self, grid: Grid, columns: dict[str, Matrix], config: Config, limits: Limits) -> Candidates:
        """Return the bars of a cross with enough volume, settled, with stop and target."""
        loose = limits[..., 2].max(axis=0).max(axis=1) + 2 * TIE
        flags = np.empty(grid.close.shape, np.uint8)
        c = columns
        research_kernel(cross_flags)(
            grid.close, grid.volume, c["histogram"], c["rsi"], c["volume_mean"], loose, _NEAR, flags
        )
        bar, symbol = flagged(flags)
        side = (flags[symbol, bar] == account.ENTER_SHORT).astype(np.int8)
        if config.execution.entry_delay_candles:
            bar, symbol, side = _with_waiting((bar, symbol, side), _still_crossed(grid, c, loose))
        sign = np.where(side % 2 == _LONG, 1.0, -1.0)
        histogram, before = c["histogram"][symbol, bar], c["histogram"][symbol, bar - 1]
        values = np.column_stack((-histogram * sign, before * sign, c["rsi"][symbol, bar] * sign))
        close = grid.close[symbol, bar]
        distance = config.macd.stop_atr * c["atr"][symbol, bar]
        for place in np.flatnonzero(self._unsure(grid, config, symbol, close, distance, values, limits)):
            row = exact_row(grid, int(symbol[place]), int(bar[place]), self.params(config))
            exact = (row.macd_histogram, row.macd_histogram_before, row.rsi, row.atr)
            known = [np.nan if value is None else value for value in exact]
            if side[place] >= account.FIRST_WAITING:  # its side is the sign of the histogram
                sign[place] = -1.0 if known[0] < 0 else 1.0
                side[place] = account.FIRST_WAITING + (_SHORT if known[0] < 0 else _LONG)
            values[place] = (-known[0] * sign[place], known[1] * sign[place], known[2] * sign[place])
            distance[place] = config.macd.stop_atr * known[3]
        with np.errstate(invalid="ignore"):
            is_allowed = (config.macd.stop_min_pct * close <= distance) & (distance <= config.macd.stop_max_pct * close)
        keep = np.flatnonzero(is_allowed)
        target = close + sign * config.macd.reward_risk * distance
        return Candidates(
            bar[keep],
            symbol[keep].astype(np.int32),
            side[keep],
            np.ascontiguousarray(values[keep]),
            (close - sign * distance)[keep],
            target[keep],
        )

    def _unsure(
        self, grid: Grid, config: Config, symbol: Any, close: Column, distance: Column, values: Matrix, limits: Limits
    ) -> NDArray[np.bool_]:
        """Return where the last digits of a carried value could tip a comparison or a tick."""
        macd = config.macd
        small = _NEAR * close
        out = (np.abs(values[:, 0]) <= small) | (np.abs(values[:, 1]) <= small)
        out |= near_a_limit(values[:, 2], limits[..., 2])
        for edge in (macd.stop_min_pct, macd.stop_max_pct):
            out |= np.abs(distance - edge * close) <= small
        digits = np.array([item.instrument.sz_decimals for item in grid.market.symbols])[symbol]
        figures = 4 - np.floor(np.log10(close))
        scale = 10.0 ** np.clip(np.minimum(figures + 1, 6 - digits), 0, None)  # the finer grid next to a power of ten
        for sign in (1.0, -1.0):
            ticks = (close - sign * distance) * scale
            out |= np.abs(ticks - np.round(ticks)) <= _NEAR_TICKS
        return np.asarray(out)

    def trailing(self, config: Config) -> tuple[float, float, float]:
        """Return the trailing stop of the config."""
        return config.macd.trail_after_pct, config.macd.trail_distance_pct, config.macd.trail_step_pct

    def trades_a_day(self, config: Config) -> int:
        """Return the configured number."""
        return config.macd.max_trades_per_day


_Bars = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]  # bars, symbols, sides


def _still_crossed(grid: Grid, columns: dict[str, Matrix], loose: Column) -> _Bars:
    """Return the bars at which a waiting entry may go on: the histogram on its side (or nearly), enough volume."""
    now, rsi, slack = columns["histogram"], columns["rsi"], _NEAR * grid.close
    long, short = (now > -slack) & (rsi < loose[_LONG]), (now < slack) & (-rsi < loose[_SHORT])
    found = (long | short) & (grid.volume >= columns["volume_mean"])
    found[:, 0] = False
    bar, symbol = flagged(found.view(np.uint8))
    is_short = now[symbol, bar] < 0
    return bar, symbol, (account.FIRST_WAITING + is_short).astype(np.int8)


def _with_waiting(crosses: _Bars, waiting: _Bars) -> _Bars:
    """Return both, sorted by bar, then symbol, a cross first."""
    bar = np.concatenate((crosses[0], waiting[0]))
    symbol = np.concatenate((crosses[1], waiting[1]))
    side = np.concatenate((crosses[2], waiting[2]))
    order = np.lexsort((side, symbol, bar))
    return bar[order], symbol[order], side[order]


def cross_flags(close, volume, histogram, rsi, mean, loose, near, out):  # type: ignore[no-untyped-def]
    """Fill 1 where the histogram crosses up, 2 where down (or so nearly that it is settled), with enough volume."""
    for s in range(close.shape[0]):
        out[s, 0] = 0
        for i in range(1, close.shape[1]):
            now, before, slack = histogram[s, i], histogram[s, i - 1], near * close[s, i]
            enough = volume[s, i] >= mean[s, i]
            long = enough & (now > -slack) & (before <= slack) & (rsi[s, i] < loose[0])
            short = enough & (now < slack) & (before >= -slack) & (-rsi[s, i] < loose[1])
            if long and short:  # both within the slack: the nearer to a cross
                short = now < before
                long = not short
            out[s, i] = 1 if long else 2 if short else 0
