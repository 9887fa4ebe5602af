"""The review of a week: sums, the week before, what blocked entries, and the certainty, in words."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "db"))  # store_samples

import store_samples as sample

from perp_bot.cli.main import run
from perp_bot.core.clock import FixedClock
from perp_bot.core.timeframes import DAY_MS, HOUR_MS
from perp_bot.core.types import Action, ClosedTrade, GateReason
from perp_bot.data.db.review_reader import ReviewReader
from perp_bot.data.db.rows import DecisionRow, EquityRow, EventRow, FundingDueRow, PositionRow, TradeRow
from perp_bot.data.db.writer import Writer
from perp_bot.reporting.interval import mean_interval, t_cdf, t_quantile
from perp_bot.reporting.review import Review, review
from perp_bot.reporting.review_text import headline, lines, luck_words

NOW = sample.T0 + 30 * DAY_MS


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """A running writer on a database of its own."""
    with Writer(tmp_path / "perp_bot.db", backups=None, emergency=None, clock=FixedClock(1_000)) as found:
        yield found


def closed(days_ago: float, net: str, number: int, **given: object) -> ClosedTrade:
    """Return a trade of gross = net + 0.30 + 0.05: fees 0.30, funding -0.05."""
    at = NOW - round(days_ago * DAY_MS)
    amount = Decimal(net)
    values = {
        "trade_id": f"t{number}", "opened_ms": at - HOUR_MS, "closed_ms": at, "gross_usd": amount + Decimal("0.35"),
        "fees_usd": Decimal("0.30"), "funding_usd": Decimal("-0.05"), "net_usd": amount,
    }  # fmt: skip
    return replace(sample.TRADE, **(values | given))  # type: ignore[arg-type]


def decided(minutes_ago: int, action: Action, *rules: str) -> DecisionRow:
    record = replace(
        sample.DECISION, decision_id=f"d{minutes_ago}", close_ms=NOW - minutes_ago * 60_000, action=action,
        blocked_by=tuple(GateReason(rule, "because") for rule in rules),
    )  # fmt: skip
    return DecisionRow(record, 1, None, None)


def fill(writer: Writer) -> None:
    """Two weeks of paper, a trade on each edge, some live, decisions, an open position, funding due."""
    trades = [
        closed(0.5, "4.00", 1), closed(1, "-1.50", 2), closed(2, "0.25", 3),
        closed(6.999, "1.00", 4, strategy="macd_cross"), closed(7, "-2.00", 5), closed(13.9, "-3.00", 6),
        closed(14.1, "99.00", 7), closed(1, "50.00", 8, source="live"),
    ]  # fmt: skip
    writer.put(*(TradeRow(trade) for trade in trades))
    writer.put(*(EquityRow("paper", NOW - days * DAY_MS, 670.0 + days, "670", 0.0) for days in (8, 6, 3, 0)))
    writer.put(
        decided(10, Action.BLOCKED, "cooldown", "max_positions"),
        decided(20, Action.BLOCKED, "cooldown"),
        decided(30, Action.ENTER),
        decided(40, Action.HOLD, "paused"),
        decided(60 * 24 * 9, Action.BLOCKED, "margin"),
    )
    writer.put(
        EventRow(NOW - 5, 1, "STOP", "BTC", "stopped", None),
        EventRow(NOW - 5, 1, "OPEN", "BTC", "o", None),
        EventRow(NOW - 9 * DAY_MS, 1, "HALTED", None, "halted", None),
    )
    writer.put(
        PositionRow("paper", "BTC", sample.POSITION),
        FundingDueRow("BTC", NOW - HOUR_MS, "0.1", "100", "mean_reversion", "paper"),
    )
    writer.flush(5)


def reviewed(path: Path, source: str | None = "paper", weeks: int = 1) -> Review:
    with ReviewReader(path) as reader:
        found = review(reader, weeks, source)
    assert found is not None
    return found


def said(found: Review) -> str:
    return " | ".join(f"{label}: {words}" for label, words in lines(found))


def test_the_week_is_summed_by_mode_and_strategy(writer: Writer, tmp_path: Path) -> None:
    """The 7 days to the newest row; a trade 7 days old to the ms belongs to the week before; live is apart."""
    fill(writer)
    found = reviewed(tmp_path / "perp_bot.db", None)
    assert (found.end_ms - found.begin_ms, found.end_ms) == (7 * DAY_MS, NOW + 1)
    assert [mode.source for mode in found.modes] == ["live", "paper"]
    live, paper = found.modes
    assert (live.sums.trades, live.sums.net_usd) == (1, 50.0)
    assert (paper.sums.trades, paper.sums.won) == (4, 3)
    assert paper.sums.net_usd == 3.75
    assert paper.sums.gross_usd == pytest.approx(3.75 + 4 * 0.35)
    assert (paper.sums.fees_usd, paper.sums.funding_usd) == (1.2, -0.2)
    assert (paper.before.trades, paper.before.net_usd) == (2, -5.0)
    assert [(item.strategy, item.sums.trades) for item in paper.strategies] == [
        ("macd_cross", 1),
        ("mean_reversion", 3),
    ]
    best, worst = paper.strategies[1].best, paper.strategies[1].worst
    assert best is not None
    assert worst is not None
    assert (best.net_usd, worst.net_usd) == (4.0, -1.5)
    assert (paper.equity_begin_usd, paper.equity_end_usd) == (676.0, 670.0)


def test_two_weeks_reach_further_back(writer: Writer, tmp_path: Path) -> None:
    """Span and comparison grow together."""
    fill(writer)
    paper = reviewed(tmp_path / "perp_bot.db", weeks=2).modes[0]
    assert (paper.sums.trades, paper.before.trades, paper.before.net_usd) == (6, 1, 99.0)


def test_what_blocked_entries_is_counted(writer: Writer, tmp_path: Path) -> None:
    """By rule, most first; an entry that two rules forbade counts for both; last week's does not count."""
    fill(writer)
    found = reviewed(tmp_path / "perp_bot.db")
    assert found.modes[0].blocked == {"cooldown": 2, "max_positions": 1}
    assert list(found.modes[0].blocked) == ["cooldown", "max_positions"]
    assert found.modes[0].decisions == {"blocked": 2, "enter": 1, "hold": 1}
    assert found.events == {"OPEN": 1, "STOP": 1}


