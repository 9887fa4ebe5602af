"""Answers have the venue's shapes: the keys and forms of recorded answers, and numbers that agree with each other.

Recorded by hyperliquid-dex/hyperliquid-python-sdk (MIT, tests/cassettes at 7ee976d), sonirico/go-hyperliquid (MIT,
testdata at 5dbb746) and Minnzen/hyperliquid-math (MIT, fixtures/live at 675f7dc).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from exchange_rig import ALICE, BOB, FEED, Rig, wire

from perp_bot.core.timeframes import DAY_MS, HOUR_MS
from perp_bot.practice.exchange import fees

CLOID = "0x" + "ab" * 16
RECORDED_FILL = {
    "coin": "ETH", "px": "4307.4", "sz": "0.0025", "side": "B", "time": 1755857898644, "startPosition": "0.0",
    "dir": "Open Long", "closedPnl": "0.0", "hash": "0x7d6e6ad7ce8fdfdf7ee8",
    "oid": 37907159219, "crossed": True, "fee": "0.004845", "tid": 1070455675927460, "feeToken": "USDC",
    "twapId": None,
}  # fmt: skip
RECORDED_ORDER = {
    "coin": "ETH", "side": "B", "limitPx": "4650.4", "sz": "0.0", "oid": 37907159219, "timestamp": 1755857898644,
    "triggerCondition": "N/A", "isTrigger": False, "triggerPx": "0.0", "children": [], "isPositionTpsl": False,
    "reduceOnly": False, "orderType": "Market", "origSz": "0.0025", "tif": "FrontendMarket", "cloid": None,
}  # fmt: skip
RECORDED_POSITION = {
    "coin": "ETH", "szi": "0.0335", "entryPx": "2986.3", "positionValue": "100.02765", "unrealizedPnl": "-0.0134",
    "returnOnEquity": "-0.0026789", "liquidationPx": "2866.26936529", "marginUsed": "4.967826", "maxLeverage": 50,
    "leverage": {"type": "isolated", "value": 20, "rawUsd": "-95.059824"},
    "cumFunding": {"allTime": "514.085417", "sinceOpen": "0.0", "sinceChange": "0.0"},
}  # fmt: skip
RECORDED_ASSET = {
    "user": "0x8e0c473fed9630906779f982cd0f80cb7011812d", "coin": "HYPE", "leverage": {"type": "cross", "value": 10},
    "maxTradeSzs": ["72.42", "72.42"], "availableToTrade": ["680.955673", "680.955673"], "markPx": "94.017",
}  # fmt: skip


def same_form(found: Any, recorded: Any, where: str = "") -> None:
    """Assert that an answer has the keys, types and number forms of a recorded one."""
    if isinstance(recorded, dict):
        assert set(found) == set(recorded), where
        for key, value in recorded.items():
            same_form(found[key], value, f"{where}.{key}")
    elif isinstance(recorded, str) and re.fullmatch(r"-?\d+\.\d+", recorded):
        assert re.fullmatch(r"-?\d+\.\d+", found), where
        assert not re.search(r"\.\d+0$", found), f"{where}: no trailing zeros"
    elif recorded is not None:
        assert type(found) is type(recorded), where


def test_fills_orders_positions_and_assets_have_the_recorded_forms() -> None:
    """Key by key."""
    rig = Rig()
    rig.leverage(ALICE, "ETH", 20, is_cross=False)
    oid = rig.buy(ALICE, "ETH", "0.02")["filled"]["oid"]
    same_form(rig.exchange.user_fills(ALICE)[0], RECORDED_FILL)
    assert re.fullmatch("0x[0-9a-f]{64}", rig.exchange.user_fills(ALICE)[0]["hash"])
    same_form(rig.exchange.order_status(ALICE, oid)["order"]["order"], RECORDED_ORDER)
    same_form(rig.position(ALICE, "ETH"), RECORDED_POSITION)
    same_form(rig.exchange.active_asset_data(BOB, "SOL"), RECORDED_ASSET)
    summary = {"accountValue": "1.0", "totalNtlPos": "1.0", "totalRawUsd": "1.0", "totalMarginUsed": "1.0"}
    state = rig.state(ALICE)
    same_form(
        {**state, "assetPositions": []},
        {
            "marginSummary": summary, "crossMarginSummary": summary, "crossMaintenanceMarginUsed": "0.0",
            "withdrawable": "13104.514502", "assetPositions": [], "time": 1,
        },
    )  # fmt: skip
    assert [row["type"] for row in state["assetPositions"]] == ["oneWay"]


def test_a_documented_isolated_position_is_answered_as_the_venue_does() -> None:
    """The official example: 0.0335 ETH at 2986.3, 20x; here with the mark and the maximum of this venue's coin."""
    rig = Rig()
    rig.exchange.give_position(ALICE, "ETH", Decimal("0.0335"), Decimal("2986.3"), 20, False)
    mark = FEED.mark("ETH", rig.now_ms)
    held = rig.position(ALICE, "ETH")
    own = round(Decimal("0.0335") * Decimal("2986.3") / 20, 6)
    raw = own - Decimal("0.0335") * Decimal("2986.3")
    assert Decimal(held["leverage"]["rawUsd"]) == raw
    assert Decimal(held["marginUsed"]) == raw + Decimal("0.0335") * mark, "isolated: what it is worth"
    assert Decimal(held["positionValue"]) == Decimal("0.0335") * mark
    gained = (mark - Decimal("2986.3")) * Decimal("0.0335")
    assert Decimal(held["unrealizedPnl"]) == gained
    assert Decimal(held["returnOnEquity"]) == round(gained / (Decimal("0.0335") * Decimal("2986.3") / 20), 10)
    rate = Decimal(1) / 50
    assert Decimal(held["liquidationPx"]) == round(-raw / (Decimal("0.0335") * (1 - rate)), 10)
    summary, cross = rig.state(ALICE)["marginSummary"], rig.state(ALICE)["crossMarginSummary"]
    assert Decimal(summary["accountValue"]) - Decimal(cross["accountValue"]) == Decimal(held["marginUsed"])
    assert rig.state(ALICE)["withdrawable"] == cross["accountValue"]


