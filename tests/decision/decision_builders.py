"""Values for the tests of the decision path: views that enter, hold and exit, and candle series."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from decimal import Decimal

from perp_bot.config.model import Config, ExecutionConfig, RiskConfig, SignalsConfig
from perp_bot.core.types import (
    Book,
    BookLevel,
    Candle,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderState,
    OrderType,
    Position,
    Regime,
    Side,
)
from perp_bot.decision.path import Boundary, SymbolInput
from perp_bot.indicators.row import IndicatorRow
from perp_bot.risk.limits import RiskView
from perp_bot.risk.state import RiskState
from perp_bot.strategies.mean_reversion import MeanReversion
from perp_bot.strategies.protocol import MarketView

TF = "15m"
TF_MS = 900_000
CLOSE = 1_728_000_000_000  # 2024-10-04T00:00:00Z
CONFIG = Config()
STRATEGY = MeanReversion(SignalsConfig(), TF, 400)
INSTRUMENTS = {"BTC": Instrument("BTC", 0, 5, 40), "ETH": Instrument("ETH", 1, 4, 25)}
STATE = RiskState(
    day_start_ms=CLOSE,
    day_start_equity_usd=670.0,
    last_equity_usd=670.0,
    session_start_ms=0,
    session_peak_usd=670.0,
    peak_usd=670.0,
)
RISK = RiskView(now_ms=CLOSE, state=STATE, equity_usd=670.0)

SHORT = IndicatorRow(zscore=2.1, bb_upper=104.0, bb_middle=100.0, bb_lower=96.0, rsi=71.0, adx=20.0)
LONG = replace(SHORT, zscore=-2.1, rsi=29.0)
QUIET = replace(SHORT, zscore=0.8, rsi=50.0)
DONE = replace(SHORT, zscore=0.1, rsi=50.0)
STOPPED = replace(SHORT, zscore=-3.2)
_CLOSES = {SHORT: 104.5, LONG: 95.5}


def config(*, execution: dict[str, object] | None = None, risk: dict[str, object] | None = None) -> Config:
    return replace(
        CONFIG,
        execution=replace(ExecutionConfig(), **(execution or {})),  # type: ignore[arg-type]
        risk=replace(RiskConfig(), **(risk or {})),  # type: ignore[arg-type]
    )


def view(row: IndicatorRow, symbol: str = "BTC", close_ms: int = CLOSE, **changes: object) -> MarketView:
    px = _CLOSES.get(row, 101.0)
    candle = Candle(symbol, TF, close_ms - TF_MS, px, px, px, px, 1.0)
    made = MarketView(symbol, TF, close_ms, candle, 512, row, Regime.NORMAL, None)
    return replace(made, **changes)  # type: ignore[arg-type]


def book(symbol: str = "BTC", at: int = CLOSE, bid: float = 100.0, ask: float = 100.5) -> Book:
    return Book(symbol, at, (BookLevel(bid, 5.0),), (BookLevel(ask, 5.0),))


def item(row: IndicatorRow | None, symbol: str = "BTC", close_ms: int = CLOSE, **changes: object) -> SymbolInput:
    seen = None if row is None else view(row, symbol, close_ms)
    made = SymbolInput(symbol, seen, INSTRUMENTS[symbol], book(symbol, close_ms))
    return replace(made, **changes)  # type: ignore[arg-type]


def boundary(*items: SymbolInput, close_ms: int = CLOSE, **changes: object) -> Boundary:
    made = Boundary(TF, close_ms, close_ms + 500, "paper", Regime.NORMAL, items, RISK)
    return replace(made, **changes)  # type: ignore[arg-type]


def position(side: Side = Side.LONG, symbol: str = "BTC", size: str = "10") -> Position:
    return Position(
        symbol, side, Decimal(size), Decimal(100), CLOSE - 7_200_000, "mean_reversion", "paper", 98.0, None, "entry-id"
    )


def entry_order(side: OrderSide = OrderSide.BUY, symbol: str = "BTC") -> Order:
    intent = OrderIntent(
        "0xlive",
        "entry-id",
        symbol,
        side,
        OrderRole.ENTRY,
        OrderType.LIMIT,
        Decimal(10),
        Decimal(100),
        None,
        False,
        CLOSE - 1000,
        CLOSE + 29_000,
        "mean_reversion",
        "paper",
        "x",
    )
    return Order(intent, OrderState.OPEN, Decimal(0), None, CLOSE - 1000)


def series(bars: int, seed: int = 7, symbol: str = "BTC", end_ms: int = CLOSE) -> list[Candle]:
    """A mean-reverting path with bursts, so that every kind of decision occurs."""
    rng = random.Random(seed)
    level, drift, out = 100.0, 0.0, []
    for place in range(bars):
        opened = level
        drift = 0.7 * drift + rng.gauss(0, 0.25)
        level = max(
            1.0, level + drift + 0.04 * (100.0 - level) + (rng.choice((-3.0, 3.0)) if rng.random() < 0.03 else 0)
        )
        high, low = max(opened, level) + abs(rng.gauss(0, 0.1)), min(opened, level) - abs(rng.gauss(0, 0.1))
        assert math.isfinite(level)
        out.append(Candle(symbol, TF, end_ms - (bars - place) * TF_MS, opened, high, low, level, 1.0))
    return out
