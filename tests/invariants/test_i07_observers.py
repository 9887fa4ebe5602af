"""I7: whoever looks on, however badly, changes nothing: the same journal, every step handled."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from rig import Rig
from sessions import COMPLETE, Outcome, Stretch, outcome_of, rig_of

Reference = Callable[[Stretch], tuple[Outcome, tuple[str, ...]]]

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(90), pytest.mark.xdist_group("complete")]

PAYLOADS = {
    "hammers get_state": b'{"id":1,"cmd":"get_state"}\n' * 20,
    "talks nonsense": b'{"id":[],"cmd":{"a":1}}\n\x00\xff\n[1]\n' * 20,
    "sends a line without end": b"x" * 2_000_000,
}


def connected(rig: Rig) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(1.0)
    client.connect(str(rig.paths.socket))
    return client


@contextmanager
def subscriber_that_never_reads(rig: Rig) -> Iterator[None]:
    """Subscribe and let the answers pile up."""
    with connected(rig) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.sendall(json.dumps({"id": 1, "cmd": "subscribe"}).encode() + b"\n")
        yield


@contextmanager
def pest(rig: Rig, payload: bytes) -> Iterator[list[int]]:
    """Send `payload` over and over, reading little, reconnecting whenever thrown out; count the rounds."""
    stop, rounds = threading.Event(), [0]

    def run() -> None:
        while not stop.is_set():
            try:
                with connected(rig) as client:
                    while not stop.is_set():
                        client.sendall(payload)
                        client.recv(1_024)
                        rounds[0] += 1
                        stop.wait(0.002)  # the venue lives in this process too
                        if not payload.endswith(b"\n"):
                            break  # it is refused and would be left to linger: it comes again at once
            except OSError:
                rounds[0] += 1
                stop.wait(0.005)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield rounds
    finally:
        stop.set()
        thread.join()


@contextmanager
def long_reader(rig: Rig) -> Iterator[None]:
    """Hold a read transaction on the database all the while."""
    connection = sqlite3.connect(f"file:{rig.paths.db}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM decisions").fetchone()
        yield
    finally:
        connection.close()


def test_five_bad_observers_change_no_decision(reference: Reference, tmp_path: Path) -> None:
    """Deaf, greedy, rude, endless, and one that never lets go of the database: the run equals the one without them."""
    expected, _ = reference(COMPLETE)
    with rig_of(COMPLETE, tmp_path) as rig, ExitStack() as pests:
        rig.start()
        pests.enter_context(subscriber_that_never_reads(rig))
        pests.enter_context(long_reader(rig))
        rounds = [pests.enter_context(pest(rig, payload)) for payload in PAYLOADS.values()]
        for to, count in COMPLETE.legs:
            rig.step(to, count)
        found = outcome_of(rig, 0)
        assert min(count[0] for count in rounds) >= 5, f"an observer did not get to do its worst: {rounds}"
    assert found == expected
