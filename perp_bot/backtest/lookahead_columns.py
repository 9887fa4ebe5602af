"""Look-ahead and unsettled warm-up of computed columns: the compiled kernels, and each indicator by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perp_bot.backtest.grid import REGIMES, Grid, grid_of
from perp_bot.backtest.lookahead import AHEAD, Advance, Checked, Finding, Kind
from perp_bot.backtest.market import Candles, Market, SymbolMarket
from perp_bot.backtest.strategy_kernel import StrategyKernel
from perp_bot.config.model import Config
from perp_bot.core.timeframes import length_ms
from perp_bot.core.types import Candle, Regime
from perp_bot.indicators import batch
from perp_bot.indicators.row import IndicatorParams
from perp_bot.indicators.warmup import bars_by_value, decision_window

Column = NDArray[np.float64]
PRICES = ("open", "high", "low", "close", "volume")
_NORMAL = REGIMES.index(Regime.NORMAL)
_WEIGHT = 1e-8  # the start may weigh 1e-9; a decade for the rounding of long sums
_PRICED = ("bb_upper", "bb_middle", "bb_lower", "atr", "ema", "macd", "macd_signal", "macd_histogram",
           "macd_histogram_before")  # fmt: skip


def rows_of(item: SymbolMarket) -> list[Candle]:
    """Return the candles of a symbol as the decision path takes them."""
    candles = item.candles
    columns = [getattr(candles, name).tolist() for name in ("open_ms", *PRICES)]
    return [Candle(item.symbol, candles.timeframe, *row) for row in zip(*columns, strict=True)]


# ------------------------------------------------------------ kernels


def check_kernel(
    config: Config, name: str, kernel: StrategyKernel, item: SymbolMarket, *, bars: int, advance: Advance | None = None
) -> Checked:
    """Check a strategy's compiled form: entries with stop and target, and exit bits, at every one of `bars` closes."""
    candles = item.candles
    window = decision_window(kernel.params(config))
    whole = _actions(config, kernel, item, candles)
    first = max(window - 1, len(candles) - bars, 0)
    entries = exits = decisions = 0
    finding = None
    for bar in range(first, len(candles)):
        begin = bar + 1 - window
        plain = whole[bar]
        entries += plain[0] != 0
        exits += plain[1] != 0
        for words, later in (("with the future removed", 0), ("with a wild future", AHEAD)):
            decisions += 1
            if _at(config, kernel, item, _with_future(candles, begin, bar + 1, later), bar - begin) == plain:
                continue
            past_only = _at(config, kernel, item, _with_future(candles, 0, bar + 1, 0), bar)
            is_ahead = past_only != plain or later > 0
            kind = Kind.LOOK_AHEAD if is_ahead else Kind.UNSETTLED
            text = words if is_ahead else "from the declared warm-up alone"
            close_ms = int(candles.open_ms[bar]) + length_ms(candles.timeframe)
            finding = Finding(f"{name} (compiled)", kind, bar, close_ms, f"{text} the action is another one")
            break
        if finding is not None:
            break
        if advance is not None:
            advance((bar + 1 - first) / (len(candles) - first))
    checked = len(candles) - first if finding is None else finding.bar + 1 - first
    return Checked(f"compiled form of {name}", max(0, checked), decisions, int(entries), int(exits), finding)


Action = tuple[int, int, float | None, float | None]  # entry (a bit a side of `Candidates`), exit bits, stop, target


def _actions(config: Config, kernel: StrategyKernel, item: SymbolMarket, candles: Candles) -> list[Action]:
    """Return the actions of every row of the candles."""
    grid = grid_of(_market(item, candles))
    columns = kernel.columns(grid, kernel.params(config))
    limits = kernel.limits(config, {})
    found = kernel.candidates(grid, columns, config, limits)
    exits = kernel.exits(grid, columns, kernel.exit_thresholds(config, {})[0])[0]
    entered: dict[int, tuple[int, float | None, float | None]] = {}
    for place in range(len(found.bar)):
        side = int(found.side[place])
        if (found.values[place] < limits[0, side, _NORMAL]).all():
            bar = int(found.bar[place])
            sides = entered[bar][0] if bar in entered else 0
            entered[bar] = (sides | 1 << side, _digits(found.stop[place]), _digits(found.target[place]))
    out = []
    for bar in _rows(grid, candles):
        side, stop, target = entered.get(int(bar), (0, None, None))
        out.append((side, int(exits[bar]), stop, target))
    return out


def _at(config: Config, kernel: StrategyKernel, item: SymbolMarket, candles: Candles, row: int) -> Action:
    return _actions(config, kernel, item, candles)[row]


def _digits(price: float) -> float | None:
    """Return a price to nine digits: carried values may differ behind them, and the account rounds to five."""
    return None if np.isnan(price) else float(f"{price:.9g}")


