"""Margin, funding, leverage, liquidation: the venue's formulas, against recorded answers where there are any."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, BOB, FEED, START_MS, Rig

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.exchange.tiers import TIERS, Tier, maintenance_usd, tiers_of
from perp_bot.practice.exchange.margin import liquidation_px_of
from perp_bot.practice.market.coins import COINS


def tier(max_leverage: int) -> tuple[Tier, ...]:
    return (Tier(Decimal(0), max_leverage, Decimal(1) / (2 * max_leverage), Decimal(0)),)


def test_the_recorded_liquidation_prices_are_reproduced() -> None:
    """Two positions as the venue answered them on 2026-07-19.

    From hyperliquid-math (Minnzen, MIT), fixtures/live/2026-07-19-mainnet-m3.json at 675f7dc: a cross short of a
    large account, and the isolated long of the venue's own documentation.
    """
    szi, mark = Decimal("-100480.9"), Decimal("0.12083")
    maintenance, value = Decimal("38312.328233"), Decimal("3001412.122254")
    others = maintenance - abs(szi) * mark / 100
    found = liquidation_px_of(szi, mark, value, others, tier(50))
    assert found is not None
    assert round(found, 10) == Decimal("29.3180423289")
    szi, mark = Decimal("0.0335"), Decimal("100.02765") / Decimal("0.0335")
    found = liquidation_px_of(szi, mark, Decimal("-95.059824") + szi * mark, Decimal(0), tier(50))
    assert found is not None
    assert abs(found - Decimal("2866.26936529")) < Decimal("0.00002"), "rawUsd is shown with six decimals"


@pytest.mark.parametrize("spec", COINS, ids=lambda spec: spec.name)
def test_maintenance_does_not_jump_at_a_tier(spec: object) -> None:
    """The deduction sees to that; within the lowest tier it is half the least initial margin."""
    coin = spec.name  # type: ignore[attr-defined]
    lowest, *higher = TIERS[coin]
    assert maintenance_usd(coin, Decimal(1000)) == Decimal(1000) / (2 * lowest.max_leverage)
    for one in higher:
        below = maintenance_usd(coin, one.lower_usd - Decimal("0.01"))
        assert abs(maintenance_usd(coin, one.lower_usd) - below) < Decimal("0.01")
    assert tiers_of(spec) == TIERS[coin]  # type: ignore[arg-type]


def test_leverage_binds_margin_and_is_kept_between_positions() -> None:
    """Untouched: cross 20x, or the coin's highest if lower."""
    rig = Rig(usd=1000)
    assert rig.exchange.active_asset_data(ALICE, "DOGE")["leverage"] == {"type": "cross", "value": 10}
    assert rig.exchange.active_asset_data(ALICE, "BTC")["leverage"] == {"type": "cross", "value": 20}
    change = {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 5}
    assert rig.act(ALICE, change) == {"status": "ok", "response": {"type": "default"}}
    assert rig.act(ALICE, {**change, "leverage": 41}) == {"status": "err", "response": "Invalid leverage value"}
    assert "filled" in rig.buy(ALICE, "BTC", "0.045")
    assert "error" in rig.buy(ALICE, "BTC", "0.01"), "5x of 1,000 is 0.049 BTC at that limit"
    refused = rig.act(ALICE, {**change, "isCross": False})
    assert refused == {"status": "err", "response": "Cannot switch leverage type with open position."}
    refused = rig.act(ALICE, {**change, "leverage": 2})
    assert refused["response"].startswith("Cross position does not have sufficient margin available")
    state = rig.exchange.clearinghouse_state(ALICE, rig.now_ms)
    (held,) = state["assetPositions"]
    assert held["position"]["leverage"] == {"type": "cross", "value": 5}
    used = Decimal(held["position"]["marginUsed"])
    assert abs(used - Decimal(held["position"]["positionValue"]) / 5) < Decimal("0.000001")


def test_resting_orders_reserve_margin() -> None:
    """What they would open, at their price and leverage."""
    rig = Rig(usd=1000)
    bid, _ = rig.best("BTC")
    assert "resting" in rig.order(ALICE, "BTC", "B", "0.1", bid - 10)
    assert rig.order(ALICE, "BTC", "B", "0.15", bid - 10) == {"error": "Insufficient margin to place order. asset=0"}
    state = rig.exchange.clearinghouse_state(ALICE, rig.now_ms)
    assert abs(Decimal(state["withdrawable"]) - (1000 - (bid - 10) / 200)) < Decimal("0.01")


