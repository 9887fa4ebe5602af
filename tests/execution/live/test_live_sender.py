"""What is known of an action that was sent: real sockets, every way in which an answer can fail."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hyperliquid.utils.signing import recover_agent_or_user_from_l1_action
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perp_bot.core.clock import FixedClock
from perp_bot.core.types import OrderSide
from perp_bot.data.limiter import RequestClass, WeightLimiter, action_weight
from perp_bot.execution.live import wire
from perp_bot.execution.live.answers import Answered, Done, Refused, Resting, Unclear
from perp_bot.execution.live.rejections import Reason, Rejection
from perp_bot.execution.live.sender import Accepted, NotSent, Outcome, Rejected, Sender, Unknown
from perp_bot.execution.live.signer import Signer
from perp_bot.execution.live.wire import Action, Tif, VenueOrder

KEY = "c0ffee11" * 8
CLOID = "0x" + "0a" * 16
ENTRY = wire.order_action([VenueOrder(0, OrderSide.BUY, Decimal(84000), Decimal("0.001"), Tif.GTC, False, CLOID)])
STOP = wire.order_action([VenueOrder(0, OrderSide.SELL, Decimal(80000), Decimal("0.001"), Tif.GTC, True, CLOID)])
RESTING = b'{"status":"ok","response":{"type":"order","data":{"statuses":[{"resting":{"oid":7}}]}}}'
TAKEN = Accepted((Answered(CLOID, Resting(7)),))

Behaviour = Callable[[socket.socket], None]


class Server(socketserver.ThreadingTCPServer):
    """A real server on 127.0.0.1 that reads each request whole and then does what the test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour: Behaviour = reply(RESTING)
        self.requests: list[dict[str, Any]] = []
        self.connections: list[socket.socket] = []
        self.over = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def end(self) -> None:
        """Let every connection's thread end."""
        self.over.set()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.shutdown()


class Handler(socketserver.BaseRequestHandler):
    """One connection: requests as long as they come, until the behaviour closes it."""

    server: Server

    def handle(self) -> None:
        self.server.connections.append(self.request)
        with contextlib.suppress(OSError):
            while self.request.fileno() >= 0 and (request := self.read()) is not None:
                self.server.requests.append(request)
                self.server.behaviour(self.request)

    def read(self) -> dict[str, Any] | None:
        """Return the body of the next request, or None when the client has gone."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += (piece := self.request.recv(65_536))
            if not piece:
                return None
        head, _, body = received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        assert first == b"POST /exchange HTTP/1.1"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        assert headers[b"content-type"] == b"application/json"
        while len(body) < int(headers[b"content-length"]):
            body += self.request.recv(65_536)
        found: dict[str, Any] = json.loads(body)
        return found


def reply(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> Behaviour:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
    return raw(head + body)


def raw(content: bytes, *, then_close: bool = False) -> Behaviour:
    def behave(connection: socket.socket) -> None:
        connection.sendall(content)
        if then_close:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    return behave


def cut(connection: socket.socket) -> None:
    """Close after reading, without a word."""
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def reset(connection: socket.socket) -> None:
    """Close with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.end()
        thread.join()


def silent(server: Server, first: bytes = b"") -> Behaviour:
    """Say `first` and then nothing, until the test is over."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(first)
        server.over.wait(20)

    return behave


def trickle(server: Server) -> Behaviour:
    """Answer a byte at a time, for ever."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.over.wait(0.02):
            connection.sendall(b" ")

    return behave


@pytest.fixture
def limiter() -> WeightLimiter:
    return WeightLimiter(FixedClock(0))


@pytest.fixture
def sender(server: Server, limiter: WeightLimiter, tmp_path: Path) -> Iterator[Sender]:
    with contextlib.closing(sender_to(server.base_url, limiter, tmp_path)) as found:
        yield found


@pytest.fixture
def impatient(server: Server, limiter: WeightLimiter, tmp_path: Path) -> Iterator[Sender]:
    """A sender that waits 0.15 s."""
    with contextlib.closing(sender_to(server.base_url, limiter, tmp_path, 0.15)) as found:
        yield found


def sender_to(base_url: str, limiter: WeightLimiter, folder: Path, timeout_s: float = 10.0) -> Sender:
    return Sender(
        base_url,
        signer=Signer(KEY, is_mainnet=False),
        limiter=limiter,
        kill_latch=folder / "KILL",
        connect_timeout_s=timeout_s,
        read_timeout_s=timeout_s,
    )


