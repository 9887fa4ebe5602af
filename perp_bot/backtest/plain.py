"""The simulation in plain Python, by the daemon's own objects: slower, the same results, any strategy.

Decisions are `decision.path`'s, money is `execution.account`'s, limits are `risk`'s, each the very code the daemon
runs. What is this module's own is the market: fills from candles, in the order that docs/backtest.md states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import numpy as np

from perp_bot.backtest import account_layout as layout
from perp_bot.backtest import account_rules as rules
from perp_bot.backtest import luck
from perp_bot.backtest.engine_result import result_of
from perp_bot.backtest.grid import REGIMES, Fine, Grid, symbol_key
from perp_bot.backtest.market import Column
from perp_bot.backtest.operator import SimulatedOperator
from perp_bot.backtest.results import BacktestResult, Trades
from perp_bot.backtest.settings import InstrumentTable, instrument_table
from perp_bot.config.model import Config
from perp_bot.core.rounding import MAX_DECIMALS, Rounding, plain, quantize_price, tick_exponent, to_decimal
from perp_bot.core.timeframes import HOUR_MS, day_of, week_of
from perp_bot.core.types import (
    Action,
    Book,
    BookLevel,
    Candle,
    ClosedTrade,
    DecisionRecord,
    Fill,
    Liquidity,
    OrderIntent,
    OrderRole,
    OrderType,
    Position,
    Regime,
    Side,
)
from perp_bot.decision.delay import PendingEntry
from perp_bot.decision.exits import TIMEOUT, timeout_at_ms
from perp_bot.decision.path import Boundary, BoundaryDecision, SymbolInput, decide_boundary
from perp_bot.decision.view import CandleColumns, build_view
from perp_bot.execution import fills
from perp_bot.execution.account import CAPITAL_STOP, STRATEGY_STOP, TRAILING_STOP, Account
from perp_bot.execution.closing import exit_intent
from perp_bot.execution.funding import funding_due, funding_payment, whole_hours
from perp_bot.indicators.warmup import decision_window
from perp_bot.risk.limits import RiskView, losing_weeks, weekly_nets
from perp_bot.risk.sizing import instrument_stop_px
from perp_bot.risk.state import RiskState
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import MarketView, Strategy

SOURCE = "backtest"
TARGET, LIQUIDATION = "target", "liquidation"
_LOTS = 1e9  # size offered at the touch of the synthetic book; only its price is read
_PROGRESS_EVERY = 256  # bars


@dataclass(slots=True)
class _Held:
    """What a trade's row needs beyond the account's books."""

    decided_ms: int
    stop_px: float
    is_maker: bool
    slippage_usd: float
    worst_px: float
    best_px: float
    stop_reason: str
    last_stop_px: float
    missing_hours: int = 0


@dataclass(slots=True)
class _Row:
    """A closed trade and what was seen on its way."""

    trade: ClosedTrade
    held: _Held


@dataclass(frozen=True, slots=True)
class _Exit:
    """A position that ends: why, at which due price, when."""

    reason: str
    due_px: float
    at_ms: int


@dataclass(slots=True)
class _Run:
    """One simulated account under way."""

    config: Config
    grid: Grid
    strategy: Strategy
    table: InstrumentTable
    account: Account
    operator: SimulatedOperator
    risk: RiskState = field(default_factory=RiskState)
    marks: dict[str, float] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)
    asked: dict[str, OrderIntent] = field(default_factory=dict)
    leaving: dict[str, str] = field(default_factory=dict)
    pending: tuple[PendingEntry, ...] = ()
    rows: list[_Row] = field(default_factory=list)
    blocked: dict[str, int] = field(default_factory=dict)
    missing_hours: int = 0
    capital_usd: float = 0.0
    opened: dict[int, int] = field(default_factory=dict)  # positions opened, by UTC day
    journal: list[DecisionRecord] | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(item.symbol for item in self.grid.market.symbols)

    def sized(self) -> Config:
        """Return the config that sizes the present boundary (compounding follows the equity)."""
        return replace(self.config, trading=replace(self.config.trading, capital_usd=self.capital_usd))


def run_plain(
    config: Config,
    grid: Grid,
    strategy: Strategy,
    begin: int,
    end: int,
    progress: Callable[[float], None] | None = None,
    journal: list[DecisionRecord] | None = None,
) -> BacktestResult:
    """Simulate the bars `begin`..`end` - 1. An interrupt ends the run; what came before is kept, marked partial.

    `journal` takes every decision, as the daemon would have written it.
    """
    operator = SimulatedOperator(config)
    run = _Run(config, grid, strategy, instrument_table(grid.market), Account(SOURCE, Decimal(0)), operator)
    run.journal = journal
    run.capital_usd = config.trading.capital_usd
    run.account = Account(SOURCE, to_decimal(config.trading.capital_usd), _stop_rule(run))
    equity, exposure = np.empty(end - begin), np.empty(end - begin)
    done = begin
    try:
        for bar in range(begin, end):
            _inside(run, bar)
            equity[bar - begin], exposure[bar - begin] = _close(run, bar)
            done = bar + 1
            if progress is not None and (bar - begin) % _PROGRESS_EVERY == 0:
                progress((bar - begin) / (end - begin))
    except KeyboardInterrupt:
        if done == begin:
            raise
    return result_of(
        grid, config, strategy.name, begin, done,
        trades=_trades(run), equity=equity[: done - begin], held=exposure[: done - begin], blocked=run.blocked,
        open_positions=len(run.account.positions), missing_hours=run.missing_hours, resumes=run.operator.resumes,
        is_partial=done < end,
    )  # fmt: skip


def _stop_rule(run: _Run) -> Callable[[str, Side, Decimal, Decimal, float | None], float | None]:
    instruments = {item.symbol: item.instrument for item in run.grid.market.symbols}

    def rule(symbol: str, side: Side, entry_px: Decimal, size: Decimal, own_stop_px: float | None) -> float | None:
        return instrument_stop_px(run.sized(), instruments[symbol], side, entry_px, size, own_stop_px)

    return rule


# ---------------------------------------------------------------- inside a bar


def _inside(run: _Run, bar: int) -> None:
    """Let everything between the open and the close of a bar happen."""
    grid = run.grid
    bar_ms = grid.first_ms + bar * grid.step_ms
    at_open = {position.symbol: position for position in run.account.positions}
    slots: dict[str, tuple[int, bool]] = {}
    for row, symbol in enumerate(run.symbols):
        if symbol not in at_open and symbol in run.asked:
            opened = _enter(run, row, bar, bar_ms, run.asked.pop(symbol))
            if opened is not None:
                slots[symbol] = opened
    for row, symbol in enumerate(run.symbols):
        position = at_open.get(symbol)
        if position is None or not _has_bar(grid, row, bar):
            continue
        if symbol in run.leaving:
            _leave(run, row, position, _Exit(run.leaving.pop(symbol), float(grid.open[row, bar]), bar_ms))
        elif timeout_at_ms(position, run.config) <= bar_ms:
            _leave(run, row, position, _Exit(TIMEOUT, float(grid.open[row, bar]), bar_ms))
    for row, symbol in enumerate(run.symbols):
        position = run.account.position(symbol)
        if position is not None:
            _hold(run, row, bar, bar_ms, position, slots.get(symbol))


def _has_bar(grid: Grid, row: int, bar: int) -> bool:
    return math.isfinite(grid.open[row, bar])


def _path_of(grid: Grid, row: int, bar: int) -> Fine | None:
    return grid.fine if grid.fine is not None and grid.fine.is_whole[row, bar] else None


def _enter(run: _Run, row: int, bar: int, bar_ms: int, intent: OrderIntent) -> tuple[int, bool] | None:
    """Fill an entry that went out at the open; return (slot it opened in, as maker), None when there was no market."""
    grid, config = run.grid, run.config
    if not _has_bar(grid, row, bar):
        return None
    side = Side.LONG if intent.side is Side.LONG.opening else Side.SHORT
    fine, slot, is_maker = _path_of(grid, row, bar), 0, False
    at_ms, due_px = bar_ms, float(grid.open[row, bar])
    wait_ms = round(config.execution.taker_fallback_seconds * 1000)
    if intent.order_type is OrderType.LIMIT and fine is not None and wait_ms >= fine.step_ms:
        assert intent.limit_px is not None
        base, window = bar * fine.per_bar, min(wait_ms // fine.step_ms, fine.per_bar)
        reached = fine.low[row] if side is Side.LONG else fine.high[row]
        through = [k for k in range(window) if fills.trades_through(intent.side, intent.limit_px, reached[base + k])]
        if through:
            slot, is_maker = through[0], True
            at_ms = bar_ms + (slot + 1) * fine.step_ms - 1
        else:
            slot = min(-(-wait_ms // fine.step_ms), fine.per_bar - 1)
            at_ms, due_px = bar_ms + slot * fine.step_ms, float(fine.open[row, base + slot])
    px = intent.limit_px if is_maker else _taker_px(run, row, due_px, side.sign, at_ms, luck.ENTRY)
    assert px is not None
    lost = 0.0 if is_maker else (float(px) - due_px) * side.sign * float(intent.size)
    change = run.account.apply_fill(
        _fill(run, row, intent, px, at_ms, Liquidity.MAKER if is_maker else Liquidity.TAKER), intent
    )
    assert change.position is not None
    assert change.position.stop_px is not None
    entry = float(px)
    run.held[intent.symbol] = _Held(
        bar_ms,
        change.position.stop_px,
        is_maker,
        lost,
        entry,
        entry,
        _stop_reason(run, row, change.position),
        change.position.stop_px,
    )
    run.opened[day_of(at_ms)] = run.opened.get(day_of(at_ms), 0) + 1
    run.marks[intent.symbol] = entry
    return slot, is_maker


def _stop_reason(run: _Run, row: int, position: Position) -> str:
    """Return whose stop it is: the capital's, or a nearer one of the strategy."""
    instrument = run.grid.market.symbols[row].instrument
    capital = instrument_stop_px(run.sized(), instrument, position.side, position.entry_px, position.size, None)
    return CAPITAL_STOP if position.stop_px == capital else STRATEGY_STOP


