"""perpbot watchdog as its user runs it: a daemon dies, the account is protected, people are told, SIGTERM ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ipc_samples import serving, snapshot
from live_venue import (
    AGENT_KEY,
    USER,
    WATCHDOG_KEY,
    by_hand,
    held,
    limit,
    position,
    resting,
    store,
    venue_with,
    write_settings,
)

from perp_bot.risk import kill_switch

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

BTC = {"coin": "BTC", "size": "0.01", "entry_px": 95_000, "leverage": 3}
_HOLD_LOCK = """
import sys, time
from pathlib import Path
from perp_bot.ops.instance_lock import InstanceLock
lock = InstanceLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


class Dog:
    """One watchdog process and what it has said."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._out = folder / "watchdog.out"
        with self._out.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "perp_bot", "--config", str(folder / "config.yaml"), "watchdog", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def talk(self) -> str:
        return self._out.read_text()

    def until(self, is_true: Callable[[], object], timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_true():
            assert self.process.poll() is None, self.talk
            assert time.monotonic() < deadline, self.talk
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
def dogs() -> Iterator[list[Dog]]:
    found: list[Dog] = []
    yield found
    for dog in found:
        dog.end()


@pytest.fixture
def discord() -> Iterator[tuple[str, list[str]]]:
    """A webhook's address, and the messages that came."""
    messages: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            messages.append(json.loads(body)["content"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/api/webhooks/1/canary-webhook-canary", messages
    server.shutdown()
    server.server_close()
    thread.join(5)


def daemon_of(folder: Path) -> subprocess.Popen[str]:
    """Return a process that holds the instance lock, as a daemon does."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCK, str(folder / "perp_bot.db.lock")], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


@contextmanager
def ticking(folder: Path) -> Iterator[None]:
    """Serve the socket of a daemon whose loop goes round."""
    ended = threading.Event()
    with serving(folder) as server:

        def tick() -> None:
            seq = 2
            while not ended.wait(0.25):
                server.publish(snapshot(seq))
                seq += 1

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(5)


def test_a_dead_daemons_position_is_protected_and_people_are_told(
    tmp_path: Path, dogs: list[Dog], discord: tuple[str, list[str]]
) -> None:
    """Well while the daemon is; SIGKILL; after the time a stop rests and no entry does; SIGTERM ends it with 0."""
    hook, messages = discord
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        with (tmp_path / ".env").open("a") as dotenv:
            dotenv.write(f"DISCORD_WEBHOOK_URL={hook}\n")
        row = position(venue)
        store(tmp_path, row)
        by_hand(venue, limit(venue, 0.9))
        child = daemon_of(tmp_path)
        try:
            with ticking(tmp_path):
                dog = Dog(tmp_path, "--after", "2")
                dogs.append(dog)
                dog.until(lambda: "daemon well; LONG 0.01 BTC 0% under a stop; 1 entry orders" in dog.talk)
                time.sleep(3.0)  # longer than the time: it is not counted while the daemon is well
                assert len(resting(venue)) == 1, "the daemon is well: nothing is the watchdog's to do"
        finally:
            child.kill()
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()
        dog.until(lambda: "the account is safe" in dog.talk)
        (order,) = resting(venue)
        assert row.position is not None
        assert Decimal(order["triggerPx"]) == Decimal(str(row.position.stop_px))
        assert (order["reduceOnly"], Decimal(order["sz"])) == (True, Decimal("0.01"))
        assert held(venue) == {"BTC": Decimal("0.01")}
        dog.until(lambda: any("armed a stop of LONG 0.01 BTC" in text for text in messages))
        assert dog.stop() == 0
    assert dog.talk.rstrip().endswith("stopped")
    assert "the daemon is gone: " in dog.talk
    assert "; acting in 2 s" in dog.talk
    assert not kill_switch.is_latched(tmp_path / "KILL")
    said = dog.talk + "".join(messages)
    assert not any(secret in said for secret in (AGENT_KEY[2:], WATCHDOG_KEY[2:], USER[2:], "canary-webhook-canary"))


def test_a_daemon_that_hangs_counts_as_gone(tmp_path: Path, dogs: list[Dog]) -> None:
    """It holds its lock and does not answer."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        child = daemon_of(tmp_path)
        try:
            dog = Dog(tmp_path, "--after", "1")
            dogs.append(dog)
            dog.until(lambda: "the account is safe" in dog.talk)
            assert len(resting(venue)) == 1
            assert f"the daemon (pid {child.pid}) does not answer" in dog.talk
            assert dog.stop() == 0
        finally:
            child.kill()
            child.wait(10)
            if child.stdout is not None:
                child.stdout.close()


def test_flatten_by_policy_of_the_settings(tmp_path: Path, dogs: list[Dog]) -> None:
    """`watchdog.flatten: true`: killed and flat."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path, "watchdog: {after_seconds: 0.5, flatten: true}\n")
        dog = Dog(tmp_path)
        dogs.append(dog)
        dog.until(lambda: "the account is safe" in dog.talk)
        assert held(venue) == {}
        assert dog.stop() == 0
    assert kill_switch.is_latched(tmp_path / "KILL")


def test_it_ends_at_once_while_the_venue_is_away(tmp_path: Path, dogs: list[Dog]) -> None:
    """SIGTERM in an outage: exit code 0 within seconds; it had gone on trying."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        dog = Dog(tmp_path, "--after", "0.5")
        dogs.append(dog)
        dog.until(lambda: "the account is safe" in dog.talk)
        by_hand(venue, limit(venue, 0.9))
    time.sleep(1.0)
    assert dog.process.poll() is None
    assert dog.stop() == 0


@pytest.mark.parametrize(
    ("dotenv", "said", "code"),
    [
        (f"HL_PRIVATE_KEY={AGENT_KEY}\nHL_WALLET_ADDRESS={USER}\n", "HL_WATCHDOG_PRIVATE_KEY: not set", 2),
        (
            f"HL_PRIVATE_KEY={AGENT_KEY}\nHL_WATCHDOG_PRIVATE_KEY={AGENT_KEY}\nHL_WALLET_ADDRESS={USER}\n",
            "HL_WATCHDOG_PRIVATE_KEY is the key of HL_PRIVATE_KEY",
            2,
        ),
        (
            f"HL_WATCHDOG_PRIVATE_KEY={'0x' + '99' * 32}\nHL_WALLET_ADDRESS={USER}\n",
            "knows no account or API wallet",
            2,
        ),
        (f"HL_WATCHDOG_PRIVATE_KEY={WATCHDOG_KEY}\n", "HL_WALLET_ADDRESS: not set", 2),
    ],
)
def test_a_wrong_key_ends_the_start_in_one_line(tmp_path: Path, dotenv: str, said: str, code: int) -> None:
    """Exit code 2, what is wrong, no key."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        (tmp_path / ".env").write_text(dotenv)
        dog = Dog(tmp_path)
        assert dog.process.wait(20) == code
    (line,) = dog.talk.splitlines()
    assert said in line
    assert not any(key[2:] in line for key in (AGENT_KEY, WATCHDOG_KEY))


def test_it_needs_no_key_of_the_daemons(tmp_path: Path, dogs: list[Dog]) -> None:
    """Its own key and the account's address are enough: it may run on another machine's user."""
    with venue_with(BTC) as venue:
        write_settings(venue, tmp_path)
        (tmp_path / ".env").write_text(f"HL_WATCHDOG_PRIVATE_KEY={WATCHDOG_KEY}\nHL_WALLET_ADDRESS={USER}\n")
        dog = Dog(tmp_path, "--after", "0.5")
        dogs.append(dog)
        dog.until(lambda: "the account is safe" in dog.talk)
        assert len(resting(venue)) == 1
        assert dog.stop() == 0
