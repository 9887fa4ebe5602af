"""Faults of the exchange: each alone, several together, on request and from a file."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hyperliquid.exchange import Exchange
from practice_socket import Socket
from signed_rig import ACCOUNTS, MASTER, PLENTY, STRANGER, USER, act, info, order, orders, post, px_at, signed

from perp_bot.core.errors import UsageError
from perp_bot.practice.app import serve
from perp_bot.practice.fault_script import FaultScript
from perp_bot.practice.faults import Faults
from perp_bot.practice.latency import Latency
from perp_bot.practice.settings import Cadence
from perp_bot.practice.thread import PracticeServer

Connect = Callable[[PracticeServer], Socket]
NOOP = {"type": "noop"}
OK = {"status": "ok", "response": {"type": "default"}}


@pytest.fixture
def venue() -> Iterator[PracticeServer]:
    """A stepped, strict venue of one funded master."""
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS) as serving:
        yield serving


def resting(venue: PracticeServer) -> list[int]:
    return [row["oid"] for row in info(venue, "openOrders", user=USER)]


def far(venue: PracticeServer, **more: Any) -> dict[str, Any]:
    """Return an order that rests."""
    return order(px_at(venue, 0.9), **more)


# ------------------------------------------------------------ answers


def test_an_order_can_be_accepted_and_its_answer_lost(venue: PracticeServer) -> None:
    """The connection is cut after the order was placed: the client knows nothing, the venue has it."""
    venue.set_faults(lost_answer={"times": 1, "on": ["order"]})
    assert act(venue, NOOP) == OK
    body = signed(orders(far(venue, c="0x" + "7" * 32)))
    with pytest.raises(requests.ConnectionError):
        post(venue, body)
    found = info(venue, "orderStatus", user=USER, oid="0x" + "7" * 32)
    assert found["order"]["status"] == "open"
    assert "duplicate nonce" in post(venue, body).json()["response"]
    assert act(venue, orders(far(venue)))["status"] == "ok"


@pytest.mark.parametrize(("shape", "status", "start"), [("status_502", 502, "<html>"), ("html", 200, "<html>")])
def test_a_lost_answer_can_be_a_gateways(venue: PracticeServer, shape: str, status: int, start: str) -> None:
    """A 502 or a page although the order was placed."""
    venue.set_faults(lost_answer={"as": shape, "times": 1})
    answer = post(venue, signed(orders(far(venue))))
    assert (answer.status_code, answer.text[:6]) == (status, start)
    assert len(resting(venue)) == 1


@pytest.mark.slow
def test_an_answer_can_come_after_the_clients_patience(venue: PracticeServer) -> None:
    """late_answer_ms: the order is placed at once, the answer is not waited for."""
    body = signed(orders(far(venue)))
    venue.set_faults(late_answer_ms={"amount": 2_000, "times": 1})
    with pytest.raises(requests.ReadTimeout):
        post(venue, body, timeout=0.3)
    assert len(resting(venue)) == 1
    assert act(venue, NOOP) == OK


@pytest.mark.slow
def test_a_request_can_be_held_back_before_it_is_looked_at(venue: PracticeServer) -> None:
    """delay_ms on the exchange: the client gives up, and the order is placed only afterwards."""
    body = signed(orders(far(venue)))
    venue.set_faults(delay_ms={"amount": 600, "on": ["order"], "times": 1})
    with pytest.raises(requests.ReadTimeout):
        post(venue, body, timeout=0.2)
    assert resting(venue) == []
    ends = time.monotonic() + 5
    while not resting(venue) and time.monotonic() < ends:
        time.sleep(0.02)
    assert len(resting(venue)) == 1


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [("status_429", 429, "null"), ("status_502", 502, "<html>"), ("null_500", 500, "null"), ("html", 200, "<html>")],
)
def test_false_answers_reach_the_exchange(venue: PracticeServer, fault: str, status: int, start: str) -> None:
    """Nothing is carried out, and the nonce is still good; `on` limits them to one action."""
    body = signed(orders(far(venue)))
    venue.set_faults(**{fault: True})
    answer = post(venue, body)
    assert (answer.status_code, answer.text[: len(start)]) == (status, start)
    venue.set_faults(clear=True, **{fault: {"on": ["cancel"]}})
    assert resting(venue) == []
    assert post(venue, body).json()["status"] == "ok"
    assert post(venue, signed({"type": "cancel", "cancels": [{"a": 0, "o": 1}]})).status_code == status
    venue.set_faults(clear=True, **{fault: {"on": ["exchange"]}})
    assert info(venue, "allMids")
    assert post(venue, signed(NOOP)).status_code == status


def test_the_socket_loses_answers_too(venue: PracticeServer, connect: Connect) -> None:
    """A lost answer to a posted action cuts the socket; a false one is an error payload."""
    socket = connect(venue)
    venue.set_faults(status_502={"on": ["exchange"]})
    socket.send({"method": "post", "id": 1, "request": {"type": "action", "payload": signed(NOOP)}})
    assert socket.until("post")[-1]["data"]["response"]["type"] == "error"
    venue.set_faults(clear=True, lost_answer=True)
    payload = signed(orders(far(venue)))
    socket.send({"method": "post", "id": 2, "request": {"type": "action", "payload": payload}})
    assert socket.ended()
    assert len(resting(venue)) == 1


@pytest.mark.slow
def test_a_late_answer_does_not_hold_up_its_socket(venue: PracticeServer, connect: Connect) -> None:
    """A ping is answered while an action's answer is held back."""
    socket = connect(venue)
    venue.set_faults(late_answer_ms={"amount": 400, "times": 1})
    socket.send({"method": "post", "id": 1, "request": {"type": "action", "payload": signed(NOOP)}})
    socket.send({"method": "ping"})
    assert [socket.read()["channel"] for _ in range(2)] == ["pong", "post"]