def _hold(run: _Run, row: int, bar: int, bar_ms: int, position: Position, opened: tuple[int, bool] | None) -> None:
    """Follow an open position through a bar: stops, target, timeout, liquidation, funding."""
    grid, symbol = run.grid, position.symbol
    end_ms = bar_ms + grid.step_ms
    if not _has_bar(grid, row, bar):
        _pay_hours(run, row, position, bar_ms, end_ms)
        return
    found = _followed(run, row, bar, bar_ms, position, opened)
    _pay_hours(run, row, position, bar_ms, end_ms if found is None else found.at_ms)
    if found is not None:
        current = run.account.position(symbol)
        assert current is not None
        _leave(run, row, current, found)
        return
    held = run.held[symbol]
    low, high = float(grid.low[row, bar]), float(grid.high[row, bar])
    is_long = position.side is Side.LONG
    held.worst_px = min(held.worst_px, low) if is_long else max(held.worst_px, high)
    held.best_px = max(held.best_px, high) if is_long else min(held.best_px, low)


def _followed(
    run: _Run, row: int, bar: int, bar_ms: int, position: Position, opened: tuple[int, bool] | None
) -> _Exit | None:
    grid, table = run.grid, run.table
    side, size = position.side.sign, float(position.size)
    assert position.stop_px is not None
    liquidation = rules.liquidation_price(
        side, size, _without(run, position.symbol), row,
        table.tier_bound, table.tier_rate, table.tier_deducted, int(table.rules[row, layout.I_TIERS]),
    )  # fmt: skip
    target = position.target_px if position.target_px is not None and position.target_px > 0 else 0.0
    due_ms = timeout_at_ms(position, run.config)
    fine = _path_of(grid, row, bar)
    if fine is None:
        reason, due_px, _ = rules.walk(
            side, position.stop_px, target, liquidation, due_ms, bar_ms, grid.step_ms, bar, bar + 1,
            opened is not None, -1, row, grid.open, grid.high, grid.low, grid.trigger_low, grid.trigger_high,
        )  # fmt: skip
        at_ms = bar_ms + grid.step_ms - 1
    else:
        base = bar * fine.per_bar
        first, is_maker = opened or (0, False)
        reason, due_px, slot = rules.walk(
            side, position.stop_px, target, liquidation, due_ms, bar_ms + first * fine.step_ms, fine.step_ms,
            base + first, base + fine.per_bar, opened is not None, base + first if is_maker else -1,
            row, fine.open, fine.high, fine.low, fine.trigger_low, fine.trigger_high,
        )  # fmt: skip
        at_ms = bar_ms + (slot - base + (reason != layout.TIMEOUT)) * fine.step_ms - (reason != layout.TIMEOUT)
    if reason < 0:
        return None
    names = {
        layout.TIMEOUT: TIMEOUT,
        layout.CAPITAL_STOP: run.held[position.symbol].stop_reason,
        layout.TARGET: TARGET,
        layout.LIQUIDATION: LIQUIDATION,
    }
    return _Exit(names[reason], float(due_px), at_ms)


