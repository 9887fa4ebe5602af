"""Run the command line in this process, against a stand-in daemon on a real socket."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from cli_run import Ran, RunCommand

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
