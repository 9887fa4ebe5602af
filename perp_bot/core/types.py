"""The words everyone uses: market data, decisions, orders, positions. Frozen values, no behaviour beyond arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from perp_bot.core import timeframes


class Side(StrEnum):
    """Direction of a position."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 long, -1 short."""
        return 1 if self is Side.LONG else -1

    @property
    def opening(self) -> OrderSide:
        """The order side that opens it."""
        return OrderSide.BUY if self is Side.LONG else OrderSide.SELL

    @property
    def closing(self) -> OrderSide:
        """The order side that closes it."""
        return OrderSide.SELL if self is Side.LONG else OrderSide.BUY

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SHORT if self is Side.LONG else Side.LONG


class OrderSide(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 buy, -1 sell."""
        return 1 if self is OrderSide.BUY else -1


class Regime(StrEnum):
    """The state of the world that scales thresholds and sizes (its source is the signal service)."""

    NORMAL = "NORMAL"
    HIGH_RISK = "HIGH_RISK"
    CRISIS = "CRISIS"
    DOVISH_SHIFT = "DOVISH_SHIFT"
    HAWKISH_SHIFT = "HAWKISH_SHIFT"


class CandleSource(StrEnum):
    """Where a candle row came from; a REST row is final, a stream row is provisional."""

    REST = "rest"
    STREAM = "stream"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Candle:
    """One candle. Prices in USD, volume in coins, `open_ms` the open time."""

    symbol: str
    timeframe: str
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int | None = None
    source: CandleSource = CandleSource.REST

    @property
    def close_ms(self) -> int:
        """First ms after the candle."""
        return timeframes.close_of(self.timeframe, self.open_ms)


@dataclass(frozen=True, slots=True)
class AssetContext:
    """A perp's running context: mark triggers stops, oracle prices funding. `venue_ms` is our reading of the time."""

    symbol: str
    venue_ms: int
    mark_px: float
    oracle_px: float
    mid_px: float | None
    funding_hourly: float | None
    open_interest: float | None  # coins
    premium: float | None
    day_ntl_vlm_usd: float | None = None


@dataclass(frozen=True, slots=True)
class BookLevel:
    """One price level: price in USD, size in coins."""

    px: float
    sz: float


@dataclass(frozen=True, slots=True)
class Book:
    """An order book snapshot, best levels first."""

    symbol: str
    venue_ms: int
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """One trade of the public tape; `aggressor` took liquidity."""

    symbol: str
    venue_ms: int
    px: float
    sz: float
    aggressor: OrderSide
    tid: int


@dataclass(frozen=True, slots=True)
class MarginTier:
    """From a notional of `lower_bound_usd` on, `max_leverage` holds; maintenance rate = 1 / (2 x max_leverage)."""

    lower_bound_usd: float
    max_leverage: int


@dataclass(frozen=True, slots=True)
class Instrument:
    """What the venue's meta says about a perp."""

    symbol: str
    asset_id: int
    sz_decimals: int
    max_leverage: int
    is_delisted: bool = False
    margin_table_id: int | None = None
    margin_tiers: tuple[MarginTier, ...] = ()  # lowest bound first; empty: one tier at `max_leverage`


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One settled hourly funding rate; `hour_ms` is the whole hour it belongs to."""

    symbol: str
    hour_ms: int
    rate: float
    premium: float | None


# ---------------------------------------------------------------- decisions


@dataclass(frozen=True, slots=True)
class Enter:
    """Open a position. `stop_px` and `target_px` in USD (None: risk sets the capital stop, no target)."""

    symbol: str
    side: Side
    reason: str
    stop_px: float | None = None
    target_px: float | None = None
    confidence: float = 1.0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Exit:
    """Close the position."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, and say why. `stop_px`: a nearer stop for the open position (a trailing one)."""

    symbol: str
    reason: str
    stop_px: float | None = None


StrategyDecision = Enter | Exit | Hold


class Action(StrEnum):
    """What came of an evaluation, as stored in the journal."""

    ENTER = "enter"
    EXIT = "exit"
    HOLD = "hold"
    BLOCKED = "blocked"  # the strategy wanted to enter, something forbade it; `blocked_by` says what


@dataclass(frozen=True, slots=True)
class GateReason:
    """One limit that forbade an entry: numerator, denominator and window in `text`."""

    rule: str  # stable name: max_positions, cooldown, daily_loss_limit, session_drawdown, ...
    text: str


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One row of the decision journal: the outcome and every number that led to it.

    `decision_id` is derived from strategy, symbol, timeframe and close, never random. All values that depend on the
    wall clock are kept out: a restart, a replay and a re-decision give the identical row.
    """

    decision_id: str
    symbol: str
    timeframe: str
    close_ms: int
    strategy: str
    source: str  # mode: paper, live, backtest
    action: Action
    side: Side | None
    reason: str
    close_px: float | None
    stop_px: float | None
    target_px: float | None
    notional_usd: float | None
    regime: Regime
    provisional: bool
    indicators: dict[str, float | None] = field(default_factory=dict)
    conditions: dict[str, bool | None] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    account: dict[str, float | int | str | None] = field(default_factory=dict)
    blocked_by: tuple[GateReason, ...] = ()
    signals: dict[str, float | int | str | None] | None = None


# ---------------------------------------------------------------- orders


class OrderRole(StrEnum):
    """Why an order exists."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP = "stop"


class OrderType(StrEnum):
    """How it is executed."""

    LIMIT = "limit"
    TAKER = "taker"  # immediate or cancel
    STOP_MARKET = "stop_market"  # triggered by mark


class OrderState(StrEnum):
    """States of the order machine (`execution.orders` holds the table of legal moves)."""

    INTENT = "intent"  # on disk, not sent
    OPEN = "open"  # accepted and resting
    PARTLY_FILLED = "partly_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # sent, no answer


class Liquidity(StrEnum):
    """Which fee a fill pays."""

    MAKER = "maker"
    TAKER = "taker"


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What is committed to the journal before anything is sent."""

    cloid: str  # "0x" + 32 hex digits, derived from the decision
    decision_id: str
    symbol: str
    side: OrderSide
    role: OrderRole
    order_type: OrderType
    size: Decimal
    limit_px: Decimal | None
    trigger_px: Decimal | None
    reduce_only: bool
    created_ms: int
    expires_ms: int | None  # venue time at which a limit entry falls back to taker
    strategy: str
    source: str
    reason: str
    stop_px: float | None = None  # the position's stop, for an entry
    target_px: float | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as it stands; `filled` is cumulative."""

    intent: OrderIntent
    state: OrderState
    filled: Decimal
    avg_px: Decimal | None
    updated_ms: int
    note: str = ""

    @property
    def remaining(self) -> Decimal:
        """Size not yet filled."""
        return self.intent.size - self.filled

    @property
    def is_live(self) -> bool:
        """Whether it can still fill."""
        return self.state in (OrderState.INTENT, OrderState.OPEN, OrderState.PARTLY_FILLED, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Fill:
    """One fill. `fill_id` is unique and derived (order and sequence on paper; time, coin and tid live)."""

    fill_id: str
    cloid: str
    symbol: str
    side: OrderSide
    px: Decimal
    size: Decimal
    fee_usd: Decimal
    liquidity: Liquidity
    venue_ms: int
    role: OrderRole
    strategy: str
    source: str
    reason: str
    closed_pnl_usd: Decimal  # realised by this fill, before its fee


@dataclass(frozen=True, slots=True)
class FundingPayment:
    """One hour's funding of one position. `usd` positive = received, negative = paid: -(szi x oracle x rate)."""

    symbol: str
    hour_ms: int
    signed_size: Decimal
    oracle_px: Decimal
    rate: Decimal
    usd: Decimal
    strategy: str
    source: str


@dataclass(frozen=True, slots=True)
class Position:
    """An open position. Stop is a price; funding positive = received."""

    symbol: str
    side: Side
    size: Decimal
    entry_px: Decimal  # size-weighted average
    opened_ms: int
    strategy: str
    source: str
    stop_px: float | None
    target_px: float | None
    entry_decision_id: str
    fees_usd: Decimal = Decimal(0)
    funding_usd: Decimal = Decimal(0)
    realized_usd: Decimal = Decimal(0)  # part closes, before fees

    @property
    def signed_size(self) -> Decimal:
        """Size with the side's sign."""
        return self.size * self.side.sign

    def unrealized_usd(self, mark_px: float | Decimal) -> Decimal:
        """Open PnL at `mark_px`, before fees."""
        return self.signed_size * (Decimal(str(mark_px)) - self.entry_px)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """One round trip, from flat to flat. `net_usd` = gross - fees + funding."""

    trade_id: str
    symbol: str
    side: Side
    size: Decimal
    entry_px: Decimal
    exit_px: Decimal
    opened_ms: int
    closed_ms: int
    gross_usd: Decimal
    fees_usd: Decimal
    funding_usd: Decimal
    net_usd: Decimal
    exit_reason: str
    strategy: str
    source: str
    entry_decision_id: str
    stopped: bool  # any stop: capital stop, zscore_stop