def test_it_is_said_in_plain_words(writer: Writer, tmp_path: Path) -> None:
    """Gross and net, the week before, blocked, open, incomplete, luck."""
    fill(writer)
    found = reviewed(tmp_path / "perp_bot.db")
    assert headline(found) == "The 7 days to 2026-01-31 00:00 UTC, the newest row of the database"
    text = said(found)
    for words in (
        "paper: 4 trades, 3 won; gross +5.15, fees -1.20, funding -0.20, net +3.75 USD",
        "equity: 676.00 to 670.00 USD (-6.00), open PnL included",
        "open: BTC short: in the equity, not in the trades",
        "incomplete: funding of 1 hour is due and its rate has not come",
        "luck: 4 trades are too few to tell skill from luck: between -2.71 and +4.59 USD a trade with 95 % confidence",
        "macd_cross: 1 trade, 1 won; gross +1.35, fees -0.30, funding -0.05, net +1.00 USD",
        "best BTC short, closed 01-30 12:00 by mean_reversion_complete: net +4.00",
        "before: the 7 days before: 2 trades, 0 won; gross -4.30, fees -0.60, funding -0.10, net -5.00 USD",
        "net -5.00 USD; now 8.75 more",
        "blocked: 2 of 3 entries: cooldown 2, max_positions 1",
        "events: STOP 1",
    ):
        assert words in text, words
    assert "OPEN" not in text


@pytest.mark.parametrize(
    ("nets", "words"),
    [
        ([], "no trade: nothing to tell"),
        ([5.0], "one trade says nothing about skill"),
        ([1.0, -1.0] * 20, "40 trades do not tell skill from luck"),
        ([2.0, 1.0] * 20, "luck alone is unlikely: 40 trades earn between +1.34 and +1.66 USD a trade"),
        ([-2.0, -1.0] * 20, "bad luck alone is unlikely: 40 trades lose, between -1.66 and -1.34 USD a trade"),
        ([3.0, -2.0, 1.0], "3 trades are too few to tell skill from luck"),
    ],
)
def test_luck_is_told_by_the_interval(nets: list[float], words: str) -> None:
    """An interval that holds 0 tells nothing; one beside it does."""
    assert words in luck_words(mean_interval(nets), len(nets))


@pytest.mark.slow
def test_the_interval_is_that_of_scipy() -> None:
    """Quantiles of t to 1e-9, from 1 to 10,000 degrees of freedom."""
    from scipy import stats

    for freedom in (1, 2, 3, 7, 29, 120, 10_000):
        for probability in (0.5, 0.75, 0.9, 0.975, 0.9995):
            expected = float(stats.t.ppf(probability, freedom))
            assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert t_cdf(expected, freedom) == pytest.approx(probability, rel=1e-10)
    values = np.random.default_rng(1).normal(0.3, 2, 12).tolist()
    found = mean_interval(values)
    assert found is not None
    expected = stats.t.interval(0.95, 11, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 1,000 samples of ten, about 95 % of the intervals hold the true mean."""
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(1000):
        found = mean_interval(rng.normal(0.5, 3, 10).tolist())
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert 930 <= held <= 970


def test_how_many_trades_it_would_take() -> None:
    """The least number whose interval leaves 0 out, at this mean and deviation; none would do for a mean of 0."""
    found = mean_interval([1.0, -0.5] * 10)
    assert found is not None
    assert found.enough is not None
    deviation = np.std([1.0, -0.5] * 10, ddof=1)
    halves = [t_quantile(0.975, count - 1) * deviation / math.sqrt(count) for count in (found.enough - 1, found.enough)]
    assert halves[1] <= 0.25 < halves[0]
    assert "at this mean and spread it takes about 39" in luck_words(found, 20)
    flat, tiny = mean_interval([1.0, -1.0]), mean_interval([4.0, 8.0])
    assert flat is not None
    assert tiny is not None
    assert flat.enough is None
    assert "it takes about" not in luck_words(tiny, 2)


def command(tmp_path: Path, *arguments: str) -> int:
    config = tmp_path / "config.yaml"
    config.write_text(f"data:\n  db_path: {tmp_path / 'perp_bot.db'}\n")
    return run(["--config", str(config), "review", *arguments])


def test_the_command_prints_it(writer: Writer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words within 80 columns; one JSON object with --json."""
    fill(writer)
    assert command(tmp_path, "--source", "paper") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "4 trades, 3 won" in text
    assert command(tmp_path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [mode["source"] for mode in found["modes"]] == ["live", "paper"]
    assert found["modes"][1]["net_per_trade"]["count"] == 4


def test_an_empty_and_a_missing_database_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], writer: Writer
) -> None:
    """Nothing traded is no failure; no database is, and says where it was looked for."""
    writer.flush(5)
    assert command(tmp_path) == 0
    assert capsys.readouterr().err.startswith("nothing was traded or decided in ")
    assert command(tmp_path, "--source", "live", "--json") == 0
    assert json.loads(capsys.readouterr().out)["modes"] == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert command(elsewhere) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(AssertionError):
        reviewed(tmp_path / "perp_bot.db")