def test_a_plain_open_order_shows_reduce_only_and_the_clients_id_only_when_set() -> None:
    """openOrders and orderUpdates alike; newest first."""
    rig = Rig()
    bid, _ = rig.best("ETH")
    rig.order(ALICE, "ETH", "B", "0.1", round(bid - 100, 0))
    rig.pass_ms(5)
    rig.order(ALICE, "ETH", "B", "0.1", round(bid - 200, 0), cloid=CLOID)
    newest, oldest = rig.exchange.open_orders(ALICE)
    plain = {"coin", "side", "limitPx", "sz", "oid", "timestamp", "origSz"}
    assert set(oldest) == plain
    assert set(newest) == plain | {"cloid"}
    assert newest["cloid"] == CLOID
    updates = [row for event in rig.exchange.drain() if event.channel == "orderUpdates" for row in event.data]
    assert [row["order"] for row in updates] == [oldest, newest]
    assert {tuple(row) for row in updates} == {("order", "status", "statusTimestamp")}
    assert rig.exchange.order_status(ALICE, CLOID.upper().replace("0X", "0x"))["order"]["order"]["oid"] == newest["oid"]


def test_fills_by_time_are_the_oldest_first_and_reversed_the_newest() -> None:
    """At most 2000; userFills is the newest first."""
    rig = Rig(usd=10_000_000)
    times = []
    for _ in range(3):
        rig.buy(ALICE, "BTC", "0.01")
        times.append(rig.now_ms)
        rig.pass_ms(1_000)
    assert [row["time"] for row in rig.exchange.user_fills(ALICE)] == times[::-1]
    assert [row["time"] for row in rig.exchange.user_fills_by_time(ALICE, times[1], times[2])] == times[1:]
    assert [row["time"] for row in rig.exchange.user_fills_by_time(ALICE, 0, times[2], True)] == times[::-1]
    (row,) = rig.exchange.user_fills_by_time(ALICE, times[0], times[0])
    rig.core.accounts[ALICE].fills.extend({**row, "tid": number} for number in range(2_500))
    assert len(rig.exchange.user_fills(ALICE)) == len(rig.exchange.user_fills_by_time(ALICE, 0, times[2])) == 2_000


