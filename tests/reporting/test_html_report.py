"""The HTML report: self-contained, harmless whatever is in a name, small, and right where it can be checked."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from result_rig import START_MS, STEP_MS, market, result, trade

from perp_bot.backtest.honesty import examine
from perp_bot.backtest.market import Market
from perp_bot.backtest.metrics import measure
from perp_bot.backtest.results import BacktestResult
from perp_bot.config.model import Config
from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.visible import visible
from perp_bot.reporting import svg
from perp_bot.reporting.downsample import buckets
from perp_bot.reporting.heatmap import ParameterGrid, heatmap
from perp_bot.reporting.html import ReportExtras, report, write_report
from perp_bot.reporting.months import by_month
from perp_bot.reporting.trade_charts import waterfall

EVIL = '<script>alert("x")</script>[red]&\'"\x1b[2J\ud800'


class Page(HTMLParser):
    """Collects tags, attributes and headings."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_data(self, data: str) -> None:
        self.words += data


def session(bars: int = 3000, every: int = 40, symbol: str = "BTC", **given: Any) -> tuple[BacktestResult, Market]:
    """Return a result of trades at the market's own prices, and the market."""
    rng = np.random.default_rng(8)
    closes = np.round(30_000 * np.cumprod(1 + rng.normal(0, 0.002, bars + 1)), 1)
    rows, equity = [], np.full(bars, 1000.0)
    for at in range(20, bars - every, every):
        side = 1 if at % 3 else -1
        gross = 0.02 * side * (closes[at + 8] - closes[at])
        opened = START_MS + at * STEP_MS
        row = trade(
            symbol=symbol, side="long" if side > 0 else "short", decided_ms=opened, opened_ms=opened,
            closed_ms=opened + 8 * STEP_MS, size=0.02, entry_px=closes[at], exit_px=closes[at + 8],
            stop_px=closes[at] * (1 - 0.002 * side), gross_usd=float(gross), mae_usd=-abs(float(gross)) - 1,
        )  # fmt: skip
        rows.append(row)
        equity[at + 8 :] += row.net_usd
    there = market(closes, rate=1e-5)
    there = replace(there, symbols=(replace(there.symbols[0], symbol=symbol),))
    return result(equity, rows, symbols=(symbol,), **given), there


def page_of(found: BacktestResult, there: Market | None, **extras: Any) -> str:
    metrics = measure(found)
    if there is not None:
        extras.setdefault("honesty", examine(Config(), found, metrics, there))
    return report(found, metrics, there, ReportExtras(**extras))


def grid() -> ParameterGrid:
    return ParameterGrid("net USD", "z entry", [1.8, 2.0], "z exit", [0.3], [[None, 12.5]], (2.0, 0.3))


def test_it_holds_every_part_and_loads_nothing() -> None:
    """All sections are there; no script, no link, no address of anywhere."""
    found, there = session(notes=("BTC: 20 % of the candles are generated",))
    text = page_of(found, there, grids=(grid(),), run_id="0001-backtest-abcdef", seed=42)
    page = Page(text)
    for heading in ("Equity", "Drawdown", "BTC: price, entries, exits", "BTC: the last trades", "Months", "Trades",
                    "Adverse excursion", "From price moves to net", "The same trades, drawn again",
                    "z exit and z entry", "Skill or luck", "What qualifies these figures", "Exits",
                    "All figures"):  # fmt: skip
        assert f"<h2>{heading}</h2>" in text
    assert "BTC: 20 % of the candles are generated" in page.words
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.links == []
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)


def test_a_drawdown_that_never_recovered_says_so() -> None:
    """On its card, beside the time it has lasted."""
    _, there = session()
    assert "20.00 USD, 30m, not recovered" in page_of(result([1000.0, 1010.0, 990.0, 1000.0]), there)
    assert "not recovered<" not in page_of(result([1000.0, 1010.0, 990.0, 1010.0]), there)


@pytest.mark.parametrize(("last_px", "marks"), [(99.5, 2), (95.0, 0), (math.nan, 0)], ids=["moved", "not", "unknown"])
def test_a_stop_that_was_moved_is_drawn_where_it_ended(last_px: float, marks: int) -> None:
    """On the whole span and close up, with a legend; one that stayed, or is not known, is not."""
    closes = 100.0 + np.sin(np.arange(40))
    found = result(np.full(40, 1000.0), [trade(stop_px=95.0, last_stop_px=last_px)])
    text = page_of(found, market(closes))
    assert len(re.findall(r'<line [^>]*class="stop moved"/>', text)) == marks + bool(marks)  # and one in the legend
    assert ("where it had been moved to at the end" in text) is bool(marks)


