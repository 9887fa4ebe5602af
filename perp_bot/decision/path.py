"""The one pure path from market view to order intent, for the daemon and for research.

All closes of one boundary are decided together: first the symbols with a position (exits), then the flat ones in
config order (entries); an entry intended counts at once for the limits of those that follow. Everything is an
argument; the answer is journal rows, intents, cancels and the entries that wait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from perp_bot.config.model import Config
from perp_bot.core import timeframes
from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, check_notional, limit_price, quantize_price
from perp_bot.core.types import (
    Action,
    Book,
    Candle,
    DecisionRecord,
    Enter,
    Exit,
    GateReason,
    Hold,
    Instrument,
    Order,
    OrderIntent,
    OrderRole,
    OrderType,
    Position,
    Regime,
    Side,
)
from perp_bot.decision import delay
from perp_bot.decision.facts import BookState, Facts, LiveEntry, recorded
from perp_bot.decision.view import json_safe
from perp_bot.execution.closing import exit_intent
from perp_bot.execution.orders import cloid_for
from perp_bot.risk.limits import RiskView
from perp_bot.risk.manager import Blocks, EntryRequest, gate
from perp_bot.risk.sizing import (
    entry_notional_usd,
    entry_size,
    liquidation_px,
    protective_stop_px,
    stop_beyond_liquidation,
)
from perp_bot.strategies.protocol import Evaluation, MarketView, Strategy

BOOK_MAX_AGE_MS = 15_000
_NO_BLOCKS = Blocks()


@dataclass(frozen=True, slots=True)
class SymbolInput:
    """One symbol as the loop sees it at a boundary. `position` is the truth; the view's is replaced by it."""

    symbol: str
    view: MarketView | None  # None: no candle of this close
    instrument: Instrument | None
    book: Book | None = None  # the newest one
    position: Position | None = None
    live_entry: Order | None = None  # an entry order that can still fill
    live_exit: bool = False  # a closing order is under way
    missing: str = ""  # why there is no view
    unconfirmed: tuple[Candle, ...] = ()  # provisional rows before the view's candle, oldest first


@dataclass(frozen=True, slots=True)
class Boundary:
    """Everything that one boundary of one timeframe is decided on; `symbols` in config order."""

    timeframe: str
    close_ms: int
    now_ms: int
    source: str
    regime: Regime
    symbols: tuple[SymbolInput, ...]
    risk: RiskView
    blocks: Blocks = _NO_BLOCKS
    pending: tuple[delay.PendingEntry, ...] = ()
    book_max_age_ms: int = BOOK_MAX_AGE_MS  # larger only where the venue publishes books more rarely


@dataclass(frozen=True, slots=True)
class Decided:
    """One symbol's outcome; the intent is what goes to the journal and then to the executor."""

    record: DecisionRecord
    intent: OrderIntent | None
    move_stop_px: float | None = None  # the held position's stop moves here, on the venue's grid


@dataclass(frozen=True, slots=True)
class BoundaryDecision:
    """The outcome of a boundary: cancels go out first, then intents in this order; `pending` is stored."""

    decided: tuple[Decided, ...]
    cancel_cloids: tuple[str, ...]
    pending: tuple[delay.PendingEntry, ...]


@dataclass(frozen=True, slots=True)
class SymbolDecision:
    """The outcome of one symbol."""

    record: DecisionRecord
    intent: OrderIntent | None = None
    cancel_cloid: str | None = None
    pending: delay.PendingEntry | None = None
    move_stop_px: float | None = None


def decision_id_of(strategy: str, symbol: str, timeframe: str, close_ms: int) -> str:
    """Return the id of the decision of a strategy on a symbol at a close."""
    return f"{strategy}:{symbol}:{timeframe}:{close_ms}"


def decide_boundary(config: Config, strategy: Strategy, boundary: Boundary) -> BoundaryDecision:
    """Decide all symbols of one boundary."""
    waiting = {entry.symbol: entry for entry in boundary.pending if entry.strategy == strategy.name}
    held = [item for item in boundary.symbols if item.position is not None]
    flat = [item for item in boundary.symbols if item.position is None]
    risk = replace(boundary.risk, now_ms=boundary.close_ms, mode=boundary.source)
    outcomes: list[SymbolDecision] = []
    for item in (*held, *flat):
        facts = _facts(boundary, item, waiting.get(item.symbol))
        outcome = decide_symbol(
            config,
            strategy,
            facts,
            risk,
            boundary.blocks,
            timeframe=boundary.timeframe,
            close_ms=boundary.close_ms,
            created_ms=boundary.now_ms,
            source=boundary.source,
            regime=boundary.regime,
        )
        outcomes.append(outcome)
        if outcome.intent is not None and outcome.intent.role is OrderRole.ENTRY:
            risk = _counting(config, risk, outcome)
    return BoundaryDecision(
        tuple(Decided(outcome.record, outcome.intent, outcome.move_stop_px) for outcome in outcomes),
        tuple(outcome.cancel_cloid for outcome in outcomes if outcome.cancel_cloid is not None),
        tuple(outcome.pending for outcome in outcomes if outcome.pending is not None),
    )


