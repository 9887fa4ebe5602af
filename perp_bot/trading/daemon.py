"""The daemon: threads in a fixed start-up order, and the same order backwards at the end.

Instance lock, log, store, venue, books (positions and orders), socket, downtime, history, market stream, signals,
then decisions. Whatever fails on the way is said in one line and leaves nothing behind.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from types import FrameType
from typing import TYPE_CHECKING, Any

from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.config.venues import BASE_URLS, base_url
from perp_bot.core.clock import VenueClock, monotonic_s, wall_ms
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, ConfigError, HaltedByRisk, PerpBotError, StoreError
from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.core.types import Candle
from perp_bot.data.answers import VenueStatus
from perp_bot.data.client import VenueClient
from perp_bot.data.db.emergency import read_emergency
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import StateRow
from perp_bot.data.db.writer import Writer
from perp_bot.data.identity import claim, refuse_earlier, venue_identity
from perp_bot.data.limiter import WeightLimiter
from perp_bot.data.market import MarketData
from perp_bot.data.meta import meta_row
from perp_bot.execution.live.books import BASELINE
from perp_bot.execution.paper import book_max_age_ms
from perp_bot.indicators import compiled
from perp_bot.ipc.protocol import Hello
from perp_bot.ipc.server import IpcServer
from perp_bot.ipc.state import PROTOCOL_VERSION
from perp_bot.ipc.tokens import TokenStore
from perp_bot.ops.instance_lock import InstanceLock
from perp_bot.ops.logging import FILE_ONLY, configure
from perp_bot.ops.run_record import RunRecord, write_run_record
from perp_bot.risk.limits import losing_weeks
from perp_bot.strategies import registry
from perp_bot.strategies.protocol import Strategy
from perp_bot.trading import recovery
from perp_bot.trading.auditor import Auditor
from perp_bot.trading.desk import Desk, position_text, state_key
from perp_bot.trading.history import SeriesHistory
from perp_bot.trading.journal import Journal
from perp_bot.trading.live_account import (
    LiveAccount,
    LivePorts,
    LiveStart,
    entry_valid_ms,
    start_cash_of,
)
from perp_bot.trading.loop import Hooks, TradingLoop
from perp_bot.trading.needs import check_needs
from perp_bot.trading.queue import EventQueue
from perp_bot.trading.recording import DaemonRecording
from perp_bot.trading.session import Ports, open_session
from perp_bot.trading.signal_rows import SignalRecorder
from perp_bot.trading.snapshot import RunFacts, SnapshotBuilder, Sources
from perp_bot.version import VERSION

if TYPE_CHECKING:
    from perp_bot.ops.alerts import Alerts
    from perp_bot.signals.service import SignalService

LOG = logging.getLogger(__name__)

SWITCH_INTERVAL_S = 0.0005  # busy socket threads give way sooner: the loop's worst wake-up falls from 5 to 1 ms
HEARTBEAT_TEXT_S = 1800.0


def run(config: Config, *, force: bool) -> int:
    """Run until SIGTERM or SIGINT and return the exit code.

    Raises:
        PerpBotError: when it cannot start; one line that says why and what to do.
    """
    return Daemon(config, force=force).run()


class _StoppedEarly(BaseException):
    """Asked to stop before the loop ran; ends whatever the start-up waits for (a venue that does not answer)."""


class Daemon:
    """Owns every thread of the process."""

    def __init__(self, config: Config, *, force: bool) -> None:
        self._config = config
        self._force = force
        self._paths = RuntimePaths(config.data.db_path)
        self._boot_id = uuid.uuid4().hex
        self._clock = VenueClock()
        self._queue = EventQueue()
        self._started_ms = wall_ms()
        self._stop_signal: str | None = None
        self._loop: TradingLoop | None = None
        self._signals: SignalService | None = None
        self._alerts: Alerts | None = None
        self._asked_to_stop = threading.Event()
        self._is_starting = False  # on the main thread, where a signal may end it at once
        self._emergencies: list[dict[str, Any]] = []
        self._early_alerts: list[tuple[str, str, str | None]] = []  # told before the signal thread ran
        self._lost: str | None = None  # rows that the store did not take before the end

    def run(self) -> int:
        """Start, trade, stop; the run record says how it ended."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        os.umask(0o077)  # database, backups and log hold an account: nobody else's to read
        self._paths.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(InstanceLock(self._paths.lock))
            logs = configure(self._paths.log, secrets=self._config.secrets.values(), human_stream=sys.stdout)
            stack.callback(logs.stop)
            self._catch_signals(stack)
            self._record(None, None)
            try:
                self._start_and_trade(stack)
            except _StoppedEarly:
                LOG.info("asked to stop before trading began")
            except PerpBotError as error:
                LOG.error("%s", error, extra={FILE_ONLY: True})
                self._record(error.exit_code, str(error))
                raise
            except BaseException as error:
                LOG.exception("the daemon fails")
                self._record(EXIT_FAILURE, f"{type(error).__name__}: {error}")
                raise
            self._record(EXIT_OK, self._stop_signal or "asked to stop")
            LOG.info("stopped", extra={"event": "STOPPED"})
        if self._lost is not None:
            self._record(EXIT_FAILURE, self._lost)
            raise StoreError(self._lost)
        return EXIT_OK

    def _start_and_trade(self, stack: ExitStack) -> None:
        self._is_starting = True
        try:
            if self._asked_to_stop.is_set():
                raise _StoppedEarly
            self._trade(stack)
        finally:
            self._is_starting = False

    # ------------------------------------------------------------ start-up, in order

    def _trade(self, stack: ExitStack) -> None:
        config, paths = self._config, self._paths
        self._emergencies = read_emergency(paths.emergency_journal)
        writer = Writer(paths.db, backups=paths.backups, emergency=paths.emergency_journal, clock=self._clock)
        writer.start()
        stack.callback(self._stop_writer, writer)
        strategy = registry.create(config.trading.strategy, config)
        deciding = tuple((symbol, config.data.primary_timeframe) for symbol in config.trading.symbols)
        client = VenueClient(base_url(config.venue), clock=self._clock, limiter=WeightLimiter(self._clock))
        account = None if config.mode == "paper" else LiveAccount(config, client, paths.kill_latch)
        market = MarketData(
            config, self._clock, writer, lambda: Reader(paths.db), self._queue,
            deciding=deciding, client=client, account=None if account is None else account.address,
        )  # fmt: skip
        stack.callback(market.stop)
        venue = market.connect()
        if account is not None:
            account.open(stack, self._queue.put_event)
        self._queue.set_stepped(self._clock.stepped)
        recording = self._recording = DaemonRecording(config, paths, self._boot_id, self._venue_name)
        stack.callback(recording.stop, None)
        journal = Journal(writer, recording.outside)
        with Reader(paths.db) as reader:
            claimed = claim(reader, venue_identity(market.base_url, venue), self._clock.now_ms())
            if claimed is not None:
                journal.put(claimed)
            journal.put(meta_row(market.instruments.values(), self._clock.now_ms()))
            start, ports = (None, None) if account is None else self._begin_live(account, market, reader)
            desk = self._rebuild(strategy, market, reader, ports)
            desk.outside = recording.outside
            refuse_earlier(desk.handled_ms, self._clock.now_ms())
            self._emergencies = recovery.never_stored(self._emergencies, reader)
            auditor = Auditor(paths.db, desk.account.start_cash, desk.source)
        self._refuse_unwatched(desk)
        self._refuse_when_halted(desk)
        if start is None:  # a live session stores it with the account as it was found
            journal.put(StateRow(desk.state_key("start_cash"), str(desk.account.start_cash), self._clock.now_ms()))
        recording.begin(writer)
        server = self._serve(stack, desk)
        builder = self._builder(desk, market, server, journal, auditor, venue)
        self._publish_with(server, builder)
        signals = SignalRecorder(journal, lambda: None if self._signals is None else self._signals.latest())
        now_ms = self._clock.now_ms()
        replay_from_ms = self._replay_from_ms(venue, now_ms)
        session = open_session(
            desk,
            journal,
            Ports(
                queue=self._queue, clock=self._clock, market=market, minutes=market.client,
                stored=self._stored_candles(stack), tokens=TokenStore(self._boot_id), push=server.push_event,
                alert=self._alert, note_cash=auditor.note, venue=self._venue_name,
                live_start=None if start is None else lambda: start,
                hooks=Hooks(
                    publish=lambda: server.publish(builder.build(desk.handled_ms, self._reconnects)),
                    on_clock=self._on_clock,
                    signals_idle=self._signals_idle,
                    audit=lambda: self._look_around(auditor, signals),
                ),
            ),
            now_ms=now_ms,
            replay_from_ms=replay_from_ms,
            load_history=lambda: self._load_history(desk, market, strategy),
        )  # fmt: skip
        loop = self._loop = session.loop
        check_needs(desk, strategy)
        auditor.start()
        stack.callback(auditor.stop)
        market.start()  # first: its connections are made while the signals' modules are loaded
        self._start_signals(stack, desk, market)
        for symbol, hour_ms in desk.funding_due:
            market.request_funding(symbol, hour_ms)
        self._is_starting = False  # from here on the loop ends itself
        builder.phase = "RUNNING"
        compiled.warm()  # behind: until they are loaded the interpreted kernels give the same bits
        text, started_ms = self._started_text(desk, venue), self._clock.now_ms()
        session.announce(text, started_ms, self._emergencies)
        self._tell_started(desk, text)
        recording.opened(desk, self._clock, (now_ms, replay_from_ms), (text, started_ms), self._emergencies)
        if not self._asked_to_stop.is_set():
            loop.run()
        builder.phase = "STOPPING"
        server.publish(builder.build(self._clock.now_ms(), self._reconnects))
        text, stopped_ms = f"stopping: {self._stop_signal or 'asked to stop'}", self._clock.now_ms()
        session.notes.say("STOPPED", text, stopped_ms)
        recording.stop((text, stopped_ms))

    def _begin_live(self, account: LiveAccount, market: MarketData, reader: Reader) -> tuple[LiveStart, LivePorts]:
        """Read the account, set what must hold while it is flat, and begin or go on with its books."""
        now_ms = self._clock.now_ms()
        baseline, cash = reader.state(BASELINE), reader.state(state_key("start_cash", "live"))
        newest = reader.fills("live", limit=1)
        known_ms = None if baseline is None else max(int(baseline), newest[0].venue_ms if newest else 0)
        start = account.read(known_ms)
        account.refuse_unwatched(start)
        if baseline is None or cash is None:
            account.refuse_unknown(start)
            baseline, cash = start.account.venue_ms or now_ms, start_cash_of(start.account)
        account.set_leverage(start.account, dict(market.instruments))
        account.thread.start()
        start = replace(
            start,
            baseline_ms=int(baseline),
            start_cash=Decimal(str(cash)),
            entry_valid_ms=entry_valid_ms(self._clock.speed),
            is_first=known_ms is None,
        )
        return start, LivePorts.of(start, account.thread)

    def _rebuild(self, strategy: Strategy, market: MarketData, reader: Reader, live: LivePorts | None) -> Desk:
        return recovery.rebuild(
            self._config,
            strategy,
            lambda: market.instruments,
            self._paths.kill_latch,
            reader,
            force=self._force,
            book_max_age_ms=book_max_age_ms(self._clock.speed),
            live=live,
        )

    def _refuse_unwatched(self, desk: Desk) -> None:
        """Refuse settings that leave out a coin with an open position: nobody would watch its stop."""
        for position in desk.account.positions:
            if position.symbol not in self._config.trading.symbols:
                where = self._config.source_path or "settings"
                raise ConfigError(
                    f"{where}: trading.symbols: {position.symbol} is missing and {position_text(position)} is open: "
                    "its stop could not be watched; add it, and close it before it is left out"
                )

    def _refuse_when_halted(self, desk: Desk) -> None:
        """Stay out when too many weeks in a row lost, unless forced; an open position is protected all the same."""
        weeks = losing_weeks(desk.week_nets, self._clock.now_ms())
        limit = self._config.risk.losing_weeks
        if weeks < limit or self._force or desk.account.positions:
            return
        raise HaltedByRisk(
            f"{weeks} calendar weeks in a row lost money (risk.losing_weeks: {limit}); "
            "review them, then start with --force"
        )

    def _serve(self, stack: ExitStack, desk: Desk) -> IpcServer:
        hello = Hello(PROTOCOL_VERSION, self._boot_id, os.getpid(), VERSION, self._config.mode, self._venue_name)
        server = IpcServer(self._paths.socket, kill_latch=self._paths.kill_latch, hello=hello, control=self._queue)
        server.start()
        stack.callback(server.stop)
        return server

    def _builder(
        self, desk: Desk, market: MarketData, server: IpcServer, journal: Journal, auditor: Auditor, venue: VenueStatus
    ) -> SnapshotBuilder:
        facts = RunFacts(
            boot_id=self._boot_id,
            pid=os.getpid(),
            started_ms=self._clock.now_ms(),
            started_s=monotonic_s(),
            venue=self._venue_name,
            venue_url=base_url(self._config.venue),
            venue_speed=self._clock.speed,
            venue_note=venue.practice.note if venue.practice is not None else "",
            generated=frozenset(self._config.trading.symbols) if venue.practice is not None else frozenset(),
        )
        sources = Sources(
            health=market.health,
            fast=lambda: None if self._signals is None else self._signals.latest(),
            viewers=lambda: server.viewers,
            reconcile_age_s=lambda: auditor.age_s,
            db_write_age_s=lambda: journal.last_commit_age_s,
        )
        return SnapshotBuilder(desk, facts, sources)

    def _publish_with(self, server: IpcServer, builder: SnapshotBuilder) -> None:
        builder.phase = "RECONCILING"
        server.publish(builder.build(self._clock.now_ms(), 0))

    def _replay_from_ms(self, venue: VenueStatus, now_ms: int) -> int | None:
        """Return the start of the minute that a stepped venue sends again to a restarted client."""
        replays = venue.practice is not None and venue.practice.replays_step and self._clock.stepped
        return now_ms - MINUTE_MS if replays else None

    def _load_history(self, desk: Desk, market: MarketData, strategy: Strategy) -> None:
        timeframe = self._config.data.primary_timeframe
        bars = strategy.needs.warmup_bars + 64
        for symbol in self._config.trading.symbols:
            history = desk.histories[symbol] = SeriesHistory(symbol, timeframe, bars)
            history.extend(market.history(symbol, timeframe, bars))
            LOG.info(
                "%s %s: %d closed candles at hand, warm-up needs %d",
                symbol,
                timeframe,
                len(history),
                strategy.needs.warmup_bars,
            )

    def _stored_candles(self, stack: ExitStack) -> Callable[[str, str, int], list[Candle]]:
        """Return a read of the store for the loop's thread (a repaired gap; rare and small)."""
        opened: list[Reader] = []

        def read(symbol: str, timeframe: str, count: int) -> list[Candle]:
            if not opened:
                opened.append(Reader(self._paths.db))
                stack.callback(opened[0].close)
            try:
                return opened[0].last_candles(symbol, timeframe, count)
            except StoreError as error:
                LOG.warning("history not repaired: %s", error, extra={"symbol": symbol})
                return []

        return read

    # ------------------------------------------------------------ signals and alerts

    def _start_signals(self, stack: ExitStack, desk: Desk, market: MarketData) -> None:
        from perp_bot.ops.alerts import Alerts
        from perp_bot.signals.wiring import LimiterBudget, signal_service

        service = signal_service(
            self._config,
            self._clock,
            budget=LimiterBudget(market.client.limiter),
            watched=lambda: desk.symbols,
            book_source=desk.market.book,
        )
        service.start()
        stack.callback(service.stop)
        self._signals = service
        self._alerts = Alerts(self._config.secrets, service.submit, label=f"perpbot {self._venue_name}")
        stack.callback(self._alerts.close)
        LOG.info("%s", self._alerts.state().text)
        for kind, text, symbol in self._early_alerts:
            self._alerts.send(kind, text, symbol)
        self._early_alerts = []

    def _alert(self, kind: str, text: str, symbol: str | None) -> None:
        if self._alerts is not None:
            self._alerts.send(kind, text, symbol)
        else:
            self._early_alerts.append((kind, text, symbol))

    def _started_text(self, desk: Desk, venue: VenueStatus) -> str:
        held = ", ".join(f"{p.side} {p.size} {p.symbol}" for p in desk.account.positions) or "flat"
        prices = venue.practice.note if venue.practice else "real prices"
        return (
            f"perpbot {VERSION} {'LIVE' if desk.live is not None else 'on paper'} at {self._venue_name} ({prices}), "
            f"{', '.join(desk.symbols)} {self._config.data.primary_timeframe}, {desk.strategy.name}, {held}"
        )

    def _tell_started(self, desk: Desk, text: str) -> None:
        if self._alerts is not None:
            self._alerts.send("started", text)
            self._alerts.start_heartbeat(lambda: _heartbeat(desk), HEARTBEAT_TEXT_S)

    def _on_clock(self, venue_ms: int) -> None:
        if self._signals is not None:
            self._signals.on_clock(venue_ms)

    def _look_around(self, auditor: Auditor, signals: SignalRecorder) -> Decimal:
        """Take what other threads have found, a few times a second; return the audit's gap."""
        signals.look()
        return auditor.gap_usd

    def _signals_idle(self) -> bool:
        return self._signals is None or self._signals.is_idle()

    # ------------------------------------------------------------ small things

    @property
    def _venue_name(self) -> str:
        return self._config.venue if self._config.venue in BASE_URLS else base_url(self._config.venue)

    @property
    def _reconnects(self) -> int:
        return 0 if self._loop is None else self._loop.reconnects

    def _catch_signals(self, stack: ExitStack) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # tests run a daemon beside themselves and stop it by `stop`

        def on_signal(number: int, frame: FrameType | None) -> None:
            self.stop(signal.Signals(number).name)
            if self._is_starting:
                self._is_starting = False
                raise _StoppedEarly

        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, on_signal))

    def stop(self, reason: str) -> None:
        """End after the pass under way; from any thread or a signal handler."""
        self._stop_signal = reason
        self._asked_to_stop.set()
        if self._loop is not None:
            self._loop.stop()

    def _stop_writer(self, writer: Writer) -> None:
        try:
            writer.stop(2.0)
        except StoreError as error:
            LOG.critical("%s", error)
            self._lost = str(error)

    def _record(self, exit_code: int | None, reason: str | None) -> None:
        ended = None if exit_code is None else wall_ms()
        try:
            write_run_record(
                self._paths.run_record,
                RunRecord(os.getpid(), self._boot_id, self._started_ms, ended, exit_code, reason),
            )
        except StoreError as error:
            LOG.warning("%s", error)


def _heartbeat(desk: Desk) -> str:
    equity = desk.equity_usd()
    held = ", ".join(f"{p.side} {p.size} {p.symbol}" for p in desk.account.positions) or "flat"
    return f"equity {'unknown' if equity is None else f'{equity:,.2f}'} USD, {held}, {desk.totals.decisions} decisions"
