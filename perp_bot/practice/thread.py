"""A practice venue on a thread and an ephemeral port, for tests and the demo."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from perp_bot.core.errors import PerpBotError, VenueAway
from perp_bot.practice.accounts_file import parse_accounts, parse_funds, read_accounts, with_funds
from perp_bot.practice.fault_script import FaultScript
from perp_bot.practice.server.http import Server, listen
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.server.witness import Witness
from perp_bot.practice.settings import Cadence, Limits, Settings

T = TypeVar("T")

_START_WITHIN_S = 10.0


class PracticeServer:
    """`with PracticeServer(speed=None) as venue:` serves on 127.0.0.1 until the block ends.

    `speed` None steps, N runs N times faster than real time. `start` as the command's `--start`; `accounts` a file or
    what it holds; `fund` USD by address; `open_accounts` gives every new signer money; `faults` a file of them;
    `witness` is told on the venue's thread what is asked and what happens.
    """

    def __init__(
        self,
        *,
        speed: float | None = None,
        start: str | float | None = None,
        seed: int = 42,
        port: int = 0,
        limits: Limits | None = None,
        cadence: Cadence | None = None,
        accounts: Path | object = (),
        fund: Mapping[str, Decimal | float | str] | None = None,
        open_accounts: bool = False,
        faults: Path | None = None,
        witness: Witness | None = None,
    ) -> None:
        known = read_accounts(accounts) if isinstance(accounts, Path) else parse_accounts(accounts)
        funds = parse_funds(f"{address}={usd}" for address, usd in (fund or {}).items())
        self._settings = Settings(
            speed=speed,
            start=None if start is None else str(start),
            seed=seed,
            limits=limits or Limits(),
            cadence=cadence or Cadence(),
            accounts=tuple(with_funds(known, funds)),
            open_accounts=open_accounts,
        )
        self._script = FaultScript() if faults is None else FaultScript.read(faults)
        self._witness = witness
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="practice-venue", daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._server: Server | None = None

    def __enter__(self) -> PracticeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start serving and return when the port answers; VenueAway when it cannot."""
        self._thread.start()
        if not self._ready.wait(_START_WITHIN_S):
            raise VenueAway(f"the practice venue did not start within {_START_WITHIN_S:g} s")
        if self._failure is not None:
            if isinstance(self._failure, PerpBotError):
                raise self._failure
            raise VenueAway(f"the practice venue did not start: {self._failure}") from self._failure

    def stop(self) -> None:
        """Stop serving and wait for the thread."""
        if self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_WITHIN_S)

    @property
    def port(self) -> int:
        """The port it serves on."""
        return self._port

    @property
    def base_url(self) -> str:
        """The address that stands in for https://api.hyperliquid.xyz."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """The address of its socket."""
        return f"ws://127.0.0.1:{self._port}/ws"

    @property
    def venue(self) -> Venue:
        """The venue behind it, to look at; its market must not be asked from another thread while it serves."""
        return self._serving().venue

    @property
    def now_ms(self) -> int:
        """The venue's time."""
        return self._serving().venue.clock.now_ms()

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._serving().hub.connections)

    def step(self, to: str = "1m", count: int = 1, timeout_s: float = 60.0) -> int:
        """Advance to the `count`-th next close of `to`; return the time once every frame is written."""
        return self._call(self._serving().publisher.step(to, count), timeout_s)

    def set_faults(self, **changes: object) -> dict[str, Any]:
        """Merge faults, for example `silent=True, status_502={"for_s": 5}, delist="SOL", clear=True`.

        Returns the replies to what happens at once, for example to `act={"user": ..., "action": {...}}`.
        """

        async def change() -> dict[str, Any]:
            return self._serving().control.set_faults(changes)

        return self._call(change(), 5.0)

    def look(self, read: Callable[[Venue], T]) -> T:
        """Return what `read` finds in the venue, on its own thread: its books as they are, whatever faults are on."""

        async def find() -> T:
            return read(self._serving().venue)

        return self._call(find(), 5.0)

    def set_limits(self, **changes: float) -> None:
        """Change limits, for example `weight_per_minute=100_000`."""

        async def change() -> None:
            self._serving().venue.set_limits(**changes)

        self._call(change(), 5.0)

    def close_sockets(self) -> None:
        """Cut every socket, without a close frame."""
        self.set_faults(close_sockets=True)

    def _serving(self) -> Server:
        if self._server is None:
            raise VenueAway("the practice venue has not been started")
        return self._server

    def _call(self, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as failure:  # noqa: BLE001 - told to whoever called start()
            self._failure = failure
        finally:
            self._ready.set()
            self._loop.run_until_complete(self._end_answers())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _end_answers(self) -> None:
        """End the answers that a delay fault still holds back."""
        late = asyncio.all_tasks() - {asyncio.current_task()}
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = Server(Venue(self._settings), self._witness)
        server.control.follow(self._script)
        runner = web.AppRunner(server.application(), access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        try:
            self._port = await listen(runner, "127.0.0.1", self._port)
            self._server = server
            self._ready.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()
            server.venue.market.give_back()