# ------------------------------------------------------------ single entries


def test_single_orders_of_a_batch_can_be_refused(venue: PracticeServer) -> None:
    """The first `count` get the text with their asset, in their place; the others are carried out."""
    venue.set_faults(order_error={"text": "Insufficient margin to place order.", "count": 1, "times": 1})
    reply = act(venue, orders(far(venue), far(venue), order(px_at(venue, 1.02), tif="Ioc")))
    found = reply["response"]["data"]["statuses"]
    assert found[0] == {"error": "Insufficient margin to place order. asset=0"}
    assert [next(iter(one)) for one in found] == ["error", "resting", "filled"]
    assert resting(venue) == [found[1]["resting"]["oid"]]
    assert len(act(venue, orders(far(venue)))["response"]["data"]["statuses"][0]["resting"]) >= 1


def test_refused_orders_can_be_of_one_coin(venue: PracticeServer) -> None:
    """`coin` says which; cancels are struck when `on` names them."""
    venue.set_faults(order_error={"text": "Order price too far from oracle", "coin": "ETH"})
    eth_px = str(round(float(info(venue, "allMids")["ETH"]) * 0.9))
    eth = {"a": 1, "b": True, "p": eth_px, "s": "0.1", "r": False, "t": {"limit": {"tif": "Gtc"}}}
    found = act(venue, orders(eth, far(venue), eth))["response"]["data"]["statuses"]
    assert [one.get("error") for one in found] == [
        "Order price too far from oracle asset=1",
        None,
        "Order price too far from oracle asset=1",
    ]
    venue.set_faults(clear=True, order_error={"text": "no", "on": ["cancel"]})
    reply = act(venue, {"type": "cancel", "cancels": [{"a": 0, "o": resting(venue)[0]}]})
    assert reply == {"status": "ok", "response": {"type": "cancel", "data": {"statuses": [{"error": "no asset=0"}]}}}
    assert len(resting(venue)) == 1


