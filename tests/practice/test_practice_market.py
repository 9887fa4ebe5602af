"""Trades, books, contexts and funding."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.market.context import hourly_rate
from perp_bot.practice.market.hours import RECORDED_START_MS
from perp_bot.practice.market.market import Market
from perp_bot.practice.market.numbers import tick_units, wire, wire_float
from perp_bot.practice.server import shapes

COINS = ("BTC", "ETH", "SOL", "XRP", "DOGE")


@given(minute=st.integers(0, 900 * 60), name=st.sampled_from(COINS))
@settings(max_examples=60, deadline=None)
def test_a_minutes_trades_make_its_candle(market: Market, minute: int, name: str) -> None:
    """Sizes sum to the volume, the count is n, and first, highest, lowest and last trade are the candle's prices."""
    coin = market.live(name, 0)
    assert coin is not None
    row = coin.minutes(minute // 60)[minute % 60]
    opens_at = RECORDED_START_MS + minute * MINUTE_MS
    trades = shapes.trades(market, name, opens_at, opens_at + MINUTE_MS)
    assert len(trades) == row[5]
    assert sum(Decimal(trade["sz"]) for trade in trades) == Decimal(int(row[4])).scaleb(-coin.coin.sz_decimals)
    prices = [int(Decimal(trade["px"]).scaleb(coin.coin.px_decimals)) for trade in trades]
    assert (prices[0], max(prices), min(prices), prices[-1]) == tuple(row[:4])
    times = [trade["time"] for trade in trades]
    assert times == sorted(times)
    assert opens_at < times[0]
    assert times[-1] < opens_at + MINUTE_MS
    assert all(Decimal(trade["sz"]) > 0 for trade in trades)
    assert all(trade["users"][0] != trade["users"][1] for trade in trades)
    assert len({(trade["time"], trade["tid"]) for trade in trades}) == len(trades)


def test_trades_are_between_a_fixed_population(market: Market) -> None:
    """All addresses come from the same two hundred."""
    seen = {
        user
        for trade in shapes.trades(market, "BTC", RECORDED_START_MS, RECORDED_START_MS + 60 * MINUTE_MS)
        for user in trade["users"]
    }
    assert len(market.addresses) == 200
    assert seen <= set(market.addresses)
    assert len(seen) > 100


@given(into_ms=st.integers(0, 1_000 * HOUR_MS - 1), name=st.sampled_from(COINS))
@settings(max_examples=80, deadline=None)
def test_a_book_is_never_crossed_and_full(market: Market, into_ms: int, name: str) -> None:
    """Twenty levels a side in order, on the price grid, sizes in steps, the mid within a spread of the path."""
    coin = market.live(name, 0)
    assert coin is not None
    shot = coin.book(RECORDED_START_MS + into_ms)
    for side, order in ((shot.bids, -1), (shot.asks, 1)):
        assert len(side.px) == len(side.size) == len(side.orders) == 20
        assert (np.diff(side.px) * order > 0).all()
        assert (side.size > 0).all()
        assert (side.orders > 0).all()
    assert shot.bids.px[0] < shot.asks.px[0]
    path = coin.path(into_ms // HOUR_MS)
    assert (np.concatenate([shot.bids.px, shot.asks.px]) % path.tick == 0).all()
    last = int(path.last[into_ms % HOUR_MS // 1_000]) * path.tick
    assert shot.bids.px[0] <= last <= shot.asks.px[0]
    top_usd = shot.bids.px[0] * shot.bids.size[0] / 10.0 ** (coin.coin.px_decimals + coin.coin.sz_decimals)
    assert top_usd >= coin.coin.impact_usd


def test_the_spread_is_mostly_one_tick(market: Market) -> None:
    """BTC's spread is one dollar most of the time, never more than four."""
    coin = market.live("BTC", 0)
    assert coin is not None
    spreads = np.concatenate([coin.path(hour).spread for hour in range(20)])
    assert (spreads == 1).mean() > 0.85
    assert spreads.max() <= 4


@pytest.mark.parametrize(
    ("name", "figures", "mantissa", "step"),
    [("BTC", 5, None, "1"), ("BTC", 5, 2, "2"), ("BTC", 5, 5, "5"), ("BTC", 4, None, "10"), ("BTC", 2, None, "1000"),
     ("ETH", 4, None, "1"), ("ETH", 3, None, "10"), ("SOL", 5, 5, "0.05")],
)  # fmt: skip
def test_aggregated_books_round_bids_down_and_asks_up(
    market: Market, name: str, figures: int, mantissa: int | None, step: str
) -> None:
    """nSigFigs and mantissa merge levels on the venue's coarser grid, lose no size near the top and name the spread."""
    at_ms = RECORDED_START_MS + 100 * HOUR_MS + 1_234
    book = shapes.l2_book(market, name, at_ms, at_ms, figures, mantissa)
    plain = shapes.l2_book(market, name, at_ms, at_ms, None, None)
    bids, asks = book["levels"]
    assert len(bids) == len(asks) == 20
    for level in (*bids, *asks):
        assert Decimal(level["px"]) % Decimal(step) == 0
    assert Decimal(bids[0]["px"]) <= Decimal(plain["levels"][0][0]["px"])
    assert Decimal(asks[0]["px"]) >= Decimal(plain["levels"][1][0]["px"])
    assert Decimal(book["spread"]) == Decimal(asks[0]["px"]) - Decimal(bids[0]["px"])
    inside = [level for level in plain["levels"][0] if Decimal(level["px"]) >= Decimal(bids[0]["px"])]
    assert Decimal(bids[0]["sz"]) >= sum(Decimal(level["sz"]) for level in inside)


def test_mark_and_oracle_are_near_the_mid_and_not_the_mid(market: Market) -> None:
    """The mark stays within a few basis points of the mid; the oracle stands apart by the premium."""
    coin = market.live("BTC", 0)
    assert coin is not None
    apart, away = [], []
    for hour in range(0, 200, 5):
        path, context = coin.path(hour), coin.context(hour)
        mid = (path.bid + path.ask)[::3] / 2 * path.tick / 10**coin.coin.px_decimals
        apart.append(np.abs(context.mark_px / mid - 1).max())
        away.append(np.abs(context.oracle_px / mid - 1).mean())
    assert max(apart) < 0.0015
    assert 1e-5 < np.mean(away) < 0.002


def test_funding_follows_the_venues_formula(market: Market) -> None:
    """The rate is (P + clamp(0.0001 - P, +-0.0005)) / 8 of the mean of 720 premium samples, 1 to 118 ms late."""
    assert hourly_rate(0.0003) == pytest.approx(0.0000125, abs=1e-15)
    assert hourly_rate(0.001) == pytest.approx(0.0000625, abs=1e-15)
    assert hourly_rate(-0.001) == pytest.approx(-0.0000625, abs=1e-15)
    assert hourly_rate(5.0) == 0.04
    coin = market.live("ETH", 0)
    assert coin is not None
    for hour in (3, 60, 300):
        path, context = coin.path(hour), coin.context(hour)
        unit = path.tick / 10**coin.coin.px_decimals
        premiums = []
        for second in range(0, 3_600, 5):
            oracle = context.oracle_at(second)
            bid, ask = path.bid[second] * unit, path.ask[second] * unit
            premiums.append((max(bid - oracle, 0.0) - max(oracle - ask, 0.0)) / oracle)
        row = coin.funding(hour)
        mean = sum(premiums) / 720
        assert row.premium == pytest.approx(mean, abs=1e-12)
        assert row.rate == pytest.approx((mean + min(max(0.0001 - mean, -0.0005), 0.0005)) / 8, abs=1e-12)
        assert 1 <= row.time_ms - (RECORDED_START_MS + (hour + 1) * HOUR_MS) <= 118


@pytest.mark.slow
def test_funding_is_mostly_the_base_rate_and_sometimes_not(market: Market) -> None:
    """As on the venue: most hours are exactly 0.00125 %, some are not."""
    coin = market.live("BTC", 0)
    assert coin is not None
    rates = np.array([coin.funding(hour).rate for hour in range(400)])
    base = np.isclose(rates, 0.0000125, atol=1e-12).mean()
    assert 0.5 < base < 0.98


def test_the_running_estimate_ends_at_the_settled_rate(market: Market) -> None:
    """The funding of the context in an hour's last second is the rate that settles."""
    coin = market.live("SOL", 0)
    assert coin is not None
    spec = coin.coin
    context = shapes.asset_ctx(market, spec, RECORDED_START_MS + 51 * HOUR_MS - 1)
    assert context["funding"] == wire_float(coin.funding(50).rate, 10)


def test_contexts_tell_what_the_book_and_the_day_say(market: Market) -> None:
    """Mid and impact prices are the book's; the day's volume is the sum of the last 24 hours."""
    at_ms = RECORDED_START_MS + 100 * HOUR_MS
    spec = market.specs[0]
    context = shapes.asset_ctx(market, spec, at_ms)
    book = shapes.l2_book(market, "BTC", at_ms, at_ms, None, None)
    bid, ask = book["levels"][0][0]["px"], book["levels"][1][0]["px"]
    assert context["impactPxs"] == [bid, ask]
    assert Decimal(context["midPx"]) == (Decimal(bid) + Decimal(ask)) / 2
    coin = market.live("BTC", 0)
    assert coin is not None
    assert context["dayBaseVlm"] == wire(int(coin.hour_rows(100)[76:100, 4].sum()), 5)
    assert context["prevDayPx"] == wire(int(coin.hour_rows(100)[76, 0]), 1)


def test_the_same_seed_at_another_origin_is_the_same_market() -> None:
    """At speed 1 the recording is moved in time: prices, sizes and premiums stay, only the stamps move."""
    shift = 7_777 * HOUR_MS
    here, there = Market(42, RECORDED_START_MS), Market(42, RECORDED_START_MS + shift)
    at_ms = RECORDED_START_MS + 33 * HOUR_MS + 1_234_567
    one = shapes.trades(here, "ETH", at_ms - 60_000, at_ms)
    other = shapes.trades(there, "ETH", at_ms + shift - 60_000, at_ms + shift)
    assert one
    assert [{**trade, "time": trade["time"] + shift} for trade in one] == other
    spec = here.specs[1]
    assert shapes.asset_ctx(here, spec, at_ms) == shapes.asset_ctx(there, spec, at_ms + shift)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(841430, 1, "84143.0"), (1025, 2, "10.25"), (1000, 3, "1.0"), (7, 5, "0.00007"), (0, 4, "0.0"), (12, 0, "12.0"),
     (-29, 5, "-0.00029")],
)  # fmt: skip
def test_numbers_are_written_as_the_venue_writes_them(value: int, decimals: int, text: str) -> None:
    """No trailing zeros, always one decimal, never an exponent."""
    assert wire(value, decimals) == text


@pytest.mark.parametrize(("units", "tick"), [(877430, 10), (29650, 1), (296500, 10), (1234567, 100), (99, 1)])
def test_five_figures_leave_this_step(units: int, tick: int) -> None:
    """A price of more than five digits in units steps by the power of ten that cuts it to five."""
    assert tick_units(units) == tick
