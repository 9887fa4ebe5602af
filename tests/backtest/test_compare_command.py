"""What `perpbot compare` prints, keeps of an interrupted run, and ends with."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perp_bot.backtest import plain, redecide
from perp_bot.cli.comparing import compare
from perp_bot.config.model import Config
from perp_bot.core.errors import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, StoreError

DECISIONS, CLOSES = 48, 24  # of two coins
HOURS_2 = 2 / 24
Says = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Says:
    """Return (exit code, the one JSON document) of a comparison."""

    def run(config: Config, days: float | None = None, source: str = "paper") -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = compare(config, days, source, on_candles=False, as_json=True)
        return code, json.loads(capsys.readouterr().out)  # more than one document would not be JSON

    return run


def run_sql(config: Config, sql: str) -> None:
    with sqlite3.connect(config.data.db_path) as connection:
        connection.execute(sql)
    connection.close()


def in_words(config: Config, days: float | None = None) -> int:
    return compare(config, days, "paper", on_candles=False, as_json=False)


def test_the_report_in_words_and_as_json(copy: Config, says: Says, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout is data: counts, span, differences, what each condition removed, trades; stderr is talk; exit code 0."""
    assert in_words(copy) == EXIT_OK
    said = capsys.readouterr()
    assert f"{DECISIONS} of {DECISIONS} decisions reproduced, 2026-01-15T03:15:00Z to" in said.out
    assert "USD" in said.out
    assert said.err == ""
    code, found = says(copy)
    assert code == EXIT_OK
    assert (found["decisions"], found["asked"], found["is_reproduced"]) == (DECISIONS, DECISIONS, True)
    assert found["trades"] >= 1
    assert "matched" not in found