def _rows(grid: Grid, candles: Candles) -> NDArray[np.int64]:
    return np.asarray((candles.open_ms - grid.first_ms) // grid.step_ms)


def _market(item: SymbolMarket, candles: Candles) -> Market:
    return Market(candles.timeframe, (replace(item, candles=candles, fine=None, minutes=None),))


def _with_future(candles: Candles, begin: int, end: int, later: int) -> Candles:
    """Return rows `begin`..`end` - 1, then `later` candles out of all proportion."""
    columns = {name: getattr(candles, name)[begin:end].copy() for name in ("open_ms", *PRICES)}
    if later:
        step = length_ms(candles.timeframe)
        drawn = np.sort(columns["close"][-1] * np.random.default_rng(end).uniform(0.2, 5.0, (4, later)), axis=0)
        future = {
            "open_ms": columns["open_ms"][-1] + step * np.arange(1, later + 1),
            "low": drawn[0], "open": drawn[1], "close": drawn[2], "high": drawn[3], "volume": drawn[0] * 1e3,
        }  # fmt: skip
        columns = {name: np.concatenate((columns[name], future[name])) for name in columns}
    return Candles(candles.timeframe, **columns)


# ------------------------------------------------------------ indicators


@dataclass(frozen=True, slots=True)
class Indicator:
    """A column of numbers, the bars it declares to need, and how large a difference counts (None: of its own range)."""

    name: str
    bars: int
    compute: Callable[[Mapping[str, Column]], Column]
    scale: float | None = None


def indicators_of(params: IndicatorParams, candles: Candles) -> tuple[Indicator, ...]:
    """Return the indicator set as declared; what has the price's unit is measured by the range of the price."""
    spread = float(np.nanmax(candles.high) - np.nanmin(candles.low))

    def column(name: str) -> Callable[[Mapping[str, Column]], Column]:
        return lambda prices: _column(name, prices, params)

    return tuple(
        Indicator(name, bars, column(name), spread if name in _PRICED else 100.0 if name in ("rsi", "adx") else None)
        for name, bars in bars_by_value(params).items()
    )


def _column(name: str, prices: Mapping[str, Column], params: IndicatorParams) -> Column:
    high, low, close = prices["high"], prices["low"], prices["close"]
    macd = (params.macd_fast, params.macd_slow, params.macd_signal)
    found: Column
    if name.startswith("bb_"):
        bands = batch.bollinger(close, params.bollinger_period, params.bollinger_std)
        found = bands[("bb_upper", "bb_middle", "bb_lower").index(name)]
    elif name == "macd_histogram_before":
        found = np.concatenate(([np.nan], batch.macd(close, *macd)[2][:-1]))
    elif name.startswith("macd"):
        found = batch.macd(close, *macd)[("macd", "macd_signal", "macd_histogram").index(name)]
    elif name == "volume_mean":
        found = batch.volume_mean(prices["volume"], params.volume_period)
    elif name == "adx":
        found = batch.adx(high, low, close, params.adx_period)
    elif name == "atr":
        found = batch.atr(high, low, close, params.atr_period)
    else:
        periods = {
            "zscore": (batch.zscore, params.zscore_lookback), "rsi": (batch.rsi, params.rsi_period),
            "ema": (batch.ema, params.ema_period), "realized_vol": (batch.realized_vol, params.vol_period),
            "hurst": (batch.hurst_vr, params.hurst_period), "hurst_rs": (batch.hurst_rs, params.hurst_period),
        }  # fmt: skip
        compute, period = periods[name]
        found = compute(close, period)
    return found


def check_indicator(indicator: Indicator, candles: Candles, *, bars: int) -> Checked:
    """Compare the value from the whole history with that from exactly the declared bars, at every one of `bars`."""
    prices = {name: np.ascontiguousarray(getattr(candles, name)) for name in PRICES}
    whole = indicator.compute(prices)
    known = whole[np.isfinite(whole)]
    scale = indicator.scale if indicator.scale is not None else 1.0 + (float(np.ptp(known)) if len(known) else 0.0)
    count = len(candles)
    first = max(indicator.bars - 1, count - bars, 0)
    finding = None
    compared = 0
    for bar in range(first, count):
        begin = bar + 1 - indicator.bars
        alone = indicator.compute({name: column[begin : bar + 1] for name, column in prices.items()})[-1]
        compared += 1
        if np.isnan(alone) and np.isnan(whole[bar]):
            continue
        if not abs(alone - whole[bar]) <= _WEIGHT * scale:
            cut = indicator.compute({name: column[: bar + 1] for name, column in prices.items()})[-1]
            is_ahead = not abs(cut - whole[bar]) <= _WEIGHT * scale
            kind = Kind.LOOK_AHEAD if is_ahead else Kind.UNSETTLED
            words = "with the future removed" if is_ahead else f"from the declared {indicator.bars} bars"
            close_ms = int(candles.open_ms[bar]) + length_ms(candles.timeframe)
            detail = f"{words} it is {cut if is_ahead else alone:.9g}, not {whole[bar]:.9g}"
            finding = Finding(indicator.name, kind, bar, close_ms, detail)
            break
    return Checked(f"indicator {indicator.name}", compared, compared, 0, 0, finding)
