"""The figures of a backtest, each with its definition, unit and source beside it.

Returns are those of single candles (see `curve`), annualised by the candles of a 365-day year, since the market never
closes; the risk-free rate is 0. A figure that is not defined is None, and `undefined` says why: never 0, never NaN.
`docs/metrics.md` is generated from the fields.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from perp_bot.backtest.curve import CurveSums, curve_sums
from perp_bot.backtest.results import BacktestResult, Trades
from perp_bot.core.timeframes import DAY_MS, periods_per_year

MIN_ANNUAL_DAYS = 30  # a year made of fewer days is a guess: the exponent of the growth would be above 12
_FLAT = 1e-14  # a standard deviation below this is rounding of equal returns


def figure(doc: str, unit: str, *, source: str = "", funding: bool = False, default: Any = None) -> Any:
    """Declare a figure: its definition, its unit, who defined it, and whether funding is part of it."""
    metadata = {"doc": doc, "unit": unit, "source": source, "funding": funding}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a backtest came to. None: not defined, for the reason in `undefined`."""

    total_return: float | None = figure("Last equity over start equity, less 1.", "fraction", funding=True)
    annual_return: float | None = figure(
        "Compound growth per year: (last / start equity) ^ (candles of a year / candles of the span) - 1. "
        f"Not defined below {MIN_ANNUAL_DAYS} days.",
        "fraction", source="CAGR", funding=True,
    )  # fmt: skip
    volatility: float | None = figure(
        "Standard deviation (n - 1) of the candles' returns x root of the candles of a year.", "fraction", funding=True
    )
    sharpe: float | None = figure(
        "Mean / standard deviation (n - 1) of the candles' returns x root of the candles of a year.",
        "ratio", source="Sharpe 1994, risk-free rate 0", funding=True,
    )  # fmt: skip
    sortino: float | None = figure(
        "Mean return / root of the mean over all candles of min(return, 0) squared, x root of the candles of a year.",
        "ratio", source="Sortino & Price 1994, target 0", funding=True,
    )  # fmt: skip
    calmar: float | None = figure(
        "Annual return / max drawdown, over the whole span.", "ratio", source="Young 1991", funding=True
    )
    max_drawdown: float | None = figure(
        "Deepest fall of equity at closes from its highest value so far, the start included, of that value.",
        "fraction", funding=True,
    )  # fmt: skip
    max_drawdown_usd: float | None = figure(
        "Largest such fall in dollars (not always the deepest in percent).", "USD", funding=True
    )
    drawdown_from_ms: int | None = figure("When the deepest fall began: last close at its peak.", "ms", funding=True)
    drawdown_trough_ms: int | None = figure("When it was deepest.", "ms", funding=True)
    drawdown_recovered_ms: int | None = figure(
        "First close back at the peak; not defined while it is not.", "ms", funding=True
    )
    drawdown_duration_ms: int | None = figure(
        "From the peak to the recovery, or to the end where there is none.", "ms", funding=True
    )
    longest_drawdown_ms: int | None = figure(
        "Longest time below a peak, to its recovery or to the end; any depth.", "ms", funding=True
    )
    exposure: float | None = figure("Share of closes with an open position.", "fraction")
    turnover: float | None = figure(
        "Notional of all fills of closed trades (entry and exit) / mean equity.", "x equity", funding=True
    )
    trades: int = figure("Closed round trips, from flat to flat.", "count", default=0)
    win_rate: float | None = figure("Share of trades with a net above 0.", "fraction", funding=True)
    profit_factor: float | None = figure(
        "Sum of winning nets / sum of losing nets, without sign. Not defined without a losing trade.",
        "ratio", funding=True,
    )  # fmt: skip
    expectancy_usd: float | None = figure("Mean net of a trade.", "USD", funding=True)
    best_usd: float | None = figure("Highest net of a trade.", "USD", funding=True)
    worst_usd: float | None = figure("Lowest net of a trade.", "USD", funding=True)
    holding_mean_ms: float | None = figure("Mean time from opening to closing.", "ms")
    holding_median_ms: float | None = figure("Median time from opening to closing.", "ms")
    gross_usd: float = figure("Sum over trades of price gains, slippage included.", "USD", default=0.0)
    fees_usd: float = figure("Fees of the fills of closed trades; positive is a cost.", "USD", default=0.0)
    funding_usd: float = figure("Funding of closed trades; positive was received.", "USD", funding=True, default=0.0)
    slippage_usd: float = figure(
        "What fills lost against the prices they were due at; already inside gross.", "USD", default=0.0
    )
    net_usd: float = figure("Gross - fees + funding of closed trades.", "USD", funding=True, default=0.0)
    open_usd: float | None = figure(
        "Last equity - start equity - net: what the positions still open at the end are worth.", "USD", funding=True
    )
    mae_mean_usd: float | None = figure(
        "Mean over trades of the worst open PnL on the way (maximum adverse excursion).", "USD", source="Sweeney 1988"
    )
    mae_worst_usd: float | None = figure("Worst open PnL of any trade.", "USD")
    mae_winners_usd: float | None = figure("Mean worst open PnL of the trades that won.", "USD", funding=True)
    mfe_mean_usd: float | None = figure(
        "Mean over trades of the best open PnL on the way (maximum favourable excursion).", "USD",
        source="Sweeney 1988",
    )  # fmt: skip
    mfe_best_usd: float | None = figure("Best open PnL of any trade.", "USD")
    mfe_losers_usd: float | None = figure("Mean best open PnL of the trades that lost.", "USD", funding=True)
    undefined: tuple[tuple[str, str], ...] = ()  # (figure, reason) of what is None
    incomplete: bool = False  # hours without a known funding rate: every figure with funding lacks them
    returns: CurveSums | None = None  # what `honesty` needs of the returns

    def reason(self, name: str) -> str:
        """Return why a figure is not defined; empty when it is."""
        return dict(self.undefined).get(name, "")


