"""Stops, profits and their groups; scheduled cancels; what a cancelled parent takes along."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, BOB, FEED, Rig, wire

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.exchange import matching
from perp_bot.practice.exchange.feed import PathTrade


def long_of(rig: Rig, size: str = "0.01") -> Decimal:
    """Open a long and return the mark."""
    rig.buy(ALICE, "BTC", size)
    return FEED.mark("BTC", rig.now_ms)


def until(rig: Rig, oid: int, status: str, hours: int = 48) -> None:
    """Let time pass until an order has a status."""
    for _ in range(hours * 12):
        rig.pass_ms(300_000)
        if rig.status(ALICE, oid) == status:
            return
    raise AssertionError(f"never {status}: {rig.status(ALICE, oid)}")


@pytest.mark.parametrize(("name", "away"), [("stop", -150), ("profit", 150)])
def test_a_stop_and_a_profit_fire_on_the_mark_and_close(name: str, away: int) -> None:
    """At the first mark at or beyond the trigger, not before; the position is closed on the book of that moment."""
    rig = Rig()
    mark = long_of(rig)
    px = round(mark + away, 0)
    limit = px - 1000
    oid = rig.order(ALICE, "BTC", "A", "0.01", limit, reduce_only=True, **{name: px})["resting"]["oid"]
    (shown,) = rig.exchange.frontend_open_orders(ALICE)
    kind = "Stop Market" if name == "stop" else "Take Profit Market"
    words = "below" if name == "stop" else "above"
    assert (shown["orderType"], shown["isTrigger"], shown["tif"]) == (kind, True, None)
    assert shown["triggerCondition"] == f"Price {words} {px:f}".removesuffix(".0")
    began_ms = rig.now_ms
    until(rig, oid, "filled")
    assert rig.szi(ALICE, "BTC") == 0
    row = rig.exchange.user_fills(ALICE)[0]
    assert (row["dir"], row["oid"], row["crossed"]) == ("Close Long", oid, True)
    first_ms = next(
        at_ms
        for at_ms in range(began_ms - began_ms % 3000 + 3000, row["time"] + 1, 3000)
        if (FEED.mark("BTC", at_ms) - px) * (1 if away > 0 else -1) >= 0
    )
    assert row["time"] == first_ms
    assert rig.identity_gap(ALICE) == 0


def test_a_stop_limit_becomes_a_resting_order() -> None:
    """It may rest unfilled after a gap."""
    rig = Rig()
    mark = long_of(rig)
    px = round(mark - 100, 0)
    oid = rig.order(ALICE, "BTC", "A", "0.01", px, stop=px, is_market=False, reduce_only=True)["resting"]["oid"]
    seen = []
    for _ in range(2000):
        rig.pass_ms(60_000)
        seen += [u["status"] for e in rig.exchange.drain() if e.channel == "orderUpdates" for u in e.data]
        if "triggered" in seen:
            break
    assert seen[-1] in ("open", "filled", "triggered")
    assert "triggered" in seen
    assert rig.status(ALICE, oid) in ("open", "filled")


def test_one_filled_sibling_ends_the_other() -> None:
    """normalTpsl: the children wait for the parent, then for their triggers."""
    rig = Rig()
    mark = FEED.mark("BTC", rig.now_ms)
    stop, profit = round(mark - 200, 0), round(mark + 200, 0)
    statuses = rig.orders(
        ALICE,
        wire("BTC", "B", "0.01", round(mark + 500, 0), tif="Ioc"),
        wire("BTC", "A", "0.01", stop - 1000, stop=stop, reduce_only=True),
        wire("BTC", "A", "0.01", profit - 1000, profit=profit, reduce_only=True),
        grouping="normalTpsl",
    )
    assert list(statuses[0]) == ["filled"]
    assert statuses[1:] == ["waitingForTrigger", "waitingForTrigger"]
    orders = {order["orderType"]: order["oid"] for order in rig.exchange.frontend_open_orders(ALICE)}
    assert set(orders) == {"Stop Market", "Take Profit Market"}
    for _ in range(500):
        rig.pass_ms(300_000)
        if not rig.exchange.open_orders(ALICE):
            break
    found = sorted(rig.status(ALICE, oid) for oid in orders.values())
    assert found == ["filled", "siblingFilledCanceled"]
    assert rig.szi(ALICE, "BTC") == 0


def test_a_part_filled_parent_that_is_cancelled_takes_its_children_along() -> None:
    """The position it leaves has no stop: the known trap."""
    rig = Rig(usd=50_000_000)
    asks = FEED.book("DOGE", rig.now_ms)[1]
    there = asks[0][1]
    limit = asks[0][0]
    stop = round(limit * Decimal("0.9"), 5)
    statuses = rig.orders(
        ALICE,
        wire("DOGE", "B", there + 5000, limit),
        wire("DOGE", "A", there + 5000, round(stop * Decimal("0.9"), 5), stop=stop, reduce_only=True),
        grouping="normalTpsl",
    )
    oid = statuses[0]["resting"]["oid"]
    assert statuses[1] == "waitingForFill"
    child, parent = rig.exchange.frontend_open_orders(ALICE)
    assert parent["children"] == [child], "as recorded: in the list, and under its parent"
    assert (child["orderType"], parent["oid"]) == ("Stop Market", oid)
    assert [order["oid"] for order in rig.exchange.open_orders(ALICE)] == [oid]
    assert rig.szi(ALICE, "DOGE") == there
    assert rig.cancel(ALICE, "DOGE", oid) == "success"
    assert rig.szi(ALICE, "DOGE") == there
    assert rig.exchange.frontend_open_orders(ALICE) == []
    assert rig.status(ALICE, parent["children"][0]["oid"]) == "canceled"


def test_orders_of_the_position_grow_with_it_and_end_with_it() -> None:
    """positionTpsl."""
    rig = Rig()
    mark = long_of(rig)
    stop = round(mark - 150, 0)
    wires = wire("BTC", "A", "0", stop - 1000, stop=stop, reduce_only=True)
    (placed,) = rig.orders(ALICE, wires, grouping="positionTpsl")
    oid = placed["resting"]["oid"]
    rig.buy(ALICE, "BTC", "0.02")
    until(rig, oid, "filled")
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.exchange.user_fills(ALICE)[0]["sz"] == "0.03"
    long_of(rig)
    wires = wire("BTC", "A", "0", stop - 30_000, stop=stop - 20_000, reduce_only=True)
    (placed,) = rig.orders(ALICE, wires, grouping="positionTpsl")
    rig.sell(ALICE, "BTC", "0.01")
    assert rig.status(ALICE, placed["resting"]["oid"]) == "reduceOnlyCanceled"


def test_children_must_reduce() -> None:
    """Refused before anything is placed."""
    rig = Rig()
    mark = FEED.mark("BTC", rig.now_ms)
    statuses = rig.orders(
        ALICE,
        wire("BTC", "B", "0.01", round(mark + 500, 0), tif="Ioc"),
        wire("BTC", "A", "0.01", round(mark - 1000, 0), stop=round(mark - 500, 0)),
        grouping="normalTpsl",
    )
    assert statuses == [{"error": "TP/SL orders must be reduce-only."}]
    assert rig.szi(ALICE, "BTC") == 0


def test_a_small_account_has_no_scheduled_cancel_and_a_large_ones_takes_the_stops_along() -> None:
    """Arming and clearing alike need the volume."""
    rig = Rig()
    mark = long_of(rig)
    at_ms = rig.now_ms + 6_000
    refused = rig.act(ALICE, {"type": "scheduleCancel", "time": at_ms})["response"]
    assert refused.startswith(
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $9"
    )
    assert rig.act(ALICE, {"type": "scheduleCancel"})["response"] == refused
    rig.core.accounts[ALICE].volume_usd = Decimal(1_000_000)
    assert rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 4_000})["status"] == "err"
    assert rig.act(ALICE, {"type": "scheduleCancel", "time": at_ms})["status"] == "ok"
    stop = round(mark - 3000, 0)
    oid = rig.order(ALICE, "BTC", "A", "0.01", stop - 1000, stop=stop, reduce_only=True)["resting"]["oid"]
    rig.pass_ms(5_999)
    assert rig.status(ALICE, oid) == "open"
    rig.pass_ms(1)
    assert rig.status(ALICE, oid) == "scheduledCancel"
    assert rig.szi(ALICE, "BTC") == Decimal("0.01")


def test_ten_scheduled_cancels_a_utc_day_and_the_next_day_again() -> None:
    """One that fires counts; setting and clearing do not."""
    rig = Rig()
    rig.core.accounts[ALICE].volume_usd = Decimal(1_000_000)
    for _ in range(10):
        assert rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 5_000})["status"] == "ok"
        assert rig.act(ALICE, {"type": "scheduleCancel"})["status"] == "ok"
        assert rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 5_000})["status"] == "ok"
        rig.pass_ms(5_000)
    refused = rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 5_000})
    assert refused["status"] == "err"
    rig.pass_ms(24 * HOUR_MS)
    assert rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 5_000})["status"] == "ok"


def test_a_scheduled_cancel_tells_which_orders_the_venue_ended() -> None:
    """As nonUserCancel of the user's own channel, after their order updates."""
    rig = Rig()
    rig.core.accounts[ALICE].volume_usd = Decimal(1_000_000)
    bid, _ = rig.best("BTC")
    oids = [rig.order(ALICE, "BTC", "B", "0.01", bid - 5_000 - n)["resting"]["oid"] for n in range(2)]
    rig.act(ALICE, {"type": "scheduleCancel", "time": rig.now_ms + 5_000})
    rig.exchange.drain()
    rig.pass_ms(5_000)
    updates, told = rig.exchange.drain()
    assert [(row["order"]["oid"], row["status"]) for row in updates.data] == [(oid, "scheduledCancel") for oid in oids]
    assert told.data == {"nonUserCancel": [{"coin": "BTC", "oid": oid} for oid in oids]}


