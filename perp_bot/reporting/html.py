"""One self-contained HTML file about a backtest: no network, no script, pictures drawn here.

Every text that comes from a result is escaped; every long series is thinned to what a picture can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from perp_bot.backtest.honesty import SURE, Honesty
from perp_bot.backtest.market import Market
from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.results import BacktestResult
from perp_bot.core.counting import counted
from perp_bot.core.errors import StoreError
from perp_bot.core.money import pct, usd
from perp_bot.reporting import curve_charts, price_charts, trade_charts
from perp_bot.reporting.heatmap import ParameterGrid, heatmap
from perp_bot.reporting.months import by_month
from perp_bot.reporting.summary import is_under_water, luck_lines, qualifiers
from perp_bot.reporting.words import by_unit, day, length, on_page, ratio
from perp_bot.version import VERSION

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLAIN = ("fees_usd", "slippage_usd", "max_drawdown_usd")  # costs and falls: positive by definition
_FULL_HEAT = 0.10  # a month of this return has the full colour


@dataclass(frozen=True, slots=True)
class ReportExtras:
    """What a report shows when it is given."""

    honesty: Honesty | None = None
    grids: tuple[ParameterGrid, ...] = ()  # a map each
    run_id: str | None = None
    seed: int | None = None
    part: str = ""  # why this is only a part, where the result itself is whole
    sections: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()  # further ones: title, sentences with a label


def write_report(
    path: Path, result: BacktestResult, metrics: Metrics, market: Market | None, extras: ReportExtras | None = None
) -> None:
    """Write the report; without a market it has no price charts and says so.

    Raises:
        StoreError: the file cannot be written.
    """
    text = report(result, metrics, market, extras or ReportExtras())
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"the report {path} cannot be written: {error.strerror}") from error


def report(result: BacktestResult, metrics: Metrics, market: Market | None, extras: ReportExtras) -> str:
    """Return the page."""
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    name = on_page(f"{result.strategy} on {', '.join(result.symbols)}")
    body = "\n".join(_sections(result, metrics, market, extras))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{name} - perpbot backtest</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _sections(result: BacktestResult, metrics: Metrics, market: Market | None, extras: ReportExtras) -> Iterator[str]:
    yield _head(result, metrics, extras)
    yield _cards(metrics, extras.honesty)
    if len(result.close_ms):
        hold = None if extras.honesty is None else extras.honesty.hold
        legend = _legend(("line equity", "equity"), *((("line hold", "buy and hold"),) if hold is not None else ()))
        yield _section("Equity", curve_charts.equity_chart(result, hold), legend)
        deepest = "equity never fell"
        if metrics.max_drawdown:
            when = day(metrics.drawdown_trough_ms)
            deepest = f"of the highest equity so far; deepest {pct(metrics.max_drawdown)} on {when}"
        yield _section("Drawdown", curve_charts.drawdown_chart(result), deepest)
        yield from _prices(result, market)
        yield _section("Months", _months(result), "return of each calendar month, UTC")
    pairs = [_spread(result), _excursions(result), _costs(result, metrics), _bands(extras.honesty)]
    present = [item for item in pairs if item]
    if present:
        yield f'<div class="pair">{"".join(present)}</div>'
    for grid in extras.grids:
        outlined = "" if grid.chosen is None else "; the outlined cell is in use"
        yield _section(f"{grid.y_name} and {grid.x_name}", heatmap(grid), f"{on_page(grid.figure)}{outlined}")
    for title, sentences in extras.sections:
        yield _section(title, _pairs_list(sentences))
    if extras.honesty is not None:
        yield _section("Skill or luck", _pairs_list(luck_lines(extras.honesty)))
    yield _section("What qualifies these figures", _notes(result, metrics, extras.honesty))
    if len(result.trades):
        yield _section("Exits", _exits(result))
    yield _section("All figures", _all_figures(metrics), "with their definitions")
    seed = "" if extras.seed is None else f", seed {extras.seed}"
    yield f"<footer>perpbot {VERSION}{seed}, data {on_page(result.data_hash[:16] or 'without a hash')}</footer>"


def _section(title: str, inner: str, about: str = "") -> str:
    head = f"<h2>{on_page(title)}</h2>" + (f'<p class="about">{about}</p>' if about else "")
    return f'<section><div class="title">{head}</div>{inner}</section>'


def _legend(*items: tuple[str, str]) -> str:
    return "".join(
        f'<span class="key"><svg viewBox="0 0 18 8"><path d="M0,4L18,4" class="{style}"/></svg>{on_page(words)}</span>'
        for style, words in items
    )


# ------------------------------------------------------------ top


def _head(result: BacktestResult, metrics: Metrics, extras: ReportExtras) -> str:
    span = "no candle was decided"
    if len(result.close_ms):
        first, last = int(result.close_ms[0]), int(result.close_ms[-1])
        span = f"{day(first)} to {day(last)} ({length(last - first)})"
    facts = [result.timeframe, span, counted(result.rows, "candle")]
    if extras.run_id:
        facts.append(f"run {extras.run_id}")
    badges = []
    if result.is_partial:
        badges.append("interrupted: a part of it")
    if extras.part:
        badges.append(extras.part)
    if metrics.incomplete:
        badges.append(f"funding incomplete: {counted(result.missing_funding_hours, 'hour')} unknown")
    marks = "".join(f'<span class="badge">{on_page(words)}</span>' for words in badges)
    chips = "".join(f"<span>{on_page(words)}</span>" for words in facts)
    title = f"<h1>{on_page(result.strategy)} <em>on</em> {on_page(', '.join(result.symbols))}</h1>"
    return f'<header>{title}<p class="facts">{chips}</p>{marks}</header>'


def _cards(metrics: Metrics, honesty: Honesty | None) -> str:
    mark = "*" if metrics.incomplete else ""
    fall = f"{usd(metrics.max_drawdown_usd)} USD, {length(metrics.drawdown_duration_ms)}"
    if is_under_water(metrics):
        fall += ", not recovered"
    won = f"{pct(metrics.win_rate, digits=1)} won, {pct(metrics.exposure, digits=1)} exposed"
    cards = [
        ("net", f"{usd(metrics.net_usd, sign=True)}{mark}", f"USD, gross {usd(metrics.gross_usd, sign=True)}",
         _tone(metrics.net_usd)),
        ("total return", f"{pct(metrics.total_return, sign=True)}{mark}",
         _yearly(metrics), _tone(metrics.total_return)),
        ("Sharpe", f"{ratio(metrics.sharpe)}{mark}", f"Sortino {ratio(metrics.sortino)}", ""),
        ("max drawdown", f"{pct(metrics.max_drawdown)}{mark}", fall, ""),
        ("trades", f"{metrics.trades:,}", won, ""),
    ]  # fmt: skip
    if honesty is not None:
        odds = honesty.odds
        tried = "1 trial" if odds.trials == 1 else f"{odds.trials:,} trials"
        words = "likely" if odds.is_sure else f"not shown (below {pct(SURE, digits=0)})"
        if not odds.has_enough_trades:
            words = "too few trades to tell"
        cards.append(("edge after luck", pct(odds.deflated, digits=0), f"{words}, {tried}", ""))
    inner = "".join(
        f'<div class="card"><h3>{on_page(name)}</h3><b class="{tone}">{on_page(value)}</b><p>{on_page(about)}</p></div>'
        for name, value, about, tone in cards
    )
    return f'<div class="cards">{inner}</div>'


def _yearly(metrics: Metrics) -> str:
    if metrics.annual_return is None:
        return "too short a span for a year"
    return f"{pct(metrics.annual_return, sign=True)} a year"


def _tone(value: float | None) -> str:
    return "" if not value else "up" if value > 0 else "down"


# ------------------------------------------------------------ charts


def _prices(result: BacktestResult, market: Market | None) -> Iterator[str]:
    if market is None:
        yield _section("Prices", "<p>The candles were not at hand when this report was written.</p>")
        return
    legend = (
        '<span class="key"><svg viewBox="0 0 12 12"><path d="M6,1L11,11L1,11Z" class="entry long"/></svg>long</span>'
        '<span class="key"><svg viewBox="0 0 12 12"><path d="M6,11L11,1L1,1Z" class="entry short"/></svg>short</span>'
        '<span class="key"><svg viewBox="0 0 12 12"><path d="M2,2l8,8M2,10l8,-8" class="exit gain"/></svg>exit, gain'
        '</span><span class="key"><svg viewBox="0 0 12 12"><path d="M2,2l8,8M2,10l8,-8" class="exit loss"/></svg>'
        "exit, loss</span>"
    )
    stop = (
        '<span class="key"><svg viewBox="0 0 18 8"><line x1="0" y1="4" x2="18" y2="4" class="stop"/></svg>stop at the '
        "opening</span>"
    )
    moved = (
        '<span class="key"><svg viewBox="0 0 18 8"><line x1="0" y1="4" x2="18" y2="4" class="stop moved"/></svg>where '
        "it had been moved to at the end</span>"
    )
    for item in market.symbols:
        if item.symbol not in result.symbols:
            continue
        trades = price_charts.trades_of(result, item.symbol)
        chart, marked = price_charts.span_chart(result, item, trades)
        if not chart:
            continue
        some = ""
        if marked < len(trades):
            some = f'<span class="key">{marked:,} of {len(trades):,} trades are marked</span>'
        yield _section(f"{item.symbol}: price, entries, exits", chart, legend + some)
        near = price_charts.close_up(result, item, trades)
        if near:
            yield _section(
                f"{item.symbol}: the last trades", near, legend + stop + (moved if "stop moved" in near else "")
            )


def _spread(result: BacktestResult) -> str:
    if not len(result.trades):
        return ""
    return _section("Trades", trade_charts.spread_chart(result.trades), "how many ended with which net, USD")


def _excursions(result: BacktestResult) -> str:
    if len(result.trades) < 2:
        return ""
    about = "net (up) against the worst open PnL on the way (right), USD"
    return _section("Adverse excursion", trade_charts.excursion_chart(result.trades), about)


def _costs(result: BacktestResult, metrics: Metrics) -> str:
    if not len(result.trades):
        return ""
    missing = f"; funding of {counted(result.missing_funding_hours, 'hour')} is not known" if metrics.incomplete else ""
    about = f"closed trades, USD; price moves are at the prices that were due{missing}"
    return _section("From price moves to net", trade_charts.waterfall_chart(metrics), about)


def _bands(honesty: Honesty | None) -> str:
    if honesty is None or honesty.bands is None:
        return ""
    bands = honesty.bands
    about = (
        f"equity after each trade, USD: {bands.paths:,} drawings with replacement (90 % and 50 % of them shaded), "
        "the line is what happened"
    )
    return _section("The same trades, drawn again", curve_charts.band_chart(bands), about)


# ------------------------------------------------------------ tables


def _months(result: BacktestResult) -> str:
    rows = []
    for year in by_month(result):
        cells = "".join(_heat(value) for value in year.months)
        rows.append(f"<tr><th>{year.year}</th>{cells}{_heat(year.total, 'sum')}</tr>")
    heads = "".join(f"<th>{name}</th>" for name in (*_MONTHS, "year"))
    return (
        f'<div class="scroll"><table class="months"><thead><tr><th></th>{heads}</tr></thead><tbody>{"".join(rows)}'
        "</tbody></table></div>"
    )


def _heat(value: float | None, style: str = "") -> str:
    if value is None:
        return '<td class="void"></td>'
    tone = "up" if value > 0 else "down" if value < 0 else ""
    strength = min(1.0, abs(value) / _FULL_HEAT)
    return f'<td class="{tone} {style}" style="--heat:{strength:.2f}">{pct(value, sign=True, digits=1)}</td>'


def _exits(result: BacktestResult) -> str:
    trades = result.trades
    rows = []
    for code, reason in enumerate(trades.reasons):
        net = trades.net_usd[trades.exit_reason == code]
        if len(net):
            rows.append((reason, len(net), float((net > 0).mean()), float(net.mean()), float(net.sum())))
    rows.sort(key=lambda row: -row[1])
    lines = [
        (reason, f"{count:,}", pct(won, digits=1), usd(mean, sign=True), usd(total, sign=True))
        for reason, count, won, mean, total in rows
    ]
    return _table(("reason", "trades", "won", "mean net USD", "net USD"), lines)


def _all_figures(metrics: Metrics) -> str:
    rows, names = [], {item.name for item in fields(Metrics)}
    for item in fields(Metrics):
        if not item.metadata:
            continue
        value = getattr(metrics, item.name)
        unit = item.metadata["unit"]
        is_moment = item.name in ("drawdown_from_ms", "drawdown_trough_ms", "drawdown_recovered_ms")
        sign = item.name.endswith("_usd") and item.name not in _PLAIN
        words = day(value) if is_moment else by_unit(value, unit, sign=sign)
        mark = "*" if metrics.incomplete and item.metadata["funding"] else ""
        reason = metrics.reason(item.name)
        doc = item.metadata["doc"] + (f" Not defined here: {reason}." if reason else "")
        shown_unit = "" if unit in ("fraction", "ms", "count") else unit
        name = item.name.removesuffix("_ms")
        if name.removesuffix("_usd") not in names:
            name = name.removesuffix("_usd")
        name = name.replace("_", " ").replace(" usd", ", USD")
        rows.append((name, f"{words}{mark}", shown_unit, doc))
    inner = _table(("figure", "value", "unit", "definition"), rows, words=(2, 3))
    return f"<details><summary>{len(rows)} figures</summary>{inner}</details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = ()) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f'<{tag} class="{"word" if place == 0 or place in words else "number"}">{on_page(cell)}</{tag}>'
            for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    head = f"<thead><tr>{cells(heads, 'th')}</tr></thead>"
    return f'<div class="scroll"><table class="plain">{head}<tbody>{body}</tbody></table></div>'


def _pairs_list(pairs: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f"<dt>{on_page(label)}</dt><dd>{on_page(words)}</dd>" for label, words in pairs)
    return f"<dl>{inner}</dl>"


def _notes(result: BacktestResult, metrics: Metrics, honesty: Honesty | None) -> str:
    notes = [*result.notes, *(() if honesty is None else honesty.notes)]
    pairs = [*qualifiers(result, metrics), *(("note", note) for note in notes)]
    return _pairs_list(pairs) if pairs else "<p>Nothing is missing, nothing was generated.</p>"
