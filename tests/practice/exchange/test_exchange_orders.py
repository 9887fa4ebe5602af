"""Orders: the rules they must keep, in the venue's words, and what becomes of those that keep them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from exchange_rig import ALICE, BOB, CAROL, FEED, START_MS, Rig, far, trades_between, wire

from perp_bot.practice.exchange.order_rules import is_on_tick
from perp_bot.practice.exchange.wishes import Unreadable
from perp_bot.practice.market.coins import INDEX

CLOID = "0x" + "1" * 32


def test_a_market_buy_fills_at_the_asks_and_pays_the_taker_fee() -> None:
    """Entry, cash, fee and the fill's row agree."""
    rig = Rig()
    _, ask = rig.best("BTC")
    placed = rig.buy(ALICE, "BTC", "0.01")
    assert placed["filled"]["totalSz"] == "0.01"
    assert Decimal(placed["filled"]["avgPx"]) == ask
    (row,) = rig.exchange.user_fills(ALICE)
    assert (row["dir"], row["crossed"], row["startPosition"]) == ("Open Long", True, "0.0")
    assert Decimal(row["fee"]) == round(ask * Decimal("0.01") * Decimal("0.00045"), 6)
    assert rig.szi(ALICE, "BTC") == Decimal("0.01")
    assert rig.identity_gap(ALICE) == 0


