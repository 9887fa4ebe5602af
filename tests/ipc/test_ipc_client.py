"""The client says in one line why it could not, and never mistakes silence for an answer."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from ipc_samples import HELLO, serving, snapshot

from perp_bot.core.errors import DaemonAway, IpcError
from perp_bot.ipc.client import Client
from perp_bot.ops.instance_lock import InstanceLock


@contextmanager
def listening(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Accept one client and let `serve` do with it what it wants."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    finished = threading.Event()

    def run() -> None:
        connected, _ = listener.accept()
        with connected:
            serve(connected)
            finished.wait(5)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
        listener.close()


def test_no_daemon_is_one_clear_line(tmp_path: Path) -> None:
    """It says what to do."""
    with pytest.raises(DaemonAway, match=r"no daemon runs here .* perpbot trade \(--paper or --live\)"):
        Client(tmp_path / "perp-bot.sock", lock_path=tmp_path / "db.lock")


def test_a_daemon_without_its_socket_is_told_apart(tmp_path: Path) -> None:
    """The lock says that it lives; looking does not take the lock."""
    lock = InstanceLock(tmp_path / "db.lock")
    lock.acquire()
    try:
        with pytest.raises(DaemonAway, match=rf"a daemon lives \(pid {os.getpid()} holds the lock\)"):
            Client(tmp_path / "perp-bot.sock", lock_path=tmp_path / "db.lock")
    finally:
        lock.release()


def test_a_path_too_long_for_a_socket_is_one_line(tmp_path: Path) -> None:
    """OSError becomes DaemonAway."""
    with pytest.raises(DaemonAway):
        Client(tmp_path / ("x" * 200))


def test_silence_on_a_read_is_an_away_daemon(tmp_path: Path) -> None:
    """A stopped process takes connections and answers nothing."""
    with (
        listening(tmp_path / "s", lambda _: None),
        Client(tmp_path / "s", 0.1) as client,
        pytest.raises(DaemonAway, match=r"does not answer within 0\.1 s"),
    ):
        client.state()


def test_silence_on_a_control_is_an_unknown_outcome(tmp_path: Path) -> None:
    """Never assumed done, never assumed not done."""
    with (
        listening(tmp_path / "s", lambda _: None),
        Client(tmp_path / "s") as client,
        pytest.raises(IpcError, match="what became of it is not known") as caught,
    ):
        client.control("resume", answer_within_s=0.1)
    assert caught.value.code == "timeout"


def test_an_answer_that_trickles_in_does_not_outlast_the_timeout(tmp_path: Path) -> None:
    """The limit is for the whole answer, not for each byte."""
    stop = threading.Event()

    def trickle(connected: socket.socket) -> None:
        while not stop.wait(0.02):
            try:
                connected.sendall(b" ")
            except OSError:
                return

    with listening(tmp_path / "s", trickle):
        with Client(tmp_path / "s", 0.2) as client, pytest.raises(DaemonAway):
            client.hello()
        stop.set()


def test_a_connection_that_ends_is_an_away_daemon(tmp_path: Path) -> None:
    """The daemon was killed in between."""
    with (
        listening(tmp_path / "s", lambda connected: connected.shutdown(socket.SHUT_RDWR)),
        Client(tmp_path / "s") as client,
        pytest.raises(DaemonAway),
    ):
        client.hello()


def test_something_that_is_no_daemon_is_named(tmp_path: Path) -> None:
    """Garbage is not an answer."""

    def garbage(connected: socket.socket) -> None:
        connected.recv(1000)
        connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with (
        listening(tmp_path / "s", garbage),
        Client(tmp_path / "s") as client,
        pytest.raises(IpcError, match="does not speak our protocol"),
    ):
        client.hello()


def test_another_protocol_version_is_refused_with_both_versions(tmp_path: Path) -> None:
    """INCOMPATIBLE: both versions and what to do."""

    def newer(connected: socket.socket) -> None:
        connected.recv(1000)
        hello = msgspec.structs.replace(HELLO, protocol=99, version="9.9.9")
        connected.sendall(msgspec.json.encode({"id": 1, "ok": True, "result": hello}) + b"\n")

    with (
        listening(tmp_path / "s", newer),
        Client(tmp_path / "s") as client,
        pytest.raises(IpcError, match=r"9\.9\.9.* protocol 99, this perpbot 1"),
    ):
        client.hello()


def test_a_late_reply_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    """Ids tell answers apart."""

    def late(connected: socket.socket) -> None:
        connected.recv(1000)
        connected.recv(1000)
        connected.sendall(b'{"id":1,"ok":true,"result":"old"}\n{"id":2,"ok":true,"result":"new"}\n')

    with listening(tmp_path / "s", late), Client(tmp_path / "s") as client:
        with pytest.raises(IpcError):
            client.request("pause", answer_within_s=0.1)
        assert client.request("resume") == "new"


def test_a_subscription_without_heartbeats_ends(tmp_path: Path) -> None:
    """A stopped daemon does not look like a quiet one."""

    def mute(connected: socket.socket) -> None:
        connected.recv(1000)
        connected.sendall(b'{"id":1,"ok":true,"result":{}}\n')

    with (
        listening(tmp_path / "s", mute),
        Client(tmp_path / "s") as client,
        pytest.raises(DaemonAway, match=r"has sent nothing for 0\.1 s"),
    ):
        next(client.subscribe(silence_s=0.1))


def test_a_snapshot_survives_the_wire_unchanged(tmp_path: Path) -> None:
    """What the loop published is what is decoded, None as None."""
    sent = snapshot(9, loop_s=None)
    with serving(tmp_path) as server, Client(server._path) as client:
        server.publish(sent)
        got, age_s = client.state()
    assert got == sent
    assert got.ages.loop_s is None
    assert age_s >= 0.0
