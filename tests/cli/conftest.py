"""Run the command line in this process, against a stand-in daemon on a real socket."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_run import Ran, RunCommand
from research_store import GRID, LIVELY, store_candles

_TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_TESTS / "ipc"))  # ipc_samples, shared with the socket's tests
sys.path.insert(0, str(_TESTS / "execution" / "live"))  # live_venue, shared with the live executor's


class Keyboard(io.StringIO):
    """A terminal on which `text` is typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def perpbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunCommand:
    """Run `perpbot ...` in an empty folder; `typed` makes stdin a terminal."""
    from perp_bot.cli.main import run

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # locks and nonces of signing keys
    for name in (
        "HL_PRIVATE_KEY",
        "HL_WALLET_ADDRESS",
        "HL_WATCHDOG_PRIVATE_KEY",
        "DISCORD_WEBHOOK_URL",
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_CHAT_ID",
    ):
        monkeypatch.delenv(name, raising=False)

    def command(*arguments: str, typed: str | None = None) -> Ran:
        monkeypatch.setattr(sys, "stdin", Keyboard(typed) if typed is not None else io.StringIO(""))
        capsys.readouterr()
        code = run(list(arguments))
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return command


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A database with 60 days of hourly candles, a lively config and a small grid, where the command line looks."""
    store_candles(tmp_path / "perp_bot.db")
    (tmp_path / "config.yaml").write_text(LIVELY)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes after the first block of a sweep."""
    from perp_bot.backtest import sweep_blocks

    whole, calls = sweep_blocks.run_points_on, []

    def once(*arguments: Any, **named: Any) -> Any:
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return whole(*arguments, **named)

    monkeypatch.setattr(sweep_blocks, "run_points_on", once)