def decide_symbol(
    config: Config,
    strategy: Strategy,
    facts: Facts,
    risk: RiskView,
    blocks: Blocks,
    *,
    timeframe: str,
    close_ms: int,
    created_ms: int,
    source: str,
    regime: Regime,
) -> SymbolDecision:
    """Decide one symbol from its facts; `created_ms` reaches the intent only, never the record."""
    waiting = delay.waiting_side(facts.pending, timeframe, close_ms)
    view = None if facts.view is None else replace(facts.view, position=facts.position, regime=regime, waiting=waiting)
    blank = DecisionRecord(
        decision_id=decision_id_of(strategy.name, facts.symbol, timeframe, close_ms),
        symbol=facts.symbol,
        timeframe=timeframe,
        close_ms=close_ms,
        strategy=strategy.name,
        source=source,
        action=Action.HOLD,
        side=None if facts.position is None else facts.position.side,
        reason="",
        close_px=None,
        stop_px=None if facts.position is None else facts.position.stop_px,
        target_px=None if facts.position is None else facts.position.target_px,
        notional_usd=None,
        regime=regime,
        provisional=view is not None and view.provisional,
        account=recorded(facts, risk, blocks, strategy.name),
    )
    if view is None:
        return SymbolDecision(replace(blank, reason=f"no candle: {facts.missing or 'none arrived'}"))
    evaluation = strategy.on_candle(view)
    base = replace(
        blank,
        close_px=json_safe(view.candle.close),
        indicators={name: json_safe(value) for name, value in view.indicators.as_dict().items()},
        conditions=dict(evaluation.conditions),
        thresholds=dict(evaluation.thresholds),
        signals=view.signals,
    )
    case = _Case(config, strategy, facts, risk, blocks, view, evaluation, base, created_ms)
    return _held(case, facts.position) if facts.position is not None else _flat(case)


@dataclass(frozen=True, slots=True)
class _Case:
    """One symbol's decision under way."""

    config: Config
    strategy: Strategy
    facts: Facts
    risk: RiskView
    blocks: Blocks
    view: MarketView
    evaluation: Evaluation
    base: DecisionRecord
    created_ms: int

    def hold(
        self, reason: str, *, cancel: str | None = None, pending: delay.PendingEntry | None = None
    ) -> SymbolDecision:
        """Return a HOLD row."""
        return SymbolDecision(replace(self.base, reason=reason), None, cancel, pending)


def _held(case: _Case, position: Position) -> SymbolDecision:
    """Decide a symbol with a position: its exit, and whether the rest of its entry order is still wanted."""
    decision, live = case.evaluation.decision, case.facts.live_entry
    cancel = None if live is None else live.cloid
    if not isinstance(decision, Exit):
        gone = live is not None and case.config.execution.cancel_if_signal_gone and not _still_wanted(case, live)
        note = "; rest of the entry order cancelled: its conditions no longer hold" if gone else ""
        reason = f"already {position.side}" if isinstance(decision, Enter) else decision.reason
        held = case.hold(reason + note, cancel=cancel if gone else None)
        moved = _moved_stop(case, position, decision) if isinstance(decision, Hold) else None
        if moved is None or case.facts.live_exit:
            return held
        return replace(held, record=replace(held.record, stop_px=moved), move_stop_px=moved)
    if case.facts.live_exit:
        return case.hold(f"{decision.reason}; a closing order is under way", cancel=cancel)
    intent = exit_intent(position, decision.reason, case.created_ms, case.base.decision_id)
    notional = json_safe(float(position.size) * case.view.candle.close)
    record = replace(case.base, action=Action.EXIT, reason=decision.reason, notional_usd=notional)
    return SymbolDecision(record, intent, cancel)


