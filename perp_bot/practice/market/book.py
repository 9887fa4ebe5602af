"""The order book at a moment: a function of seed, coin and time, twenty levels a side, never crossed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perp_bot.practice.market import noise
from perp_bot.practice.market.coins import CoinSpec
from perp_bot.practice.market.noise import Floats, Ints

DEPTH = 20
EPOCH_MS = 500  # sizes change at most this often
_RESTING_MS = 20_000  # most of a level's size stays for this long
_SIZE_KEY, _FLICKER_KEY, _EMPTY_KEY = 101, 102, 103
_EMPTY_SHARE = 0.12  # of price steps behind the best hold no order
_DECAY_TICKS = 400.0


@dataclass(frozen=True, slots=True)
class BookSide:
    """Levels of one side, best first: price in units, size in size steps, number of orders."""

    px: Ints
    size: Ints
    orders: Ints


@dataclass(frozen=True, slots=True)
class BookShot:
    """Both sides at one moment."""

    bids: BookSide
    asks: BookSide


def book_at(
    coin: CoinSpec,
    index: int,
    seed: int,
    bid: int,
    ask: int,
    tick: int,
    since_origin_ms: int,
    bucket: int | None = None,
) -> BookShot:
    """Return the book around `bid` and `ask` (ticks of `tick` units).

    `bucket` (ticks) aggregates as nSigFigs does: bids rounded down, asks up.
    """
    epoch = since_origin_ms // EPOCH_MS
    resting = since_origin_ms // _RESTING_MS
    unit_px = tick / 10**coin.px_decimals
    return BookShot(
        _side(coin, index, seed, bid, -1, tick, unit_px, epoch, resting, bucket),
        _side(coin, index, seed, ask, 1, tick, unit_px, epoch, resting, bucket),
    )


def _side(
    coin: CoinSpec,
    index: int,
    seed: int,
    best: int,
    step: int,
    tick: int,
    unit_px: float,
    epoch: int,
    resting: int,
    bucket: int | None,
) -> BookSide:
    reach = 2 * DEPTH if bucket is None else DEPTH * bucket + 2 * DEPTH
    if step < 0:
        reach = min(reach, best)  # no price below one tick
    prices = best + step * np.arange(reach, dtype=np.int64)
    key = (index << 8) + (1 if step > 0 else 0)
    filled = noise.uniform(seed, _EMPTY_KEY + (key << 8), prices + (resting << 24)) >= _EMPTY_SHARE
    filled[0] = True
    sizes, orders = _sizes(coin, seed, key, prices, unit_px, epoch, resting)
    prices, sizes, orders = prices[filled], sizes[filled], orders[filled]
    if bucket is not None and bucket > 1:
        groups = prices // bucket if step < 0 else -(-prices // bucket)
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        prices = groups[starts] * bucket
        sizes = np.add.reduceat(sizes, starts)
        orders = np.add.reduceat(orders, starts)
    return BookSide(prices[:DEPTH] * tick, sizes[:DEPTH], orders[:DEPTH])


def _sizes(
    coin: CoinSpec, seed: int, key: int, prices: Ints, unit_px: float, epoch: int, resting: int
) -> tuple[Ints, Ints]:
    """Return size (steps) and number of orders of each price: a slow part, a flicker, and less far away."""
    slow = noise.uniform(seed, _SIZE_KEY + (key << 8), prices + (resting << 24))
    flicker = noise.uniform(seed, _FLICKER_KEY + (key << 8), prices + (epoch << 24))
    distance = np.arange(len(prices), dtype=np.float64)
    usd: Floats = coin.level_usd * (-np.log1p(-slow)) ** 1.3 * (0.8 + 0.4 * flicker) / (1.0 + distance / _DECAY_TICKS)
    # The venue's impact prices are walked over a fixed notional: the best level always holds it, so that they are
    # the best prices and the hour's premium can be summed without twelve hundred books.
    usd[0] = max(float(usd[0]), coin.impact_usd * 1.05)
    sizes = np.maximum(1, np.ceil(usd / (prices * unit_px) * 10**coin.sz_decimals)).astype(np.int64)
    orders = 1 + (np.sqrt(usd / coin.level_usd) * (1.0 + 6.0 * flicker)).astype(np.int64)
    return sizes, orders


def bucket_ticks(price_units: int, tick: int, sig_figs: int, mantissa: int | None) -> int:
    """Return the aggregation step in ticks for `nSigFigs` 2..5 and `mantissa` 2 or 5 (with 5 figures only)."""
    figures = len(str(price_units))
    units: int = 10 ** max(0, figures - sig_figs) * (mantissa or 1)
    return max(1, units // tick)
