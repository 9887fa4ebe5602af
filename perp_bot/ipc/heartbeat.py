"""Whether a daemon is alive and well, seen from another process: its lock, its socket, the age of its loop."""

from __future__ import annotations

from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import DaemonAway, DaemonBusy, IpcError
from perp_bot.ipc.client import Client
from perp_bot.ops.instance_lock import holder

HUNG_LOOP_S = 5.0  # a loop ticks at least every 0.5 s


def is_answering(paths: RuntimePaths, answer_s: float = 1.0) -> bool:
    """Return whether the socket answers and the trading loop has ticked lately."""
    try:
        with Client(paths.socket, answer_s) as client:
            state, age_s = client.state()
    except (DaemonAway, IpcError):
        return False
    return state.ages.loop_s is not None and state.ages.loop_s + age_s < HUNG_LOOP_S


def living_daemon(paths: RuntimePaths) -> int | None:
    """Return the pid of the process that holds the instance lock, 0 for one of another container, None for none."""
    try:
        return holder(paths.lock)
    except DaemonBusy:
        return 0
