"""Channels of a user: what begins with a snapshot and what does not, what actions and steps tell, how many users."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from practice_socket import Socket
from signed_rig import ACCOUNTS, PLENTY, STRANGER, USER, act, info, order, orders, px_at

from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.practice.settings import Cadence
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]
GROUP = ("orderUpdates", "userEvents", "userFills", "userFundings", "userNonFundingLedgerUpdates")
STATES = ("clearinghouseState", "openOrders", "webData2", "webData3", "activeAssetData")


@pytest.fixture
def venue() -> Any:
    """A stepped, strict venue of one funded master."""
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS) as serving:
        yield serving


def listen(socket: Socket, *kinds: str, user: str = USER) -> list[dict[str, Any]]:
    """Subscribe to channels of a user and return what they begin with."""
    begun: list[dict[str, Any]] = []
    for kind in kinds:
        more = {"coin": "BTC"} if kind == "activeAssetData" else {}
        socket.send({"method": "subscribe", "subscription": {"type": kind, "user": user, **more}})
        begun += socket.until("subscriptionResponse")[:-1]
    socket.send({"method": "ping"})
    return begun + socket.until("pong")[:-1]


def told(socket: Socket) -> list[dict[str, Any]]:
    """Return what has been sent so far."""
    socket.send({"method": "ping"})
    return socket.until("pong")[:-1]


def of(frames: list[dict[str, Any]], channel: str) -> list[Any]:
    return [frame["data"] for frame in frames if frame["channel"] == channel]


def test_only_rows_and_states_begin_with_what_was(venue: PracticeServer, connect: Connect) -> None:
    """orderUpdates and userEvents send nothing upon subscription, the others a snapshot or their state."""
    act(venue, orders(order(px_at(venue, 1.02), tif="Ioc"), order(px_at(venue, 0.9))))
    begun = listen(connect(venue), *GROUP, "notification", *STATES)
    assert {frame["channel"] for frame in begun} == {
        "userFills",
        "userFundings",
        "userNonFundingLedgerUpdates",
        *STATES,
    }
    assert all(of(begun, kind)[0]["isSnapshot"] is True for kind in GROUP[2:])
    assert all(of(begun, kind)[0]["user"] == USER for kind in GROUP[2:])
    assert [row["dir"] for row in of(begun, "userFills")[0]["fills"]] == ["Open Long"] * len(
        of(begun, "userFills")[0]["fills"]
    )
    assert of(begun, "userNonFundingLedgerUpdates")[0]["nonFundingLedgerUpdates"][0]["delta"]["type"] == "deposit"
    assert len(of(begun, "openOrders")[0]["orders"]) == 1
    held = of(begun, "clearinghouseState")[0]["clearinghouseState"]
    assert held["assetPositions"][0]["position"]["szi"] == "0.01"
    assert of(begun, "webData2")[0]["user"] == USER
    assert of(begun, "webData3")[0]["userState"]["user"] == USER
    assert of(begun, "activeAssetData")[0]["coin"] == "BTC"


def test_after_a_reconnect_nothing_of_before_is_told_again(venue: PracticeServer, connect: Connect) -> None:
    """What was missed on orderUpdates and userEvents is never repeated: it has to be read over REST."""
    first = connect(venue)
    assert listen(first, "orderUpdates", "userEvents") == []
    act(venue, orders(order(px_at(venue, 1.02), tif="Ioc")))
    assert {frame["channel"] for frame in told(first)} == {"orderUpdates", "user"}
    first.send({"method": "unsubscribe", "subscription": {"type": "orderUpdates", "user": USER}})
    first.until("subscriptionResponse")
    assert listen(first, "orderUpdates") == []
    assert listen(connect(venue), "orderUpdates", "userEvents") == []


def test_a_fill_is_told_on_every_channel_that_concerns_it(venue: PracticeServer, connect: Connect) -> None:
    """One trade: the order's end, the event, the fill; then the states that it changed."""
    socket = connect(venue)
    listen(socket, *GROUP, "clearinghouseState", "openOrders")
    reply = act(venue, orders(order(px_at(venue, 1.02), tif="Ioc")))
    oid = reply["response"]["data"]["statuses"][0]["filled"]["oid"]
    frames = told(socket)
    updates = [row for rows in of(frames, "orderUpdates") for row in rows]
    assert [(row["order"]["oid"], row["status"]) for row in updates][-1] == (oid, "filled")
    assert set(updates[-1]["order"]) <= {
        "coin",
        "side",
        "limitPx",
        "sz",
        "oid",
        "timestamp",
        "origSz",
        "cloid",
        "reduceOnly",
    }
    events = [row for data in of(frames, "user") for row in data.get("fills", [])]
    fills = [row for data in of(frames, "userFills") for row in data["fills"]]
    assert events == fills
    assert {row["oid"] for row in fills} == {oid}
    assert "isSnapshot" not in of(frames, "userFills")[0]
    held = of(frames, "clearinghouseState")[-1]["clearinghouseState"]["assetPositions"]
    assert held[0]["position"]["szi"] == "0.01"
    channels = [frame["channel"] for frame in frames]
    assert channels.index("clearinghouseState") > channels.index("userFills")


