"""What each regime does to thresholds and sizes: one table.

| regime        | long entry | short entry | exit  | size                                  | entries |
|---------------|------------|-------------|-------|---------------------------------------|---------|
| NORMAL        | x 1        | x 1         | x 1   | x 1                                   | yes     |
| HIGH_RISK     | x 1.25     | x 1.25      | x 5/3 | x prediction.position_size_reduction  | yes     |
| CRISIS        | x 1.25     | x 1.25      | x 5/3 | x 0                                   | none    |
| DOVISH_SHIFT  | x 0.9      | x 1         | x 1   | x 1                                   | yes     |
| HAWKISH_SHIFT | x 1        | x 0.9       | x 1   | x 1                                   | yes     |

At the defaults HIGH_RISK enters beyond 2.5 and exits inside 0.5. A factor scales the z threshold and the width of the
band on that side together: with equal length and sigma they are one condition, and scaling only one would leave the
other to decide. CRISIS keeps the wide thresholds of HIGH_RISK so that an open position is not held longer in a crisis
than in high risk; it enters nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from perp_bot.core.types import Regime, Side

DEFAULT_HIGH_RISK_SIZE = 0.5


@dataclass(frozen=True, slots=True)
class RegimeFactors:
    """Multipliers of one regime."""

    entry_long: Fraction
    entry_short: Fraction
    exit: Fraction
    size: float
    entries_allowed: bool

    def entry(self, side: Side) -> Fraction:
        """Return the factor of the entry threshold (and band width) of `side`."""
        return self.entry_long if side is Side.LONG else self.entry_short


_ONE = Fraction(1)
_WIDE = Fraction(5, 4)
_EARLY = Fraction(5, 3)
_EASIER = Fraction(9, 10)

_TABLE: dict[Regime, RegimeFactors] = {
    Regime.NORMAL: RegimeFactors(_ONE, _ONE, _ONE, 1.0, True),
    Regime.HIGH_RISK: RegimeFactors(_WIDE, _WIDE, _EARLY, DEFAULT_HIGH_RISK_SIZE, True),
    Regime.CRISIS: RegimeFactors(_WIDE, _WIDE, _EARLY, 0.0, False),
    Regime.DOVISH_SHIFT: RegimeFactors(_EASIER, _ONE, _ONE, 1.0, True),
    Regime.HAWKISH_SHIFT: RegimeFactors(_ONE, _EASIER, _ONE, 1.0, True),
}


def factors(regime: Regime) -> RegimeFactors:
    """Return the multipliers of `regime`."""
    return _TABLE[regime]


def size_factor(regime: Regime, position_size_reduction: float) -> float:
    """Return the share of the normal size that `regime` allows; HIGH_RISK takes the configured reduction."""
    return position_size_reduction if regime is Regime.HIGH_RISK else _TABLE[regime].size


def scaled(value: float, factor: Fraction) -> float:
    """Return `value` times `factor`; exactly `value` when the factor is 1, and 0.3 x 5/3 is exactly 0.5."""
    return value if factor == 1 else value * factor.numerator / factor.denominator