def test_about_two_thousand_ended_orders_are_remembered_and_no_more() -> None:
    """By count, not by time: what was is then unknownOid, its fills are still there."""
    rig = Rig()
    first = rig.buy(ALICE, "BTC", "0.01")["filled"]["oid"]
    bid, _ = rig.best("BTC")
    kept = rig.order(ALICE, "BTC", "B", "0.01", bid - 5_000)["resting"]["oid"]
    refused = wire("BTC", "B", "0.0001", bid)
    for _ in range(40):
        rig.orders(ALICE, *[refused] * 50)
    assert rig.exchange.order_status(ALICE, first) == {"status": "unknownOid"}
    assert rig.exchange.order_status(ALICE, kept)["order"]["status"] == "open"
    assert len(rig.exchange.historical_orders(ALICE)) == 2_000
    assert [row["oid"] for row in rig.exchange.user_fills(ALICE)] == [first]


def test_the_budget_of_actions_is_shown_as_the_venue_does() -> None:
    """cap = 10000 + the USDC traded, rounded down."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.1")
    shown = rig.exchange.rate_limit(ALICE)
    traded = sum(Decimal(row["px"]) * Decimal(row["sz"]) for row in rig.exchange.user_fills(ALICE))
    assert shown == {
        "cumVlm": shown["cumVlm"], "nRequestsUsed": 1, "nRequestsCap": 10_000 + int(traded), "nRequestsSurplus": 0,
    }  # fmt: skip
    assert Decimal(shown["cumVlm"]) == round(traded, 2)


@pytest.mark.parametrize(
    ("usd", "taker", "maker"),
    [(5_000_000, "0.00045", "0.00015"), (5_000_001, "0.0004", "0.00012"), (100_000_001, "0.0003", "0.00004"),
     (500_000_001, "0.00028", "0.0"), (8_000_000_000, "0.00024", "0.0")],
)  # fmt: skip
def test_fees_follow_the_volume_of_the_fourteen_days_before(usd: int, taker: str, maker: str) -> None:
    """Today's counts tomorrow; that of fifteen days ago no longer."""
    rig = Rig()
    days = rig.core.accounts[ALICE].volume_by_day
    days[fees.utc_day(rig.now_ms)] = [Decimal(10**10), Decimal(0)]
    days[fees.utc_day(rig.now_ms - 15 * DAY_MS)] = [Decimal(10**10), Decimal(0)]
    days[fees.utc_day(rig.now_ms - 14 * DAY_MS)] = [Decimal(usd - 1_000), Decimal(1_000)]
    shown = rig.exchange.fees(ALICE, rig.now_ms)
    assert (shown["userCrossRate"], shown["userAddRate"]) == (taker, maker)
    assert [day["date"] for day in shown["dailyUserVlm"]][0::14] == [
        fees.utc_day(rig.now_ms - 14 * DAY_MS), fees.utc_day(rig.now_ms),
    ]  # fmt: skip
    assert shown["dailyUserVlm"][0]["userAdd"] == "1000.0"
    px = rig.buy(ALICE, "BTC", "0.01")["filled"]["avgPx"]
    row = rig.exchange.user_fills(ALICE)[0]
    assert Decimal(row["fee"]) == round(Decimal(px) * Decimal("0.01") * Decimal(taker), 6)


