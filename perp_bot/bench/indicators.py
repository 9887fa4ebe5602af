"""Measures the indicators: each column and the whole set over a series, one streamed candle, one decision row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np

from perp_bot.bench.measure import Measurement, summarize, timed
from perp_bot.indicators import batch, compiled
from perp_bot.indicators.compiled import Column
from perp_bot.indicators.decision import decision_row
from perp_bot.indicators.rescaled_range import rescaled_range
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.streaming import StreamingSet
from perp_bot.indicators.warmup import decision_window

SUBJECT = "indicators"

_SEED = 42


def run(quick: bool) -> list[Measurement]:
    """Measure on a seeded walk of 1,000,000 candles (quick: 100,000) with the compiled kernels loaded."""
    compiled.load()
    rescaled_range(np.arange(1.0, 200.0), 100)  # compiled before it is timed
    bars = 100_000 if quick else 1_000_000
    high, low, close = _candles(bars)
    rounds = 3 if quick else 9
    series: dict[str, Callable[[], object]] = {
        "zscore 20": lambda: batch.zscore(close, 20),
        "bollinger 20": lambda: batch.bollinger(close, 20, 2.0),
        "rsi 14": lambda: batch.rsi(close, 14),
        "atr 14": lambda: batch.atr(high, low, close, 14),
        "adx 14": lambda: batch.adx(high, low, close, 14),
        "ema 20": lambda: batch.ema(close, 20),
        "macd 12 26 9": lambda: batch.macd(close),
        "realized_vol 20": lambda: batch.realized_vol(close, 20),
        "hurst_vr 100": lambda: batch.hurst_vr(close, 100),
        "hurst_rs 100": lambda: batch.hurst_rs(close, 100),
        "rescaled_range 100": lambda: rescaled_range(close, 100),
        "set": lambda: batch.indicator_set(high, low, close),
    }
    found = [
        summarize(SUBJECT, name, "ns/candle", timed(call, rounds), scale=1e9 / bars) for name, call in series.items()
    ]
    found.append(_streamed(high, low, close, 2_000 if quick else 20_000))
    found.extend(_decided(high, low, close, 500 if quick else 5_000))
    return found


def _streamed(high: Column, low: Column, close: Column, n: int) -> Measurement:
    stream = StreamingSet()
    candles = cycle(zip(high[:n].tolist(), low[:n].tolist(), close[:n].tolist(), strict=True))
    seconds = timed(lambda: stream.update(*next(candles)), n)
    return summarize(SUBJECT, "streaming set", "us/candle", seconds, scale=1e6, detail="14 values, Hurst included")


def _decided(high: Column, low: Column, close: Column, n: int) -> list[Measurement]:
    params = IndicatorParams()
    window = decision_window(params)
    highs, lows, closes = high[:window], low[:window], close[:window]
    high_list, low_list, close_list = highs.tolist(), lows.tolist(), closes.tolist()
    from_arrays = timed(lambda: decision_row(highs, lows, closes, params), n)
    from_lists = timed(lambda: decision_row(high_list, low_list, close_list, params), n)
    detail = f"{window} bars"
    return [
        summarize(SUBJECT, "decision row from arrays", "us", from_arrays, scale=1e6, detail=detail),
        summarize(SUBJECT, "decision row from lists", "us", from_lists, scale=1e6, detail=detail),
    ]


def _candles(bars: int) -> tuple[Column, Column, Column]:
    draw = np.random.default_rng(_SEED)
    close = 50_000.0 * np.exp(np.cumsum(draw.standard_t(4, bars) * 4e-4))
    return (
        close * (1 + np.abs(draw.standard_normal(bars)) * 3e-4),
        close * (1 - np.abs(draw.standard_normal(bars)) * 3e-4),
        close,
    )
