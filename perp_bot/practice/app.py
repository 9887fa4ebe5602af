"""Serves the practice venue until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import iso
from perp_bot.practice.accounts_file import Account, parse_funds, read_accounts, with_funds
from perp_bot.practice.fault_script import FaultScript
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
    accounts: Path | None = None,
    fund: Sequence[str] = (),
    open_accounts: bool = False,
    held: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM; one line on stderr says when it is ready.

    `speed` None steps. At speed 1 `state` names the file that remembers where in time the market lies: with the same
    seed and without `start` the market of the last time goes on. `accounts` names a file of accounts, `fund` holds
    ADDRESS=USD pairs, and with `open_accounts` every new signer is an account with money. `held` lets the clock stand
    until a client comes. UsageError when `start`, `speed`, `seed`, the accounts or the fault file are wrong, PortTaken
    when nothing can listen on the address.
    """
    if speed is not None and not 0.0 < speed <= 100_000.0:
        raise UsageError(f"--speed {speed:g}: expected step or a number above 0 and up to 100000")
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected a number from 0")
    script = FaultScript.read(faults) if faults is not None else FaultScript()
    known: list[Account] = read_accounts(accounts) if accounts is not None else []
    trading = tuple(with_funds(known, parse_funds(fund)))
    found: Remembered | None = None
    if state is not None and speed == 1.0:
        found = recall(state, seed=seed, start=start, now_ms=time.time_ns() // 1_000_000)
    origin_ms = None if found is None else found.origin_ms
    settings = Settings(
        speed=speed,
        start=start,
        seed=seed,
        origin_ms=origin_ms,
        accounts=trading,
        open_accounts=open_accounts,
        held=held,
    )
    server = Server(Venue(settings))
    server.control.follow(script)
    asyncio.run(_serve(server, host, port, state, found))


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
        if server.venue.settings.held:
            speed += " from the first client on"
        lies = "" if state is None or found is None else f", {_lies(server.venue, state, found)}"
        address = f"http://{host}:{bound}"
        print(
            f"practice venue on {address}: speed {speed}, seed {server.venue.settings.seed}, "
            f"venue time {iso(clock.now_ms())}{lies}{_who_trades(server.venue.settings)}; "
            "prices are generated below recorded hours",
            file=sys.stderr,
            flush=True,
        )
        await stop.wait()
    finally:
        await runner.cleanup()


def _who_trades(settings: Settings) -> str:
    """Return what the ready line says of accounts; nothing when there are none."""
    said = f", accounts: {len(settings.accounts)}" if settings.accounts else ""
    if settings.open_accounts:
        said += ", OPEN ACCOUNTS: every new signer gets 10,000 USDC, for playing only"
    return said


def _lies(venue: Venue, state: Path, found: Remembered) -> str:
    """Return what the ready line says of the market; a new one is remembered once its port is ours."""
    if found.origin_ms is not None:
        return found.note
    origin_ms, seed = venue.market.origin_ms, venue.settings.seed
    problem = remember(state, seed=seed, origin_ms=origin_ms, began_ms=venue.clock.start_ms)
    return found.note if problem is None else f"{found.note}, {problem}"