def test_children_of_a_parent_cut_for_want_of_margin_are_placed_when_a_part_had_filled() -> None:
    """The venue counts it as filled; children of one that had not filled go with it."""
    for part, became in ((True, "open"), (False, "canceled")):
        rig = Rig(ALICE, BOB)
        bid, ask = rig.best("BTC")
        size, stop = Decimal("0.2"), bid - 2_000
        parent = wire("BTC", "B", size, bid)
        child = wire("BTC", "A", size, stop - 2_000, stop=stop, reduce_only=True)
        assert rig.orders(ALICE, parent, child, grouping="normalTpsl")[1] == "waitingForFill"
        account = rig.core.accounts[ALICE]
        second, first = account.orders.values()
        if part:
            matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid, first.ahead + Decimal("0.1"), is_buy=False))
            assert (first.left, second.is_waiting) == (Decimal("0.1"), True)
        rig.exchange.fund(ALICE, -account.cash_usd - account.szi("BTC") * ask + 400)
        matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid - 1, Decimal(1), is_buy=False))
        assert rig.status(ALICE, first.oid) == "marginCanceled"
        assert rig.status(ALICE, second.oid) == became
        if part:
            assert (second.is_waiting, second.left) == (False, Decimal("0.1"))


def test_a_trigger_beyond_the_mark_or_on_the_wrong_side_of_its_limit_is_refused() -> None:
    """Buys need a limit at or above the trigger, sales one at or below."""
    rig = Rig()
    mark = round(long_of(rig), 0)
    for side, stop, limit, fine in (
        ("A", mark - 100, mark - 100, True),
        ("A", mark - 100, mark - 99, False),
        ("A", mark + 100, mark, False),
        ("B", mark + 100, mark + 100, True),
        ("B", mark + 100, mark + 99, False),
        ("B", mark - 100, mark, False),
    ):
        placed = rig.order(ALICE, "BTC", side, "0.01", limit, stop=stop)
        assert placed == {"error": "Invalid TP/SL price. asset=0"} or fine, (side, stop, limit)
        assert ("resting" in placed) == fine
    assert rig.exchange.historical_orders(ALICE)[0]["status"] == "badTriggerPxRejected"


