"""Typed settings: every section, its defaults, and the documentation of each key beside it.

`docs/configuration.md` is generated from here. Keys ending in `_pct` hold fractions (0.03 is 3 %). Cross-field rules
live in `config.load`, which builds these. Secrets are not settings: see `Secrets`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


def setting(default: Any, doc: str, **rule: Any) -> Any:
    """Declare a key: its default, one sentence, and rules (`low`, `high`, `above`, `choices`, `item_choices`)."""
    metadata = {"doc": doc, **rule}
    if isinstance(default, (list, tuple, dict)):
        frozen = tuple(default) if isinstance(default, list) else default
        return field(default_factory=lambda: frozen, metadata=metadata)
    return field(default=default, metadata=metadata)


_TIMEFRAME_NAMES = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "3d", "1w", "1M")


@dataclass(frozen=True, slots=True)
class TradingConfig:
    """What is traded, with how much."""

    symbols: tuple[str, ...] = setting(
        ["BTC", "ETH"], "Coins to trade, in order of priority; BTC, BTC-PERP and BTCUSDT mean the same."
    )
    leverage: int = setting(3, "Leverage, a whole number.", low=1, high=50)
    margin_mode: str = setting(
        "cross", "Margin of live positions; paper and research reckon with cross.", choices=("cross", "isolated")
    )
    capital_usd: float = setting(670.0, "Capital the bot may use, USD.", above=0)
    margin_usage_limit: float = setting(0.5, "Share of the capital that may be margin.", above=0, high=1)
    strategy: str = setting("mean_reversion", "The strategy that trades.", choices=("mean_reversion", "macd_cross"))


@dataclass(frozen=True, slots=True)
class SignalsConfig:
    """Thresholds of the strategies."""

    zscore_lookback: int = setting(20, "Bars of the z-score's window.", low=2, high=500)
    zscore_entry_threshold: float = setting(2.0, "Enter beyond this many standard deviations.", above=0)
    zscore_exit_threshold: float = setting(0.3, "Exit when |z| is below this.", low=0)
    zscore_stop_threshold: float = setting(3.0, "Exit when z passes this against the position.", above=0)
    bollinger_period: int = setting(20, "Bars of the Bollinger bands.", low=2, high=500)
    bollinger_std: float = setting(2.0, "Width of the bands in standard deviations.", above=0)
    rsi_period: int = setting(14, "Wilder period of the RSI.", low=2, high=200)
    rsi_overbought: float = setting(70.0, "Short only above this RSI.", above=50, high=100)
    rsi_oversold: float = setting(30.0, "Long only below this RSI.", low=0, high=50)
    adx_period: int = setting(14, "Wilder period of the ADX.", low=2, high=200)
    adx_threshold: float = setting(25.0, "Enter only below this ADX (no strong trend).", above=0, high=100)


@dataclass(frozen=True, slots=True)
class MacdConfig:
    """The strategy `macd_cross`."""

    fast: int = setting(12, "Bars of the fast average.", low=2, high=200)
    slow: int = setting(26, "Bars of the slow average.", low=3, high=500)
    signal: int = setting(9, "Bars of the signal line.", low=2, high=200)
    rsi_overbought: float = setting(70.0, "No long above this RSI.", above=50, high=100)
    rsi_oversold: float = setting(30.0, "No short below this RSI.", low=0, high=50)
    volume_bars: int = setting(20, "The candle's volume must reach its mean over this many bars.", low=1, high=500)
    stop_atr: float = setting(2.0, "Distance of the stop in ATR(14).", above=0, high=20)
    stop_min_pct: float = setting(0.001, "No entry with a nearer stop than this share of the price.", above=0, high=1)
    stop_max_pct: float = setting(0.1, "No entry with a farther stop.", above=0, high=1)
    reward_risk: float = setting(2.0, "Distance of the target in distances of the stop.", above=0, high=100)
    trail_after_pct: float = setting(0.01, "The stop trails from this gain on; 0: never.", low=0, high=1)
    trail_distance_pct: float = setting(0.02, "How far it trails behind.", above=0, high=1)
    trail_step_pct: float = setting(0.005, "In steps of this gain.", above=0, high=1)
    max_trades_per_day: int = setting(10, "Most entries of a UTC day.", low=1, high=1000)


@dataclass(frozen=True, slots=True)
class RiskConfig:
    """When not to trade."""

    max_loss_per_trade_pct: float = setting(0.03, "Capital at risk per trade; sets the stop price.", above=0, high=1)
    daily_loss_limit_pct: float = setting(
        0.08, "Realized loss of a UTC day, of day-start equity, that stops entries.", above=0, high=1
    )
    session_drawdown_pct: float = setting(
        0.05, "Fall of equity from the session's peak that pauses entries until the operator resumes.", above=0, high=1
    )
    max_drawdown_pct: float = setting(
        0.25, "Fall of equity from its all-time peak that pauses entries.", above=0, high=1
    )
    max_positions: int = setting(1, "Open positions at a time.", low=1, high=50)
    cooldown_seconds: int = setting(1800, "No entries for this long after any stop (venue's clock).", low=0)
    position_timeout_hours: float = setting(24.0, "A position older than this is closed (venue's clock).", above=0)
    losing_weeks: int = setting(3, "Consecutive calendar weeks with a net loss that halt trading.", low=1)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Market data and its store."""

    timeframes: tuple[str, ...] = setting(
        ["1m", "5m", "15m", "1h"], "Candle series to keep.", item_choices=_TIMEFRAME_NAMES
    )
    primary_timeframe: str = setting("15m", "The series that decisions are made on.", choices=_TIMEFRAME_NAMES)
    close_confirm_timeout_seconds: float = setting(
        5.0, "Wait this long (wall) for the final row of a closed candle; then exits only.", above=0, high=60
    )
    history_days: float = setting(
        90.0, "Days of history that `perpbot backfill` fetches unless told otherwise.", above=0, high=3650
    )
    db_path: Path = setting(Path("perp_bot.db"), "The database; relative to the config file.")
    recording_mb: int = setting(
        1024, "Most MiB of session recordings kept for `perpbot replay`, oldest deleted first; 0 records none.", low=0
    )