def measure(result: BacktestResult) -> Metrics:
    """Return the figures of a result.

    Raises:
        ValueError: equity is not a number somewhere, which no engine may give.
    """
    sums = curve_sums(result.start_equity_usd, result.equity_usd, result.held_usd)
    if not math.isfinite(sums.equity_sum):
        raise ValueError(f"equity of {result.strategy} is not a number at some close")
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    _curve_figures(result, sums, values, reasons)
    _trade_figures(result.trades, values, reasons)
    if sums.candles:
        end = float(result.equity_usd[-1])
        rest = end - result.start_equity_usd - values["net_usd"]
        values["open_usd"] = rest if abs(rest) > 1e-6 else 0.0  # sums of floats never meet exactly
        traded = float(np.sum(result.trades.size * (result.trades.entry_px + result.trades.exit_px)))
        if sums.equity_sum > 0:
            values["turnover"] = traded / (sums.equity_sum / sums.candles)
        else:
            reasons["turnover"] = "mean equity is not above 0"
    return Metrics(
        **values,
        undefined=tuple(reasons.items()),
        incomplete=result.missing_funding_hours > 0,
        returns=sums,
    )


def _curve_figures(result: BacktestResult, sums: CurveSums, values: dict[str, Any], reasons: dict[str, str]) -> None:
    if not sums.candles:
        for item in fields(Metrics)[: _first("trades")]:
            reasons[item.name] = "no candle was decided"
        reasons["open_usd"] = "no candle was decided"
        return
    year = periods_per_year(result.timeframe)
    growth = float(result.equity_usd[-1]) / result.start_equity_usd
    values["total_return"] = growth - 1
    values["exposure"] = sums.held / sums.candles
    days = int(result.close_ms[-1] - result.close_ms[0]) / DAY_MS + 365 / year
    values["annual_return"] = annual_return(growth, sums.candles, year)
    if values["annual_return"] is None:
        reasons["annual_return"] = f"{days:.1f} days are fewer than {MIN_ANNUAL_DAYS}: a year made of them is a guess"
    for name, value, reason in (
        ("volatility", volatility(sums, year), "fewer than 2 candles"),
        ("sharpe", sharpe(sums, year), "fewer than 2 candles" if sums.candles < 2 else "returns do not vary"),
        ("sortino", sortino(sums, year), "no candle lost"),
    ):
        values[name] = value
        if value is None:
            reasons[name] = reason
    values["max_drawdown"], values["max_drawdown_usd"] = sums.drawdown, sums.drawdown_usd
    annual = values["annual_return"]
    values["calmar"] = annual / sums.drawdown if annual is not None and sums.drawdown > 0 else None
    if values["calmar"] is None:
        reasons["calmar"] = reasons.get("annual_return", "equity never fell")
    _drawdown_times(result, sums, values, reasons)


