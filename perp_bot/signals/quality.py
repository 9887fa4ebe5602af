"""How confident a value is: completeness x freshness over what was asked."""

from __future__ import annotations

from collections.abc import Mapping


def completeness(values: Mapping[str, float | None]) -> float:
    """Return the share of the asked values that are there (3 of 4: 0.75); nothing asked is nothing known: 0."""
    if not values:
        return 0.0
    return sum(value is not None for value in values.values()) / len(values)


def freshness(staleness_s: float | None, fresh_s: float, max_age_s: float) -> float:
    """Return 1 up to `fresh_s`, falling in a straight line to 0 at `max_age_s`; 0 without any input."""
    if staleness_s is None or staleness_s >= max_age_s:
        return 0.0
    if staleness_s <= fresh_s:
        return 1.0
    return (max_age_s - staleness_s) / (max_age_s - fresh_s)