def _pay_hours(run: _Run, row: int, position: Position, bar_ms: int, until_ms: int) -> None:
    grid = run.grid
    for hour_ms in whole_hours(max(bar_ms, position.opened_ms), until_ms):
        place = (hour_ms - grid.first_hour_ms) // HOUR_MS
        known = 0 <= place < grid.rates.shape[1]
        rate = grid.rates[row, place] if known else math.nan
        oracle = grid.oracles[row, place] if known else math.nan
        if not (math.isfinite(rate) and math.isfinite(oracle)):
            run.missing_hours += 1
            run.held[position.symbol].missing_hours += 1
            continue
        due = funding_due(position, hour_ms, float(oracle))
        assert due is not None
        run.account.apply_funding(funding_payment(due, float(rate)))


def _without(run: _Run, symbol: str) -> float:
    """Return cash and the value of every other position, USD."""
    total = float(run.account.cash_usd)
    for other in run.account.positions:
        if other.symbol != symbol:
            total += float(other.signed_size) * run.marks[other.symbol]
    return total


def _leave(run: _Run, row: int, position: Position, found: _Exit) -> None:
    """Close a position as a taker, book it, and tell the limits."""
    closing = -position.side.sign
    px = _taker_px(run, row, found.due_px, closing, found.at_ms, luck.EXIT)
    intent = exit_intent(position, found.reason, found.at_ms, f"{found.reason}:{position.symbol}:{found.at_ms}")
    if found.reason not in (TIMEOUT, TARGET) and found.reason in _STOP_ORDERS:
        intent = replace(intent, role=OrderRole.STOP)
    fill = _fill(run, row, intent, px, found.at_ms, Liquidity.TAKER)
    other = _without(run, position.symbol)
    if found.reason == LIQUIDATION and other + float(position.signed_size * px - fill.fee_usd) < 0:
        # The backstop takes the position over: the account is at 0, never below.
        px = to_decimal(-other) / position.signed_size
        fill = replace(fill, px=px, fee_usd=Decimal(0))
    held = run.held.pop(position.symbol)
    held.slippage_usd += (found.due_px - float(px)) * float(position.signed_size)
    change = run.account.apply_fill(fill, intent)
    trade = change.closed_trade
    assert trade is not None
    sign = position.side.sign
    exit_px = float(px)
    held.worst_px = exit_px if (exit_px - held.worst_px) * sign < 0 else held.worst_px
    held.best_px = exit_px if (exit_px - held.best_px) * sign > 0 else held.best_px
    run.rows.append(_Row(trade, held))
    run.risk = run.risk.on_trade_closed(trade, run.config.risk).state


