"""Made markets, and a strategy that does what its script says, in both forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from perp_bot.backtest import account_layout as layout
from perp_bot.backtest.engine_result import result_of
from perp_bot.backtest.grid import REGIMES, Grid, grid_of
from perp_bot.backtest.kernel_run import RULES, run_account
from perp_bot.backtest.market import Candles, Funding, Market, Minutes, Regimes, SymbolMarket
from perp_bot.backtest.plain import run_plain
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.strategy_kernel import Candidates
from perp_bot.config.model import Config
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.core.types import Enter, Exit, Hold, Instrument, MarginTier, Side
from perp_bot.indicators.row import IndicatorParams
from perp_bot.strategies.protocol import Evaluation, MarketView, Needs

START = 1_700_006_400_000  # a Wednesday, 00:00 UTC
QUARTER = 15 * MINUTE_MS
NO_FUNDING = Funding(np.empty(0, np.int64), np.empty(0))


def config_with(**settings: Any) -> Config:
    """Return the default settings with `section__key` replaced."""
    config = Config()
    for name, value in settings.items():
        section, key = name.split("__")
        config = replace(config, **{section: replace(getattr(config, section), **{key: value})})
    return config


def candles(
    rows: Sequence[Sequence[float]], step_ms: int = QUARTER, first_ms: int = START, name: str = "15m"
) -> Candles:
    """Return candles of (open, high, low, close); None leaves a hole."""
    kept = [(first_ms + place * step_ms, *row) for place, row in enumerate(rows) if row is not None]
    columns = [np.array(column, dtype=np.float64) for column in zip(*kept, strict=True)]
    return Candles(name, columns[0].astype(np.int64), *columns[1:5], np.ones(len(kept)))


def flat(bars: int, px: float = 100.0) -> list[tuple[float, float, float, float]]:
    """Return bars on which nothing happens."""
    return [(px, px, px, px)] * bars


def coin(
    rows: Sequence[Any],
    symbol: str = "AAA",
    *,
    sz_decimals: int = 2,
    max_leverage: int = 40,
    tiers: tuple[MarginTier, ...] = (),
    rates: Mapping[int, float] | None = None,
    fine: Sequence[Any] | None = None,
    minutes: Minutes | None = None,
) -> SymbolMarket:
    """Return one symbol; `rates` by whole hours after START, `fine` as rows of 1m candles."""
    hours = sorted(rates or {})
    funding = Funding(
        np.array([START + hour * HOUR_MS for hour in hours], np.int64),
        np.array([(rates or {})[hour] for hour in hours]),
    )
    return SymbolMarket(
        symbol,
        Instrument(symbol, 0, sz_decimals, max_leverage, margin_tiers=tiers),
        "made",
        candles(rows),
        funding if hours else NO_FUNDING,
        None if fine is None else candles(fine, MINUTE_MS, name="1m"),
        minutes,
    )


def market_of(*coins: SymbolMarket, regimes: Regimes | None = None) -> Market:
    """Return a market of 15m candles."""
    return Market("15m", coins, regimes, "made")


def regimes_of(*names: tuple[int, str]) -> Regimes:
    """Return regimes by the bar whose close they were known at."""
    times = [START + bar * QUARTER for bar, _ in names]
    codes = [[str(regime) for regime in REGIMES].index(name) for _, name in names]
    return Regimes(np.array(times, np.int64), np.array(codes, np.int8))


@dataclass(frozen=True, slots=True)
class Script:
    """What to do at the close of which bar; of every symbol, or by (bar, symbol)."""

    entries: Mapping[Any, Side]
    exits: Mapping[Any, bool] = field(default_factory=dict)  # True: as the strategy's own stop
    stop_px: float | None = None
    target_px: float | None = None

    def entry(self, bar: int, symbol: str) -> Side | None:
        return self.entries.get(bar, self.entries.get((bar, symbol)))

    def exit(self, bar: int, symbol: str) -> bool | None:
        return self.exits.get(bar, self.exits.get((bar, symbol)))


@dataclass(frozen=True, slots=True)
class ScriptedStrategy:
    """The script as a strategy."""

    script: Script
    name: str = "scripted"

    @property
    def max_trades_per_day(self) -> int | None:
        return None

    @property
    def needs(self) -> Needs:
        return Needs(("15m",), 1)

    def on_candle(self, view: MarketView) -> Evaluation:
        bar = (view.close_ms - START) // QUARTER - 1
        if view.position is not None:
            leave = self.script.exit(bar, view.symbol)
            if leave is not None:
                return Evaluation(Exit(view.symbol, "zscore_stop" if leave else "done"))
            return Evaluation(Hold(view.symbol, "holding"))
        side = self.script.entry(bar, view.symbol)
        if side is None:
            return Evaluation(Hold(view.symbol, "nothing to do"))
        return Evaluation(Enter(view.symbol, side, "scripted", self.script.stop_px, self.script.target_px))


class ScriptedKernel:
    """The script as a kernel."""

    exit_reasons = ("done", "zscore_stop")
    threshold_keys: frozenset[str] = frozenset()

    def params(self, config: Config) -> IndicatorParams:
        return IndicatorParams()

    def trailing(self, config: Config) -> tuple[float, float, float]:
        return 0.0, 0.0, 0.0

    def trades_a_day(self, config: Config) -> int:
        return 0


def simulate(market: Market, script: Script, config: Config, engine: str, begin: int = 0) -> BacktestResult:
    """Run a script by the `plain` or the `kernel` engine over everything from bar `begin` on."""
    grid = grid_of(market)
    if engine == "plain":
        return run_plain(config, grid, ScriptedStrategy(script), begin, grid.bars)
    symbols = [item.symbol for item in market.symbols]
    exits = np.zeros(grid.close.shape, np.uint8)
    found = []
    for bar in range(grid.bars):
        for row, symbol in enumerate(symbols):
            leave, side = script.exit(bar, symbol), script.entry(bar, symbol)
            if leave is not None:
                exits[row, bar] = (
                    (layout.STOP_LONG | layout.STOP_SHORT) if leave else (layout.EXIT_LONG | layout.EXIT_SHORT)
                )
            if side is not None and np.isfinite(grid.close[row, bar]):
                found.append((bar, row, 0 if side is Side.LONG else 1))
    columns = np.array(found, np.int64).reshape(len(found), 3)

    def price(value: float | None) -> np.ndarray[Any, Any]:
        return np.full(len(found), np.nan if value is None else value)

    candidates = Candidates(
        np.ascontiguousarray(columns[:, 0]), columns[:, 1].astype(np.int32), columns[:, 2].astype(np.int8),
        np.zeros((len(found), 1)), price(script.stop_px), price(script.target_px),
    )  # fmt: skip
    kernel: Any = ScriptedKernel()
    run = run_account(grid, kernel, config, candidates, np.ones((2, len(REGIMES), 1)), exits, begin, grid.bars)
    return _result(grid, config, run, begin)


def _result(grid: Grid, config: Config, run: Any, begin: int) -> BacktestResult:
    return result_of(
        grid, config, "scripted", begin, grid.bars,
        trades=run.trades, equity=run.equity_usd, held=run.held_usd,
        blocked={rule: int(run.counts[place]) for place, rule in enumerate(RULES) if run.counts[place]},
        open_positions=int(run.sums[layout.S_OPEN]), missing_hours=int(run.sums[layout.S_MISSING_HOURS]),
        resumes=int(run.counts[layout.RESUMES]), is_partial=False,
    )  # fmt: skip


def wandering(seed: int, bars: int, *, coins: int = 1, holes: int = 0, vol: float = 0.004) -> Market:
    """Return mean-reverting 15m series with fat tails, some funding missing, and holes where asked."""
    rng = np.random.default_rng(seed)
    made = []
    for place in range(coins):
        shocks, level = rng.standard_t(4, bars) * vol, np.zeros(bars)
        for bar in range(1, bars):
            level[bar] = 0.97 * level[bar - 1] + shocks[bar]
        close = (100.0, 27_543.0, 0.0123)[place] * np.exp(level + np.cumsum(rng.standard_normal(bars)) * vol * 0.3)
        open_ = np.concatenate([close[:1], close[:-1]]) * (1 + rng.standard_normal(bars) * vol * 0.1)
        high = np.maximum(open_, close) * (1 + np.abs(rng.standard_normal(bars)) * vol * 0.5)
        low = np.minimum(open_, close) * (1 - np.abs(rng.standard_normal(bars)) * vol * 0.5)
        first = START + place * 37 * QUARTER
        columns = [first + np.arange(bars, dtype=np.int64) * QUARTER, open_, high, low, close, rng.random(bars) * 10]
        keep = np.ones(bars, np.bool_)
        keep[rng.integers(0, bars, holes)] = False
        hours = np.arange(first - HOUR_MS, first + bars * QUARTER + HOUR_MS, HOUR_MS)
        known = rng.random(len(hours)) > 0.1
        leverage = (40, 25, 10)[place]
        name = ("AAA", "BBB", "CCC")[place]
        made.append(
            SymbolMarket(
                name,
                Instrument(
                    name,
                    place,
                    (2, 5, 0)[place],
                    leverage,
                    margin_tiers=(MarginTier(0, leverage), MarginTier(1_000, 3)),
                ),
                "made",
                Candles("15m", *(column[keep] for column in columns)),
                Funding(hours[known], rng.standard_normal(int(known.sum())) * 2e-5),
            )
        )
    return Market("15m", tuple(made), None, f"wandering {seed}")


def with_path(market: Market, seed: int, *, marks: bool) -> Market:
    """Return a market with 1m candles (a few missing) inside its bars, and recorded marks in most minutes."""
    rng = np.random.default_rng(seed)
    out = []
    for item in market.symbols:
        c, per_bar = item.candles, 15
        n = len(c)
        path = np.linspace(c.open, c.close, per_bar + 1, axis=1)
        path[:, 1:-1] += rng.uniform(-0.5, 0.5, (n, per_bar - 1)) * (c.high - c.low)[:, np.newaxis]
        path = np.clip(path, c.low[:, np.newaxis], c.high[:, np.newaxis])
        open_, close = path[:, :-1].copy(), path[:, 1:].copy()
        high, low = np.maximum(open_, close), np.minimum(open_, close)
        high[np.arange(n), rng.integers(0, per_bar, n)] = c.high
        low[np.arange(n), rng.integers(0, per_bar, n)] = c.low
        times = (c.open_ms[:, np.newaxis] + np.arange(per_bar) * MINUTE_MS).ravel()
        keep = rng.random(n * per_bar) > 0.002
        fine = Candles(
            "1m", times[keep], *(a.ravel()[keep] for a in (open_, high, low, close)), np.ones(int(keep.sum()))
        )
        minutes = None
        if marks:
            has = rng.random(n * per_bar) > 0.3
            off = 1 + rng.standard_normal(int(has.sum())) * 2e-4
            o, h, low_, cl = (a.ravel()[has] * off for a in (open_, high, low, close))
            minutes = Minutes(times[has], o, h * 1.0002, low_ * 0.9998, cl, o * 1.0001, cl * 1.0001)
        out.append(replace(item, fine=fine, minutes=minutes))
    return replace(market, symbols=tuple(out))
