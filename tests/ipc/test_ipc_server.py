"""The socket serves many clients, hostile ones too, and nobody can delay anybody (I7)."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ipc_samples import HELLO, BrokenLoop, HungLoop, Loop, serving, snapshot, until

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import DaemonBusy, IpcError
from perp_bot.ipc import connection as connection_module
from perp_bot.ipc.client import Client
from perp_bot.ipc.connection import Connection
from perp_bot.ipc.control import ControlRequest, Outcome, Peer
from perp_bot.ipc.protocol import MAX_LINE_BYTES, ControlResult, EventPush, StatePush
from perp_bot.ipc.server import MAX_CLIENTS, IpcServer
from perp_bot.ipc.state import EventNote
from perp_bot.risk import kill_switch


class RawClient:
    """A client that can misbehave."""

    def __init__(self, server_folder: Path, timeout_s: float = 5.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(server_folder / "perp-bot.sock"))
        self._file = self.socket.makefile("rb")

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def line(self) -> Any:
        return json.loads(self._file.readline())

    def ask(self, cmd: str, **args: Any) -> Any:
        self.send(json.dumps({"id": 7, "cmd": cmd, "args": args}).encode() + b"\n")
        return self.line()

    def at_end(self) -> bool:
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_hello_says_who_answers(tmp_path: Path) -> None:
    """hello gives protocol, boot id, pid, version, mode and venue."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        reply = client.ask("hello")
    assert reply == {
        "id": 7,
        "ok": True,
        "result": {
            "protocol": 1,
            "boot_id": "boot-1",
            "pid": 4242,
            "version": "0.1.0",
            "mode": "paper",
            "venue": "practice",
        },
    }


def test_get_state_gives_the_newest_snapshot_and_its_age(tmp_path: Path) -> None:
    """A hung loop shows as an age that grows: age_s is the time since publish, at the time of sending."""
    with serving(tmp_path) as server, Client(server._path) as client:
        first, _ = client.state()
        server.publish(snapshot(2))
        second, young_s = client.state()
        time.sleep(0.15)
        again, old_s = client.state()
    assert (first.seq, second.seq, again.seq) == (1, 2, 2)
    assert second == snapshot(2)
    assert young_s < 0.1 + old_s
    assert old_s - young_s >= 0.14


def test_state_before_the_first_snapshot_is_refused_not_invented(tmp_path: Path) -> None:
    """While the daemon starts there is no state, and the answer says so."""
    server = IpcServer(tmp_path / "perp-bot.sock", kill_latch=tmp_path / "KILL", hello=HELLO, control=Loop())
    server.start()
    try:
        with Client(tmp_path / "perp-bot.sock") as client, pytest.raises(IpcError, match="starting") as caught:
            client.state()
    finally:
        server.stop()
    assert caught.value.code == "busy"


def test_the_socket_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, created under umask 0177, whatever the process's umask is; gone after the end."""
    before = os.umask(0)
    try:
        with serving(tmp_path):
            mode = stat.S_IMODE((tmp_path / "perp-bot.sock").stat().st_mode)
            current = os.umask(0)
    finally:
        os.umask(before)
    assert mode == 0o600
    assert current == 0, "the process's umask must be restored"
    assert not (tmp_path / "perp-bot.sock").exists()


