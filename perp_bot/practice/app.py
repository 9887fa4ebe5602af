"""Serves the practice venue until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import iso
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
) -> None:
    """Serve until SIGINT or SIGTERM; one line on stderr says when it is ready.

    `speed` None steps. UsageError when `start`, `speed`, `seed` or the fault file is wrong, PortTaken when nothing can
    listen on the address.
    """
    if speed is not None and not 0.0 < speed <= 100_000.0:
        raise UsageError(f"--speed {speed:g}: expected step or a number above 0 and up to 100000")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected a number from 0")
    changes = _read_faults(faults) if faults is not None else {}
    server = Server(Venue(Settings(speed=speed, start=start, seed=seed)))
    server.set_faults(changes)
    asyncio.run(_serve(server, host, port))


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


async def _serve(server: Server, host: str, port: int) -> None:
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
        address = f"http://{host}:{bound}"
        print(
            f"practice venue on {address}: speed {speed}, seed {server.venue.settings.seed}, "
            f"venue time {iso(clock.now_ms())}; prices are generated below recorded hours",
            file=sys.stderr,
            flush=True,
        )
        await stop.wait()
    finally:
        await runner.cleanup()
