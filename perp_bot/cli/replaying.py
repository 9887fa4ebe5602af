"""`perpbot replay`: the recorded sessions, and one of them again."""

from __future__ import annotations

import json
import logging
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perp_bot.cli.backtesting import counting
from perp_bot.cli.output import put_json, say
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, StoreError
from perp_bot.core.timeframes import iso
from perp_bot.data.db.journal_diff import Bounds, JournalComparison, compare_journals
from perp_bot.data.recordings import TRADING, Recording, find, recordings
from perp_bot.version import VERSION


def list_sessions(config: Config, *, as_json: bool) -> int:
    """Print the recorded sessions, oldest first."""
    root = RuntimePaths(config.data.db_path).recordings
    found = recordings(root)
    if as_json:
        put_json({"sessions": [_described(item) for item in found]})
        return EXIT_OK
    if not found:
        say(f"no session is recorded under {root}; `perpbot trade` records one (data.recording_mb)")
    for item in found:
        size = item.bytes / (1 << 20)
        print(f"{item.name}  {item.kind:7}  {size:8.1f} MiB  {item.venue}  {','.join(item.symbols)}  {item.version}")
    return EXIT_OK


def _described(item: Recording) -> dict[str, Any]:
    return {
        "session": item.name, "kind": item.kind, "bytes": item.bytes, "venue": item.venue,
        "symbols": list(item.symbols), "version": item.version, "started_wall_ms": item.started_wall_ms,
    }  # fmt: skip


def replay_session(config: Config, session: str, *, as_json: bool) -> int:
    """Replay one session and print how its journal compares."""
    from perp_bot.trading.replay import replay

    paths = RuntimePaths(config.data.db_path)
    recording = find(paths.recordings, session, TRADING)
    if recording.kind != TRADING:
        raise StoreError(f"{recording.name} holds the market alone: nothing was decided in it")
    if not config.data.db_path.exists():
        raise StoreError(f"{config.data.db_path} does not exist: there is no journal to compare with")
    if recording.version != VERSION:
        say(f"recorded by perpbot {recording.version}, replayed by {VERSION}")
    logging.getLogger("perp_bot").setLevel(logging.CRITICAL)  # what the session said, it said then
    with tempfile.TemporaryDirectory(prefix="perpbot-replay-") as folder:
        with counting("passes") as progress:
            replayed = replay(recording, Path(folder), progress)
        bounds = Bounds(recording.start_db, _end_db(paths, recording), replayed.is_whole)
        compared = compare_journals(config.data.db_path, replayed.db, bounds)
    is_same = compared.difference is None and replayed.diverged is None
    if as_json:
        put_json(
            {
                "session": recording.name, "identical": is_same, "passes": replayed.passes, "whole": replayed.is_whole,
                "until_ms": replayed.until_ms, "rows": compared.rows, "diverged": replayed.diverged,
                "difference": None if compared.difference is None else asdict(compared.difference),
            }
        )  # fmt: skip
    else:
        _print(recording, replayed, compared, bounds)
    return EXIT_OK if is_same else EXIT_FAILURE


def _end_db(paths: RuntimePaths, recording: Recording) -> Path | None:
    """Return the database that holds the journal as the session left it."""
    later = [
        item
        for item in recordings(paths.recordings)
        if item.kind == TRADING and (item.started_wall_ms, item.name) > (recording.started_wall_ms, recording.name)
    ]
    for item in later:
        if item.start_db.exists():
            return item.start_db
    try:
        newest = json.loads(paths.run_record.read_text(encoding="utf-8")).get("boot_id")
    except (OSError, ValueError, AttributeError):
        return None
    return paths.db if newest == recording.boot_id else None


def _print(recording: Recording, replayed: Any, compared: JournalComparison, bounds: Bounds) -> None:
    rows = ", ".join(f"{count:,} {table}" for table, count in compared.rows.items() if count)
    print(f"{recording.name}: {replayed.passes:,} passes replayed up to {iso(replayed.until_ms)}")
    if not replayed.is_whole:
        print("  the recording has no end (a crash, or it was cut off): compared up to its last whole event")
    elif bounds.end_db is None:
        print("  later runs were not recorded: compared by what is only ever added to")
    if compared.difference is None and replayed.diverged is None:
        print(f"  identical, byte for byte: {rows}")
        return
    print("  NOT identical")
    if compared.difference is not None:
        print(f"  first difference, at {iso(compared.difference.venue_ms)}: {compared.difference.text}")
    if replayed.diverged is not None:
        print(f"  the paths split at {iso(replayed.until_ms)}: {replayed.diverged}")