@pytest.mark.parametrize(("kind", "above"), [("stop", True), ("profit", False)])
def test_a_short_is_protected_the_other_way_round(kind: str, above: bool) -> None:
    """A stop fires when the mark rises, a profit when it falls."""
    rig = Rig()
    rig.sell(ALICE, "BTC", "0.01")
    mark = round(FEED.mark("BTC", rig.now_ms), 0)
    px = mark + 150 if above else mark - 150
    oid = rig.order(ALICE, "BTC", "B", "0.01", px + 1_000, reduce_only=True, **{kind: px})["resting"]["oid"]
    shown = rig.exchange.frontend_open_orders(ALICE)[0]
    assert shown["triggerCondition"] == f"Price {'above' if above else 'below'} {px:f}"
    until(rig, oid, "filled")
    at_ms = rig.exchange.user_fills(ALICE)[0]["time"]
    assert (FEED.mark("BTC", at_ms) >= px) == above
    assert rig.szi(ALICE, "BTC") == 0


def test_a_market_stop_goes_ten_percent_beyond_the_mark_whatever_its_limit_says() -> None:
    """A limit at the trigger itself does not keep it from filling below."""
    rig = Rig()
    mark = round(long_of(rig), 0)
    stop = mark - 120
    oid = rig.order(ALICE, "BTC", "A", "0.01", stop, stop=stop, reduce_only=True)["resting"]["oid"]
    rig.exchange.drain()
    until(rig, oid, "filled")
    row = rig.exchange.user_fills(ALICE)[0]
    assert Decimal(row["px"]) <= stop
    updates = [u for e in rig.exchange.drain() if e.channel == "orderUpdates" for u in e.data]
    assert [(u["status"], u["order"]["sz"]) for u in updates] == [("triggered", "0.01"), ("filled", "0.0")]
    assert {u["statusTimestamp"] for u in updates} == {row["time"]}


