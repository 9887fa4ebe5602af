"""The unmodified SDK's Exchange trades on the practice exchange: only its base URL is another."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.types import Cloid
from signed_rig import ACCOUNTS, AGENT, MASTER, PLENTY, STRANGER, USER

from perp_bot.practice.thread import PracticeServer

Trader = Callable[..., Exchange]
GTC, ALO = {"limit": {"tif": "Gtc"}}, {"limit": {"tif": "Alo"}}


@pytest.fixture
def venue() -> Iterator[PracticeServer]:
    """A stepped, strict venue of one funded master with an agent."""
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS) as serving:
        yield serving


@pytest.fixture
def trader(venue: PracticeServer) -> Iterator[Trader]:
    """Make SDK clients that are closed after the test."""
    made: list[Exchange] = []

    def make(wallet: Any = MASTER, **how: Any) -> Exchange:
        made.append(Exchange(wallet, venue.base_url, timeout=10, **how))
        return made[-1]

    yield make
    for one in made:
        one.session.close()
        one.info.session.close()


def statuses(reply: Any) -> list[Any]:
    assert reply["status"] == "ok", reply
    found: list[Any] = reply["response"]["data"]["statuses"]
    return found


def near(sdk: Exchange, share: float) -> float:
    return float(int(float(sdk.info.all_mids()["BTC"]) * share))


def positions(sdk: Exchange, user: str = USER) -> dict[str, str]:
    rows = sdk.info.user_state(user)["assetPositions"]
    return {row["position"]["coin"]: row["position"]["szi"] for row in rows}


def test_an_order_rests_is_read_and_is_cancelled(trader: Trader) -> None:
    """order, open_orders, frontend_open_orders, query_order_by_oid, cancel; a second cancel finds nothing."""
    sdk = trader()
    oid = statuses(sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC))[0]["resting"]["oid"]
    assert [row["oid"] for row in sdk.info.open_orders(USER)] == [oid]
    assert sdk.info.frontend_open_orders(USER)[0]["orderType"] == "Limit"
    found = sdk.info.query_order_by_oid(USER, oid)
    assert (found["status"], found["order"]["status"]) == ("order", "open")
    assert statuses(sdk.cancel("BTC", oid)) == ["success"]
    assert sdk.info.open_orders(USER) == []
    assert sdk.info.query_order_by_oid(USER, oid)["order"]["status"] == "canceled"
    assert "never placed" in statuses(sdk.cancel("BTC", oid))[0]["error"]


def test_an_order_is_found_and_cancelled_by_its_cloid(trader: Trader) -> None:
    """The client's own id stands for the venue's."""
    sdk, cloid = trader(), Cloid.from_int(7)
    placed = statuses(sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC, cloid=cloid))[0]["resting"]
    assert placed["cloid"] == cloid.to_raw()
    assert sdk.info.query_order_by_cloid(USER, cloid)["order"]["order"]["oid"] == placed["oid"]
    assert statuses(sdk.cancel_by_cloid("BTC", cloid)) == ["success"]
    assert sdk.info.query_order_by_cloid(USER, cloid)["order"]["status"] == "canceled"


def test_a_modified_order_has_a_new_oid(trader: Trader) -> None:
    """modify_order is cancel and replace."""
    sdk = trader()
    oid = statuses(sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC))[0]["resting"]["oid"]
    px = near(sdk, 0.91)
    new = statuses(sdk.modify_order(oid, "BTC", True, 0.02, px, GTC))[0]["resting"]["oid"]
    assert new != oid
    rows = sdk.info.open_orders(USER)
    assert [(row["oid"], float(row["limitPx"]), row["sz"]) for row in rows] == [(new, px, "0.02")]


def test_a_batch_has_an_answer_for_each_order(trader: Trader) -> None:
    """bulk_orders: one rests, one is too small, one would cross although it is post-only."""
    sdk = trader()

    def request(size: float, share: float, kind: Any) -> Any:
        return {
            "coin": "BTC",
            "is_buy": True,
            "sz": size,
            "limit_px": near(sdk, share),
            "order_type": kind,
            "reduce_only": False,
        }

    found = statuses(sdk.bulk_orders([request(0.01, 0.9, GTC), request(0.00001, 0.9, GTC), request(0.01, 1.01, ALO)]))
    assert "oid" in found[0]["resting"]
    assert found[1]["error"].startswith("Order must have minimum value of $10.")
    assert found[2]["error"].startswith("Post only order would have immediately matched")


def test_a_position_is_opened_and_closed_at_the_market(trader: Trader) -> None:
    """market_open, user_state, user_fills, market_close; without a position market_close does nothing."""
    sdk = trader()
    assert sdk.market_close("BTC") is None
    filled = statuses(sdk.market_open("BTC", True, 0.02))[0]["filled"]
    assert filled["totalSz"] == "0.02"
    assert positions(sdk) == {"BTC": "0.02"}
    assert {row["oid"] for row in sdk.info.user_fills(USER)} == {filled["oid"]}
    closed = statuses(sdk.market_close("BTC"))[0]["filled"]
    assert positions(sdk) == {}
    newest = sdk.info.user_fills(USER)[0]
    assert (newest["oid"], newest["dir"]) == (closed["oid"], "Close Long")
    state = sdk.info.user_state(USER)
    moved = sum(float(row["closedPnl"]) - float(row["fee"]) for row in sdk.info.user_fills(USER))
    assert float(state["marginSummary"]["accountValue"]) == pytest.approx(10_000 + moved, abs=1e-6)


def test_a_stop_is_placed_and_shown(trader: Trader) -> None:
    """A reduce-only stop below a long rests as a trigger order."""
    sdk = trader()
    sdk.market_open("BTC", True, 0.02)
    stop = {"trigger": {"triggerPx": near(sdk, 0.95), "isMarket": True, "tpsl": "sl"}}
    placed = statuses(sdk.order("BTC", False, 0.02, near(sdk, 0.9), stop, reduce_only=True))[0]
    shown = sdk.info.frontend_open_orders(USER)[0]
    assert (shown["oid"], shown["orderType"], shown["reduceOnly"], shown["isTrigger"]) == (
        placed["resting"]["oid"],
        "Stop Market",
        True,
        True,
    )


def test_leverage_is_set_and_kept(trader: Trader) -> None:
    """update_leverage, cross and isolated; too much is refused with the venue's text."""
    sdk = trader()
    assert sdk.update_leverage(7, "BTC") == {"status": "ok", "response": {"type": "default"}}
    assert sdk.update_leverage(3, "ETH", is_cross=False)["status"] == "ok"
    assert sdk.update_leverage(41, "BTC") == {"status": "err", "response": "Invalid leverage value"}
    sdk.market_open("BTC", True, 0.02)
    sdk.market_open("ETH", False, 0.2)
    rows = [row["position"] for row in sdk.info.user_state(USER)["assetPositions"]]
    assert {row["coin"]: (row["leverage"]["type"], row["leverage"]["value"]) for row in rows} == {
        "BTC": ("cross", 7),
        "ETH": ("isolated", 3),
    }
    assert sdk.update_isolated_margin(5, "ETH")["status"] == "ok"


