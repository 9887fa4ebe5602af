"""I1: no decision changes when later candles are removed or replaced by noise; who cheats is named, with the bar."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from perp_bot.backtest.grid import Grid
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.kernels import kernel_of
from perp_bot.backtest.lookahead import Checked, Kind, Maker, check_path, lawful_noise, wild_noise
from perp_bot.backtest.lookahead_columns import Indicator, check_indicator, check_kernel, indicators_of, rows_of
from perp_bot.backtest.market import Candles, Funding, SymbolMarket
from perp_bot.config.model import Config, SignalsConfig
from perp_bot.core.timeframes import iso
from perp_bot.core.types import Candle, Enter, Hold, Instrument, Regime, Side
from perp_bot.decision.view import build_view, columns_of
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import decision_window
from perp_bot.strategies import registry
from perp_bot.strategies.parameters import params_of
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs, Strategy

CONFIG = replace(
    Config(),
    signals=replace(
        SignalsConfig(), zscore_entry_threshold=1.0, bollinger_std=1.0, rsi_overbought=55.0, rsi_oversold=45.0,
        adx_threshold=90.0,
    ),
)  # fmt: skip
PARAMS = params_of(CONFIG)
FIRST = decision_window(PARAMS)
CHECKED = 300
BARS = FIRST + CHECKED
QUARTER = 900_000
BTC = Instrument("BTC", 0, 5, 40)


def market_of(seed: int, bars: int = BARS) -> SymbolMarket:
    """A mean-reverting series of 15m candles."""
    rng, price, rows = random.Random(seed), 100.0, []
    for _ in range(bars):
        opened, price = price, 100.0 + 0.97 * (price - 100.0) + rng.gauss(0, 0.4)
        rows.append((opened, max(opened, price) + 0.1, min(opened, price) - 0.1, price, rng.uniform(5.0, 15.0)))
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    candles = Candles("15m", np.arange(bars, dtype=np.int64) * QUARTER, *columns)
    return SymbolMarket("BTC", BTC, "made", candles, Funding(np.empty(0, np.int64), np.empty(0)))


def checked(make: Maker, market: SymbolMarket, bars: int = CHECKED) -> Checked:
    return check_path(CONFIG, make, rows_of(market), BTC, bars=bars)


def shipped(name: str) -> Maker:
    return lambda candles: registry.create(name, CONFIG)


# ------------------------------------------------------------ who is honest


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("seed", [1, 2])
def test_shipped_strategies_decide_on_the_past_alone(name: str, seed: int) -> None:
    """Every bar, flat and held: the future removed, lawful, wild; the history removed. Not an empty check."""
    found = checked(shipped(name), market_of(seed))
    assert found.finding is None
    assert found.bars == CHECKED
    assert found.decisions == 9 * CHECKED
    assert found.entries >= 5
    if name == "mean_reversion":  # macd_cross leaves by stop, target and timeout alone
        assert found.exits >= 20


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("delay", [0, 2])
@pytest.mark.parametrize("name", registry.names())
def test_compiled_strategies_act_on_the_past_alone(name: str, delay: int) -> None:
    """Entries with stop and target, those of waiting entries too, and exit bits, at every bar."""
    kernel = kernel_of(name)
    assert kernel is not None
    config = replace(CONFIG, execution=replace(CONFIG.execution, entry_delay_candles=delay))
    found = check_kernel(config, name, kernel, market_of(3), bars=CHECKED)
    assert found.finding is None
    assert (found.bars, found.decisions) == (CHECKED, 2 * CHECKED)
    assert found.entries >= 3


@pytest.mark.slow
def test_every_indicator_settles_within_the_bars_it_declares() -> None:
    """At every bar: from the whole history and from exactly the declared bars."""
    market = market_of(4)
    indicators = indicators_of(PARAMS, market.candles)
    assert len(indicators) == len(IndicatorParams.__dataclass_fields__) + 3  # the set, with its second values
    for indicator in indicators:
        found = check_indicator(indicator, market.candles, bars=CHECKED)
        assert found.finding is None, found.finding
        assert found.bars == CHECKED


# ------------------------------------------------------------ who cheats


@dataclass(frozen=True, slots=True)
class Cheater:
    """Buys at the bars of `at` when the close `ahead` candles later is higher."""

    candles: Mapping[int, Candle]
    at: frozenset[int]
    ahead: int = 1

    @property
    def name(self) -> str:
        return "cheater"

    @property
    def needs(self) -> Needs:
        return Needs(("15m",), FIRST)

    @property
    def max_trades_per_day(self) -> int | None:
        return None

    def on_candle(self, view: MarketView) -> Evaluation:
        place = view.candle.open_ms // QUARTER
        later = self.candles.get(view.candle.open_ms + self.ahead * QUARTER)
        if place in self.at and later is not None and later.close > view.candle.close:
            return Evaluation(Enter(view.symbol, Side.LONG, "I just know"))
        return Evaluation(Hold(view.symbol, "waiting"))


def cheater(at: frozenset[int], ahead: int = 1) -> Maker:
    return lambda candles: Cheater({candle.open_ms: candle for candle in candles}, at, ahead)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_seeded_cheater_is_caught_by_name_and_bar(seed: int) -> None:
    """One bar of hundreds, one candle ahead: named with that bar."""
    market = market_of(seed)
    close = market.candles.close
    bar = random.Random(seed).choice([n for n in range(FIRST + 5, BARS - 5) if close[n + 1] > close[n]])
    finding = checked(cheater(frozenset({bar})), market).finding
    assert finding is not None
    assert (finding.name, finding.kind, finding.bar) == ("cheater", Kind.LOOK_AHEAD, bar)
    assert finding.text.startswith(f"look-ahead of cheater at bar {bar} ({iso((bar + 1) * QUARTER)}): ")


@pytest.mark.slow
def test_one_who_looks_very_far_ahead_is_caught_too() -> None:
    """A hundred candles, farther than the noise reaches: the future removed shows it."""
    market = market_of(6)
    close = market.candles.close
    bar = next(n for n in range(FIRST, BARS) if close[n + 100] > close[n])
    finding = checked(cheater(frozenset(range(BARS)), ahead=100), market).finding
    assert finding is not None
    assert (finding.kind, finding.bar) == (Kind.LOOK_AHEAD, bar)


@pytest.mark.slow
def test_one_who_looks_only_where_a_future_is_lawful_is_caught() -> None:
    """It trusts the next candle only when it seems real, and is no cheater at the last bar of the series."""
    market = market_of(7, FIRST)  # one bar to check, nothing stored behind it
    finding = checked(cheater(frozenset({FIRST - 1})), market).finding
    assert finding is not None
    assert (finding.kind, finding.bar) == (Kind.LOOK_AHEAD, FIRST - 1)
    assert "future" in finding.detail


@dataclass(frozen=True, slots=True)
class SlowStarter:
    """Buys above its own average of 400 candles, and declares a warm-up of 60."""

    averages: Mapping[int, float] = field(repr=False)

    @property
    def name(self) -> str:
        return "slow starter"

    @property
    def needs(self) -> Needs:
        return Needs(("15m",), 60)

    @property
    def max_trades_per_day(self) -> int | None:
        return None

    def on_candle(self, view: MarketView) -> Evaluation:
        average = self.averages[view.candle.open_ms]
        side = Side.LONG if view.candle.close > average else Side.SHORT
        return Evaluation(Enter(view.symbol, side, "trend"))


def slow_starter(candles: Sequence[Candle]) -> Strategy:
    average, found = candles[0].close, {}
    for candle in candles:
        average += (candle.close - average) / 200
        found[candle.open_ms] = average
    return SlowStarter(found)


@pytest.mark.slow
def test_a_strategy_whose_warm_up_is_not_settled_is_caught_by_name_and_bar() -> None:
    """Its decision depends on where the history starts, at a bar that is named; it is not called look-ahead."""
    market = market_of(8)
    finding = checked(slow_starter, market).finding
    assert finding is not None
    assert (finding.name, finding.kind) == ("slow starter", Kind.UNSETTLED)
    rows = rows_of(market)
    row = rows[finding.bar]
    whole, alone = slow_starter(rows), slow_starter(rows[finding.bar - 59 : finding.bar + 1])
    assert isinstance(whole, SlowStarter)
    assert isinstance(alone, SlowStarter)
    assert (row.close > whole.averages[row.open_ms]) != (row.close > alone.averages[row.open_ms])


def test_a_slow_indicator_is_caught_by_name_and_bar() -> None:
    """An RSI that declares fewer bars than its start takes to fade: the first bar, though no decision tips yet."""
    market = market_of(9)
    hasty = Indicator("hasty_rsi", 60, lambda prices: batch.rsi(prices["close"], 14), 100.0)
    finding = check_indicator(hasty, market.candles, bars=CHECKED).finding
    assert finding is not None
    assert (finding.name, finding.kind, finding.bar) == ("hasty_rsi", Kind.UNSETTLED, FIRST)
    peeking = Indicator("peeking", 1, lambda prices: np.append(prices["close"][1:], prices["close"][-1]))
    finding = check_indicator(peeking, market.candles, bars=CHECKED).finding
    assert finding is not None
    assert (finding.name, finding.kind, finding.bar) == ("peeking", Kind.LOOK_AHEAD, FIRST)


class NextClose(MeanReversionKernel):
    """Its z is that of the next bar."""

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, np.ndarray]:
        found = super().columns(grid, params)
        found["zscore"] = np.roll(found["zscore"], -1, axis=1)
        return found


class Forgetful(MeanReversionKernel):
    """Its z carries a memory far longer than the decision window."""

    def columns(self, grid: Grid, params: IndicatorParams) -> dict[str, np.ndarray]:
        found = super().columns(grid, params)
        count = np.arange(1, grid.bars + 1)
        found["zscore"] = found["zscore"] + 0.5 * (grid.close - np.cumsum(grid.close, axis=1) / count)
        return found


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kernel", "kind"), [(NextClose(), Kind.LOOK_AHEAD), (Forgetful(), Kind.UNSETTLED)])
def test_a_compiled_cheater_is_caught(kernel: MeanReversionKernel, kind: Kind) -> None:
    """By name and bar, and told apart."""
    finding = check_kernel(CONFIG, "mean_reversion", kernel, market_of(10), bars=CHECKED).finding
    assert finding is not None
    assert (finding.name, finding.kind) == ("mean_reversion (compiled)", kind)
    assert FIRST <= finding.bar + 1 < BARS


# ------------------------------------------------------------ the tools themselves


def test_the_view_refuses_a_series_that_goes_on_after_its_candle() -> None:
    """The one window of a strategy cannot be built with later rows in it."""
    candles = rows_of(market_of(7))
    with pytest.raises(ValueError, match="columns end at"):
        build_view(candles[-2], columns_of(candles), PARAMS, regime=Regime.NORMAL, position=None)


def test_the_futures_of_these_tests_are_lawful_candles() -> None:
    """Noise must be wild but lawful, or the path would reject it instead of ignoring it."""
    last = rows_of(market_of(8))[-1]
    for made in (lawful_noise(last, 48, 1), wild_noise(last, 48, 1)):
        assert [candle.open_ms for candle in made] == [last.open_ms + n * QUARTER for n in range(1, 49)]
        for candle in made:
            assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
            assert math.isfinite(candle.close)
    assert max(candle.high for candle in wild_noise(last, 48, 1)) > 3 * last.close
