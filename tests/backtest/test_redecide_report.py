"""`perpbot backtest`: every stored decision made again, and what it says when one does not come out the same (I3a)."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from desk_rig import DeskRig

from perp_bot.backtest.redecide import main, redecide_all
from perp_bot.config.model import Config
from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, StoreError
from perp_bot.data.db.reader import Reader

DECISIONS = 48


@pytest.fixture
def copy(session: DeskRig, tmp_path: Path) -> Config:
    """Return the settings of a copy of the session's database, to be tampered with."""
    path = tmp_path / "copy.db"
    with sqlite3.connect(session.db) as source, sqlite3.connect(path) as target:
        source.backup(target)
    return replace(session.config, data=replace(session.config.data, db_path=path))


def tamper(config: Config, sql: str) -> None:
    connection = sqlite3.connect(config.data.db_path)
    with connection:
        assert connection.execute(sql).rowcount == 1
    connection.close()


def test_every_decision_of_a_session_comes_out_the_same(session: DeskRig) -> None:
    """Entries, exits, blocked entries, holds and decisions on unconfirmed candles, to the last field."""
    with Reader(session.db) as reader:
        report = redecide_all(session.config, reader)
        actions = {str(record.action) for record in reader.decisions(1_000)}
        provisional = sum(record.provisional for record in reader.decisions(1_000))
    assert report.differences == ()
    assert (report.decisions, report.identical, report.is_reproduced) == (DECISIONS, DECISIONS, True)
    assert actions == {"enter", "exit", "hold", "blocked"}
    assert provisional == 4


FIRST_ENTRY = "seq = (SELECT min(seq) FROM decisions WHERE action = 'enter')"
NINE_WEEKS = """replace(account_json, '"losing_weeks":0', '"losing_weeks":9')"""


@pytest.mark.parametrize(
    ("sql", "field"),
    [
        ("UPDATE decisions SET close_px = close_px + 1 WHERE seq = 9", "close_px"),
        ("UPDATE decisions SET reason = 'because' WHERE seq = 9", "reason"),
        (f"UPDATE decisions SET action = 'hold' WHERE {FIRST_ENTRY}", "action"),
        (f"UPDATE decisions SET account_json = {NINE_WEEKS} WHERE {FIRST_ENTRY}", "action"),
    ],
)
def test_a_tampered_row_is_named_with_its_field(copy: Config, sql: str, field: str) -> None:
    """One difference, of that decision, in that field, with both values."""
    tamper(copy, sql)
    with Reader(copy.data.db_path) as reader:
        report = redecide_all(copy, reader)
    (difference,) = report.differences
    assert difference.field == field
    assert not report.is_reproduced
    assert report.identical == DECISIONS - 1
    assert f"{field} was {difference.stored!r}, is {difference.again!r}" in difference.text


def test_a_candle_that_was_changed_or_lost_is_found_by_the_decisions_on_it(copy: Config) -> None:
    """A lost candle is said as such; a changed one changes the numbers of every window it stands in."""
    tamper(copy, "DELETE FROM candles WHERE symbol = 'ETH' AND open_ms = (SELECT max(open_ms) FROM candles)")
    with Reader(copy.data.db_path) as reader:
        report = redecide_all(copy, reader)
    assert [difference.field for difference in report.differences] == ["candles"]
    assert "needs" in report.differences[0].again


def test_the_report_in_words_and_as_json(copy: Config, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout is data: counts, span, differences, what each condition removed, trades; stderr is talk; exit code 0."""
    assert main(copy, as_json=False) == EXIT_OK
    said = capsys.readouterr()
    assert f"{DECISIONS} of {DECISIONS} decisions reproduced, 2026-01-15T03:15:00Z to" in said.out
    assert "USD" in said.out
    assert said.err == ""
    assert main(copy, as_json=True) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert (found["decisions"], found["is_reproduced"]) == (DECISIONS, True)
    assert found["trades"] >= 1


def test_differences_end_with_failure_and_only_the_first_twenty_are_printed(
    copy: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script sees it by the exit code."""
    connection = sqlite3.connect(copy.data.db_path)
    with connection:
        connection.execute("UPDATE decisions SET reason = 'because'")
    connection.close()
    assert main(copy, as_json=False) == EXIT_FAILURE
    out = capsys.readouterr().out
    assert out.count("reason was") == 20
    assert f"and {DECISIONS - 20} more" in out
    assert main(copy, as_json=True) == EXIT_FAILURE


def test_no_database_and_no_decision_are_one_clear_line(
    copy: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to check is no error; no session is."""
    missing = replace(copy, data=replace(copy.data, db_path=tmp_path / "none.db"))
    with pytest.raises(StoreError, match="no session to check"):
        main(missing, as_json=False)
    connection = sqlite3.connect(copy.data.db_path)
    with connection:
        connection.execute("DELETE FROM decisions")
    connection.close()
    assert main(copy, as_json=False) == EXIT_OK
    assert "no decision is stored yet" in capsys.readouterr().out
