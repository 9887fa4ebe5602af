"""Matching by price and time: against the path's book and trades, and among the venue's own accounts."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, BOB, CAROL, FEED, Rig, far, trades_between

from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.practice.exchange import matching
from perp_bot.practice.exchange.amounts import text
from perp_bot.practice.exchange.feed import PathTrade


def queue_of(rig: Rig, coin: str, px: Decimal, is_bid: bool) -> Decimal:
    side = FEED.book(coin, rig.now_ms)[0 if is_bid else 1]
    return next((size for level, size in side if level == px), Decimal(0))


def wide(rig: Rig, coin: str = "DOGE", tick: Decimal = Decimal("0.00001")) -> Decimal:
    """Let time pass until a price between bid and ask is free; return it."""
    for _ in range(400):
        bid, ask = rig.best(coin)
        if ask - bid >= 2 * tick:
            return bid + tick
        rig.pass_ms(1_000)
    raise AssertionError("no spread was wide enough")


@pytest.mark.parametrize("minutes", range(6))
def test_a_trade_at_the_price_fills_after_the_queue_and_one_through_it_at_once(minutes: int) -> None:
    """Reckoned again from the tape alone: the size at the price when the order came is traded first."""
    rig = Rig()
    rig.pass_ms(minutes * 7 * MINUTE_MS)
    bid, _ = rig.best("ETH")
    oid = rig.order(ALICE, "ETH", "B", "2", bid)["resting"]["oid"]
    ahead, left, began_ms = queue_of(rig, "ETH", bid, True), Decimal(2), rig.now_ms
    assert ahead > 0
    expected: dict[int, Decimal] = {}
    market = rig.core.feed._market.history("ETH")
    assert market is not None
    at_ms = began_ms
    while left and at_ms < began_ms + 20 * MINUTE_MS:
        at_ms += 1
        for trade_ms, px, side in trades_between("ETH", at_ms - 1, at_ms):
            size = next(t.size for t in FEED.trades_at("ETH", trade_ms) if t.px == px)
            if side > 0 or px > bid:
                continue
            filled = left if px < bid else min(left, max(Decimal(0), size - ahead))
            ahead = max(Decimal(0), ahead - size) if px == bid else ahead
            left -= filled
            if filled:
                expected[trade_ms] = expected.get(trade_ms, Decimal(0)) + filled
        if left and at_ms % 1_000 == 0 and FEED.best("ETH", at_ms)[1] <= bid:
            expected[at_ms], left = expected.get(at_ms, Decimal(0)) + left, Decimal(0)
    rig.pass_ms(20 * MINUTE_MS)
    found: dict[int, Decimal] = {}
    for row in rig.exchange.user_fills(ALICE):
        assert (row["oid"], row["crossed"], Decimal(row["px"])) == (oid, False, bid)
        found[row["time"]] = found.get(row["time"], Decimal(0)) + Decimal(row["sz"])
    assert found == expected


def test_who_came_first_at_a_price_is_filled_first_whatever_the_queue_was() -> None:
    """The path's queue at the price differs from moment to moment: it does not let a later order by."""
    rig = Rig(ALICE, BOB)
    bid, _ = rig.best("BTC")
    rig.order(ALICE, "BTC", "B", "1", bid)
    rig.order(BOB, "BTC", "B", "1", bid)
    (first,) = rig.core.accounts[ALICE].orders.values()
    (second,) = rig.core.accounts[BOB].orders.values()
    first.ahead, second.ahead = Decimal(10), Decimal(1)
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid, Decimal(4), is_buy=False))
    assert (first.left, second.left, first.ahead, second.ahead) == (1, 1, 6, 0)
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid, Decimal("6.4"), is_buy=False))
    assert (first.left, second.left) == (Decimal("0.6"), 1)
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid, Decimal("0.9"), is_buy=False))
    assert (first.left, second.left) == (0, Decimal("0.7"))
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid - 1, Decimal("0.00001"), is_buy=False))
    assert second.left == 0, "a trade through the price takes all of it"


def test_a_buying_aggressor_does_not_fill_a_buy() -> None:
    """Nor does a sale above the price."""
    rig = Rig()
    bid, _ = rig.best("BTC")
    rig.order(ALICE, "BTC", "B", "1", bid)
    (order,) = rig.core.accounts[ALICE].orders.values()
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid - 5, Decimal(9), is_buy=True))
    matching.trade(rig.core, "BTC", PathTrade(rig.now_ms, bid + 1, Decimal(9), is_buy=False))
    assert order.left == 1


