"""Makes the synthetic candles that research is measured and tested on: the same, bit for bit, on every machine.

A slow walk that is pulled back to its level, a mean-reverting fat-tailed part and rare jumps. The bits come from
numpy's PCG64 (`random_raw`, whose stream is promised to stay; numpy's distributions are not), and what is made of them
needs only additions, products, quotients and square roots, which IEEE 754 rounds in one way: no `exp`, no `log`. Prices
are whole USD near 50,000, so they lie on the venue's grid and window sums of them are exact for everyone.
"""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.market import Candles, Funding, Market, SymbolMarket
from perp_bot.core.timeframes import length_ms
from perp_bot.core.types import Instrument

SEED = 42
FIRST_MS = 1_704_067_200_000  # 2024-01-01T00:00Z, a Monday
SZ_DECIMALS = 5
MAX_LEVERAGE = 40

_HOUR_MS = 3_600_000
_LEVEL_USD = 50_000.0
_PULL = 0.99998  # of the walk to its level, a bar
_WALK_USD = 12.0
_KEEPS = 0.93  # of the mean-reverting part, a bar
_REVERTING_USD = 30.0
_FAT = 0.02  # the smaller, the fatter the tails
_JUMP_EVERY = 2_000  # bars, on average
_JUMP_USD = 2_000.0
_LOWEST_USD = 10_000.0

# One stream of bits a purpose, so that fewer bars are the beginning of more.
_WALK, _REVERT, _TAIL, _JUMP, _JUMP_SIZE, _GAP, _HIGH, _LOW, _VOLUME, _RATE = range(10)

Floats = NDArray[np.float64]


def candles(rows: int, *, seed: int = SEED, timeframe: str = "1m") -> Candles:
    """Return `rows` candles without a gap. The first n of more are the same as n asked for."""
    close = _closes(rows, seed)
    before = np.concatenate(([_LEVEL_USD], close[:-1]))
    open_ = before + np.floor(_uniform(rows, seed, _GAP) * 5.0) - 2.0
    high = np.maximum(open_, close) + np.floor(_uniform(rows, seed, _HIGH) ** 2 * 40.0)
    low = np.minimum(open_, close) - np.floor(_uniform(rows, seed, _LOW) ** 2 * 40.0)
    volume = (1.0 + np.floor(_uniform(rows, seed, _VOLUME) * 1_000.0)) / 8.0
    open_ms = FIRST_MS + np.arange(rows, dtype=np.int64) * length_ms(timeframe)
    return Candles(timeframe, open_ms, open_, high, low, close, volume)


def market(symbols: tuple[str, ...], rows: int, *, timeframe: str = "1m", has_funding: bool = True) -> Market:
    """Return a market of `rows` candles a symbol, each symbol a walk of its own, with or without hourly funding."""
    made = []
    for number, symbol in enumerate(symbols):
        series = candles(rows, seed=SEED + number, timeframe=timeframe)
        hours = _hours(series) if has_funding else np.empty(0, np.int64)
        rates = (np.floor(_uniform(len(hours), SEED + number, _RATE) * 9.0) - 3.0) * 1e-5
        instrument = Instrument(symbol, number, SZ_DECIMALS, MAX_LEVERAGE)
        made.append(SymbolMarket(symbol, instrument, "synthetic", series, Funding(hours, rates)))
    return Market(timeframe, tuple(made), notes=("synthetic candles",))


def _closes(rows: int, seed: int) -> Floats:
    jumps = np.floor(_uniform(rows, seed, _JUMP) * _JUMP_EVERY) == 0.0
    steps = _bell(rows, seed, _WALK) * _WALK_USD + jumps * _bell(rows, seed, _JUMP_SIZE) * _JUMP_USD
    walk = np.array(list(accumulate(steps.tolist(), lambda at, step: at * _PULL + step)))
    shocks = _bell(rows, seed, _REVERT) * _REVERTING_USD / np.sqrt(_uniform(rows, seed, _TAIL) + _FAT)
    reverting = np.array(list(accumulate(shocks.tolist(), lambda at, shock: at * _KEEPS + shock)))
    return np.asarray(np.maximum(np.floor(_LEVEL_USD + walk + reverting), _LOWEST_USD))


def _hours(series: Candles) -> NDArray[np.int64]:
    first, last = int(series.open_ms[0]), int(series.open_ms[-1]) + length_ms(series.timeframe)
    return np.arange(first - first % _HOUR_MS, last + 1, _HOUR_MS, dtype=np.int64)


def _raw(rows: int, seed: int, purpose: int) -> NDArray[np.uint64]:
    raw: NDArray[np.uint64] = np.random.PCG64(np.random.SeedSequence((seed, purpose))).random_raw(rows)
    return raw


def _uniform(rows: int, seed: int, purpose: int) -> Floats:
    """Return numbers in [0, 1)."""
    return (_raw(rows, seed, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bell(rows: int, seed: int, purpose: int) -> Floats:
    """Return bell-shaped numbers of mean 0 and deviation 1: the sum of four uniform 16-bit numbers."""
    raw = _raw(rows, seed, purpose)
    total = sum((raw >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    return (np.asarray(total).astype(np.float64) - 131_070.0) / 37_837.0
