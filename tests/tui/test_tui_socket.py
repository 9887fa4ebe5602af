"""The socket reader against a real Unix socket: states, reconnects, replies, hostile lines."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_daemon import SILENT, FakeDaemon

from perp_bot.tui.sources.socket import ReplyArrived, SocketSource
from perp_bot.tui.store import FrameArrived, Link, LinkChanged, NoteArrived


class Listening:
    """A running source and the facts it put."""

    def __init__(self, path: Path) -> None:
        self.facts: list[Any] = []
        self.source = SocketSource(path, self.facts.append, interval_s=0.25)
        self.source.start()

    def until(self, holds: Callable[[Any], object], what: str = "fact") -> Any:
        """Return the first fact, old or new, that satisfies `holds`."""
        deadline_s = time.monotonic() + 6
        while time.monotonic() < deadline_s:
            for fact in list(self.facts):
                if holds(fact):
                    return fact
            time.sleep(0.005)
        raise AssertionError(f"no {what}; facts: {self.facts[-5:]}")

    def until_link(self, link: Link) -> LinkChanged:
        """Return the first report of this link state."""
        found: LinkChanged = self.until(lambda fact: isinstance(fact, LinkChanged) and fact.link is link, link)
        return found


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[[], Listening]]:
    """Return a function that starts a source on the folder's socket; everything is stopped after."""
    running: list[Listening] = []

    def begin() -> Listening:
        running.append(Listening(folder / "s.sock"))
        return running[-1]

    yield begin
    for listening in running:
        listening.source.stop()


@pytest.fixture
def daemon(folder: Path) -> Iterator[FakeDaemon]:
    """Return a running fake daemon."""
    with FakeDaemon(folder / "s.sock", heartbeat_s=0.05) as found:
        yield found


Start = Callable[[], Listening]


def test_it_says_hello_subscribes_and_delivers_frames(daemon: FakeDaemon, start: Start) -> None:
    """hello with its protocol, subscribe with the interval, then frames."""
    listening = start()
    frame = listening.until(lambda fact: isinstance(fact, FrameArrived))
    assert frame.snapshot == daemon.snapshot
    assert [request["cmd"] for request in daemon.requests[:2]] == ["hello", "subscribe"]
    assert daemon.requests[1]["args"] == {"interval_s": 0.25}


def test_no_socket_is_refused_and_tried_again_until_a_daemon_comes(folder: Path, start: Start) -> None:
    """It never gives up, and says when it tries again."""
    listening = start()
    refused = listening.until_link(Link.REFUSED)
    assert "no socket at" in refused.reason
    assert refused.retry_in_s is not None
    assert 0.2 <= refused.retry_in_s <= 0.3
    with FakeDaemon(folder / "s.sock"):
        listening.until_link(Link.OPEN)
        listening.source.stop()


def test_a_file_nobody_listens_on_is_refused(folder: Path, start: Start) -> None:
    """The socket file of a dead daemon."""
    daemon = FakeDaemon(folder / "s.sock")
    daemon.start()
    kept = folder / "kept"
    os.link(folder / "s.sock", kept)
    daemon.stop()
    os.replace(kept, folder / "s.sock")
    assert "nobody listens" in start().until_link(Link.REFUSED).reason


@pytest.mark.skipif(os.getuid() == 0, reason="root may open everything")
def test_a_socket_without_permission_is_denied(daemon: FakeDaemon, start: Start) -> None:
    """DENIED names the path and the mode it needs."""
    daemon.path.chmod(0)
    assert "0600" in start().until_link(Link.DENIED).reason


def test_a_daemon_that_ends_is_lost_and_found_again(daemon: FakeDaemon, start: Start) -> None:
    """LOST, then LIVE with the new boot."""
    listening = start()
    listening.until(lambda fact: isinstance(fact, FrameArrived))
    daemon.stop()
    assert "closed the connection" in listening.until_link(Link.CLOSED).reason
    listening.facts.clear()
    daemon.start()
    listening.source.retry_now()
    listening.until(lambda fact: isinstance(fact, FrameArrived))


