"""`perpbot compare`: a session decided again, and beside the free backtest of the same days."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from perp_bot.cli.backtesting import counting, progress
from perp_bot.cli.output import put_json
from perp_bot.core.collector import collecting_rarely
from perp_bot.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, StoreError
from perp_bot.core.timeframes import DAY_MS, iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perp_bot.backtest.parity import Parity
    from perp_bot.backtest.price_parts import Evidence, ExplainedTrade
    from perp_bot.backtest.redecide import Report
    from perp_bot.backtest.results import SimulatedTrade
    from perp_bot.config.model import Config
    from perp_bot.core.types import Book, ClosedTrade, DecisionRecord, Fill, FundingPayment, Order
    from perp_bot.data.recordings import Recording
    from perp_bot.data.session_format import Pass

REMAINDER_USD = 0.005  # above it something is not explained
RECORDED, CANDLES = "recorded market", "candles"
_ALL = 1_000_000_000
_TOLD_EVERY = 1_000  # passes


@dataclass(frozen=True, slots=True)
class Session:
    """What the store says of the days."""

    decisions: list[DecisionRecord]
    trades: list[ClosedTrade]
    fills: list[Fill]
    orders: dict[str, Order]
    funding: list[FundingPayment]
    notes: tuple[str, ...]

    @property
    def first_ms(self) -> int:
        """The first decided close."""
        return self.decisions[0].close_ms

    @property
    def last_ms(self) -> int:
        """The last one."""
        return self.decisions[-1].close_ms


@dataclass(frozen=True, slots=True)
class Simulation:
    """The free backtest of the same days."""

    trades: Sequence[SimulatedTrade]
    journal: Sequence[DecisionRecord]
    notes: tuple[str, ...]
    explained: Sequence[ExplainedTrade | None] = ()
    cut_ms: int | None = None  # where an interrupt ended it


@dataclass(frozen=True, slots=True)
class Beside:
    """A session beside its backtest."""

    parity: Parity
    mode: str
    first_ms: int
    last_ms: int
    notes: tuple[str, ...]
    is_partial: bool

    @property
    def is_explained(self) -> bool:
        """Whether nothing remains."""
        return abs(self.parity.remainder_usd) < REMAINDER_USD


@dataclass(frozen=True, slots=True)
class Compared:
    """What `perpbot compare` found."""

    report: Report
    trades: Sequence[ClosedTrade]  # of the session
    wants_backtest: bool
    beside: Beside | None  # None: not asked for, or interrupted before it

    @property
    def is_partial(self) -> bool:
        """Whether an interrupt left something out."""
        is_missing = self.wants_backtest and self.beside is None
        return self.report.is_partial or is_missing or (self.beside is not None and self.beside.is_partial)

    @property
    def exit_code(self) -> int:
        """1 when something differs or remains, else 130 when it was interrupted."""
        if not self.report.is_reproduced or (self.beside is not None and not self.beside.is_explained):
            return EXIT_FAILURE
        return EXIT_INTERRUPTED if self.is_partial else EXIT_OK


def compare(config: Config, days: float | None, source: str, *, on_candles: bool, as_json: bool) -> int:
    """Make the decisions of a session again; with `days` those of its last days, beside the backtest of these.

    The backtest runs on the recorded market where one recording covers the days, else (or `on_candles`) on candles.
    """
    session = _session(config, days, source)
    with collecting_rarely():
        report = _again(config, session)
        beside = None
        if days is not None and not report.is_partial:
            with suppress(KeyboardInterrupt):  # the decisions are kept
                beside = _beside(config, session, on_candles=on_candles)
    found = Compared(report, session.trades, days is not None, beside)
    if as_json:
        put_json(_as_object(found))
    else:
        from perp_bot.cli.compare_view import show

        show(found)
    return found.exit_code


def _again(config: Config, session: Session) -> Report:
    from perp_bot.backtest.redecide import redecide_all
    from perp_bot.data.db.reader import Reader
    from perp_bot.indicators import compiled

    compiled.load()
    with Reader(config.data.db_path) as reader, progress("decisions") as advance:
        return redecide_all(config, reader, session.decisions, advance)


def _beside(config: Config, session: Session, *, on_candles: bool) -> Beside:
    from perp_bot.backtest.parity import compare_trades, trades_until
    from perp_bot.backtest.price_parts import explain

    recordings = _recordings(config, session)
    whole = None if on_candles else _covering(recordings, session)
    evidence = _evidence(config, session, [item for item, _, _ in recordings])
    explained = explain(evidence, session.trades)
    if whole is not None:
        simulation, mode = _on_recording(config, session, whole, evidence), RECORDED
    else:
        simulation, mode = _on_candles(config, session), CANDLES
    trades, decisions, last_ms, notes = session.trades, session.decisions, session.last_ms, list(simulation.notes)
    if simulation.cut_ms is not None:
        last_ms = simulation.cut_ms
        trades = trades_until(trades, simulation.trades, last_ms)
        decisions = [row for row in decisions if row.close_ms <= last_ms]
        notes.append(f"interrupted: the backtest ends at {iso(last_ms)}, later trades are not compared")
    parity = compare_trades(trades, simulation.trades, decisions, simulation.journal, explained, simulation.explained)
    notes += session.notes
    untold = sum(trade.trade_id not in explained for trade in trades)
    if untold:
        notes.append(f"{untold} of {len(trades)} trades have no recorded books: spread and latency untold")
    return Beside(parity, mode, session.first_ms, last_ms, tuple(notes), simulation.cut_ms is not None)


def _as_object(found: Compared) -> dict[str, Any]:
    """Return one document: the decisions made again and, where it was asked for, the backtest beside them."""
    report, beside = found.report, found.beside
    out = asdict(report) | {
        "is_reproduced": report.is_reproduced, "is_partial": found.is_partial, "trades": len(found.trades),
    }  # fmt: skip
    if beside is None:
        return out
    parity = beside.parity
    return out | {
        "from_ms": beside.first_ms, "to_ms": beside.last_ms, "simulated_on": beside.mode,
        "matched": [asdict(trade) | {"remainder_usd": trade.remainder_usd} for trade in parity.matched],
        "missed": [asdict(trade) for trade in parity.missed],
        "extra": [asdict(trade) for trade in parity.extra],
        "remainder_usd": parity.remainder_usd, "is_explained": beside.is_explained, "notes": list(beside.notes),
    }  # fmt: skip


# ---------------------------------------------------------------- the session


def _session(config: Config, days: float | None, source: str) -> Session:
    from perp_bot.data.db.reader import Reader

    path = config.data.db_path
    if not path.exists():
        raise StoreError(f"{path} does not exist: no session to compare; run `perpbot trade` first")
    with Reader(path) as reader:
        newest = reader.decisions(1, source=source)
        if not newest:
            others = sorted({row.source for row in reader.decisions(1)})
            there = f"its newest is of {others[0]} (--source)" if others else "run `perpbot trade` first"
            raise StoreError(f"{path} holds no decision of {source} to compare: {there}")
        since_ms = None if days is None else newest[0].close_ms - round(days * DAY_MS) + 1
        decisions = reader.decisions(_ALL, since_ms=since_ms, source=source)
        first_ms = decisions[0].close_ms
        trades = [trade for trade in reader.trades(source) if trade.opened_ms >= first_ms]
        held = [trade for trade in reader.trades(source) if trade.opened_ms < first_ms < trade.closed_ms]
        notes = tuple(
            f"the session held {trade.side} {trade.symbol} when these days began; the backtest begins flat"
            for trade in held[:1]
        )
        orders = {order.intent.cloid: order for order in reader.orders(_ALL)}
        return Session(decisions, trades, reader.fills(source), orders, reader.funding_payments(source), notes)


def _recordings(config: Config, session: Session) -> list[tuple[Recording, int, int]]:
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


def _covering(found: list[tuple[Recording, int, int]], session: Session) -> Recording | None:
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


def _evidence(config: Config, session: Session, found: list[Recording]) -> Evidence:
    """Return the recorded inputs of the session's fills."""
    from perp_bot.backtest.price_parts import Evidence, moments_of

    own = [fill for fill in session.fills if fill.venue_ms >= session.first_ms]
    books = _books(found, moments_of(own, session.orders))
    closes = {row.decision_id: row.close_px for row in session.decisions if row.close_px is not None}
    return Evidence(session.orders, closes, books, config.backtest, session.fills, session.funding)