def test_what_was_taken_is_gone_for_everybody_until_the_book_changes() -> None:
    """Every 500 ms at the most often."""
    rig = Rig(ALICE, BOB, usd=5_000_000)
    rig.pass_ms(-rig.now_ms % 1_000)
    _, asks = FEED.book("ETH", rig.now_ms)
    (first_px, first), (second_px, second) = asks[:2]
    assert Decimal(rig.order(ALICE, "ETH", "B", first, first_px, tif="Ioc")["filled"]["avgPx"]) == first_px
    rig.pass_ms(499)
    taken = rig.order(BOB, "ETH", "B", second, second_px, tif="Ioc")["filled"]
    assert (taken["totalSz"], Decimal(taken["avgPx"])) == (text(second), second_px)
    assert "error" in rig.order(BOB, "ETH", "B", "0.01", second_px, tif="Ioc")
    rig.pass_ms(1)
    _, asks = FEED.book("ETH", rig.now_ms)
    taken = rig.order(BOB, "ETH", "B", "0.01", asks[0][0], tif="Ioc")["filled"]
    assert Decimal(taken["avgPx"]) == asks[0][0]


def test_an_order_sweeps_path_and_accounts_by_price() -> None:
    """Best price first, whosever it is; at one price the path's orders were there first; average of what it got."""
    rig = Rig(ALICE, BOB, CAROL, usd=5_000_000)
    middle = wide(rig)
    _, asks = FEED.book("DOGE", rig.now_ms)
    rig.order(BOB, "DOGE", "A", 1_000, middle)
    rig.order(CAROL, "DOGE", "A", 1_000, asks[0][0])
    size = 1_000 + asks[0][1] + 400
    answer = rig.order(ALICE, "DOGE", "B", size, asks[0][0], tif="Ioc")["filled"]
    worth = 1_000 * middle + (asks[0][1] + 400) * asks[0][0]
    assert (Decimal(answer["totalSz"]), Decimal(answer["avgPx"])) == (size, round(worth / size, 8))
    assert [Decimal(row["px"]) for row in rig.exchange.user_fills(ALICE)[::-1]] == [middle, asks[0][0], asks[0][0]]
    assert rig.szi(CAROL, "DOGE") == -400
    for user in (ALICE, BOB, CAROL):
        assert rig.identity_gap(user) == 0


def test_self_trade_prevention_cancels_the_resting_order_and_goes_on() -> None:
    """No fill between them; the order behind it, of another account, is traded with."""
    rig = Rig(ALICE, BOB)
    middle = wide(rig)
    own = rig.order(ALICE, "DOGE", "A", 1_000, middle)["resting"]["oid"]
    rig.order(BOB, "DOGE", "A", 1_000, middle)
    answer = rig.order(ALICE, "DOGE", "B", 1_000, middle, tif="Ioc")
    assert answer["filled"]["totalSz"] == "1000.0"
    assert rig.status(ALICE, own) == "selfTradeCanceled"
    assert [row["crossed"] for row in rig.exchange.user_fills(ALICE)] == [True]


def test_a_good_till_cancelled_order_takes_what_is_there_and_rests() -> None:
    """The answer is resting; the fills are taker's, what comes later is maker's."""
    rig = Rig(usd=5_000_000)
    _, asks = FEED.book("ETH", rig.now_ms)
    px, size = asks[0]
    oid = rig.order(ALICE, "ETH", "B", size + 5, px)["resting"]["oid"]
    (shown,) = rig.exchange.open_orders(ALICE)
    assert (Decimal(shown["sz"]), Decimal(shown["origSz"])) == (5, size + 5)
    rig.pass_ms(30 * MINUTE_MS)
    rows = rig.exchange.user_fills(ALICE)[::-1]
    assert {row["oid"] for row in rows} == {oid}
    assert [row["crossed"] for row in rows[:2]] == [True, False]
    assert sum(Decimal(row["sz"]) for row in rows) == size + 5


def test_a_resting_order_without_margin_is_cancelled_when_it_is_hit() -> None:
    """marginCanceled; the other side goes on to the next."""
    rig = Rig(ALICE, BOB, CAROL, usd=1_000)
    middle = wide(rig)
    poor = rig.order(BOB, "DOGE", "B", 50_000, middle)["resting"]["oid"]
    rig.exchange.fund(BOB, Decimal(-990))
    rig.order(CAROL, "DOGE", "B", 5_000, middle)
    answer = rig.order(ALICE, "DOGE", "A", 5_000, middle, tif="Ioc")
    assert answer["filled"]["totalSz"] == "5000.0"
    assert rig.status(BOB, poor) == "marginCanceled"
    assert rig.szi(CAROL, "DOGE") == 5_000


def test_a_market_order_of_the_web_app_is_an_ioc() -> None:
    """Shown as Market; without anything to match it has words of its own."""
    rig = Rig()
    _, ask = rig.best("BTC")
    oid = rig.order(ALICE, "BTC", "B", "0.01", far("BTC", ask, 1), tif="FrontendMarket")["filled"]["oid"]
    shown = rig.exchange.order_status(ALICE, oid)["order"]
    assert (shown["order"]["orderType"], shown["status"], shown["order"]["sz"]) == ("Market", "filled", "0.0")
    refused = rig.order(ALICE, "BTC", "B", "0.01", ask - 500, tif="FrontendMarket")
    assert refused == {"error": "No liquidity available for market order. asset=0"}
    assert rig.exchange.historical_orders(ALICE)[0]["status"] == "marketOrderNoLiquidityRejected"
