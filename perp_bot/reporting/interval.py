"""The confidence interval of a mean: Student's t, so that few trades give a wide one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

_TINY = 1e-300


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """The mean of a sample, and where the true mean is with the given confidence."""

    count: int
    mean: float
    low: float
    high: float
    confidence: float
    enough: int | None  # how many such values would tell this mean from 0; None when no number would


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval | None:
    """Return the t interval of the mean of independent values; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = t_quantile(0.5 + confidence / 2, count - 1) * deviation / math.sqrt(count)
    enough = _enough(abs(mean), deviation, confidence) if mean else None
    return MeanInterval(count, mean, mean - half, mean + half, confidence, enough)


def _enough(mean: float, deviation: float, confidence: float) -> int:
    """Return the least number of values of this mean and deviation whose interval leaves 0 out."""
    count = max(2, math.ceil((NormalDist().inv_cdf(0.5 + confidence / 2) * deviation / mean) ** 2))
    # t is wider than the normal, by less and less: a few steps more
    while t_quantile(0.5 + confidence / 2, count - 1) * deviation / math.sqrt(count) > mean:
        count += 1 + count // 200
    return count


@lru_cache(maxsize=4096)
def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t, for a probability of at least one half."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(value: float, freedom: int) -> float:
    """Return the distribution function of Student's t at a value of at least 0."""
    return 1 - 0.5 * _beta_share(freedom / (freedom + value * value), freedom / 2, 0.5)


def _beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _beta_share(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):
        for factor in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + factor * d)
            c = _away(1 + factor / c)
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