def test_the_folder_that_the_socket_needs_is_made_private(tmp_path: Path) -> None:
    """A socket under the runtime folder gets folders of mode 0700."""
    path = tmp_path / "run" / "perpbot" / "x.sock"
    server = IpcServer(path, kill_latch=tmp_path / "KILL", hello=HELLO, control=Loop())
    server.start()
    server.stop()
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_socket_file_left_by_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    """SIGKILL leaves the file behind; the next daemon takes its place."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "perp-bot.sock"))
    with serving(tmp_path), RawClient(tmp_path) as client:
        assert client.ask("hello")["ok"] is True


def test_a_second_server_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    """One daemon a database (I8): a living socket is never replaced."""
    with serving(tmp_path):
        gc.collect()  # else what an earlier test left to it may go in between
        descriptors = len(os.listdir("/proc/self/fd"))
        second = IpcServer(tmp_path / "perp-bot.sock", kill_latch=tmp_path / "KILL", hello=HELLO, control=Loop())
        with pytest.raises(DaemonBusy, match=f"pid {os.getpid()}"):
            second.start()
        second.stop()
        # the second one asked the first who it is: that connection ends on the first server's own thread
        until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
        with RawClient(tmp_path) as client:
            assert client.ask("hello")["ok"] is True


def test_a_file_that_is_no_socket_is_not_deleted(tmp_path: Path) -> None:
    """What is not a socket is not ours to replace."""
    (tmp_path / "perp-bot.sock").write_text("notes")
    server = IpcServer(tmp_path / "perp-bot.sock", kill_latch=tmp_path / "KILL", hello=HELLO, control=Loop())
    with pytest.raises(IpcError, match="not a socket"):
        server.start()
    assert (tmp_path / "perp-bot.sock").read_text() == "notes"


# ---------------------------------------------------------------- hostile clients


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", "malformed"),
        (b"\xff\xfe\x00 not utf-8\n", "malformed"),
        (b'{"id":7}\n', "malformed"),
        (b'{"id":7,"cmd":5}\n', "malformed"),
        (b'{"id":7,"cmd":"hello","extra":1}\n', "malformed"),
        (b"[" * 60_000 + b"\n", "malformed"),
        (b'{"id":true,"cmd":"hello"}\n', "malformed"),
        (b'{"id":7,"cmd":"sell_everything"}\n', "unknown_command"),
        (b'{"id":7,"cmd":"hello","args":{"a":1}}\n', "bad_args"),
        (b'{"id":7,"cmd":"pause","args":{"symbol":5}}\n', "bad_args"),
        (b'{"id":7,"cmd":"pause","args":{"symbol":"BTC","strategy":"x"}}\n', "bad_args"),
        (b'{"id":7,"cmd":"pause","args":{"symbol":"no coin!"}}\n', "bad_args"),
        (b'{"id":7,"cmd":"pause","args":{"flatten":true}}\n', "bad_args"),
        (b'{"id":7,"cmd":"prepare","args":{"action":"buy"}}\n', "bad_args"),
        (b'{"id":7,"cmd":"prepare","args":{"action":"close"}}\n', "bad_args"),
        (b'{"id":7,"cmd":"commit"}\n', "bad_args"),
        (b'{"id":7,"cmd":"wait_until","args":{"venue_ms":1.5}}\n', "bad_args"),
        (b'{"id":7,"cmd":"wait_until","args":{"venue_ms":1,"timeout_s":-1}}\n', "bad_args"),
        (b'{"id":7,"cmd":"subscribe","args":{"interval_s":0}}\n', "bad_args"),
        (b'{"id":7,"cmd":"kill","args":{"symbol":"BTC"}}\n', "bad_args"),
    ],
)
def test_a_bad_request_gets_an_error_and_harms_nobody(tmp_path: Path, line: bytes, code: str) -> None:
    """Malformed and unknown requests are answered with a stable code; the same connection goes on."""
    loop = Loop()
    with serving(tmp_path, loop), RawClient(tmp_path) as client:
        client.send(line)
        reply = client.line()
        assert (reply["ok"], reply["error"]["code"]) == (False, code)
        assert client.ask("hello")["ok"] is True
    assert loop.seen == []
    assert not (tmp_path / "KILL").exists()


def test_an_error_carries_the_id_of_its_request(tmp_path: Path) -> None:
    """Valid JSON that is no request is answered under its own id."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        client.send(b'{"id":"a-9","cmd":null}\n')
        assert client.line()["id"] == "a-9"


def test_a_megabyte_without_a_newline_is_refused_and_dropped(tmp_path: Path) -> None:
    """The sender gets `oversized` and loses its connection; another client notices nothing."""
    with serving(tmp_path) as server, RawClient(tmp_path) as hostile, RawClient(tmp_path) as friend:
        hostile.send(b"x" * 1_000_000)
        assert hostile.line()["error"]["code"] == "oversized"
        assert friend.ask("hello")["ok"] is True
        hostile.socket.shutdown(socket.SHUT_WR)
        assert hostile.at_end()
        until(lambda: len(server._connections) == 1)


