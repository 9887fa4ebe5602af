"""What can be written: one small value a row kind. The writer thread alone turns them into SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perp_bot.core.types import (
    Candle,
    ClosedTrade,
    DecisionRecord,
    Fill,
    FundingPayment,
    FundingRate,
    Order,
    Position,
)


@dataclass(frozen=True, slots=True)
class CandleRows:
    """Candles to upsert; bumps the revision of every series that really changed."""

    candles: tuple[Candle, ...]
    generated: bool = False


@dataclass(frozen=True, slots=True)
class AssetMinute:
    """One minute of marks and oracle prices of a coin (None = no sample of that kind)."""

    symbol: str
    minute_ms: int
    mark_ohlc: tuple[float, float, float, float]
    oracle_ohlc: tuple[float, float, float, float]
    open_interest: float | None
    premium: float | None
    funding_estimate: float | None
    samples: int


@dataclass(frozen=True, slots=True)
class FundingRateRow:
    """A settled rate."""

    funding: FundingRate


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """A journal row, with wall latencies kept in their own table."""

    record: DecisionRecord
    wall_ms: int
    confirm_ms: float | None = None
    decide_ms: float | None = None


@dataclass(frozen=True, slots=True)
class OrderRow:
    """Insert or update an order by cloid."""

    order: Order


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill (insert; an equal fill_id is ignored)."""

    fill: Fill


@dataclass(frozen=True, slots=True)
class FundingDueRow:
    """An hour passed with a position open: its rate is still to come (rate and usd NULL)."""

    symbol: str
    hour_ms: int
    signed_size: str
    oracle_px: str
    strategy: str
    source: str


@dataclass(frozen=True, slots=True)
class FundingPaidRow:
    """The rate came: the payment is booked."""

    payment: FundingPayment


@dataclass(frozen=True, slots=True)
class TradeRow:
    """A closed round trip."""

    trade: ClosedTrade


@dataclass(frozen=True, slots=True)
class PositionRow:
    """The open position of a symbol, or None when flat."""

    source: str
    symbol: str
    position: Position | None


@dataclass(frozen=True, slots=True)
class EquityRow:
    """Equity at a primary close."""

    source: str
    venue_ms: int
    equity_usd: float
    cash_usd: str
    unrealized_usd: float


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something that happened."""

    venue_ms: int
    wall_ms: int
    kind: str
    symbol: str | None
    text: str
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StateRow:
    """One key of bot_state (JSON value)."""

    key: str
    value: Any
    updated_ms: int


@dataclass(frozen=True, slots=True)
class SignalRow:
    """A signal snapshot."""

    venue_ms: int
    scale: str
    snapshot: dict[str, Any]


Row = (
    CandleRows
    | AssetMinute
    | FundingRateRow
    | DecisionRow
    | OrderRow
    | FillRow
    | FundingDueRow
    | FundingPaidRow
    | TradeRow
    | PositionRow
    | EquityRow
    | EventRow
    | StateRow
    | SignalRow
)
