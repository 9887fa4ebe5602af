"""Build the one window a strategy has, from closed candles only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.core import timeframes
from perp_bot.core.types import Candle, Position, Regime
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies.parameters import params_from
from perp_bot.strategies.protocol import MarketView

__all__ = ["CandleColumns", "build_view", "columns_of", "params_from"]

FloatColumn = Sequence[float] | NDArray[np.float64]
TimeColumn = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CandleColumns:
    """Closed candles of one series as columns of equal length, oldest first."""

    open_ms: TimeColumn
    high: FloatColumn
    low: FloatColumn
    close: FloatColumn
    volume: FloatColumn


def columns_of(candles: Sequence[Candle]) -> CandleColumns:
    """Return candles (one series, oldest first) as columns."""
    return CandleColumns(
        np.array([candle.open_ms for candle in candles], dtype=np.int64),
        np.array([candle.high for candle in candles], dtype=np.float64),
        np.array([candle.low for candle in candles], dtype=np.float64),
        np.array([candle.close for candle in candles], dtype=np.float64),
        np.array([candle.volume for candle in candles], dtype=np.float64),
    )


def build_view(
    candle: Candle,
    columns: CandleColumns,
    params: IndicatorParams,
    *,
    regime: Regime,
    position: Position | None,
    provisional: bool = False,
    signals: dict[str, float | int | str | None] | None = None,
) -> MarketView:
    """Return the view at the close of `candle`, which must be the last row of `columns`.

    Only the newest `decision_window` rows are looked at, and of these only the rows since the last gap or unusable
    row: `bars` counts them, so that a hole in the history is a warm-up again and never a wrong number.

    Raises:
        ValueError: when the columns do not end with `candle`: nothing later may be in them.
    """
    window = decision_window(params)
    open_ms = np.asarray(columns.open_ms[-window:], dtype=np.int64)
    high = np.asarray(columns.high[-window:], dtype=np.float64)
    low = np.asarray(columns.low[-window:], dtype=np.float64)
    close = np.asarray(columns.close[-window:], dtype=np.float64)
    if len(open_ms) == 0 or int(open_ms[-1]) != candle.open_ms:
        newest = int(open_ms[-1]) if len(open_ms) else None
        raise ValueError(f"{candle.symbol} {candle.timeframe}: columns end at {newest}, the candle is {candle.open_ms}")
    bars = _usable_tail(candle.timeframe, open_ms, high, low, close)
    first = len(close) - bars
    volume = np.asarray(columns.volume[-window:], dtype=np.float64)[first:]
    row = decision_row(high[first:], low[first:], close[first:], params, volume)
    return MarketView(
        symbol=candle.symbol,
        timeframe=candle.timeframe,
        close_ms=candle.close_ms,
        candle=candle,
        bars=bars,
        indicators=row,
        regime=regime,
        position=position,
        provisional=provisional,
        signals=signals,
    )


def _usable_tail(
    timeframe: str,
    open_ms: NDArray[np.int64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
) -> int:
    """Return how many of the newest rows follow one another without a gap and hold finite numbers."""
    count = len(open_ms)
    usable = np.isfinite(high) & np.isfinite(low) & np.isfinite(close)
    if timeframe in timeframes.FIXED_MS:
        follows = np.diff(open_ms) == timeframes.FIXED_MS[timeframe]
    else:
        follows = np.array(
            [timeframes.close_of(timeframe, int(open_ms[i])) == int(open_ms[i + 1]) for i in range(count - 1)],
            dtype=bool,
        )
    bad_rows = np.flatnonzero(~usable)
    first_after_bad = int(bad_rows[-1]) + 1 if len(bad_rows) else 0
    breaks = np.flatnonzero(~follows)
    first_after_gap = int(breaks[-1]) + 1 if len(breaks) else 0
    return count - max(first_after_bad, first_after_gap)


def json_safe(value: float | None) -> float | None:
    """Return the number, or None for NaN and infinities: a record holds only what JSON can."""
    return None if value is None or not math.isfinite(value) else float(value)
