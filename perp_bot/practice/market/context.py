"""Mark, oracle, premium and funding of one hour, computed from its path.

The oracle follows the mid behind a slowly varying premium, new every 3 s. The mark is the venue's median of three:
oracle plus the smoothed basis, the median of best bid, best ask and last trade, and a mid of other venues. The hourly
funding rate is the venue's formula over 5 s premium samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perp_bot.practice.market import noise
from perp_bot.practice.market.coins import CoinSpec
from perp_bot.practice.market.noise import Floats, Ints
from perp_bot.practice.market.path import HourPath

ORACLE_STEP_S = 3
PREMIUM_STEP_S = 5
_HOUR_MS = 3_600_000
_ORACLE_KEY = 5
_BASIS_KEY, _FOREIGN_KEY, _INTEREST_KEY = 201, 202, 203
# The premium is a sum of value noise: (period, size). With these sizes about one hour in ten leaves the band in
# which funding is exactly the base rate.
_PREMIUM_PARTS = ((36 * _HOUR_MS, 0.00042), (6 * _HOUR_MS, 0.00030), (_HOUR_MS // 2, 0.00008))
_PREMIUM_LEVEL = -0.00005
_ORACLE_NOISE = 0.00003  # standard deviation of one oracle reading
_FOREIGN_BASIS = 0.00005
_SMOOTHING_MS = 150_000


@dataclass(frozen=True, slots=True)
class HourContext:
    """One hour: oracle and mark every 3 s in USD, premium samples every 5 s with their running mean."""

    oracle_px: Floats
    mark_px: Floats
    premium: Floats
    premium_mean: Floats  # of the samples so far

    def oracle_at(self, second: int) -> float:
        """Return the oracle price that stands in the hour's `second`."""
        return float(self.oracle_px[second // ORACLE_STEP_S])

    def mark_at(self, second: int) -> float:
        """Return the mark price that stands in the hour's `second`."""
        return float(self.mark_px[second // ORACLE_STEP_S])

    @property
    def premium_of_hour(self) -> float:
        """Mean of all samples of the hour."""
        return float(self.premium_mean[-1])


def hour_context(path: HourPath, coin: CoinSpec, seed: int, index: int, hour: int) -> HourContext:
    """Return the contexts of one hour."""
    unit = path.tick / 10**coin.px_decimals
    bid, ask = path.bid * unit, path.ask * unit
    at = np.arange(0, 3_600, ORACLE_STEP_S)
    at_ms = hour * _HOUR_MS + at * 1_000
    mid = (bid[at] + ask[at]) / 2.0
    basis = premium_level(coin, seed, index, at_ms)
    lagged = premium_level(coin, seed, index, at_ms - _SMOOTHING_MS)
    random = noise.generator(seed, _ORACLE_KEY, index, hour)
    oracle = mid / (1.0 + basis) * (1.0 + _ORACLE_NOISE * random.standard_normal(len(at)))
    oracle = np.round(oracle, coin.px_decimals)

    smoothed = oracle * (1.0 + lagged)
    traded = path.last[at] * unit
    foreign = mid * (1.0 + _FOREIGN_BASIS * noise.smooth(seed, _FOREIGN_KEY + (index << 8), at_ms, 600_000))
    mark = np.round(np.median(np.stack([smoothed, traded, foreign]), axis=0), coin.px_decimals)

    sampled = np.arange(0, 3_600, PREMIUM_STEP_S)
    standing = oracle[sampled // ORACLE_STEP_S]
    above = np.maximum(bid[sampled] - standing, 0.0)
    below = np.maximum(standing - ask[sampled], 0.0)
    premium = (above - below) / standing
    mean = np.cumsum(premium) / np.arange(1, len(premium) + 1)
    return HourContext(oracle, mark, premium, mean)


def premium_level(coin: CoinSpec, seed: int, index: int, since_origin_ms: Ints) -> Floats:
    """Return the slow premium of the perp over the oracle (a fraction)."""
    level = np.full(len(since_origin_ms), _PREMIUM_LEVEL)
    for part, (period_ms, size) in enumerate(_PREMIUM_PARTS):
        level += size * noise.smooth(
            seed, _BASIS_KEY + (index << 8) + (part << 16), since_origin_ms + _HOUR_MS, period_ms
        )
    return level * coin.premium_scale


def open_interest(coin: CoinSpec, seed: int, index: int, since_origin_ms: int) -> float:
    """Return the open interest in coins: a slow wander of a fifth around the coin's level."""
    at = np.array([since_origin_ms])
    slow = noise.smooth(seed, _INTEREST_KEY + (index << 8), at, 48 * _HOUR_MS)[0]
    fast = noise.smooth(seed, _INTEREST_KEY + (index << 8) + (1 << 16), at, _HOUR_MS)[0]
    return float(coin.open_interest * (1.0 + 0.18 * slow + 0.02 * fast))


def hourly_rate(premium: float) -> float:
    """Return the hourly funding rate of a mean premium: (P + clamp(0.0001 - P, -0.0005, 0.0005)) / 8, within 4 %.

    Venue's funding page. Worked example: P = 0.0003 gives 0.0000125, P = 0.001 gives (0.001 - 0.0005) / 8 = 0.0000625.
    """
    eight_hours = premium + min(max(0.0001 - premium, -0.0005), 0.0005)
    return min(max(eight_hours / 8.0, -0.04), 0.04)
