"""Stops, profits and their groups; scheduled cancels; what a cancelled parent takes along."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, FEED, Rig, wire


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