_STOP_ORDERS = frozenset({CAPITAL_STOP, LIQUIDATION, STRATEGY_STOP, TRAILING_STOP})


def _taker_px(run: _Run, row: int, due_px: float, sign: int, at_ms: int, role: int) -> Decimal:
    costs, item = run.config.backtest, run.grid.market.symbols[row]
    draw = luck.unit_draw(costs.seed, symbol_key(item.symbol), at_ms, role)
    share = costs.slippage_min_pct + (costs.slippage_max_pct - costs.slippage_min_pct) * draw
    slipped = due_px * (1.0 + sign * share)
    digits = item.instrument.sz_decimals
    lowest = Decimal(1).scaleb(-(MAX_DECIMALS - digits))
    rounding = Rounding.DOWN if sign < 0 and to_decimal(slipped) >= lowest else Rounding.UP
    return quantize_price(slipped, digits, rounding)


def _fill(run: _Run, row: int, intent: OrderIntent, px: Decimal, at_ms: int, liquidity: Liquidity) -> Fill:
    return Fill(
        fill_id=f"{intent.cloid}:{at_ms}",
        cloid=intent.cloid,
        symbol=intent.symbol,
        side=intent.side,
        px=px,
        size=intent.size,
        fee_usd=fills.fee_usd(intent.size, px, liquidity, run.config.backtest),
        liquidity=liquidity,
        venue_ms=at_ms,
        role=intent.role,
        strategy=intent.strategy,
        source=SOURCE,
        reason=intent.reason,
        closed_pnl_usd=Decimal(0),
    )


# ---------------------------------------------------------------- the close


