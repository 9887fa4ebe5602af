"""Prices of fills explained by recorded inputs alone; what they do not explain stays unexplained."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from perp_bot.backtest.price_parts import BooksWanted, Evidence, PriceParts, explain, moments_of
from perp_bot.config.model import BacktestConfig
from perp_bot.core.types import (
    Book,
    BookLevel,
    ClosedTrade,
    Fill,
    FundingPayment,
    Liquidity,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderState,
    OrderType,
    Side,
)

D = Decimal


def book(at_ms: int, bid: float, ask: float, symbol: str = "BTC") -> Book:
    """Return a book with half a coin at the touch and the rest a dollar away."""
    return Book(
        symbol, at_ms, (BookLevel(bid, 0.5), BookLevel(bid - 1, 9.0)), (BookLevel(ask, 0.5), BookLevel(ask + 1, 9.0))
    )


def order(cloid: str, side: OrderSide, role: OrderRole, created_ms: int, **more: Any) -> Order:
    intent = OrderIntent(
        cloid, more.pop("decision_id", "s:BTC:15m:900000"), "BTC", side, role, OrderType.TAKER, D(1), None, None,
        role is not OrderRole.ENTRY, created_ms, None, "s", "paper", "told to",
    )  # fmt: skip
    return Order(replace(intent, **more), OrderState.FILLED, D(1), None, created_ms)


def fill(of: Order, px: str, size: str, at_ms: int, liquidity: Liquidity = Liquidity.TAKER, number: int = 0) -> Fill:
    intent = of.intent
    return Fill(
        f"{intent.cloid}:{number}", intent.cloid, "BTC", intent.side, D(px), D(size), D(0), liquidity, at_ms,
        intent.role, "s", "paper", intent.reason, D(0),
    )  # fmt: skip


def evidence(orders: list[Order], fills: list[Fill], books: list[Book], **more: Any) -> Evidence:
    known = {one.intent.cloid: one for one in orders}
    wanted = BooksWanted(moments_of(fills, known))
    for one in books:
        wanted.take(one)
    return Evidence(known, {"s:BTC:15m:900000": 100.0}, wanted.found(), BacktestConfig(), fills, **more)


BUY = order("0xa", OrderSide.BUY, OrderRole.ENTRY, 1_000)


def test_a_taker_is_spread_latency_and_slippage_from_the_close() -> None:
    """Close 100, ask 101 when sent, 103 when filled; half a coin at 103 and half at 104."""
    fills = [fill(BUY, "103", "0.5", 2_000), fill(BUY, "104", "0.5", 2_000, number=1)]
    found = evidence([BUY], fills, [book(900, 99.0, 101.0), book(1_900, 102.0, 103.0)]).parts_of(fills)
    fees = (D("0.5") * 103 + D("0.5") * 104) * D("0.00045")
    assert found == PriceParts(D(100), D(1), D(2), D("0.5"), fees)
    assert found.px == D("103.5")


def test_a_maker_is_its_limit_alone() -> None:
    """No latency and no slippage; the maker's fee."""
    resting = order("0xb", OrderSide.BUY, OrderRole.ENTRY, 1_000, limit_px=D("99.5"), order_type=OrderType.LIMIT)
    fills = [fill(resting, "99.5", "1", 2_000, Liquidity.MAKER)]
    found = evidence([resting], fills, [book(900, 99.5, 101.0)]).parts_of(fills)
    assert found == PriceParts(D(100), D("-0.5"), D(0), D(0), D("99.5") * D("0.00015"))


def test_a_stop_is_measured_from_its_trigger() -> None:
    """Trigger 90, bid 88 when it fires, the second half a dollar lower."""
    stop = order("0xc", OrderSide.SELL, OrderRole.STOP, 1_000, trigger_px=D(90))
    fills = [fill(stop, "88", "0.5", 2_000), fill(stop, "87", "0.5", 2_000, number=1)]
    found = evidence([stop], fills, [book(900, 99.0, 101.0), book(1_900, 88.0, 89.0)]).parts_of(fills)
    assert found is not None
    assert (found.reference_px, found.spread, found.latency, found.slippage) == (D(90), D(0), D(-2), D("-0.5"))