def _moved_stop(case: _Case, position: Position, decision: Hold) -> float | None:
    """Return the stop that a strategy moves to, on the grid; None when it is no nearer, or the close is beyond it.

    A provisional close moves nothing: the final row may never have been there.
    """
    instrument, close = case.facts.instrument, json_safe(case.view.candle.close)
    if decision.stop_px is None or instrument is None or close is None or case.view.provisional:
        return None
    rounding = Rounding.UP if position.side is Side.LONG else Rounding.DOWN
    try:
        moved = float(quantize_price(decision.stop_px, instrument.sz_decimals, rounding))
    except OrderRuleError:
        return None
    sign = position.side.sign
    is_nearer = position.stop_px is None or (moved - position.stop_px) * sign > 0
    return moved if is_nearer and (close - moved) * sign > 0 else None


def _flat(case: _Case) -> SymbolDecision:
    """Decide a symbol without a position: its entry, delayed or at once, or the entry order that still works."""
    decision, live = case.evaluation.decision, case.facts.live_entry
    execution = case.config.execution
    if live is not None:
        if _still_wanted(case, live):
            return case.hold("an entry order is working")
        if not execution.cancel_if_signal_gone:
            return case.hold("an entry order is working; its conditions no longer hold")
        return case.hold("entry order cancelled: its conditions no longer hold", cancel=live.cloid)
    if case.facts.live_exit:
        return case.hold("a closing order is under way")  # its last fill is on its way
    if case.facts.late and (isinstance(decision, Enter) or case.facts.pending is not None):
        return case.hold(f"late: more than half a {case.base.timeframe} candle after the close; {decision.reason}")
    wanted = decision.side if isinstance(decision, Enter) else None
    step = delay.step(
        case.facts.pending,
        wanted,
        symbol=case.facts.symbol,
        strategy=case.strategy.name,
        timeframe=case.base.timeframe,
        close_ms=case.base.close_ms,
        delay_candles=execution.entry_delay_candles,
        cancel_if_gone=execution.cancel_if_signal_gone,
    )
    if step.outcome is delay.DelayOutcome.SEND and step.side is not None:
        own = decision if isinstance(decision, Enter) and decision.side is step.side else None
        enter = own or Enter(case.facts.symbol, step.side, f"conditions of {step.side} held when decided")
        reason = f"{enter.reason}; {step.text}" if step.text else enter.reason
        return _enter(case, replace(enter, reason=reason))
    return case.hold("; ".join(text for text in (step.text, decision.reason) if text), pending=step.pending)


def _still_wanted(case: _Case, live: LiveEntry) -> bool:
    """Whether the strategy, seen flat, would still enter the side of a working entry order."""
    # Conditions are asked of the row at hand even when it is provisional: cancelling adds no exposure.
    side = Side.LONG if live.side is Side.LONG.opening else Side.SHORT
    flat = case.strategy.on_candle(replace(case.view, position=None, provisional=False, waiting=side)).decision
    return isinstance(flat, Enter) and flat.side is side


@dataclass(frozen=True, slots=True)
class _Priced:
    """An entry with its numbers."""

    size: Decimal
    price: Decimal
    stop_px: Decimal


def _enter(case: _Case, enter: Enter) -> SymbolDecision:
    """Gate, size and price an entry: an intent, or a BLOCKED row with every reason."""
    notional = entry_notional_usd(case.config, case.base.regime)
    request = EntryRequest(
        enter.symbol,
        case.strategy.name,
        case.base.regime,
        case.view.provisional,
        case.facts.instrument,
        notional,
        case.strategy.max_trades_per_day,
    )
    reasons = list(gate(case.config, case.risk, case.blocks, request))
    priced, pricing_reasons = _priced(case, enter, notional)
    reasons += pricing_reasons
    record = replace(
        case.base,
        side=enter.side,
        reason=enter.reason,
        stop_px=None if priced is None else float(priced.stop_px),
        target_px=enter.target_px,
        notional_usd=notional if priced is None else float(priced.size * priced.price),
        blocked_by=tuple(reasons),
    )
    if reasons or priced is None:
        return SymbolDecision(replace(record, action=Action.BLOCKED))
    execution = case.config.execution
    is_limit = execution.order_type == OrderType.LIMIT
    expires_ms = case.created_ms + round(execution.taker_fallback_seconds * 1000)
    intent = OrderIntent(
        cloid=cloid_for(record.source, record.decision_id, OrderRole.ENTRY),
        decision_id=record.decision_id,
        symbol=enter.symbol,
        side=enter.side.opening,
        role=OrderRole.ENTRY,
        order_type=OrderType.LIMIT if is_limit else OrderType.TAKER,
        size=priced.size,
        limit_px=priced.price if is_limit else None,
        trigger_px=None,
        reduce_only=False,
        created_ms=case.created_ms,
        expires_ms=expires_ms if is_limit else None,
        strategy=record.strategy,
        source=record.source,
        reason=enter.reason,
        # The strategy's own stop only: the capital stop follows from the real fills, by the same function.
        stop_px=enter.stop_px,
        target_px=enter.target_px,
    )
    return SymbolDecision(replace(record, action=Action.ENTER), intent)


