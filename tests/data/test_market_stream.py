"""The stream's connection: subscribe, ping, silence, reconnect, stop."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from fake_venue import FakeVenue
from market_fakes import wait_for

from perp_bot.data.ws_client import MarketStream, StreamListener, StreamTimings

# Many knocks a second on purpose, also while a slow machine starts the next venue: no limit a minute.
QUICK = StreamTimings(
    ping_every_s=0.3,
    silent_after_s=0.6,
    backoff_first_s=0.05,
    backoff_max_s=0.1,
    watch_every_s=0.1,
    max_connects_a_minute=100_000,
)
SUBSCRIPTIONS = [{"type": "trades", "coin": "BTC"}, {"type": "l2Book", "coin": "BTC"}]


class Listener(StreamListener):
    """Keep what the connection tells."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.events: list[str] = []
        self.outages: list[float | None] = []
        self.stale: str | None = None

    def on_message(self, payload: memoryview) -> None:
        self.messages.append(bytes(payload))
        if bytes(payload) == b'"poison"':
            raise RuntimeError("cannot take it")

    def on_connected(self, outage_s: float | None, subscriptions: int) -> None:
        self.events.append(f"up {subscriptions}")
        self.outages.append(outage_s)

    def on_disconnected(self, reason: str) -> None:
        self.events.append(f"down: {reason}")

    def why_stale(self) -> str | None:
        found, self.stale = self.stale, None
        return found


@pytest.fixture
def fake() -> Iterator[FakeVenue]:
    with FakeVenue() as venue:
        yield venue


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def stream(fake: FakeVenue, listener: Listener) -> Iterator[MarketStream]:
    found = MarketStream(fake.ws_url, SUBSCRIPTIONS, listener, timings=QUICK)
    yield found
    assert found.stop(2.0)
    assert not found.is_alive


def test_everything_is_subscribed_in_order_and_messages_arrive_as_bytes(
    fake: FakeVenue, stream: MarketStream, listener: Listener
) -> None:
    """One subscription a frame, in the order given (the practice clock has to be last)."""
    stream.start()
    wait_for(lambda: len(fake.subscriptions()) == 2)
    assert fake.subscriptions() == SUBSCRIPTIONS
    fake.push('{"x":"é"}')
    wait_for(lambda: '{"x":"é"}'.encode() in listener.messages)
    assert listener.events == ["up 2"]
    assert stream.is_connected


def test_it_pings_while_nothing_happens_and_the_pong_keeps_it_alive(fake: FakeVenue, stream: MarketStream) -> None:
    """The venue closes a socket on which it sent nothing for 60 s; a pong counts."""
    stream.start()
    wait_for(lambda: sum(frame == {"method": "ping"} for frame in fake.received) >= 4)
    assert fake.connections == 1


def test_a_silent_socket_is_dropped_and_made_anew(fake: FakeVenue, stream: MarketStream, listener: Listener) -> None:
    """Open but dead: nothing received, not even a pong; everything is subscribed again."""
    fake.answer_pings = False
    stream.start()
    wait_for(lambda: fake.connections >= 2)
    assert listener.events[1].startswith("down: nothing received for 0.")
    wait_for(lambda: len(fake.subscriptions()) >= 4)


def test_a_cut_connection_comes_back_and_says_how_long_it_was_away(
    fake: FakeVenue, stream: MarketStream, listener: Listener
) -> None:
    """The venue cuts without a close frame; the first connection has no outage, the second has."""
    stream.start()
    wait_for(lambda: len(fake.subscriptions()) == 2)
    fake.close_sockets()
    wait_for(lambda: len(fake.subscriptions()) == 4)
    wait_for(lambda: len(listener.outages) == 2)
    assert listener.outages[0] is None
    assert listener.outages[1] is not None
    assert listener.outages[1] > 0
    assert stream.reconnects == 1


def test_a_stale_stream_is_made_anew_on_the_listeners_word(
    fake: FakeVenue, stream: MarketStream, listener: Listener
) -> None:
    """The socket answers pings but brings no data: only who reads the data can know."""
    stream.start()
    wait_for(lambda: fake.connections == 1)
    listener.stale = "no market data for 60 s though the socket answers"
    wait_for(lambda: fake.connections == 2)
    assert listener.events[1] == "down: no market data for 60 s though the socket answers"


def test_a_message_that_our_code_cannot_take_costs_that_message_only(
    fake: FakeVenue, stream: MarketStream, listener: Listener
) -> None:
    """A bug in a handler is counted and logged; the stream goes on."""
    stream.start()
    wait_for(lambda: stream.is_connected)
    wait_for(lambda: len(fake.subscriptions()) == 2)
    fake.push('"poison"', '"good"')
    wait_for(lambda: b'"good"' in listener.messages)
    assert stream.handler_errors == 1
    assert fake.connections == 1


def test_it_keeps_trying_while_nobody_answers_and_finds_the_venue_when_it_is_back(
    fake: FakeVenue, stream: MarketStream
) -> None:
    """A refused handshake is an outage like any other."""
    fake.accept_sockets = False
    stream.start()
    wait_for(lambda: stream.last_error is not None)
    assert "503" in (stream.last_error or "")
    fake.accept_sockets = True
    wait_for(lambda: stream.is_connected)


def test_no_more_connections_a_minute_than_allowed(fake: FakeVenue, listener: Listener) -> None:
    """The venue allows 30 new connections a minute and address; beyond it we wait, however eager the backoff."""
    timings = StreamTimings(backoff_first_s=0.001, backoff_max_s=0.002, max_connects_a_minute=3)
    fake.accept_sockets = False
    stream = MarketStream(fake.ws_url, SUBSCRIPTIONS, listener, timings=timings)
    stream.start()
    wait_for(lambda: len(stream._connects) == 3)
    assert not _happens(lambda: len(stream._connects) > 3, within_s=0.2)
    assert stream.stop(2.0)


def _happens(condition: object, within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def test_stopping_ends_a_handshake_that_never_completes(listener: Listener) -> None:
    """A server that accepts and says nothing must not hold up the end of the process."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        timings = StreamTimings(connect_timeout_s=30.0)
        stream = MarketStream(f"ws://127.0.0.1:{server.getsockname()[1]}/ws", [], listener, timings=timings)
        stream.start()
        accepted, _ = server.accept()
        assert accepted.recv(3) == b"GET"
        assert stream.stop(2.0)
        accepted.close()
    assert listener.events == []


def test_stopping_ends_a_connect_that_never_completes(listener: Listener) -> None:
    """A full backlog leaves connect waiting, as a black-holed address does."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        blockers = []
        for _ in range(4):  # fill the backlog
            blocker = socket.socket()
            blocker.setblocking(False)
            blocker.connect_ex(("127.0.0.1", port))
            blockers.append(blocker)
        stream = MarketStream(f"ws://127.0.0.1:{port}/ws", [], listener, timings=StreamTimings(connect_timeout_s=30.0))
        stream.start()
        assert stream.stop(2.0)
        for blocker in blockers:
            blocker.close()


def test_stopping_before_the_start_is_harmless(listener: Listener) -> None:
    """Whatever happened during start-up, the end is clean."""
    stream = MarketStream("ws://127.0.0.1:1/ws", [], listener)
    assert stream.stop(2.0)
    assert "perpbot-market-stream" not in [thread.name for thread in threading.enumerate()]