def send(sender: Sender, action: Action = ENTRY, nonce: int = 17, expires_after: int | None = None) -> Outcome:
    return sender.sign_and_post(action, nonce, expires_after, request_class=RequestClass.ENTRY)


# ------------------------------------------------------------ what is sent


@pytest.mark.parametrize("expires_after", [None, 1_790_000_000_000])
def test_the_request_is_the_sdks_and_its_signature_recovers_the_signer(
    server: Server, sender: Sender, expires_after: int | None
) -> None:
    """Envelope with all five keys, null where unset; the venue finds the signer in it."""
    assert send(sender, expires_after=expires_after) == TAKEN
    (request,) = server.requests
    assert list(request) == ["action", "nonce", "signature", "vaultAddress", "expiresAfter"]
    assert (request["nonce"], request["vaultAddress"], request["expiresAfter"]) == (17, None, expires_after)
    assert json.dumps(request["action"]) == json.dumps(ENTRY)
    recovered = recover_agent_or_user_from_l1_action(
        request["action"], request["signature"], None, 17, expires_after, False
    )
    assert recovered.lower() == Signer(KEY, is_mainnet=False).address


def test_one_connection_serves_many_actions(server: Server, sender: Sender) -> None:
    """And one that the venue closed while it was idle is not an unknown outcome."""
    assert [send(sender) for _ in range(3)] == [TAKEN] * 3
    assert len(server.connections) == 1
    is_closed = threading.Event()

    def answer_and_close(connection: socket.socket) -> None:
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(RESTING) + RESTING, then_close=True)(connection)
        is_closed.set()

    server.behaviour = answer_and_close
    for _ in range(3):
        assert send(sender) == TAKEN
        assert is_closed.wait(10)
        is_closed.clear()
    assert len(server.requests) == 6


# ------------------------------------------------------------ accepted and rejected


def test_an_entry_may_be_refused_in_an_action_that_was_taken(server: Server, sender: Sender) -> None:
    """The second of the three places."""
    text = "Insufficient margin to place order. asset=0"
    body = {"status": "ok", "response": {"type": "order", "data": {"statuses": [{"error": text}]}}}
    server.behaviour = reply(json.dumps(body).encode())
    assert send(sender) == Accepted((Answered(CLOID, Refused(Rejection(Reason.MARGIN, text))),))
    server.behaviour = reply(b'{"status":"ok","response":{"type":"order","data":{"statuses":["?"]}}}')
    outcome = send(sender)
    assert isinstance(outcome, Accepted)
    assert isinstance(outcome.answers[0].entry, Unclear)


def test_the_whole_action_may_be_refused(server: Server, sender: Sender) -> None:
    """The first place: `err` with HTTP 200."""
    text = "User or API Wallet 0x0000000000000000000000000000000000000001 does not exist."
    server.behaviour = reply(json.dumps({"status": "err", "response": text}).encode())
    assert send(sender) == Rejected(Rejection(Reason.UNKNOWN_WALLET, text))


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("422 Unprocessable Entity", "Failed to deserialize the JSON body into the target type"),
        ("400 Bad Request", "Failed to parse the request body as JSON"),
        ("415 Unsupported Media Type", "Expected request with `Content-Type: application/json`"),
    ],
)
def test_a_request_that_the_venue_cannot_read_is_rejected(
    server: Server, sender: Sender, status: str, text: str
) -> None:
    """In the venue's own words only."""
    server.behaviour = reply(text.encode(), status, "text/plain")
    assert send(sender) == Rejected(Rejection(Reason.BAD_REQUEST, text))


def test_actions_without_orders(server: Server, sender: Sender) -> None:
    """Cancels, leverage, noop."""
    server.behaviour = reply(b'{"status":"ok","response":{"type":"cancel","data":{"statuses":["success"]}}}')
    assert send(sender, wire.cancel_action([(0, 7)])) == Accepted((Answered(None, Done()),))
    server.behaviour = reply(b'{"status":"ok","response":{"type":"default"}}')
    assert send(sender, wire.noop_action()) == Accepted((Answered(None, Done()),))


# ------------------------------------------------------------ unknown

