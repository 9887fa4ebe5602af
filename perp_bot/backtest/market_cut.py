"""A market without what comes after a moment: what is not there cannot be looked at."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from perp_bot.backtest.market import Candles, Market, SymbolMarket
from perp_bot.core.timeframes import length_ms

_Columns = TypeVar("_Columns")


def until(market: Market, end_ms: int) -> Market:
    """Return the market with what was known at `end_ms`: candles closed by then, minutes over, hours settled."""
    symbols = tuple(_symbol(item, end_ms) for item in market.symbols)
    regimes = None if market.regimes is None else _head(market.regimes, "venue_ms", end_ms)
    return replace(market, symbols=symbols, regimes=regimes)


def _symbol(item: SymbolMarket, end_ms: int) -> SymbolMarket:
    candles = _candles(item.candles, end_ms)
    fine = None if item.fine is None else _candles(item.fine, end_ms)
    return replace(
        item,
        candles=candles,
        generated_rows=min(item.generated_rows, len(candles)),  # at most: which rows they are is not known here
        fine=fine,
        generated_fine_rows=min(item.generated_fine_rows, 0 if fine is None else len(fine)),
        funding=_head(item.funding, "hour_ms", end_ms),
        minutes=None if item.minutes is None else _head(item.minutes, "minute_ms", end_ms - 60_000),
    )


def _candles(candles: Candles, end_ms: int) -> Candles:
    return _head(candles, "open_ms", end_ms - length_ms(candles.timeframe))


def _head(columns: _Columns, times: str, last_ms: int) -> _Columns:
    """Return the rows up to `last_ms`, that one included."""
    count = int(np.searchsorted(getattr(columns, times), last_ms, side="right"))
    changed: dict[str, Any] = {
        item.name: getattr(columns, item.name)[:count]
        for item in fields(columns)  # type: ignore[arg-type]
        if isinstance(getattr(columns, item.name), np.ndarray)
    }
    return replace(columns, **changed)  # type: ignore[type-var]
