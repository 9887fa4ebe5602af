"""The public trades of one minute: their sizes sum to the candle's volume, their prices are the path's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from perp_bot.practice.market import noise
from perp_bot.practice.market.hours import COUNT, VOLUME
from perp_bot.practice.market.noise import Ints
from perp_bot.practice.market.path import MIN_TRADES, HourPath

POPULATION = 200
_TRADES_KEY, _PEOPLE_KEY = 3, 4


@dataclass(frozen=True, slots=True)
class MinuteTape:
    """One minute's trades as columns, in time order. `at_ms` counts from the minute's start."""

    at_ms: Ints
    px_units: Ints
    size_units: Ints
    is_buy: Ints  # 1: the aggressor bought
    buyer: Ints  # index into the population
    seller: Ints
    key: str  # what hashes and trade ids derive from

    def trade_hash(self, index: int) -> str:
        """Return the transaction hash of one trade: 0x and 64 hex digits."""
        return "0x" + hashlib.blake2b(f"{self.key}/{index}".encode(), digest_size=32).hexdigest()

    def tid(self, index: int) -> int:
        """Return the trade's id: 50 bits, unique together with time and coin."""
        digest = hashlib.blake2b(f"tid/{self.key}/{index}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> 14


def addresses(seed: int) -> list[str]:
    """Return the fixed population that all trades are between."""
    return [
        "0x" + hashlib.blake2b(f"address/{seed}/{index}".encode(), digest_size=20).hexdigest()
        for index in range(POPULATION)
    ]


def minute_tape(row: Ints, path: HourPath, seed: int, coin: int, hour: int, minute: int) -> MinuteTape:
    """Return the trades of one minute; `row` is its candle in units.

    The first trade is in the first second at the open, the last in the last second at the close, and the seconds of
    high and low have one each, so that the candle is exactly what the trades make.
    """
    random = noise.generator(seed, _TRADES_KEY, coin, hour, minute)
    prices = path.last[minute * 60 : minute * 60 + 60]
    sides = path.aggressor[minute * 60 : minute * 60 + 60]
    count = int(row[COUNT])
    seconds = np.empty(count, np.int64)
    seconds[:MIN_TRADES] = 0, int(np.argmax(prices)), int(np.argmin(prices)), 59
    seconds[MIN_TRADES:] = np.minimum(60 * random.random(count - MIN_TRADES), 59).astype(np.int64)
    at_ms = seconds * 1_000 + (1 + 999 * random.random(count)).astype(np.int64)
    at_ms.sort()
    seconds = at_ms // 1_000
    sizes = 1 + noise.split(int(row[VOLUME]) - count, np.exp(1.4 * random.standard_normal(count)))
    # A few addresses do most of the trading: squares crowd the low indices.
    buyer = (POPULATION * random.random(count) ** 2).astype(np.int64)
    apart = 1 + ((POPULATION - 1) * random.random(count) ** 2).astype(np.int64)
    return MinuteTape(
        at_ms=at_ms,
        px_units=prices[seconds].astype(np.int64) * path.tick,
        size_units=sizes,
        is_buy=(sides[seconds] > 0).astype(np.int64),
        buyer=buyer,
        seller=(buyer + apart) % POPULATION,
        key=f"{seed}/{coin}/{hour}/{minute}",
    )