OTHER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"
UNKNOWN: dict[str, Behaviour] = {
    "closed after reading": cut,
    "reset after reading": reset,
    "HTML with 200": reply(PAGE, kind="text/html"),
    "empty 200": reply(b""),
    "null": reply(b"null"),
    "ok without anything": reply(b'{"status":"ok"}'),
    "fewer statuses than orders": reply(b'{"status":"ok","response":{"type":"order","data":{"statuses":[]}}}'),
    "default for an order": reply(b'{"status":"ok","response":{"type":"default"}}'),
    "500 null": reply(b"null", "500 Internal Server Error"),
    "500 with a good body": reply(RESTING, "500 Internal Server Error"),
    "502 HTML": reply(PAGE, "502 Bad Gateway", "text/html"),
    "503": reply(b"", "503 Service Unavailable"),
    "504": reply(b"upstream request timeout", "504 Gateway Timeout", "text/plain"),
    "403 HTML": reply(PAGE, "403 Forbidden", "text/html"),
    "404": reply(b"", "404 Not Found"),
    "408": reply(b"", "408 Request Timeout"),
    "422 in other words": reply(PAGE, "422 Unprocessable Entity", "text/html"),
    "400 with a good body": reply(RESTING, "400 Bad Request"),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "201 with a good body": reply(RESTING, "201 Created"),
    "302": reply(b"", "302 Found", extra="Location: /elsewhere\r\n"),
    "307": reply(b"", "307 Temporary Redirect", extra="Location: /elsewhere\r\n"),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.6\r\n", then_close=True),
    "status line only": raw(b"HTTP/1.1 200 OK\r\n", then_close=True),
    "cut within the body": raw(OTHER + b"Content-Length: 500\r\n\r\n" + RESTING[:40], then_close=True),
    "cut within a chunk": raw(OTHER + b"Transfer-Encoding: chunked\r\n\r\n57\r\n" + RESTING[:9], then_close=True),
    "broken chunks": raw(OTHER + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + RESTING, then_close=True),
    "compressed": reply(gzip.compress(RESTING), extra="Content-Encoding: gzip\r\n"),
    "garbage said to be compressed": reply(b"\x00\x01garbage", extra="Content-Encoding: gzip\r\n"),
    "two megabytes": reply(b" " * (2 << 20) + RESTING),
    "nonce used": reply(b'{"status":"err","response":"Invalid nonce: duplicate nonce 17"}'),
}


@pytest.mark.parametrize("behaviour", UNKNOWN.values(), ids=UNKNOWN)
def test_every_broken_answer_is_unknown(server: Server, sender: Sender, behaviour: Behaviour) -> None:
    """Never accepted, never rejected, sent exactly once; the reason is one short line without the key."""
    server.behaviour = behaviour
    outcome = send(sender)
    assert isinstance(outcome, Unknown), outcome
    assert len(server.requests) == 1
    assert len(outcome.why.splitlines()) == 1
    assert len(outcome.why) < 300
    assert KEY not in outcome.why
    assert "0x7f" not in outcome.why  # an object's address says nothing


@pytest.mark.slow
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", OTHER + b"Content-Length: 86\r\n\r\n" + RESTING[:40]])
def test_nothing_in_time_is_unknown(server: Server, impatient: Sender, first: bytes) -> None:
    """No answer at all, half a head, half a body: the read timeout ends it."""
    server.behaviour = silent(server, first)
    outcome = send(impatient)
    assert isinstance(outcome, Unknown), outcome
    assert "timed out" in outcome.why
    assert len(server.requests) == 1


@pytest.mark.slow
def test_a_body_that_trickles_in_for_ever_ends_too(server: Server, impatient: Sender) -> None:
    """Each byte is in time, the whole is not."""
    server.behaviour = trickle(server)
    outcome = send(impatient)
    assert isinstance(outcome, Unknown)
    assert "still coming when its time was over" in outcome.why


HEADS = [
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 429 Slow down\r\n",
]