def test_a_refused_parent_takes_its_children_along(venue: PracticeServer) -> None:
    """Of a group with stop and target nothing is placed."""
    venue.set_faults(order_error={"count": 1})
    stop = {**far(venue), "b": False, "r": True}
    stop["t"] = {"trigger": {"isMarket": True, "triggerPx": px_at(venue, 0.8), "tpsl": "sl"}}
    found = act(venue, orders(far(venue), stop, grouping="normalTpsl"))["response"]["data"]["statuses"]
    assert len(found) == 2
    assert all("error" in one for one in found)
    assert resting(venue) == []


@pytest.mark.parametrize(("form", "told"), [("low", "too low"), ("high", "too high"), ("duplicate", "duplicate nonce")])
def test_nonces_can_be_refused(venue: PracticeServer, form: str, told: str) -> None:
    """As often as wanted and in each form; the nonce itself is not used up."""
    venue.set_faults(nonce_refused={"as": form, "times": 2})
    body = signed(NOOP)
    for _ in range(2):
        reply = post(venue, body).json()
        assert reply["response"].startswith("Invalid nonce: ")
        assert told in reply["response"]
    assert post(venue, body).json() == OK


# ------------------------------------------------------------ what happens to an account


def test_the_owner_can_trade_by_hand(venue: PracticeServer, connect: Connect) -> None:
    """An action on behalf of a user, unsigned: it is carried out, answered and told like any other."""
    socket = connect(venue)
    socket.subscribe(type="userFills", user=USER)
    socket.until("userFills")
    by_hand = orders(order(px_at(venue, 1.02), tif="FrontendMarket"))
    answer = requests.post(
        f"{venue.base_url}/practice/faults", json={"act": {"user": MASTER.address, "action": by_hand}}, timeout=5
    )
    assert "filled" in answer.json()["replies"]["act"]["response"]["data"]["statuses"][0]
    assert socket.until("userFills")[-1]["data"]["fills"][0]["sz"] == "0.01"
    held = info(venue, "clearinghouseState", user=USER)["assetPositions"]
    assert held[0]["position"]["szi"] == "0.01"


def test_leverage_can_be_changed_from_outside(venue: PracticeServer) -> None:
    """The same way: the bot's own setting no longer holds."""
    action = {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 2}
    assert venue.set_faults(act={"user": USER, "action": action}) == {"act": OK}
    assert info(venue, "activeAssetData", user=USER, coin="BTC")["leverage"] == {"type": "cross", "value": 2}


def test_the_account_mode_can_be_changed_from_outside(venue: PracticeServer) -> None:
    """In unified mode the balance is in the spot state."""
    venue.set_faults(mode={"user": USER, "mode": "unified"})
    balances = info(venue, "spotClearinghouseState", user=USER)["balances"]
    assert [(row["coin"], float(row["total"])) for row in balances] == [("USDC", 10_000.0)]


def test_leverage_and_margin_mode_can_be_forced_from_outside(venue: PracticeServer) -> None:
    """Also what no action could do while a position is open: cross becomes isolated for the next one."""
    act(venue, orders(order(px_at(venue, 1.02), tif="Ioc")))
    venue.set_faults(leverage={"user": USER, "coin": "BTC", "value": 3, "margin": "isolated"})
    assert info(venue, "activeAssetData", user=USER, coin="BTC")["leverage"]["value"] == 3
    assert info(venue, "clearinghouseState", user=USER)["assetPositions"][0]["position"]["leverage"]["value"] == 3


def test_the_mode_is_read_and_changed_by_its_owner(venue: PracticeServer) -> None:
    """userAbstraction tells it, userSetAbstraction of the SDK sets it."""
    sdk = Exchange(MASTER, venue.base_url, timeout=5)
    try:
        assert sdk.info.query_user_abstraction_state(USER) == "disabled"
        assert sdk.user_set_abstraction(USER, "unifiedAccount") == OK
        assert sdk.info.query_user_abstraction_state(USER) == "unifiedAccount"
        assert sdk.user_set_abstraction(STRANGER.address.lower(), "disabled")["status"] == "err"
        assert sdk.info.query_user_abstraction_state(STRANGER.address) == "default"
    finally:
        sdk.session.close()
        sdk.info.session.close()