def test_an_isolated_position_has_money_of_its_own() -> None:
    """Its margin leaves the cross part with the entry and comes back with the exit; rawUsd = equity - size x mark."""
    rig = Rig(usd=10_000)
    assert rig.act(ALICE, {"type": "updateLeverage", "asset": 1, "isCross": False, "leverage": 5})["status"] == "ok"
    rig.buy(ALICE, "ETH", "1")
    account = rig.core.accounts[ALICE]
    position = account.position("ETH")
    fee = Decimal(rig.exchange.user_fills(ALICE)[0]["fee"])
    assert position.raw_usd == position.entry_px / 5 - position.entry_px
    assert account.cash_usd == 10_000 - position.entry_px / 5 - fee
    state = rig.exchange.clearinghouse_state(ALICE, rig.now_ms)
    shown = state["assetPositions"][0]["position"]
    assert shown["leverage"]["type"] == "isolated"
    mark = FEED.mark("ETH", rig.now_ms)
    assert abs(Decimal(shown["marginUsed"]) - (position.raw_usd + mark)) < Decimal("0.000001")
    liquidation = Decimal(shown["liquidationPx"])
    value = position.raw_usd + liquidation
    assert abs(value - liquidation / 50) < Decimal("0.0001"), "at its liquidation price the equity is the maintenance"
    more = {"type": "updateIsolatedMargin", "asset": 1, "isBuy": True, "ntli": 100_000_000}
    assert rig.act(ALICE, more)["status"] == "ok"
    assert position.raw_usd == position.entry_px / 5 - position.entry_px + 100
    rig.sell(ALICE, "ETH", "0.5")
    rig.sell(ALICE, "ETH", "0.5")
    assert (position.szi, position.raw_usd) == (0, 0)
    assert rig.identity_gap(ALICE) == 0