@pytest.mark.slow
@given(st.sampled_from(HEADS), st.binary(max_size=60) | st.text('\r\n: 0123456789abcdefHTTP/{}[]"', max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_is_unknown(server: Server, sender: Sender, head: bytes, noise: bytes | str) -> None:
    """Whatever bytes come back: no exception, nothing accepted, nothing rejected."""
    server.behaviour = raw(head + (noise if isinstance(noise, bytes) else noise.encode()), then_close=True)
    outcome = sender.sign_and_post(STOP, 17, None, request_class=RequestClass.PROTECTIVE)
    assert isinstance(outcome, Unknown) or (isinstance(outcome, NotSent) and b" 429 " in head), outcome


def test_a_nonce_refused_as_used_may_be_ours(server: Server, sender: Sender) -> None:
    """Something in between may have sent it twice: settled like every unknown outcome; a noop reads the flag."""
    server.behaviour = reply(b'{"status":"err","response":"Invalid nonce: duplicate nonce 17"}')
    assert send(sender) == Unknown("Invalid nonce: duplicate nonce 17", nonce_spent=True)
    server.behaviour = reply(b'{"status":"err","response":"Invalid nonce: 17 is too far from the current time 18"}')
    outcome = send(sender)
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason is Reason.NONCE_OUT_OF_RANGE


def test_the_sender_works_again_after_every_failure(server: Server, sender: Sender) -> None:
    """A broken answer leaves nothing behind that could be taken for the next one's."""
    for behaviour in UNKNOWN.values():
        server.behaviour = behaviour
        send(sender)
        server.behaviour = reply(RESTING)
        assert send(sender) == TAKEN


# ------------------------------------------------------------ not sent


def test_without_a_connection_nothing_was_sent(limiter: WeightLimiter, tmp_path: Path) -> None:
    """Refused, or a name that does not exist."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        for base_url in (f"http://127.0.0.1:{taken.getsockname()[1]}", "http://no-such-host.invalid"):
            with contextlib.closing(sender_to(base_url, limiter, tmp_path)) as sender:
                outcome = send(sender)
            assert isinstance(outcome, NotSent), outcome
            assert not outcome.reached_venue
            assert outcome.why.startswith(f"no connection to {base_url}: ")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems let more connections wait than they are told")
@pytest.mark.slow
def test_a_connection_that_does_not_come_about_in_time_was_not_sent(limiter: WeightLimiter, tmp_path: Path) -> None:
    """The queue of a listener that accepts nobody is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        sender = stack.enter_context(
            contextlib.closing(sender_to(f"http://127.0.0.1:{listener.getsockname()[1]}", limiter, tmp_path, 0.15))
        )
        assert isinstance(send(sender), NotSent)


def test_a_429_was_not_taken_and_holds_back(server: Server, sender: Sender, limiter: WeightLimiter) -> None:
    """The venue's limiter stands before everything else; the next action waits, a protective one does not."""
    server.behaviour = reply(b"null", "429 Too Many Requests")
    outcome = send(sender)
    assert outcome == NotSent(f"{server.base_url} answered 429; holding back 1 s", reached_venue=True)
    held = send(sender)
    assert isinstance(held, NotSent)
    assert "held back after a 429" in held.why
    assert len(server.requests) == 1
    server.behaviour = reply(RESTING)
    assert sender.sign_and_post(STOP, 18, None, request_class=RequestClass.PROTECTIVE) == TAKEN
    assert send(sender) == TAKEN  # an answer came: nothing is held back any more


def test_without_budget_nothing_is_sent(server: Server, sender: Sender, limiter: WeightLimiter) -> None:
    """An entry leaves room for what protects; a batch weighs more from 40 on."""
    limiter.acquire(1080, RequestClass.PROTECTIVE)
    outcome = send(sender)
    assert isinstance(outcome, NotSent)
    assert "no budget for a entry request" in outcome.why
    assert server.requests == []
    assert sender.sign_and_post(STOP, 18, None, request_class=RequestClass.PROTECTIVE) == TAKEN
    assert limiter.used() == 1081
    assert [action_weight(count) for count in (1, 39, 40, 79, 80, 200)] == [1, 1, 2, 2, 3, 6]


def test_a_kill_stops_what_adds_exposure_and_nothing_else(server: Server, sender: Sender, tmp_path: Path) -> None:
    """I6, at the last place before the wire: any file of that name is a kill."""
    (tmp_path / "KILL").touch()
    outcome = send(sender)
    assert isinstance(outcome, NotSent)
    assert outcome.why.startswith("killed: ")
    assert server.requests == []
    assert send(sender, STOP) == TAKEN
    server.behaviour = reply(b'{"status":"ok","response":{"type":"cancel","data":{"statuses":["success"]}}}')
    assert isinstance(send(sender, wire.cancel_by_cloid_action([(0, CLOID)])), Accepted)
    (tmp_path / "KILL").unlink()
    server.behaviour = reply(RESTING)
    assert send(sender) == TAKEN