def _close(run: _Run, bar: int) -> tuple[float, float]:
    """Take the equity of a close, decide the boundary; return (equity, notional held)."""
    grid = run.grid
    close_ms = grid.close_ms(bar)
    for row, symbol in enumerate(run.symbols):
        if math.isfinite(grid.close[row, bar]):
            run.marks[symbol] = float(grid.close[row, bar])
    exact = run.account.equity(run.marks)
    assert exact is not None
    equity = float(exact)
    held = sum(float(position.size) * run.marks[position.symbol] for position in run.account.positions)
    measured = run.risk.on_equity(equity, close_ms, run.config.risk).state
    run.risk = run.operator.look(run.risk, measured, close_ms, equity)
    if bar + 1 < grid.bars:
        run.capital_usd = equity if run.config.backtest.compounding else run.config.trading.capital_usd
        _decide(run, bar, close_ms, equity, held)
    return equity, held


def _decide(run: _Run, bar: int, close_ms: int, equity: float, held: float) -> None:
    grid, config = run.grid, run.config
    regime = REGIMES[int(grid.regimes[bar])] if len(grid.regimes) else Regime.NORMAL
    positions = run.account.positions
    wait_ms = round(config.backtest.resume_hours * HOUR_MS)
    view = RiskView(
        now_ms=close_ms,
        state=run.risk,
        equity_usd=equity,
        open_symbols=tuple(position.symbol for position in positions),
        margin_used_usd=held / config.trading.leverage,
        losing_weeks=losing_weeks(weekly_nets(row.trade for row in run.rows), close_ms),
        force=wait_ms > 0 and close_ms >= week_of(close_ms) + wait_ms,
        mode=SOURCE,
        entries_today=run.opened.get(day_of(close_ms), 0),
    )
    boundary = Boundary(
        timeframe=grid.market.timeframe,
        close_ms=close_ms,
        now_ms=close_ms,
        source=SOURCE,
        regime=regime,
        symbols=tuple(_input(run, row, bar, close_ms, regime) for row in range(len(run.symbols))),
        risk=view,
        pending=run.pending,
    )
    _take(run, decide_boundary(run.sized(), run.strategy, boundary))


def _take(run: _Run, decision: BoundaryDecision) -> None:
    run.pending = decision.pending
    for item in decision.decided:
        record, intent = item.record, item.intent
        if run.journal is not None:
            run.journal.append(record)
        if record.action is Action.BLOCKED:
            for rule in {reason.rule for reason in record.blocked_by}:
                run.blocked[rule] = run.blocked.get(rule, 0) + 1
        if item.move_stop_px is not None:
            run.account.set_stop(record.symbol, item.move_stop_px)
            run.held[record.symbol].stop_reason = TRAILING_STOP
            run.held[record.symbol].last_stop_px = item.move_stop_px
        if intent is None:
            continue
        if intent.role is OrderRole.ENTRY:
            run.asked[intent.symbol] = intent
        else:
            run.leaving[intent.symbol] = intent.reason


def _input(run: _Run, row: int, bar: int, close_ms: int, regime: Regime) -> SymbolInput:
    item = run.grid.market.symbols[row]
    symbol = item.symbol
    position = run.account.position(symbol)
    view = _view(run, row, bar, position, regime)
    book = None if view is None else _book(symbol, close_ms, view.candle.close, item.instrument.sz_decimals)
    return SymbolInput(
        symbol=symbol,
        view=view,
        instrument=item.instrument,
        book=book,
        position=position,
        live_exit=symbol in run.leaving,
        missing="the candle is missing",
    )


def _book(symbol: str, close_ms: int, close: float, sz_decimals: int) -> Book:
    """Return the book that no one recorded: the bid at the close (on the tick below it), the ask a tick above."""
    bid = quantize_price(close, sz_decimals, Rounding.DOWN)
    ask = plain(bid + Decimal(1).scaleb(tick_exponent(bid, sz_decimals)))
    return Book(symbol, close_ms, (BookLevel(float(bid), _LOTS),), (BookLevel(float(ask), _LOTS),))


def _view(run: _Run, row: int, bar: int, position: Position | None, regime: Regime) -> MarketView | None:
    grid = run.grid
    if not _has_bar(grid, row, bar):
        return None
    params = params_of(run.config)
    begin = max(0, bar + 1 - decision_window(params))
    span = slice(begin, bar + 1)
    columns = CandleColumns(
        grid.first_ms + np.arange(begin, bar + 1, dtype=np.int64) * grid.step_ms,
        grid.high[row, span],
        grid.low[row, span],
        grid.close[row, span],
        grid.volume[row, span],
    )
    candle = Candle(
        run.symbols[row],
        grid.market.timeframe,
        grid.first_ms + bar * grid.step_ms,
        float(grid.open[row, bar]),
        float(grid.high[row, bar]),
        float(grid.low[row, bar]),
        float(grid.close[row, bar]),
        float(grid.volume[row, bar]),
    )
    return build_view(candle, columns, params, regime=regime, position=position)


