"""`perpbot data record`: the venue's market as it comes, recorded and stored, without trading."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perp_bot.cli.output import put, put_json, say
from perp_bot.cli.places import make_folder
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, DaemonBusy, StoreError, UsageError
from perp_bot.core.symbols import normalize_symbol

if TYPE_CHECKING:
    from perp_bot.core.clock import VenueClock
    from perp_bot.data.market import MarketData
    from perp_bot.data.recorder import Recorder
    from perp_bot.data.session_format import Opening
    from perp_bot.trading.queue import EventQueue

_WAIT_S = 0.25
_STOP_S = 10.0


def record(config: Config, minutes: float | None, symbols: tuple[str, ...], *, as_json: bool) -> int:
    """Record until interrupted, or for `minutes` of the venue's time; 130 when interrupted before they were over.

    Raises:
        UsageError: no such symbol, or recording is switched off.
        DaemonBusy: a daemon works on this database: it records by itself.
        VenueAway: nothing answers at the venue's address.
        StoreError: the database or the recording cannot be written.
    """
    from perp_bot.ops.instance_lock import InstanceLock, holder

    config = _config(config, symbols)
    paths = RuntimePaths(config.data.db_path)
    pid = holder(paths.lock)
    if pid is not None:
        raise DaemonBusy(f"a daemon (pid {pid}) works on {paths.db} and records its session itself (data.recording_mb)")
    make_folder(config, paths)
    with ExitStack() as stack:
        stack.enter_context(InstanceLock(paths.lock))
        found = _record(config, paths, minutes, stack)
    if as_json:
        put_json(found)
    else:
        put(f"{found['session']}: {found['passes']:,} moments of {', '.join(config.trading.symbols)} recorded")
        say(f"simulate on it: perpbot backtest --recording {found['session']}")
    if found["lost"] is not None:
        say(f"the recording ended early: {found['lost']}")
        return EXIT_FAILURE
    return EXIT_INTERRUPTED if minutes is not None and found["interrupted"] else EXIT_OK


def _config(config: Config, symbols: tuple[str, ...]) -> Config:
    if config.data.recording_mb == 0:
        raise UsageError("data.recording_mb is 0: nothing may be recorded; set how many MiB may be kept")
    if not symbols:
        return config
    try:
        coins = tuple(dict.fromkeys(normalize_symbol(symbol) for symbol in symbols))
    except ValueError as error:
        raise UsageError(f"--symbol: {error}") from None
    return replace(config, trading=replace(config.trading, symbols=coins))


def _record(config: Config, paths: RuntimePaths, minutes: float | None, stack: ExitStack) -> dict[str, Any]:
    from perp_bot.core.clock import VenueClock
    from perp_bot.core.timeframes import MINUTE_MS
    from perp_bot.data import recordings
    from perp_bot.data.db.reader import Reader
    from perp_bot.data.db.writer import Writer
    from perp_bot.data.identity import claim, venue_identity
    from perp_bot.data.market import MarketData
    from perp_bot.data.meta import meta_row
    from perp_bot.data.session_format import Ending
    from perp_bot.trading.queue import EventQueue

    clock, queue = VenueClock(), EventQueue()
    writer = Writer(paths.db, backups=None, emergency=None, clock=clock)
    writer.start()
    stack.callback(writer.stop, _STOP_S)
    deciding = tuple((symbol, config.data.primary_timeframe) for symbol in config.trading.symbols)
    market = MarketData(config, clock, writer, lambda: Reader(paths.db), queue, deciding=deciding)
    stack.callback(market.stop)
    venue = market.connect()
    queue.set_stepped(clock.stepped)
    with Reader(paths.db) as reader:
        claimed = claim(reader, venue_identity(market.base_url, venue), clock.now_ms())
    writer.put(*([] if claimed is None else [claimed]), meta_row(market.instruments.values(), clock.now_ms()))
    try:
        recording, recorder = recordings.begin(
            paths.recordings, config, kind=recordings.MARKET, venue=market.base_url, boot_id=""
        )
    except OSError as error:
        raise StoreError(f"{paths.recordings} cannot be written: {error.strerror or error}") from error
    recorder.put(_opening(config, market, clock))
    recorder.start()
    market.start()
    until_ms = None if minutes is None else clock.now_ms() + round(minutes * MINUTE_MS)
    with _interrupts(queue) as interrupted:
        coins = ", ".join(config.trading.symbols)
        say(f"recording {coins} at {market.base_url} into {recording.folder}; Ctrl-C ends it")
        passes, last_ms = _take(queue, market, config.trading.symbols, clock, recorder, until_ms, interrupted)
    market.stop()
    recorder.stop(Ending("recorded", last_ms, passes))
    return {
        "session": recording.name, "passes": passes, "until_ms": last_ms, "lost": recorder.lost,
        "interrupted": interrupted.is_set(), "bytes": recording.bytes,
    }  # fmt: skip


def _opening(config: Config, market: MarketData, clock: VenueClock) -> Opening:
    from perp_bot.data.session_format import Opening
    from perp_bot.execution.paper import book_max_age_ms
    from perp_bot.strategies import registry

    bars = registry.create(config.trading.strategy, config).needs.warmup_bars + 64
    timeframe = config.data.primary_timeframe
    histories = {symbol: market.history(symbol, timeframe, bars) for symbol in config.trading.symbols}
    return Opening(
        speed=clock.speed,
        now_ms=clock.now_ms(),
        replay_from_ms=None,
        instruments=list(market.instruments.values()),
        force=False,
        book_max_age_ms=book_max_age_ms(clock.speed),
        venue=market.base_url,
        killed=None,
        histories=histories,
        started="",
        started_ms=clock.now_ms(),
        emergencies=[],
        answers=[],
    )


@contextmanager
def _interrupts(queue: EventQueue) -> Iterator[threading.Event]:
    """Yield what is set by Ctrl-C or SIGTERM; the moment under way is recorded whole."""
    asked = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        asked.set()
        queue.wake()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _take(
    queue: EventQueue,
    market: MarketData,
    symbols: tuple[str, ...],
    clock: VenueClock,
    recorder: Recorder,
    until_ms: int | None,
    interrupted: threading.Event,
) -> tuple[int, int]:
    """Take batches as the daemon's loop does, and ask for the funding of every hour; return (moments, last time)."""
    from perp_bot.core.timeframes import HOUR_MS
    from perp_bot.data.session_format import Pass, named

    passes, now_ms = 0, clock.now_ms()
    hour_ms = now_ms - now_ms % HOUR_MS + HOUR_MS
    while not interrupted.is_set() and recorder.lost is None and (until_ms is None or now_ms < until_ms):
        batch = queue.take(_WAIT_S)
        frame_ms = None if batch.frame is None else batch.frame.venue_ms
        if frame_ms is not None:
            now_ms = frame_ms
        elif not clock.stepped:
            now_ms = clock.now_ms()
        while hour_ms <= now_ms:
            for symbol in symbols:
                market.request_funding(symbol, hour_ms)
            hour_ms += HOUR_MS
        if batch.is_empty:
            continue
        passes += 1
        recorder.put(
            Pass(
                now_ms, frame_ms, batch.contexts, batch.books, batch.first_books, batch.trades, named(batch.events)
            )
        )  # fmt: skip
    return passes, now_ms