def test_every_map_of_a_grid_is_on_the_page() -> None:
    """Each under the names of its parameters; one without the settings in use does not speak of them."""
    found, there = session()
    text = page_of(found, there, grids=(grid(), ParameterGrid("net USD", "a", [1.0], "b", [2.0], [[3.0]])))
    assert "<h2>z exit and z entry</h2>" in text
    assert "<h2>b and a</h2>" in text
    assert text.count("the outlined cell is in use") == 1


def test_every_picture_is_well_formed_and_finite() -> None:
    """Each SVG parses, says what it shows, and has no NaN or infinity in it."""
    found, there = session()
    pictures = re.findall(r"<svg.*?</svg>", page_of(found, there, grids=(grid(),)), re.DOTALL)
    labelled = [ElementTree.fromstring(picture).get("aria-label") for picture in pictures]
    assert len([label for label in labelled if label]) == 9
    assert not re.search(r"\bnan\b|\binf\b", "".join(pictures))


@pytest.mark.parametrize("where", ["symbol", "strategy", "reason", "note", "rule", "grid"])
def test_markup_in_a_text_is_shown_as_text(where: str) -> None:
    """A name, reason, note, rule or parameter that is markup harms nobody."""
    found, there = session(symbol=EVIL if where == "symbol" else "BTC")
    if where == "strategy":
        found = replace(found, strategy=EVIL)
    if where == "reason":
        found = replace(found, trades=replace(found.trades, reasons=(EVIL,)))
    if where == "note":
        found = replace(found, notes=(EVIL,))
    if where == "rule":
        found = replace(found, blocked={EVIL: 3})
    named = ParameterGrid(EVIL, EVIL, [1.0, 2.0], EVIL, [1.0], [[1.0, None]])
    text = page_of(found, there, grids=(named,) if where == "grid" else (), run_id=EVIL)
    assert "<script" not in text
    assert visible(EVIL) in Page(text).words
    assert text.encode()  # a lone surrogate would not be written
    for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(picture)


def test_every_trade_is_marked_with_entry_exit_and_stop() -> None:
    """An arrow and a cross for each, which say prices, times, reason and net on hover."""
    found, there = session(bars=240, every=30)
    text = page_of(found, there)
    count = len(found.trades)
    assert count == 7
    assert text.count('class="entry long"><title>') + text.count('class="entry short"><title>') == 2 * count
    assert len(re.findall(r'class="exit (gain|loss)"><title>zscore_exit at ', text)) == 2 * count
    # in both charts, and one in the legend
    assert text.count('class="stop"/>') == 2 * count + 1


def test_the_waterfall_adds_up() -> None:
    """Price moves - slippage = gross; gross - fees + funding = net; each step begins where the last one ended."""
    rows = [trade(gross_usd=5.0, slippage_usd=0.4, fees_usd=0.9, funding_usd=-0.2), trade(gross_usd=-2.0)]
    steps = waterfall(measure(result([1000.0, 1001.0], rows)))
    assert [name for name, _, _ in steps] == ["price moves", "slippage", "gross", "fees", "funding", "net"]
    assert [end for _, _, end in steps] == pytest.approx([3.42, 3.0, 3.0, 2.0, 1.75, 1.75])
    assert [begin for _, begin, _ in steps] == pytest.approx([0, 3.42, 0, 3.0, 2.0, 0])


def test_months_chain_to_the_total() -> None:
    """A close at midnight belongs to the month that ends; the months of a year multiply to its total."""
    days = 60
    curve = 1000 * 1.001 ** np.arange(1, days + 1)
    found = result(curve, timeframe="1d")  # closes from 2 January on, each at midnight
    years = by_month(found)
    assert [year.year for year in years] == [2026]
    january, february, march = years[0].months[:3]
    assert january == pytest.approx(1.001**31 - 1)
    assert february == pytest.approx(1.001**28 - 1)
    assert march == pytest.approx(1.001**1 - 1)
    assert years[0].months[3:] == (None,) * 9
    assert years[0].total == pytest.approx(float(curve[-1]) / 1000 - 1)


