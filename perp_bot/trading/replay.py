"""A recorded session run again: the same loop on a fresh database, fed with recorded batches, times and answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec

from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import StoreError
from perp_bot.core.events import ClockFrame
from perp_bot.core.types import Candle, Instrument
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.writer import Writer
from perp_bot.data.limiter import RequestClass
from perp_bot.data.market import FeedHealth
from perp_bot.data.recordings import Recording, SessionReader
from perp_bot.data.session_format import Ending, Opening, Pass, events_of
from perp_bot.indicators import compiled
from perp_bot.ipc.control import ControlArgs, ControlRequest, Peer
from perp_bot.ipc.tokens import TokenStore
from perp_bot.strategies import registry
from perp_bot.trading import recovery
from perp_bot.trading.desk import Desk
from perp_bot.trading.history import SeriesHistory
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_account import LIVE_START, LivePorts, LiveStart, NoPort
from perp_bot.trading.loop import Hooks
from perp_bot.trading.needs import check_needs
from perp_bot.trading.outside import Diverged, ReplayedOutside
from perp_bot.trading.queue import Batch, EventQueue
from perp_bot.trading.session import Ports, Session, no_gap, open_session

FLUSH_EVERY = 2_000  # passes; a replay is faster than the disk
_FLUSH_S = 60.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay left."""

    db: Path
    passes: int
    is_whole: bool  # the recording reaches to the orderly end of its session
    until_ms: int  # venue time of the last pass
    diverged: str | None  # why it could not go on


def replay(recording: Recording, folder: Path, progress: Callable[[int], None] | None = None) -> Replayed:
    """Run a recorded session again in `folder`.

    Raises:
        StoreError: the recording cannot be read, or holds no beginning.
    """
    entries = SessionReader(recording)
    opening = entries.opening()
    db = folder / "replay.db"
    shutil.copyfile(recording.start_db, db)
    compiled.load()
    clock = VenueClock(opening.now_ms, opening.speed)
    writer = Writer(db, backups=None, emergency=RuntimePaths(db).emergency_journal, clock=clock)
    writer.start()
    run = _Run(recording, opening, folder, clock, writer)
    diverged: str | None = None
    until_ms, count = opening.now_ms, 0
    try:
        run.open()
        for item in entries.each_pass():
            run.take(item)
            until_ms, count = item.now_ms, count + 1
            if count % FLUSH_EVERY == 0:
                writer.flush(_FLUSH_S)
                if progress is not None:
                    progress(count)
        if entries.ending is not None:
            run.end(entries.ending)
    except Diverged as error:
        diverged = str(error)
    finally:
        writer.stop(_FLUSH_S)
    return Replayed(db, count, entries.is_whole, until_ms, diverged)


class _Run:
    """The session under replay."""

    def __init__(self, recording: Recording, opening: Opening, folder: Path, clock: VenueClock, writer: Writer) -> None:
        self._opening = opening
        self._outside = ReplayedOutside()
        self._clock = clock
        self._start = _live_start_of(opening)
        config = recording.config(folder / "replay.db")
        strategy = registry.create(config.trading.strategy, config)
        listed = {item.symbol: item for item in opening.instruments}
        with Reader(config.data.db_path) as reader:
            self._desk = recovery.rebuild(
                config, strategy, lambda: listed, RuntimePaths(config.data.db_path).kill_latch, reader,
                force=opening.force, book_max_age_ms=opening.book_max_age_ms,
                live=None if self._start is None else LivePorts.of(self._start, NoPort()),
            )  # fmt: skip
        self._desk.killed = opening.killed
        self._desk.outside = self._outside
        self._journal = Journal(writer, self._outside)
        self._listed = listed
        self._session: Session

    def open(self) -> None:
        """Do what the start-up did."""
        opening, desk = self._opening, self._desk
        self._outside.begin(opening.answers)
        self._session = open_session(
            desk,
            self._journal,
            Ports(
                queue=EventQueue(), clock=self._clock, market=_NoMarket(self._listed), minutes=_NoMinutes(),
                stored=_no_candles, tokens=TokenStore("replay"), push=lambda note: None,
                alert=lambda kind, text, symbol: None, note_cash=_note_nothing, venue=opening.venue,
                live_start=None if self._start is None else _no_start,
                hooks=Hooks(lambda: None, lambda venue_ms: None, lambda: True, no_gap),
            ),
            now_ms=opening.now_ms,
            replay_from_ms=opening.replay_from_ms,
            load_history=lambda: self._load_history(desk),
        )  # fmt: skip
        check_needs(desk, desk.strategy)
        self._session.announce(opening.started, opening.started_ms, opening.emergencies)

    def _load_history(self, desk: Desk) -> None:
        timeframe = desk.config.data.primary_timeframe
        bars = desk.strategy.needs.warmup_bars + 64
        for symbol, candles in self._opening.histories.items():
            history = desk.histories[symbol] = SeriesHistory(symbol, timeframe, bars)
            history.extend(candles)

    def take(self, item: Pass) -> None:
        """Run one pass."""
        self._outside.begin(item.answers)
        frame = None if item.frame_ms is None else ClockFrame(item.frame_ms)
        controls = [request_of(*control) for control in item.controls]
        batch = Batch(item.contexts, item.books, item.first_books, item.trades, events_of(item.events), controls, frame)
        self._session.loop.take_pass(batch, item.now_ms)

    def end(self, ending: Ending) -> None:
        """Do what the end of the session did."""
        self._session.notes.say("STOPPED", ending.text, ending.now_ms)


def request_of(cmd: str, args: object, pid: int, uid: int) -> ControlRequest:
    """Return a recorded control as a request that nobody waits for."""
    return ControlRequest(cmd, msgspec.convert(args, ControlArgs), Peer(pid, uid), float("inf"), lambda outcome: None)


def _live_start_of(opening: Opening) -> LiveStart | None:
    """Return the account that a recorded live session began with; None of one on paper."""
    found = next((answer for _, name, answer in opening.answers if name == LIVE_START), None)
    return None if found is None else msgspec.convert(found, LiveStart)


def _no_start() -> LiveStart:
    raise StoreError("a replay reads no account: the recorded one was not asked for")


def _note_nothing(fills: int, payments: int, cash: Decimal) -> None:
    """Nobody audits a replay: its database is what is compared."""


def _no_candles(symbol: str, timeframe: str, count: int) -> list[Candle]:
    raise StoreError("a replay reads no candles: the recorded ones were not asked for")


class _NoMinutes:
    """The venue's REST side in a replay: never reached, the recording answers before it."""

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int, cls: RequestClass) -> list[Candle]:
        raise StoreError("a replay asks no venue")


class _NoMarket:
    """The market side in a replay: what it brought comes with the batches."""

    def __init__(self, listed: Mapping[str, Instrument]) -> None:
        self._listed = listed

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        return self._listed

    def request_funding(self, symbol: str, hour_ms: int) -> None:
        """The rate comes with a batch."""

    def is_settled(self) -> bool:
        return True

    def health(self) -> FeedHealth:
        raise StoreError("a replay asks no venue")
