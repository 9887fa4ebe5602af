"""How much a price reverts, with its error: variance ratio and half-life. Pure numbers, no market.

Variance ratio (Lo and MacKinlay, "Stock Market Prices Do Not Follow Random Walks", Review of Financial Studies, 1988):
the variance of q-bar log returns over q times that of one-bar returns, both unbiased, overlapping. 1 on a random walk,
below 1 where moves are taken back, above 1 in a trend. With n returns r, mean m, d_t = (r_t - m)^2:

    VR = [sum (x_t - x_{t-q} - q m)^2 / (q (n - q + 1) (1 - q / n))] / [sum d / (n - 1)]
    se^2 = sum_{j=1}^{q-1} (2 (q - j) / q)^2 sum_{t>j} d_t d_{t-j} / (sum d)^2

The standard error is the one that holds under a random walk whose volatility changes with time (their z*).

Half-life: x_t = a + phi x_{t-1} + e by least squares on log prices, phi corrected for its bias in small samples by
+ (1 + 3 phi) / n (Kendall, "Note on Bias in the Estimation of Autocorrelation", Biometrika, 1954); half-life
= ln 2 / -ln phi, the discrete Ornstein-Uhlenbeck process. Without an end where phi is not below 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.float64]
SURE = 1.959963984540054  # two-sided 95 %
_FLAT = 1e-18
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class VarianceRatio:
    """VR(q) of a series; `low` and `high` are the 95 % interval around it by the error of a random walk."""

    horizon: int  # q, bars
    returns: int
    ratio: float
    error: float
    z: float  # (ratio - 1) / error: below -1.645, reversion at 5 %
    low: float
    high: float

    @property
    def p_reverting(self) -> float:
        """The probability of so low a ratio on a random walk (one-sided)."""
        return _NORMAL.cdf(self.z)


@dataclass(frozen=True, slots=True)
class HalfLife:
    """AR(1) of log prices; bars. `high_bars` None: no end, the interval holds a random walk."""

    phi: float  # bias-corrected
    error: float
    bars: float | None
    low_bars: float | None
    high_bars: float | None


def variance_ratio(log_price: Column, horizon: int) -> VarianceRatio | None:
    """Return VR(horizon); None for fewer than 10 horizons of returns, or prices that do not move."""
    n, q = len(log_price) - 1, horizon
    if q < 2 or n < 10 * q:
        return None
    returns = np.diff(log_price)
    mean = float(log_price[-1] - log_price[0]) / n
    squared = (returns - mean) ** 2
    total = float(squared.sum())
    if not total > _FLAT:
        return None
    long = log_price[q:] - log_price[:-q] - q * mean
    ratio = (float((long**2).sum()) / (q * (n - q + 1) * (1 - q / n))) / (total / (n - 1))
    variance = 0.0
    for lag in range(1, q):
        variance += (2 * (q - lag) / q) ** 2 * float((squared[lag:] * squared[:-lag]).sum())
    error = math.sqrt(variance) / total
    return VarianceRatio(q, n, ratio, error, (ratio - 1) / error, ratio - SURE * error, ratio + SURE * error)


def half_life(log_price: Column) -> HalfLife | None:
    """Return the half-life of deviations; None for fewer than 30 prices, or prices that do not move."""
    n = len(log_price) - 1
    if n < 29:
        return None
    before, now = log_price[:-1] - log_price[:-1].mean(), log_price[1:] - log_price[1:].mean()
    spread = float((before**2).sum())
    if not spread > _FLAT:
        return None
    raw = float((before * now).sum()) / spread
    residual = now - raw * before
    error = math.sqrt(float((residual**2).sum()) / (n - 2) / spread)
    phi = raw + (1 + 3 * raw) / n
    return HalfLife(phi, error, _bars(phi), _bars(phi - SURE * error), _bars(phi + SURE * error))


def _bars(phi: float) -> float | None:
    if phi >= 1:
        return None
    return 0.0 if phi <= 0 else math.log(2) / -math.log(phi)
