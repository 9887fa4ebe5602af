"""Serves the practice venue until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import iso
from perp_bot.practice.origin_file import Remembered, recall, remember
from perp_bot.practice.server.http import Server, listen
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.settings import Settings


def serve(
    *,
    host: str = "127.0.0.1",
    port: int,
    speed: float | None = 1.0,
    start: str | None = None,
    seed: int = 42,
    faults: Path | None = None,
    state: Path | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; one line on stderr says when it is ready.

    `speed` None steps. At speed 1 `state` names the file that remembers where in time the market lies: with the same
    seed and without `start` the market of the last time goes on. UsageError when `start`, `speed`, `seed` or the fault
    file is wrong, PortTaken when nothing can listen on the address.
    """
    if speed is not None and not 0.0 < speed <= 100_000.0:
        raise UsageError(f"--speed {speed:g}: expected step or a number above 0 and up to 100000")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected a number from 0")
    changes = _read_faults(faults) if faults is not None else {}
    found: Remembered | None = None
    if state is not None and speed == 1.0:
        found = recall(state, seed=seed, start=start, now_ms=time.time_ns() // 1_000_000)
    origin_ms = None if found is None else found.origin_ms
    server = Server(Venue(Settings(speed=speed, start=start, seed=seed, origin_ms=origin_ms)))
    server.set_faults(changes)
    asyncio.run(_serve(server, host, port, state, found))


def _read_faults(path: Path) -> Mapping[str, object]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--faults {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"--faults {path}: not JSON ({error})") from None
    if not isinstance(read, dict):
        raise UsageError(f'--faults {path}: expected an object like {{"delay_ms": 200}}')
    return read


async def _serve(server: Server, host: str, port: int, state: Path | None, found: Remembered | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(server.application(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    try:
        bound = await listen(runner, host, port)
        clock = server.venue.clock
        speed = "step" if clock.speed is None else f"{clock.speed:g}x"
        lies = "" if state is None or found is None else f", {_lies(server.venue, state, found)}"
        address = f"http://{host}:{bound}"
        print(
            f"practice venue on {address}: speed {speed}, seed {server.venue.settings.seed}, "
            f"venue time {iso(clock.now_ms())}{lies}; prices are generated below recorded hours",
            file=sys.stderr,
            flush=True,
        )
        await stop.wait()
    finally:
        await runner.cleanup()


def _lies(venue: Venue, state: Path, found: Remembered) -> str:
    """Return what the ready line says of the market; a new one is remembered once its port is ours."""
    if found.origin_ms is not None:
        return found.note
    origin_ms, seed = venue.market.origin_ms, venue.settings.seed
    problem = remember(state, seed=seed, origin_ms=origin_ms, began_ms=venue.clock.start_ms)
    return found.note if problem is None else f"{found.note}, {problem}"
