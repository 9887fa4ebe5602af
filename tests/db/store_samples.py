"""One value of every kind of row, and strategies that make many."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from perp_bot.core.types import (
    Action,
    Candle,
    CandleSource,
    ClosedTrade,
    DecisionRecord,
    Fill,
    FundingPayment,
    FundingRate,
    GateReason,
    Liquidity,
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
from perp_bot.data.db.rows import AssetMinute

HOUR = 3_600_000
T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday


def candle(open_ms: int = T0, close: float = 100.5, source: CandleSource = CandleSource.REST) -> Candle:
    return Candle("BTC", "15m", open_ms, 100.0, 101.0, 99.0, close, 12.25, 34, source)


DECISION = DecisionRecord(
    decision_id="mean_reversion:BTC:15m:1767225600000",
    symbol="BTC",
    timeframe="15m",
    close_ms=T0,
    strategy="mean_reversion",
    source="paper",
    action=Action.BLOCKED,
    side=Side.SHORT,
    reason="z 2.31 > 2.00",
    close_px=100123.5,
    stop_px=None,
    target_px=99000.25,
    notional_usd=1005.0,
    regime=Regime.HIGH_RISK,
    provisional=False,
    indicators={"zscore": 2.31, "adx": None, "rsi": 0.1 + 0.2},
    conditions={"zscore": True, "adx": None},
    thresholds={"entry": 2.5},
    account={"equity_usd": 670.0, "open_positions": 1, "cooldown_until_ms": None, "note": "größer"},
    blocked_by=(GateReason("cooldown", "12 s of 1800 s left"), GateReason("max_positions", "1 of 1 open")),
    signals={"spread_bps": 0.5, "note": "", "depth": None},
)

INTENT = OrderIntent(
    cloid="0x" + "ab" * 16,
    decision_id=DECISION.decision_id,
    symbol="BTC",
    side=OrderSide.SELL,
    role=OrderRole.ENTRY,
    order_type=OrderType.LIMIT,
    size=Decimal("0.01003"),
    limit_px=Decimal("100124"),
    trigger_px=None,
    reduce_only=False,
    created_ms=T0,
    expires_ms=T0 + 30_000,
    strategy="mean_reversion",
    source="paper",
    reason="z 2.31 > 2.00",
    stop_px=102127.4,
    target_px=None,
)

ORDER = Order(INTENT, OrderState.PARTLY_FILLED, Decimal("0.004"), Decimal("100124.5"), T0 + 5, "half there")

FILL = Fill(
    fill_id=INTENT.cloid + ":1",
    cloid=INTENT.cloid,
    symbol="BTC",
    side=OrderSide.SELL,
    px=Decimal("100124"),
    size=Decimal("0.004"),
    fee_usd=Decimal("0.060074400"),
    liquidity=Liquidity.MAKER,
    venue_ms=T0 + 5,
    role=OrderRole.ENTRY,
    strategy="mean_reversion",
    source="paper",
    reason="z 2.31 > 2.00",
    closed_pnl_usd=Decimal(0),
)

PAYMENT = FundingPayment(
    symbol="BTC",
    hour_ms=T0 + HOUR,
    signed_size=Decimal("-0.01003"),
    oracle_px=Decimal("100200.5"),
    rate=Decimal("0.0000125"),
    usd=Decimal("0.012562637687500"),
    strategy="mean_reversion",
    source="paper",
)

TRADE = ClosedTrade(
    trade_id="t-1",
    symbol="BTC",
    side=Side.SHORT,
    size=Decimal("0.01003"),
    entry_px=Decimal("100124"),
    exit_px=Decimal("99000"),
    opened_ms=T0,
    closed_ms=T0 + HOUR,
    gross_usd=Decimal("11.27372"),
    fees_usd=Decimal("0.59"),
    funding_usd=Decimal("0.0125"),
    net_usd=Decimal("10.69622"),
    exit_reason="mean_reversion_complete",
    strategy="mean_reversion",
    source="paper",
    entry_decision_id=DECISION.decision_id,
    stopped=False,
)

POSITION = Position(
    symbol="BTC",
    side=Side.SHORT,
    size=Decimal("0.01003"),
    entry_px=Decimal("100124.123456789012345"),
    opened_ms=T0,
    strategy="mean_reversion",
    source="paper",
    stop_px=102127.4,
    target_px=None,
    entry_decision_id=DECISION.decision_id,
    fees_usd=Decimal("0.1"),
    funding_usd=Decimal("-0.02"),
    realized_usd=Decimal("1.5"),
)

MINUTE = AssetMinute("BTC", T0, (1.0, 4.0, 0.5, 2.0), (1.5, 3.5, 1.25, 2.5), 1234.5, None, 0.0000125, 60)
RATE = FundingRate("BTC", T0, 0.0000125, None)

amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=12)
prices = st.floats(min_value=1e-9, max_value=1e9, allow_nan=False)
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
times = st.integers(min_value=0, max_value=2**53)