def test_a_complete_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """The limit holds for lines with an end, too."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        client.send(b'{"id":1,"cmd":"' + b"x" * MAX_LINE_BYTES + b'"}\n')
        assert client.line()["error"]["code"] == "oversized"


def test_a_request_in_pieces_is_put_together(tmp_path: Path) -> None:
    """Bytes may arrive one by one, and a line may end in the next packet."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        for byte in b'{"id":7,"cmd":"hello"}\n{"id":8,':
            client.send(bytes([byte]))
        assert client.line()["id"] == 7
        client.send(b'"cmd":"hello"}\n')
        assert client.line()["id"] == 8


def test_pipelined_requests_are_all_answered_in_order(tmp_path: Path) -> None:
    """A thousand requests in one packet: each gets its answer, even those beyond one turn's share."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        lines = b"".join(b'{"id":%d,"cmd":"hello"}\n' % number for number in range(1000))
        sender = threading.Thread(target=client.send, args=(lines,))
        sender.start()
        assert [client.line()["id"] for _ in range(1000)] == list(range(1000))
        sender.join()


def test_requests_that_waited_for_room_are_answered_once_there_is_some(tmp_path: Path) -> None:
    """Also when the turn's own flush makes the room, and not the selector's word: nothing else would come."""
    ours, theirs = socket.socketpair()
    server = IpcServer(tmp_path / "perp-bot.sock", kill_latch=tmp_path / "KILL", hello=HELLO, control=Loop())
    connection = Connection(theirs, Peer(1, os.getuid()))
    server._connections.add(connection)
    server._selector.register(theirs, selectors.EVENT_READ, connection)
    while not connection.has_unsent:
        connection.send(b"x" * 65_536, 0.0)
    server._watch(connection)
    connection._inbox += b'{"id":7,"cmd":"hello"}\n'
    ours.settimeout(5.0)
    taken = b""
    while not taken.endswith(b"\n"):
        taken = ours.recv(1 << 22)
        server._expire(monotonic_s())
    assert json.loads(taken.lstrip(b"x"))["id"] == 7
    ours.close()
    theirs.close()


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    """An empty line is no request."""
    with serving(tmp_path), RawClient(tmp_path) as client:
        client.send(b"\n  \n")
        assert client.ask("hello")["ok"] is True


@pytest.mark.slow
def test_a_client_that_does_not_read_loses_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests without reading the answers: back pressure first, then the connection ends; others are served."""
    monkeypatch.setattr(connection_module, "STALL_S", 0.3)
    with serving(tmp_path) as server, RawClient(tmp_path) as deaf, RawClient(tmp_path) as friend:
        deaf.socket.setblocking(False)
        flood = b'{"id":1,"cmd":"get_state"}\n' * 1000

        def is_dropped() -> bool:
            try:
                deaf.socket.send(flood)
            except BlockingIOError:
                pass
            except OSError:
                return True
            assert friend.ask("get_state")["ok"] is True
            return len(server._connections) == 1

        until(is_dropped, within_s=10.0)


