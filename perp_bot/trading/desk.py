"""Everything the trading loop knows: one mutable object, owned by the loop's thread alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from perp_bot.config.model import Config
from perp_bot.core.timeframes import day_of
from perp_bot.core.types import (
    DecisionRecord,
    GateReason,
    Instrument,
    Order,
    OrderRole,
    Position,
    Regime,
    Side,
)
from perp_bot.decision.delay import PendingEntry
from perp_bot.execution.account import Account
from perp_bot.execution.funding import FundingDue
from perp_bot.execution.live.executor import LiveExecutor
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.paper import PaperExecutor
from perp_bot.execution.positions import StopRule
from perp_bot.risk import limits
from perp_bot.risk.action_budget import ActionBudget
from perp_bot.risk.breakers import Breakers
from perp_bot.risk.manager import Blocks, Pause
from perp_bot.risk.sizing import instrument_stop_px
from perp_bot.risk.state import RiskState
from perp_bot.strategies.protocol import Strategy
from perp_bot.trading.history import SeriesHistory
from perp_bot.trading.lag import LagMeter
from perp_bot.trading.listed import Listed
from perp_bot.trading.market_state import MarketState
from perp_bot.trading.outside import Outside

ACCOUNTING_TOLERANCE_USD = Decimal("0.01")
RECENT_DECISIONS = 8


@dataclass(slots=True)
class Totals:
    """Counters of the session; stored, so that they go on after a restart."""

    candles_processed: int = 0
    decisions: int = 0
    entries: int = 0
    exits: int = 0

    def to_json(self) -> dict[str, int]:
        """Return plain values."""
        return {
            "candles_processed": self.candles_processed,
            "decisions": self.decisions,
            "entries": self.entries,
            "exits": self.exits,
        }


@dataclass(slots=True)
class Desk:
    """The loop's state. Positions, orders and money change through `Bookkeeper` only."""

    config: Config
    strategy: Strategy
    instruments: Listed
    kill_latch: Path
    account: Account
    executor: PaperExecutor | LiveExecutor
    risk: RiskState
    force: bool = False
    book_max_age_ms: int = 15_000
    regime: Regime = Regime.NORMAL
    outside: Outside = field(default_factory=Outside)
    market: MarketState = field(default_factory=MarketState)
    histories: dict[str, SeriesHistory] = field(default_factory=dict)  # by symbol, of the primary timeframe
    pauses: tuple[Pause, ...] = ()
    pending: tuple[PendingEntry, ...] = ()
    killed: str | None = None  # the latch's sentence, None = not latched
    funding_due: dict[tuple[str, int], FundingDue] = field(default_factory=dict)
    week_nets: dict[int, float] = field(default_factory=dict)
    decided_ids: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_DECISIONS * 64))
    last_decisions: dict[str, DecisionRecord] = field(default_factory=dict)
    overflow: str | None = None
    venue_trouble: str | None = None
    store_trouble: str | None = None
    accounting_trouble: str | None = None
    breakers: Breakers = field(default_factory=Breakers)  # live only
    actions: ActionBudget = field(default_factory=ActionBudget)  # live only
    starved: dict[str, str] = field(default_factory=dict)  # symbol -> the declared input that has no producer
    accounting_error_usd: Decimal = Decimal(0)
    accounting_error_max_usd: Decimal = Decimal(0)
    totals: Totals = field(default_factory=Totals)
    lag: LagMeter = field(default_factory=LagMeter)
    handled_ms: int = 0  # venue time up to which everything is handled
    next_hour_ms: int | None = None

    # ------------------------------------------------------------ reading

    @property
    def source(self) -> str:
        """Whose rows these are: paper or live."""
        return self.config.mode

    @property
    def live(self) -> LiveExecutor | None:
        """The executor of real orders; None on paper."""
        return self.executor if isinstance(self.executor, LiveExecutor) else None

    def state_key(self, name: str) -> str:
        """Return the key of a stored state that paper and live do not share in one database."""
        return state_key(name, self.source)

    def is_managed(self, position: Position) -> bool:
        """Whether strategy and timers close a position; the owner's own is protected by its stop alone."""
        return position.strategy != OUTSIDE

    @property
    def symbols(self) -> tuple[str, ...]:
        """Configured coins, in order."""
        return self.config.trading.symbols

    @property
    def live_orders(self) -> tuple[Order, ...]:
        """Orders that can still fill, stops included."""
        return self.executor.live_orders

    def live_entry(self, symbol: str) -> Order | None:
        """Return the entry order of a coin that can still fill."""
        return next((order for order in self.entries_working() if order.intent.symbol == symbol), None)

    def entries_working(self) -> tuple[Order, ...]:
        """Return entry orders that can still fill."""
        return tuple(order for order in self.live_orders if order.intent.role is OrderRole.ENTRY)

    def is_exiting(self, symbol: str) -> bool:
        """Whether a closing order of the coin is under way (a resting stop is not), or will follow the last one."""
        return self.executor.is_closing(symbol) or any(
            order.intent.symbol == symbol and order.intent.role is OrderRole.EXIT for order in self.live_orders
        )

    def equity_usd(self) -> float | None:
        """Return equity at the newest marks; None when the mark of a held coin is missing."""
        equity = self.account.equity(self.market.marks())
        return None if equity is None else float(equity)

    def margin_used_usd(self) -> float | None:
        """Return initial margin of positions (at mark) and of entry orders; None when a mark is missing."""
        marks = self.market.marks()
        leverage = self.config.trading.leverage
        notional = 0.0
        for position in self.account.positions:
            if position.symbol not in marks:
                return None
            notional += float(position.size * marks[position.symbol])
        for order in self.entries_working():
            price = order.intent.limit_px or marks.get(order.intent.symbol)
            if price is None:
                return None
            notional += float(order.remaining * price)
        return notional / leverage

    def risk_view(self, now_ms: int) -> limits.RiskView:
        """Return what the limits are measured on."""
        held = tuple(position.symbol for position in self.account.positions)
        working = tuple(dict.fromkeys(o.intent.symbol for o in self.entries_working() if o.intent.symbol not in held))
        return limits.RiskView(
            now_ms=now_ms,
            state=self.risk,
            equity_usd=self.equity_usd(),
            open_symbols=held,
            entry_symbols=working,
            margin_used_usd=self.margin_used_usd(),
            losing_weeks=limits.losing_weeks(self.week_nets, now_ms),
            force=self.force,
            mode=self.source,
            entries_today=self.entries_today(now_ms) + len(working),
        )

    def entries_today(self, now_ms: int) -> int:
        """Return how many positions the strategy has opened in the UTC day of `now_ms`."""
        day_ms, name = day_of(now_ms), self.strategy.name
        count = sum(p.strategy == name and p.opened_ms >= day_ms for p in self.account.positions)
        for trade in reversed(self.account.trades):
            if trade.closed_ms < day_ms:
                break
            count += trade.strategy == name and trade.opened_ms >= day_ms
        return count

    def degraded(self) -> tuple[GateReason, ...]:
        """Return every degraded state that stops entries, each with its sentence."""
        found = (
            ("stale_stream", self.venue_trouble),
            ("store", self.store_trouble),
            ("overflow", self.overflow),
            ("accounting", self.accounting_trouble),
            ("reconcile", None if self.live is None else self.live.trouble()),
            ("breaker", self.breakers.trouble()),
            ("action_budget", self.actions.trouble(self.config.execution.action_floor)),
        )
        reasons = [GateReason(rule, text) for rule, text in found if text is not None]
        reasons += [GateReason("starved", f"{symbol}: {text}") for symbol, text in sorted(self.starved.items())]
        return tuple(reasons)

    def blocks(self) -> Blocks:
        """Return what forbids entries apart from limits."""
        return Blocks(self.killed, self.pauses, self.degraded(), self.coin_troubles())

    def coin_troubles(self) -> tuple[tuple[str, GateReason], ...]:
        """Return every degraded state that stops the entries of one coin alone, by coin."""
        found = {} if self.live is None else self.live.coin_troubles()
        return tuple((symbol, GateReason("leverage", text)) for symbol, text in sorted(found.items()))


def state_key(name: str, source: str) -> str:
    """Return the key of a stored state of one mode; paper has the plain names."""
    return name if source == "paper" else f"{name}:{source}"


def stop_rule_of(config: Config, instruments: Callable[[], Mapping[str, Instrument]]) -> StopRule:
    """Return the one stop rule of account and executor: the capital stop, or a nearer one of the strategy."""

    def rule(symbol: str, side: Side, entry_px: Decimal, size: Decimal, own_stop_px: float | None) -> float | None:
        instrument = instruments().get(symbol)
        if instrument is None:
            return own_stop_px
        return instrument_stop_px(config, instrument, side, entry_px, size, own_stop_px)

    return rule


def position_text(position: Position) -> str:
    """Return a position in words: `LONG 0.01 BTC @ 84,000`."""
    return f"{position.side.upper()} {position.size} {position.symbol} @ {position.entry_px:.8g}"
