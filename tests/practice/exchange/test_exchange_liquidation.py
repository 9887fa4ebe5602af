"""Liquidation on the mark, in its stages; and what others can do to a position: the owner, the venue."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, BOB, FEED, START_MS, Rig

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.exchange.accounts import Account
from perp_bot.practice.exchange.tiers import maintenance_usd
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.market.market import Market


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


def next_mark_ms(rig: Rig) -> int:
    return rig.now_ms - rig.now_ms % 3_000 + 3_000


def leave_with(rig: Rig, user: str, share: str, coin: str = "BTC") -> Decimal:
    """Take money away so that the account has this share of its maintenance margin at the next mark; return that."""
    mark = FEED.mark(coin, next_mark_ms(rig))
    account = rig.core.accounts[user]
    szi = account.szi(coin)
    needed = maintenance_usd(coin, abs(szi) * mark)
    position = account.position(coin)
    gap = Decimal(share) * needed - (position.raw_usd + szi * mark + (account.cash_usd if position.is_cross else 0))
    if position.is_cross:
        rig.exchange.fund(user, gap)
    else:
        position.raw_usd += gap
        account.cash_usd -= gap
    return needed


def sizes_by_time(rig: Rig, user: str) -> dict[int, Decimal]:
    found: dict[int, Decimal] = {}
    for row in rig.exchange.user_fills(user)[::-1]:
        if "liquidation" in row:
            found[row["time"]] = found.get(row["time"], Decimal(0)) + Decimal(row["sz"])
    return found


def test_a_large_position_is_sold_a_fifth_first_and_whole_when_that_was_not_enough() -> None:
    """Above 100k USDC; within the thirty seconds after that everything goes to the book."""
    rig = Rig()
    rig.leverage(ALICE, "BTC", 40)
    rig.buy(ALICE, "BTC", "2")
    first_ms = next_mark_ms(rig)
    leave_with(rig, ALICE, "0.75")
    rig.pass_ms(first_ms - rig.now_ms)
    assert sizes_by_time(rig, ALICE) == {first_ms: Decimal("0.4")}
    assert rig.szi(ALICE, "BTC") == Decimal("1.6")
    leave_with(rig, ALICE, "0.75")
    rig.pass_ms(3_000)
    assert sizes_by_time(rig, ALICE) == {first_ms: Decimal("0.4"), first_ms + 3_000: Decimal("1.6")}
    methods = {row["liquidation"]["method"] for row in rig.exchange.user_fills(ALICE) if "liquidation" in row}
    assert methods == {"market"}
    assert rig.identity_gap(ALICE) == 0


def test_a_fifth_is_enough_when_it_leaves_the_margin_whole_and_a_fifth_again_after_the_cooldown() -> None:
    """The trader keeps the rest."""
    rig = Rig()
    rig.leverage(ALICE, "BTC", 40)
    rig.buy(ALICE, "BTC", "2")
    leave_with(rig, ALICE, "0.95")
    rig.pass_ms(3_000)
    assert rig.szi(ALICE, "BTC") == Decimal("1.6")
    rig.exchange.fund(ALICE, Decimal(10_000))
    rig.pass_ms(30_000)
    assert rig.szi(ALICE, "BTC") == Decimal("1.6")
    leave_with(rig, ALICE, "0.95")
    rig.pass_ms(3_000)
    assert rig.szi(ALICE, "BTC") == Decimal("1.28")


def test_below_two_thirds_the_liquidator_takes_positions_and_money() -> None:
    """At the mark, without a fee; the account ends with nothing and the ledger says what it lost."""
    rig = Rig()
    rig.leverage(ALICE, "BTC", 40)
    rig.buy(ALICE, "BTC", "2")
    at_ms = next_mark_ms(rig)
    needed = leave_with(rig, ALICE, "0.66")
    rig.exchange.drain()
    rig.pass_ms(3_000)
    row = rig.exchange.user_fills(ALICE)[0]
    assert (row["sz"], row["time"], row["dir"], row["fee"]) == ("2.0", at_ms, "Liquidated Cross Long", "0.0")
    assert Decimal(row["px"]) == FEED.mark("BTC", at_ms)
    assert row["liquidation"] == {"liquidatedUser": ALICE, "markPx": row["px"], "method": "backstop"}
    assert rig.state(ALICE)["marginSummary"]["accountValue"] == "0.0"
    delta = rig.exchange.ledger_updates(ALICE, at_ms, at_ms)[0]["delta"]
    assert abs(Decimal(delta["accountValue"]) - needed * Decimal("0.66")) < Decimal("0.00001")
    assert (delta["type"], delta["leverageType"]) == ("liquidation", "Cross")
    assert delta["liquidatedPositions"] == [{"coin": "BTC", "szi": "2.0"}]
    assert rig.identity_gap(ALICE) == 0
    (told,) = [e.data["liquidation"] for e in rig.exchange.drain() if e.channel == "user" and "liquidation" in e.data]
    assert told["liquidated_user"] == ALICE
    assert set(told) == {
        "lid", "liquidator", "liquidated_user", "liquidated_ntl_pos", "liquidated_account_value",
    }  # fmt: skip


@pytest.mark.parametrize("share", ["0.8", "0.3", "-1"])
def test_an_isolated_position_goes_alone(share: str) -> None:
    """Money, positions and orders of the cross part stay; no more is lost than the position's own margin."""
    rig = Rig()
    rig.leverage(ALICE, "ETH", 20, is_cross=False)
    rig.buy(ALICE, "ETH", 10)
    rig.buy(ALICE, "BTC", "0.1")
    bid, _ = rig.best("BTC")
    other = rig.order(ALICE, "BTC", "B", "0.01", bid - 1000)["resting"]["oid"]
    own = rig.order(ALICE, "ETH", "B", 1, round(rig.best("ETH")[0] - 100, 0))["resting"]["oid"]
    leave_with(rig, ALICE, share, "ETH")
    cash = rig.core.accounts[ALICE].cash_usd
    rig.pass_ms(3_000)
    assert (rig.szi(ALICE, "ETH"), rig.szi(ALICE, "BTC")) == (0, Decimal("0.1"))
    assert (rig.status(ALICE, own), rig.status(ALICE, other)) == ("liquidatedCanceled", "open")
    row = rig.exchange.user_fills(ALICE)[0]
    assert row["dir"] == "Liquidated Isolated Long"
    assert row["liquidation"]["method"] == ("market" if share == "0.8" else "backstop")
    after = rig.core.accounts[ALICE].cash_usd
    assert after >= cash if share == "0.8" else after == cash
    assert rig.identity_gap(ALICE) == 0


