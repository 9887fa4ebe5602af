"""The socket: acknowledgements, errors, hanging up, posts and limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast

import pytest
import websocket
from aiohttp import web
from practice_socket import Socket, candle_rows

from perp_bot.practice.server.hub import Connection
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.settings import Cadence, Limits, Settings
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]
USER = "0x" + "Cd" * 20


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({"type": "l2Book", "coin": "BTC"},
         {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}),
        ({"type": "l2Book", "coin": "ETH", "nSigFigs": 5, "mantissa": 5, "fast": True},
         {"type": "l2Book", "coin": "ETH", "nSigFigs": 5, "mantissa": 5, "fast": True}),
        ({"type": "candle", "coin": "BTC", "interval": "1M"}, {"type": "candle", "coin": "BTC", "interval": "1M"}),
        ({"type": "userFills", "user": USER}, {"type": "userFills", "user": USER.lower()}),
    ],
)  # fmt: skip
def test_a_subscription_is_acknowledged_with_its_defaults(
    shared: PracticeServer, connect: Connect, asked: dict[str, object], shown: dict[str, object]
) -> None:
    """subscriptionResponse repeats the subscription with every default filled in."""
    acknowledged = connect(shared).subscribe(**asked)
    assert acknowledged == {"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": shown}}


def test_ping_is_answered(shared: PracticeServer, connect: Connect) -> None:
    """{"method": "ping"} answers {"channel": "pong"}."""
    socket = connect(shared)
    socket.send({"method": "ping"})
    assert socket.read() == {"channel": "pong"}


@pytest.mark.parametrize(
    "text",
    ["not json", "[]", '{"method":"fly"}', '{"method":"subscribe","subscription":{"type":"nope"}}',
     '{"method":"subscribe","subscription":{"type":"candle","coin":"BTC","interval":"7m"}}',
     '{"method":"subscribe","subscription":{"type":"l2Book","coin":["BTC","ETH"]}}'],
)  # fmt: skip
def test_what_is_not_understood_is_an_error_and_harms_nobody(
    shared: PracticeServer, connect: Connect, text: str
) -> None:
    """The venue's error text repeats the frame; the socket stays open."""
    socket = connect(shared)
    socket.ws.send(text)
    assert socket.read() == {"channel": "error", "data": f"Error parsing JSON into valid websocket request: {text}"}
    socket.send({"method": "ping"})
    assert socket.read() == {"channel": "pong"}


