"""What came of a recorded market, in the form of any backtest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from perp_bot.backtest.data_notes import funding_note
from perp_bot.backtest.recorded import RecordedRun, simulate
from perp_bot.backtest.regimes import regime_note, stored_regimes
from perp_bot.backtest.results import BacktestResult, SimulatedTrade, Trades
from perp_bot.config.model import Config
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import HOUR_MS, length_ms
from perp_bot.core.types import Action, ClosedTrade, Fill, Liquidity, OrderRole
from perp_bot.data.db.reader import Reader
from perp_bot.data.recordings import Recording


def run_recorded(config: Config, session: Recording, progress: Callable[[int], None] | None = None) -> BacktestResult:
    """Simulate the configured strategy on the market of a recorded session.

    Raises:
        UsageError: a configured coin, or the timeframe, is not in the recording.
        StoreError: the recording cannot be read.
    """
    check_recorded(config, session)
    run = simulate(config, session, stored_rates(config), progress, stored_regimes(config))
    return result_of_run(config, session, run)


def check_recorded(config: Config, session: Recording) -> None:
    """Raise UsageError when the recording does not hold what the settings trade."""
    missing = [symbol for symbol in config.trading.symbols if symbol not in session.symbols]
    if missing:
        names = ", ".join(session.symbols)
        raise UsageError(f"{session.name} recorded {names}, not {', '.join(missing)}: see --symbol")
    recorded = session.config(config.data.db_path).data.primary_timeframe
    if recorded != config.data.primary_timeframe:
        raise UsageError(f"{session.name} recorded the closes of {recorded}, not of {config.data.primary_timeframe}")


def stored_rates(config: Config) -> dict[tuple[str, int], float]:
    """Return the settled funding rates of the store, for hours that the session itself did not ask for."""
    if not config.data.db_path.exists():
        return {}
    with Reader(config.data.db_path) as reader:
        return {
            (rate.symbol, rate.hour_ms): rate.rate
            for symbol in config.trading.symbols
            for rate in reader.funding_rates(symbol, 0, 2**62)
        }


def result_of_run(config: Config, session: Recording, run: RecordedRun) -> BacktestResult:
    """Return a run as a backtest's result."""
    trades = simulated_trades(run)
    times = [at_ms for at_ms, _, _ in run.equity]
    blocked = Counter(
        rule
        for record in run.journal
        if record.action is Action.BLOCKED
        for rule in {reason.rule for reason in record.blocked_by}
    )
    step_ms = length_ms(config.data.primary_timeframe)
    notes = [f"market recorded in {session.name}: its books, trades and marks, nothing of its orders"]
    if not run.is_whole:
        notes.append("the recording has no end: what came before it is simulated")
    if run.missing_hours:
        notes.append(funding_note(run.missing_hours))
    if times:
        notes.append(regime_note(run.regimes, times[0], times[-1], step_ms))
    return BacktestResult(
        strategy=config.trading.strategy,
        symbols=config.trading.symbols,
        timeframe=config.data.primary_timeframe,
        start_equity_usd=config.trading.capital_usd,
        rows=len(run.journal),
        trades=_columns(config.trading.symbols, trades),
        close_ms=np.array(times, np.int64),
        equity_usd=np.array([equity for _, equity, _ in run.equity], np.float64),
        held_usd=np.array([held for _, _, held in run.equity], np.float64),
        blocked=dict(blocked),
        open_positions=len(run.positions),
        missing_funding_hours=run.missing_hours,
        resumes=run.resumes,
        notes=tuple(notes),
        is_partial=run.is_cut,
        data_hash=f"recording {session.name}",
    )


def simulated_trades(run: RecordedRun) -> list[SimulatedTrade]:
    """Return the round trips of a run, in the order of their closing."""
    return [_simulated(run, trade) for trade in run.trades]


