"""What keeps a backtest honest: how sure its Sharpe is, what luck makes of its trades, what else would have done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perp_bot.backtest.bands import QUANTILES, TradeBands, trade_bands
from perp_bot.backtest.buy_and_hold import BuyAndHold, buy_and_hold
from perp_bot.backtest.market import Market
from perp_bot.backtest.metrics import Metrics, candle_sharpe
from perp_bot.backtest.random_entries import RandomEntries, random_entries
from perp_bot.backtest.results import BacktestResult
from perp_bot.backtest.sharpe_odds import deflated_sharpe, expected_best, kurtosis, probabilistic_sharpe, skewness
from perp_bot.config.model import Config
from perp_bot.core.counting import counted
from perp_bot.core.timeframes import periods_per_year

SURE = 0.95  # what a probability must reach to be called an edge
# Below, no verdict: the formulas count candles, and a handful of winning trades among thousands of idle candles has a
# skewness at which they no longer hold.
MIN_TRADES = 30


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried before on the same data with the same strategy: `runs.trials` remembers it."""

    count: int = 0
    sharpes: tuple[float, ...] = ()  # annualised, of those trials whose Sharpe is known


@dataclass(frozen=True, slots=True)
class SharpeOdds:
    """How sure the Sharpe ratio is. Probabilities are None where it is not defined."""

    skewness: float  # of the candles' returns
    kurtosis: float  # 3: normal
    probabilistic: float | None  # that the true Sharpe is above 0
    deflated: float | None  # that it is above what luck gives the best of `trials`
    trials: int  # this one included
    luck_sharpe: float  # annualised: what the best of that many trials without an edge is expected to show
    spread_known: bool  # the variance of the trials' Sharpes is measured; else that of pure noise stands in
    trades: int = 0  # that the returns come from

    @property
    def is_sure(self) -> bool:
        """Whether an edge is left after deflation, from trades enough to tell."""
        return self.has_enough_trades and self.deflated is not None and self.deflated >= SURE

    @property
    def has_enough_trades(self) -> bool:
        """Whether there are trades enough for a verdict."""
        return self.trades >= MIN_TRADES


@dataclass(frozen=True, slots=True, eq=False)
class Honesty:
    """Everything that stands beside the metrics."""

    odds: SharpeOdds
    bands: TradeBands | None = None
    hold: BuyAndHold | None = None
    random: RandomEntries | None = None
    notes: tuple[str, ...] = field(default=())


def examine(
    config: Config, result: BacktestResult, metrics: Metrics, market: Market, earlier: Trials | None = None
) -> Honesty:
    """Return what stands beside the metrics of a result; `earlier` are the trials before this run."""
    seed = config.backtest.seed
    hold = buy_and_hold(result, market, config.backtest.taker_fee_rate)
    drawn = random_entries(result, market, seed)
    notes = []
    if drawn is None and len(result.trades):
        notes.append("no random entries to compare with: the trades fill the span, or their candles are not there")
    if hold is not None and hold.missing_funding_hours:
        notes.append(
            f"buy and hold lacks {counted(hold.missing_funding_hours, 'hour')} of funding: no rate is known for them"
        )
    return Honesty(
        odds=sharpe_odds(metrics, result.timeframe, result.trials, earlier or Trials()),
        bands=trade_bands(
            result.start_equity_usd, result.trades.net_usd, seed, compounding=config.backtest.compounding
        ),
        hold=hold,
        random=drawn,
        notes=tuple(notes),
    )


def sharpe_odds(metrics: Metrics, timeframe: str, own_trials: int, earlier: Trials) -> SharpeOdds:
    """Return how sure the Sharpe ratio is after all trials: `own_trials` of this run and those before."""
    trials = max(1, own_trials) + earlier.count
    sums = metrics.returns
    year = periods_per_year(timeframe)
    found = None if sums is None else candle_sharpe(sums)
    if sums is None or found is None:
        return SharpeOdds(0.0, 3.0, None, None, trials, 0.0, spread_known=False, trades=metrics.trades)
    skew, kurt = skewness(sums), kurtosis(sums)
    known = [value / math.sqrt(year) for value in earlier.sharpes] + [found]
    variance = _variance(known) if len(known) > 2 else 1 / (sums.candles - 1)
    return SharpeOdds(
        skewness=skew,
        kurtosis=kurt,
        probabilistic=probabilistic_sharpe(found, 0.0, sums.candles, skew, kurt),
        deflated=deflated_sharpe(found, sums.candles, skew, kurt, trials, variance),
        trials=trials,
        luck_sharpe=expected_best(trials, variance) * math.sqrt(year),
        spread_known=len(known) > 2,
        trades=metrics.trades,
    )


def odds_after(metrics: Metrics, timeframe: str, tried: Trials) -> SharpeOdds:
    """Return how sure the Sharpe ratio is when its own trial is already among `tried` (its run is stored)."""
    return sharpe_odds(metrics, timeframe, 1, Trials(max(0, tried.count - 1), tried.sharpes))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def as_json(honesty: Honesty) -> dict[str, Any]:
    """Return the figures as one JSON object."""
    odds, bands, hold, drawn = honesty.odds, honesty.bands, honesty.hold, honesty.random
    return {
        "probabilistic_sharpe": odds.probabilistic,
        "deflated_sharpe": odds.deflated,
        "is_sure": odds.is_sure,
        "enough_trades": odds.has_enough_trades,
        "trials": odds.trials,
        "luck_sharpe": odds.luck_sharpe,
        "trial_spread_known": odds.spread_known,
        "skewness": odds.skewness,
        "kurtosis": odds.kurtosis,
        "monte_carlo": None if bands is None else {
            "paths": bands.paths, "quantiles": list(QUANTILES), "end_equity_usd": list(bands.end_usd),
            "max_drawdown": list(bands.drawdown), "shuffled_max_drawdown": list(bands.shuffled_drawdown),
            "loss_share": bands.loss_share, "ruin_share": bands.ruin_share,
        },
        "buy_and_hold": None if hold is None else {
            "total_return": hold.total_return, "annual_return": hold.annual_return, "sharpe": hold.sharpe,
            "max_drawdown": hold.max_drawdown, "fees_usd": hold.fees_usd, "funding_usd": hold.funding_usd,
            "missing_funding_hours": hold.missing_funding_hours,
        },
        "random_entries": None if drawn is None else {
            "runs": drawn.runs, "net_usd": list(drawn.net_usd), "p_value": drawn.p_value,
        },
        "notes": list(honesty.notes),
    }  # fmt: skip