def test_a_resting_order_and_its_cancel_are_told(venue: PracticeServer, connect: Connect) -> None:
    """open, then canceled, each in its own frame."""
    socket = connect(venue)
    listen(socket, "orderUpdates", "openOrders")
    reply = act(venue, orders(order(px_at(venue, 0.9), c="0x" + "5" * 32)))
    oid = reply["response"]["data"]["statuses"][0]["resting"]["oid"]
    act(venue, {"type": "cancel", "cancels": [{"a": 0, "o": oid}]})
    frames = told(socket)
    rows = [row for data in of(frames, "orderUpdates") for row in data]
    assert [(row["order"]["oid"], row["status"], row["order"]["cloid"]) for row in rows] == [
        (oid, "open", "0x" + "5" * 32),
        (oid, "canceled", "0x" + "5" * 32),
    ]
    assert [len(data["orders"]) for data in of(frames, "openOrders")] == [1, 0]


def test_another_users_channels_hear_nothing(venue: PracticeServer, connect: Connect) -> None:
    """A frame goes to those who listen to its user."""
    socket = connect(venue)
    listen(socket, *GROUP, user=STRANGER.address)
    act(venue, orders(order(px_at(venue, 1.02), tif="Ioc")))
    assert told(socket) == []


def test_a_change_without_an_event_is_told_by_the_states(venue: PracticeServer, connect: Connect) -> None:
    """A leverage changes what can be traded: activeAssetData says so at once."""
    socket = connect(venue)
    listen(socket, "activeAssetData")
    act(venue, {"type": "updateLeverage", "asset": 0, "isCross": False, "leverage": 3})
    assert of(told(socket), "activeAssetData")[-1]["leverage"]["value"] == 3


def test_a_step_tells_accounts_before_its_clock(venue: PracticeServer, connect: Connect) -> None:
    """What happens to orders in a minute comes with that minute, in time order, after the market's frames."""
    socket = connect(venue)
    listen(socket, "orderUpdates", "userFills", "clearinghouseState")
    socket.subscribe(type="trades", coin="BTC")
    socket.subscribe(type="practiceClock")
    socket.until("practiceClock")
    for share in (0.9995, 0.9998, 1.0002, 1.0005):
        act(venue, orders(order(px_at(venue, share), is_buy=share < 1)))
    told(socket)
    fills: list[dict[str, Any]] = []
    for _ in range(30):
        start = venue.now_ms
        venue.step("1m")
        frames = socket.until("practiceClock")
        channels = [frame["channel"] for frame in frames]
        assert channels[-1] == "practiceClock"
        ranks = [
            ("trades", "orderUpdates", "userFills", "clearinghouseState", "practiceClock").index(c) for c in channels
        ]
        assert ranks[0] == 0
        assert "clearinghouseState" in channels
        assert all(rank > 0 for rank in ranks[channels.count("trades") :])
        rows = [row for data in of(frames, "userFills") for row in data["fills"]]
        assert all(start < row["time"] <= start + MINUTE_MS for row in rows)
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
        fills += rows
    assert fills, "four orders around the price and thirty minutes without a fill"


