"""Live trading begins only when the file, the flag and a person say so; never on mainnet in this release."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_run import RunCommand

KEY = "c0ffee" * 10 + "abcd"


def folder(tmp_path: Path, **settings: str) -> Path:
    """Return a config file with these words, and a key beside it."""
    path = tmp_path / "config.yaml"
    path.write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    (tmp_path / ".env").write_text(f"HL_PRIVATE_KEY={KEY}\n")
    return path


@pytest.mark.parametrize(
    ("settings", "arguments", "says"),
    [
        ({"mode": "paper"}, ["--live", "--yes"], "--live needs `mode: live` in"),
        ({}, ["--live", "--yes"], "--live needs `mode: live` in"),
        ({"mode": "live"}, [], "add --live to trade live, or --paper"),
        ({"mode": "live"}, ["--live", "--yes", "--venue", "mainnet"], "needs `venue: mainnet` in"),
        ({"mode": "live"}, ["--live", "--yes", "--venue", "https://api.hyperliquid.xyz"], "needs `venue: mainnet` in"),
        ({"mode": "live", "venue": "mainnet"}, ["--live", "--yes"], "live trading on mainnet is not released yet"),
        ({"mode": "live"}, ["--live"], "this is not a terminal: add --yes"),
        (
            {"mode": "live", "execution": "{use_server_side_stop: false}"},
            ["--live", "--yes"],
            "a live position always has its stop resting at the venue",
        ),
    ],
)
def test_one_word_is_not_enough(
    perpbot: RunCommand, tmp_path: Path, settings: dict[str, str], arguments: list[str], says: str
) -> None:
    """One clear line, exit code 2, and nothing was begun."""
    ran = perpbot("--config", str(folder(tmp_path, **settings)), "trade", *arguments)
    assert ran.code == 2
    assert says in ran.err
    assert KEY not in ran.err
    assert not list(tmp_path.glob("perp_bot.db*"))


def test_no_key_is_said_before_anything_else(perpbot: RunCommand, tmp_path: Path) -> None:
    """The line names the variable and where it belongs."""
    path = folder(tmp_path, mode="live")
    (tmp_path / ".env").unlink()
    ran = perpbot("--config", str(path), "trade", "--live", "--yes")
    assert ran.code == 2
    assert "HL_PRIVATE_KEY: not set" in ran.err


@pytest.mark.parametrize("typed", ["yes\n", "\n", "trade live on mainnet\n"])
def test_another_sentence_does_not_begin(perpbot: RunCommand, tmp_path: Path, typed: str) -> None:
    """The summary says who trades what, and never the key; then the whole sentence is wanted."""
    ran = perpbot("--config", str(folder(tmp_path, mode="live")), "trade", "--live", typed=typed)
    assert ran.code == 2
    assert "not started: the sentence was not typed" in ran.err
    assert "LIVE: real orders with real money" in ran.err
    for part in (
        "practice (http://127.0.0.1:8642)",
        "signer",
        "0x",
        "up to 1,005.00 USD notional, 3x cross",
        "BTC, ETH",
    ):
        assert part in ran.err
    assert KEY not in ran.err


def test_the_sentence_begins_and_a_dead_venue_ends_it(perpbot: RunCommand, tmp_path: Path) -> None:
    """Exit code 3, as on paper."""
    path = folder(tmp_path, mode="live", venue="http://127.0.0.1:9")
    ran = perpbot("--config", str(path), "trade", "--live", typed="trade live on http://127.0.0.1:9\n")
    assert ran.code == 3, ran.err
