"""Fills of one order at one moment as one row, as `aggregateByTime` asks."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

Json = dict[str, Any]


def by_order_and_time(rows: Iterable[Json], *, newest_first: bool = False) -> list[Json]:
    """Return the rows with neighbours of one order at one time made one: sizes, fees and profits add up.

    The price is the average by size; everything else is that of the fill that came first.
    """
    out: list[list[Json]] = []
    for row in rows:
        if out and all(out[-1][0][key] == row[key] for key in ("oid", "time", "coin", "side")):
            out[-1].append(row)
        else:
            out.append([row])
    return [_merged(group, group[-1 if newest_first else 0]) for group in out]


def _merged(group: list[Json], first: Json) -> Json:
    if len(group) == 1:
        return group[0]
    size = sum((Decimal(row["sz"]) for row in group), Decimal(0))
    notional = sum((Decimal(row["sz"]) * Decimal(row["px"]) for row in group), Decimal(0))
    merged = {**first, "px": _wire(round(notional / size, 10)), "sz": _wire(size)}
    for key in ("fee", "closedPnl", "builderFee"):
        if key in first:
            merged[key] = _wire(sum((Decimal(row[key]) for row in group), Decimal(0)))
    return merged


def _wire(value: Decimal) -> str:
    text = f"{value.normalize():f}"
    return text if "." in text else f"{text}.0"
