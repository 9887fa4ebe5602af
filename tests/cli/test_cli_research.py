"""`perpbot walkforward` and `sensitivity`, on data in a database: what they print, keep and refuse."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from cli_run import RunCommand
from research_store import DAYS, HOUR_MS, LIVELY, START_MS, kept

from perp_bot.data.db.connection import open_writable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WALK = ("--train", "12", "--test", "5", "--step", "5", "--grid", "grid.yaml")


def test_walkforward_prints_keeps_and_guards_the_final_window(perpbot: RunCommand, stored: Path) -> None:
    """An ordinary run says what is kept back; --final is recorded; the second use is said loudly."""
    ran = perpbot("walkforward", *WALK, "--json")
    assert ran.code == 0
    assert "(5 days) is kept back until --final" in ran.err
    found = json.loads(ran.out)
    assert found["final"]["used"] is False
    assert not any(item["is_final"] for item in found["windows"])
    assert found["points"] == found["honesty"]["trials"] == 6
    first = perpbot("walkforward", *WALK, "--final", "--json")
    assert "is used; this is recorded, and a second use will be said" in first.err
    assert json.loads(first.out)["windows"][-1]["is_final"] is True
    second = perpbot("walkforward", *WALK, "--final", "--anchored", "--json")
    assert second.err.startswith("WARNING: THE FINAL WINDOW ")
    assert f"WAS LOOKED AT BEFORE, by {json.loads(first.out)['run']} on " in second.err
    assert json.loads(second.out)["honesty"]["trials"] == 18  # three different runs of six sets each
    assert [record.extra["final"]["used"] for record in kept(stored)] == [False, True, True]
    later = perpbot("walkforward", *WALK)
    assert "it was used before, by" in later.err
    assert "most chosen" in later.out
    assert "out of sample" in later.out


def test_the_same_walk_again_is_no_new_trial(perpbot: RunCommand, stored: Path) -> None:
    """Running what was run counts once, and gives the same."""
    first, again = (json.loads(perpbot("walkforward", *WALK, "--json").out) for _ in range(2))
    assert again["honesty"]["trials"] == first["honesty"]["trials"] == 6
    assert first["windows"] == again["windows"]
    assert first["run"][-6:] == again["run"][-6:]


def test_an_hour_less_of_data_forgets_no_trial(perpbot: RunCommand, stored: Path) -> None:
    """Every command counts what was tried on data that overlaps; a backtest of the same settings is none besides."""
    grid = ("sensitivity", "--param", "adx=20,40,100", "--json")
    assert json.loads(perpbot(*grid).out)["best"]["trials"] == 3
    shorter = json.loads(perpbot(*grid, "--to", "2024-01-12T23:00").out)
    assert shorter["best"]["trials"] == 3  # the same sweep once more
    for to in ("2024-01-11", "2024-01-12", "2024-01-11"):
        tried = json.loads(perpbot("backtest", "--to", to, "--json").out)["honesty"]["trials"]
        assert tried == 4  # the sweep's three and the settings in use
    assert json.loads(perpbot("walkforward", *WALK, "--json").out)["honesty"]["trials"] == 10
    before = json.loads(perpbot("backtest", "--to", "2023-12-20", "--json").out)["honesty"]["trials"]
    assert before == 10
    (stored / "config.yaml").write_text(LIVELY + "risk: {cooldown_seconds: 60}\n")
    assert json.loads(perpbot("backtest", "--to", "2023-12-20", "--json").out)["honesty"]["trials"] == 11


def test_too_little_data_is_one_line(perpbot: RunCommand, stored: Path) -> None:
    """With what is needed and what is there."""
    ran = perpbot("walkforward", "--grid", "grid.yaml")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "walk-forward needs 90 days after warm-up" in ran.err
    ran = perpbot("walkforward", "--train", "5", "--test", "3", "--step", "2", "--grid", "grid.yaml")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "test windows would overlap" in ran.err


def test_reports_are_pages(perpbot: RunCommand, stored: Path) -> None:
    """The stitched windows, and the plateau of a grid."""
    assert perpbot("walkforward", *WALK, "--report", "walk.html").code == 0
    page = (stored / "walk.html").read_text()
    assert "test windows stitched" in page
    assert "<h2>Walk-forward</h2>" in page
    assert "most chosen" in page
    assert perpbot("sensitivity", "--param", "adx=20,100", "--report", "strip.html").code == 0
    assert "of the values above 0; profit in USD: 20: " in (stored / "strip.html").read_text()
    assert perpbot("sensitivity", "--grid", "grid.yaml", "--report", "plateau.html").code == 0
    page = (stored / "plateau.html").read_text()
    assert "profit*, USD over exit_z and entry_z" in page  # no funding is stored


def test_sensitivity_one_at_a_time_and_as_a_grid(perpbot: RunCommand, stored: Path) -> None:
    """Shares add up, what was tried is kept, the heat map has a row a value."""
    ran = perpbot("sensitivity", "--param", "entry_z=1.0..1.4:0.2", "--param", "adx=20,100", "--json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert found["asked"] == found["finished"] == found["best"]["trials"] == 4
    gains = [item["profit_usd"] > 0 for item in found["points"]]
    assert found["neighbours"] == 4
    assert found["share_profitable"] == sum(gains) / 4
    (record,) = kept(stored)
    assert (record.kind, record.trials, len(record.trial_sharpes)) == ("sensitivity", 4, 4)
    shown = perpbot("sensitivity", "--grid", "grid.yaml").out
    assert "profit* over entry_z (down) and exit_z (across)" in shown  # no funding is stored
    assert "%* of 6 neighbours (of the grid) are profitable; that takes 70 %" in " ".join(shown.split())
    assert json.loads(perpbot("runs", "show", "2", "--json").out)["kind"] == "sensitivity"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--param", "entri_z"), "did you mean entry_z?"),
        (("--param", "timeout"), "timeout: has no default values; write timeout=FROM..TO:STEP"),
        (("--param", "entry_z", "--param", "entry_z=1,2"), "entry_z is given twice"),
        (("--param", "entry_z=1..2:0.000000001"), "1,000,000,001 parameter sets are too many; the most is 200,000"),
        (("--grid", "none.yaml"), "none.yaml: no such grid file"),
        (("--grid", "grid.yaml", "--cross"), "give --grid or --param, not both"),
    ],
)
def test_bad_requests_are_one_line(perpbot: RunCommand, stored: Path, arguments: tuple[str, ...], why: str) -> None:
    """Exit code 2, nothing computed or kept."""
    ran = perpbot("sensitivity", *arguments)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err
    assert kept(stored) == []


def test_no_cluster_is_exit_code_3(perpbot: RunCommand, stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the option and from the config, in one line."""
    from perp_bot.backtest import cluster

    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    ran = perpbot("sensitivity", "--cluster", "tcp://127.0.0.1:9")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in ran.err
    (stored / "config.yaml").write_text(LIVELY + "backtest: {cluster: 'tcp://127.0.0.1:9'}\n")
    assert perpbot("sensitivity").code == 3