def test_an_approved_agent_trades_for_its_master(trader: Trader, venue: PracticeServer) -> None:
    """approve_agent gives a key; with it and account_address the SDK trades for the master."""
    reply, key = trader().approve_agent("helper")
    assert reply == {"status": "ok", "response": {"type": "default"}}
    agent = Account.from_key(key)
    sdk = trader(agent, account_address=USER)
    assert sdk.info.user_role(agent.address) == {"role": "agent", "data": {"user": USER}}
    assert "helper" in [row["name"] for row in sdk.info.extra_agents(USER)]
    statuses(sdk.market_open("BTC", True, 0.02))
    assert positions(sdk) == {"BTC": "0.02"}
    assert positions(sdk, agent.address) == {}
    statuses(sdk.market_close("BTC"))
    assert positions(sdk) == {}


def test_an_unnamed_agent_can_be_approved(trader: Trader) -> None:
    """The SDK leaves the name out after it signed an empty one."""
    reply, key = trader().approve_agent()
    assert reply["status"] == "ok"
    sdk = trader(Account.from_key(key), account_address=USER)
    assert "oid" in statuses(sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC))[0]["resting"]


def test_neither_a_stranger_nor_an_agent_can_approve_one(trader: Trader) -> None:
    """Only a wallet with an account of its own."""
    for wallet in (STRANGER, AGENT):
        reply, _ = trader(wallet).approve_agent("helper")
        told = f"Must deposit before performing actions. User: {wallet.address.lower()}"
        assert reply == {"status": "err", "response": told}


