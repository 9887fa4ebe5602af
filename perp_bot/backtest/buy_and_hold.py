"""What holding the same coins over the same span would have come to: the cheapest strategy there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest import metrics
from perp_bot.backtest.curve import curve_sums
from perp_bot.backtest.funding_owed import funding_owed
from perp_bot.backtest.market import Market, SymbolMarket
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.timeframes import HOUR_MS, length_ms, periods_per_year

Column = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class BuyAndHold:
    """All equity long, unlevered, in equal parts a symbol, bought at the first close and sold at the last as taker."""

    equity_usd: Column  # at the closes of the result
    total_return: float
    annual_return: float | None
    sharpe: float | None
    max_drawdown: float
    fees_usd: float
    funding_usd: float  # longs pay a positive rate
    missing_funding_hours: int


def buy_and_hold(result: BacktestResult, market: Market, taker_fee_rate: float) -> BuyAndHold | None:
    """Return what holding came to; None when no symbol has two closes in the span."""
    held = [item for item in market.symbols if item.symbol in result.symbols]
    if len(result.close_ms) < 2 or not held:
        return None
    step = length_ms(market.timeframe)
    equity = np.full(len(result.close_ms), result.start_equity_usd)
    part = result.start_equity_usd / len(held)
    fees = funding = 0.0
    missing = bought = 0
    for item in held:
        first, last, closes = _span(item, result.close_ms, step)
        if last <= first:
            continue
        bought += 1
        prices = _prices(result.close_ms, item.candles.open_ms + step, closes, first, last)
        size = part / closes[first]
        fee = taker_fee_rate * part
        exit_fee = taker_fee_rate * size * closes[last]
        begin, end = int(item.candles.open_ms[first]) + step, int(result.close_ms[-1])
        paid, known = funding_owed(item, begin, result.close_ms)
        equity += size * prices - part - fee - size * paid
        equity[-1] -= exit_fee
        fees += fee + float(exit_fee)
        funding -= float(size * paid[-1])
        missing += end // HOUR_MS - begin // HOUR_MS - known
    if not bought:
        return None
    sums = curve_sums(result.start_equity_usd, equity, equity)
    year = periods_per_year(result.timeframe)
    growth = float(equity[-1]) / result.start_equity_usd
    return BuyAndHold(
        equity_usd=equity,
        total_return=growth - 1,
        annual_return=metrics.annual_return(growth, sums.candles, year),
        sharpe=metrics.sharpe(sums, year),
        max_drawdown=sums.drawdown,
        fees_usd=fees,
        funding_usd=funding,
        missing_funding_hours=missing,
    )


def _span(item: SymbolMarket, close_ms: Times, step: int) -> tuple[int, int, Column]:
    """Return the first and last candle that close in the span, and all closes."""
    closes_ms = item.candles.open_ms + step
    first = int(np.searchsorted(closes_ms, close_ms[0], "left"))
    last = int(np.searchsorted(closes_ms, close_ms[-1], "right")) - 1
    return first, last, item.candles.close


def _prices(close_ms: Times, closes_ms: Times, closes: Column, first: int, last: int) -> Column:
    """Return the last close at each time; before the first one its own price, so that nothing is gained there."""
    if last - first + 1 == len(close_ms) and np.array_equal(closes_ms[first : last + 1], close_ms):
        return closes[first : last + 1]  # no candle is missing
    return closes[np.clip(np.searchsorted(closes_ms, close_ms, "right") - 1, first, last)]