@pytest.mark.slow
def test_a_subscriber_that_does_not_read_is_dropped_and_delays_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events pile up in a bounded buffer only; publishing costs the loop nothing meanwhile."""
    monkeypatch.setattr(connection_module, "STALL_S", 0.3)
    with serving(tmp_path) as server, RawClient(tmp_path) as deaf:
        assert deaf.ask("subscribe")["ok"] is True
        until(lambda: server.viewers == 1)
        note = EventNote(1, "OPEN", "BTC", "x" * 4000)

        def is_dropped() -> bool:
            for _ in range(50):
                server.push_event(note)
            return server.viewers == 0

        until(is_dropped, within_s=10.0)


def test_more_clients_than_allowed_are_told_so(tmp_path: Path) -> None:
    """The limit is stated, and those who are connected go on."""
    with serving(tmp_path) as server:
        first = RawClient(tmp_path)
        others = [RawClient(tmp_path) for _ in range(MAX_CLIENTS - 1)]
        until(lambda: len(server._connections) == MAX_CLIENTS)
        with RawClient(tmp_path) as late:
            assert late.line()["error"]["code"] == "busy"
        assert first.ask("hello")["ok"] is True
        for client in (first, *others):
            client.close()
        until(lambda: not server._connections)
        with RawClient(tmp_path) as next_one:
            assert next_one.ask("hello")["ok"] is True


def _is_request(raw: bytes) -> bool:
    """Whether the bytes happen to ask for something: hypothesis also draws the constants of the tested code."""
    try:
        return isinstance(json.loads(raw), dict)
    except ValueError:
        return False


_BYTES = st.binary(max_size=80).map(lambda raw: raw.replace(b"\n", b"")).filter(lambda raw: not _is_request(raw))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(_BYTES, min_size=1, max_size=5))
def test_no_bytes_stop_the_server(shared_server: Path, lines: list[bytes]) -> None:
    """Whatever is sent, every non-blank line gets exactly one answer and the server lives."""
    with RawClient(shared_server) as client:
        client.send(b"".join(line + b"\n" for line in lines))
        for line in lines:
            if line.strip():
                assert client.line()["ok"] is False
        assert client.ask("hello")["ok"] is True


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cmd=st.sampled_from(["pause", "resume", "prepare", "commit", "wait_until", "subscribe", "hello"]),
    args=st.dictionaries(
        st.sampled_from(["symbol", "strategy", "reason", "action", "token", "venue_ms", "timeout_s", "interval_s"]),
        _JSON,
        max_size=4,
    ),
)
def test_no_arguments_stop_the_server(shared_server: Path, cmd: str, args: dict[str, Any]) -> None:
    """Arguments of any JSON type are either taken or refused with `bad_args`."""
    with RawClient(shared_server) as client:
        reply = client.ask(cmd, **args)
        assert reply["ok"] or reply["error"]["code"] in ("bad_args", "malformed")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("shared")
    with serving(folder):
        yield folder


# ---------------------------------------------------------------- subscriptions


@pytest.mark.slow
def test_a_subscriber_gets_the_state_at_once_on_change_and_as_heartbeat(tmp_path: Path) -> None:
    """The heartbeat comes from the socket thread: a loop that publishes nothing more shows as a growing age."""
    with serving(tmp_path) as server, Client(server._path) as client:
        pushes = client.subscribe(interval_s=0.05)
        first = next(pushes)
        server.publish(snapshot(2))
        second = next(pushes)
        third, fourth = next(pushes), next(pushes)  # heartbeats: nothing was published
    assert [push.state.seq for push in (first, second, third, fourth) if isinstance(push, StatePush)] == [1, 2, 2, 2]
    assert isinstance(third, StatePush)
    assert isinstance(fourth, StatePush)
    assert 0.9 <= third.age_s < fourth.age_s


@pytest.mark.slow
def test_changes_faster_than_the_interval_are_coalesced_and_the_newest_wins(tmp_path: Path) -> None:
    """A busy loop cannot flood a slow dashboard."""
    with serving(tmp_path) as server, Client(server._path) as client:
        pushes = client.subscribe(interval_s=0.3)
        next(pushes)
        for seq in range(2, 102):
            server.publish(snapshot(seq))
        push = next(pushes)
    assert isinstance(push, StatePush)
    assert push.state.seq == 101


def test_events_reach_every_subscriber_in_order(tmp_path: Path) -> None:
    """Events are lossless for clients that read."""
    notes = [EventNote(number, "OPEN", "BTC", f"event {number}") for number in range(20)]
    with serving(tmp_path) as server, Client(server._path) as one, Client(server._path) as other:
        streams = [one.subscribe(), other.subscribe()]
        for stream in streams:
            assert isinstance(next(stream), StatePush)
        for note in notes:
            server.push_event(note)
        for stream in streams:
            got: list[EventNote] = []
            while len(got) < len(notes):
                push = next(stream)
                if isinstance(push, EventPush):
                    got.append(push.event)
            assert got == notes


def test_viewers_counts_subscribers(tmp_path: Path) -> None:
    """The header says how many others are attached; asking for a state alone does not count."""
    with serving(tmp_path) as server:
        with RawClient(tmp_path) as one, RawClient(tmp_path) as two:
            one.ask("subscribe")
            two.ask("get_state")
            until(lambda: server.viewers == 1)
        until(lambda: server.viewers == 0)


def test_twenty_clients_and_one_not_reading_are_all_served(tmp_path: Path) -> None:
    """Many dashboards at once, one of them stopped: every other one gets its answers."""
    with serving(tmp_path) as server:
        deaf = RawClient(tmp_path)
        deaf.send(b'{"id":1,"cmd":"subscribe"}\n')
        clients = [RawClient(tmp_path) for _ in range(20)]
        for client in clients[:10]:
            assert client.ask("subscribe")["ok"] is True
        until(lambda: server.viewers == 11)
        for client in clients[10:]:
            assert client.ask("get_state")["result"]["state"]["seq"] == 1
        for client in (deaf, *clients):
            client.close()


# ---------------------------------------------------------------- controls


def test_a_control_reaches_the_loop_typed_and_its_answer_comes_back(tmp_path: Path) -> None:
    """Arguments are checked and normalised on the socket thread; the loop learns who asked."""
    loop = Loop()
    with serving(tmp_path, loop) as server, Client(server._path) as client:
        result = client.control("pause", symbol="BTC-PERP", reason="thin book")
    assert result == ControlResult("done", "pause symbol:BTC")
    (request,) = loop.seen
    assert (request.cmd, request.args.symbol, request.args.reason) == ("pause", "BTC", "thin book")
    assert (request.peer.pid, request.peer.uid) == (os.getpid(), os.getuid())


def test_a_refusal_by_the_loop_keeps_its_code(tmp_path: Path) -> None:
    """Codes are an interface."""
    loop = Loop(lambda request: IpcError("the position changed", code="changed"))
    with serving(tmp_path, loop) as server, Client(server._path) as client, pytest.raises(IpcError) as caught:
        client.control("commit", token="t")
    assert (caught.value.code, str(caught.value)) == ("changed", "the position changed")


def test_a_queue_that_refuses_is_reported_and_the_socket_lives(tmp_path: Path) -> None:
    """The port failing costs an error, not the socket thread."""
    with serving(tmp_path, BrokenLoop()) as server, Client(server._path) as client:
        with pytest.raises(IpcError) as caught:
            client.control("pause")
        assert caught.value.code == "busy"
        assert client.hello().pid == 4242


@pytest.mark.slow
def test_a_hung_loop_times_out_and_its_late_answer_goes_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the deadline the sender knows that nothing is known, and the loop can see that it must not act."""
    monkeypatch.setattr("perp_bot.ipc.control.CONTROL_TIMEOUT_S", 0.2)
    loop = HungLoop()
    with serving(tmp_path, loop) as server, Client(server._path) as client:
        with pytest.raises(IpcError, match="does not answer; kill works") as caught:
            client.control("resume")
        assert caught.value.code == "timeout"
        assert loop.seen[0].is_expired(time.monotonic())
        loop.seen[0].respond(ControlResult("done", "late"))
        with pytest.raises(IpcError, match="does not answer"):  # not the late answer to the first
            client.control("pause")


