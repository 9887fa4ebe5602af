"""The synthetic candles that research is measured on."""

from __future__ import annotations

import hashlib

import numpy as np

from perp_bot.bench import research_data

COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")


def test_the_candles_are_the_same_bit_for_bit_everywhere() -> None:
    """A digest that any machine and any numpy must give: figures of two machines are of the same data."""
    made = research_data.candles(20_000)
    text = hashlib.sha256(b"".join(getattr(made, name).tobytes() for name in COLUMNS)).hexdigest()
    assert text == "5d095ae1c44ffc6d5ccfa7290337eb69ec312dde94d732764ffa79b6dfc8a314"


def test_fewer_candles_are_the_beginning_of_more() -> None:
    """So that a quick run is a part of a long one."""
    few, more = research_data.candles(500), research_data.candles(800)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(few, name), getattr(more, name)[:500])


def test_the_candles_are_candles_at_whole_usd() -> None:
    """Low and high hold open and close; every price is on the venue's grid; one minute apart."""
    made = research_data.candles(20_000)
    assert (made.low <= np.minimum(made.open, made.close)).all()
    assert (made.high >= np.maximum(made.open, made.close)).all()
    for name in ("open", "high", "low", "close"):
        prices = getattr(made, name)
        assert (prices == np.floor(prices)).all()
        assert 9_000 < prices.min() < prices.max() < 100_000
    assert (np.diff(made.open_ms) == 60_000).all()
    assert (made.volume > 0).all()


def test_a_market_has_a_walk_and_rates_of_its_own_for_each_symbol() -> None:
    """Every whole hour of the span has a rate, unless none is asked for."""
    made = research_data.market(("BTC", "ETH"), 200)
    btc, eth = made.symbols
    assert not np.array_equal(btc.candles.close, eth.candles.close)
    hours = btc.funding.hour_ms
    assert hours[0] <= btc.candles.open_ms[0]
    assert hours[-1] > btc.candles.open_ms[-1] - 3_600_000
    assert (np.diff(hours) == 3_600_000).all()
    assert np.abs(btc.funding.rate).max() < 1e-3
    assert len(research_data.market(("BTC",), 200, has_funding=False).symbols[0].funding.hour_ms) == 0
