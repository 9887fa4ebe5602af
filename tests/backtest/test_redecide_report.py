"""`perpbot compare`: every stored decision made again, and what it says when one does not come out the same (I3a)."""

from __future__ import annotations

import sqlite3

import pytest
from desk_rig import DeskRig

from perp_bot.backtest.redecide import Report, redecide_all
from perp_bot.config.model import Config
from perp_bot.data.db.reader import Reader

DECISIONS = 48


def again(config: Config) -> Report:
    with Reader(config.data.db_path) as reader:
        return redecide_all(config, reader, reader.decisions(1_000))


def tamper(config: Config, sql: str) -> None:
    connection = sqlite3.connect(config.data.db_path)
    with connection:
        assert connection.execute(sql).rowcount == 1
    connection.close()


def test_every_decision_of_a_session_comes_out_the_same(session: DeskRig) -> None:
    """Entries, exits, blocked entries, holds and decisions on unconfirmed candles, to the last field."""
    report = again(session.config)
    with Reader(session.db) as reader:
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
    report = again(copy)
    (difference,) = report.differences
    assert difference.field == field
    assert not report.is_reproduced
    assert report.identical == DECISIONS - 1
    assert f"{field} was {difference.stored!r}, is {difference.again!r}" in difference.text


def test_a_candle_that_was_changed_or_lost_is_found_by_the_decisions_on_it(copy: Config) -> None:
    """A lost candle is said as such; a changed one changes the numbers of every window it stands in."""
    tamper(copy, "DELETE FROM candles WHERE symbol = 'ETH' AND open_ms = (SELECT max(open_ms) FROM candles)")
    report = again(copy)
    assert [difference.field for difference in report.differences] == ["candles"]
    assert "needs" in report.differences[0].again
