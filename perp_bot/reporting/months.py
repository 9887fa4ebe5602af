"""Returns by calendar month (UTC), from equity at the last close of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perp_bot.backtest.results import BacktestResult


@dataclass(frozen=True, slots=True)
class Year:
    """One year: returns of its twelve months (None: not in the span) and of the whole of what is in the span."""

    year: int
    months: tuple[float | None, ...]
    total: float


def by_month(result: BacktestResult) -> list[Year]:
    """Return the years of the span, oldest first. A close at midnight belongs to the day that ends."""
    if not len(result.close_ms):
        return []
    months = (result.close_ms - 1).astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    ends = np.append(np.flatnonzero(np.diff(months)), len(months) - 1)
    found: dict[int, list[float | None]] = {}
    growth: dict[int, float] = {}
    before = result.start_equity_usd
    for place in ends.tolist():
        year, month = divmod(int(months[place]), 12)
        equity = float(result.equity_usd[place])
        change = equity / before - 1 if before > 0 else 0.0
        found.setdefault(1970 + year, [None] * 12)[month] = change
        growth[1970 + year] = growth.get(1970 + year, 1.0) * (1 + change)
        before = equity
    return [Year(year, tuple(months), growth[year] - 1) for year, months in found.items()]
