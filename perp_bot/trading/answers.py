"""Answers that the loop owes to operators: given when what they say is true and on disk, or honestly when time is up.

The loop never waits for them: it looks at what is owed at the end of every pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import IpcError
from perp_bot.ipc.control import ControlRequest
from perp_bot.ipc.protocol import ControlResult

WITHIN_S = 3.0  # shorter than the sender's patience (`ipc.control.CONTROL_TIMEOUT_S`)


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that is not known yet: `look(is_last)` gives it, at the last look in any case."""

    look: Callable[[bool], ControlResult | None]


class OwedAnswers:
    """Keeps requests whose answer comes later."""

    def __init__(self, within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._owed: list[tuple[ControlRequest, Later, float]] = []

    def __len__(self) -> int:
        return len(self._owed)

    def owe(self, request: ControlRequest, later: Later) -> None:
        """Take a request to be answered within the time."""
        self._owed.append((request, later, monotonic_s() + self._within_s))

    def look(self) -> None:
        """Answer what can be answered now."""
        if not self._owed:
            return
        now_s = monotonic_s()
        kept = []
        for request, later, until_s in self._owed:
            result = later.look(now_s >= until_s)
            if result is None:
                kept.append((request, later, until_s))
            else:
                request.respond(result)
        self._owed = kept

    def settle(self) -> None:
        """Give everybody the last look: the loop ends."""
        for request, later, _ in self._owed:
            result = later.look(True)
            request.respond(IpcError("the daemon is stopping", code="refused") if result is None else result)
        self._owed = []