@pytest.mark.parametrize(
    ("side", "size", "px", "options", "error"),
    [
        ("B", "0.01", "90000.5", {}, "Price must be divisible by tick size. asset=0"),
        ("B", "0.0001", "90000", {}, "Order must have minimum value of $10. asset=0"),
        ("B", "0.000001", "90000", {}, "Order has invalid size."),
        ("B", "0", "90000", {}, "Order has zero size. asset=0"),
        ("B", "0.01", "10000", {}, "Order price cannot be more than 80% away from the reference price"),
        ("B", "30", "90000", {}, "Insufficient margin to place order. asset=0"),
        ("B", "0.01", "0", {}, "Order has invalid price."),
        ("A", "0.01", "99000", {"reduce_only": True}, "Reduce only order would increase position. asset=0"),
        ("B", "0.01", "90000", {"tif": "Ioc"}, "Order could not immediately match against any resting orders. asset=0"),
        ("A", "0.01", "98000", {"stop": "98500"}, "Invalid TP/SL price. asset=0"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_the_venues_words(
    side: str, size: str, px: str, options: dict[str, object], error: str
) -> None:
    """Nothing is booked, nothing rests."""
    rig = Rig()
    assert rig.order(ALICE, "BTC", side, size, px, **options) == {"error": error}
    assert rig.exchange.open_orders(ALICE) == []
    assert rig.exchange.user_fills(ALICE) == []


@pytest.mark.parametrize(
    ("coin", "px", "fine"),
    [
        ("BTC", "90000.5", False), ("BTC", "90001", True), ("ETH", "3123.4", True), ("ETH", "3123.45", False),
        ("ETH", "3000.12", False), ("DOGE", "0.13579", True), ("DOGE", "0.135791", False), ("XRP", "1.2345", True),
        ("XRP", "1.23456", False), ("SOL", "123.45", True), ("SOL", "123.456", False),
    ],
)  # fmt: skip
def test_a_price_has_five_figures_and_no_decimals_beyond_the_coins_or_is_whole(coin: str, px: str, fine: bool) -> None:
    """BTC at 90,000 moves in whole dollars; whole numbers are always allowed."""
    rig = Rig(usd=10_000_000)
    size = {"BTC": "0.001", "ETH": "0.01", "SOL": "1", "XRP": "20", "DOGE": "200"}[coin]
    answer = rig.order(ALICE, coin, "B", size, px)
    on_tick = "Price must be divisible by tick size." not in str(answer)
    assert on_tick == fine, answer
    if not fine:
        assert rig.exchange.historical_orders(ALICE)[0]["status"] == "tickRejected"
        assert answer["error"].endswith(f" asset={INDEX[coin]}")


def test_whole_prices_are_allowed_however_many_figures_they_have() -> None:
    """123456 is a price, 12345.6 is not."""
    spec = FEED.spec(0)
    assert spec is not None
    assert is_on_tick(Decimal(123_456), spec)
    assert not is_on_tick(Decimal("12345.6"), spec)
    assert is_on_tick(Decimal("1.2E+5"), spec)


def test_an_order_is_not_larger_than_the_coins_leverage_lets_it_be() -> None:
    """30M USD at the market at 25x and more, 2M at 10x; limit orders ten times that."""
    rig = Rig(usd=1_000_000_000)
    bid, ask = rig.best("DOGE")
    size = int(Decimal(2_000_000) / ask)
    assert "filled" in rig.order(ALICE, "DOGE", "B", size, ask, tif="Ioc")
    assert "error" in rig.order(ALICE, "DOGE", "B", size + 100, ask, tif="Ioc")
    assert "resting" in rig.order(ALICE, "DOGE", "B", size * 9, bid)
    assert "error" in rig.order(ALICE, "DOGE", "B", size * 10 + 100, bid)


def test_the_leverage_of_a_large_position_is_that_of_its_tier() -> None:
    """DOGE: 10x up to 20M, 5x above; what would be larger is refused in the venue's words."""
    rig = Rig(usd=1_000_000_000)
    bid, _ = rig.best("DOGE")
    mark = FEED.mark("DOGE", rig.now_ms)
    rig.exchange.give_position(ALICE, "DOGE", Decimal(int(Decimal("19.9e6") / mark)), mark, 10, True)
    refused = rig.order(ALICE, "DOGE", "B", int(200_000 / mark), bid)
    words = "Order would cause position to exceed margin tier limit at current leverage"
    assert refused == {"error": f"{words} asset=5"}
    assert rig.exchange.historical_orders(ALICE)[0]["status"] == "perpMaxPositionRejected"
    assert rig.leverage(ALICE, "DOGE", 5)["status"] == "ok"
    assert "resting" in rig.order(ALICE, "DOGE", "B", int(200_000 / mark), bid)
    assert "resting" in rig.order(
        ALICE, "DOGE", "A", int(200_000 / mark), round(bid * Decimal("1.5"), 5), reduce_only=True
    )


@pytest.mark.slow
def test_an_account_has_a_thousand_open_orders_and_one_more_for_each_five_million() -> None:
    """From a thousand on, none may be reduce-only or a trigger."""
    rig = Rig(usd=10_000_000)
    rig.buy(ALICE, "BTC", "0.01")
    bid, ask = rig.best("BTC")
    far_off = [wire("BTC", "B", "0.001", bid - 5_000 - number) for number in range(1_000)]
    assert all("resting" in entry for entry in rig.orders(ALICE, *far_off))
    refused = rig.order(ALICE, "BTC", "B", "0.001", bid - 9_000)
    assert "error" in refused
    assert rig.exchange.historical_orders(ALICE)[0]["status"] == "tooManyOpenOrdersRejected"
    rig.core.accounts[ALICE].volume_usd = Decimal(5_000_000)
    assert "error" in rig.order(ALICE, "BTC", "A", "0.01", ask + 5_000, reduce_only=True)
    assert "error" in rig.order(ALICE, "BTC", "A", "0.01", bid - 5_000, stop=bid - 4_000)
    assert "resting" in rig.order(ALICE, "BTC", "B", "0.001", bid - 9_000)
    assert "error" in rig.order(ALICE, "BTC", "B", "0.001", bid - 9_000)
    assert "filled" in rig.sell(ALICE, "BTC", "0.01"), "what does not rest is no open order"


def test_reduce_only_takes_no_more_than_the_position_and_never_turns_it() -> None:
    """The answer shows the smaller size."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.01")
    bid, _ = rig.best("BTC")
    answer = rig.order(ALICE, "BTC", "A", "0.05", far("BTC", bid, -1), tif="Ioc", reduce_only=True)
    assert answer["filled"]["totalSz"] == "0.01"
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.status(ALICE, answer["filled"]["oid"]) == "filled"
    flat = {"error": "Reduce only order would increase position. asset=0"}
    assert rig.order(ALICE, "BTC", "A", "0.05", far("BTC", bid, -1), tif="Ioc", reduce_only=True) == flat


def test_one_entry_answers_a_batch_that_cannot_be_read_as_orders() -> None:
    """Pre-validation looks at all before any is placed."""
    rig = Rig()
    good, bad = wire("BTC", "B", "0.01", "90000"), wire("BTC", "B", "0.000001", "90000")
    assert rig.orders(ALICE, good, bad, good) == [{"error": "Order has invalid size."}]
    assert rig.exchange.open_orders(ALICE) == []


def test_a_bad_order_of_a_batch_leaves_the_others() -> None:
    """One entry each, in their order."""
    rig = Rig()
    good, bad = wire("BTC", "B", "0.01", "90000"), wire("BTC", "B", "0.0001", "90000")
    first, second, third = rig.orders(ALICE, good, bad, good)
    assert "resting" in first
    assert "error" in second
    assert "resting" in third


def test_a_post_only_order_that_would_match_is_refused_with_the_best_prices() -> None:
    """It never takes."""
    rig = Rig()
    bid, ask = rig.best("BTC")
    words = f"Post only order would have immediately matched, bbo was {int(bid)}@{int(ask)}. asset=0"
    assert rig.order(ALICE, "BTC", "B", "0.01", ask, tif="Alo") == {"error": words}
    assert "resting" in rig.order(ALICE, "BTC", "B", "0.01", bid, tif="Alo")


def test_an_order_larger_than_the_book_fills_in_part_and_the_rest_of_an_ioc_is_gone() -> None:
    """The answer says filled; the history says canceled."""
    rig = Rig(usd=50_000_000)
    _, asks = FEED.book("DOGE", rig.now_ms)
    size = sum(size for _, size in asks) + 1000
    placed = rig.order(ALICE, "DOGE", "B", size, far("DOGE", asks[-1][0], 1), tif="Ioc")
    assert Decimal(placed["filled"]["totalSz"]) == size - 1000
    assert rig.status(ALICE, placed["filled"]["oid"]) == "canceled"
    again = rig.order(ALICE, "DOGE", "B", "1000", asks[-1][0], tif="Ioc")
    assert "error" in again, "what was taken stays taken while the book stands"
    rig.pass_ms(2_000)
    assert "filled" in rig.buy(ALICE, "DOGE", "1000")


def test_a_resting_order_is_filled_as_maker_once_the_path_trades_through_it() -> None:
    """At its own price, for the maker's fee, after it had rested."""
    rig = Rig()
    bid, _ = rig.best("BTC")
    oid = rig.order(ALICE, "BTC", "B", "0.01", bid - 20)["resting"]["oid"]
    for _ in range(400):
        rig.pass_ms(30_000)
        if rig.status(ALICE, oid) == "filled":
            break
    (row,) = rig.exchange.user_fills(ALICE)
    assert (row["crossed"], Decimal(row["px"]), row["oid"]) == (False, bid - 20, oid)
    assert Decimal(row["fee"]) == round((bid - 20) * Decimal("0.01") * Decimal("0.00015"), 6)
    trades = trades_between("BTC", row["time"] - 1, row["time"])
    assert [side for _, px, side in trades if px <= bid - 20] or FEED.best("BTC", row["time"])[1] <= bid - 20
    early = trades_between("BTC", rig.now_ms - 400 * 30_000, row["time"] - 1)
    assert not [px for at_ms, px, side in early if at_ms > START_MS and side < 0 and px < bid - 20], "none went through"


def test_two_accounts_trade_with_each_other_at_the_resting_price_best_first_then_oldest() -> None:
    """Inside the path's spread nobody else is there."""
    rig = Rig(ALICE, BOB, CAROL)
    spread_coin = "DOGE"
    bid, ask = rig.best(spread_coin)
    for _ in range(200):
        bid, ask = rig.best(spread_coin)
        if ask - bid > Decimal("0.00002"):
            break
        rig.pass_ms(1_000)
    middle = bid + Decimal("0.00001")
    assert bid < middle < ask, "no spread was wide enough"
    first = rig.order(ALICE, spread_coin, "B", 1000, middle)["resting"]["oid"]
    second = rig.order(BOB, spread_coin, "B", 1000, middle)["resting"]["oid"]
    placed = rig.order(CAROL, spread_coin, "A", 1500, middle, tif="Ioc")
    assert (placed["filled"]["totalSz"], Decimal(placed["filled"]["avgPx"])) == ("1500.0", middle)
    assert rig.status(ALICE, first) == "filled"
    assert rig.status(BOB, second) == "open"
    assert (rig.szi(ALICE, spread_coin), rig.szi(BOB, spread_coin)) == (1000, 500)
    tids = [row["tid"] for user in (ALICE, BOB, CAROL) for row in rig.exchange.user_fills(user)]
    assert len(set(tids)) == 2, "both sides of a trade have its id"


def test_an_account_does_not_trade_with_itself() -> None:
    """The resting order is cancelled, the new one goes on."""
    rig = Rig()
    bid, ask = rig.best("BTC")
    own = rig.order(ALICE, "BTC", "A", "0.01", ask)["resting"]["oid"]
    rig.exchange.drain()
    deep = rig.order(ALICE, "BTC", "B", "8", ask + 10)
    assert rig.status(ALICE, own) == "selfTradeCanceled"
    assert "filled" in deep or "resting" in deep
    assert bid < ask


def test_reduce_only_orders_shrink_with_the_position_and_end_with_it() -> None:
    """In the same message as the closing fill; origSz stays."""
    rig = Rig()
    _, ask = rig.best("BTC")
    rig.buy(ALICE, "BTC", "0.02")
    far_above = rig.order(ALICE, "BTC", "A", "0.05", ask + 3000, reduce_only=True)["resting"]["oid"]
    (shown,) = rig.exchange.open_orders(ALICE)
    assert (shown["sz"], shown["origSz"], shown["reduceOnly"]) == ("0.02", "0.05", True)
    rig.sell(ALICE, "BTC", "0.01")
    assert rig.exchange.open_orders(ALICE)[0]["sz"] == "0.01"
    rig.exchange.drain()
    rig.sell(ALICE, "BTC", "0.01")
    assert rig.szi(ALICE, "BTC") == 0
    assert rig.status(ALICE, far_above) == "reduceOnlyCanceled"
    (updates,) = [event.data for event in rig.exchange.drain() if event.channel == "orderUpdates"]
    assert [update["status"] for update in updates] == ["filled", "reduceOnlyCanceled"]


def test_a_flip_closes_and_opens_in_one_fill() -> None:
    """dir says so; closedPnl is of the closed part alone."""
    rig = Rig()
    rig.buy(ALICE, "BTC", "0.01")
    entry = rig.core.accounts[ALICE].position("BTC").entry_px
    rig.sell(ALICE, "BTC", "0.03")
    row = rig.exchange.user_fills(ALICE)[0]
    assert row["dir"] == "Long > Short"
    assert Decimal(row["closedPnl"]) == round((Decimal(row["px"]) - entry) * Decimal("0.01"), 6)
    assert rig.szi(ALICE, "BTC") == Decimal("-0.02")
    assert rig.core.accounts[ALICE].position("BTC").entry_px == Decimal(row["px"])


def test_closing_the_whole_position_is_exempt_from_the_least_value() -> None:
    """A part of it is not."""
    rig = Rig()
    rig.buy(ALICE, "ETH", "0.004")
    bid, _ = rig.best("ETH")
    assert "error" in rig.order(ALICE, "ETH", "A", "0.002", far("ETH", bid, -1), tif="Ioc")
    rig.core.accounts[ALICE].position("ETH").szi = Decimal("0.002")
    assert "filled" in rig.order(ALICE, "ETH", "A", "0.002", far("ETH", bid, -1), tif="Ioc")


def test_cancel_by_id_and_by_the_clients_own() -> None:
    """What is not there is told so, in the same words whatever became of it."""
    rig = Rig()
    bid, _ = rig.best("BTC")
    oid = rig.order(ALICE, "BTC", "B", "0.01", bid - 500, cloid=CLOID)["resting"]["oid"]
    gone = {"error": "Order was never placed, already canceled, or filled. asset=0"}
    assert rig.cancel(BOB, "BTC", oid) == gone
    found = rig.act(ALICE, {"type": "cancelByCloid", "cancels": [{"asset": 0, "cloid": CLOID}]})
    assert found["response"] == {"type": "cancel", "data": {"statuses": ["success"]}}
    assert rig.cancel(ALICE, "BTC", oid) == gone
    assert rig.status(ALICE, CLOID) == rig.status(ALICE, oid) == "canceled"
    assert rig.status(BOB, oid) == "unknownOid"


def test_a_modified_order_has_a_new_id() -> None:
    """Cancel and replace."""
    rig = Rig()
    bid, _ = rig.best("BTC")
    oid = rig.order(ALICE, "BTC", "B", "0.01", bid - 500)["resting"]["oid"]
    change = {"oid": oid, "order": wire("BTC", "B", "0.02", bid - 600, cloid=CLOID)}
    answer = rig.act(ALICE, {"type": "batchModify", "modifies": [change]})
    (placed,) = answer["response"]["data"]["statuses"]
    assert placed["resting"]["oid"] != oid
    assert rig.status(ALICE, oid) == "canceled"
    assert rig.act(ALICE, {"type": "modify", "oid": CLOID, "order": wire("BTC", "B", "0.03", bid - 700)}) == {
        "status": "ok",
        "response": {"type": "default"},
    }
    assert [order["sz"] for order in rig.exchange.open_orders(ALICE)] == ["0.03"]
    assert "error" in rig.act(ALICE, {"type": "batchModify", "modifies": [change]})["response"]["data"]["statuses"][0]


def test_a_replacement_that_would_execute_must_be_asked_for() -> None:
    """Alo or a Gtc that rests by default; `a` lets it through. Refused, the old order stays."""
    rig = Rig()
    bid, ask = rig.best("BTC")
    oid = rig.order(ALICE, "BTC", "B", "0.01", bid - 500)["resting"]["oid"]
    for tif in ("Ioc", "Gtc", "FrontendMarket"):
        change = {"type": "modify", "oid": oid, "order": wire("BTC", "B", "0.01", ask, tif=tif)}
        assert rig.act(ALICE, change)["status"] == "err"
    assert rig.status(ALICE, oid) == "open"
    change = {"oid": oid, "order": wire("BTC", "B", "0.01", ask, tif="Ioc")}
    answer = rig.act(ALICE, {"type": "batchModify", "modifies": [change], "a": True})
    assert "filled" in answer["response"]["data"]["statuses"][0]
    gone = rig.act(ALICE, {"type": "modify", **change})
    assert gone == {"status": "err", "response": "Cannot modify canceled or filled order asset=0"}


def test_two_hundred_cancels_are_one_action_and_cancel_by_cloid_counts_alike() -> None:
    """Each entry says what became of it; coins may differ."""
    rig = Rig()
    oid = rig.order(ALICE, "BTC", "B", "0.01", rig.best("BTC")[0] - 500)["resting"]["oid"]
    other = rig.order(ALICE, "ETH", "B", "0.1", round(rig.best("ETH")[0] - 50, 0))["resting"]["oid"]
    cancels = [{"a": 0, "o": oid}, {"a": 1, "o": other}, *[{"a": 0, "o": number} for number in range(198)]]
    statuses = rig.act(ALICE, {"type": "cancel", "cancels": cancels})["response"]["data"]["statuses"]
    assert statuses[:2] == ["success", "success"]
    assert len(statuses) == 200
    by_cloid = [{"asset": 0, "cloid": CLOID}] * 201
    assert rig.act(ALICE, {"type": "cancelByCloid", "cancels": by_cloid})["status"] == "err"


def test_more_than_two_hundred_cancels_fail_whole() -> None:
    """Nothing is cancelled."""
    rig = Rig()
    cancels = [{"a": 0, "o": number} for number in range(201)]
    assert rig.act(ALICE, {"type": "cancel", "cancels": cancels}) == {
        "status": "err",
        "response": "Signed action over weight limit of 200.",
    }


@pytest.mark.parametrize(
    "action",
    [
        {"type": "order", "orders": [{"a": 0}], "grouping": "na"},
        {"type": "order", "orders": [wire("BTC", "B", "0.01", "90000")], "grouping": "family"},
        {"type": "order", "orders": [{**wire("BTC", "B", "0.01", "90000"), "p": "9e4"}], "grouping": "na"},
        {"type": "order", "orders": [{**wire("BTC", "B", "0.01", "90000"), "b": 1}], "grouping": "na"},
        {"type": "cancel", "cancels": [{"a": 0, "o": "1"}]},
        {"type": "updateLeverage", "asset": 0, "isCross": "yes", "leverage": 5},
    ],
)
def test_what_does_not_read_is_no_action(action: dict[str, object]) -> None:
    """The server answers 422."""
    with pytest.raises(Unreadable):
        Rig().act(ALICE, action)


def test_an_unknown_action_is_an_error() -> None:
    """In the words the venue has for bodies that it cannot read."""
    assert Rig().act(ALICE, {"type": "dance"}) == {
        "status": "err",
        "response": "Failed to deserialize the JSON body into the target type",
    }


def test_an_account_without_money_may_do_nothing() -> None:
    """In the venue's words."""
    rig = Rig()
    rig.exchange._account(CAROL)
    assert rig.act(CAROL, {"type": "noop"}) == {
        "status": "err",
        "response": f"Must deposit before performing actions. User: {CAROL}",
    }
    stranger = "0x" + "9" * 40
    assert "Must deposit" in rig.act(stranger, {"type": "noop"})["response"]


def test_above_the_address_limit_one_action_each_ten_seconds() -> None:
    """A batch counts whole; cancels have more; volume buys more."""
    rig = Rig()
    account = rig.core.accounts[ALICE]
    account.requests_used = 9_999
    bid, _ = rig.best("BTC")
    one, two = wire("BTC", "B", "0.01", bid - 500), wire("BTC", "B", "0.01", bid - 600)
    rig.orders(ALICE, one)
    assert account.requests_used == 10_000
    rig.orders(ALICE, one)  # the first above it
    refused = rig.act(ALICE, {"type": "order", "orders": [two], "grouping": "na"})
    assert refused == {
        "status": "err",
        "response": "Too many cumulative requests sent (10001 > 10000) for cumulative volume traded $0.00. Place "
        "taker orders to free up 1 request per USDC traded.",
    }
    oid = rig.exchange.open_orders(ALICE)[0]["oid"]
    assert rig.cancel(ALICE, "BTC", oid) == "success"
    rig.pass_ms(10_000)
    assert "resting" in rig.orders(ALICE, two)[0]
    assert rig.exchange.rate_limit(ALICE)["nRequestsUsed"] == 10_003


def test_refused_actions_cost_nothing_and_do_not_restart_the_wait() -> None:
    """Failed entries of an accepted batch do count; the server may say what an action costs."""
    rig = Rig()
    account = rig.core.accounts[ALICE]
    bad = wire("BTC", "B", "0.0001", "90000")
    rig.orders(ALICE, bad, bad, bad)
    assert account.requests_used == 3
    rig.exchange.act(ALICE, {"type": "noop"}, rig.now_ms, actions_cost=5)
    assert account.requests_used == 8
    account.requests_used = 10_000
    assert rig.act(ALICE, {"type": "noop"})["status"] == "ok"
    for _ in range(3):
        rig.pass_ms(3_000)
        assert rig.act(ALICE, {"type": "noop"})["status"] == "err"
    rig.pass_ms(1_000)
    assert rig.act(ALICE, {"type": "noop"})["status"] == "ok"
    assert account.requests_used == 10_002


def test_cancels_have_twice_the_limit_of_other_actions() -> None:
    """min(limit + 100000, 2 x limit)."""
    rig = Rig()
    account = rig.core.accounts[ALICE]
    account.requests_used, account.slow_since_ms = 19_999, rig.now_ms
    cancel = {"type": "cancel", "cancels": [{"a": 0, "o": 1}]}
    assert rig.act(ALICE, {"type": "noop"})["status"] == "err"
    assert rig.act(ALICE, cancel)["status"] == "ok"
    assert "(20000 > 20000)" in rig.act(ALICE, cancel)["response"]
    account.volume_usd = Decimal(200_000)
    account.requests_used = 309_999
    assert rig.act(ALICE, cancel)["status"] == "ok"
    assert rig.act(ALICE, cancel)["status"] == "err"
