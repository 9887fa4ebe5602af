"""The state snapshot: everything that screens show, built from the desk at one moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from perp_bot.core.clock import monotonic_s
from perp_bot.core.types import DecisionRecord, Order, Position
from perp_bot.data.market import FeedHealth
from perp_bot.decision.exits import timeout_at_ms
from perp_bot.ipc.state import (
    PROTOCOL_VERSION,
    AccountState,
    Ages,
    Counters,
    FastSignalState,
    LimitState,
    OrderStateRow,
    PositionState,
    PriceState,
    SignalState,
    StateSnapshot,
)
from perp_bot.risk import limits
from perp_bot.signals.snapshot import FastSnapshot
from perp_bot.trading.desk import Desk
from perp_bot.version import VERSION


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What does not change while the daemon runs."""

    boot_id: str
    pid: int
    started_ms: int
    started_s: float
    venue: str
    venue_url: str
    venue_speed: float | None
    venue_note: str
    generated: frozenset[str]  # coins whose prices the practice venue makes up


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the snapshot looks besides the desk; none of them blocks."""

    health: Callable[[], FeedHealth]
    fast: Callable[[], FastSnapshot | None]
    viewers: Callable[[], int]
    reconcile_age_s: Callable[[], float | None]
    db_write_age_s: Callable[[], float | None]


class SnapshotBuilder:
    """Builds snapshots on the loop's thread."""

    def __init__(self, desk: Desk, facts: RunFacts, sources: Sources) -> None:
        self._desk = desk
        self._facts = facts
        self._sources = sources
        self._seq = 0
        self.phase = "STARTING"  # STARTING, RECONCILING, RUNNING, STOPPING

    def build(self, now_ms: int, reconnects: int) -> StateSnapshot:
        """Return the state at `now_ms` of the venue."""
        self._seq += 1
        desk, facts = self._desk, self._facts
        health = self._sources.health()
        risk_view = desk.risk_view(now_ms)
        uses = limits.limits(desk.config, risk_view)
        most = desk.strategy.max_trades_per_day
        if most is not None:
            uses += (limits.entries_today(desk.strategy.name, most, risk_view),)
        status, reasons = self._status(uses)
        return StateSnapshot(
            protocol=PROTOCOL_VERSION,
            boot_id=facts.boot_id,
            seq=self._seq,
            pid=facts.pid,
            version=VERSION,
            as_of_ms=now_ms,
            started_ms=facts.started_ms,
            uptime_s=monotonic_s() - facts.started_s,
            mode=desk.source,
            venue=facts.venue,
            venue_url=facts.venue_url,
            venue_speed=facts.venue_speed,
            venue_note=facts.venue_note,
            status=status,
            status_reasons=reasons,
            stream_connected=health.connected,
            regime=str(desk.regime),
            ages=Ages(0.0, health.last_message_age_s, self._sources.reconcile_age_s(), self._sources.db_write_age_s()),
            account=self._account(),
            counters=self._counters(reconnects),
            prices=tuple(self._price(symbol) for symbol in desk.symbols),
            positions=tuple(self._position(position) for position in desk.account.positions),
            orders=tuple(_order(order) for order in desk.live_orders),
            signals=tuple(self._signal(symbol) for symbol in desk.symbols),
            fast_signals=self._fast(),
            limits=tuple(_limit(use) for use in uses),
            viewers=self._sources.viewers(),
            api_latency_ms=self._api_latency_ms(),
        )

    def _status(self, uses: tuple[limits.LimitUse, ...]) -> tuple[str, tuple[str, ...]]:
        desk = self._desk
        paused = [pause.text for pause in desk.pauses]
        paused += [use.text for use in uses if use.breached and use.name in limits.PAUSING]
        degraded = [reason.text for reason in desk.degraded()]
        degraded += [f"no entries of {symbol}: {reason.text}" for symbol, reason in desk.coin_troubles()]
        reasons = tuple(([desk.killed] if desk.killed else []) + paused + degraded)
        if self.phase != "RUNNING":
            return self.phase, reasons
        if desk.killed is not None:
            return "KILLED", reasons
        if paused:
            return "PAUSED", reasons
        return ("DEGRADED" if degraded else "RUNNING"), reasons

    def _account(self) -> AccountState:
        desk = self._desk
        account, risk = desk.account, desk.risk
        unrealized = account.unrealized_usd(desk.market.marks())
        return AccountState(
            equity_usd=desk.equity_usd(),
            cash_usd=float(account.cash_usd),
            realized_usd=float(account.realized_usd),
            unrealized_usd=None if unrealized is None else float(unrealized),
            fees_usd=float(account.fees_usd),
            funding_usd=float(account.funding_usd),
            day_start_equity_usd=risk.day_start_equity_usd,
            day_realized_usd=risk.day_realized_net_usd,
            session_peak_usd=risk.session_peak_usd,
            peak_usd=risk.peak_usd,
            margin_used_usd=desk.margin_used_usd(),
            accounting_error_usd=float(desk.accounting_error_usd),
            accounting_error_max_usd=float(desk.accounting_error_max_usd),
            actions_left=desk.actions.left,
            actions_days_left=desk.actions.days_left,
        )

    def _counters(self, reconnects: int) -> Counters:
        desk = self._desk
        return Counters(
            candles_processed=desk.totals.candles_processed,
            decisions=desk.totals.decisions,
            entries=desk.totals.entries,
            exits=desk.totals.exits,
            trades=len(desk.account.trades),
            stream_reconnects=reconnects,
            loop_lag_ms_p50=desk.lag.percentile(0.50),
            loop_lag_ms_p95=desk.lag.percentile(0.95),
            loop_lag_passes=len(desk.lag),
        )

    def _price(self, symbol: str) -> PriceState:
        market = self._desk.market
        context, book = market.context(symbol), market.book(symbol)
        instrument = self._desk.instruments().get(symbol)
        return PriceState(
            symbol=symbol,
            mark_px=None if context is None else context.mark_px,
            oracle_px=None if context is None else context.oracle_px,
            mid_px=None if context is None else context.mid_px,
            best_bid=book.bids[0].px if book is not None and book.bids else None,
            best_ask=book.asks[0].px if book is not None and book.asks else None,
            funding_hourly=None if context is None else context.funding_hourly,
            mark_age_s=market.mark_age_s(symbol),
            book_age_s=market.book_age_s(symbol),
            sz_decimals=0 if instrument is None else instrument.sz_decimals,
            generated=symbol in self._facts.generated,
        )

    def _position(self, position: Position) -> PositionState:
        desk = self._desk
        context = desk.market.context(position.symbol)
        mark = None if context is None else context.mark_px
        return PositionState(
            symbol=position.symbol,
            side=str(position.side),
            size=float(position.size),
            entry_px=float(position.entry_px),
            mark_px=mark,
            mark_age_s=desk.market.mark_age_s(position.symbol),
            notional_usd=None if mark is None else float(position.size) * mark,
            unrealized_usd=None if mark is None else float(position.unrealized_usd(mark)),
            fees_usd=float(position.fees_usd),
            funding_usd=float(position.funding_usd),
            stop_px=position.stop_px,
            target_px=position.target_px,
            opened_ms=position.opened_ms,
            timeout_ms=timeout_at_ms(position, desk.config),
            strategy=position.strategy,
            coverage=_number(None if desk.live is None else desk.live.coverage(position.symbol)),
            liquidation_px=_number(None if desk.live is None else desk.live.liquidation_px(position.symbol)),
        )

    def _signal(self, symbol: str) -> SignalState:
        desk = self._desk
        thresholds = desk.config.signals
        record = desk.last_decisions.get(symbol)
        values = record.indicators if record is not None else {}
        used = record.thresholds if record is not None else {}
        history = desk.histories.get(symbol)
        return SignalState(
            symbol=symbol,
            strategy=desk.strategy.name,
            timeframe=desk.config.data.primary_timeframe,
            close_ms=None if record is None else record.close_ms,
            action=None if record is None else _action(record),
            reason=None if record is None else record.reason,
            blocked_by=() if record is None else tuple(reason.text for reason in record.blocked_by),
            zscore=values.get("zscore"),
            rsi=values.get("rsi"),
            adx=values.get("adx"),
            bb_upper=values.get("bb_upper"),
            bb_middle=values.get("bb_middle"),
            bb_lower=values.get("bb_lower"),
            close_px=None if record is None else record.close_px,
            entry_threshold=_entry_threshold(record, used, thresholds.zscore_entry_threshold),
            exit_threshold=used.get("zscore_exit", thresholds.zscore_exit_threshold),
            stop_threshold=used.get("zscore_stop", thresholds.zscore_stop_threshold),
            rsi_overbought=thresholds.rsi_overbought,
            rsi_oversold=thresholds.rsi_oversold,
            adx_threshold=thresholds.adx_threshold,
            conditions={} if record is None else dict(record.conditions),
            bars=0 if history is None else len(history),
            warmup_bars=desk.strategy.needs.warmup_bars,
            starved=desk.starved.get(symbol),
        )

    def _api_latency_ms(self) -> float | None:
        snapshot = self._sources.fast()
        return None if snapshot is None else snapshot.api_latency_ms

    def _fast(self) -> tuple[FastSignalState, ...]:
        snapshot = self._sources.fast()
        if snapshot is None:
            return ()
        age_s = snapshot.age_s(monotonic_s())
        return tuple(
            FastSignalState(
                symbol=symbol,
                spread_bps=found.spread_bps,
                depth_usd=found.depth_usd,
                slippage_bps=found.slippage_bps,
                volatility=found.short_term_volatility,
                confidence=found.metadata.confidence,
                age_s=age_s,
                note=found.note,
            )
            for symbol, found in snapshot.coins.items()
        )


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _entry_threshold(record: DecisionRecord | None, used: dict[str, float], default: float) -> float:
    """Return the threshold of the side that z points at, as the last decision used it."""
    zscore = None if record is None else record.indicators.get("zscore")
    side = "long" if zscore is not None and zscore < 0 else "short"
    return used.get(f"zscore_entry_{side}", default)


def _action(record: DecisionRecord) -> str:
    return (
        f"{record.action}_{record.side}" if record.side is not None and record.action != "hold" else str(record.action)
    )


def _order(order: Order) -> OrderStateRow:
    intent = order.intent
    return OrderStateRow(
        cloid=intent.cloid,
        symbol=intent.symbol,
        side=str(intent.side),
        role=str(intent.role),
        order_type=str(intent.order_type),
        size=float(intent.size),
        filled=float(order.filled),
        limit_px=None if intent.limit_px is None else float(intent.limit_px),
        trigger_px=None if intent.trigger_px is None else float(intent.trigger_px),
        state=str(order.state),
        created_ms=intent.created_ms,
        expires_ms=intent.expires_ms,
        reduce_only=intent.reduce_only,
    )


def _limit(use: limits.LimitUse) -> LimitState:
    return LimitState(use.name, use.key, use.used, use.limit, use.unit, use.breached, use.text)
