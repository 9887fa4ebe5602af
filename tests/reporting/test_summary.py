"""The summary on a terminal, the sparkline, the words, the CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from result_rig import START_MS, STEP_MS, market, result, trade
from rich.console import Console

from perp_bot.backtest.honesty import Honesty, Trials, examine, sharpe_odds
from perp_bot.backtest.metrics import measure
from perp_bot.backtest.results import BacktestResult
from perp_bot.config.model import Config
from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from perp_bot.reporting import words
from perp_bot.reporting.sparkline import sparkline
from perp_bot.reporting.summary import print_summary
from perp_bot.reporting.trades_csv import COLUMNS, write_trades_csv

ODD = "A<b>[red]&C"  # a name that is markup for rich and for a browser
HOSTILE = "A\x1b[2J\u202eB"  # a name that would clear the screen and turn the line round


def printed(found: BacktestResult, honesty: Honesty | None = None, *, encoding: str = "utf-8", width: int = 80) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_summary(
        Console(file=file, width=width, no_color=True), found, measure(found), honesty, "0007-backtest-abc123"
    )
    file.flush()
    raw = file.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode(encoding)


def session() -> BacktestResult:
    rows = [trade(closed_ms=START_MS + (4 + i) * STEP_MS, gross_usd=1.0 if i % 3 else -1.5) for i in range(12)]
    equity = 1000 + np.cumsum(np.random.default_rng(2).normal(0.01, 1, 4000))
    return result(
        equity, rows, symbols=("BTC", ODD), notes=(f"{ODD}: two holes",), blocked={"cooldown": 3, "margin": 9}
    )


def test_it_fits_80_columns_and_shows_text_as_it_is() -> None:
    """No line is longer, nothing is cut off, and brackets in a name are no markup."""
    text = printed(session())
    assert max(map(len, text.splitlines()[2:])) <= 80
    assert "…" not in text
    assert f"mean_reversion on BTC, {ODD}, 15m: 2026-01-01 to 2026-02-11, 4,000 candles" in text
    assert f"{ODD}: two holes" in text
    assert "stored as 0007-backtest-abc123" in text
    assert "entries that a rule forbade: margin 9, cooldown 3" in text


def test_no_name_drives_the_terminal() -> None:
    """Control characters in a symbol, note or rule are shown as glyphs."""
    text = printed(result([1000.0, 1001.0], symbols=(HOSTILE,), notes=(HOSTILE,), blocked={HOSTILE: 1}))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("A\u241b[2J\ufffdB") == 3


def test_gross_and_net_stand_apart_and_add_up() -> None:
    """One row of money: gross, fees, funding, net; slippage is told and is part of gross."""
    text = printed(session())
    head, row = (line.split() for line in text.splitlines() if line.startswith("USD") or "     +2.00" in line)
    assert head == ["USD", "gross", "fees", "funding", "net", "still", "open", "slippage", "(in", "gross)"]
    gross, fees, funding, net, _, slippage = (float(cell) for cell in row)
    assert (gross, fees, funding, slippage) == (2.0, -1.2, -0.6, -0.24)
    assert net == pytest.approx(gross + fees + funding)


def test_a_drawdown_that_never_recovered_does_not_read_as_recovered() -> None:
    """Of the same fall: back at its peak at the end, and not."""
    fallen, recovered = [1000.0, 1010.0, 990.0, 1000.0], [1000.0, 1010.0, 990.0, 1010.0]
    text = printed(result(fallen))
    assert "not recovered for" in text
    assert "from to recovered" not in text
    text = printed(result(recovered))
    assert "not recovered" not in text
    assert "from to recovered" in text
    assert "not recovered" not in printed(result([1000.0, 1001.0]))  # never fell


def test_counts_of_one_have_no_plural() -> None:
    """1 hour, 1 trade, 1 time, 1 candle."""
    text = " ".join(printed(result([1000.0], [trade()], missing_funding_hours=1, resumes=1)).split())
    for word in ("1 candle", "1 hour was held", "or halt 1 time "):
        assert word in text
    assert not re.search(r"\b1 (candles|hours|trades|times|positions)\b", text)


def test_what_is_undefined_or_incomplete_says_so() -> None:
    """A dash with its reason, a star with its reason."""
    text = printed(result([1000.0] * 50, missing_funding_hours=7))
    assert "total return" in text
    assert "0.00 %*" in text
    assert "incomplete: 7 hours were held without a known funding rate" in text
    assert "not defined, no trade was closed: win rate, profit factor" in " ".join(text.split())
    assert "nan" not in text.lower()
    whole = printed(session())
    assert "incomplete" not in whole
    assert "%*" not in whole


def test_a_partial_result_and_open_positions_are_marked() -> None:
    """Interrupted is interrupted, also in the headline."""
    text = " ".join(printed(result([1000.0, 1001.0], is_partial=True, open_positions=1, resumes=2)).split())
    assert "interrupted: a part of it" in text
    assert "1 position is open at the end: in the equity, not in the trades" in text
    assert "lifted a pause or halt 2 times" in text


def test_no_candle_is_no_failure() -> None:
    """An empty result prints, without a curve."""
    assert "no candle was decided" in printed(result([]))


def test_ascii_terminals_get_ascii() -> None:
    """A Latin-1 pipe shows the curve in plain characters."""
    line = next(line for line in printed(session(), encoding="ascii").splitlines() if line.startswith("equity"))
    assert set(line.split()[2]) <= set("_.-~=+*#")


def test_luck_is_said_in_words() -> None:
    """One trial, many trials, no Sharpe; drawn again, buy and hold, random entries."""
    found = session()
    metrics = measure(found)
    closes = 100 * np.cumprod(1 + np.random.default_rng(1).normal(0, 0.003, 4001))
    text = " ".join(printed(found, examine(Config(), found, metrics, market(closes))).split())
    for words_ in ("the true Sharpe is above 0 with", "one trial: but 12 trades are too few to tell (it takes 30)",
                   "drawings of the trades end between", "buy and hold", "the same trades entered at random net",
                   "buy and hold lacks 1,000 hours of funding"):  # fmt: skip
        assert words_ in text
    enough = replace(metrics, trades=30)
    many = Honesty(sharpe_odds(enough, "15m", 40, Trials(80, (0.1, 0.5, -0.2))))
    assert "no edge is shown (that takes 95 %)" in " ".join(printed(found, many).split())
    assert "the best of 120 trials without an edge would show a Sharpe of" in " ".join(printed(found, many).split())
    none = Honesty(sharpe_odds(measure(result([1000.0] * 9)), "15m", 1, Trials()))
    assert "the Sharpe ratio is not defined" in printed(result([1000.0] * 9), none)


def test_a_sparkline_shows_the_shape() -> None:
    """Lowest to highest fill the height; a flat line is flat; NaN is left out; the width is kept."""
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(range(16), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([8, 1], 8, plain=True) == "#_"
    assert sparkline([5.0] * 4, 8) == "▄▄▄▄"
    assert sparkline([1, math.nan, 2], 9) == "▁█"
    assert len(sparkline(np.arange(1_000_000), 40)) == 40
    assert sparkline([], 8) == ""


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [(45_000, "45s"), (12 * MINUTE_MS, "12m"), (59.9 * MINUTE_MS, "1h 00m"), (3 * HOUR_MS + 4 * MINUTE_MS, "3h 04m"),
     (2 * DAY_MS + 3 * HOUR_MS, "2d 03h"), (None, "-")],
)  # fmt: skip
def test_lengths_are_written_in_two_units(span_ms: float | None, text: str) -> None:
    """And roll over where rounding reaches the next."""
    assert words.length(span_ms) == text


def test_prices_keep_their_figures() -> None:
    """Large ones whole, small ones with decimals."""
    assert [words.price(value) for value in (97_123.0, 3_456.7, 0.012345, 0.0)] == [
        "97,123",
        "3,456.7",
        "0.012345",
        "-",
    ]


def test_the_csv_has_every_trade(tmp_path: Path) -> None:
    """All fields, numbers in full, UTC text beside the ms; a name cannot become a formula of a spreadsheet."""
    rows = [trade(symbol="=1+1", net_usd=0.1 + 0.2), trade(exit_reason='stop, "gap"')]
    path = tmp_path / "trades.csv"
    write_trades_csv(path, result([1000.0], rows))
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert tuple(found[0]) == COLUMNS
    assert [row["symbol"] for row in found] == ["'=1+1", "BTC"]
    assert float(found[0]["net_usd"]) == 0.1 + 0.2
    assert (found[1]["exit_reason"], found[1]["opened"]) == ('stop, "gap"', "2026-01-01T00:00:00Z")
    with pytest.raises(StoreError, match="cannot be written"):
        write_trades_csv(tmp_path / "nowhere" / "x.csv", result([1000.0], rows))
