"""What live trading is measured with: a loop that sends to a socket that only listens, an account with its agent."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perp_bot.bench.loop_rig import LoopRig
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.rounding import Rounding, quantize_price, quantize_size, wire
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.client import VenueClient
from perp_bot.data.limiter import WeightLimiter
from perp_bot.execution.live.nonces import NonceCounter
from perp_bot.execution.live.sender import Sender
from perp_bot.execution.live.signer import Signer
from perp_bot.execution.venue_thread import VenueThread
from perp_bot.practice.thread import PracticeServer
from perp_bot.trading.live_account import LivePorts, entry_valid_ms
from perp_bot.trading.queue import EventQueue

AGENT_KEY = "02" * 32  # of nobody
AGENT = Signer(AGENT_KEY, is_mainnet=False).address
MASTER = Signer("01" * 32, is_mainnet=False).address
COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE")
_USD = Decimal(200)
_REFUSAL = (
    b'{"status":"ok","response":{"type":"order","data":{"statuses":'
    b'[{"error":"Order could not immediately match against any resting orders. asset=0"}]}}}'
)
_READS: dict[str, Any] = {  # of an account that is flat; what is not here is an empty list
    "clearinghouseState": {
        "marginSummary": {"accountValue": "10000.0", "totalRawUsd": "10000.0"},
        "withdrawable": "10000.0",
        "assetPositions": [],
    },
    "userRateLimit": {"cumVlm": "0.0", "nRequestsUsed": 0, "nRequestsCap": 10_000},
}


def accounts() -> dict[str, Any]:
    """Return a master with money and one agent, as a practice exchange takes them."""
    return {"accounts": [{"address": MASTER, "usd": 10_000, "agents": [{"address": AGENT, "name": "bench"}]}]}


@dataclass(frozen=True, slots=True)
class Spec:
    """How the owner trades 200 USD of a coin at once."""

    asset_id: int
    size: str
    low: str
    high: str


def specs(venue: PracticeServer, client: VenueClient) -> dict[str, Spec]:
    """Return the owner's orders by coin, 5 % around the mids."""
    mids = client.all_mids()
    found = {}
    for instrument in client.instruments():
        if instrument.symbol in COINS:
            mid, digits = Decimal(str(mids[instrument.symbol])), instrument.sz_decimals
            found[instrument.symbol] = Spec(
                instrument.asset_id,
                wire(quantize_size(_USD / mid, digits)),
                wire(quantize_price(mid * Decimal("0.95"), digits, Rounding.DOWN)),
                wire(quantize_price(mid * Decimal("1.05"), digits, Rounding.UP)),
            )
    return found


class Wire:
    """A venue that takes one request after another, notes when its first bytes came, and fills nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="bench-wire", daemon=True)
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.arrived = threading.Event()
        self.arrived_s = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def forget(self) -> None:
        """Begin a new measurement."""
        self.arrived.clear()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while first := connection.recv(65_536):
                now_s = monotonic_s()
                body = self._whole(connection, first)
                asked = json.loads(body)
                is_order = asked.get("action", {}).get("type") == "order"
                if is_order and not self.arrived.is_set():
                    self.arrived_s = now_s
                    self.arrived.set()
                answer = _REFUSAL if is_order else json.dumps(_READS.get(asked.get("type", ""), [])).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

    @staticmethod
    def _whole(connection: socket.socket, received: bytes) -> bytes:
        """Return the body of a request whose first bytes are here."""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65_536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        while len(body) < length:
            body += connection.recv(65_536)
        return body


class LiveLoopRig(LoopRig):
    """The rig of the loop with the live executor, its venue thread and signer."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self._thread: VenueThread

        def ports(queue: EventQueue, clock: VenueClock) -> LivePorts:
            limiter = WeightLimiter(clock, weight_per_minute=10**9)
            signer = Signer(AGENT_KEY, is_mainnet=False)
            client = VenueClient(base_url, clock=clock, limiter=limiter)
            self._thread = VenueThread(
                new_sender=lambda: Sender(base_url, signer=signer, limiter=limiter, kill_latch=folder / "KILL"),
                reads=AccountReads(client, MASTER),
                nonces=NonceCounter(folder, signer.address),
                put_event=queue.put_event,
            )
            return LivePorts(self._thread, entry_valid_ms(1.0), clock.now_ms(), Decimal(10_000))

        super().__init__(folder, live=ports)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.stop()
        self.close()

    def await_idle(self) -> None:
        """Wait until every order of the rig has ended."""
        while self.desk.live_orders or not self._thread.is_idle():
            threading.Event().wait(0.001)
