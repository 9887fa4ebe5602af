"""I1: no decision changes when later candles are removed or replaced by noise; who cheats is named, with the bar."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from perp_bot.config.model import Config, SignalsConfig
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Book, BookLevel, Candle, DecisionRecord, Enter, Hold, Instrument, Regime, Side
from perp_bot.decision.path import Boundary, SymbolInput, decide_boundary
from perp_bot.decision.view import build_view, columns_of, params_from
from perp_bot.indicators.warmup import decision_window
from perp_bot.risk.limits import RiskView
from perp_bot.risk.state import RiskState
from perp_bot.strategies.mean_reversion import MeanReversion
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs, Strategy

# Research hands a strategy's maker the whole series; that is where a cheater finds the future.
Maker = Callable[[Sequence[Candle]], Strategy]

CONFIG = replace(
    Config(),
    signals=replace(
        SignalsConfig(), zscore_entry_threshold=1.0, rsi_overbought=55.0, rsi_oversold=45.0, adx_threshold=90.0
    ),
)
PARAMS = params_from(CONFIG.signals)
FIRST = decision_window(PARAMS)
BARS = FIRST + 60
RISK = RiskView(0, RiskState(day_start_ms=0, day_start_equity_usd=670.0, last_equity_usd=670.0, peak_usd=670.0), 670.0)


def candles_of(seed: int, bars: int = BARS) -> list[Candle]:
    """A mean-reverting series of 15m candles."""
    rng, price, made = random.Random(seed), 100.0, []
    for place in range(bars):
        opened, price = price, 100.0 + 0.97 * (price - 100.0) + rng.gauss(0, 0.4)
        high, low = max(opened, price) + 0.1, min(opened, price) - 0.1
        made.append(Candle("BTC", "15m", place * 900_000, opened, high, low, price, 10.0))
    return made


def noise_after(candles: list[Candle], known: int, seed: int) -> list[Candle]:
    """Keep the first `known` candles; everything later is wild."""
    rng = random.Random(seed)
    made = candles[:known]
    for candle in candles[known:]:
        low, opened, closed, high = sorted(rng.uniform(20.0, 500.0) for _ in range(4))
        made.append(replace(candle, open=opened, high=high, low=low, close=closed))
    return made


def decisions(make: Maker, candles: list[Candle], until: int = BARS) -> list[DecisionRecord]:
    """Decide bar by bar, up to `until` bars, through the one decision path, flat each time."""
    strategy = make(candles)
    made = []
    for known in range(FIRST, until + 1):
        candle = candles[known - 1]
        view = build_view(candle, columns_of(candles[:known]), PARAMS, regime=Regime.NORMAL, position=None)
        book = Book("BTC", candle.close_ms, (BookLevel(100.0, 5.0),), (BookLevel(100.5, 5.0),))
        item = SymbolInput("BTC", view, Instrument("BTC", 0, 5, 40), book)
        boundary = Boundary("15m", candle.close_ms, candle.close_ms, "backtest", Regime.NORMAL, (item,), RISK)
        made.append(decide_boundary(CONFIG, strategy, boundary).decided[0].record)
    return made


def look_ahead(make: Maker, candles: list[Candle], cuts: Sequence[int]) -> str | None:
    """Return who decided with knowledge of later candles, and at which bar; None when nobody did."""
    plain = decisions(make, candles)
    for cut in cuts:
        for later in (candles[:cut], noise_after(candles, cut, seed=cut)):
            for place, found in enumerate(decisions(make, later, cut)):
                if found != plain[place]:
                    return f"{found.strategy} at bar {FIRST + place - 1} ({iso(found.close_ms)})"
    return None


def honest(candles: Sequence[Candle]) -> Strategy:
    return MeanReversion.from_config(CONFIG)


@dataclass(frozen=True, slots=True)
class Cheater:
    """Buys at the bars of `at` when the close `ahead` candles later is higher."""

    candles: Sequence[Candle]
    at: frozenset[int]
    ahead: int = 1

    @property
    def name(self) -> str:
        return "cheater"

    @property
    def max_trades_per_day(self) -> int | None:
        return None

    @property
    def needs(self) -> Needs:
        return Needs(("15m",), FIRST)

    def on_candle(self, view: MarketView) -> Evaluation:
        place = view.close_ms // 900_000 - 1
        target = place + self.ahead
        if place in self.at and target < len(self.candles) and self.candles[target].close > view.candle.close:
            return Evaluation(Enter(view.symbol, Side.LONG, "I just know"))
        return Evaluation(Hold(view.symbol, "waiting"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_mean_reversion_decides_on_the_past_alone(seed: int) -> None:
    """Entries and holds of both sides, each with the future cut off and made noise right after it."""
    candles = candles_of(seed)
    assert {"enter", "hold"} <= {str(record.action) for record in decisions(honest, candles)}
    assert look_ahead(honest, candles, range(FIRST, BARS, 14)) is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_seeded_cheater_is_caught_by_name_and_bar(seed: int) -> None:
    """One bar of sixty, one candle ahead: named with that bar."""
    candles = candles_of(seed)
    rising = [n for n in range(FIRST + 5, BARS - 5) if candles[n + 1].close > candles[n].close]
    bar = random.Random(seed).choice(rising)

    def make(series: Sequence[Candle]) -> Strategy:
        return Cheater(series, frozenset({bar}))

    assert look_ahead(make, candles, [bar + 1]) == f"cheater at bar {bar} ({iso(candles[bar].close_ms)})"


@pytest.mark.slow
def test_one_who_looks_far_ahead_is_caught_too() -> None:
    """Five candles ahead, at any bar: the first one that the cut reveals."""
    candles = candles_of(6)

    def make(series: Sequence[Candle]) -> Strategy:
        return Cheater(series, frozenset(range(BARS)), ahead=5)

    found = look_ahead(make, candles, [FIRST + 30])
    assert found is not None
    assert found.startswith("cheater at bar ")
    assert FIRST + 30 - 5 <= int(found.split()[3]) < FIRST + 30


def test_the_view_refuses_a_series_that_goes_on_after_its_candle() -> None:
    """The one window of a strategy cannot be built with later rows in it."""
    candles = candles_of(7)
    with pytest.raises(ValueError, match="columns end at"):
        build_view(candles[-2], columns_of(candles), PARAMS, regime=Regime.NORMAL, position=None)


def test_the_series_of_these_tests_are_finite() -> None:
    """Noise must be wild but lawful, or the path would reject it instead of ignoring it."""
    for candle in noise_after(candles_of(8), FIRST, seed=8):
        assert candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert math.isfinite(candle.close)