def test_another_protocol_is_incompatible(daemon: FakeDaemon, start: Start) -> None:
    """Both versions are named, nothing is subscribed."""
    daemon.protocol = 7
    assert "protocol 7, this dashboard 1" in start().until_link(Link.INCOMPATIBLE).reason
    assert daemon.sent("subscribe") == []


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"{\n",
        b'{"push":"state","age_s":0,"state":{"protocol":1}}\n',
        b'{"push":"state","age_s":0,"state":null}\n',
        b'{"push":"event","event":{"venue_ms":"x"}}\n',
        b"[]\n",
    ],
)
def test_a_line_that_cannot_be_read_ends_the_connection_with_a_reason(
    daemon: FakeDaemon, start: Start, line: bytes
) -> None:
    """A daemon that speaks nonsense is not shown as alive; the reader lives on and connects again."""
    listening = start()
    listening.until(lambda fact: isinstance(fact, FrameArrived))
    daemon.push(line)
    assert "cannot read" in listening.until_link(Link.CLOSED).reason
    listening.facts.clear()
    listening.until(lambda fact: isinstance(fact, FrameArrived))


def test_a_push_of_a_newer_daemon_is_ignored(daemon: FakeDaemon, start: Start) -> None:
    """Additions to the protocol break no older viewer."""
    listening = start()
    listening.until(lambda fact: isinstance(fact, FrameArrived))
    daemon.push(
        b'{"push":"weather","rain":true}\n{"push":"event","event":{"venue_ms":5,"kind":"OPEN","symbol":null,"text":"t"}}\n'
    )
    assert listening.until(lambda fact: isinstance(fact, NoteArrived)).note.kind == "OPEN"
    assert not [fact for fact in listening.facts if isinstance(fact, LinkChanged) and fact.link is Link.CLOSED]


def test_requests_get_their_replies_by_id(daemon: FakeDaemon, start: Start) -> None:
    """Answers are matched, refusals carry code and message."""
    listening = start()
    listening.until_link(Link.OPEN)
    daemon.answers["pause"] = lambda _args: {"code": "refused", "message": "already killed"}
    first = listening.source.send("kill", {"reason": "r"})
    second = listening.source.send("pause", {})
    killed = listening.until(lambda fact: isinstance(fact, ReplyArrived) and fact.id == first)
    refused = listening.until(lambda fact: isinstance(fact, ReplyArrived) and fact.id == second)
    assert (killed.ok, b"killed" in killed.result) == (True, True)
    assert (refused.ok, refused.error.message) == (False, "already killed")
    assert daemon.sent("kill") == [{"reason": "r"}]


def test_nothing_is_queued_for_a_connection_that_is_not_there(folder: Path, start: Start) -> None:
    """A kill pressed while the daemon is away must not fire when it comes back."""
    listening = start()
    listening.until_link(Link.REFUSED)
    assert listening.source.send("kill", {}) is None
    with FakeDaemon(folder / "s.sock") as daemon:
        listening.until(lambda fact: isinstance(fact, FrameArrived))
        assert daemon.sent("kill") == []


def test_a_daemon_that_accepts_but_says_nothing_can_be_left_at_once(folder: Path) -> None:
    """Stopping never waits for a hung daemon, and no thread is left."""
    daemon = FakeDaemon(folder / "s.sock")
    daemon.is_frozen = True
    daemon.start()
    listening = Listening(folder / "s.sock")
    deadline_s = time.monotonic() + 5
    while not daemon.requests:
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    listening.source.stop()
    daemon.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "tui-socket"]


def test_a_silent_answer_is_not_invented(daemon: FakeDaemon, start: Start) -> None:
    """No reply means no reply; frames go on."""
    listening = start()
    listening.until_link(Link.OPEN)
    daemon.answers["kill"] = lambda _args: SILENT
    listening.source.send("kill", {})
    listening.facts.clear()
    listening.until(lambda fact: isinstance(fact, FrameArrived))
    assert not [fact for fact in listening.facts if isinstance(fact, ReplyArrived)]
