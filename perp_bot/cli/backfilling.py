"""Run a backfill from the command line: lock, venue, store, progress bars, report."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING

from perp_bot.cli.output import put, put_json, say
from perp_bot.cli.places import make_folder
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.config.venues import base_url
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, DaemonBusy, UsageError
from perp_bot.core.symbols import normalize_symbol
from perp_bot.data.backfill import SeriesReport, backfill
from perp_bot.data.client import VenueClient
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.writer import Writer
from perp_bot.data.identity import claim, venue_identity
from perp_bot.data.limiter import WeightLimiter
from perp_bot.data.meta import meta_row
from perp_bot.ops.instance_lock import InstanceLock, holder

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_FLUSH_S = 60.0


def run(config: Config, days: float, symbols: tuple[str, ...], *, as_json: bool) -> int:
    """Complete the store and print a line per series; 0 unless a series was stopped by a failure.

    Raises:
        ConfigError: the folder of the database cannot be made.
        DaemonBusy: a daemon works on this database.
        UsageError: a symbol that the venue does not have.
        VenueAway: nothing answers at the venue's address.
        StoreError: the database cannot be written.
    """
    coins = _coins(symbols) or config.trading.symbols
    paths = RuntimePaths(config.data.db_path)
    pid = holder(paths.lock)
    if pid is not None:
        raise DaemonBusy(f"a daemon (pid {pid}) works on {paths.db} and keeps its history itself; stop it to backfill")
    make_folder(config, paths)
    with InstanceLock(paths.lock):
        clock = VenueClock()
        client = VenueClient(base_url(config.venue), clock=clock, limiter=WeightLimiter(clock))
        try:
            reports = _fetch(config, paths, client, clock, coins, days)
        finally:
            client.close()
    for report in reports:
        if as_json:
            put_json(asdict(report))
        else:
            counts = f"asked {report.asked:,}, had {report.had:,}, fetched {report.fetched:,}"
            put(f"{report.text}  ({counts}, missing {report.missing:,})")
    return EXIT_FAILURE if any(report.error is not None for report in reports) else EXIT_OK


def _coins(symbols: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(normalize_symbol(symbol) for symbol in symbols))
    except ValueError as error:
        raise UsageError(f"--symbol: {error}") from None


def _fetch(
    config: Config, paths: RuntimePaths, client: VenueClient, clock: VenueClock, coins: tuple[str, ...], days: float
) -> tuple[SeriesReport, ...]:
    status = client.connect()
    clock.reset(status.time_ms, status.practice.speed if status.practice is not None else 1.0)
    _check_coins(client, config.venue, coins)
    with (
        Writer(paths.db, backups=None, emergency=None, clock=clock) as writer,
        Reader(paths.db) as reader,
        _Bars() as bars,
    ):
        row = claim(reader, venue_identity(base_url(config.venue), status), clock.now_ms())
        if row is not None:
            writer.put(row)
        writer.put(meta_row(client.instruments(), clock.now_ms()))
        reports = backfill(
            client,
            reader,
            writer,
            coins,
            config.data.timeframes,
            days,
            clock.now_ms(),
            bars,
            generated=status.practice is not None,
        )
        writer.flush(_FLUSH_S)
    return reports


def _check_coins(client: VenueClient, venue: str, coins: tuple[str, ...]) -> None:
    known = {item.symbol: item for item in client.instruments()}
    for coin in coins:
        if coin not in known:
            near = difflib.get_close_matches(coin, list(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"{venue} has no coin {coin!r}{hint}")
        if known[coin].is_delisted:
            say(f"{coin} is delisted at {venue}: only its past can be there")


class _Bars:
    """Progress on stderr: bars on a terminal, else a line a series (implements `data.backfill.Progress`)."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self._progress: Progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, name: str, steps: int) -> None:
        """Show the bar of a series; without a terminal say that it begins, since the venue's limit may hold it up."""
        if self._progress.disable:
            say(f"{name}: {f'{steps} requests' if steps != 1 else '1 request'} to the venue")
        self._tasks[name] = self._progress.add_task(name, total=steps)

    def advance(self, name: str) -> None:
        """Count one request."""
        self._progress.advance(self._tasks[name])

    def end(self, name: str, text: str) -> None:
        """Leave the bar as it is; the report follows on stdout."""