def test_an_answer_given_twice_counts_once(tmp_path: Path) -> None:
    """The first word of the loop holds."""

    def twice(request: ControlRequest) -> Outcome:
        request.respond(ControlResult("done", "first"))
        return ControlResult("done", "second")

    with serving(tmp_path, Loop(twice)) as server, Client(server._path) as client:
        assert client.control("pause").text == "first"
        assert client.hello().pid == 4242


def test_wait_until_has_its_own_timeout(tmp_path: Path) -> None:
    """It may wait longer, or shorter, than other controls."""
    with serving(tmp_path, HungLoop()) as server, Client(server._path) as client:
        with pytest.raises(IpcError) as caught:
            client.wait_until(1_700_000_000_000, timeout_s=0.2)
        assert caught.value.code == "timeout"


def test_kill_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    """The latch names who, why and the venue's time, and the loop is told."""
    loop = Loop(lambda request: ControlResult("killed", "killed; 1 entry order cancelled"))
    with serving(tmp_path, loop) as server, Client(server._path) as client:
        result = client.control("kill", reason="news")
        latch = kill_switch.read(tmp_path / "KILL")
    assert result == ControlResult("killed", "killed; 1 entry order cancelled")
    assert latch is not None
    assert (latch.reason, latch.venue_ms) == ("news", 1_700_000_000_001)
    assert latch.who == f"pid {os.getpid()} (uid {os.getuid()})"
    assert loop.seen[0].cmd == "kill"


