"""Hourly candles without end: the recorded ones, then a seeded block bootstrap of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from perp_bot.practice.market import noise
from perp_bot.practice.market.coins import CoinSpec
from perp_bot.practice.market.noise import Floats, Ints
from perp_bot.practice.market.numbers import tick_units

RECORDED_HOURS = 800
RECORDED_START_MS = 1_767_006_000_000  # 2025-12-29T11:00:00Z
BLOCK_HOURS = 24
_BLOCK_KEY = 7
# Daily pull of the bootstrap's level towards where the recording ended: without it a price would sooner or later
# wander to nothing. 2 % of the log distance a day is invisible within a month.
_PULL_PER_DAY = 0.02

OPEN, HIGH, LOW, CLOSE, VOLUME, COUNT = range(6)


def load_recorded(source: str) -> Floats:
    """Return the recorded rows of BTC or ETH as (hours, 5): open, high, low, close in USD, volume in coins."""
    path = Path(__file__).parent.parent / "recorded" / f"hyperliquid_{source.lower()}_1h.csv.gz"
    with gzip.open(path, "rt", encoding="ascii") as text:
        rows = np.array([[float(cell) for cell in line.split(",")] for line in text.readlines()[1:]])
    if len(rows) != RECORDED_HOURS or int(rows[0, 0]) != RECORDED_START_MS:
        raise AssertionError(f"{path.name} is not the bundled recording")
    prices: Floats = rows[:, 1:]
    return prices


class SourceHours:
    """One recorded coin's hours as floats, continued by whole blocks of recorded hours chained by their returns.

    Which hours a block repeats depends on the seed and the block's number alone, and is the same for all coins,
    so that their common moves stay common.
    """

    def __init__(self, source: str, seed: int) -> None:
        self._seed = seed
        self._recorded = load_recorded(source)
        closes = np.log(self._recorded[:, CLOSE])
        self._drift = float((closes[-1] - closes[0]) / (RECORDED_HOURS - 1))
        self._base = float(self._recorded[-1, CLOSE])
        self._levels = [self._base]  # close before block j; grows by one float a day

    @property
    def first_open(self) -> float:
        """Open of the first recorded hour."""
        return float(self._recorded[0, OPEN])

    @property
    def recorded(self) -> Floats:
        """The recorded rows."""
        return self._recorded

    def block(self, number: int) -> Floats:
        """Return the rows of bootstrap block `number` (0 follows the recording)."""
        while len(self._levels) <= number:
            last = len(self._levels) - 1
            self._levels.append(float(self._rows(last)[-1, CLOSE]))
        return self._rows(number)

    def _rows(self, number: int) -> Floats:
        level = self._levels[number]
        start = int(noise.generator(self._seed, _BLOCK_KEY, number).integers(1, RECORDED_HOURS - BLOCK_HOURS + 1))
        rows = self._recorded[start : start + BLOCK_HOURS].copy()
        pull = self._drift + _PULL_PER_DAY / BLOCK_HOURS * float(np.log(level / self._base))
        scale = level / float(self._recorded[start - 1, CLOSE]) * np.exp(-pull * np.arange(BLOCK_HOURS))
        rows[:, :VOLUME] *= scale[:, None]
        return rows


class CoinHours:
    """The hourly rows of one coin in integers: prices in units, volume in size steps, and the count of trades."""

    def __init__(self, coin: CoinSpec, source: SourceHours) -> None:
        self._coin = coin
        self._source = source
        self._unit: int = 10**coin.px_decimals
        first = source.recorded
        self._median_volume = 1.0
        self._median_volume = float(np.median(self._convert(first)[:, VOLUME]))
        self._rows = self._convert(first)

    def upto(self, hour: int) -> Ints:
        """Return the rows 0 .. `hour` and some beyond, as (hours, 6) in the order of this module's column names."""
        while len(self._rows) <= hour:
            block = (len(self._rows) - RECORDED_HOURS) // BLOCK_HOURS
            self._rows = np.concatenate([self._rows, self._convert(self._source.block(block))])
        return self._rows

    def tick(self, hour: int) -> int:
        """Return the price step of the hour in units: what five significant figures leave at its high."""
        return self._tick(int(self.upto(hour)[hour, HIGH]))

    def _tick(self, high_units: int) -> int:
        return min(tick_units(high_units), self._unit)

    def _convert(self, rows: Floats) -> Ints:
        coin = self._coin
        prices = rows[:, :VOLUME]
        volume = rows[:, VOLUME]
        if coin.base_px is not None:
            derived = coin.base_px * (prices / self._source.first_open) ** coin.beta
            volume = volume * prices[:, CLOSE] / derived[:, CLOSE] * coin.volume_share
            prices = derived
        out = np.empty((len(rows), 6), np.int64)
        for index, row in enumerate(prices):
            tick = self._tick(round(float(row[HIGH]) * self._unit))
            out[index, :VOLUME] = np.rint(row * self._unit / tick).astype(np.int64) * tick
        out[:, VOLUME] = np.maximum(np.rint(volume * 10**coin.sz_decimals), 100_000).astype(np.int64)
        pace = np.sqrt(out[:, VOLUME] / self._median_volume)
        out[:, COUNT] = np.clip(np.rint(60 * coin.trades_per_minute * pace), 360, 9_000).astype(np.int64)
        return out
