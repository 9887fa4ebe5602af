"""A small database and a log for dashboard tests, written by the daemon's own writer."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

from perp_bot.core.clock import FixedClock
from perp_bot.core.types import (
    Action,
    ClosedTrade,
    DecisionRecord,
    GateReason,
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
from perp_bot.data.db.rows import DecisionRow, EventRow, OrderRow, PositionRow, Row, TradeRow
from perp_bot.data.db.writer import Writer

T0_MS = 1_795_239_067_000


def a_trade(number: int, *, net: str = "1.94", reason: str = "mean_reversion_complete") -> ClosedTrade:
    """Return a closed long trade."""
    return ClosedTrade(
        trade_id=f"trade-{number}",
        symbol="BTC",
        side=Side.LONG,
        size=Decimal("0.0156"),
        entry_px=Decimal(64100),
        exit_px=Decimal(64240),
        opened_ms=T0_MS - 90_000_000 + number * 1_000,
        closed_ms=T0_MS - 80_000_000 + number * 60_000,
        gross_usd=Decimal(net) + Decimal("0.25"),
        fees_usd=Decimal("0.25"),
        funding_usd=Decimal(0),
        net_usd=Decimal(net),
        exit_reason=reason,
        strategy="mean_reversion",
        source="paper",
        entry_decision_id=f"mean_reversion:BTC:15m:{number}",
        stopped=reason.endswith("stop"),
    )


def a_decision(number: int, *, blocked: bool = False) -> DecisionRecord:
    """Return an evaluation that did not trade."""
    return DecisionRecord(
        decision_id=f"mean_reversion:BTC:15m:{T0_MS - 900_000 * (100 - number)}",
        symbol="BTC",
        timeframe="15m",
        close_ms=T0_MS - 900_000 * (100 - number),
        strategy="mean_reversion",
        source="paper",
        action=Action.BLOCKED if blocked else Action.HOLD,
        side=Side.SHORT if blocked else None,
        reason="z 2.31 > 2.00" if blocked else "z 0.42 is inside +/-2.00",
        close_px=64_200.0,
        stop_px=None,
        target_px=None,
        notional_usd=None,
        regime=Regime.NORMAL,
        provisional=False,
        indicators={"zscore": 2.31 if blocked else 0.42, "rsi": 55.0, "adx": 18.0},
        conditions={"z": blocked},
        thresholds={"zscore_entry": 2.0},
        account={"equity": 671.42},
        blocked_by=(GateReason("cooldown", "12 min of 30 min cooldown left"),) if blocked else (),
    )


def a_resting_stop() -> Order:
    """Return the position's stop, resting."""
    intent = OrderIntent(
        cloid="0x" + "5e" * 16,
        decision_id="mean_reversion:BTC:15m:1",
        symbol="BTC",
        side=OrderSide.SELL,
        role=OrderRole.STOP,
        order_type=OrderType.STOP_MARKET,
        size=Decimal("0.0156"),
        limit_px=None,
        trigger_px=Decimal(63012),
        reduce_only=True,
        created_ms=T0_MS - 4_320_000,
        expires_ms=None,
        strategy="mean_reversion",
        source="paper",
        reason="capital stop",
    )
    return Order(intent, OrderState.OPEN, Decimal(0), None, T0_MS - 4_320_000)


def an_open_position() -> Position:
    """Return the position that the fake daemon shows too."""
    return Position(
        symbol="BTC",
        side=Side.LONG,
        size=Decimal("0.0156"),
        entry_px=Decimal("64300.5"),
        opened_ms=T0_MS - 4_320_000,
        strategy="mean_reversion",
        source="paper",
        stop_px=63_012.0,
        target_px=None,
        entry_decision_id="mean_reversion:BTC:15m:1",
        fees_usd=Decimal("0.15"),
    )


def fill_database(path: Path) -> None:
    """Write two trades, some decisions and events, a position and its stop."""
    rows: list[Row] = [
        TradeRow(a_trade(1)),
        TradeRow(a_trade(2, net="-4.20", reason="zscore_stop")),
        *(DecisionRow(a_decision(number, blocked=number % 7 == 0), wall_ms=T0_MS) for number in range(90, 100)),
        EventRow(T0_MS - 11_000_000, T0_MS, "STARTED", None, "paper daemon started on practice"),
        EventRow(T0_MS - 4_320_000, T0_MS, "OPEN", "BTC", "long 0.0156 at 64,300.5, stop 63,012"),
        PositionRow("paper", "BTC", an_open_position()),
        OrderRow(a_resting_stop()),
    ]
    with Writer(path, backups=None, emergency=None, clock=FixedClock(T0_MS)) as writer:
        writer.put(*rows)
        writer.flush(5.0)


def log_line(number: int, level: str = "INFO", **extra: object) -> str:
    """Return one JSON line of the daemon's log."""
    record = {
        "ts": f"2026-11-21T05:31:{number % 60:02d}.{number % 1000:03d}Z",
        "level": level,
        "logger": "perp_bot.trading.loop",
        "msg": f"line {number}",
        **extra,
    }
    return json.dumps(record) + "\n"


def write_log(path: Path, lines: int) -> None:
    """Write a log with a warning every 10 lines and an error every 50."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            level = "ERROR" if number % 50 == 49 else "WARNING" if number % 10 == 9 else "INFO"
            file.write(log_line(number, level, symbol="BTC"))
