"""Live trading at the practice exchange: signal to order on the wire, fill to resting stop, kill to flat, a restart."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perp_bot.bench.daemon_rig import DaemonRig
from perp_bot.bench.live_rig import AGENT_KEY, COINS, MASTER, LiveLoopRig, Spec, Wire, accounts, specs
from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import PerpBotError
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import WeightLimiter
from perp_bot.indicators import compiled
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

SUBJECT = "live"
HELP = "live orders at the practice exchange: signal to wire, fill to resting stop, kill to flat, restart"
ONLY_WHEN_NAMED = True

_WAIT_S = 20.0
_POLL_S = 0.002
_WARM_UP = 5


def run(quick: bool) -> list[Measurement]:
    """Measure the loop in this process, and a real daemon at a practice exchange at the wall's speed."""
    compiled.load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        found = _signal_to_wire(folder / "loop", 20 if quick else 300)
        return found + _daemon(folder / "daemon", 5 if quick else 60, 2 if quick else 10)


# ---------------------------------------------------------------- the loop


def _signal_to_wire(folder: Path, count: int) -> list[Measurement]:
    """Close boundaries until `count` of them sent an entry; each is refused, so that the next may come."""
    folder.mkdir()
    taken: list[float] = []
    with Wire() as wire, LiveLoopRig(folder, wire.base_url) as rig:
        loop = rig.new_loop()
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        closes = 0
        while len(taken) < count + _WARM_UP:
            closes += 1
            if closes > 200 * (count + _WARM_UP):
                raise PerpBotError("live: hardly a boundary sends an entry")
            event = rig.close_candles()
            wire.forget()
            started_s = monotonic_s()
            rig.queue.put_event(event)
            rig.writer.committed.wait(_WAIT_S)
            if rig.writer.intents and wire.arrived.wait(_WAIT_S):
                taken.append(wire.arrived_s - started_s)
                rig.await_idle()
        loop.stop()
        thread.join()
    detail = "confirmed closes of 2 coins put on the queue to the signed order at the venue's socket; intent fsynced"
    return [summarize(SUBJECT, "signal_to_wire_ms", "ms", taken[_WARM_UP:], scale=1e3, detail=detail)]


# ---------------------------------------------------------------- the daemon


@contextmanager
def _rig(folder: Path) -> Iterator[tuple[PracticeServer, DaemonRig]]:
    environment = {**user_environment(folder), "HL_PRIVATE_KEY": AGENT_KEY, "HL_WALLET_ADDRESS": MASTER}
    settings: dict[str, Any] = {
        "mode": "live",
        "trading": {"symbols": list(COINS), "leverage": 3},
        "execution": {"unknown_positions": "adopt"},
        "risk": {"max_positions": len(COINS)},
    }
    limits = Limits(weight_per_minute=10**6)
    with (
        PracticeServer(speed=1.0, start="400", seed=42, limits=limits, accounts=accounts()) as venue,
        DaemonRig(folder, venue, environment, settings=settings, options=("--live", "--yes")) as rig,
    ):
        yield venue, rig


def _daemon(folder: Path, fills: int, ends: int) -> list[Measurement]:
    """The account's owner opens and closes positions; what the daemon does about them is read from the venue."""
    flats: list[float] = []
    restarts: list[float] = []
    with _rig(folder) as (venue, rig):
        rig.start()
        client = _client(venue)
        reads, orders = AccountReads(client, MASTER), specs(venue, client)
        coins = (COINS[number % len(COINS)] for number in range(fills))
        stops = [_protected_after_s(venue, reads, coin, orders) for coin in coins]
        for number in range(ends):
            for coin in COINS:
                _protected_after_s(venue, reads, coin, orders, closes=False)
            if number % 2:
                restarts.append(_restart_s(rig, reads))
            flats.append(rig.perpbot("kill", "--flatten", "--yes"))
            if reads.account().positions:
                raise PerpBotError("live: kill --flatten said flat, the venue holds a position")
            rig.perpbot("unkill", "--phrase", f"resume {venue.base_url}", "--yes")
        rig.stop()
    at_venue = "read from the venue's own times; one process, practice exchange at the wall's speed"
    return [
        summarize(SUBJECT, "fill_to_stop_ms", "ms", stops, scale=1e3, detail=f"fill to stop resting, {at_venue}"),
        summarize(
            SUBJECT, "kill_to_flat_s", "s", flats,
            detail=f"`perpbot kill --flatten --yes`, {len(COINS)} positions, start of the command to flat seen twice",
        ),
        summarize(
            SUBJECT, "restart_to_ready_s", "s", restarts,
            detail=f"SIGKILL with {len(COINS)} positions, process start to running, all covered",
        ),
    ]  # fmt: skip


def _client(venue: PracticeServer) -> VenueClient:
    clock = VenueClock(venue.now_ms, 1.0)
    return VenueClient(venue.base_url, clock=clock, limiter=WeightLimiter(clock, weight_per_minute=10**7))


def _protected_after_s(
    venue: PracticeServer, reads: AccountReads, coin: str, orders: dict[str, Spec], *, closes: bool = True
) -> float:
    """Open a position as the owner would; return the venue's seconds from its fill to the stop that rests."""
    _trade(venue, orders[coin], is_buy=True, reduce_only=False)
    stop = _until(lambda: next((o for o in reads.open_orders() if o.symbol == coin and o.is_stop), None))
    filled_ms = max(fill.at_ms for fill in reads.fills_since(0) if fill.symbol == coin)
    if closes:
        _trade(venue, orders[coin], is_buy=False, reduce_only=True)
        _until(lambda: not any(order.symbol == coin for order in reads.open_orders()))
    return float(stop.placed_ms - filled_ms) / 1000.0


def _trade(venue: PracticeServer, spec: Spec, *, is_buy: bool, reduce_only: bool) -> None:
    """Trade 200 USD of a coin at once, as the owner in the web app."""
    order = {
        "a": spec.asset_id, "b": is_buy, "p": spec.high if is_buy else spec.low, "s": spec.size,
        "r": reduce_only, "t": {"limit": {"tif": "Ioc"}},
    }  # fmt: skip
    venue.set_faults(act={"user": MASTER, "action": {"type": "order", "orders": [order], "grouping": "na"}})


def _restart_s(rig: DaemonRig, reads: AccountReads) -> float:
    """Kill the daemon, start it again; return the seconds until it runs with every position covered."""
    rig.kill()
    started_s = rig.spawn()
    rig.await_state(
        lambda state: (
            state.status not in ("STARTING", "RECONCILING")
            and len(state.positions) == len(COINS)
            and all(position.coverage == 1.0 for position in state.positions)
        )
    )
    return time.perf_counter() - started_s


def _until(look: Callable[[], Any]) -> Any:
    deadline_s = monotonic_s() + _WAIT_S
    while True:
        found = look()
        if found:
            return found
        if monotonic_s() > deadline_s:
            raise PerpBotError(f"live: not within {_WAIT_S:g} s")
        time.sleep(_POLL_S)
