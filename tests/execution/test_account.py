"""The books: two formulas of equity agree, rows rebuild them, round trips add up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from execution_builders import T0, D, fill, position, stop_rule
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import Fill, FundingPayment, OrderRole, OrderSide, Side
from perp_bot.execution.account import Account
from perp_bot.execution.funding import funding_due, funding_payment, whole_hours

BUY, SELL = OrderSide.BUY, OrderSide.SELL


def account() -> Account:
    return Account("paper", D(670), stop_rule)


def paid(hour: int, usd: str, symbol: str = "BTC") -> FundingPayment:
    at = T0 - T0 % HOUR_MS + hour * HOUR_MS
    return FundingPayment(symbol, at, D(1), D(100), D("0.0000125"), Decimal(usd), "mean_reversion", "paper")


def test_a_round_trip_by_hand() -> None:
    """Buy 2 at 100 (fee 0.1), funding -0.05, sell 2 at 103 (fee 0.1): net 5.75, cash 675.75."""
    books = account()
    opened = books.apply_fill(fill("a", BUY, "2", "100", fee="0.1"))
    assert opened.position is not None
    assert opened.position.stop_px == 95.0
    assert books.cash_usd == D("469.9")
    assert books.equity({"BTC": 101.0}) == D("671.9")
    books.apply_funding(paid(1, "-0.05"))
    closed = books.apply_fill(
        fill("b", SELL, "2", "103", fee="0.1", at=2 * HOUR_MS, role=OrderRole.EXIT, reason="mean_reversion_complete")
    )
    assert closed.position is None
    trade = closed.closed_trade
    assert trade is not None
    assert (trade.gross_usd, trade.fees_usd, trade.funding_usd, trade.net_usd) == (
        D(6),
        D("0.2"),
        D("-0.05"),
        D("5.75"),
    )
    assert (trade.entry_px, trade.exit_px, trade.size, trade.side) == (D(100), D(103), D(2), Side.LONG)
    assert (trade.exit_reason, trade.stopped, trade.trade_id) == ("mean_reversion_complete", False, "trade:a")
    assert books.cash_usd == D("675.75") == books.equity({})
    assert books.trades == (trade,)


def test_a_short_earns_when_the_price_falls() -> None:
    """Sell 1 at 100, buy back at 90: 10 gross."""
    books = account()
    books.apply_fill(fill("a", SELL, "1", "100"))
    assert books.cash_usd == D(770)
    assert books.equity({"BTC": 95.0}) == D(675)
    trade = books.apply_fill(fill("b", BUY, "1", "90")).closed_trade
    assert trade is not None
    assert (trade.side, trade.gross_usd) == (Side.SHORT, D(10))


def test_adding_averages_the_entry_and_moves_the_stop() -> None:
    """1 at 100 and 3 at 104 average 103; the stop follows from the real average and size."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    change = books.apply_fill(fill("b", BUY, "3", "104"))
    assert change.position is not None
    assert (change.position.entry_px, change.position.size, change.position.stop_px) == (D(103), D(4), 100.5)


def test_a_part_close_realises_its_share_and_keeps_the_stop() -> None:
    """Half of it at 110: 5 realised, the rest at the old entry and stop; one trade at the end."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    half = books.apply_fill(fill("b", SELL, "0.5", "110"))
    assert half.closed_trade is None
    assert half.position is not None
    assert (half.position.size, half.position.realized_usd, half.position.stop_px) == (D("0.5"), D(5), 90.0)
    trade = books.apply_fill(fill("c", SELL, "0.5", "90")).closed_trade
    assert trade is not None
    assert (trade.gross_usd, trade.exit_px, trade.size) == (D(0), D(100), D(1))


def test_a_fill_through_zero_closes_one_trade_and_opens_the_next() -> None:
    """Long 1, sell 3 at 110 with a fee of 0.3: a closed long paying 0.1, an open short of 2 paying 0.2."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    change = books.apply_fill(fill("b", SELL, "3", "110", fee="0.3", at=5))
    assert change.closed_trade is not None
    assert (change.closed_trade.net_usd, change.closed_trade.fees_usd) == (D("9.9"), D("0.1"))
    short = change.position
    assert short is not None
    assert (short.side, short.size, short.entry_px, short.fees_usd, short.opened_ms) == (
        Side.SHORT,
        D(2),
        D(110),
        D("0.2"),
        T0 + 5,
    )
    assert books.check({"BTC": 110.0}) == 0


@pytest.mark.parametrize(
    ("role", "reason", "stopped"),
    [
        (OrderRole.STOP, "capital_stop", True),
        (OrderRole.EXIT, "zscore_stop", True),
        (OrderRole.EXIT, "timeout", False),
        (OrderRole.EXIT, "mean_reversion_complete", False),
    ],
)
def test_any_stop_marks_the_trade_as_stopped(role: OrderRole, reason: str, stopped: bool) -> None:
    """The cooldown follows from this flag; a part closed by a stop is enough."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    books.apply_fill(fill("b", SELL, "0.5", "90", role=role, reason=reason))
    trade = books.apply_fill(fill("c", SELL, "0.5", "90", role=OrderRole.EXIT, reason="operator")).closed_trade
    assert trade is not None
    assert trade.stopped is stopped


def test_the_same_fill_and_the_same_hour_count_once() -> None:
    """Replays after a restart change nothing."""
    books = account()
    first = fill("a", BUY, "1", "100", fee="0.1")
    assert books.apply_fill(first).is_new
    books.apply_funding(paid(1, "-0.05"))
    before = books.totals()
    assert not books.apply_fill(first).is_new
    assert not books.apply_funding(paid(1, "-0.05")).is_new
    assert books.totals() == before


def test_funding_that_comes_after_the_close_corrects_its_trade() -> None:
    """The hour belongs to the position that was open then, whenever its rate arrives."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    books.apply_fill(fill("b", SELL, "1", "101", at=2 * HOUR_MS))
    books.apply_fill(fill("c", BUY, "1", "101", at=3 * HOUR_MS))
    change = books.apply_funding(paid(1, "-0.05"))
    assert change.closed_trade is not None
    assert (change.closed_trade.trade_id, change.closed_trade.net_usd) == ("trade:a", D("0.95"))
    still_open = books.position("BTC")
    assert still_open is not None
    assert still_open.funding_usd == 0
    assert books.trades[0] == change.closed_trade