def test_thinning_keeps_every_high_and_low() -> None:
    """Of 100,000 candles, 900 stretches hold the same extremes; a hole is not bridged."""
    rng = np.random.default_rng(1)
    times = np.arange(100_000, dtype=np.int64) * STEP_MS
    times[60_000:] += 30 * DAY_MS
    low, high = rng.normal(100, 1, 100_000), rng.normal(110, 1, 100_000)
    found = buckets(times, low, high, high, 900)
    assert len(found.at_ms) <= 900
    assert (found.low.min(), found.high.max(), found.last[-1]) == (low.min(), high.max(), high[-1])
    assert len(found.breaks) == 1
    few = buckets(times[:5], low[:5], high[:5], high[:5], 900)
    assert few.low.tolist() == low[:5].tolist()


@pytest.mark.slow
def test_a_million_candles_stay_below_two_megabytes(tmp_path: Path) -> None:
    """With 25,000 trades, written in a moment."""
    found, there = session(bars=1_000_000)
    path = tmp_path / "report.html"
    write_report(path, found, measure(found), there)
    assert len(found.trades) > 24_000
    assert path.stat().st_size < 2_000_000
    assert "1,200 of 24,999 trades are marked" in path.read_text()


@pytest.mark.parametrize(
    "found",
    [
        result([]),
        result([1000.0]),
        result([1000.0] * 50),
        result([1000.0, 1001.0], [trade()]),
        result([0.0, 0.0], [trade(net_usd=0.0, gross_usd=0.0, fees_usd=0.0, funding_usd=0.0)]),
    ],
    ids=["no candle", "one candle", "flat", "one trade", "ruin and nothing"],
)
def test_little_is_no_failure(found: BacktestResult) -> None:
    """Whatever is missing is left out or said; every picture is still well-formed."""
    there = market(np.full(len(found.equity_usd) + 1, 100.0))
    for text in (page_of(found, there), page_of(found, None)):
        for picture in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
            ElementTree.fromstring(picture)
        assert not re.search(r"\bnan\b|\binf\b", text)


def test_incomplete_and_partial_are_on_top() -> None:
    """Badges in the head, a star at every figure that includes funding, none at the others."""
    found, there = session(missing_funding_hours=5, is_partial=True)
    text = page_of(found, there)
    assert '<span class="badge">interrupted: a part of it</span>' in text
    assert '<span class="badge">funding incomplete: 5 hours unknown</span>' in text
    assert re.search(r'<td class="word">sharpe</td><td class="number">[^<]*\*</td>', text)
    assert re.search(r'<td class="word">gross</td><td class="number">[^<*]*</td>', text)


def test_light_and_dark_follow_the_reader() -> None:
    """Both sets of colours are in the page."""
    text = page_of(*session(bars=200))
    assert "@media (prefers-color-scheme: dark)" in text
    assert '<meta name="color-scheme" content="light dark">' in text


def test_a_heatmap_shows_what_is_missing_and_what_is_in_use() -> None:
    """None is a grey cell that says so; the present settings are outlined."""
    text = heatmap(grid())
    assert "z entry 1.8, z exit 0.3: not defined" in text
    assert "z entry 2, z exit 0.3: net USD 12.5" in text
    assert text.count('class="chosen"') == 1


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]),
     (-0.4, 0.02, [-0.4, -0.3, -0.2, -0.1, 0]), (97_000, 99_900, [97_000, 98_000, 99_000]),
     (5, 5, [5])],
)  # fmt: skip
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    """1, 2, 2.5 or 5 times a power of ten apart, inside the range."""
    assert svg.nice_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("days", "first"),
    [(0.5, "02:00"), (6, "2 Jan"), (80, "15 Jan"), (400, "Jan 2026"), (3000, "2026"), (30_000, "2030")],
)
def test_dates_below_a_chart_are_round_and_few(days: float, first: str) -> None:
    """From hours to decades there are at most nine of them."""
    ticks = svg.time_ticks(START_MS, START_MS + int(days * DAY_MS))
    assert 1 < len(ticks) <= 10
    assert first in [words for _, words in ticks], ticks


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """The message names it."""
    found = result([1000.0])
    with pytest.raises(StoreError, match="cannot be written: No such file"):
        write_report(tmp_path / "nowhere" / "r.html", found, measure(found), None)