def test_strangers_are_told_the_same_fee_schedule() -> None:
    """And the base rates, with fifteen days without volume."""
    rig = Rig()
    own, strange = rig.exchange.fees(ALICE, rig.now_ms), rig.exchange.fees("0x" + "9" * 40, rig.now_ms)
    assert own["feeSchedule"] == strange["feeSchedule"] == fees.schedule()
    assert (strange["userCrossRate"], strange["userAddRate"]) == ("0.00045", "0.00015")
    assert {day["userCross"] for day in strange["dailyUserVlm"]} == {"0.0"}
    assert len(strange["dailyUserVlm"]) == 15


def test_the_portfolio_has_the_hours_at_which_funding_was_paid_and_now() -> None:
    """Eight periods; the profit of a period counts from its first point, deposits do not count."""
    rig = Rig(usd=1_000)
    rig.buy(ALICE, "BTC", "0.05")
    rig.pass_ms(30 * HOUR_MS)
    rig.exchange.fund(ALICE, Decimal(500))
    shown = dict(rig.exchange.portfolio(ALICE, rig.now_ms))
    assert list(shown) == ["day", "week", "month", "allTime", "perpDay", "perpWeek", "perpMonth", "perpAllTime"]
    whole, day = shown["allTime"], shown["day"]
    assert len(whole["accountValueHistory"]) == 31
    assert 24 <= len(day["accountValueHistory"]) <= 26
    assert Decimal(whole["accountValueHistory"][-1][1]) == rig.exchange.value_usd(ALICE)
    assert Decimal(whole["pnlHistory"][-1][1]) == rig.exchange.value_usd(ALICE) - 1_500
    assert day["pnlHistory"][0][1] == "0.0"
    assert shown["perpDay"] == day
    assert Decimal(whole["vlm"]) == sum(
        Decimal(row["px"]) * Decimal(row["sz"]) for row in rig.exchange.user_fills(ALICE)
    )


def test_ledger_and_funding_rows_have_the_recorded_forms() -> None:
    """And what the channels tell is the same without the wrapping."""
    rig = Rig()
    rig.exchange.fund(ALICE, Decimal("12.5"))
    (told,) = rig.exchange.drain()
    assert (told.channel, told.data) == (
        "userNonFundingLedgerUpdates", rig.exchange.ledger_updates(ALICE, rig.now_ms, rig.now_ms)[-1:],
    )  # fmt: skip
    assert told.data[0]["delta"] == {"type": "deposit", "usdc": "12.5"}
    rig.buy(ALICE, "ETH", "1")
    rig.exchange.drain()
    rig.pass_ms(HOUR_MS)
    (row,) = rig.exchange.user_funding(ALICE, 0, rig.now_ms)
    assert set(row) == {"time", "hash", "delta"}
    assert set(row["delta"]) == {"type", "coin", "usdc", "szi", "fundingRate", "nSamples"}
    events = {event.channel: event.data for event in rig.exchange.drain()}
    bare = {"time": row["time"], **{key: value for key, value in row["delta"].items() if key != "type"}}
    assert events == {"user": {"funding": bare}, "userFundings": [bare]}


def test_a_stranger_gets_the_answers_of_an_empty_account() -> None:
    """Every read, without opening an account."""
    rig = Rig()
    stranger = "0x" + "7" * 40
    assert rig.exchange.clearinghouse_state(stranger, rig.now_ms)["assetPositions"] == []
    assert rig.exchange.role(stranger) == {"role": "missing"}
    assert rig.exchange.order_status(stranger, 1) == {"status": "unknownOid"}
    for rows in (rig.exchange.open_orders, rig.exchange.frontend_open_orders, rig.exchange.historical_orders,
                 rig.exchange.user_fills, rig.exchange.extra_agents):  # fmt: skip
        assert rows(stranger) == []
    assert rig.exchange.user_funding(stranger, 0, rig.now_ms) == []
    assert rig.exchange.active_asset_data(stranger, "BTC")["user"] == stranger
    assert not rig.exchange.knows(stranger)