@pytest.mark.usefixtures("interrupted")
def test_an_interrupted_run_is_kept_as_partial(perpbot: RunCommand, stored: Path) -> None:
    """Ctrl-C: exit code 130, what is finished is shown and stored, marked."""
    ran = perpbot("sensitivity", "--json")
    assert ran.code == 130
    found = json.loads(ran.out)
    assert found["is_partial"] is True
    assert 0 < found["finished"] < found["asked"]
    (record,) = kept(stored)
    assert record.extra["is_partial"] is True
    assert record.trials == found["finished"]


def test_the_database_is_never_written(perpbot: RunCommand, stored: Path) -> None:
    """Research only reads."""

    def content() -> list[Any]:
        connection = sqlite3.connect(stored / "perp_bot.db")
        try:
            return [
                connection.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("candles", "events", "bot_state")
            ]
        finally:
            connection.close()

    before = content()
    perpbot("sensitivity", "--param", "adx=20,30")
    assert content() == before


# ------------------------------------------------------------ look-ahead


def test_lookahead_says_what_it_compared(perpbot: RunCommand, stored: Path) -> None:
    """A line a check, and the sum; the same as JSON."""
    ran = perpbot("lookahead", "--bars", "150")
    assert ran.code == 0
    assert "BTC decision path of mean_reversion: 150 bars, 1,350 comparisons, all equal, " in ran.out
    assert "BTC compiled form of macd_cross: 150 bars, 300 comparisons, all equal" in ran.out
    assert ran.out.splitlines()[-1].startswith("no look-ahead, no unsettled warm-up in ")
    found = json.loads(perpbot("lookahead", "--bars", "20", "--strategy", "macd_cross", "--json").out)
    assert found["clean"] is True
    assert {item["what"] for item in found["checks"] if "macd_cross" in item["what"]} == {
        "decision path of macd_cross", "compiled form of macd_cross",
    }  # fmt: skip


