"""Writes integers in fixed decimals as the venue writes numbers on the wire."""

from __future__ import annotations


def wire(value: int, decimals: int) -> str:
    """Return `value` x 10^-decimals as the venue writes it: no trailing zeros, but always one decimal ("84143.0")."""
    if decimals == 0:
        return f"{value}.0"
    if value < 0:
        return "-" + wire(-value, decimals)
    digits = str(value).zfill(decimals + 1)
    return f"{digits[:-decimals]}.{digits[-decimals:].rstrip('0') or '0'}"


def wire_float(value: float, decimals: int) -> str:
    """Return a float rounded to `decimals` as the venue writes it."""
    return wire(round(value * 10**decimals), decimals)


def tick_units(price_units: int) -> int:
    """Return the price step, in units, that five significant figures leave at this price.

    A unit is 10^-(6 - szDecimals) USD, the finest step that the decimals rule allows; whole dollars are always
    allowed, which the caller applies by capping the step at one dollar.
    """
    return int(10 ** max(0, len(str(price_units)) - 5))
