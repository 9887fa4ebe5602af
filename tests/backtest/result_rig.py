"""Results and markets built by hand, as an engine and the store would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perp_bot.backtest.market import Candles, Funding, Market, SymbolMarket
from perp_bot.backtest.results import BacktestResult, SimulatedTrade, Trades
from perp_bot.core.timeframes import HOUR_MS, length_ms
from perp_bot.core.types import Instrument

START_MS = 1_767_225_600_000  # 2026-01-01
STEP_MS = length_ms("15m")


def trade(**given: Any) -> SimulatedTrade:
    """Return a trade of 1 coin from 100; `net_usd` follows from gross, fees and funding."""
    values: dict[str, Any] = {
        "symbol": "BTC", "side": "long", "decided_ms": START_MS, "opened_ms": START_MS,
        "closed_ms": START_MS + 4 * STEP_MS, "size": 1.0, "entry_px": 100.0, "exit_px": 101.0, "stop_px": 95.0,
        "exit_reason": "zscore_exit", "entry_is_maker": True, "gross_usd": 1.0, "fees_usd": 0.1, "funding_usd": -0.05,
        "slippage_usd": 0.02, "mae_usd": -0.5, "mfe_usd": 1.5, "missing_funding_hours": 0,
    }  # fmt: skip
    values |= given
    values.setdefault("last_stop_px", values["stop_px"])
    values.setdefault("net_usd", values["gross_usd"] - values["fees_usd"] + values["funding_usd"])
    return SimulatedTrade(**values)


def columns(rows: Sequence[SimulatedTrade]) -> Trades:
    """Return trades as the columns of a result."""
    symbols = tuple(sorted({row.symbol for row in rows})) or ("BTC",)
    reasons = tuple(sorted({row.exit_reason for row in rows})) or ("zscore_exit",)

    def floats(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64)

    def whole(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([getattr(row, name) for row in rows], dtype=np.int64)

    return Trades(
        symbols=symbols,
        reasons=reasons,
        symbol=np.array([symbols.index(row.symbol) for row in rows], dtype=np.int32),
        side=np.array([1 if row.side == "long" else -1 for row in rows], dtype=np.int8),
        decided_ms=whole("decided_ms"),
        opened_ms=whole("opened_ms"),
        closed_ms=whole("closed_ms"),
        size=floats("size"),
        entry_px=floats("entry_px"),
        exit_px=floats("exit_px"),
        stop_px=floats("stop_px"),
        exit_reason=np.array([reasons.index(row.exit_reason) for row in rows], dtype=np.int8),
        entry_is_maker=np.array([row.entry_is_maker for row in rows], dtype=np.bool_),
        gross_usd=floats("gross_usd"),
        fees_usd=floats("fees_usd"),
        funding_usd=floats("funding_usd"),
        slippage_usd=floats("slippage_usd"),
        net_usd=floats("net_usd"),
        mae_usd=floats("mae_usd"),
        mfe_usd=floats("mfe_usd"),
        missing_funding_hours=np.array([row.missing_funding_hours for row in rows], dtype=np.int32),
        last_stop_px=floats("last_stop_px"),
    )


def result(
    equity: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]],
    rows: Sequence[SimulatedTrade] = (),
    *,
    timeframe: str = "15m",
    start_usd: float = 1000.0,
    held: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]] | None = None,
    **given: Any,
) -> BacktestResult:
    """Return a result with one boundary a value of `equity`, the first one a candle after START_MS."""
    step = length_ms(timeframe)
    count = len(equity)
    values: dict[str, Any] = {
        "strategy": "mean_reversion", "symbols": ("BTC",), "rows": count, "data_hash": "d" * 16,
    } | given  # fmt: skip
    return BacktestResult(
        timeframe=timeframe,
        start_equity_usd=start_usd,
        trades=columns(rows),
        close_ms=START_MS + (np.arange(count, dtype=np.int64) + 1) * step,
        equity_usd=np.asarray(equity, dtype=np.float64),
        held_usd=np.zeros(count) if held is None else np.asarray(held, dtype=np.float64),
        **values,
    )


def market(closes: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]], *, rate: float | None = None) -> Market:
    """Return a market of BTC whose first candle closes at START_MS; `rate` is the funding of every hour."""
    close = np.asarray(closes, dtype=np.float64)
    before = np.concatenate([close[:1], close[:-1]])
    open_ms = START_MS - STEP_MS + np.arange(len(close), dtype=np.int64) * STEP_MS
    hours = np.arange(START_MS, int(open_ms[-1]) + STEP_MS + 1, HOUR_MS, dtype=np.int64) if rate is not None else []
    candles = Candles(
        "15m", open_ms, before, np.maximum(before, close), np.minimum(before, close), close, np.ones(len(close))
    )
    funding = Funding(np.asarray(hours, dtype=np.int64), np.full(len(hours), rate or 0.0))
    instrument = Instrument("BTC", 0, 5, 40)
    return Market("15m", (SymbolMarket("BTC", instrument, "bundled 2026-01-01", candles, funding),), data_hash="d" * 16)
