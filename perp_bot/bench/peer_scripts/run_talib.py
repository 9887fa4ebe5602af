"""TA-Lib: its functions over whole columns, and its stateful streams candle by candle."""

from __future__ import annotations

import numpy as np
import talib
from talib import stream
from worker import Case, serve


def prepare(data):
    """Return a case an indicator, one of the seven together, and one of their streams."""
    high, low, close = (np.array(getattr(data, name)) for name in ("high", "low", "close"))

    def zscore():
        return (close - talib.SMA(close, 20)) / talib.STDDEV(close, 20)

    calls = {
        "zscore 20": zscore,
        "bollinger 20": lambda: talib.BBANDS(close, 20, 2.0, 2.0),
        "rsi 14": lambda: talib.RSI(close, 14),
        "atr 14": lambda: talib.ATR(high, low, close, 14),
        "adx 14": lambda: talib.ADX(high, low, close, 14),
        "ema 20": lambda: talib.EMA(close, 20),
        "macd 12 26 9": lambda: talib.MACD(close, 12, 26, 9),
    }
    cases = {name: Case(call, _rows) for name, call in calls.items()}
    cases["seven of the set"] = Case(
        lambda: [call() for call in calls.values()], lambda made: np.vstack([_rows(item) for item in made])
    )
    head = [(column[:500], column[500 : 500 + data.settings["streamed"]].tolist()) for column in (high, low, close)]
    (highs, next_highs), (lows, next_lows), (closes, next_closes) = head

    def streamed():
        mean, spread = stream.SMA(closes, 20), stream.STDDEV(closes, 20)
        bands, strength = stream.BBANDS(closes, 20, 2.0, 2.0), stream.RSI(closes, 14)
        ranges, trend = stream.ATR(highs, lows, closes, 14), stream.ADX(highs, lows, closes, 14)
        smooth, cross = stream.EMA(closes, 20), stream.MACD(closes, 12, 26, 9)
        for h, lo, c in zip(next_highs, next_lows, next_closes, strict=True):
            z = (c - mean.update(c)) / spread.update(c)
            made = (
                z, bands.update(c), strength.update(c), ranges.update(h, lo, c), trend.update(h, lo, c),
                smooth.update(c), cross.update(c),
            )  # fmt: skip
        return made

    def flat(made):
        return np.array([x for item in made for x in (item if isinstance(item, tuple) else (item,))])

    cases["streaming"] = Case(streamed, flat)
    return cases


def _rows(made):
    return np.atleast_2d(np.asarray(made))


serve(prepare, talib.__version__)
