"""`perpbot runs`: list, show, diff; damage is a line, not a failure."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest
from cli_run import RunCommand

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "backtest"))  # result_rig

from result_rig import START_MS, STEP_MS, result, trade

from perp_bot.backtest import runs
from perp_bot.backtest.metrics import measure
from perp_bot.backtest.stored_run import KINDS
from perp_bot.cli.commands.runs import list_runs
from perp_bot.config.model import Config, DataConfig, SignalsConfig


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """Store three runs where the command line looks: two backtests with other settings, and a grid."""
    config = Config(data=DataConfig(db_path=tmp_path / "perp_bot.db"))
    rows = [trade(decided_ms=START_MS + i * STEP_MS) for i in range(3)]
    first = result([1000.0, 1002.55], rows)
    second = result([1000.0, 1001.7], rows[:2], missing_funding_hours=2, is_partial=True)
    tuned = replace(config, signals=SignalsConfig(zscore_entry_threshold=2.2))
    return [
        runs.save(config, first, measure(first), "backtest"),
        runs.save(tuned, second, measure(second), "backtest"),
        runs.save(
            config,
            None,
            None,
            "sensitivity",
            {"best": 1.5, "points": [1, 2]},
            strategy="macd_cross",
            trial_sharpes=[0.1, 0.2],
        ),
    ]


def test_runs_are_listed(perpbot: RunCommand, ids: list[str]) -> None:
    """Oldest first, with what matters; a star where funding is missing; filters hold."""
    ran = perpbot("runs", "list")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ids
    assert "+2.55 " in lines[1]
    assert "+1.70*" in lines[2]
    assert "mean_reversion (part)" in lines[2]
    assert [json.loads(line)["id"] for line in perpbot("runs", "list", "--json").out.splitlines()] == ids
    assert ids[2] in perpbot("runs", "list", "--strategy", "macd_cross").out
    assert perpbot("runs", "list", "--kind", "screen").err.startswith("no such run is stored in ")


def test_a_kind_that_there_is_not_is_refused(perpbot: RunCommand, ids: list[str]) -> None:
    """With the kinds that are stored."""
    ran = perpbot("runs", "list", "--kind", "bogus")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "'bogus' is not one of 'backtest', 'walkforward', 'sensitivity', 'screen'" in ran.err
    (kinds,) = (item.type for item in list_runs.params if item.name == "kind")
    assert isinstance(kinds, click.Choice)
    assert tuple(kinds.choices) == KINDS


@pytest.mark.parametrize("arguments", [("show", ""), ("show", " "), ("diff", "1", "")])
def test_no_name_is_no_run(perpbot: RunCommand, ids: list[str], arguments: tuple[str, ...]) -> None:
    """It is the begin of every id, and still names none."""
    ran = perpbot("runs", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith("perpbot: no run is named; give an id")


def test_an_interrupted_run_without_a_result_is_marked(perpbot: RunCommand, ids: list[str], tmp_path: Path) -> None:
    """In the list, as text and as JSON, and where it is shown."""
    config = Config(data=DataConfig(db_path=tmp_path / "perp_bot.db"))
    runs.save(config, None, None, "sensitivity", {"is_partial": True}, strategy="macd_cross")
    whole, part = perpbot("runs", "list", "--kind", "sensitivity").out.splitlines()[1:]
    assert "macd_cross (part)" in part
    assert "(part)" not in whole
    listed = [json.loads(line) for line in perpbot("runs", "list", "--json").out.splitlines()]
    assert [item["is_partial"] for item in listed] == [False, True, False, True]
    assert "sensitivity of macd_cross, 1 tried, interrupted: a part of it" in perpbot("runs", "show", "last").out


def test_settings_and_luck_are_shown(perpbot: RunCommand, ids: list[str]) -> None:
    """What is not the default; and the odds after every trial up to now, the same settings once."""
    first, second = (" ".join(perpbot("runs", "show", name).out.split()) for name in ("1", "2"))
    assert "settings the defaults" in first
    assert "settings signals.zscore_entry_threshold 2.2; all others at the default" in second
    assert "luck the best of 2 trials without an edge would show a Sharpe of" in first
    assert "3 trades are too few to tell" in first
    assert "settings the defaults" in " ".join(perpbot("runs", "show", "3").out.split())


def test_a_damaged_run_is_named_and_the_rest_listed(perpbot: RunCommand, ids: list[str], tmp_path: Path) -> None:
    """Exit code 5: warnings."""
    (tmp_path / "runs" / ids[0] / "run.json").write_text("{")
    ran = perpbot("runs", "list")
    assert ran.code == 5
    assert ran.err.startswith(f"perpbot: run {ids[0]}: run.json is damaged")
    assert ran.err.count("\n") == 1
    assert ids[1] in ran.out
    shown = perpbot("runs", "show", "1")
    assert (shown.code, shown.err.count("\n")) == (1, 1)


def test_a_run_is_shown(perpbot: RunCommand, ids: list[str], tmp_path: Path) -> None:
    """The summary as it was, what made it, and its trades as CSV."""
    ran = perpbot("runs", "show", "1", "--trades", "out.csv")
    assert ran.code == 0
    assert f"stored as {ids[0]}" in ran.out
    assert "seed 42, data dddddddddddddddd" in ran.out
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 4
    assert json.loads(perpbot("runs", "show", "1", "--json").out)["metrics"]["trades"] == 3
    grid = perpbot("runs", "show", "last").out
    assert (
        "sensitivity of macd_cross, 2 tried\nbest: 1.5\nsettings  the defaults\nbesides: points (--json has them)\n"
        in grid
    )
    refused = perpbot("runs", "show", "last", "--trades", "out.csv")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_luck_that_cannot_be_told_is_said(perpbot: RunCommand, tmp_path: Path) -> None:
    """Of a run from before the moments were kept: not known, not undefined."""
    config, found = Config(data=DataConfig(db_path=tmp_path / "perp_bot.db")), result([1000.0, 1002.55], [trade()])
    runs.save(config, found, replace(measure(found), returns=None), "backtest")
    shown = " ".join(perpbot("runs", "show", "last").out.split())
    assert "luck not known: the run was stored by a perpbot that did not keep" in shown
    assert shown.count("luck") == 1


def test_differences_are_shown(perpbot: RunCommand, ids: list[str]) -> None:
    """Settings, figures and trades; a run and itself do not differ."""
    ran = perpbot("runs", "diff", "1", "2")
    assert ran.code == 0
    text = " ".join(ran.out.split())
    assert "signals.zscore_entry_threshold 2 2.2" in text
    assert "trades: 2 equal, 1 differ" in text
    assert "2026-01-01 00:30 BTC long: only in the first, net +0.85" in text
    found = json.loads(perpbot("runs", "diff", "1", "2", "--json").out)
    assert (found["first"], found["second"], found["same_trades"]) == (ids[0], ids[1], 2)
    assert "nothing differs (3 trades)" in perpbot("runs", "diff", "1", ids[0]).out


def test_nothing_stored_is_said(perpbot: RunCommand) -> None:
    """In one line, with what stores a run."""
    assert perpbot("runs", "list").code == 0
    ran = perpbot("runs", "show", "last")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no run is stored in" in ran.err
