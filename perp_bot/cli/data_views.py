"""`perpbot data`: what is stored, what is odd about it, and files brought in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from perp_bot.cli.output import put, put_json, say
from perp_bot.cli.places import make_folder
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.counting import counted
from perp_bot.core.errors import EXIT_OK, EXIT_WARNINGS, DaemonBusy, StoreError, UsageError
from perp_bot.core.symbols import normalize_symbol
from perp_bot.core.timeframes import TIMEFRAMES, iso
from perp_bot.ops.instance_lock import InstanceLock, holder

if TYPE_CHECKING:
    from perp_bot.data.importing import Imported

_SHOWN = 20  # findings of one kind and series; --json has them all
_PIPE_WIDTH = 200  # of a table that no terminal shows


def list_series(config: Config, *, as_json: bool) -> int:
    """Print every stored series."""
    from perp_bot.data.checking import stored_series

    reports = stored_series(_database(config))
    if as_json:
        put_json({"db_path": str(config.data.db_path), "series": [asdict(report) for report in reports]})
        return EXIT_OK
    if not reports:
        say("no candles are stored; see: perpbot backfill, perpbot data import")
        return EXIT_OK
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for name in ("series", "first", "last"):
        table.add_column(name, no_wrap=True)
    for name in ("candles", "missing", "gen", "funding", "marks"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for row in reports:
        missing = f"{row.missing:,} in {row.gaps:,}" if row.gaps else "-"
        generated = f"{row.generated / row.candles:.0%}" if row.generated else "-"
        table.add_row(
            f"{row.symbol} {row.timeframe}", iso(row.first_ms)[:10], iso(row.last_ms)[:10], f"{row.candles:,}", missing,
            generated, f"{row.funding_hours:,}", f"{row.minutes:,}", "+".join(row.sources),
        )  # fmt: skip
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)
    say("missing: candles in gaps; gen: made by a generator; funding: hours; marks: minutes with mark and oracle")
    return EXIT_OK


def check(config: Config, *, as_json: bool) -> int:
    """Print what is odd, a line each; exit code 5 when there is anything."""
    from perp_bot.data.checking import findings

    found = list(findings(_database(config)))
    if as_json:
        put_json({"db_path": str(config.data.db_path), "findings": [asdict(item) for item in found]})
        return EXIT_WARNINGS if found else EXIT_OK
    for (symbol, timeframe, _), group in groupby(found, key=lambda item: (item.symbol, item.timeframe, item.kind)):
        alike = list(group)
        name = f"{symbol} {timeframe}".strip()
        for item in alike[:_SHOWN]:
            put(f"{name}: {item.text}")
        if len(alike) > _SHOWN:
            put(f"{name}: and {len(alike) - _SHOWN:,} more like it up to {iso(alike[-1].at_ms)} (all with --json)")
    if not found:
        put("nothing odd in what is stored")
    return EXIT_WARNINGS if found else EXIT_OK


def import_file(
    config: Config,
    path: Path,
    symbol: str,
    timeframe: str | None,
    mapping: str | None,
    time_unit: str,
    *,
    funding: bool,
    interval_hours: int,
    skip_bad: bool,
    as_json: bool,
) -> int:
    """Store a file's candles or funding rates; all or nothing."""
    from perp_bot.cli.backtesting import progress
    from perp_bot.data.importing import CANDLE_COLUMNS, FUNDING_COLUMNS, import_candles, import_funding
    from perp_bot.data.table_file import read_table

    try:
        coin = normalize_symbol(symbol)
    except ValueError as error:
        raise UsageError(f"--symbol: {error}") from None
    if not funding and timeframe not in TIMEFRAMES:
        raise UsageError(f"--timeframe {timeframe or 'is missing'}: there are {', '.join(TIMEFRAMES)}")
    names = FUNDING_COLUMNS if funding else CANDLE_COLUMNS
    columns = _mapping(mapping, names)
    with _alone(config):
        table = read_table(path, columns, names, time_unit)
        db_path = config.data.db_path
        with progress(f"importing {path.name}") as advance:
            if funding:
                done = import_funding(db_path, coin, table, interval_hours, skip_bad=skip_bad, progress=advance)
            else:
                assert timeframe is not None
                done = import_candles(db_path, coin, timeframe, table, skip_bad=skip_bad, progress=advance)
    if as_json:
        put_json({"symbol": coin, "timeframe": None if funding else timeframe, **asdict(done)})
    else:
        put(_told(done, f"{coin} funding" if funding else f"{coin} {timeframe}", interval_hours if funding else 0))
    return EXIT_OK


def import_bundled(config: Config, name: str, *, as_json: bool) -> int:
    """Fill the database from the data that ships with perpbot."""
    from perp_bot.cli.backtesting import progress
    from perp_bot.cli.bundled import SETS, fill

    if name not in SETS:
        raise UsageError(f"there is no bundled set {name!r}; there are: {', '.join(SETS)}")
    with _alone(config), progress(f"bundled {name}") as advance:
        fill(config.data.db_path, name, advance)
    if as_json:
        put_json({"bundled": name, "about": SETS[name], "db_path": str(config.data.db_path)})
    else:
        put(f"{config.data.db_path.name}: {SETS[name]}")
        if name == "binance-8h":
            say("run research on it with --timeframe 8h")
    return EXIT_OK


def _told(done: Imported, what: str, interval_hours: int) -> str:
    parts = [f"{what}: {counted(done.rows, 'row')} from {iso(done.first_ms)} to {iso(done.last_ms)}"]
    if done.added < done.rows:
        there = done.rows - done.added - done.corrected
        parts.append(f"{done.added:,} are new, {done.corrected:,} correct stored ones, {there:,} were stored already")
    if not done.was_sorted:
        parts.append("the file was not in order and was sorted")
    if done.same_twice:
        parts.append(f"{counted(done.same_twice, 'row was', 'rows were')} there twice, the same")
    if done.skipped:
        parts.append(f"{counted(done.skipped, 'bad row')} left out")
    if done.gaps:
        parts.append(counted(done.gaps, "gap"))
    if interval_hours > 1:
        parts.append(f"each rate spread over {interval_hours} hours")
    return "; ".join(parts)


def _mapping(text: str | None, names: tuple[str, ...]) -> dict[str, str]:
    """Return ours -> theirs of `t=timestamp,open=o`; UsageError for what is none."""
    out: dict[str, str] = {}
    for part in (text or "").split(","):
        ours, is_there, theirs = part.strip().partition("=")
        if not part.strip():
            continue
        if not is_there or not theirs or ours not in names:
            raise UsageError(f"--columns {part!r}: write OURS=THEIRS, ours being {', '.join(names)}")
        out[ours] = theirs
    return out


def _database(config: Config) -> Path:
    if not config.data.db_path.exists():
        raise StoreError(
            f"no database at {config.data.db_path}: `perpbot data import --bundled` fills one from the data that ships "
            "with perpbot, `perpbot backfill` from a venue"
        )
    return config.data.db_path


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """Hold the instance lock of the database while it is written."""
    paths = RuntimePaths(config.data.db_path)
    pid = holder(paths.lock)
    if pid is not None:
        raise DaemonBusy(f"a daemon (pid {pid}) works on {paths.db}; stop it to import")
    make_folder(config, paths)
    with InstanceLock(paths.lock):
        yield