def test_a_position_can_be_liquidated(venue: PracticeServer, connect: Connect) -> None:
    """Whatever its margin: the fills say so, the orders end as liquidatedCanceled, the user is told."""
    act(venue, orders(order(px_at(venue, 1.02), tif="Ioc"), far(venue)))
    oid = resting(venue)[0]
    socket = connect(venue)
    for kind in ("userEvents", "notification"):
        socket.subscribe(type=kind, user=USER)
    venue.set_faults(liquidate={"user": USER, "coin": "BTC"})
    assert info(venue, "clearinghouseState", user=USER)["assetPositions"] == []
    newest = info(venue, "userFills", user=USER)[0]
    assert newest["dir"] == "Liquidated Cross Long"
    assert newest["liquidation"]["liquidatedUser"] == USER
    assert info(venue, "orderStatus", user=USER, oid=oid)["order"]["status"] == "liquidatedCanceled"
    socket.send({"method": "ping"})
    frames = socket.until("pong")[:-1]
    events = [key for frame in frames if frame["channel"] == "user" for key in frame["data"]]
    assert {"liquidation", "nonUserCancel", "fills"} <= set(events)
    said = [frame["data"]["notification"] for frame in frames if frame["channel"] == "notification"]
    assert len(said) == 1
    assert "Liquidation" in said[0]


def test_a_position_can_be_deleveraged(venue: PracticeServer) -> None:
    """Half of it is closed at the mark, with a fill that no order of the account's caused."""
    act(venue, orders(order(px_at(venue, 1.02), size="0.02", tif="Ioc")))
    own = info(venue, "userFills", user=USER)[0]["oid"]
    venue.set_faults(deleverage={"user": USER, "coin": "BTC", "share": 0.5})
    held = info(venue, "clearinghouseState", user=USER)["assetPositions"][0]["position"]
    assert held["szi"] == "0.01"
    assert info(venue, "userFills", user=USER)[0]["oid"] != own


@pytest.mark.parametrize("share", [1.02, 0.99995, 0.999])
def test_a_parent_can_fill_in_part_and_be_cancelled(venue: PracticeServer, share: float) -> None:
    """Whether it takes or rests: a part fills, rest and children are cancelled, and the position has no stop."""
    stop = {**far(venue), "b": False, "r": True, "s": "0.02"}
    stop["t"] = {"trigger": {"isMarket": True, "triggerPx": px_at(venue, 0.95), "tpsl": "sl"}}
    venue.set_faults(part_fill={"amount": 0.25, "times": 1})
    parent = order(px_at(venue, share), size="0.02")
    found = act(venue, orders(parent, stop, grouping="normalTpsl"))["response"]["data"]["statuses"]
    assert info(venue, "clearinghouseState", user=USER)["assetPositions"][0]["position"]["szi"] == "0.005"
    assert info(venue, "frontendOpenOrders", user=USER) == []
    ended = info(venue, "orderStatus", user=USER, oid=found[0]["resting"]["oid"])["order"]
    assert (ended["status"], ended["order"]["sz"], ended["order"]["origSz"]) == ("canceled", "0.015", "0.02")


