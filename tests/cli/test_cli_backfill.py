"""perpbot backfill against the practice venue: report, resume, refusals in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_run import RunCommand

from perp_bot.data.db.reader import Reader
from perp_bot.data.meta import stored_instruments
from perp_bot.ops.instance_lock import InstanceLock
from perp_bot.practice.thread import PracticeServer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def venue() -> Iterator[str]:
    """A practice venue that is stepped, so that its clock stands still."""
    with PracticeServer(speed=None, start="400") as server:
        yield server.base_url


def test_it_reports_every_series_and_resumes(perpbot: RunCommand, tmp_path: Path, venue: str) -> None:
    """First run: everything asked comes; second run: everything is there already."""
    arguments = ("backfill", "--days", "1", "--symbol", "BTC-PERP", "--venue", venue, "--json")
    first, second = perpbot(*arguments), perpbot(*arguments)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    rows = [json.loads(line) for line in first.out.splitlines()]
    assert [row["timeframe"] for row in rows] == ["1m", "5m", "15m", "1h", "funding"]
    assert {row["symbol"] for row in rows} == {"BTC"}
    # The venue's clock stands on a boundary: the candle that closed this very moment is not settled yet.
    assert all(row["had"] == 0 and row["missing"] <= 1 and row["fetched"] > 20 for row in rows)
    again = [json.loads(line) for line in second.out.splitlines()]
    assert [row["had"] for row in again] == [row["fetched"] for row in rows]
    assert [row["fetched"] for row in again] == [0] * 5
    with Reader(tmp_path / "perp_bot.db") as reader:
        span = reader.candle_span("BTC", "15m")
        assert span is not None
        assert span[2] == rows[2]["fetched"]
    coins, source = stored_instruments(tmp_path / "perp_bot.db")
    assert source.startswith("stored 20")
    assert [tier.max_leverage for tier in coins["BTC"].margin_tiers] == [40, 20]


def test_that_the_venue_has_less_is_no_failure(perpbot: RunCommand, venue: str) -> None:
    """Exit code 0 and a line that says so."""
    ran = perpbot("backfill", "--days", "30", "--symbol", "ETH", "--venue", venue)
    assert ran.code == 0, ran.err
    line = next(line for line in ran.out.splitlines() if line.startswith("ETH 1m: "))
    assert " of 30 days, the venue has no more  (asked 43,2" in line


def test_without_a_terminal_each_series_is_a_line_of_progress(perpbot: RunCommand, venue: str) -> None:
    """On stderr, as it begins: a wait for the venue's limit is seen; stdout stays data."""
    ran = perpbot("backfill", "--days", "1", "--symbol", "BTC", "--venue", venue)
    lines = ran.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["BTC 1m", "BTC 5m", "BTC 15m", "BTC 1h", "BTC funding"]
    assert lines[2] == "BTC 15m: 1 request to the venue"
    assert "request" not in ran.out


def test_a_coin_that_the_venue_does_not_have_is_one_line(perpbot: RunCommand, venue: str) -> None:
    """With the nearest one."""
    ran = perpbot("backfill", "--symbol", "BTX", "--venue", venue)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"perpbot: {venue} has no coin 'BTX'; did you mean BTC?\n"


def test_a_living_daemon_refuses_it_in_one_line(perpbot: RunCommand, tmp_path: Path, venue: str) -> None:
    """One writer per database (I8)."""
    with InstanceLock(tmp_path / "perp_bot.db.lock"):
        ran = perpbot("backfill", "--venue", venue)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"perpbot: a daemon (pid {os.getpid()}) works on {tmp_path / 'perp_bot.db'}")
    assert ran.err.count("\n") == 1


def test_no_venue_is_one_line_that_says_what_to_do(perpbot: RunCommand) -> None:
    """The shipped config says practice: how to start it, or how to choose the real one."""
    ran = perpbot("backfill", "--venue", "http://127.0.0.1:9")
    assert (ran.code, ran.out) == (3, "")
    assert "perpbot practice serve" in ran.err
    assert "--venue mainnet" in ran.err
    assert ran.err.count("\n") == 1
