"""Scalar rules of the simulation, shared by the compiled account kernel and the plain engine.

Plain functions of floats and ints that numba can compile; nothing here imports numba. Prices go to the venue's grid
by the rules of `core.rounding`, in floats: the result is the float nearest to the decimal that the quantizer gives (a
property test compares them). A number within 1e-8 of a tick counts as being on it, as its shortest text does.
"""

from __future__ import annotations

import math

TIES = 1e-8  # ticks
MONEY = 1e8  # fees and funding are multiples of 1e-8 USD, as on the wire


def power_of_ten(exponent: int) -> float:
    """Return 10 to a whole power from 0 to 22, exactly."""
    value = 1.0
    for _ in range(exponent):
        value *= 10.0
    return value


def decimals_at(price: float, sz_decimals: int) -> int:
    """Return the decimals of the price grid at `price`: 5 significant figures, at most 6 - szDecimals, at least 0."""
    figures = 4
    power = 10.0
    while price >= power and figures > 0:
        power *= 10.0
        figures -= 1
    power = 1.0
    while price < 1.0 / power and figures < 12:
        power *= 10.0
        figures += 1
    return max(0, min(figures, 6 - sz_decimals))


def tick_down(price: float, sz_decimals: int) -> float:
    """Return the price on or below `price`; 0.0 when there is none."""
    scale = power_of_ten(decimals_at(price, sz_decimals))
    ticks = price * scale
    near = float(round(ticks))
    return near / scale if abs(ticks - near) < TIES else math.floor(ticks) / scale


def tick_up(price: float, sz_decimals: int) -> float:
    """Return the price on or above `price`."""
    scale = power_of_ten(decimals_at(price, sz_decimals))
    ticks = price * scale
    near = float(round(ticks))
    return near / scale if abs(ticks - near) < TIES else math.ceil(ticks) / scale


def next_tick(price: float, sz_decimals: int) -> float:
    """Return the first price above `price`, which is on the grid."""
    scale = power_of_ten(decimals_at(price, sz_decimals))
    return float(round(price * scale + 1.0)) / scale


def lots_down(size: float, sz_decimals: int) -> float:
    """Return the size truncated to the lot; 0.0 below one lot."""
    scale = power_of_ten(sz_decimals)
    lots = size * scale
    near = float(round(lots))
    return near / scale if abs(lots - near) < TIES else math.floor(lots) / scale


def to_money(usd: float) -> float:
    """Return an amount rounded to 1e-8 USD, half to even."""
    return float(round(usd * MONEY)) / MONEY