def test_a_liquidation_trades_with_the_orders_of_others() -> None:
    """Both sides' rows say whose it was; the maker's direction is its own."""
    rig = Rig(ALICE, BOB)
    rig.leverage(ALICE, "DOGE", 10)
    rig.buy(ALICE, "DOGE", 100_000)
    for _ in range(300):
        rig.pass_ms(3_000 - rig.now_ms % 3_000 + 2_900)  # just before a mark
        bid, ask = FEED.best("DOGE", next_mark_ms(rig))
        if bid + Decimal("0.00001") < ask and rig.best("DOGE")[1] > bid + Decimal("0.00001"):
            break
    rig.order(BOB, "DOGE", "B", 100_000, bid + Decimal("0.00001"))
    leave_with(rig, ALICE, "0.9", "DOGE")
    rig.pass_ms(100)
    (maker,) = rig.exchange.user_fills(BOB)
    assert (maker["dir"], maker["crossed"], maker["liquidation"]["liquidatedUser"]) == ("Open Long", False, ALICE)
    taker = rig.exchange.user_fills(ALICE)[0]
    assert (taker["dir"], taker["tid"], taker["hash"]) == ("Liquidated Cross Long", maker["tid"], maker["hash"])
    liquidation = rig.exchange.historical_orders(ALICE)[0]
    assert (liquidation["status"], liquidation["order"]["tif"]) == ("filled", "LiquidationMarket")


