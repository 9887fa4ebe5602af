"""`perpbot compare`: a session decided again, and beside the free backtest of the same days."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from perp_bot.cli.output import put, put_json, say
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, StoreError
from perp_bot.core.timeframes import DAY_MS, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from perp_bot.backtest.parity import Parity
    from perp_bot.backtest.price_parts import Evidence, ExplainedTrade
    from perp_bot.backtest.results import SimulatedTrade
    from perp_bot.config.model import Config
    from perp_bot.core.types import ClosedTrade, DecisionRecord, Fill, FundingPayment, Order
    from perp_bot.data.recordings import Recording
    from perp_bot.data.session_format import Pass

REMAINDER_USD = 0.005  # above it something is not explained
RECORDED, CANDLES = "recorded market", "candles"


@dataclass(frozen=True, slots=True)
class _Session:
    """What the store says of the days."""

    decisions: list[DecisionRecord]
    trades: list[ClosedTrade]
    fills: list[Fill]
    orders: dict[str, Order]
    funding: list[FundingPayment]
    notes: tuple[str, ...]

    @property
    def first_ms(self) -> int:
        return self.decisions[0].close_ms

    @property
    def last_ms(self) -> int:
        return self.decisions[-1].close_ms


@dataclass(frozen=True, slots=True)
class _Simulation:
    """The free backtest of the same days."""

    trades: Sequence[SimulatedTrade]
    journal: Sequence[DecisionRecord]
    notes: tuple[str, ...]
    explained: Sequence[ExplainedTrade | None] = ()


def compare(config: Config, days: float, source: str, *, on_candles: bool, as_json: bool) -> int:
    """Compare the last `days` of a session with their backtest; exit code 1 when a remainder is left.

    The backtest runs on the recorded market where one recording covers the days, else (or `on_candles`) on candles.
    """
    from perp_bot.backtest.parity import compare_trades
    from perp_bot.backtest.price_parts import explain

    session = _session(config, days, source)
    recordings = _recordings(config, session)
    whole = None if on_candles else _covering(recordings, session)
    evidence = _evidence(config, session, [item for item, _, _ in recordings])
    explained = explain(evidence, session.trades)
    if whole is not None:
        simulation, mode = _on_recording(config, session, whole, evidence), RECORDED
    else:
        simulation, mode = _on_candles(config, session), CANDLES
    parity = compare_trades(
        session.trades, simulation.trades, session.decisions, simulation.journal, explained, simulation.explained
    )
    notes = [*simulation.notes, *session.notes]
    untold = len(session.trades) - len(explained)
    if untold:
        notes.append(f"{untold} of {len(session.trades)} trades have no recorded books: spread and latency untold")
    is_explained = abs(parity.remainder_usd) < REMAINDER_USD
    if as_json:
        put_json(
            {
                "from_ms": session.first_ms, "to_ms": session.last_ms, "simulated_on": mode,
                "matched": [asdict(trade) | {"remainder_usd": trade.remainder_usd} for trade in parity.matched],
                "missed": [asdict(trade) for trade in parity.missed],
                "extra": [asdict(trade) for trade in parity.extra],
                "remainder_usd": parity.remainder_usd, "is_explained": is_explained, "notes": notes,
            }
        )  # fmt: skip
    else:
        _print(parity, session, mode, notes)
    return EXIT_OK if is_explained else EXIT_FAILURE


# ---------------------------------------------------------------- the session


def _session(config: Config, days: float, source: str) -> _Session:
    from perp_bot.data.db.reader import Reader

    if not config.data.db_path.exists():
        raise StoreError(f"{config.data.db_path} does not exist: no session to compare; run `perpbot trade` first")
    every = 1_000_000_000
    with Reader(config.data.db_path) as reader:
        newest = reader.decisions(1)
        if not newest:
            raise StoreError(f"{config.data.db_path} holds no decision yet: run `perpbot trade` first")
        since_ms = newest[0].close_ms - round(days * DAY_MS)
        decisions = [row for row in reader.decisions(every, since_ms=since_ms + 1) if row.source == source]
        if not decisions:
            raise StoreError(f"no decision of {source} in the last {days:g} days")
        first_ms = decisions[0].close_ms
        trades = [trade for trade in reader.trades(source) if trade.opened_ms >= first_ms]
        held = [trade for trade in reader.trades(source) if trade.opened_ms < first_ms < trade.closed_ms]
        notes = tuple(
            f"the session held {trade.side} {trade.symbol} when these days began; the backtest begins flat"
            for trade in held[:1]
        )
        orders = {order.intent.cloid: order for order in reader.orders(every)}
        return _Session(decisions, trades, reader.fills(source), orders, reader.funding_payments(source), notes)


def _recordings(config: Config, session: _Session) -> list[tuple[Recording, int, int]]:
    """Return the recordings that touch the days, each with the first and last time it holds."""
    from perp_bot.config.paths import RuntimePaths
    from perp_bot.data.recordings import TRADING, SessionReader, recordings

    found = []
    for item in recordings(RuntimePaths(config.data.db_path).recordings):
        if item.kind != TRADING:
            continue
        reader = SessionReader(item)
        try:
            first_ms = reader.opening().now_ms
        except StoreError:
            continue  # it ended before its loop began
        last_ms = reader.last_ms()
        if first_ms <= session.last_ms and last_ms >= session.first_ms:
            found.append((item, first_ms, last_ms))
    return found


def _covering(found: list[tuple[Recording, int, int]], session: _Session) -> Recording | None:
    """Return the recording that holds every close of the days, also the one that a daemon takes as it starts."""
    from perp_bot.data.recordings import SessionReader

    for item, first_ms, last_ms in found:
        if last_ms >= session.last_ms and (
            first_ms <= session.first_ms or first_close_ms(SessionReader(item).each_pass()) == session.first_ms
        ):
            return item
    return None


def first_close_ms(passes: Iterable[Pass]) -> int | None:
    """Return the close of the first boundary that the loop took, None without one."""
    from perp_bot.core.events import BoundaryClosed
    from perp_bot.data.session_format import events_of

    events = (event for item in passes for event in events_of(item.events))
    return next((event.close_ms for event in events if isinstance(event, BoundaryClosed)), None)


def _evidence(config: Config, session: _Session, found: list[Recording]) -> Evidence:
    """Return the recorded inputs of the session's fills."""
    from perp_bot.backtest.price_parts import BooksWanted, Evidence, moments_of
    from perp_bot.data.recordings import SessionReader

    own = [fill for fill in session.fills if fill.venue_ms >= session.first_ms]
    wanted = BooksWanted(moments_of(own, session.orders))
    for recording in found:
        for item in SessionReader(recording).each_pass():
            for book in (*item.first_books.values(), *item.books.values()):
                wanted.take(book)
    closes = {row.decision_id: row.close_px for row in session.decisions if row.close_px is not None}
    return Evidence(session.orders, closes, wanted.found(), config.backtest, session.fills, session.funding)


