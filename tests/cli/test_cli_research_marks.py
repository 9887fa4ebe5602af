"""What qualifies a result is said wherever it is shown: stars, notes, parts marked as parts, files checked first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_run import RunCommand
from research_store import DAYS, HOUR_MS, LIVELY, START_MS, kept, store_funding

from perp_bot.data.db.connection import open_writable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

WALK = ("--train", "12", "--test", "5", "--step", "5", "--grid", "grid.yaml")
RULES, REGIME = "tick, lot and margin rules: ", "regime: "


def words(text: str) -> str:
    return " ".join(text.split())


def record_regime(folder: Path, at_ms: int, regime: str) -> None:
    connection = open_writable(folder / "perp_bot.db")
    connection.execute(
        "INSERT INTO prediction_snapshots (venue_ms,regime,detail_json) VALUES (?,?,'{}')", (at_ms, regime)
    )
    connection.commit()
    connection.close()


# ------------------------------------------------------------ the same notes everywhere


def test_backtest_sensitivity_and_walkforward_say_the_same_of_the_data(perpbot: RunCommand, stored: Path) -> None:
    """Rules, generated prices, warm-up, regime: what one says of the data, all say, on the screen and as JSON."""
    connection = open_writable(stored / "perp_bot.db")
    connection.execute("UPDATE candles SET generated = 1 WHERE open_ms < ?", (START_MS + 360 * HOUR_MS,))
    connection.commit()
    connection.close()
    of_backtest = json.loads(perpbot("backtest", "--json").out)["notes"]
    of_sensitivity = json.loads(perpbot("sensitivity", "--param", "adx=20,100", "--json").out)["notes"]
    of_walk = json.loads(perpbot("walkforward", *WALK, "--json").out)["notes"]
    generated = "BTC: 25.0% of the candles are generated, not recorded"
    warm = (
        "the warm-up takes 512 candles in a row: 929 of 1,440 candles can be decided, nothing is entered at the others"
    )
    for notes in (of_backtest, of_sensitivity):
        assert generated in notes
        assert warm in notes
    for notes in (of_backtest, of_sensitivity, of_walk):
        assert sum(note.startswith(RULES) for note in notes) == 1
        assert sum(note.startswith(REGIME) for note in notes) == 1
    shown = words(perpbot("sensitivity", "--param", "adx=20,100").out)
    assert generated in shown
    assert RULES in shown
    assert generated in words(perpbot("runs", "show", "2").out)


def test_a_generated_path_inside_recorded_candles_is_said(perpbot: RunCommand, stored: Path) -> None:
    """The candle is real, the minutes inside it are not: stops and limits follow them."""
    connection = open_writable(stored / "perp_bot.db")
    connection.execute("INSERT INTO series (symbol,timeframe,revision) VALUES ('BTC','30m',1)")
    connection.execute(
        "INSERT INTO candles (symbol,timeframe,open_ms,open,high,low,close,volume,source,generated) "
        "SELECT symbol,'30m',open_ms,open,high,low,close,volume,source,open_ms < ? FROM candles",
        (START_MS + 360 * HOUR_MS,),
    )
    connection.commit()
    connection.close()
    ran = perpbot("backtest", "--json")
    assert ran.code == 0, ran.err
    notes = json.loads(ran.out)["notes"]
    (note,) = (note for note in notes if "generated" in note)
    assert note.startswith("BTC: 25.0% of the 30m candles inside are generated, not recorded: ")


def test_odd_candles_are_named_in_every_command(perpbot: RunCommand, stored: Path) -> None:
    """A bar that lost 58 %: used as it is, and said."""
    connection = open_writable(stored / "perp_bot.db")
    connection.execute(
        "UPDATE candles SET low = open * 0.41, close = open * 0.42 WHERE open_ms = ?", (START_MS + 700 * HOUR_MS,)
    )
    connection.commit()
    connection.close()
    for command in (("backtest",), ("sensitivity", "--param", "adx=20,100"), ("walkforward", *WALK)):
        notes = json.loads(perpbot(*command, "--json").out)["notes"]
        odd = [
            note for note in notes if note.startswith("odd candles, BTC 1h: the close of 2023-12-14T04:00:00Z is -5")
        ]
        assert len(odd) == 1


def test_the_share_of_recorded_regimes_is_in_the_report(perpbot: RunCommand, stored: Path) -> None:
    """Used for two hours (prediction.max_age_minutes), NORMAL before and after: three closes of 1,440."""
    record_regime(stored, START_MS + 600 * HOUR_MS, "CRISIS")
    ran = perpbot("backtest", "--json")
    assert ran.code == 0, ran.err
    notes = json.loads(ran.out)["notes"]
    assert "regime: as recorded for 0.2% of the closes, NORMAL is assumed for 99.8%" in notes
    (stored / "config.yaml").write_text(LIVELY + "prediction: {max_age_minutes: 1000000}\n")
    ran = perpbot("backtest", "--json")
    assert ran.code == 0, ran.err
    notes = json.loads(ran.out)["notes"]
    assert "regime: as recorded for 58.4% of the closes, NORMAL is assumed for 41.6%" in notes


# ------------------------------------------------------------ stars


def test_figures_without_funding_have_a_star_and_with_it_none(perpbot: RunCommand, stored: Path) -> None:
    """In the table of windows, the strips, the verdict, the best set and the reports; and what it means beside it."""
    walk, sens = perpbot("walkforward", *WALK, "--report", "walk.html").out, perpbot("sensitivity").out
    rows = [line.split() for line in walk.splitlines() if line.startswith("20")]
    for row in rows:
        assert sum(cell.endswith("*") or cell == "%*" for cell in row) == 4
    assert "* incomplete: positions were held through hours without a known funding rate" in words(walk)
    assert "%*, out of sample" in words(walk)
    assert "* USD" in sens.splitlines()[0]
    assert "sets were held through hours without a known funding rate" in words(sens)
    assert "%* of " in words(sens)
    assert " %* in, " in (stored / "walk.html").read_text()
    found = json.loads(perpbot("walkforward", *WALK, "--json").out)
    assert min(item["test_missing_funding_hours"] for item in found["windows"]) > 0
    found = json.loads(perpbot("sensitivity", "--json").out)
    assert found["incomplete_sets"] == sum(item["missing_funding_hours"] > 0 for item in found["points"]) > 0
    store_funding(stored / "perp_bot.db")
    for command in (("walkforward", *WALK), ("sensitivity",)):
        shown = perpbot(*command).out
        assert "*" not in shown
        assert "known funding" not in words(shown)


def test_a_fallback_window_says_kept(perpbot: RunCommand, stored: Path) -> None:
    """The star is for funding alone."""
    store_funding(stored / "perp_bot.db")
    (stored / "grid.yaml").write_text("bollinger_std: [9, 10]\n")
    shown = perpbot("walkforward", *WALK).out
    assert "kept: no set had 5 trades in training, the settings in use stayed" in shown
    assert all(line.endswith("kept") for line in shown.splitlines() if line.startswith("20"))


# ------------------------------------------------------------ spans and warm-up


@pytest.mark.parametrize("command", ["backtest", "sensitivity"])
def test_a_warm_up_longer_than_the_data_is_one_line(perpbot: RunCommand, stored: Path, command: str) -> None:
    """Exit code 2, what is needed and what is there; nothing is kept."""
    ran = perpbot(command, "--to", "2023-11-20")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "the warm-up takes 512 1h candles in a row (21.3 days), and at most 120 are stored" in ran.err
    assert kept(stored) == []


@pytest.mark.parametrize(
    ("span", "asked"),
    [(("--to", "2020-01-01"), "from the beginning to 2020-01-01T00:00:00Z"),
     (("--from", "2025-01-01"), "from 2025-01-01T00:00:00Z to the end")],
)  # fmt: skip
def test_a_span_outside_the_data_names_what_is_stored(
    perpbot: RunCommand, stored: Path, span: tuple[str, ...], asked: str
) -> None:
    """Never that no such candles are stored, when they are."""
    ran = perpbot("backtest", *span)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert (
        f"no 1h candle closes {asked}: stored are BTC 2023-11-15T00:00:00Z to 2024-01-14T00:00:00Z; change --from"
        in ran.err
    )
    ran = perpbot("backtest", "--timeframe", "5m", *span)
    assert "no 5m candles of BTC in perp_bot.db; stored are BTC 1h" in ran.err


def test_a_month_is_no_timeframe_of_research(perpbot: RunCommand, stored: Path) -> None:
    """It is not offered either."""
    for command in ("backtest", "screen"):
        ran = perpbot(command, "--timeframe", "1M")
        assert (ran.code, ran.err.count("\n")) == (2, 1)
        assert ran.err.startswith("perpbot: --timeframe 1M: research runs on 1m, 3m, 5m, ")
        assert "1M" not in ran.err.removeprefix("perpbot: --timeframe 1M")


# ------------------------------------------------------------ parts


@pytest.mark.usefixtures("interrupted")
def test_a_part_of_a_sensitivity_is_marked_wherever_it_is_shown(perpbot: RunCommand, stored: Path) -> None:
    """No verdict from a part: not on the screen, not in the report, not in what is stored or listed."""
    ran = perpbot("sensitivity", "--report", "part.html")
    assert ran.code == 130
    (record,) = kept(stored)
    assert record.extra["is_robust"] is None
    assert 0 < record.extra["finished"] < record.extra["asked"]
    so_far = "no verdict, interrupted: {finished} of {asked} sets are finished; so far ".format(**record.extra)
    assert so_far in words(ran.out)
    page = (stored / "part.html").read_text()
    assert so_far in page
    badge = '<span class="badge">interrupted: {finished} of {asked} sets are finished</span>'
    assert badge.format(**record.extra) in page
    assert "mean_reversion (part)" in perpbot("runs", "list").out
    (listed,) = (json.loads(line) for line in perpbot("runs", "list", "--json").out.splitlines())
    assert listed["is_partial"] is True


def test_a_whole_run_is_not_marked(perpbot: RunCommand, stored: Path) -> None:
    """The mark means something."""
    perpbot("sensitivity", "--param", "adx=20,100")
    assert "(part)" not in perpbot("runs", "list").out
    assert json.loads(perpbot("runs", "list", "--json").out)["is_partial"] is False


# ------------------------------------------------------------ files, reports


@pytest.mark.parametrize(
    "arguments",
    [
        ("backtest", "--report"),
        ("backtest", "--trades"),
        ("walkforward", *WALK, "--report"),
        ("sensitivity", "--report"),
    ],
)
def test_a_file_that_cannot_be_written_is_said_before_the_work(
    perpbot: RunCommand, stored: Path, arguments: tuple[str, ...]
) -> None:
    """Exit code 2, nothing run or kept; a file that can be is not left behind by the look."""
    ran = perpbot(*arguments, "none/there.html")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"{arguments[-1]} none/there.html cannot be written: No such file or directory; nothing was run" in ran.err
    assert kept(stored) == []
    refused = perpbot("backtest", "--to", "2020-01-01", "--report", "fine.html")
    assert refused.code == 2
    assert not (stored / "fine.html").exists()


def test_the_report_of_a_grid_has_every_map_and_what_luck_says(perpbot: RunCommand, stored: Path) -> None:
    """Three parameters make three maps; the best set is judged after all trials."""
    axes = ("--param", "entry_z=1.0,1.2", "--param", "exit_z=0.2,0.5", "--param", "adx=50,100")
    assert perpbot("sensitivity", *axes, "--cross", "--report", "maps.html").code == 0
    page = (stored / "maps.html").read_text()
    for title in ("entry_z and exit_z", "entry_z and adx", "exit_z and adx"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("median over the other 1") >= 3
    assert page.count("the outlined cell is in use") == 1  # entry_z 1.2 and adx 100; exit_z 0.3 is on no axis
    assert "<h2>Skill or luck of the best set</h2>" in page
    assert "the best of 9 trials without an edge" in page


# ------------------------------------------------------------ what is kept


def test_a_stored_config_names_the_strategy_that_ran(perpbot: RunCommand, stored: Path) -> None:
    """--strategy is a setting like any other."""
    perpbot("backtest", "--strategy", "macd_cross")
    (record,) = kept(stored)
    assert (record.strategy, record.config["trading"]["strategy"]) == ("macd_cross", "macd_cross")


def test_a_screen_keeps_the_hash_of_what_it_read(perpbot: RunCommand, stored: Path) -> None:
    """The same data, the same hash; one corrected candle, another."""
    perpbot("screen")
    perpbot("screen")
    connection = open_writable(stored / "perp_bot.db")
    connection.execute("UPDATE candles SET close = close * 1.0001 WHERE open_ms = ?", (START_MS + DAYS * 23 * HOUR_MS,))
    connection.execute("UPDATE series SET revision = revision + 1")
    connection.commit()
    connection.close()
    perpbot("screen")
    first, again, other = (record.data_hash for record in kept(stored))
    assert len(first) == 16
    assert first == again != other
