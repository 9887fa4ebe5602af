"""The luck of a fill: a number that depends on the fill alone.

No sequence is carried: the same fill draws the same number whatever else happened, so that two parameter sets, two
machines and two engines are compared on the same luck. splitmix64 (Steele, Lea, Flood 2014) over seed, symbol, time
and role; the account kernel has the same in machine words.
"""

from __future__ import annotations

ENTRY, EXIT = 1, 2
GOLDEN, MIX_A, MIX_B = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 0xFFFFFFFFFFFFFFFF


def unit_draw(seed: int, symbol: int, at_ms: int, role: int) -> float:
    """Return a number in [0, 1) for the fill of the `symbol`-th coin of the account at `at_ms`."""
    state = (seed * GOLDEN + symbol * MIX_A + role * MIX_B + at_ms) & _WORD
    return (_mixed(_mixed(state)) >> 11) / 9007199254740992.0


def _mixed(state: int) -> int:
    z = (state + GOLDEN) & _WORD
    z = ((z ^ (z >> 30)) * MIX_A) & _WORD
    z = ((z ^ (z >> 27)) * MIX_B) & _WORD
    return z ^ (z >> 31)
