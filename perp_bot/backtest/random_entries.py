"""The same trades entered at random: what exposure alone would have earned, and how often luck does as well.

Number of trades, sides, notionals, holding lengths, fees and slippage are those of the result; only when each trade
begins is drawn anew, per symbol and without overlap, on the stored closes of the span.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.funding_owed import funding_owed
from perp_bot.backtest.market import Market, SymbolMarket
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.timeframes import length_ms

Column = NDArray[np.float64]
Places = NDArray[np.int64]

MAX_RUNS, MIN_RUNS = 1000, 200
QUANTILES = (0.05, 0.5, 0.95)
_MAX_DRAWS = 1_000_000  # so that a result of many trades does not take seconds
_CHUNK = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class RandomEntries:
    """Nets (USD) of accounts that entered at random, beside the real one."""

    runs: int
    trades: int
    net_usd: tuple[float, ...]  # QUANTILES of the runs
    actual_usd: float
    p_value: float  # (runs that did at least as well + 1) / (runs + 1)


def random_entries(result: BacktestResult, market: Market, seed: int) -> RandomEntries | None:
    """Return the comparison; None when no trade was closed or the trades leave no room to be moved."""
    trades = result.trades
    if not len(trades) or len(result.close_ms) < 2:
        return None
    runs = max(MIN_RUNS, min(MAX_RUNS, _MAX_DRAWS // len(trades)))
    rng = np.random.default_rng(seed)
    nets = np.zeros(runs)
    for place, symbol in enumerate(trades.symbols):
        chosen = np.flatnonzero(trades.symbol == place)
        item = next((item for item in market.symbols if item.symbol == symbol), None)
        if not len(chosen):
            continue
        if item is None or not _add(nets, result, item, chosen, rng):
            return None
    actual = float(trades.net_usd.sum())
    as_good = int((nets >= actual).sum())
    return RandomEntries(
        runs=runs,
        trades=len(trades),
        net_usd=tuple(np.quantile(nets, QUANTILES).tolist()),
        actual_usd=actual,
        p_value=(as_good + 1) / (runs + 1),
    )


def _add(nets: Column, result: BacktestResult, item: SymbolMarket, chosen: Places, rng: np.random.Generator) -> bool:
    """Add the nets of one symbol's trades, moved at random, to every run; False when there is no room."""
    trades, step = result.trades, length_ms(result.timeframe)
    closes_ms = item.candles.open_ms + step
    low, high = np.searchsorted(closes_ms, [result.close_ms[0], result.close_ms[-1] + 1])
    prices = item.candles.close[low:high]
    lengths = np.maximum(1, np.rint((trades.closed_ms[chosen] - trades.opened_ms[chosen]) / step)).astype(np.int64)
    free = len(prices) - 1 - int(lengths.sum())
    if free < 0:
        return False
    owed, _ = funding_owed(item, int(closes_ms[low]), closes_ms[low:high])
    notional = trades.size[chosen] * trades.entry_px[chosen] * trades.side[chosen]
    costs = float((trades.fees_usd[chosen] + trades.slippage_usd[chosen]).sum())
    chunk = max(1, _CHUNK // len(chosen))
    for first in range(0, len(nets), chunk):
        size = min(len(nets), first + chunk) - first
        order, begin, end = places(lengths, free, size, rng)
        coins = notional[order] / prices[begin]
        gains = coins * (prices[end] - prices[begin] - (owed[end] - owed[begin]))
        nets[first : first + size] += gains.sum(axis=1) - costs
    return True


def places(lengths: Places, free: int, runs: int, rng: np.random.Generator) -> tuple[Places, Places, Places]:
    """Return which trade comes when, and the bars it begins and ends at: a row a run, no two trades overlapping.

    The order is shuffled, and the `free` bars that no trade takes are spread between them at random.
    """
    count = len(lengths)
    order = rng.permuted(np.broadcast_to(np.arange(count), (runs, count)), axis=1)
    held = lengths[order]
    before = np.sort(rng.integers(0, free + 1, (runs, count)), axis=1)  # free bars before each trade
    begin = before + np.cumsum(held, axis=1) - held
    return order, begin, begin + held
