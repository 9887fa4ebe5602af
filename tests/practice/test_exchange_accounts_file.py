"""Accounts that a practice exchange starts with: what a file may say, and what is told when it is wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perp_bot.core.errors import UsageError
from perp_bot.practice.accounts_file import Account, Agent, Position, parse_accounts, parse_funds, read_accounts

MASTER, AGENT, OTHER = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "03" * 20

YAML = f"""
accounts:
  - address: "{MASTER}"
    usd: 10000.5
    mode: unified
    agents:
      - {{address: {OTHER}, name: bot, valid_until: 2026-12-01T00:00:00Z}}
      - address: "{AGENT}"
    positions:
      - {{coin: BTC, size: -0.01, entry_px: 84000.0, leverage: 5, margin: isolated}}
"""
EXPECTED = [
    Account(
        MASTER,
        Decimal("10000.5"),
        "unified",
        (Agent(OTHER, "bot", 1_796_083_200_000), Agent(AGENT)),
        (Position("BTC", Decimal("-0.01"), Decimal("84000.0"), 5, False),),
    )
]


def test_a_yaml_file_is_read(tmp_path: Path) -> None:
    """Masters, agents, positions and mode; an address without quotes, which YAML reads as a number, too."""
    path = tmp_path / "accounts.yaml"
    path.write_text(YAML)
    assert read_accounts(path) == EXPECTED


def test_a_json_file_is_read(tmp_path: Path) -> None:
    """The same in JSON, amounts as strings, the list without its key."""
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps([{"address": MASTER.upper().replace("0X", "0x"), "usd": "12.25"}]))
    assert read_accounts(path) == [Account(MASTER, Decimal("12.25"))]


def test_leverage_and_margin_have_the_venues_defaults() -> None:
    """Cross, 20x or the coin's maximum if lower."""
    rows = [{"coin": coin, "size": 10, "entry_px": 1} for coin in ("BTC", "DOGE")]
    positions = parse_accounts([{"address": MASTER, "usd": 1, "positions": rows}])[0].positions
    assert [(one.leverage, one.is_cross) for one in positions] == [(20, True), (10, True)]


def account(**changes: Any) -> list[dict[str, Any]]:
    return [{"address": MASTER, "usd": 1, **changes}]


def position(**changes: Any) -> list[dict[str, Any]]:
    return account(positions=[{"coin": "BTC", "size": "0.01", "entry_px": 84000, **changes}])


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (None, "expected a list of accounts"),
        ({"account": []}, "expected a list of accounts"),
        (["x"], r"accounts\[0\]: expected an object"),
        ([{"usd": 1}], r"accounts\[0\]: address is missing"),
        ([{"address": MASTER}], r"accounts\[0\]: usd is missing"),
        (account(address="0x12"), r"accounts\[0\].address: '0x12' is not an address"),
        (account(usd=-1), r"accounts\[0\].usd: -1 is not an amount"),
        (account(usd="much"), r"accounts\[0\].usd: 'much' is not a number"),
        (account(usd="NaN"), r"accounts\[0\].usd: 'NaN' is not a number"),
        (account(usd=True), r"accounts\[0\].usd: True is not a number"),
        (account(usd="0.0000001"), "six decimals"),
        (account(mode="portfolio"), r"mode: 'portfolio' is not one of standard, unified"),
        (account(balance=3), r"unknown key 'balance'"),
        (account(agents=AGENT), r"agents: expected a list"),
        (account(agents=[{"address": AGENT, "name": ""}]), "name of 1 to 16"),
        (account(agents=[{"address": AGENT, "valid_until": "soon"}]), "neither an ISO time"),
        (account(agents=[{"address": MASTER}]), r"agents\[0\]: .* is accounts\[0\] already"),
        (account() + account(), r"accounts\[1\]: .* is accounts\[0\] already"),
        (position(coin="MATIC"), "no live coin 'MATIC'"),
        (position(size="0.000001"), "not a multiple of 0.00001"),
        (position(size=0), "nor 0"),
        (position(entry_px=0), "not above 0"),
        (position(leverage=41), "from 1 to 40"),
        (position(leverage=2.5), "from 1 to 40"),
        (position(margin="half"), "not cross or isolated"),
        (account(positions=position()[0]["positions"] * 2), "BTC is listed twice"),
    ],
)
def test_a_wrong_account_is_told_in_one_line(read: Any, told: str) -> None:
    """The place, what was found and what is allowed."""
    with pytest.raises(UsageError, match=told) as refused:
        parse_accounts(read)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "{", "not JSON"),
        ("a.yaml", "a: [", "not YAML"),
        ("a.yaml", "accounts:\n  - usd: 1", r"accounts\[0\]: address is missing"),
    ],
)
def test_a_wrong_file_is_told_with_its_name(tmp_path: Path, name: str, text: str, told: str) -> None:
    """--accounts, the file and the place."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=f"--accounts .*{name}.*{told}") as refused:
        read_accounts(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(UsageError, match=r"nowhere\.yaml: No such file"):
        read_accounts(tmp_path / "nowhere.yaml")


def test_funds_are_pairs() -> None:
    """ADDRESS=USD, repeatable; twice the same address adds up."""
    assert parse_funds([f"{MASTER}=5000", f"{AGENT}=1.5", f"{MASTER} = 2"]) == {
        MASTER: Decimal(5002),
        AGENT: Decimal("1.5"),
    }


@pytest.mark.parametrize("pair", ["5000", f"{MASTER}", f"{MASTER}=", f"{MASTER}=-4", "0x1=5", f"{MASTER}=many"])
def test_a_wrong_fund_is_told(pair: str) -> None:
    """One line with the pair as it was given."""
    with pytest.raises(UsageError, match="--fund"):
        parse_funds([pair])