def test_equity_is_missing_when_a_mark_is() -> None:
    """Never a position at price 0."""
    books = account()
    books.apply_fill(fill("a", BUY, "1", "100"))
    assert books.equity({}) is None
    assert books.unrealized_usd({"ETH": 1.0}) is None
    assert books.unrealized_usd({"BTC": 99.0}) == D(-1)


steps = st.lists(
    st.tuples(
        st.sampled_from(["BTC", "ETH"]),
        st.sampled_from([BUY, SELL, None]),  # None: an hour's funding
        st.integers(1, 5_000),
        st.integers(1, 200_000),
        st.integers(0, 5_000),
    ),
    max_size=40,
)
marks = st.tuples(st.floats(0.01, 1e6), st.floats(0.01, 1e6))


def booked(
    rows: list[tuple[str, OrderSide | None, int, int, int]],
) -> tuple[Account, list[Fill], list[FundingPayment]]:
    books, fills, funding = account(), [], []
    for place, (symbol, side, size, price, cost) in enumerate(rows):
        if side is None:
            payment = replace(paid(place, str(Decimal(cost - 2_500) / 10_000)), symbol=symbol)
            funding.append(payment)
            books.apply_funding(payment)
        else:
            one = fill(
                str(place),
                side,
                str(Decimal(size) / 1000),
                str(Decimal(price) / 10),
                fee=str(Decimal(cost) / 10_000),
                at=place * HOUR_MS + 1_800_000,
                symbol=symbol,
            )
            fills.append(one)
            books.apply_fill(one)
    return books, fills, funding


@given(steps, marks)
def test_equity_by_cash_equals_equity_by_parts(
    rows: list[tuple[str, OrderSide | None, int, int, int]], at: tuple[float, float]
) -> None:
    """I11 over random fills (opens, adds, part closes, flips) and funding, at any marks."""
    books, fills, funding = booked(rows)
    prices = {"BTC": at[0], "ETH": at[1]}
    assert books.check(prices) < Decimal("1e-9")
    # A third count, from the rows alone.
    cash = D(670) + sum((-row.size * row.side.sign * row.px - row.fee_usd for row in fills), D(0))
    assert books.cash_usd == cash + sum((payment.usd for payment in funding), D(0))
    sizes = {
        symbol: sum((row.size * row.side.sign for row in fills if row.symbol == symbol), D(0)) for symbol in prices
    }
    assert {p.symbol: p.signed_size for p in books.positions} == {s: size for s, size in sizes.items() if size}


@given(steps)
def test_rows_rebuild_the_identical_account(rows: list[tuple[str, OrderSide | None, int, int, int]]) -> None:
    """After a restart every number, position and round trip equals that of the object that lived through it."""
    books, fills, funding = booked(rows)
    again = Account.rebuild("paper", D(670), fills, reversed(funding), stop_rule=stop_rule)
    assert again.totals() == books.totals()


@given(steps)
def test_round_trips_and_the_open_rest_sum_to_the_totals(
    rows: list[tuple[str, OrderSide | None, int, int, int]],
) -> None:
    """Nothing falls between two trades: fees are complete, realised PnL is the sum of gross and part closes."""
    books, fills, _ = booked(rows)
    open_fees = sum((p.fees_usd for p in books.positions), D(0))
    assert sum((t.fees_usd for t in books.trades), D(0)) + open_fees == sum((f.fee_usd for f in fills), D(0))
    open_realized = sum((p.realized_usd for p in books.positions), D(0))
    gross = sum((t.gross_usd for t in books.trades), D(0))
    assert abs(gross + open_realized - books.realized_usd) < Decimal("1e-9")


def test_funding_is_due_at_whole_hours_of_open_positions() -> None:
    """(after, until]; a position opened at the hour owes nothing for it."""
    hour = T0 - T0 % HOUR_MS
    assert whole_hours(hour, hour + 2 * HOUR_MS) == (hour + HOUR_MS, hour + 2 * HOUR_MS)
    assert whole_hours(hour - 1, hour) == (hour,)
    assert whole_hours(hour, hour + 5) == ()
    assert funding_due(position(opened=0), T0, 100.0) is None
    due = funding_due(position(Side.SHORT, "0.5", opened=0), hour + HOUR_MS, 100_000.0)
    assert due is not None
    assert (due.signed_size, due.oracle_px) == (D("-0.5"), D(100_000))
    assert funding_payment(due, 0.0000125).usd == D("0.625")
    assert funding_payment(replace(due, signed_size=D("0.5")), 0.0000125).usd == D("-0.625")