def test_the_dead_mans_switch_needs_volume(trader: Trader, venue: PracticeServer) -> None:
    """schedule_cancel is refused to a small account, arming and clearing alike."""
    sdk = trader()
    for at_ms in (venue.now_ms + 60_000, None):
        reply = sdk.schedule_cancel(at_ms)
        assert reply["status"] == "err"
        assert "until enough volume traded. Required: $1000000." in reply["response"]


def test_a_noop_and_an_expired_order(trader: Trader, venue: PracticeServer) -> None:
    """noop burns the nonce given; expires_after of the SDK is read by the venue's clock."""
    sdk = trader()
    nonce = time.time_ns() // 1_000_000 + 1_000
    assert sdk.noop(nonce) == {"status": "ok", "response": {"type": "default"}}
    assert "duplicate nonce" in sdk.noop(nonce)["response"]
    sdk.set_expires_after(venue.now_ms - 1)
    assert sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC)["response"] == "Action already expired"
    sdk.set_expires_after(venue.now_ms + 10_000)
    assert "oid" in statuses(sdk.order("BTC", True, 0.01, near(sdk, 0.9), GTC))[0]["resting"]


def test_every_account_read_of_the_sdk_answers(trader: Trader) -> None:
    """After a trade each of them has something to say."""
    sdk = trader()
    statuses(sdk.market_open("BTC", True, 0.02))
    info = sdk.info
    assert info.user_fills_by_time(USER, 0)[0]["coin"] == "BTC"
    assert info.historical_orders(USER)[0]["status"] == "filled"
    assert float(info.user_rate_limit(USER)["cumVlm"]) > 1_000
    assert float(info.user_fees(USER)["dailyUserVlm"][-1]["userCross"]) > 1_000
    assert [name for name, _ in info.portfolio(USER)][:4] == ["day", "week", "month", "allTime"]
    assert info.user_non_funding_ledger_updates(USER, 0)[0]["delta"]["type"] == "deposit"
    assert isinstance(info.spot_user_state(USER)["balances"], list)
    assert info.user_funding_history(USER, 0) == []


@pytest.mark.slow
def test_the_sdk_follows_its_user(venue: PracticeServer, trader: Trader) -> None:
    """Its own socket manager routes every channel of a user that it knows."""
    sdk = trader()
    info = Info(venue.base_url, timeout=10)
    received: queue.Queue[dict[str, Any]] = queue.Queue()
    kinds = {
        "orderUpdates": "orderUpdates",
        "userEvents": "user",
        "userFills": "userFills",
        "userFundings": "userFundings",
        "userNonFundingLedgerUpdates": "userNonFundingLedgerUpdates",
        "webData2": "webData2",
    }
    try:
        for kind in kinds:
            info.subscribe({"type": kind, "user": USER}, received.put)
        info.subscribe({"type": "activeAssetData", "user": USER, "coin": "BTC"}, received.put)
        seen: set[str] = set()
        while len(seen) < 5:  # the snapshots and states; only then is every subscription made
            seen.add(received.get(timeout=8)["channel"])
        statuses(sdk.market_open("BTC", True, 0.02))
        while seen != {*kinds.values(), "activeAssetData"}:
            seen.add(received.get(timeout=8)["channel"])
    finally:
        venue.close_sockets()  # the SDK's thread sleeps on when its own side closes the socket
        assert info.ws_manager is not None
        info.ws_manager.join(5)
        info.disconnect_websocket()
        info.session.close()