# ---------------------------------------------------------------- the backtest


def _on_recording(config: Config, session: _Session, recording: Recording, evidence: Evidence) -> _Simulation:
    from perp_bot.backtest.price_parts import BooksWanted, explain, moments_of
    from perp_bot.backtest.recorded import simulate
    from perp_bot.backtest.recorded_result import simulated_trades, stored_rates
    from perp_bot.data.recordings import SessionReader

    config = replace(config, backtest=replace(config.backtest, resume_hours=0.0))
    run = simulate(config, recording, stored_rates(config))
    wanted = BooksWanted(moments_of(run.fills, run.orders))
    for item in SessionReader(recording).each_pass():
        for book in (*item.first_books.values(), *item.books.values()):
            wanted.take(book)
    closes = {row.decision_id: row.close_px for row in run.journal if row.close_px is not None}
    own = replace(
        evidence, orders=run.orders, close_px=closes, books=wanted.found(), fills=run.fills, funding=run.funding
    )
    explained = explain(own, run.trades)
    pairs = [
        (trade, explained.get(closed.trade_id))
        for trade, closed in zip(simulated_trades(run), run.trades, strict=True)
        if session.first_ms <= trade.decided_ms <= session.last_ms
    ]
    journal = [row for row in run.journal if session.first_ms <= row.close_ms <= session.last_ms]
    notes = () if run.is_whole else (f"{recording.name} has no end: the backtest ends with it",)
    return _Simulation([trade for trade, _ in pairs], journal, notes, [found for _, found in pairs])


def _on_candles(config: Config, session: _Session) -> _Simulation:
    """Return the backtest of the closes of the days, and its decisions.

    Nobody resumes in it: what the operator did is in the session's own journal.
    """
    from perp_bot.backtest.engine import span_of
    from perp_bot.backtest.grid import grid_of
    from perp_bot.backtest.load import load_market
    from perp_bot.backtest.plain import run_plain
    from perp_bot.strategies import registry

    first_ms, last_ms = session.first_ms, session.last_ms
    config = replace(config, backtest=replace(config.backtest, resume_hours=0.0))
    grid = grid_of(load_market(config, from_ms=first_ms - 1, to_ms=last_ms + DAY_MS))
    begin, end = span_of(grid, first_ms - 1, last_ms)
    journal: list[DecisionRecord] = []
    strategy = registry.create(session.decisions[0].strategy, config)
    result = run_plain(config, grid, strategy, begin, end, journal=journal)
    return _Simulation(list(result.trades.rows()), journal, result.notes)


# ---------------------------------------------------------------- for people


def _print(parity: Parity, session: _Session, mode: str, notes: list[str]) -> None:
    from perp_bot.backtest.parity import PARTS

    counts = f"{len(parity.matched)} trades matched, {len(parity.missed)} missed, {len(parity.extra)} extra"
    put(f"backtest of {iso(session.first_ms)} to {iso(session.last_ms)} on the {mode}: {counts}")
    for trade in parity.matched:
        told = [f"{name} {trade.parts[name]:+.4f}" for name in PARTS if abs(trade.parts.get(name, 0.0)) >= 0.00005]
        exits = "" if len(set(trade.exit_reasons)) == 1 else f", left by {' / '.join(trade.exit_reasons)}"
        parts = ", ".join(told) or "no difference"
        put(
            f"  {iso(trade.decided_ms)} {trade.side:5} {trade.symbol}: net {_usd(trade.net_usd)} USD apart: {parts}; "
            f"remainder {_usd(trade.remainder_usd)}{exits}"
        )
    for kind, trades in (("missed", parity.missed), ("extra", parity.extra)):
        for lone in trades:
            put(f"  {kind}: {iso(lone.decided_ms)} {lone.side} {lone.symbol} (net {lone.net_usd:+.2f} USD)")
            put(f"    split by: {lone.split}")
    if parity.matched:
        sums = {name: sum(trade.parts.get(name, 0.0) for trade in parity.matched) for name in PARTS}
        told = [f"{name} {amount:+.4f}" for name, amount in sums.items() if abs(amount) >= 0.00005]
        net = sum(trade.net_usd for trade in parity.matched)
        put(f"  all matched: net {net:+.4f} USD apart: {', '.join(told) or 'no difference'}")
    put(f"  largest remainder {_usd(parity.remainder_usd)} USD")
    for note in notes:
        say(f"note: {note}")


def _usd(amount: float) -> str:
    """Return an amount to a hundredth of a cent; what rounds to nothing has no sign of loss."""
    return f"{round(amount, 4) + 0.0:+.4f}"