def test_differences_end_with_failure_and_only_the_first_twenty_are_printed(
    copy: Config, says: Says, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script sees it by the exit code."""
    run_sql(copy, "UPDATE decisions SET reason = 'because'")
    assert in_words(copy) == EXIT_FAILURE
    out = capsys.readouterr().out
    assert out.count("reason was") == 20
    assert f"and {DECISIONS - 20} more" in out
    code, found = says(copy)
    assert (code, len(found["differences"])) == (EXIT_FAILURE, DECISIONS)


def test_days_as_json_check_the_decisions_too(copy: Config, says: Says, capsys: pytest.CaptureFixture[str]) -> None:
    """One document with both halves, and the exit code of the words: a decision that differs is a failure."""
    code, found = says(copy, 1.0)
    assert (code, found["is_reproduced"], found["decisions"], found["is_partial"]) == (EXIT_OK, True, DECISIONS, False)
    assert (found["simulated_on"], len(found["matched"]) + len(found["missed"])) == ("candles", found["trades"])
    run_sql(copy, "UPDATE decisions SET reason = 'because' WHERE seq = (SELECT max(seq) FROM decisions)")
    code, found = says(copy, 1.0)
    assert (code, found["is_reproduced"], found["is_explained"]) == (EXIT_FAILURE, False, True)
    assert [item["field"] for item in found["differences"]] == ["reason"]
    capsys.readouterr()
    assert in_words(copy, 1.0) == EXIT_FAILURE
    said = capsys.readouterr().out
    assert "reason was 'because'" in said
    assert "trades matched" in said


def test_only_the_days_and_the_source_that_were_asked_for_are_decided_again(copy: Config, says: Says) -> None:
    """A difference of earlier days, or of another mode, is not theirs."""
    run_sql(copy, "UPDATE decisions SET reason = 'because' WHERE seq = (SELECT min(seq) FROM decisions)")
    code, found = says(copy, HOURS_2)
    assert (code, found["decisions"], found["is_reproduced"]) == (EXIT_OK, 2 * 8, True)
    assert found["from_ms"] == found["first_ms"]
    assert says(copy)[0] == EXIT_FAILURE
    run_sql(copy, "UPDATE decisions SET source = 'live' WHERE seq = (SELECT min(seq) FROM decisions)")
    code, found = says(copy)
    assert (code, found["decisions"]) == (EXIT_OK, DECISIONS - 1)
    code, found = says(copy, source="live")
    assert (code, found["decisions"], found["trades"]) == (EXIT_FAILURE, 1, 0)


@pytest.mark.parametrize("days", [None, 7.0])
@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_to_compare_is_one_clear_line_and_exit_code_1(
    copy: Config, tmp_path: Path, days: float | None, as_json: bool
) -> None:
    """No database, no decision of the source, no decision at all; with --days and without, as JSON and in words."""

    def refused(config: Config, source: str = "paper") -> str:
        with pytest.raises(StoreError) as raised:
            compare(config, days, source, on_candles=False, as_json=as_json)
        assert raised.value.exit_code == EXIT_FAILURE
        return str(raised.value)

    none = replace(copy, data=replace(copy.data, db_path=tmp_path / "none.db"))
    assert refused(none).endswith("does not exist: no session to compare; run `perpbot trade` first")
    assert refused(copy, "live").endswith("holds no decision of live to compare: its newest is of paper (--source)")
    run_sql(copy, "DELETE FROM decisions")
    assert refused(copy).endswith("holds no decision of paper to compare: run `perpbot trade` first")


def interrupted_after(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, calls: int) -> None:
    """Let a function of a module be interrupted when it was called so often."""
    whole = getattr(module, name)
    seen: list[int] = []

    def call(*arguments: Any, **named: Any) -> Any:
        if len(seen) == calls:
            raise KeyboardInterrupt
        seen.append(1)
        return whole(*arguments, **named)

    monkeypatch.setattr(module, name, call)


def test_interrupted_decisions_are_kept_as_partial(
    copy: Config, says: Says, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C: exit code 130, what was made again is shown, marked; no backtest of days that were not checked."""
    with monkeypatch.context() as patched:
        interrupted_after(patched, redecide, "redecide", 10)
        code, found = says(copy, 1.0)
    assert (code, found["is_partial"], found["decisions"], found["asked"]) == (EXIT_INTERRUPTED, True, 10, DECISIONS)
    assert found["is_reproduced"] is True
    assert "matched" not in found
    interrupted_after(monkeypatch, redecide, "redecide", 10)
    assert in_words(copy) == EXIT_INTERRUPTED
    said = capsys.readouterr().out
    assert "10 of 10 decisions reproduced" in said
    assert f"interrupted: 10 of {DECISIONS} decisions were made again" in said


def test_an_interrupted_backtest_compares_what_it_reached(
    copy: Config, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trades after the interrupt are neither missed nor extra: they were not compared."""
    _, whole = says(copy, 1.0)
    reached = 14
    interrupted_after(monkeypatch, plain, "decide_boundary", reached)
    code, found = says(copy, 1.0)
    assert (code, found["is_partial"], found["decisions"]) == (EXIT_INTERRUPTED, True, DECISIONS)
    assert found["to_ms"] == found["first_ms"] + (reached - 1) * 900_000 < whole["to_ms"]
    assert any("interrupted: the backtest ends at 2026-01-15T06:30:00Z" in note for note in found["notes"])
    assert found["matched"] == whole["matched"] != []
    assert found["extra"] == whole["extra"][:1] != whole["extra"]
    assert (found["missed"], len(whole["missed"])) == ([], 1)  # it was open when the backtest ended


def test_an_interrupt_before_the_backtest_keeps_the_decisions(
    copy: Config, says: Says, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were made again; that the trades were not compared is said."""
    interrupted_after(monkeypatch, plain, "decide_boundary", 0)
    code, found = says(copy, 1.0)
    assert (code, found["is_partial"], found["is_reproduced"]) == (EXIT_INTERRUPTED, True, True)
    assert "matched" not in found
    assert in_words(copy, 1.0) == EXIT_INTERRUPTED
    assert "their trades are not compared" in capsys.readouterr().err


def test_a_difference_outweighs_an_interrupt(copy: Config, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: something is wrong, whatever the rest would have said."""
    run_sql(copy, "UPDATE decisions SET reason = 'because' WHERE seq = (SELECT min(seq) FROM decisions)")
    interrupted_after(monkeypatch, redecide, "redecide", 10)
    code, found = says(copy)
    assert (code, found["is_partial"], found["is_reproduced"]) == (EXIT_FAILURE, True, False)


class Terminal(io.StringIO):
    """A terminal that is read afterwards."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is(copy: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar of the decisions, then of the backtest, as the other commands of research have."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert in_words(copy, 1.0) == EXIT_OK
    shown = screen.getvalue()
    assert "decisions" in shown
    assert "backtest" in shown
    assert "%" in shown