# ---------------------------------------------------------------- the outcome


def plain_sums(config: Config, grid: Grid, strategy: Strategy, begin: int, end: int) -> Column:
    """Return the sums of a run in the order of the kernel's, for a sweep of a strategy without a compiled form."""
    result = run_plain(config, grid, strategy, begin, end)
    if result.is_partial:
        raise KeyboardInterrupt
    trades, equity = result.trades, result.equity_usd
    before = np.concatenate(([result.start_equity_usd], equity[:-1]))
    peaks = np.maximum.accumulate(np.concatenate(([result.start_equity_usd], equity)))[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(before > 0, equity / before - 1.0, 0.0)
        falls = np.where(peaks > 0, (peaks - equity) / peaks, 0.0)
    out = np.zeros(layout.SUMS)
    out[layout.S_TRADES], out[layout.S_OPEN] = len(trades), result.open_positions
    out[layout.S_GROSS], out[layout.S_FEES] = trades.gross_usd.sum(), trades.fees_usd.sum()
    out[layout.S_FUNDING], out[layout.S_SLIPPAGE] = trades.funding_usd.sum(), trades.slippage_usd.sum()
    out[layout.S_NET], out[layout.S_END_USD] = trades.net_usd.sum(), equity[-1]
    won = trades.net_usd > 0
    out[layout.S_WINS], out[layout.S_WON_USD] = won.sum(), trades.net_usd[won].sum()
    out[layout.S_LOST_USD] = -trades.net_usd[~won].sum()
    out[layout.S_MISSING_HOURS], out[layout.S_HELD] = result.missing_funding_hours, (result.held_usd > 0).sum()
    out[layout.S_DRAWDOWN], out[layout.S_DRAWDOWN_USD] = falls.max(), (peaks - equity).max()
    out[layout.S_R1], out[layout.S_R2] = returns.sum(), (returns**2).sum()
    out[layout.S_DOWN2] = (np.minimum(returns, 0.0) ** 2).sum()
    return out


def _trades(run: _Run) -> Trades:
    rows = run.rows
    reasons = tuple(dict.fromkeys(row.trade.exit_reason for row in rows))
    signs = np.array([row.trade.side.sign for row in rows], np.int8)
    entry = _floats(row.trade.entry_px for row in rows)
    signed = _floats(row.trade.size for row in rows) * signs
    return Trades(
        symbols=run.symbols,
        reasons=reasons,
        symbol=np.array([run.symbols.index(row.trade.symbol) for row in rows], np.int32),
        side=signs,
        decided_ms=np.array([row.held.decided_ms for row in rows], np.int64),
        opened_ms=np.array([row.trade.opened_ms for row in rows], np.int64),
        closed_ms=np.array([row.trade.closed_ms for row in rows], np.int64),
        size=_floats(row.trade.size for row in rows),
        entry_px=entry,
        exit_px=_floats(row.trade.exit_px for row in rows),
        stop_px=_floats(row.held.stop_px for row in rows),
        exit_reason=np.array([reasons.index(row.trade.exit_reason) for row in rows], np.int8),
        entry_is_maker=np.array([row.held.is_maker for row in rows], np.bool_),
        gross_usd=_floats(row.trade.gross_usd for row in rows),
        fees_usd=_floats(row.trade.fees_usd for row in rows),
        funding_usd=_floats(row.trade.funding_usd for row in rows),
        slippage_usd=_floats(row.held.slippage_usd for row in rows),
        net_usd=_floats(row.trade.net_usd for row in rows),
        mae_usd=(_floats(row.held.worst_px for row in rows) - entry) * signed,
        mfe_usd=(_floats(row.held.best_px for row in rows) - entry) * signed,
        missing_funding_hours=np.array([row.held.missing_hours for row in rows], np.int32),
        last_stop_px=_floats(row.held.last_stop_px for row in rows),
    )


def _floats(values: Iterable[Decimal | float]) -> Column:
    return np.array([float(value) for value in values], np.float64)
