"""The screen: what passes, what fails, and what is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perp_bot.backtest.screen import Screened, Verdict, screen_one
from perp_bot.core.timeframes import HOUR_MS, iso
from perp_bot.data.columns import CandleArrays

START_MS = 1_700_006_400_000
BARS = 600


def arrays(phi: float = 0.8, volume: float = 1e5, **changes: Any) -> CandleArrays:
    """Hourly candles around 100 USD; a day trades 24 x volume x 100 USD."""
    rng = np.random.default_rng(4)
    path = np.zeros(BARS)
    for place in range(1, BARS):
        path[place] = phi * path[place - 1] + rng.standard_normal() * 0.003
    close = 100.0 * np.exp(path)
    columns = {
        "open_ms": START_MS + np.arange(BARS, dtype=np.int64) * HOUR_MS, "open": close, "high": close, "low": close,
        "close": close, "volume": np.full(BARS, volume), "generated": np.zeros(BARS, np.bool_),
    } | changes  # fmt: skip
    return CandleArrays("AAA", "1h", **columns, revision=1)


def without(candles: CandleArrays, place: int) -> CandleArrays:
    names = ("open_ms", "open", "high", "low", "close", "volume", "generated")
    kept = {name: np.delete(getattr(candles, name), place) for name in names}
    return CandleArrays("AAA", "1h", **kept, revision=1)


def screened(candles: CandleArrays, spreads: list[float] | None = None, newest_ms: int | None = None) -> Screened:
    at_ms = int(candles.open_ms[-1]) + HOUR_MS
    found = [0.0001, 0.0004, 0.0002] if spreads is None else spreads
    return screen_one(candles, found, newest_ms or at_ms, horizon=20, bars=500)


def test_a_market_that_passes() -> None:
    """Volume is the sum of volume x close of the last 24 candles, the spread the median of those recorded."""
    candles = arrays()
    found = screened(candles)
    assert (found.verdict, found.reasons) == (Verdict.PASSES, ())
    assert found.volume_usd == pytest.approx(float((candles.volume * candles.close)[-24:].sum()))
    assert (found.spread, found.spreads) == (0.0002, 3)
    assert found.is_reverting
    assert found.ratio is not None
    assert found.ratio.returns == 499
    assert found.at_ms == START_MS + BARS * HOUR_MS


def test_too_little_volume_and_too_wide_a_spread_fail() -> None:
    """Each with its reason; at the limit is not above it."""
    found = screened(arrays(volume=1e4), [0.0005])
    assert found.verdict is Verdict.FAILS
    assert found.reasons == ("24 h volume is not above 50M USD", "spread is not below 0.05 %")


def test_what_is_not_known_does_not_pass() -> None:
    """No spread, a hole in the last day, candles that end before the others': said, never assumed."""
    assert screened(arrays(), []).verdict is Verdict.UNKNOWN
    hole = screened(without(arrays(), BARS - 3))
    assert hole.verdict is Verdict.UNKNOWN
    assert hole.volume_usd is None
    assert "1 of the 24 candles of the last 24 hours are missing" in hole.reasons
    assert "too few for a horizon of 20" in hole.reasons[1]  # only two candles follow the hole
    old = screened(arrays(), newest_ms=START_MS + (BARS + 5) * HOUR_MS)
    assert old.reasons == (
        f"its candles end at {iso(START_MS + BARS * HOUR_MS)}, others go on to {iso(START_MS + (BARS + 5) * HOUR_MS)}",
    )
    assert screened(arrays(volume=float("nan"))).verdict is Verdict.UNKNOWN


def test_the_reversion_is_measured_after_the_last_hole() -> None:
    """Moves across a hole are no returns."""
    found = screened(without(arrays(), 200))
    assert found.from_ms == START_MS + 201 * HOUR_MS
    assert found.ratio is not None
    assert found.ratio.returns == BARS - 202


def test_a_trend_does_not_revert() -> None:
    """Above 1, and said to be so."""
    close = 100.0 * np.exp(np.cumsum(np.repeat(np.random.default_rng(5).standard_normal(60), 10) * 0.002))
    found = screened(arrays(close=close))
    assert found.ratio is not None
    assert found.ratio.ratio > 1.5
    assert not found.is_reverting


def test_a_failure_is_named_before_what_is_unknown() -> None:
    """A market that fails fails, whatever else is not known of it."""
    found = screened(arrays(volume=1.0), [])
    assert found.verdict is Verdict.FAILS
    assert len(found.reasons) == 2
