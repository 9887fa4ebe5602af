"""Values for the tests of execution: one coin with simple numbers."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core.types import (
    AssetContext,
    Book,
    BookLevel,
    Fill,
    Instrument,
    Liquidity,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderType,
    Position,
    PublicTrade,
    Side,
)
from perp_bot.execution.paper import PaperExecutor

CONFIG = Config()
BTC = Instrument("BTC", 0, 3, 40)
INSTRUMENTS = {"BTC": BTC, "OLD": Instrument("OLD", 1, 1, 3, is_delisted=True)}
T0 = 1_700_000_000_000


def D(text: str | int) -> Decimal:
    return Decimal(text)


def stop_rule(symbol: str, side: Side, entry_px: Decimal, size: Decimal, own_stop_px: float | None) -> float:
    """Lose 10 USD at the stop, as the real rule does with its own figures."""
    return float(entry_px - side.sign * Decimal(10) / size)


def executor() -> PaperExecutor:
    return PaperExecutor(CONFIG, "paper", INSTRUMENTS, stop_rule)


def intent(
    cloid: str = "0xe",
    side: OrderSide = OrderSide.BUY,
    size: str = "1",
    *,
    role: OrderRole = OrderRole.ENTRY,
    order_type: OrderType = OrderType.LIMIT,
    limit: str | None = "100",
    created_ms: int = T0,
    expires_ms: int | None = T0 + 30_000,
    symbol: str = "BTC",
    reason: str = "test",
) -> OrderIntent:
    is_limit = order_type is OrderType.LIMIT
    return OrderIntent(
        cloid,
        f"decision-{cloid}",
        symbol,
        side,
        role,
        order_type,
        Decimal(size),
        Decimal(limit) if limit is not None and is_limit else None,
        None,
        role is not OrderRole.ENTRY,
        created_ms,
        expires_ms if is_limit else None,
        "mean_reversion",
        "paper",
        reason,
    )


def exit_of(size: str = "1", *, cloid: str = "0xx", created_ms: int, side: OrderSide = OrderSide.SELL) -> OrderIntent:
    return intent(
        cloid,
        side,
        size,
        role=OrderRole.EXIT,
        order_type=OrderType.TAKER,
        created_ms=created_ms,
        reason="mean_reversion_complete",
    )


def trade(at: int, px: float, sz: float = 1.0, tid: int | None = None, symbol: str = "BTC") -> PublicTrade:
    return PublicTrade(symbol, T0 + at, px, sz, OrderSide.SELL, at if tid is None else tid)


def book(at: int, bid: float = 100.0, ask: float = 101.0, sz: float = 5.0, symbol: str = "BTC") -> Book:
    bids = tuple(BookLevel(bid - step, sz) for step in range(3))
    asks = tuple(BookLevel(ask + step, sz) for step in range(3))
    return Book(symbol, T0 + at, bids, asks)


def mark(at: int, px: float, symbol: str = "BTC") -> AssetContext:
    return AssetContext(symbol, T0 + at, px, px, None, None, None, None)


def fill(
    fill_id: str,
    side: OrderSide,
    size: str,
    px: str,
    *,
    at: int = 0,
    fee: str = "0",
    symbol: str = "BTC",
    role: OrderRole = OrderRole.ENTRY,
    reason: str = "test",
    cloid: str = "0xc",
) -> Fill:
    return Fill(
        fill_id,
        cloid,
        symbol,
        side,
        Decimal(px),
        Decimal(size),
        Decimal(fee),
        Liquidity.TAKER,
        T0 + at,
        role,
        "mean_reversion",
        "paper",
        reason,
        Decimal(0),
    )


def position(side: Side = Side.LONG, size: str = "1", entry: str = "100", opened: int = 0) -> Position:
    return Position(
        "BTC",
        side,
        Decimal(size),
        Decimal(entry),
        T0 + opened,
        "mean_reversion",
        "paper",
        stop_rule("BTC", side, Decimal(entry), Decimal(size), None),
        None,
        "decision-0xe",
    )