@dataclass(frozen=True, slots=True)
class ExecutionConfig:
    """How orders are worked."""

    order_type: str = setting("limit", "Entries: `limit` (then taker) or `taker` at once.", choices=("limit", "taker"))
    taker_fallback_seconds: float = setting(
        30.0, "A limit entry that is not filled by then takes (venue's clock).", low=0
    )
    use_server_side_stop: bool = setting(
        True, "A reduce-only stop rests at the venue: live refuses false; paper triggers on mark either way."
    )
    entry_delay_candles: int = setting(
        0, "Closes to wait, conditions holding, before an entry goes out.", low=0, high=100
    )
    cancel_if_signal_gone: bool = setting(True, "Drop a delayed or resting entry when its conditions no longer hold.")
    max_slippage_pct: float = setting(
        0.005, "A live entry takes at most this share beyond the best price.", above=0, high=0.1
    )
    protection_grace_seconds: float = setting(
        5.0, "A live position without a full resting stop for this long (wall) is told; twice as long: closed.", above=0
    )
    action_floor: int = setting(
        500, "Live entries stop when fewer actions are left of the address's lifetime budget.", low=0
    )
    unknown_positions: str = setting(
        "protect",
        "A live position that perpbot did not open: protect (a stop), adopt (trade it), flatten, or refuse to start.",
        choices=("protect", "adopt", "flatten", "refuse"),
    )


@dataclass(frozen=True, slots=True)
class PredictionMarket:
    """One prediction market that is followed."""

    slug: str = setting("", "Name for people.")
    source: str = setting("polymarket", "Where it trades.", choices=("polymarket", "kalshi"))
    market_id: str = setting("", "The venue's id of it.")
    category: str = setting("war_risk", "What it measures.", choices=("war_risk", "rate_change"))
    weight: float = setting(1.0, "Weight in the category's mean.", above=0)


