"""How answer times are spread: a log-normal distribution given by its mean and its 95th percentile."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from perp_bot.core.errors import UsageError

_Z95 = 1.6448536269514722  # the 95th percentile of the standard normal distribution
_WIDEST = math.exp(_Z95 * _Z95 / 2)  # a log-normal's 95th percentile is at most 3.87 times its mean


@dataclass(frozen=True, slots=True)
class Latency:
    """The logarithm of the time in ms is normal with this mean and deviation."""

    log_mean: float
    log_deviation: float

    @classmethod
    def of(cls, name: str, mean: object, p95: object) -> Latency:
        """Return the distribution with this mean and 95th percentile, in ms; UsageError when there is none."""
        for option, value in (("mean", mean), ("p95", p95)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise UsageError(f"fault {name}: {option} {value!r} is not a number of ms above 0; give mean and p95")
        assert isinstance(mean, int | float)
        assert isinstance(p95, int | float)
        if not mean <= p95 <= _WIDEST * mean:
            raise UsageError(f"fault {name}: p95 {p95:g} is not between the mean {mean:g} and {_WIDEST:.2f} times it")
        deviation = _Z95 - math.sqrt(max(0.0, _Z95 * _Z95 - 2 * math.log(p95 / mean)))
        return cls(math.log(mean) - deviation * deviation / 2, deviation)

    def draw_ms(self, source: random.Random) -> float:
        """Return one time."""
        return math.exp(source.gauss(self.log_mean, self.log_deviation))
