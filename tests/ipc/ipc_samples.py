"""A realistic snapshot (about 4 KB encoded) and stand-ins for the trading loop, for the socket's and CLI's tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perp_bot.core.errors import IpcError
from perp_bot.ipc.control import ControlRequest, Outcome
from perp_bot.ipc.protocol import ControlResult, Hello
from perp_bot.ipc.server import IpcServer
from perp_bot.ipc.state import (
    PROTOCOL_VERSION,
    AccountState,
    Ages,
    Counters,
    FastSignalState,
    LimitState,
    PositionState,
    PriceState,
    SignalState,
    StateSnapshot,
)

HELLO = Hello(PROTOCOL_VERSION, "boot-1", 4242, "0.1.0", "paper", "practice")


def snapshot(seq: int = 1, *, loop_s: float | None = 0.1, status: str = "RUNNING") -> StateSnapshot:
    """Return a snapshot with two coins, a position, signals and limits."""
    coins = ("BTC", "ETH")
    return StateSnapshot(
        protocol=PROTOCOL_VERSION,
        boot_id="boot-1",
        seq=seq,
        pid=4242,
        version="0.1.0",
        as_of_ms=1_700_000_000_000 + seq,
        started_ms=1_699_999_000_000,
        uptime_s=3725.0,
        mode="paper",
        venue="practice",
        venue_url="http://127.0.0.1:8642",
        venue_speed=1.0,
        venue_note="practice venue, seed 42, generated 1m path below recorded 1h candles",
        status=status,
        status_reasons=(),
        stream_connected=True,
        regime="NORMAL",
        ages=Ages(loop_s=loop_s, stream_s=0.2, reconcile_s=12.0, db_write_s=1.0),
        account=AccountState(672.5, 300.0, 1.5, 2.0, 0.7, -0.1, 670.0, 0.8, 673.0, 675.0, 120.0, 0.0, 0.001),
        counters=Counters(120, 16, 2, 1, 1, 0, 0.4, 1.2),
        prices=tuple(
            PriceState(coin, 65_000.5, 65_010.0, 65_000.0, 64_999.0, 65_001.0, 0.0000125, 0.3, 0.5, 5, generated=True)
            for coin in coins
        ),
        positions=(
            PositionState(
                "BTC",
                "long",
                0.015,
                64_900.0,
                65_000.5,
                0.3,
                975.0,
                1.5,
                0.44,
                -0.1,
                63_560.0,
                None,
                1_699_999_500_000,
                1_700_086_000_000,
                "mean_reversion",
            ),
        ),
        orders=(),
        signals=tuple(
            SignalState(
                coin,
                "mean_reversion",
                "15m",
                1_699_999_200_000,
                "hold",
                "z inside its band",
                (),
                1.2345,
                55.4,
                18.2,
                65_400.0,
                64_900.0,
                64_400.0,
                65_000.0,
                2.0,
                0.3,
                3.0,
                70.0,
                30.0,
                25.0,
                {"zscore": False, "rsi": False, "band": False, "adx": True},
                512,
                400,
                None,
            )
            for coin in coins
        ),
        fast_signals=tuple(FastSignalState(coin, 0.15, 1.2e6, 0.8, 0.0007, 1.0, 0.9) for coin in coins),
        limits=tuple(
            LimitState(name, f"risk.{name}", 0.021, 0.08, "fraction", False, "lost 2.1 % of 670.00 day-start equity")
            for name in ("daily_loss", "session_drawdown", "max_drawdown", "positions", "cooldown", "losing_weeks")
        ),
        viewers=1,
    )


class Loop:
    """A trading loop that answers every control at once, with `answer`; `seen` keeps the requests."""

    def __init__(self, answer: Callable[[ControlRequest], Outcome] | None = None) -> None:
        self.seen: list[ControlRequest] = []
        self.arrived = threading.Event()
        self._answer = answer or (lambda request: ControlResult("done", f"{request.cmd} {request.args.scope}"))

    def submit(self, request: ControlRequest) -> None:
        self.seen.append(request)
        self.arrived.set()
        request.respond(self._answer(request))


class HungLoop:
    """A trading loop that takes requests and never answers."""

    def __init__(self) -> None:
        self.seen: list[ControlRequest] = []
        self.arrived = threading.Event()

    def submit(self, request: ControlRequest) -> None:
        self.seen.append(request)
        self.arrived.set()


class BrokenLoop:
    """A queue that refuses everything."""

    def submit(self, request: ControlRequest) -> None:
        raise IpcError("the queue is full", code="busy")


@contextmanager
def serving(folder: Path, loop: Loop | HungLoop | BrokenLoop | None = None) -> Iterator[IpcServer]:
    """Run a server at `folder/perp-bot.sock` with one snapshot published."""
    server = IpcServer(folder / "perp-bot.sock", kill_latch=folder / "KILL", hello=HELLO, control=loop or Loop())
    server.start()
    try:
        server.publish(snapshot())
        yield server
    finally:
        server.stop()


def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    """Wait for `condition`, or fail."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.005)