@pytest.mark.slow
def test_kill_latches_and_is_answered_within_a_second_while_the_loop_hangs(tmp_path: Path) -> None:
    """The socket thread does it alone; the client's own limit of one second is the requirement."""
    loop = HungLoop()
    with serving(tmp_path, loop) as server, Client(server._path) as client:
        result = client.control("kill", answer_within_s=1.0)
    assert result.status == "killed"
    assert "has not answered" in result.text
    assert kill_switch.is_latched(tmp_path / "KILL")
    assert not loop.seen[0].is_expired(time.monotonic() + 100), "a loop that wakes late must still act on a kill"


@pytest.mark.slow
def test_kill_works_while_other_clients_misbehave(tmp_path: Path) -> None:
    """Floods, half lines and deaf readers do not delay a kill."""
    with serving(tmp_path, HungLoop()) as server:
        hostile = [RawClient(tmp_path) for _ in range(10)]
        for client in hostile:
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.socket.send(b'{"id":1,"cmd":"get_state"}\n' * 2000)
        with Client(server._path) as client:
            assert client.control("kill", answer_within_s=1.0).status == "killed"
        assert kill_switch.is_latched(tmp_path / "KILL")
        for client in hostile:
            client.close()


def test_kill_twice_keeps_the_first_reason(tmp_path: Path) -> None:
    """Idempotent."""
    with serving(tmp_path) as server, Client(server._path) as client:
        client.control("kill", reason="first")
        client.control("kill", reason="second")
    latch = kill_switch.read(tmp_path / "KILL")
    assert latch is not None
    assert latch.reason == "first"


def test_a_kill_that_cannot_be_latched_says_so(tmp_path: Path) -> None:
    """The worst case is told, never covered: the loop was told, a restart would forget."""
    (tmp_path / "blocked").write_text("a file where the folder should be")
    loop = Loop(lambda request: ControlResult("killed", "killed"))
    server = IpcServer(tmp_path / "perp-bot.sock", kill_latch=tmp_path / "blocked" / "KILL", hello=HELLO, control=loop)
    server.start()
    try:
        with Client(tmp_path / "perp-bot.sock") as client, pytest.raises(IpcError, match="NOT latched"):
            client.control("kill")
    finally:
        server.stop()
    assert loop.seen[0].cmd == "kill"


def test_stop_ends_the_thread_and_every_connection(tmp_path: Path) -> None:
    """No thread, no descriptor and no file stay behind."""
    gc.collect()  # else what an earlier test left to it may go in between
    descriptors = len(os.listdir("/proc/self/fd"))
    with serving(tmp_path) as server:
        client = RawClient(tmp_path)
        client.ask("subscribe")
        thread = server._thread
    while (line := client._file.readline()) != b"":
        assert msgspec.json.decode(line)["push"] == "state"
    client.close()
    assert thread is not None
    assert not thread.is_alive()
    until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    server.publish(snapshot(5))  # a loop that is a moment late harms nothing
    server.push_event(EventNote(1, "STOPPED", None, "x"))