def test_subscribing_twice_and_unsubscribing_nothing_are_errors(shared: PracticeServer, connect: Connect) -> None:
    """`Already subscribed: ...` and `Already unsubscribed: ...`; an unsubscription is acknowledged."""
    socket = connect(shared)
    socket.subscribe(type="trades", coin="BTC")
    socket.send({"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}})
    assert socket.read() == {"channel": "error", "data": 'Already subscribed: {"type":"trades","coin":"BTC"}'}
    socket.send({"method": "unsubscribe", "subscription": {"type": "trades", "coin": "BTC"}})
    assert socket.read()["data"]["method"] == "unsubscribe"
    socket.send({"method": "unsubscribe", "subscription": {"type": "trades", "coin": "BTC"}})
    assert socket.read() == {"channel": "error", "data": 'Already unsubscribed: {"type":"trades","coin":"BTC"}'}


@pytest.mark.parametrize(
    "subscription",
    [
        {"type": "trades", "coin": "NOPE"},
        {"type": "bbo", "coin": "btc"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
    ],
)
def test_an_unknown_coin_ends_the_socket_without_a_close_frame(
    shared: PracticeServer, connect: Connect, subscription: dict[str, object]
) -> None:
    """Unknown coin, wrong case, nSigFigs 6: the venue hangs up (1006), every other stream dies with it."""
    socket = connect(shared)
    socket.subscribe(type="trades", coin="BTC")
    socket.send({"method": "subscribe", "subscription": subscription})
    assert socket.ended()


@pytest.mark.slow
def test_a_socket_on_which_the_venue_says_nothing_is_closed(connect: Connect) -> None:
    """The idle limit counts what the server sends; a pong starts it anew (60 s on the venue, short here)."""
    with PracticeServer(speed=None, limits=Limits(idle_close_s=0.5)) as venue:
        kept, quiet = connect(venue), connect(venue)
        quiet.ws.settimeout(0.1)
        for _ in range(100):
            kept.send({"method": "ping"})
            assert kept.read() == {"channel": "pong"}
            try:
                quiet.ws.recv_data()
            except websocket.WebSocketTimeoutException:
                continue
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                break
        else:
            raise AssertionError("the quiet socket was never closed")
        kept.send({"method": "ping"})
        assert kept.read() == {"channel": "pong"}


def test_posts_answer_info_over_the_socket(shared: PracticeServer, connect: Connect) -> None:
    """A post of type info answers like REST, with data null for an unknown coin and an error payload for nonsense."""
    socket = connect(shared)
    socket.send({"method": "post", "id": 7, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "BTC"}}})
    reply = socket.read()
    assert reply["channel"] == "post"
    assert reply["data"]["id"] == 7
    assert reply["data"]["response"]["payload"]["type"] == "l2Book"
    assert len(reply["data"]["response"]["payload"]["data"]["levels"][0]) == 20
    socket.send({"method": "post", "id": 8, "request": {"type": "info", "payload": {"type": "l2Book", "coin": "NO"}}})
    assert socket.read()["data"] == {"id": 8, "response": {"type": "info", "payload": {"type": "l2Book", "data": None}}}
    socket.send({"method": "post", "id": 9, "request": {"type": "info", "payload": {"type": "what"}}})
    assert socket.read()["data"]["response"]["type"] == "error"


def test_an_eleventh_connection_is_refused(connect: Connect) -> None:
    """Ten connections per IP."""
    with PracticeServer(speed=None) as venue:
        sockets = [connect(venue) for _ in range(10)]
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            connect(venue)
        assert refused.value.status_code == 429
        assert len(sockets) == venue.connections


def test_new_connections_are_limited_per_minute(connect: Connect) -> None:
    """So many new connections a minute (30 on the venue, 3 here)."""
    with PracticeServer(speed=None, limits=Limits(new_connections_per_minute=3)) as venue:
        for _ in range(3):
            connect(venue).close()
        with pytest.raises(websocket.WebSocketBadStatusException):
            connect(venue)


def test_subscriptions_and_messages_are_limited(connect: Connect) -> None:
    """Too many subscriptions are an error, too many messages a minute end the socket."""
    with PracticeServer(speed=None, limits=Limits(subscriptions=2, messages_per_minute=5)) as venue:
        socket = connect(venue)
        socket.subscribe(type="trades", coin="BTC")
        socket.subscribe(type="trades", coin="ETH")
        socket.send({"method": "subscribe", "subscription": {"type": "trades", "coin": "SOL"}})
        assert socket.read()["channel"] == "error"
        for _ in range(4):
            socket.ws.send('{"method":"ping"}')
        assert socket.ended()


def test_no_compression_is_offered(shared: PracticeServer) -> None:
    """The venue does not speak permessage-deflate, even when asked."""
    socket = websocket.create_connection(
        shared.ws_url, timeout=5, header=["Sec-WebSocket-Extensions: permessage-deflate"]
    )
    try:
        assert "sec-websocket-extensions" not in {name.lower() for name in socket.getheaders() or {}}
    finally:
        socket.close()


class StuckSocket:
    """A socket whose reader does not read: sending never ends until it is let go."""

    def __init__(self) -> None:
        self.closed = False
        self.reads = asyncio.Event()
        self.taken: list[str] = []
        self.has_three = asyncio.Event()

    async def send_str(self, text: str) -> None:
        await self.reads.wait()
        self.taken.append(text)
        if len(self.taken) == 3:
            self.has_three.set()


@pytest.mark.slow
async def test_a_reader_that_does_not_read_is_waited_for_once() -> None:
    """A step waits for a stuck reader up to its deadline, then no more until it has caught up; nothing is lost."""
    stuck = StuckSocket()
    venue = Venue(Settings(speed=None))
    connection = Connection(venue, cast(web.WebSocketResponse, stuck), None, "127.0.0.1")
    writer = asyncio.create_task(connection.write())
    for number in range(3):
        connection.send("trades", str(number))
    await connection.written(0.1)
    assert connection.unwritten == 3
    waits = [asyncio.create_task(connection.written(1_000.0)) for _ in range(2)]
    await asyncio.wait_for(asyncio.gather(*waits), 5)
    stuck.reads.set()
    await asyncio.wait_for(stuck.has_three.wait(), 5)
    assert stuck.taken == ["0", "1", "2"]
    connection.send("trades", "3")
    await connection.written(5.0)
    assert stuck.taken[-1] == "3"
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


@pytest.mark.slow
def test_a_running_clock_publishes_without_being_asked(connect: Connect) -> None:
    """At speed N: state at once, then trades without a gap or repeat, every candle closed once, clock frames."""
    cadence = Cadence(tick_wall_ms=20, clock_wall_ms=50)
    with PracticeServer(speed=300.0, cadence=cadence) as venue:
        socket = connect(venue)
        for subscription in (
            {"type": "l2Book", "coin": "BTC", "fast": True},
            {"type": "bbo", "coin": "BTC"},
            {"type": "activeAssetCtx", "coin": "BTC"},
            {"type": "allMids"},
            {"type": "candle", "coin": "BTC", "interval": "1m"},
            {"type": "trades", "coin": "BTC"},
            {"type": "practiceClock"},
        ):
            socket.send({"method": "subscribe", "subscription": subscription})
        frames = []
        closed: list[int] = []
        while len(closed) < 6:
            frame = socket.read()
            frames.append(frame)
            if frame["channel"] == "candle":
                opened = frame["data"]["t"]
                if not closed or opened > closed[-1]:
                    closed.append(opened)
        ticks = [trade for frame in frames if frame["channel"] == "trades" for trade in frame["data"]]
        rows = candle_rows(venue, "BTC", "1m", closed[0], closed[-1])
        assert closed == list(range(closed[0], closed[0] + 6 * 60_000, 60_000))
        finals = {frame["data"]["t"]: frame["data"] for frame in frames if frame["channel"] == "candle"}
        assert [finals[row["t"]] for row in rows[:-1]] == rows[:-1]
        keys = [(trade["time"], trade["tid"]) for trade in ticks]
        assert len(set(keys)) == len(keys)
        assert keys == sorted(keys, key=lambda key: key[0])
        for row in rows[1:-1]:
            inside = [trade for trade in ticks if row["t"] <= trade["time"] <= row["T"]]
            assert len(inside) == row["n"]
        channels = {frame["channel"] for frame in frames}
        assert channels >= {"l2Book", "bbo", "activeAssetCtx", "allMids", "candle", "trades", "practiceClock"}
        book = next(frame for frame in frames if frame["channel"] == "l2Book")
        assert [len(side) for side in book["data"]["levels"]] == [5, 5]
        times = [frame["data"]["time"] for frame in frames if frame["channel"] == "practiceClock"]
        assert times == sorted(times)


def test_the_first_trades_frame_is_from_before_the_subscription(connect: Connect) -> None:
    """A running venue answers a trades subscription with trades that have already happened."""
    with PracticeServer(speed=1.0) as venue:
        socket = connect(venue)
        socket.subscribe(type="trades", coin="ETH")
        frame = socket.until("trades")[-1]
        assert len(frame["data"]) == 30
        assert all(trade["time"] <= venue.now_ms for trade in frame["data"])


def test_the_practice_clock_is_told_to_nobody_who_did_not_ask(stepped: PracticeServer, connect: Connect) -> None:
    """A socket without the clock subscription, the SDK's, never sees its frames."""
    socket = connect(stepped)
    socket.subscribe(type="allMids")
    stepped.step("5m")
    socket.send({"method": "ping"})
    channels = [frame["channel"] for frame in socket.until("pong")]
    assert channels == ["allMids"] * 5 + ["pong"]
    assert json.dumps(channels)  # frames were decodable JSON throughout
