"""Seeded randomness with random access: the same key gives the same number, whatever was asked before."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_SHIFT_A, _SHIFT_B, _SHIFT_C = np.uint64(30), np.uint64(27), np.uint64(31)


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return a generator that depends on `seed` and `key` (non-negative integers) alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, *key))))


@lru_cache(maxsize=4_096)
def _salt(seed: int, key: int) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest(), "little"))


def uniform(seed: int, key: int, at: Ints) -> Floats:
    """Return one number in [0, 1) for each integer of `at` (splitmix64 of seed, key and integer)."""
    mixed = (at.astype(np.uint64) + _salt(seed, key)) * _GOLDEN
    mixed = (mixed ^ (mixed >> _SHIFT_A)) * _MIX_A
    mixed = (mixed ^ (mixed >> _SHIFT_B)) * _MIX_B
    mixed ^= mixed >> _SHIFT_C
    return (mixed >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def smooth(seed: int, key: int, at_ms: Ints, period_ms: int) -> Floats:
    """Return value noise in [-1, 1]: random levels every `period_ms`, joined by smooth curves."""
    cell = at_ms // period_ms
    part = (at_ms - cell * period_ms) / period_ms
    ease = part * part * (3.0 - 2.0 * part)
    left = uniform(seed, key, cell) * 2.0 - 1.0
    right = uniform(seed, key, cell + 1) * 2.0 - 1.0
    blended: Floats = left + (right - left) * ease
    return blended


def split(total: int, weights: Floats) -> Ints:
    """Return non-negative integers in proportion to `weights` that sum to `total`; largest remainders get the rest."""
    exact = weights * (total / weights.sum())
    parts: Ints = np.floor(exact).astype(np.int64)
    left = total - int(parts.sum())
    while left < 0:  # float rounding above the total, at most by the number of parts
        parts[int(np.argmax(parts))] -= 1
        left += 1
    if left:
        order = np.argsort(parts - exact, kind="stable")
        whole, rest = divmod(left, len(parts))
        parts += whole
        parts[order[:rest]] += 1
    return parts