def _priced(case: _Case, enter: Enter, notional_usd: float) -> tuple[_Priced | None, list[GateReason]]:
    """Return size, price and stop of an entry, or why there are none."""
    facts, config = case.facts, case.config
    if facts.book is not BookState.FRESH or facts.bid_px is None or facts.ask_px is None:
        text = "the newest book is too old to price from" if facts.book is BookState.STALE else "there is no book"
        return None, [GateReason("stale_book", f"stale book: {text}")]
    if facts.instrument is None:
        return None, []  # the gate already refuses it
    if notional_usd <= 0:
        return None, [GateReason("size", f"regime {case.base.regime}: the size factor is 0")]
    digits = facts.instrument.sz_decimals
    is_buy = enter.side is Side.LONG
    passive = config.execution.order_type == OrderType.LIMIT
    touch = facts.bid_px if is_buy == passive else facts.ask_px
    try:
        price = limit_price(touch, digits, is_buy=is_buy == passive)
        size = entry_size(notional_usd, price, digits)
        check_notional(size, price, closes_whole_position=False)
        stop = protective_stop_px(config, enter.side, price, size, digits, enter.stop_px)
    except OrderRuleError as error:
        return None, [GateReason("size", str(error))]
    return _Priced(size, price, stop), _liquidation_reasons(case, enter.side, size, price, stop)


def _liquidation_reasons(case: _Case, side: Side, size: Decimal, price: Decimal, stop: Decimal) -> list[GateReason]:
    """Refuse a stop that the venue's liquidation would come before."""
    equity, instrument = json_safe(case.risk.equity_usd), case.facts.instrument
    if equity is None or instrument is None:
        return []  # the gate already refuses it
    trading = case.config.trading
    # Research and paper reckon with the whole account behind a position, whatever the mode (docs/backtest.md).
    if trading.margin_mode == "isolated" and case.risk.mode == "live":
        equity = float(size * price) / trading.leverage
    liquidation = liquidation_px(side, float(price), float(size), equity, instrument.max_leverage)
    if not stop_beyond_liquidation(side, stop, liquidation):
        return []
    text = f"stop {stop} is beyond the estimated liquidation price {liquidation:.6g}"
    return [GateReason("stop_beyond_liquidation", text)]


def _facts(boundary: Boundary, item: SymbolInput, pending: delay.PendingEntry | None) -> Facts:
    state, bid, ask = _book(item.book, boundary)
    open_ms = timeframes.open_of(boundary.timeframe, boundary.close_ms - 1)
    live = item.live_entry
    return Facts(
        symbol=item.symbol,
        view=item.view,
        missing=item.missing,
        position=item.position,
        instrument=item.instrument,
        book=state,
        bid_px=bid,
        ask_px=ask,
        late=2 * (boundary.now_ms - boundary.close_ms) > boundary.close_ms - open_ms,
        live_entry=None if live is None else LiveEntry(live.intent.cloid, live.intent.side),
        live_exit=item.live_exit,
        pending=pending,
        unconfirmed=item.unconfirmed,
    )


def _book(book: Book | None, boundary: Boundary) -> tuple[BookState, float | None, float | None]:
    if book is None or not book.bids or not book.asks:
        return BookState.NONE, None, None
    bid, ask = json_safe(book.bids[0].px), json_safe(book.asks[0].px)
    if bid is None or ask is None or not 0 < bid < ask:
        return BookState.NONE, None, None  # a crossed or broken book prices nothing
    fresh = boundary.now_ms - book.venue_ms <= boundary.book_max_age_ms
    return (BookState.FRESH if fresh else BookState.STALE), bid, ask


def _counting(config: Config, risk: RiskView, outcome: SymbolDecision) -> RiskView:
    """Count an intended entry for the limits of the symbols that follow."""
    used = risk.margin_used_usd
    notional = outcome.record.notional_usd or 0.0
    return replace(
        risk,
        entry_symbols=(*risk.entry_symbols, outcome.record.symbol),
        entries_today=risk.entries_today + 1,
        margin_used_usd=None if used is None else used + notional / config.trading.leverage,
    )
