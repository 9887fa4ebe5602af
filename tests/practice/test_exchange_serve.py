"""`perpbot practice serve` with accounts: what the command takes, says and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from signed_rig import ACCOUNTS, AGENT, STRANGER, USER

from perp_bot.cli.commands import practice
from perp_bot.core.errors import UsageError
from perp_bot.practice.accounts_file import parse_accounts, parse_funds, with_funds
from perp_bot.practice.app import serve

COMMAND = [sys.executable, "-m", "perp_bot", "practice", "serve", "--speed", "step", "--port", "0"]


def served(*options: str) -> str:
    """Start the command, stop it once it is ready, and return its ready line."""
    process = subprocess.Popen([*COMMAND, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        return line
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


@pytest.mark.slow
def test_the_ready_line_says_who_trades(tmp_path: Path) -> None:
    """How many accounts; open ones loudly."""
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps(ACCOUNTS))
    line = served("--accounts", str(path), "--fund", f"{STRANGER.address}=5", "--open-accounts")
    assert ", accounts: 2, OPEN ACCOUNTS: every new signer gets 10,000 USDC, for playing only;" in line


@pytest.mark.slow
def test_a_strict_venue_says_nothing_of_open_accounts() -> None:
    """Without options there are no accounts."""
    assert "accounts" not in served().lower()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('[{"usd": 5}]', r"accounts\[0\]: address is missing"),
        ('{"accounts": 5}', "expected a list of accounts"),
        ("[", "not JSON"),
    ],
)
def test_a_wrong_accounts_file_ends_the_start(tmp_path: Path, content: str, told: str) -> None:
    """One line with the file and the place, before anything is served."""
    path = tmp_path / "accounts.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=f"--accounts .*{told}"):
        serve(port=0, speed=None, accounts=path)


def test_a_wrong_fund_ends_the_start() -> None:
    """The pair is named."""
    with pytest.raises(UsageError, match="--fund '5000': expected ADDRESS=USD"):
        serve(port=0, speed=None, fund=["5000"])


def test_a_missing_accounts_file_is_a_usage_error() -> None:
    """Click says so, with exit code 2."""
    result = CliRunner().invoke(practice.serve, ["--accounts", "/nowhere/accounts.yaml"])
    assert result.exit_code == 2
    assert "/nowhere/accounts.yaml" in result.output


def test_funds_add_to_accounts_and_open_new_ones() -> None:
    """In the order of the file, then of the funds."""
    accounts = with_funds(parse_accounts(ACCOUNTS), parse_funds([f"{STRANGER.address}=7", f"{USER}=0.5"]))
    assert [(one.address, float(one.usd)) for one in accounts] == [
        (USER, 10_000.5),
        (STRANGER.address.lower(), 7),
    ]


def test_an_agent_is_not_funded() -> None:
    """Money on an agent's address would be another account, and the agent no longer an agent."""
    funds: dict[str, Any] = parse_funds([f"{AGENT.address}=7"])
    with pytest.raises(UsageError, match="it is an agent; fund its master"):
        with_funds(parse_accounts(ACCOUNTS), funds)