@dataclass(frozen=True, slots=True)
class PredictionConfig:
    """Regimes from prediction markets (their source comes with the signal service; NORMAL until then)."""

    enabled: bool = setting(False, "Follow prediction markets.")
    poll_interval_minutes: float = setting(15.0, "Minutes between polls.", above=0)
    war_risk_threshold: float = setting(0.4, "HIGH_RISK from here.", low=0, high=1)
    war_risk_crisis_threshold: float = setting(0.7, "CRISIS from here.", low=0, high=1)
    rate_change_threshold: float = setting(0.3, "HAWKISH_SHIFT / DOVISH_SHIFT beyond +/- this.", low=0, high=1)
    position_size_reduction: float = setting(0.5, "Size factor in HIGH_RISK.", low=0, high=1)
    max_age_minutes: float = setting(120.0, "A regime older than this is not used.", above=0)
    markets: tuple[PredictionMarket, ...] = setting([], "Markets: slug, source, market_id, category, weight.")


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """Costs and windows of research; paper trading pays the same fees."""

    maker_fee_rate: float = setting(0.00015, "Fee of a maker fill, fraction of notional.", low=-0.01, high=0.01)
    taker_fee_rate: float = setting(0.00045, "Fee of a taker fill, fraction of notional.", low=-0.01, high=0.01)
    slippage_min_pct: float = setting(
        0.0001, "Least slippage of a taker fill without a recorded book.", low=0, high=0.1
    )
    slippage_max_pct: float = setting(0.0005, "Most slippage of a taker fill without a recorded book.", low=0, high=0.1)
    train_days: int = setting(60, "Walk-forward training window, days.", low=1)
    test_days: int = setting(15, "Walk-forward test window, days.", low=1)
    step_days: int = setting(15, "Walk-forward step, days.", low=1)
    seed: int = setting(42, "Seed of everything random in research.", low=0)
    compounding: bool = setting(False, "Size and capital at risk follow the equity instead of `trading.capital_usd`.")
    resume_hours: float = setting(
        24.0, "A simulated operator lifts a pause or halt of the limits this much later; 0: nobody does.", low=0
    )
    cluster: str = setting("", "Dask scheduler of sweeps, e.g. tcp://host:8786; empty: this machine's cores.")
    export_trades_csv: bool = setting(False, "Write the trades of a backtest beside its report.")


@dataclass(frozen=True, slots=True)
class SignalServiceConfig:
    """The background signal service. Only `fast_timeout_seconds` is used so far."""

    collection_timeout_seconds: float = setting(30.0, "A whole collection may take this long.", above=0)
    cache_db_path: Path = setting(Path("signal_cache.db"), "Cache file; relative to the config file.")
    enable_caching: bool = setting(True, "Keep provider answers between collections.")
    fast_timeout_seconds: float = setting(5.0, "Fast signals may take this long.", above=0)
    medium_timeout_seconds: float = setting(15.0, "Medium signals may take this long.", above=0)
    slow_timeout_seconds: float = setting(30.0, "Slow signals may take this long.", above=0)


@dataclass(frozen=True, slots=True)
class TuiConfig:
    """The dashboard."""

    refresh_seconds: float = setting(1.0, "Seconds between refreshes.", low=0.25, high=5)
    utc: bool = setting(True, "Show UTC; false shows local time.")
    read_only: bool = setting(False, "Offer no control.")
    log_level: str = setting(
        "INFO", "Least level shown in the log pane.", choices=("DEBUG", "INFO", "WARNING", "ERROR")
    )


@dataclass(frozen=True, slots=True)
class WatchdogConfig:
    """The watchdog, a process of its own (`perpbot watchdog`)."""

    after_seconds: float = setting(60.0, "It acts once the daemon has been gone for this long (wall).", above=0)
    flatten: bool = setting(False, "Then kill and close everything; else it protects and cancels entries alone.")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys and tokens, from `.env` or the environment only. Never shown by repr, never logged."""

    hl_private_key: str | None = field(default=None, repr=False)
    hl_wallet_address: str | None = field(default=None, repr=False)
    hl_watchdog_private_key: str | None = field(default=None, repr=False)
    discord_webhook_url: str | None = field(default=None, repr=False)
    telegram_bot_token: str | None = field(default=None, repr=False)
    telegram_chat_id: str | None = field(default=None, repr=False)

    def values(self) -> tuple[str, ...]:
        """Return every secret that is set, for redaction."""
        found = (getattr(self, item.name) for item in fields(self))
        return tuple(value for value in found if value)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, resolved and validated; paths are absolute."""

    trading: TradingConfig = field(default_factory=TradingConfig)
    signals: SignalsConfig = field(default_factory=SignalsConfig)
    macd: MacdConfig = field(default_factory=MacdConfig)
    risk: RiskConfig = field(default_factory=RiskConfig)
    data: DataConfig = field(default_factory=DataConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    backtest: BacktestConfig = field(default_factory=BacktestConfig)
    signal_service: SignalServiceConfig = field(default_factory=SignalServiceConfig)
    tui: TuiConfig = field(default_factory=TuiConfig)
    watchdog: WatchdogConfig = field(default_factory=WatchdogConfig)
    venue: str = setting("practice", "mainnet, testnet, practice, or a base URL without a trailing slash.")
    mode: str = setting(
        "paper", "paper, or live: real orders, with `perpbot trade --live` only.", choices=("paper", "live")
    )
    secrets: Secrets = field(default_factory=Secrets, repr=False)
    source_path: Path | None = field(
        default=None, metadata={"doc": "The file this came from; None when the defaults hold."}
    )
