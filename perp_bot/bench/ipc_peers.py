"""The other processes of the socket measurement: the daemon's server, and clients that read what is pushed.

Run as `python -m perp_bot.bench.ipc_peers server FOLDER BYTES` or `... readers FOLDER COUNT`: each prints a line when
it is ready and ends when its standard input does.
"""

from __future__ import annotations

import selectors
import sys
import threading
from pathlib import Path

import msgspec

from perp_bot.config.paths import RuntimePaths
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

PUBLISH_EVERY_S = 1.0  # as the loop does
COINS = ("BTC", "ETH")


def paths(folder: Path) -> RuntimePaths:
    """Return the files of a daemon whose database would be in `folder`."""
    return RuntimePaths(folder / "perp_bot.db")


def snapshot_of_bytes(size: int) -> StateSnapshot:
    """Return an ordinary snapshot of two coins, with its note padded so that it is `size` bytes of JSON."""
    bare = _snapshot("")
    missing = size - len(msgspec.json.encode(bare))
    return _snapshot("x" * missing) if missing > 0 else bare


def _snapshot(note: str) -> StateSnapshot:
    prices = tuple(
        PriceState(coin, 84_143.1, 84_150.2, 84_143.5, 84_143.0, 84_144.0, 1.25e-5, 0.4, 0.4, 5) for coin in COINS
    )
    signals = tuple(
        SignalState(
            coin, "mean_reversion", "15m", 1_790_232_300_000, "hold", "z within the band", (), -1.2345, 44.2, 18.3,
            84_400.1, 84_150.2, 83_900.3, 84_143.5, 2.0, 0.3, 3.0, 70.0, 30.0, 25.0,
            {"zscore": False, "rsi": False, "band": False, "adx": True}, 1200, 420, None,
        )
        for coin in COINS
    )  # fmt: skip
    position = PositionState(
        "BTC", "long", 0.0119, 84_100.0, 84_143.1, 0.4, 1_001.3, 0.51, 0.45, -0.01, 82_411.0, None,
        1_790_230_000_000, 1_790_316_400_000, "mean_reversion",
    )  # fmt: skip
    limits = tuple(
        LimitState(name, f"risk.{name}_pct", 0.021, 0.08, "fraction", False, "lost 2.1 % of 670.00, limit 8 %")
        for name in ("daily_loss", "session_drawdown", "max_drawdown", "positions", "cooldown", "losing_weeks")
    )
    fast = tuple(FastSignalState(coin, 0.12, 1_250_000.0, 0.31, 0.0004, 0.98, 1.2) for coin in COINS)
    return StateSnapshot(
        protocol=PROTOCOL_VERSION,
        boot_id="bench",
        seq=1,
        pid=1,
        version="bench",
        as_of_ms=1_790_232_300_000,
        started_ms=1_790_230_000_000,
        uptime_s=2_300.0,
        mode="paper",
        venue="practice",
        venue_url="http://127.0.0.1:8642",
        venue_speed=1.0,
        venue_note=note,
        status="RUNNING",
        status_reasons=(),
        stream_connected=True,
        regime="NORMAL",
        ages=Ages(0.1, 0.2, 12.0, 0.9),
        account=AccountState(671.1, 670.0, 1.2, 0.51, 0.45, -0.01, 670.0, 0.8, 671.4, 680.0, 333.8, 0.0, 0.0),
        counters=Counters(1200, 80, 3, 2, 2, 0, 0.4, 1.1),
        prices=prices,
        positions=(position,),
        orders=(),
        signals=signals,
        fast_signals=fast,
        limits=limits,
        viewers=20,
    )


def serve(folder: Path, size: int) -> None:
    """Serve a snapshot of `size` bytes, published once a second, until standard input ends."""
    from perp_bot.ipc.control import ControlRequest
    from perp_bot.ipc.protocol import Hello
    from perp_bot.ipc.server import IpcServer

    class NoLoop:
        def submit(self, request: ControlRequest) -> None:
            raise OverflowError("the measurement has no trading loop")

    files = paths(folder)
    hello = Hello(PROTOCOL_VERSION, "bench", 1, "bench", "paper", "practice")
    server = IpcServer(files.socket, kill_latch=files.kill_latch, hello=hello, control=NoLoop())
    server.start()
    ended = threading.Event()
    threading.Thread(target=_set_at_end_of_input, args=(ended,), daemon=True).start()
    snapshot = snapshot_of_bytes(size)
    server.publish(snapshot)
    print("ready", flush=True)  # not before there is a state to ask for
    while not ended.wait(PUBLISH_EVERY_S):
        snapshot = msgspec.structs.replace(snapshot, seq=snapshot.seq + 1)
        server.publish(snapshot)
    server.stop()


def _set_at_end_of_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def read_all(folder: Path, count: int) -> None:
    """Subscribe with `count` clients and read whatever is pushed, until standard input ends."""
    import socket

    selector = selectors.DefaultSelector()
    for _ in range(count):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(paths(folder).socket))
        client.sendall(b'{"id":1,"cmd":"subscribe","args":{}}\n')
        selector.register(client, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _mask in selector.select():
            if key.fileobj is sys.stdin:
                return
            client = key.fileobj  # type: ignore[assignment]
            if not client.recv(65_536):
                raise SystemExit("a reading client lost its connection")


if __name__ == "__main__":
    role, where, number = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    serve(where, number) if role == "server" else read_all(where, number)
