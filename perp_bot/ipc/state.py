"""The daemon's state as it goes over the socket: immutable snapshots, every number with its age.

Ages are seconds at the time the snapshot was encoded (`as_of_ms` is the venue's time); the receiver adds its own
monotonic time since receipt. Missing is None, never 0. Prices and amounts are USD, sizes coins.
"""

from __future__ import annotations

import msgspec

PROTOCOL_VERSION = 1


class Ages(msgspec.Struct, frozen=True, omit_defaults=False):
    """Seconds since each part last moved; None = never."""

    loop_s: float | None  # since the trading loop last finished a pass (it ticks at least every 0.5 s)
    stream_s: float | None  # since the last venue message
    reconcile_s: float | None  # since positions were last checked against the account
    db_write_s: float | None  # since the last committed write


class PriceState(msgspec.Struct, frozen=True):
    """Newest prices of a coin."""

    symbol: str
    mark_px: float | None
    oracle_px: float | None
    mid_px: float | None
    best_bid: float | None
    best_ask: float | None
    funding_hourly: float | None
    mark_age_s: float | None
    book_age_s: float | None
    sz_decimals: int
    generated: bool = False  # the practice venue made this stretch up (no recorded anchor)


class PositionState(msgspec.Struct, frozen=True):
    """An open position."""

    symbol: str
    side: str
    size: float
    entry_px: float
    mark_px: float | None
    mark_age_s: float | None
    notional_usd: float | None
    unrealized_usd: float | None
    fees_usd: float
    funding_usd: float
    stop_px: float | None
    target_px: float | None
    opened_ms: int
    timeout_ms: int
    strategy: str
    coverage: float | None = None  # live: share of the position that stops resting at the venue cover, 0..1
    liquidation_px: float | None = None  # live: as the venue last said


class OrderStateRow(msgspec.Struct, frozen=True):
    """An order that can still fill."""

    cloid: str
    symbol: str
    side: str
    role: str
    order_type: str
    size: float
    filled: float
    limit_px: float | None
    trigger_px: float | None
    state: str
    created_ms: int
    expires_ms: int | None
    reduce_only: bool


class SignalState(msgspec.Struct, frozen=True):
    """The newest evaluation of a strategy on a coin, and what the fast signals say."""

    symbol: str
    strategy: str
    timeframe: str
    close_ms: int | None  # the candle decided on
    action: str | None
    reason: str | None
    blocked_by: tuple[str, ...]
    zscore: float | None
    rsi: float | None
    adx: float | None
    bb_upper: float | None
    bb_middle: float | None
    bb_lower: float | None
    close_px: float | None
    entry_threshold: float
    exit_threshold: float
    stop_threshold: float
    rsi_overbought: float
    rsi_oversold: float
    adx_threshold: float
    conditions: dict[str, bool | None]
    bars: int  # closed candles at hand
    warmup_bars: int  # no entry before
    starved: str | None  # a declared input without a producer, or None


class FastSignalState(msgspec.Struct, frozen=True):
    """Fast signals of a coin."""

    symbol: str
    spread_bps: float | None
    depth_usd: float | None  # both sides within 1 % of mid
    slippage_bps: float | None  # of our order size, walking the book
    volatility: float | None  # of short-term returns, per minute, fraction
    confidence: float
    age_s: float | None
    note: str = ""


class LimitState(msgspec.Struct, frozen=True):
    """One limit: used of limit, in its unit, with the full sentence."""

    # stable: daily_loss, session_drawdown, max_drawdown, positions, cooldown, losing_weeks, margin; entries_today of a
    # strategy with such a limit
    name: str
    key: str  # config key; of a strategy's own limit the name of its property
    used: float
    limit: float
    unit: str  # "fraction", "usd", "count", "seconds"
    breached: bool
    text: str  # numerator, denominator and window: "lost 2.1 % of 670.00 day-start equity, limit 8 %"


class AccountState(msgspec.Struct, frozen=True):
    """The account by I11: equity = cash + sum(size x mark)."""

    equity_usd: float | None
    cash_usd: float
    realized_usd: float  # gross of fees and funding, since the account began
    unrealized_usd: float | None
    fees_usd: float
    funding_usd: float
    day_start_equity_usd: float | None
    day_realized_usd: float  # net of fees and funding, this UTC day
    session_peak_usd: float | None
    peak_usd: float | None
    margin_used_usd: float | None
    accounting_error_usd: float  # newest gap of the I11 check
    accounting_error_max_usd: float  # largest of the whole run
    actions_left: int | None = None  # live: of the address's lifetime budget
    actions_days_left: float | None = None  # at this session's pace


class Counters(msgspec.Struct, frozen=True):
    """Totals of this session (they survive restarts through the database)."""

    candles_processed: int
    decisions: int
    entries: int
    exits: int
    trades: int
    stream_reconnects: int
    loop_lag_ms_p50: float | None
    loop_lag_ms_p95: float | None
    loop_lag_passes: int = 0  # how many of the newest passes the two are of


class StateSnapshot(msgspec.Struct, frozen=True):
    """Everything the dashboard and `perpbot status` show."""

    protocol: int
    boot_id: str
    seq: int
    pid: int
    version: str
    as_of_ms: int  # venue time
    started_ms: int  # venue time at start
    uptime_s: float  # wall
    mode: str  # paper | live
    venue: str  # mainnet | testnet | practice | url
    venue_url: str
    venue_speed: float | None  # None = stepped
    venue_note: str  # e.g. "practice venue, seed 42, generated 1m path below recorded 1h candles"
    status: str  # STARTING RECONCILING RUNNING PAUSED DEGRADED KILLED STOPPING
    status_reasons: tuple[str, ...]  # why paused, degraded or killed
    stream_connected: bool
    regime: str
    ages: Ages
    account: AccountState
    counters: Counters
    prices: tuple[PriceState, ...]
    positions: tuple[PositionState, ...]
    orders: tuple[OrderStateRow, ...]
    signals: tuple[SignalState, ...]
    fast_signals: tuple[FastSignalState, ...]
    limits: tuple[LimitState, ...]
    viewers: int
    api_latency_ms: float | None = None  # wall time of the newest signal collection's REST round trip


class EventNote(msgspec.Struct, frozen=True):
    """Something that happened, pushed to subscribers and stored in the events table."""

    venue_ms: int
    kind: str  # OPEN CLOSE STOP TIMEOUT RECONNECT RECONCILE HALTED KILLED PAUSED RESUMED STARTED STOPPED DEGRADED ...
    symbol: str | None
    text: str
