"""How sure a Sharpe ratio is: probabilistic and deflated Sharpe ratio.

Sources: Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (Journal of Risk, 2012) and "The Deflated
Sharpe Ratio" (Journal of Portfolio Management, 2014). All Sharpe ratios here are of single candles, not annualised.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from perp_bot.backtest.curve import CurveSums

EULER = 0.5772156649015329
_NORMAL = NormalDist()


def skewness(sums: CurveSums) -> float:
    """Return the skewness of the returns (population moments); 0 where they do not vary."""
    variance = sums.second / max(1, sums.candles)
    return sums.third / sums.candles / variance**1.5 if variance > 0 else 0.0


def kurtosis(sums: CurveSums) -> float:
    """Return the kurtosis of the returns (3 for a normal distribution); 3 where they do not vary."""
    variance = sums.second / max(1, sums.candles)
    return sums.fourth / sums.candles / variance**2 if variance > 0 else 3.0


def probabilistic_sharpe(sharpe: float, beyond: float, candles: int, skew: float, kurt: float) -> float:
    """Return the probability that the true Sharpe ratio is above `beyond`, given the measured one.

    Z[(SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)].
    """
    spread = 1 - skew * sharpe + (kurt - 1) / 4 * sharpe * sharpe
    # the moments of real returns keep it above 0; rounding of a sample of two need not
    return _NORMAL.cdf((sharpe - beyond) * math.sqrt(max(0, candles - 1)) / math.sqrt(max(spread, 1e-12)))


def expected_best(trials: int, variance: float) -> float:
    """Return the Sharpe ratio that the best of `trials` without any edge is expected to show.

    sqrt(V) ((1 - e) Z^-1[1 - 1/N] + e Z^-1[1 - 1/(N exp 1)]), e the Euler-Mascheroni constant; 0 for one trial.
    """
    if trials < 2:
        return 0.0
    high = _NORMAL.inv_cdf(1 - 1 / trials)
    higher = _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
    return math.sqrt(variance) * ((1 - EULER) * high + EULER * higher)


def deflated_sharpe(sharpe: float, candles: int, skew: float, kurt: float, trials: int, variance: float) -> float:
    """Return the probability that the true Sharpe ratio is above what luck alone gives the best of `trials`.

    `variance` is that of the trials' Sharpe ratios.
    """
    return probabilistic_sharpe(sharpe, expected_best(trials, variance), candles, skew, kurt)