def _books(recordings: Iterable[Recording], moments: list[tuple[str, int]]) -> Mapping[tuple[str, int], Book]:
    """Return the recorded books at these moments."""
    from perp_bot.backtest.price_parts import BooksWanted
    from perp_bot.data.recordings import SessionReader

    wanted = BooksWanted(moments)
    with counting("passes searched for books") as advance:
        each = (item for recording in recordings for item in SessionReader(recording).each_books())
        for count, item in enumerate(each, start=1):
            for book in (*item.first_books.values(), *item.books.values()):
                wanted.take(book)
            if count % _TOLD_EVERY == 0:
                advance(count)
    return wanted.found()


# ---------------------------------------------------------------- the backtest


def _on_recording(config: Config, session: Session, recording: Recording, evidence: Evidence) -> Simulation:
    from perp_bot.backtest.price_parts import explain, moments_of
    from perp_bot.backtest.recorded import simulate
    from perp_bot.backtest.recorded_result import simulated_trades, stored_rates

    config = replace(config, backtest=replace(config.backtest, resume_hours=0.0))
    with counting("passes") as advance:
        run = simulate(config, recording, stored_rates(config), advance)
    books = _books([recording], moments_of(run.fills, run.orders))
    closes = {row.decision_id: row.close_px for row in run.journal if row.close_px is not None}
    own = replace(evidence, orders=run.orders, close_px=closes, books=books, fills=run.fills, funding=run.funding)
    explained = explain(own, run.trades)
    pairs = [
        (trade, explained.get(closed.trade_id))
        for trade, closed in zip(simulated_trades(run), run.trades, strict=True)
        if session.first_ms <= trade.decided_ms <= session.last_ms
    ]
    journal = [row for row in run.journal if session.first_ms <= row.close_ms <= session.last_ms]
    if run.is_cut:
        if not journal:
            raise KeyboardInterrupt
        return Simulation([trade for trade, _ in pairs], journal, (), [own for _, own in pairs], journal[-1].close_ms)
    notes = () if run.is_whole else (f"{recording.name} has no end: the backtest ends with it",)
    return Simulation([trade for trade, _ in pairs], journal, notes, [found for _, found in pairs])


def _on_candles(config: Config, session: Session) -> Simulation:
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
    with progress("backtest") as advance:
        result = run_plain(config, grid, strategy, begin, end, advance, journal)
    cut_ms = int(result.close_ms[-1]) if result.is_partial else None
    return Simulation(list(result.trades.rows()), journal, result.notes, cut_ms=cut_ms)
