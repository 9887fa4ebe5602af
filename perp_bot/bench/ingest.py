"""Measures how many market messages a second are taken in: read from a socket, decoded, checked and queued."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from perp_bot.bench.flood_server import messages
from perp_bot.bench.measure import Measurement, summarize
from perp_bot.core.errors import PerpBotError

SUBJECT = "ingest"
HELP = "market messages decoded and queued a second, half 20-level books, half trades (goal 60,000/s)"

_PATIENCE_S = 60.0


def run(quick: bool) -> list[Measurement]:
    """Measure rounds of one connection each, sent by another process; the loop's queue is emptied meanwhile."""
    count, rounds = (4_000, 2) if quick else (60_000, 7)
    walls: list[float] = []
    cpus: list[float] = []
    payloads = messages(count)  # what the other process sends, to know what has to arrive
    with _flood(count, rounds + 1) as port:
        for number in range(rounds + 1):
            wall_s, cpu_s = _one_round(port, count, _trades_in(payloads))
            if number:  # the first one warms up
                walls.append(count / wall_s)
                cpus.append(count / cpu_s)
    about = f"{count:,} messages a round, every one counted"
    return [
        summarize(SUBJECT, "socket to queue", "messages/s", walls, detail=about),
        summarize(SUBJECT, "socket to queue, of CPU time", "messages/s", cpus, detail="per second of processor time"),
        *_without_socket(payloads, 3 if quick else 9),
    ]


def _one_round(port: int, count: int, trades: int) -> tuple[float, float]:
    """Take in `count` messages; return wall and CPU seconds from the first to the last."""
    from perp_bot.bench.ingest_rig import IngestRig
    from perp_bot.data.ws_client import MarketStream, StreamListener

    rig = IngestRig()
    done = threading.Event()
    begun = [0.0, 0.0]
    ended = [0.0, 0.0]
    left = count

    class Counting(StreamListener):
        def on_message(self, payload: memoryview) -> None:
            nonlocal left
            if left == count:
                begun[:] = time.perf_counter(), time.process_time()
            rig.ingest.take(payload)
            left -= 1
            if left == 0:
                ended[:] = time.perf_counter(), time.process_time()
                done.set()

        def on_connected(self, outage_s: float | None, subscriptions: int) -> None:
            if outage_s is not None:
                done.set()

        def on_disconnected(self, reason: str) -> None:
            done.set()

    stream = MarketStream(f"ws://127.0.0.1:{port}/ws", (), Counting())
    stream.start()
    try:
        with rig.loop_taking():
            if not done.wait(_PATIENCE_S) or left:
                _fail(f"{left} of {count} messages did not arrive: {stream.last_error}")
    finally:
        stream.stop()
    rig.check(count, trades)
    return ended[0] - begun[0], ended[1] - begun[1]


def _trades_in(payloads: list[bytes]) -> int:
    return sum(payload.count(b'"tid"') for payload in payloads)


def _without_socket(payloads: list[bytes], rounds: int) -> list[Measurement]:
    """Measure decoding and queueing alone, by kind of message, on one thread."""
    from perp_bot.bench.ingest_rig import IngestRig

    kinds = {"l2Book decoded and queued": payloads[0::2], "trades decoded and queued": payloads[1::2]}
    found = []
    for name, chosen in kinds.items():
        samples = []
        for _ in range(rounds):
            rig = IngestRig()
            take = rig.ingest.take
            start = time.perf_counter()
            for payload in chosen:
                take(payload)
            samples.append((time.perf_counter() - start) / len(chosen))
            rig.check(len(chosen), _trades_in(chosen))
        found.append(summarize(SUBJECT, name, "us", samples, scale=1e6, detail="no socket, one thread"))
    return found


@contextmanager
def _flood(count: int, clients: int) -> Iterator[int]:
    command = [sys.executable, "-m", "perp_bot.bench.flood_server", str(count), str(clients)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            line = server.stdout.readline()
            if not line:
                _fail("the sending process did not start")
            yield int(line)
        finally:
            server.kill()


def _fail(text: str) -> NoReturn:
    raise PerpBotError(f"ingest: {text}")
