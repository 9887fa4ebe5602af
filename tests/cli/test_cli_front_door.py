"""The front door: help, versions, errors as one line with a stable exit code, and what is not imported."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import click
import pytest
from cli_run import RunCommand

from perp_bot.cli.catalog import ENTRIES
from perp_bot.cli.main import perpbot as group
from perp_bot.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("numba", "pandas", "numpy", "hyperliquid", "textual", "aiohttp", "requests", "eth_account")


def _python(code: str, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, timeout=15, check=False
    )


_IMPORTS = """
import sys
sys.argv[0] = "perpbot"
from perp_bot.__main__ import main
code = main()
print("MODULES", " ".join(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["status"], 3),
        (["status", "--help"], 0),
        (["tui", "--help"], 0),
        (["trade", "--help"], 0),
        (["backfill", "--help"], 0),
        (["bench", "--help"], 0),
        (["demo", "--help"], 0),
        (["practice", "serve", "--help"], 0),
        (["kill"], 0),
        (["config", "check"], 0),
        (["runs", "list", "--help"], 0),
    ],
)
def test_light_commands_import_nothing_heavy(tmp_path: Path, arguments: list[str], code: int) -> None:
    """`status`, `--help` and friends import no numba, pandas, SDK or Textual."""
    done = _python(_IMPORTS, tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    modules = set(done.stderr.split("MODULES ")[1].split())
    assert modules & set(HEAVY) == set()


def test_the_version_is_answered_before_click_is_imported(tmp_path: Path) -> None:
    """About 30 ms: nothing but the version is loaded."""
    done = _python(_IMPORTS, tmp_path, "--version")
    assert done.stdout == f"perpbot {VERSION}\n"
    modules = set(done.stderr.split("MODULES ")[1].split())
    assert modules & {"click", "msgspec", "yaml", "rich", "logging"} == set()


def test_help_imports_no_command_and_no_codec(tmp_path: Path) -> None:
    """The overview comes from the catalog alone."""
    done = _python(
        _IMPORTS.replace('name.split(".")[0]', "name"),
        tmp_path,
        "--help",
    )
    assert "perp_bot.cli.commands" not in done.stderr.split("MODULES ")[1]
    assert "msgspec" not in done.stderr.split("MODULES ")[1]


@pytest.mark.slow
def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    """`python -m perp_bot` is the same program, with the same exit codes."""
    done = subprocess.run(
        [sys.executable, "-m", "perp_bot", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("perpbot: no daemon runs here")
    assert done.stderr.count("\n") == 1


def test_version_works_behind_other_options(perpbot: RunCommand) -> None:
    """click answers it as well."""
    assert perpbot("--config", "x.yaml", "--version").out == f"perpbot {VERSION}\n"


def test_the_help_has_every_command_under_its_group(perpbot: RunCommand) -> None:
    """Grouped, with examples and the exit codes."""
    text = perpbot("--help").out
    for heading in ("Trading:", "Control:", "Data:", "Research:", "Practice:", "Project:", "Examples:", "Exit codes:"):
        assert heading in text
    for entry in ENTRIES:
        assert re.search(rf"^  {entry.name} +{re.escape(entry.help[:20])}", text, re.MULTILINE), entry.name


def test_all_promised_commands_exist() -> None:
    """The list of the issue."""
    promised = "backfill trade status tui pause resume kill unkill close cancel-orders demo bench practice config"
    assert set(promised.split()) <= {entry.name for entry in ENTRIES}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_command_has_help_with_examples(perpbot: RunCommand, entry: object) -> None:
    """Each catalog entry leads to a command of that name whose help shows how it is used."""
    name = entry.name  # type: ignore[attr-defined]
    found = group.get_command(click.Context(group), name)
    assert found is not None
    assert found.name == name
    ran = perpbot(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "Examples:" in ran.out
    assert f"  perpbot {name}" in ran.out
    for inner in found.commands if isinstance(found, click.Group) else ():
        text = perpbot(name, inner, "--help").out
        assert "Examples:" in text
        assert f"perpbot {name} {inner}" in text


@pytest.mark.slow
def test_the_help_of_bench_lists_every_subject(perpbot: RunCommand) -> None:
    """What the help reads from the source is what the runner finds by importing."""
    from perp_bot.bench.runner import subjects
    from perp_bot.cli.bench_subjects import bench_subjects

    read = {item.name: (item.help, item.only_when_named) for item in bench_subjects()}
    assert read == {name: (item.help, item.only_when_named) for name, item in subjects().items()}
    text = perpbot("bench", "--help").out
    for name, (sentence, _) in read.items():
        assert re.search(rf"^  {name} +{re.escape(sentence[:20])}", text, re.MULTILINE), name


@pytest.mark.parametrize("name", ["trade", "backfill"])
def test_commands_that_talk_to_a_venue_take_it(perpbot: RunCommand, name: str) -> None:
    """--venue on each of them."""
    assert "--venue NAME" in perpbot(name, "--help").out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["statsu"], "perpbot: no command 'statsu'; did you mean status? (see: perpbot --help)\n"),
        (["status", "--jsn"], "perpbot: No such option '--jsn'. Did you mean '--json'? (see: perpbot status --help)\n"),
        (["close"], "perpbot: Missing argument 'SYMBOL'. (see: perpbot close --help)\n"),
        (["pause", "--symbol", "BTC", "--strategy", "x"], "perpbot: give --symbol or --strategy, not both"),
        (["close", "B T C"], "perpbot: 'B T C' is not a coin name (write BTC, BTC-PERP or BTCUSDT)\n"),
        (["trade", "--live"], "perpbot: --live needs `mode: live` in "),
        (
            ["trade", "--strategy", "macd_crss"],
            "perpbot: there is no strategy 'macd_crss'; known: mean_reversion, macd_cross; did you mean macd_cross?\n",
        ),
        (["practice", "serve", "--speed", "0"], "perpbot: --speed '0': expected a number above 0, or step\n"),
        (
            ["practice", "serve", "--hold"],
            "perpbot: --hold: at --speed 1 the venue's time is not its own; choose another speed\n",
        ),
        (["practice", "serve", "--port", "99999"], "perpbot: Invalid value for '--port'"),
        (["--config", "missing.yaml", "status"], "perpbot: missing.yaml: no such config file"),
        (
            ["compare", "--source", "papr"],
            "perpbot: Invalid value for '--source': 'papr' is not one of 'paper', 'live'.",
        ),
        (["kill", "--symbol", "BTC"], "perpbot: a kill latches everything"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(perpbot: RunCommand, arguments: list[str], line: str) -> None:
    """What is wrong, and where to read on; nothing on stdout."""
    ran = perpbot(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(re.sub(r"^perpbot: missing", f"perpbot: {Path.cwd()}/missing", line))
    assert ran.err.count("\n") == 1


def test_without_a_command_the_help_is_shown_with_exit_code_2(perpbot: RunCommand) -> None:
    """On stderr: it is talk, not data."""
    ran = perpbot()
    assert (ran.code, ran.out) == (2, "")
    assert "Control:" in ran.err


def test_a_bad_config_is_a_line_per_fault(perpbot: RunCommand, tmp_path: Path) -> None:
    """Every command says the same of it."""
    (tmp_path / "config.yaml").write_text("trading: {leverage: 0}\nrisk: {max_position: 3}\n")
    for arguments in (["status"], ["config", "check"], ["trade"], ["pause"], ["backfill"]):
        ran = perpbot(*arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        lines = ran.err.splitlines()
        assert len(lines) == 2
        assert (
            lines[0] == "perpbot: config.yaml: trading.leverage: 0 is not allowed; expected a whole number from 1 to 50"
        )
        assert "did you mean max_positions?" in lines[1]


def test_mode_live_in_the_config_is_refused_unless_paper_is_asked_for(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody trades on paper believing that it is live, or the other way round."""
    (tmp_path / "config.yaml").write_text("mode: live\n")
    seen: list[tuple[str, str, bool]] = []
    _install_daemon(monkeypatch, lambda config, force: seen.append((config.mode, config.venue, force)) or 4)  # type: ignore[attr-defined, func-returns-value]
    ran = perpbot("trade")
    assert ran.code == 2
    assert "mode: live" in ran.err
    assert seen == []
    assert perpbot("trade", "--paper", "--force", "--venue", "testnet").code == 4
    assert seen == [("paper", "testnet", True)]


def test_the_strategy_of_the_command_line_wins(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--strategy overrides trading.strategy; without it the file's holds."""
    (tmp_path / "config.yaml").write_text("trading: {strategy: macd_cross}\n")
    seen: list[str] = []
    _install_daemon(monkeypatch, lambda config, force: seen.append(config.trading.strategy) or 0)  # type: ignore[attr-defined, func-returns-value]
    assert perpbot("trade").code == 0
    assert perpbot("trade", "--strategy", "mean_reversion").code == 0
    assert seen == ["macd_cross", "mean_reversion"]


def _install_daemon(monkeypatch: pytest.MonkeyPatch, run: object) -> None:
    module = types.ModuleType("perp_bot.trading.daemon")
    module.run = lambda config, *, force: run(config, force)  # type: ignore[attr-defined, operator]
    monkeypatch.setitem(sys.modules, "perp_bot.trading.daemon", module)


def _failing(error: BaseException) -> object:
    def run(config: object, force: bool) -> int:
        raise error

    return run


def test_an_unexpected_error_is_one_line_and_its_detail_is_in_the_log(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback on the screen, no secret anywhere (I9)."""
    monkeypatch.setenv("HL_PRIVATE_KEY", "ab" * 32)
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "canary token")
    _install_daemon(monkeypatch, _failing(ValueError("boom " + "AB" * 32 + " canary token\nsecond line")))
    ran = perpbot("trade")
    log = tmp_path / "perp-bot-cli.log"
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"perpbot: unexpected error: ValueError: boom <hidden> <hidden> second line; full detail in {log}\n"
    )
    detail = log.read_text()
    assert "Traceback" in detail
    assert "test_cli_front_door" in detail
    assert "canary token" not in detail
    assert "ab" * 8 not in detail.lower()
    assert log.stat().st_mode & 0o777 == 0o600


def test_the_traceback_is_shown_when_asked_for(perpbot: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERPBOT_DEBUG=1 is for engineers."""
    _install_daemon(monkeypatch, _failing(KeyError("x")))
    monkeypatch.setenv("PERPBOT_DEBUG", "1")
    assert "Traceback" in perpbot("trade").err


def test_an_interrupt_is_exit_code_130(perpbot: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is no failure and no traceback."""
    _install_daemon(monkeypatch, _failing(KeyboardInterrupt()))
    ran = perpbot("trade")
    assert (ran.code, ran.out, ran.err.strip()) == (130, "", "perpbot: interrupted")


@pytest.mark.slow
def test_a_reader_that_leaves_early_causes_no_second_error(tmp_path: Path) -> None:
    """`perpbot config check | head -1` is quiet."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "perp_bot", "config", "check", "--json"],
            cwd=tmp_path,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=15,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_for_perpbot(perpbot: RunCommand, shell: str) -> None:
    """What a shell sources."""
    ran = perpbot("completion", shell)
    assert ran.code == 0
    assert "_PERPBOT_COMPLETE" in ran.out


@pytest.mark.slow
def test_completion_completes_commands_and_options(tmp_path: Path) -> None:
    """What the script asks the program."""

    def complete(words: str) -> str:
        env = {**os.environ, "_PERPBOT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "1"}
        env["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        done = subprocess.run(
            [sys.executable, "-c", _IMPORTS],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        return done.stdout

    assert "plain,kill" in complete("perpbot ki")
    assert "plain,--flatten" in complete("perpbot kill --fl")


def test_config_check_prints_what_holds_without_secrets(
    perpbot: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Human text and JSON, both from the resolved settings."""
    import json

    (tmp_path / "config.yaml").write_text("trading: {symbols: [eth-perp], leverage: 5}\n")
    monkeypatch.setenv("HL_PRIVATE_KEY", "ab" * 32)
    human, data = perpbot("config", "check", "--venue", "testnet"), perpbot("config", "check", "--json")
    assert human.code == data.code == 0
    assert "  symbols: [ETH]\n  leverage: 5\n" in human.out
    assert "venue: testnet\n" in human.out
    assert "  hl_private_key: set\n" in human.out
    assert json.loads(data.out)["trading"]["leverage"] == 5
    assert data.out.count("\n") == 1
    assert "abab" not in human.out + human.err + data.out