def _simulated(run: RecordedRun, trade: ClosedTrade) -> SimulatedTrade:
    own = [
        fill
        for fill in run.fills
        if fill.symbol == trade.symbol and trade.opened_ms <= fill.venue_ms <= trade.closed_ms
    ]
    entries = [fill for fill in own if fill.role is OrderRole.ENTRY]
    decided = next((r for r in run.journal if r.decision_id == trade.entry_decision_id), None)
    marks = run.tape.marks_between(trade.symbol, trade.opened_ms, trade.closed_ms)
    gains = [(mark - float(trade.entry_px)) * float(trade.size) * trade.side.sign for mark in marks]
    paid_hours = {payment.hour_ms for payment in run.funding if payment.symbol == trade.symbol}
    first_hour_ms = trade.opened_ms - trade.opened_ms % HOUR_MS + HOUR_MS
    hours = range(first_hour_ms, trade.closed_ms + 1, HOUR_MS)
    first_stop = float("nan") if decided is None or decided.stop_px is None else decided.stop_px
    moved = [
        px for at_ms, symbol, px in run.stop_moves
        if symbol == trade.symbol and trade.opened_ms <= at_ms <= trade.closed_ms
    ]  # fmt: skip
    return SimulatedTrade(
        symbol=trade.symbol,
        side=str(trade.side),
        decided_ms=trade.opened_ms if decided is None else decided.close_ms,
        opened_ms=trade.opened_ms,
        closed_ms=trade.closed_ms,
        size=float(trade.size),
        entry_px=float(trade.entry_px),
        exit_px=float(trade.exit_px),
        stop_px=first_stop,
        exit_reason=trade.exit_reason,
        entry_is_maker=all(fill.liquidity is Liquidity.MAKER for fill in entries),
        gross_usd=float(trade.gross_usd),
        fees_usd=float(trade.fees_usd),
        funding_usd=float(trade.funding_usd),
        slippage_usd=_slippage_usd(run, own),
        net_usd=float(trade.net_usd),
        mae_usd=min([0.0, *gains]),
        mfe_usd=max([0.0, *gains]),
        missing_funding_hours=sum(hour not in paid_hours for hour in hours),
        last_stop_px=moved[-1] if moved else first_stop,
    )


def _slippage_usd(run: RecordedRun, fills: Iterable[Fill]) -> float:
    """Return what fills lost against the prices they were due at: the limit, the trigger, the touch when sent."""
    lost = 0.0
    for fill in fills:
        intent = run.orders[fill.cloid].intent
        touch = run.tape.touch_at(fill.symbol, intent.created_ms)
        due = intent.limit_px or intent.trigger_px
        if due is None and touch is None:
            continue
        due_px = float(due) if due is not None else touch.against(fill.side) if touch is not None else 0.0
        lost += (float(fill.px) - due_px) * float(fill.size) * fill.side.sign
    return lost


def _columns(symbols: tuple[str, ...], trades: list[SimulatedTrade]) -> Trades:
    reasons = tuple(dict.fromkeys(trade.exit_reason for trade in trades))

    def floats(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([getattr(trade, name) for trade in trades], np.float64)

    def times(name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array([getattr(trade, name) for trade in trades], np.int64)

    return Trades(
        symbols=symbols,
        reasons=reasons,
        symbol=np.array([symbols.index(trade.symbol) for trade in trades], np.int32),
        side=np.array([1 if trade.side == "long" else -1 for trade in trades], np.int8),
        decided_ms=times("decided_ms"),
        opened_ms=times("opened_ms"),
        closed_ms=times("closed_ms"),
        size=floats("size"),
        entry_px=floats("entry_px"),
        exit_px=floats("exit_px"),
        stop_px=floats("stop_px"),
        exit_reason=np.array([reasons.index(trade.exit_reason) for trade in trades], np.int8),
        entry_is_maker=np.array([trade.entry_is_maker for trade in trades], np.bool_),
        gross_usd=floats("gross_usd"),
        fees_usd=floats("fees_usd"),
        funding_usd=floats("funding_usd"),
        slippage_usd=floats("slippage_usd"),
        net_usd=floats("net_usd"),
        mae_usd=floats("mae_usd"),
        mfe_usd=floats("mfe_usd"),
        missing_funding_hours=np.array([trade.missing_funding_hours for trade in trades], np.int32),
        last_stop_px=floats("last_stop_px"),
    )