def test_a_part_fill_can_leave_the_rest(venue: PracticeServer) -> None:
    """`"then": "rest"`; of an immediate order the rest ends anyway, and the answer tells the part."""
    venue.set_faults(part_fill={"amount": 0.5, "then": "rest", "times": 2})
    act(venue, orders(order(px_at(venue, 1.02), size="0.02")))
    assert [row["sz"] for row in info(venue, "openOrders", user=USER)] == ["0.01"]
    venue.step("1m")
    taken = act(venue, orders(order(px_at(venue, 1.02), size="0.02", tif="Ioc")))
    assert taken["response"]["data"]["statuses"][0]["filled"]["totalSz"] == "0.01"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"leverage": {"user": USER, "coin": "BTC", "value": 41, "margin": "cross"}}, "from 1 to 40"),
        ({"leverage": {"user": USER, "coin": "BTC", "value": 4, "margin": "some"}}, "not cross or isolated"),
        ({"leverage": {"user": USER, "coin": "MATIC", "value": 4, "margin": "cross"}}, "no live coin 'MATIC'"),
        ({"liquidate": {"user": USER, "coin": "BTC"}}, "has no position in BTC"),
        ({"liquidate": {"user": USER}}, "expected an object with user, coin"),
        ({"part_fill": 1}, "not a share between 0 and 1"),
        ({"part_fill": {"then": "wait"}}, "'wait' is not one of cancel, rest"),
        ({"act": True}, "expected an object with user, action"),
        ({"act": {"user": "0x1", "action": NOOP}}, "'0x1' is not an address"),
        ({"act": {"user": STRANGER.address, "action": NOOP}}, "is not an account of this venue"),
        ({"act": {"user": USER, "action": {"type": "order"}}}, "cannot be read"),
        ({"act": {"user": USER, "action": {"type": "usdSend"}}}, "cannot be read"),
        ({"mode": {"user": USER, "mode": "both"}}, "'both' is not one of standard, unified"),
        ({"order_error": {"count": 0}}, "count 0 is not a whole number"),
        ({"order_error": {"text": ""}}, "is not the text of an error"),
        ({"lost_answer": {"as": "gone"}}, "'gone' is not one of cut"),
        ({"nonce_refused": {"times": -1}}, "times -1 is not a whole number"),
        ({"delay_ms": {"mean": 100}}, "p95 None is not a number"),
        ({"delay_ms": {"mean": 100, "p95": 500}}, "p95 500 is not between the mean 100 and 3.87 times it"),
        ({"delay_ms": -5}, "is not a time"),
        ({"close_every_s": 0}, "is not a time"),
    ],
)
def test_a_wrong_fault_changes_nothing(venue: PracticeServer, change: dict[str, Any], told: str) -> None:
    """400 with one line, also when another part of the request is right."""
    body = {**change, "html": True}
    refused = requests.post(f"{venue.base_url}/practice/faults", json=body, timeout=5)
    assert refused.status_code == 400
    assert told in refused.json()["error"]
    assert requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["faults"] == {}


# ------------------------------------------------------------ time


@pytest.mark.parametrize(("mean", "p95"), [(120, 300), (50, 55), (80, 80)])
def test_latencies_have_the_distribution_asked_for(mean: float, p95: float) -> None:
    """Mean and 95th percentile of many draws, within sampling error."""
    source, spread = random.Random(3), Latency.of("delay_ms", mean, p95)
    drawn = sorted(spread.draw_ms(source) for _ in range(20_000))
    assert statistics.fmean(drawn) == pytest.approx(mean, rel=0.03)
    assert drawn[19_000] == pytest.approx(p95, rel=0.04)


def test_latencies_are_seeded_and_add_to_the_answer_time(venue: PracticeServer) -> None:
    """The same seed waits the same times; the venue really waits."""

    def waits(seed: int) -> list[float]:
        faults = Faults(seed)
        faults.update({"delay_ms": {"mean": 100, "p95": 300}})
        return [faults.delay_s("order", "exchange") for _ in range(20)]

    assert waits(1) == waits(1) != waits(2)
    venue.set_faults(delay_ms={"mean": 60, "p95": 61, "on": ["exchange"]})
    body, began = signed(NOOP), time.monotonic()
    assert post(venue, body).json() == OK
    assert time.monotonic() - began > 0.055


@pytest.mark.slow
def test_sockets_can_be_cut_again_and_again(connect: Connect) -> None:
    """close_every_s cuts whoever is connected; a client that comes back is cut too."""
    with PracticeServer(speed=None, limits=PLENTY, cadence=Cadence(tick_wall_ms=20)) as venue:
        venue.set_faults(close_every_s=0.2)
        for _ in range(2):
            socket = connect(venue)
            socket.subscribe(type="allMids")
            assert socket.ended()


def test_a_skewed_clock_judges_expiries(venue: PracticeServer) -> None:
    """A venue whose clock is two minutes ahead cancels what still has a minute by ours."""
    expires = venue.now_ms + 60_000
    venue.set_faults(clock_skew_ms=120_000)
    assert act(venue, NOOP, expires=expires)["response"] == "Action already expired"
    venue.set_faults(clear=True)
    assert act(venue, NOOP, expires=expires) == OK