def test_funding_is_paid_each_hour_on_the_oracle() -> None:
    """Longs pay what shorts get."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.1")
    rig.sell(BOB, "BTC", "0.1")
    rig.pass_ms(3 * HOUR_MS)
    rows = FEED.funding("BTC", START_MS, rig.now_ms)
    assert len(rows) == 3
    for user, sign in ((ALICE, 1), (BOB, -1)):
        paid = rig.exchange.user_funding(user, 0, rig.now_ms)
        assert [(row["time"], Decimal(row["delta"]["usdc"])) for row in paid] == [
            (at_ms, round(-sign * Decimal("0.1") * FEED.oracle("BTC", at_ms) * rate, 6)) for at_ms, rate in rows
        ]
        assert rig.identity_gap(user) == 0
    position = rig.exchange.clearinghouse_state(ALICE, rig.now_ms)["assetPositions"][0]["position"]
    total = sum(Decimal(row["delta"]["usdc"]) for row in rig.exchange.user_funding(ALICE, 0, rig.now_ms))
    assert Decimal(position["cumFunding"]["sinceOpen"]) == -total


def liquidated(rig: Rig, coin: str, hours: int = 300) -> list[dict[str, object]]:
    for _ in range(hours):
        rig.pass_ms(HOUR_MS)
        found = [row for row in rig.exchange.user_fills(ALICE) if "liquidation" in row]
        if found:
            return found[::-1]
    raise AssertionError(f"{coin} never went far enough")


def test_an_account_without_maintenance_margin_is_sold_on_the_book() -> None:
    """At the first mark beyond the price that was shown; its orders end; the position is gone, not the account."""
    rig = Rig(usd=260)
    rig.act(ALICE, {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 40})
    rig.buy(ALICE, "BTC", "0.1")
    bid, _ = rig.best("BTC")
    resting = rig.order(ALICE, "BTC", "A", "0.1", bid + 9000, reduce_only=True)["resting"]["oid"]
    state = rig.exchange.clearinghouse_state(ALICE, rig.now_ms)
    shown = Decimal(state["assetPositions"][0]["position"]["liquidationPx"])
    began_ms = rig.now_ms
    first = liquidated(rig, "BTC")[0]
    at_ms = int(str(first["time"]))
    assert str(first["dir"]) == "Liquidated Cross Long"
    assert rig.status(ALICE, resting) == "liquidatedCanceled"
    marks = [(at, FEED.mark("BTC", at)) for at in range(began_ms - began_ms % 3000 + 3000, at_ms + 1, 3000)]
    paid = -sum(Decimal(row["delta"]["usdc"]) for row in rig.exchange.user_funding(ALICE, 0, at_ms))
    moved = paid / Decimal("0.1") / (1 - Decimal(1) / 80)
    assert marks[-1][1] < shown + moved + Decimal("0.001"), "funding has moved it"
    assert all(mark >= shown for _, mark in marks[:-1])
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.identity_gap(ALICE) == 0
    kinds = [next(iter(e.data)) for e in rig.exchange.drain() if e.channel == "user"]
    assert "liquidation" in kinds
    assert "nonUserCancel" in kinds


def test_a_large_position_is_sold_a_fifth_first() -> None:
    """Then nothing for thirty seconds."""
    rig = Rig(usd=5_200)
    rig.act(ALICE, {"type": "updateLeverage", "asset": 0, "isCross": True, "leverage": 40})
    rig.buy(ALICE, "BTC", "2")
    assert rig.szi(ALICE, "BTC") == 2
    rows = liquidated(rig, "BTC")
    first_ms = int(str(rows[0]["time"]))
    at_once = sum(Decimal(str(row["sz"])) for row in rows if row["time"] == first_ms)
    assert at_once == Decimal("0.4")
    assert not [row for row in rows if first_ms < int(str(row["time"])) < first_ms + 30_000]


def test_the_faults_of_the_owner_and_of_others() -> None:
    """Forced liquidation, auto-deleveraging, leverage changed in the web app."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.1")
    rig.exchange.deleverage(ALICE, "BTC", Decimal("0.5"))
    assert rig.szi(ALICE, "BTC") == Decimal("0.05")
    rig.exchange.set_leverage(ALICE, "BTC", 3, is_cross=True)
    assert rig.exchange.active_asset_data(ALICE, "BTC")["leverage"] == {"type": "cross", "value": 3}
    rig.exchange.force_liquidation(ALICE, "BTC")
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.exchange.user_fills(ALICE)[0]["liquidation"]["method"] == "market"
    assert rig.identity_gap(ALICE) == 0
    rig.exchange.reject_next("Order would increase open interest too quickly", 2)
    bid, _ = rig.best("BTC")
    entries = [rig.order(ALICE, "BTC", "B", "0.01", bid - 10) for _ in range(3)]
    assert [next(iter(entry)) for entry in entries] == ["error", "error", "resting"]


def test_a_unified_account_shows_its_money_among_the_spot_balances() -> None:
    """A standard one shows none there."""
    rig = Rig(usd=500)
    assert rig.exchange.spot_clearinghouse_state(ALICE) == {"balances": []}
    rig.exchange.set_mode(ALICE, "unified")
    (balance,) = rig.exchange.spot_clearinghouse_state(ALICE)["balances"]
    assert (balance["coin"], balance["total"]) == ("USDC", "500.0")


def test_agents_act_for_their_master_until_they_end() -> None:
    """One name, one agent; a stranger is nobody."""
    rig = Rig()
    agent, other = "0x" + "d" * 40, "0x" + "e" * 40
    done = rig.act(ALICE, {"type": "approveAgent", "agentAddress": agent, "agentName": "bot", "nonce": 1})
    assert done["status"] == "ok"
    assert rig.exchange.master_of(agent, rig.now_ms) == ALICE
    assert rig.exchange.role(agent) == {"role": "agent", "data": {"user": ALICE}}
    assert rig.exchange.extra_agents(ALICE) == [{"name": "bot", "address": agent, "validUntil": None}]
    rig.exchange.approve_agent(ALICE, other, "bot", rig.now_ms + 10)
    assert rig.exchange.master_of(agent, rig.now_ms) is None
    assert rig.exchange.master_of(other, rig.now_ms) == ALICE
    assert rig.exchange.master_of(other, rig.now_ms + 10) is None
    rig.exchange.open_accounts = True
    assert rig.exchange.master_of(agent, rig.now_ms) == agent
    assert rig.exchange.value_usd(agent) == 10_000
