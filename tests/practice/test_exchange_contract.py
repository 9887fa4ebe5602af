"""Answers about an account that trades, compared with recorded ones: keys, JSON types, number or string forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from signed_rig import ACCOUNTS, PLENTY, USER, act, info, order, orders, px_at
from test_practice_contract import RECORDED, differences

from perp_bot.practice.thread import PracticeServer

CLOID = "0x" + "1" * 32
ASKED: dict[str, dict[str, Any]] = {
    "clearinghouseState": {},
    "frontendOpenOrders": {},
    "historicalOrders": {},
    "userFills": {},
    "userFunding": {"startTime": 0},
    "userRateLimit": {},
    "portfolio": {},
    "extraAgents": {},
    "activeAssetData": {"coin": "BTC"},
}
_POSITION = ".assetPositions[].position"
NEWER = {
    **{
        ("clearinghouseState", path): "an answer of 2023; the key came later"
        for path in (
            *(f"{_POSITION}.cumFunding.{since}" for since in ("allTime", "sinceOpen", "sinceChange")),
            f"{_POSITION}.maxLeverage",
            ".crossMaintenanceMarginUsed",
            ".time",
        )
    },
    ("clearinghouseState", f"{_POSITION}.maxTradeSzs[]"): "an answer of 2023; it moved to activeAssetData",
    ("frontendOpenOrders", "[].cloid"): "an answer of 2023; the key came later",
    ("userFills", "[].feeToken"): "an answer of 2023; the key came later",
    ("userFills", "[].tid"): "an answer of 2023; the key came later",
    ("userFills", "[].twapId"): "an answer of 2023; the key came later",
    ("historicalOrders", "[].order.cloid"): "the recorded orders have no client id: null",
    ("userRateLimit", ".nRequestsSurplus"): "an answer of 2023; the key came later",
}
"""(request type, path) -> why ours differs from the recorded answer."""


@pytest.fixture(scope="module")
def traded() -> Iterator[PracticeServer]:
    """A venue whose master holds a position through a funding hour, with a stop and a limit order resting."""
    with PracticeServer(speed=None, limits=PLENTY, accounts=ACCOUNTS, start="400.98") as venue:
        stop = order(px_at(venue, 0.9), is_buy=False)
        stop |= {"r": True, "t": {"trigger": {"isMarket": True, "triggerPx": px_at(venue, 0.95), "tpsl": "sl"}}}
        act(venue, orders(order(px_at(venue, 1.02), tif="Ioc"), order(px_at(venue, 0.9), c=CLOID), stop))
        venue.step("5m", count=2)
        yield venue


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_an_answer_about_an_account_has_the_recorded_shape(traded: PracticeServer, kind: str) -> None:
    """Same keys and forms as the SDK's recorded answers; what came later is listed with its reason."""
    recorded = [pair for pair in RECORDED["info"] if pair["request"]["type"] == kind and pair["response"]]
    full = [pair for pair in recorded if pair["source"] == "sdk"] or recorded
    assert full, "nothing recorded to compare with"
    ours = info(traded, kind, user=USER, **ASKED[kind])
    assert ours
    for pair in full:
        found = differences("account", kind, ours, pair["response"])
        assert [one for one in found if (kind, one.split(":")[0]) not in NEWER] == []


def test_funding_was_settled(traded: PracticeServer) -> None:
    """The comparison above had a row to compare, and the position shows the same sum."""
    rows = info(traded, "userFunding", user=USER, startTime=0)
    assert [row["delta"]["coin"] for row in rows] == ["BTC"]
    held = info(traded, "clearinghouseState", user=USER)["assetPositions"][0]["position"]
    assert float(held["cumFunding"]["sinceOpen"]) == pytest.approx(-float(rows[0]["delta"]["usdc"]), abs=1e-6)
