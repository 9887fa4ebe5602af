"""What the socket thread says on its own: kills that it latched, silence of the trading loop, lines without sense."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from perp_bot.core.errors import IpcError, StoreError
from perp_bot.ipc.control import Outcome, Peer
from perp_bot.ipc.protocol import ControlResult
from perp_bot.risk import kill_switch

LOG = logging.getLogger(__name__)


def latch_kill(path: Path, peer: Peer, reason: str, venue_ms: int | None) -> str | None:
    """Latch the kill on disk, now, on the calling thread; return what went wrong, or None."""
    try:
        kill_switch.latch(path, who=peer.text, reason=reason, venue_ms=venue_ms)
    except StoreError as error:
        LOG.critical("%s", error)
        return str(error)
    LOG.warning("kill latched by %s: %s", peer.text, reason or "no reason given")
    return None


def timed_out(cmd: str) -> Outcome:
    """Return what to say when the trading loop did not answer `cmd` in time."""
    if cmd == "kill":
        return ControlResult(
            "killed",
            "killed: latched on disk; the trading loop has not answered yet "
            "(it looks at the latch before every order that adds exposure)",
        )
    if cmd == "wait_until":
        return IpcError("the venue's time did not get there in time", code="timeout")
    return IpcError("the trading loop does not answer; kill works", code="timeout")


def of_kill(outcome: Outcome, latch_error: str | None) -> Outcome:
    """Return what to say of a kill, the truth about the latch first."""
    if latch_error is not None:
        return IpcError(f"{latch_error}; the trading loop was told, but a restart would forget it", code="refused")
    if isinstance(outcome, IpcError):
        return IpcError(f"the kill is latched on disk, but: {outcome}", code=outcome.code)
    return outcome


def id_of(line: bytes) -> int | str | None:
    """Return the id of a line that is JSON but not a request, so that its sender can tell which one it was."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    request_id = found.get("id") if isinstance(found, dict) else None
    return request_id if isinstance(request_id, (int, str)) and not isinstance(request_id, bool) else None