def test_forced_liquidation_deleveraging_and_leverage_from_outside() -> None:
    """What the server's faults do; protective orders follow the position."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.1")
    bid, _ = rig.best("BTC")
    stop = rig.order(ALICE, "BTC", "A", "0.1", bid - 3000, stop=bid - 2000, reduce_only=True)["resting"]["oid"]
    rig.exchange.adl(ALICE, "BTC", Decimal("0.5"))
    assert rig.szi(ALICE, "BTC") == Decimal("0.05")
    assert rig.exchange.user_fills(ALICE)[0]["dir"] == "Auto-Deleveraging"
    assert rig.exchange.open_orders(ALICE)[0]["sz"] == "0.05"
    rig.exchange.set_leverage_outside(ALICE, "BTC", 3, is_cross=False)
    assert rig.position(ALICE, "BTC")["leverage"] == {"type": "cross", "value": 3}
    assert rig.exchange.active_asset_data(ALICE, "BTC")["leverage"] == {"type": "cross", "value": 3}
    rig.exchange.force_liquidation(ALICE, "BTC")
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.exchange.user_fills(ALICE)[0]["liquidation"]["method"] == "market"
    assert rig.status(ALICE, stop) == "liquidatedCanceled"
    rig.exchange.set_leverage_outside(ALICE, "BTC", 3, is_cross=False)
    assert rig.exchange.active_asset_data(ALICE, "BTC")["leverage"]["type"] == "isolated"
    assert rig.identity_gap(ALICE) == 0


def test_a_manual_order_of_the_owner_is_one_like_any_other() -> None:
    """Sent from the web app: tif FrontendMarket, without a client id."""
    rig = Rig()
    _, ask = rig.best("BTC")
    answer = rig.exchange.manual_order(ALICE, "BTC", is_buy=True, size=Decimal("0.02"), px=ask + 100, now_ms=rig.now_ms)
    oid = answer["response"]["data"]["statuses"][0]["filled"]["oid"]
    shown = rig.exchange.order_status(ALICE, oid)["order"]["order"]
    assert (shown["orderType"], shown["tif"], shown["cloid"]) == ("Market", "FrontendMarket", None)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (
            "Order would increase open interest while open interest is capped",
            "positionIncreaseAtOpenInterestCapRejected",
        ),
        ("Order would increase open interest too quickly", "openInterestIncreaseRejected"),
        (
            "Order rejected due to price more aggressive than oracle while at open interest cap",
            "tooAggressiveAtOpenInterestCapRejected",
        ),
        ("Order price too far from oracle", "oracleRejected"),
        ("Insufficient margin to place order.", "perpMarginRejected"),
    ],
)
def test_the_next_orders_are_refused_on_demand(text: str, status: str) -> None:
    """In a batch, each in its place, with the status of the text in history."""
    rig = Rig()
    rig.exchange.reject_next(text, 2)
    bid, _ = rig.best("BTC")
    placed = [rig.order(ALICE, "BTC", "B", "0.01", bid - 10) for _ in range(3)]
    assert placed[:2] == [{"error": f"{text} asset=0"}] * 2
    assert "resting" in placed[2]
    assert [row["status"] for row in rig.exchange.historical_orders(ALICE)][1:] == [status, status]


def test_a_delisted_coin_is_settled_at_the_oracle() -> None:
    """Its orders end, its positions close without a fee, new orders are refused; other coins go on."""
    market = Market(42, RECORDED_START_MS)
    rig = Rig(market=market)
    rig.buy(ALICE, "ETH", "1")
    rig.buy(ALICE, "BTC", "0.01")
    bid, _ = rig.best("ETH")
    resting = rig.order(ALICE, "ETH", "B", "1", round(bid - 100, 0))["resting"]["oid"]
    rig.pass_ms(1_500)
    market.set_delisted({"ETH"}, rig.now_ms)
    oracle = FEED.oracle("ETH", rig.now_ms)
    rig.pass_ms(1)
    assert rig.status(ALICE, resting) == "delistedCanceled"
    row = rig.exchange.user_fills(ALICE)[0]
    assert (row["dir"], Decimal(row["px"]), row["fee"]) == ("Settlement", oracle, "0.0")
    assert [held["position"]["coin"] for held in rig.state(ALICE)["assetPositions"]] == ["BTC"]
    assert "error" in rig.order(ALICE, "ETH", "B", "1", round(bid - 100, 0))
    rig.pass_ms(2 * HOUR_MS)
    assert rig.identity_gap(ALICE) == 0
    assert {row["delta"]["coin"] for row in rig.exchange.user_funding(ALICE, START_MS, rig.now_ms)} == {"BTC"}


def test_of_a_coin_that_never_traded_everything_can_still_be_asked() -> None:
    """MATIC is in the universe, delisted since before the recording."""
    rig = Rig()
    assert rig.exchange.active_asset_data(ALICE, "MATIC")["maxTradeSzs"] == ["0.0", "0.0"]
    assert "error" in rig.order(ALICE, "MATIC", "B", "100", "0.37")


def test_an_account_starts_with_what_it_was_given() -> None:
    """A position of --accounts: no fee, the cash moved by its value at the entry."""
    rig = Rig(usd=10_000)
    rig.exchange.give_position(BOB, "ETH", Decimal("-2"), Decimal(3_000), 7, False)
    held = rig.position(BOB, "ETH")
    assert (held["szi"], held["entryPx"], held["leverage"]["value"], held["leverage"]["type"]) == (
        "-2.0", "3000.0", 7, "isolated",
    )  # fmt: skip
    assert rig.identity_gap(BOB) == 0
    assert isinstance(rig.core.accounts[BOB], Account)
