"""The unmodified official SDK against the practice venue, only the base URL changed."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from hyperliquid.info import Info
from hyperliquid.utils.error import ClientError, ServerError
from hyperliquid.utils.types import Cloid
from practice_socket import PLENTY

from perp_bot.practice.settings import Cadence
from perp_bot.practice.thread import PracticeServer

USER = "0x" + "0" * 39 + "1"


@pytest.fixture(scope="module")
def info(shared: PracticeServer) -> Iterator[Info]:
    """The SDK's client without a socket."""
    client = Info(shared.base_url, skip_ws=True, timeout=10)
    yield client
    client.session.close()


def test_the_sdk_learns_the_universe(info: Info) -> None:
    """Its constructor reads spotMeta and meta: coins, asset numbers and size decimals."""
    assert info.name_to_asset("BTC") == 0
    assert info.name_to_asset("ETH") == 1
    assert info.name_to_asset("PURR/USDC") == 10_000
    assert info.asset_to_sz_decimals[0] == 5
    assert info.coin_to_asset["SOL"] == 3


@pytest.mark.slow
def test_the_sdks_market_calls_work(info: Info, shared: PracticeServer) -> None:
    """Every market read of the SDK decodes to what it promises."""
    now = shared.now_ms
    assert float(info.all_mids()["BTC"]) > 10_000
    meta, contexts = info.meta_and_asset_ctxs()
    assert len(meta["universe"]) == len(contexts) == 6
    assert len(info.l2_snapshot("ETH")["levels"][1]) == 20
    candles = info.candles_snapshot("BTC", "15m", now - 3_600_000, now)
    assert [candle["i"] for candle in candles] == ["15m"] * 4
    assert info.funding_history("ETH", now - 10 * 3_600_000)[0]["coin"] == "ETH"
    assert info.funding_history("ETH", 0, now - 390 * 3_600_000)
    assert info.perp_dexs() == [None]
    assert info.spot_meta()["universe"][0]["name"] == "PURR/USDC"


def test_the_sdks_account_calls_work(info: Info) -> None:
    """Every account read of the SDK answers for an empty account."""
    assert info.user_state(USER)["withdrawable"] == "0.0"
    assert info.spot_user_state(USER) == {"balances": []}
    assert info.open_orders(USER) == info.frontend_open_orders(USER) == []
    assert info.user_fills(USER) == info.user_fills_by_time(USER, 0, 1) == []
    assert info.user_funding_history(USER, 0) == []
    assert info.user_non_funding_ledger_updates(USER, 0) == []
    assert info.historical_orders(USER) == []
    assert info.query_order_by_oid(USER, 1) == {"status": "unknownOid"}
    assert info.query_order_by_cloid(USER, Cloid.from_int(1)) == {"status": "unknownOid"}
    assert info.user_fees(USER)["feeSchedule"]["add"] == "0.00015"
    assert info.user_rate_limit(USER)["nRequestsUsed"] == 0
    assert info.user_role(USER) == {"role": "missing"}
    assert info.portfolio(USER)[0][0] == "day"
    assert info.extra_agents(USER) == []
    assert info.query_sub_accounts(USER) is None


def test_the_sdk_raises_its_own_errors(info: Info) -> None:
    """422 text is a ClientError, 500 null a ServerError."""
    with pytest.raises(ClientError) as client_error:
        info.post("/info", {"type": "nope"})
    assert client_error.value.status_code == 422
    with pytest.raises(ServerError) as server_error:
        info.post("/info", {"type": "fundingHistory", "coin": "NOPE", "startTime": 0})
    assert server_error.value.status_code == 500


@pytest.mark.slow
def test_the_sdks_subscriptions_work() -> None:
    """Each market channel that the SDK can route delivers to its callback, through the SDK's own socket manager."""
    with PracticeServer(speed=60.0, limits=PLENTY, cadence=Cadence(tick_wall_ms=20)) as venue:
        info = Info(venue.base_url, timeout=10)
        received: queue.Queue[dict[str, Any]] = queue.Queue()
        subscriptions: list[dict[str, Any]] = [
            {"type": "allMids"},
            {"type": "l2Book", "coin": "BTC"},
            {"type": "trades", "coin": "BTC"},
            {"type": "bbo", "coin": "ETH"},
            {"type": "candle", "coin": "ETH", "interval": "1m"},
            {"type": "activeAssetCtx", "coin": "SOL"},
            {"type": "userFills", "user": USER},
        ]
        try:
            for subscription in subscriptions:
                info.subscribe(subscription, received.put)
            wanted = {"allMids", "l2Book", "trades", "bbo", "candle", "activeAssetCtx", "userFills"}
            seen: set[str] = set()
            while seen != wanted:
                seen.add(received.get(timeout=8)["channel"])
        finally:
            venue.close_sockets()  # the SDK's thread sleeps on when its own side closes the socket
            assert info.ws_manager is not None
            info.ws_manager.join(5)
            info.disconnect_websocket()
            info.session.close()
