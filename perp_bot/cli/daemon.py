"""Reach the daemon that belongs to the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perp_bot.ipc.client import DEFAULT_TIMEOUT_S, Client
from perp_bot.ipc.protocol import ControlResult

if TYPE_CHECKING:
    from perp_bot.config.paths import RuntimePaths

_GOOD = ("done", "already", "killed", "flat")


def connect(paths: RuntimePaths, timeout_s: float = DEFAULT_TIMEOUT_S) -> Client:
    """Connect to the daemon of these paths; DaemonAway in one clear line when there is none."""
    client = Client(paths.socket, timeout_s, lock_path=paths.lock)
    try:
        client.hello()  # another protocol version is told here, once, instead of as a decoding failure later
    except BaseException:
        client.close()
        raise
    return client


def finish(result: ControlResult, *, as_json: bool) -> int:
    """Show the outcome of a control and return the exit code: 0 when it is certain that it was done."""
    from perp_bot.cli.output import put, put_json

    if as_json:
        put_json(result)
    else:
        put(result.text)
    return 0 if result.status in _GOOD else 1