@pytest.mark.slow
def test_states_come_every_few_seconds() -> None:
    """On a running venue they are repeated although nothing changes."""
    with PracticeServer(speed=40, limits=PLENTY, accounts=ACCOUNTS, cadence=Cadence(tick_wall_ms=20)) as running:
        socket = Socket(running.ws_url)
        try:
            listen(socket, "clearinghouseState")
            times = [socket.until("clearinghouseState")[-1]["data"]["clearinghouseState"]["time"] for _ in range(4)]
        finally:
            socket.close()
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]  # the first came with the subscription
    assert all(3_000 < gap < 60_000 for gap in gaps), gaps


def test_ten_users_can_be_followed(venue: PracticeServer, connect: Connect) -> None:
    """Over all connections of an IP; the eleventh is refused, one that is followed already is not."""
    one, other = connect(venue), connect(venue)
    people = [f"0x{number:040x}" for number in range(1, 12)]
    for number, user in enumerate(people[:10]):
        listen((one, other)[number % 2], "orderUpdates", user=user)
    other.send({"method": "subscribe", "subscription": {"type": "userFills", "user": people[10]}})
    assert other.read() == {"channel": "error", "data": "Cannot track more than 10 total users."}
    other.subscribe(type="userEvents", user=people[0])
    one.send({"method": "unsubscribe", "subscription": {"type": "orderUpdates", "user": people[0]}})
    one.until("subscriptionResponse")
    other.send({"method": "unsubscribe", "subscription": {"type": "userEvents", "user": people[0]}})
    other.until("subscriptionResponse")
    other.subscribe(type="userFills", user=people[10])


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "userFills"},
        {"type": "orderUpdates", "user": "0x12"},
        {"type": "userFills", "user": USER, "aggregateByTime": 1},
        {"type": "activeAssetData", "user": USER},
    ],
)
def test_a_wrong_subscription_to_a_user_is_refused(
    venue: PracticeServer, connect: Connect, wanted: dict[str, Any]
) -> None:
    """An error frame; the socket stays open."""
    socket = connect(venue)
    socket.send({"method": "subscribe", "subscription": wanted})
    assert socket.read()["channel"] == "error"
    assert told(socket) == []


def test_user_frames_can_be_lost_doubled_and_reordered(venue: PracticeServer, connect: Connect) -> None:
    """The faults of the stream strike user channels by their subscription's name; others go on."""
    socket = connect(venue)
    listen(socket, "orderUpdates", "userFills")
    cross = orders(order(px_at(venue, 1.02), tif="Ioc"))
    counts = {}
    for name, change in {
        "drop": {"drop": {"amount": 1.0, "on": ["orderUpdates"]}},
        "duplicate": {"duplicate": {"amount": 1.0, "on": ["userFills"]}},
    }.items():
        venue.set_faults(clear=True, **change)
        act(venue, cross)
        frames = told(socket)
        counts[name] = (len(of(frames, "orderUpdates")) > 0, len(of(frames, "userFills")))
    assert counts == {"drop": (False, 1), "duplicate": (True, 2)}
    only_fills = connect(venue)
    listen(only_fills, "userFills")
    venue.set_faults(clear=True, reorder={"amount": 1.0, "on": ["userFills"]})
    act(venue, cross)
    act(venue, cross)
    received = [data["fills"][0]["oid"] for data in of(told(only_fills), "userFills")]
    newest_first = list(dict.fromkeys(row["oid"] for row in info(venue, "userFills", user=USER)))
    assert received == newest_first[:2]
