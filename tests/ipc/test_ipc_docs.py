"""docs/ipc.md names every command, every action and every error code."""

from __future__ import annotations

import re
from pathlib import Path

from perp_bot.ipc import protocol
from perp_bot.ipc.connection import MAX_OUT_BYTES, STALL_S
from perp_bot.ipc.server import INTERVAL_DEFAULT_S, INTERVAL_MAX_S, INTERVAL_MIN_S, MAX_CLIENTS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ipc.md").read_text(encoding="utf-8")


def test_every_command_and_action_is_documented() -> None:
    """The table has a row for each command."""
    assert re.findall(r"^\| `(\w+)` \| ", PAGE, re.MULTILINE)[: len(protocol.COMMANDS)] == list(protocol.COMMANDS)
    assert all(f"`{action}`" in PAGE for action in protocol.PREPARED_ACTIONS)


def test_every_error_code_of_the_sources_is_documented() -> None:
    """Codes are an interface: found in the code, explained on the page."""
    codes: set[str] = set()
    for path in (ROOT / "perp_bot" / "ipc").glob("*.py"):
        codes |= set(re.findall(r'code="(\w+)"', path.read_text(encoding="utf-8")))
    codes -= {"incompatible"}  # raised by the client, never sent
    assert codes <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_limits_on_the_page_are_the_programs() -> None:
    """Numbers do not drift."""
    assert f"({INTERVAL_MIN_S:g} to {INTERVAL_MAX_S:g}, default {INTERVAL_DEFAULT_S:g})" in PAGE
    assert f"at most {protocol.MAX_LINE_BYTES // 1024} KiB a line" in PAGE
    assert f"more than {MAX_CLIENTS} clients" in PAGE
    assert f"after {STALL_S:g} s without progress or {MAX_OUT_BYTES // 1024} KiB" in PAGE
    assert f"for {protocol.TOKEN_TTL_S:g} s" in PAGE