def test_lookahead_names_a_bar_with_exit_code_1(
    perpbot: RunCommand, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An indicator that declares too few bars."""
    from perp_bot.backtest import lookahead_columns

    honest = lookahead_columns.bars_by_value
    monkeypatch.setattr(lookahead_columns, "bars_by_value", lambda params: {**honest(params), "adx": 40})
    ran = perpbot("lookahead", "--bars", "50", "--strategy", "mean_reversion")
    assert ran.code == 1
    assert "BTC indicator adx: WRONG: unsettled warm-up of adx at bar 1390 (" in ran.out
    assert "no look-ahead" not in ran.out


def test_lookahead_on_too_few_candles_is_said(perpbot: RunCommand, stored: Path) -> None:
    """Nothing is called clean that was not looked at."""
    ran = perpbot("lookahead", "--to", "2023-11-20")
    assert ran.code == 2
    assert "no look-ahead" not in ran.out
    assert (
        "nothing can be checked: fewer 1h candles are stored than the strategies' warm-up takes (120 of 512)" in ran.err
    )


def test_a_sensitivity_without_a_trade_says_so(perpbot: RunCommand, stored: Path) -> None:
    """Not robust, and why."""
    (stored / "config.yaml").write_text(LIVELY.replace("bollinger_std: 1.0", "bollinger_std: 9.0"))
    shown = perpbot("sensitivity", "--param", "adx=20,30").out
    assert "not robust" in shown
    assert "no set made a trade" in shown


# ------------------------------------------------------------ screen


def test_screen_ranks_what_is_stored(perpbot: RunCommand, stored: Path) -> None:
    """From the database alone; a market without a recorded spread is unknown until there is one."""
    found = json.loads(perpbot("screen", "--json").out)
    (market,) = found["markets"]
    assert (market["symbol"], market["verdict"]) == ("BTC", "fails")
    assert market["reasons"][0] == "24 h volume is not above 50M USD"
    assert "no spread is recorded" in market["reasons"][1]
    connection = open_writable(stored / "perp_bot.db")
    end_ms = START_MS + DAYS * 24 * HOUR_MS
    connection.execute("UPDATE candles SET volume = 1e6")
    for back, bps in ((30 * HOUR_MS, 90.0), (2 * HOUR_MS, 2.0), (HOUR_MS, 4.0), (0, 3.0)):
        snapshot = json.dumps({"coins": {"BTC": {"spread_bps": bps}}})
        connection.execute("INSERT INTO signals VALUES ('fast', ?, ?)", (end_ms - back, snapshot))
    connection.commit()
    connection.close()
    (market,) = json.loads(perpbot("screen", "--json").out)["markets"]
    assert (market["verdict"], market["spreads"]) == ("passes", 3)  # the one of 30 hours ago is too old
    assert market["spread"] == pytest.approx(0.0003)
    shown = perpbot("screen").out
    assert "BTC     passes" in shown
    assert "0.030 %" in shown
    assert [record.kind for record in kept(stored)] == ["screen"] * 3


def test_screen_without_data_is_one_line(perpbot: RunCommand, stored: Path) -> None:
    """A timeframe that is not stored; no database."""
    ran = perpbot("screen", "--timeframe", "5m")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "no 5m candles to screen" in ran.err
    (stored / "perp_bot.db").unlink()
    assert perpbot("screen").code == 1
