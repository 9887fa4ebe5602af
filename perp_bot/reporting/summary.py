"""A backtest on one screen: equity, figures, money, luck, and everything that qualifies them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

from perp_bot.backtest.bands import QUANTILES
from perp_bot.backtest.honesty import MIN_TRADES, SURE, Honesty
from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.counting import counted
from perp_bot.core.money import pct, usd
from perp_bot.core.visible import visible
from perp_bot.reporting.labelled import labelled
from perp_bot.reporting.sparkline import sparkline
from perp_bot.reporting.words import by_unit, day

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDTH = 80
_UNITS = {item.name: item.metadata["unit"] for item in fields(Metrics) if item.metadata}
_FUNDING = {item.name for item in fields(Metrics) if item.metadata.get("funding")}

_RETURN = (
    ("total return", "total_return", True),
    ("annual return", "annual_return", True),
    ("volatility", "volatility", False),
    ("Sharpe", "sharpe", False),
    ("Sortino", "sortino", False),
    ("Calmar", "calmar", False),
    ("max drawdown", "max_drawdown", False),
    ("  in USD", "max_drawdown_usd", False),
    ("  from to recovered", "drawdown_duration_ms", False),
    ("exposure", "exposure", False),
    ("turnover, x equity", "turnover", False),
)
_TRADES = (
    ("trades", "trades", False),
    ("win rate", "win_rate", False),
    ("profit factor", "profit_factor", False),
    ("net a trade", "expectancy_usd", True),
    ("best", "best_usd", True),
    ("worst", "worst_usd", True),
    ("holding, mean", "holding_mean_ms", False),
    ("holding, median", "holding_median_ms", False),
    ("MAE, mean", "mae_mean_usd", True),
    ("MFE, mean", "mfe_mean_usd", True),
)
_MONEY = (
    ("gross", "gross_usd", True),
    ("fees", "fees_usd", True),
    ("funding", "funding_usd", True),
    ("net", "net_usd", True),
    ("still open", "open_usd", True),
    ("slippage (in gross)", "slippage_usd", True),
)
_COSTS = ("fees_usd", "slippage_usd")  # positive is a cost: in a row of money it is negative
_LABELS = {name: label.strip() for label, name, _ in (*_RETURN, *_TRADES, *_MONEY)}


def print_summary(
    console: Console,
    result: BacktestResult,
    metrics: Metrics,
    honesty: Honesty | None = None,
    run_id: str | None = None,
) -> None:
    """Print the summary; every text of the result is shown as it is, never read as markup."""
    from rich.text import Text

    plain = not (console.encoding or "").lower().startswith("utf")
    for line in _head(result, run_id):
        console.print(Text(visible(line), style="bold"), soft_wrap=True)
    console.print(_equity_line(result, min(console.width, WIDTH), plain=plain))
    console.print()
    console.print(_figures(metrics))
    console.print()
    console.print(_money(metrics))
    console.print()
    lines = [*(() if honesty is None else luck_lines(honesty)), *qualifiers(result, metrics)]
    lines += [("note", note) for note in (*result.notes, *(() if honesty is None else honesty.notes))]
    console.print(labelled(lines))


def _head(result: BacktestResult, run_id: str | None) -> Iterator[str]:
    where = ", ".join(result.symbols)
    span = "no candle was decided"
    if len(result.close_ms):
        first, last = int(result.close_ms[0]), int(result.close_ms[-1])
        span = f"{day(first)} to {day(last)}, {counted(result.rows, 'candle')}"
    partial = ", interrupted: a part of it" if result.is_partial else ""
    yield f"{result.strategy} on {where}, {result.timeframe}: {span}{partial}"
    if run_id is not None:
        yield f"stored as {run_id}"


def _equity_line(result: BacktestResult, width: int, *, plain: bool) -> Text:
    from rich.text import Text

    if not len(result.equity_usd):
        return Text("")
    begin, end = usd(result.start_equity_usd), usd(float(result.equity_usd[-1]))
    line = sparkline(result.equity_usd, max(10, width - len(begin) - len(end) - 9), plain=plain)
    style = "green" if result.equity_usd[-1] >= result.start_equity_usd else "red"
    return Text.assemble("equity ", begin, " ", (line, style), " ", end)


def _figures(metrics: Metrics) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    for place in range(5):
        table.add_column(
            justify="right" if place in (1, 4) else "left", no_wrap=True, min_width=(20, 14, 3, 16, 13)[place]
        )
    table.add_row(*(Text(text, style="dim") for text in ("Return", "", "", "Trades", "")))
    for row in range(max(len(_RETURN), len(_TRADES))):
        cells = [*_pair(metrics, _RETURN, row), Text(""), *_pair(metrics, _TRADES, row)]
        table.add_row(*cells)
    return table


def _pair(metrics: Metrics, block: tuple[tuple[str, str, bool], ...], row: int) -> tuple[Text, Text]:
    from rich.text import Text

    if row >= len(block):
        return Text(""), Text("")
    label, name, sign = block[row]
    if name == "drawdown_duration_ms" and is_under_water(metrics):
        label = "  not recovered for"
    return Text(label), _cell(metrics, name, sign=sign)


def is_under_water(metrics: Metrics) -> bool:
    """Whether the deepest fall was not made good by the end."""
    return bool(metrics.max_drawdown) and metrics.drawdown_recovered_ms is None


def _money(metrics: Metrics) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    for _ in _MONEY:
        table.add_column(justify="right", no_wrap=True)
    table.add_row(Text("USD"), *(Text(label, style="dim") for label, _, _ in _MONEY))
    table.add_row(Text(""), *(_cell(metrics, name, sign=sign) for _, name, sign in _MONEY))
    return table


def _cell(metrics: Metrics, name: str, *, sign: bool) -> Text:
    from rich.text import Text

    value = getattr(metrics, name)
    if name in _COSTS and value is not None:
        value = -value
    mark = "*" if metrics.incomplete and name in _FUNDING else " "
    style = ""
    if sign and value is not None:
        style = "green" if value > 0 else "red" if value < 0 else ""
    return Text(f"{by_unit(value, _UNITS[name], sign=sign)}{mark}", style=style)


def qualifiers(result: BacktestResult, metrics: Metrics) -> Iterator[tuple[str, str]]:
    if metrics.incomplete:
        hours = counted(result.missing_funding_hours, "hour was", "hours were")
        yield "*", f"incomplete: {hours} held without a known funding rate; nothing is booked for them"
    reasons: dict[str, list[str]] = {}
    for name, reason in metrics.undefined:
        if name in _LABELS:
            reasons.setdefault(reason, []).append(_LABELS[name])
    for reason, names in reasons.items():
        yield "-", f"not defined, {reason}: {', '.join(names)}"
    if result.open_positions:
        many = counted(result.open_positions, "position is", "positions are")
        yield "open", f"{many} open at the end: in the equity, not in the trades"
    if result.blocked:
        parts = ", ".join(f"{rule} {count:,}" for rule, count in sorted(result.blocked.items(), key=lambda p: -p[1]))
        yield "blocked", f"entries that a rule forbade: {parts}"
    if result.resumes:
        yield (
            "resumed",
            f"the simulated operator lifted a pause or halt {counted(result.resumes, 'time')} (backtest.resume_hours)",
        )


def luck_lines(honesty: Honesty) -> Iterator[tuple[str, str]]:
    """Yield what keeps the figures honest: a label and a sentence each."""
    odds = honesty.odds
    if odds.deflated is None or odds.probabilistic is None:
        yield "luck", "the Sharpe ratio is not defined, so nothing can be said about it"
    else:
        verdict = "an edge is likely" if odds.is_sure else f"no edge is shown (that takes {pct(SURE, digits=0)})"
        if not odds.has_enough_trades:
            verdict = f"but {counted(odds.trades, 'trade is', 'trades are')} too few to tell (it takes {MIN_TRADES})"
        if odds.trials == 1:
            yield "luck", f"the true Sharpe is above 0 with {pct(odds.probabilistic, digits=1)}, one trial: {verdict}"
        else:
            yield (
                "luck",
                (
                    f"the best of {odds.trials:,} trials without an edge would show a Sharpe of "
                    f"{odds.luck_sharpe:.2f}; the true one is above that with {pct(odds.deflated, digits=1)}, "
                    "above 0 with "
                    f"{pct(odds.probabilistic, digits=1)}: {verdict}"
                ),
            )
    bands = honesty.bands
    if bands is not None:
        low, high = bands.end_usd[0], bands.end_usd[-1]
        share = pct(QUANTILES[-1] - QUANTILES[0], digits=0)
        yield (
            "drawn again",
            (
                f"{share} of {bands.paths:,} drawings of the trades end between {usd(low)} and {usd(high)}, "
                f"{pct(bands.loss_share, digits=0)} of them with a loss; shuffled, the drawdown is "
                f"{pct(bands.shuffled_drawdown[0], digits=1)} to {pct(bands.shuffled_drawdown[-1], digits=1)}"
            ),
        )
    if honesty.hold is not None:
        hold = honesty.hold
        yield "buy and hold", f"{pct(hold.total_return, sign=True)}, max drawdown {pct(hold.max_drawdown)}"
    if honesty.random is not None:
        drawn = honesty.random
        yield (
            "at random",
            (
                f"the same trades entered at random net {usd(drawn.net_usd[0], sign=True)} to "
                f"{usd(drawn.net_usd[-1], sign=True)} USD, median {usd(drawn.net_usd[1], sign=True)}; "
                f"{pct(drawn.p_value, digits=1)} of {drawn.runs:,} drawings do as well as this"
            ),
        )