# ------------------------------------------------------------ together


def test_faults_combine(venue: PracticeServer) -> None:
    """An order refused in a batch, its answer late and then a page, seen through the SDK; what was placed is placed."""
    sdk = Exchange(MASTER, venue.base_url, timeout=5)
    try:
        venue.set_faults(
            order_error={"count": 1, "times": 1},
            late_answer_ms={"amount": 30, "times": 1},
            lost_answer={"as": "html", "times": 1},
            nonce_refused={"on": ["cancel"], "times": 1},
        )
        request = {
            "coin": "BTC",
            "is_buy": True,
            "sz": 0.01,
            "limit_px": float(px_at(venue, 0.9)),
            "order_type": {"limit": {"tif": "Gtc"}},
            "reduce_only": False,
        }
        assert "Could not parse JSON" in sdk.bulk_orders([request, request])["error"]
        assert len(resting(venue)) == 1
        oid = resting(venue)[0]
        assert "Invalid nonce" in sdk.cancel("BTC", oid)["response"]
        assert sdk.cancel("BTC", oid)["response"]["data"]["statuses"] == ["success"]
        status = requests.get(f"{venue.base_url}/practice/status", timeout=5).json()
        assert status["faults"] == {}
    finally:
        sdk.session.close()
        sdk.info.session.close()


def test_status_tells_how_often_a_fault_still_strikes(venue: PracticeServer) -> None:
    """And the options that only it has."""
    venue.set_faults(lost_answer={"times": 3, "as": "html"})
    post(venue, signed(NOOP))
    told = requests.get(f"{venue.base_url}/practice/status", timeout=5).json()["faults"]["lost_answer"]
    assert (told["times"], told["as"]) == (2, "html")


# ------------------------------------------------------------ scripts


def script(tmp_path: Path, steps: object) -> Path:
    path = tmp_path / "faults.json"
    path.write_text(json.dumps(steps))
    return path


def test_a_script_is_followed_by_the_venues_clock(tmp_path: Path) -> None:
    """Each entry is due at its `at_s`, once and in order; an object is due at the start."""
    steps = FaultScript.read(script(tmp_path, [{"at_s": 60, "html": True}, {"delay_ms": 5}]))
    assert list(steps.due(0)) == [{"delay_ms": 5}]
    assert list(steps.due(59_999)) == []
    assert list(steps.due(60_000)) == [{"html": True}]
    assert list(steps.due(60_000)) == []
    assert list(FaultScript.read(script(tmp_path, {"silent": True})).due(0)) == [{"silent": True}]


def test_a_script_acts_in_the_minute_that_begins_with_it(tmp_path: Path) -> None:
    """In a stepped venue: before the first minute that begins at or after its time."""
    action = orders(order("50000"))
    steps = [
        {"at_s": 60, "act": {"user": USER, "action": action}, "html": {"on": ["meta"]}},
        {"at_s": 120, "clear": True},
    ]
    path = script(tmp_path, steps)
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS, faults=path) as venue:
        venue.step("1m")
        assert resting(venue) == []
        venue.step("1m")
        assert len(resting(venue)) == 1
        assert requests.post(f"{venue.base_url}/info", json={"type": "meta"}, timeout=5).text.startswith("<html>")
        venue.step("1m")
        assert info(venue, "meta")["universe"]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([{"at_s": -1}], r"\[0\].at_s -1"),
        ([{"at_s": 5, "nope": True}], "unknown fault 'nope'"),
        ([{"at_s": 5, "act": {"user": USER, "action": NOOP}}], "not an account of this venue"),
        ([1], "expected an object"),
    ],
)
def test_a_wrong_script_ends_the_start(tmp_path: Path, steps: object, told: str) -> None:
    """What is only due later is checked at once."""
    with pytest.raises(UsageError, match=told):
        serve(port=0, speed=None, faults=script(tmp_path, steps))