def _drawdown_times(result: BacktestResult, sums: CurveSums, values: dict[str, Any], reasons: dict[str, str]) -> None:
    step = 365 * DAY_MS / periods_per_year(result.timeframe)
    values["longest_drawdown_ms"] = round(sums.longest * step)
    if sums.drawdown <= 0:
        for name in ("drawdown_from_ms", "drawdown_trough_ms", "drawdown_recovered_ms", "drawdown_duration_ms"):
            reasons[name] = "equity never fell"
        return
    start_ms = int(result.close_ms[0]) - round(step)
    begin = int(result.close_ms[sums.peak]) if sums.peak >= 0 else start_ms
    values["drawdown_from_ms"] = begin
    values["drawdown_trough_ms"] = int(result.close_ms[sums.trough])
    end = int(result.close_ms[sums.recovered])  # -1 is the last one
    values["drawdown_duration_ms"] = end - begin
    if sums.recovered >= 0:
        values["drawdown_recovered_ms"] = end
    else:
        reasons["drawdown_recovered_ms"] = "not recovered by the end"


def _trade_figures(trades: Trades, values: dict[str, Any], reasons: dict[str, str]) -> None:
    count = len(trades)
    values["trades"] = count
    for name in ("gross_usd", "fees_usd", "funding_usd", "slippage_usd", "net_usd"):
        values[name] = float(getattr(trades, name).sum())
    if not count:
        for item in fields(Metrics)[_first("win_rate") : _first("gross_usd")]:
            reasons[item.name] = "no trade was closed"
        for item in fields(Metrics)[_first("mae_mean_usd") : _first("undefined")]:
            reasons[item.name] = "no trade was closed"
        return
    net, mae, mfe = trades.net_usd, trades.mae_usd, trades.mfe_usd
    won, lost = net > 0, net < 0
    holding = trades.closed_ms - trades.opened_ms
    values |= {
        "win_rate": int(won.sum()) / count,
        "expectancy_usd": values["net_usd"] / count,
        "best_usd": float(net.max()),
        "worst_usd": float(net.min()),
        "holding_mean_ms": float(holding.mean()),
        "holding_median_ms": float(np.median(holding)),
        "mae_mean_usd": float(mae.mean()),
        "mae_worst_usd": float(mae.min()),
        "mfe_mean_usd": float(mfe.mean()),
        "mfe_best_usd": float(mfe.max()),
    }
    if lost.any():
        values["profit_factor"] = float(net[won].sum() / -net[lost].sum())
        values["mfe_losers_usd"] = float(mfe[lost].mean())
    else:
        reasons["profit_factor"] = reasons["mfe_losers_usd"] = "no trade lost"
    if won.any():
        values["mae_winners_usd"] = float(mae[won].mean())
    else:
        reasons["mae_winners_usd"] = "no trade won"


def _first(name: str) -> int:
    return [item.name for item in fields(Metrics)].index(name)


# ------------------------------------------------------------ the ratios, for sweeps too


def annual_return(growth: float, candles: int, candles_per_year: float) -> float | None:
    """Return the compound growth per year; None below `MIN_ANNUAL_DAYS` days."""
    years = candles / candles_per_year
    if years * 365 < MIN_ANNUAL_DAYS:
        return None
    return growth ** (1 / years) - 1 if growth > 0 else -1.0


def deviation(sums: CurveSums) -> float | None:
    """Return the standard deviation (n - 1) of the returns; None for fewer than two."""
    return math.sqrt(sums.second / (sums.candles - 1)) if sums.candles > 1 else None


def volatility(sums: CurveSums, candles_per_year: float) -> float | None:
    """Return the annualised standard deviation of the returns; None for fewer than two."""
    found = deviation(sums)
    return None if found is None else found * math.sqrt(candles_per_year)


def candle_sharpe(sums: CurveSums) -> float | None:
    """Return mean / standard deviation of the returns, not annualised; None where they do not vary."""
    found = deviation(sums)
    return None if found is None or found <= _FLAT else sums.mean / found


def sharpe(sums: CurveSums, candles_per_year: float) -> float | None:
    """Return the annualised Sharpe ratio; None where returns do not vary."""
    found = candle_sharpe(sums)
    return None if found is None else found * math.sqrt(candles_per_year)


def sortino(sums: CurveSums, candles_per_year: float) -> float | None:
    """Return the annualised Sortino ratio; None where no return is negative."""
    if sums.candles == 0 or sums.downside <= 0:
        return None
    return sums.mean / math.sqrt(sums.downside / sums.candles) * math.sqrt(candles_per_year)


def as_json(metrics: Metrics) -> dict[str, Any]:
    """Return the figures as one JSON object; what is not defined is null, with its reason under `undefined`."""
    names = [item.name for item in fields(Metrics) if item.metadata]
    funding = [item.name for item in fields(Metrics) if item.metadata.get("funding")]
    return {
        **{name: getattr(metrics, name) for name in names},
        "undefined": dict(metrics.undefined),
        "incomplete": funding if metrics.incomplete else [],
    }