def test_an_order_that_no_candle_decided_is_measured_from_the_middle() -> None:
    """A timeout: half a spread, and what the market moved."""
    late = order("0xd", OrderSide.SELL, OrderRole.EXIT, 1_000, decision_id="s:BTC:timeout:5")
    fills = [fill(late, "99", "0.5", 1_000)]
    found = evidence([late], fills, [book(900, 99.0, 101.0)]).parts_of(fills)
    assert found is not None
    assert (found.reference_px, found.spread, found.latency, found.slippage) == (D(100), D(-1), D(0), D(0))


def test_a_fill_that_the_book_does_not_explain_stays_unexplained() -> None:
    """A cent beside the book is in no part: the explained price is the book's."""
    fills = [fill(BUY, "101.01", "0.5", 1_000)]
    found = evidence([BUY], fills, [book(900, 99.0, 101.0)]).parts_of(fills)
    assert found is not None
    assert fills[0].px - found.px == D("0.01")


def test_nothing_is_explained_without_the_book_or_beyond_its_depth() -> None:
    """Unknown stays unknown."""
    fills = [fill(BUY, "101", "0.5", 1_000)]
    assert evidence([BUY], fills, []).parts_of(fills) is None
    deep = [fill(BUY, "101", "50", 1_000)]
    assert evidence([BUY], deep, [book(900, 99.0, 101.0)]).parts_of(deep) is None
    assert evidence([], fills, [book(900, 99.0, 101.0)]).parts_of(fills) is None


def test_the_book_of_a_moment_is_the_newest_one_until_then() -> None:
    """One of the very ms counts, one a ms later does not; books out of order and of other coins change nothing."""
    wanted = BooksWanted([("BTC", 1_000), ("BTC", 1_000), ("BTC", 999), ("ETH", 5), ("BTC", 10)])
    for at_ms in (500, 999, 400, 1_000, 1_001):
        wanted.take(book(at_ms, float(at_ms), at_ms + 1.0))
    wanted.take(book(900, 1.0, 2.0, "SOL"))
    found = wanted.found()
    assert {key: one.venue_ms for key, one in found.items()} == {("BTC", 1_000): 1_000, ("BTC", 999): 999}


def test_a_trade_is_explained_from_its_own_fills_and_hours() -> None:
    """Two round trips in a row: entry, exit and funding of each; the hour of its opening is not its own."""
    sell = order("0xe", OrderSide.SELL, OrderRole.EXIT, 3_600_500)
    again, out = (
        order("0xf", OrderSide.BUY, OrderRole.ENTRY, 3_601_000),
        order("0x1", OrderSide.SELL, OrderRole.EXIT, 3_602_000),
    )
    fills = [
        fill(BUY, "101", "0.5", 1_000), fill(sell, "99", "0.5", 3_600_500),
        fill(again, "101", "0.25", 3_601_000), fill(out, "99", "0.25", 3_602_000),
    ]  # fmt: skip
    hours = [FundingPayment("BTC", 3_600_000, D("0.5"), D(100), D("0.0001"), D("-0.005"), "s", "paper")]
    trades = [
        ClosedTrade(
            f"trade:{one.fill_id}", "BTC", Side.LONG, one.size, D(101), D(99), one.venue_ms, closed_ms, D(0), D(0),
            D(0), D(0), "told to", "s", "paper", "s:BTC:15m:900000", stopped=False,
        )
        for one, closed_ms in ((fills[0], 3_600_500), (fills[2], 3_602_000))
    ]  # fmt: skip
    found = explain(evidence([BUY, sell, again, out], fills, [book(900, 99.0, 101.0)], funding=hours), trades)
    assert [(one.entry.px, one.exit.px, one.funding_usd) for one in found.values()] == [
        (D(101), D(99), D("-0.005")),
        (D(101), D(99), D(0)),
    ]