def test_a_moved_stop_stays_the_sibling_of_its_profit() -> None:
    """Modify gives a new id and keeps the pair: what fills ends the other."""
    rig = Rig()
    mark = round(FEED.mark("BTC", rig.now_ms), 0)
    rig.orders(
        ALICE,
        wire("BTC", "B", "0.01", mark + 500, tif="Ioc"),
        wire("BTC", "A", "0.01", mark - 9_000, stop=mark - 8_000, reduce_only=True),
        wire("BTC", "A", "0.01", mark - 8_000, profit=mark + 8_000, reduce_only=True),
        grouping="normalTpsl",
    )
    orders = {order["orderType"]: order["oid"] for order in rig.exchange.frontend_open_orders(ALICE)}
    moved = {
        "oid": orders["Stop Market"],
        "order": wire("BTC", "A", "0.01", mark - 1_000, stop=mark - 150, reduce_only=True),
    }
    answer = rig.act(ALICE, {"type": "batchModify", "modifies": [moved]})
    (placed,) = answer["response"]["data"]["statuses"]
    until(rig, placed["resting"]["oid"], "filled")
    assert rig.status(ALICE, orders["Stop Market"]) == "canceled"
    assert rig.status(ALICE, orders["Take Profit Market"]) == "siblingFilledCanceled"


def test_a_rejected_parent_answers_for_its_children_too() -> None:
    """One entry an order; nothing is left of any of them."""
    rig = Rig(usd=100)
    mark = round(FEED.mark("BTC", rig.now_ms), 0)
    statuses = rig.orders(
        ALICE,
        wire("BTC", "B", "1", mark + 500, tif="Ioc"),
        wire("BTC", "A", "1", mark - 1_000, stop=mark - 500, reduce_only=True),
        grouping="normalTpsl",
    )
    assert statuses == [{"error": "Insufficient margin to place order. asset=0"}] * 2
    assert rig.exchange.frontend_open_orders(ALICE) == []


def test_an_order_of_the_position_is_refused_when_there_is_none() -> None:
    """Flat has nothing to protect; children of a position always have its size."""
    rig = Rig()
    mark = round(FEED.mark("BTC", rig.now_ms), 0)
    stop = wire("BTC", "A", "0", mark - 1_000, stop=mark - 500, reduce_only=True)
    flat = {"error": "Reduce only order would increase position. asset=0"}
    assert rig.orders(ALICE, stop, grouping="positionTpsl") == [flat]
    rig.buy(ALICE, "BTC", "0.01")
    rig.orders(ALICE, stop, grouping="positionTpsl")
    rig.buy(ALICE, "BTC", "0.02")
    (shown,) = rig.exchange.frontend_open_orders(ALICE)
    assert (shown["sz"], shown["isPositionTpsl"]) == ("0.03", True)
    rig.sell(ALICE, "BTC", "0.025")
    assert rig.exchange.frontend_open_orders(ALICE)[0]["sz"] == "0.005"


def test_a_profit_limit_rests_at_its_price_once_the_mark_is_there() -> None:
    """Take Profit Limit: triggered, then a maker's order."""
    rig = Rig()
    mark = round(long_of(rig), 0)
    px = mark + 150
    oid = rig.order(ALICE, "BTC", "A", "0.01", px, profit=px, is_market=False, reduce_only=True)["resting"]["oid"]
    assert rig.exchange.frontend_open_orders(ALICE)[0]["orderType"] == "Take Profit Limit"
    until(rig, oid, "filled")
    rows = [row for row in rig.exchange.user_fills(ALICE) if row["oid"] == oid]
    assert all(Decimal(row["px"]) >= px for row in rows)
