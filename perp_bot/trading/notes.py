"""Things that happened, told once to everyone who listens: log, events table, dashboard, alerts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from perp_bot.core.clock import wall_ms
from perp_bot.data.db.rows import EventRow
from perp_bot.ipc.state import EventNote
from perp_bot.trading.journal import Journal

LOG = logging.getLogger(__name__)

# Event kind -> alert kind. STARTED is sent by the daemon itself, with its heartbeat.
ALERTED = {kind: kind for kind in ("OPEN", "CLOSE", "STOP", "TIMEOUT", "RECONNECT", "RECONCILE", "HALTED", "KILLED")}
ALERTED |= dict.fromkeys(
    ("PROTECTION", "OUTSIDE", "DRIFT", "REFUSED", "UNTRACED", "BUILDER_FEE", "BREAKER"), "RECONCILE"
)
ALERTED["DEGRADED"] = "HALTED"  # entries stop: somebody should know who is not at the screen

Push = Callable[[EventNote], None]
Alert = Callable[[str, str, str | None], None]


class Notes:
    """The loop's voice."""

    def __init__(self, journal: Journal, push: Push, alert: Alert) -> None:
        self._journal = journal
        self._push = push
        self._alert = alert

    def say(
        self,
        kind: str,
        text: str,
        venue_ms: int,
        symbol: str | None = None,
        *,
        level: int = logging.INFO,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Tell one thing: a stable `kind` in capitals and a sentence."""
        self._journal.put(self.tell(kind, text, venue_ms, symbol, level=level, detail=detail))

    def tell(
        self,
        kind: str,
        text: str,
        venue_ms: int,
        symbol: str | None = None,
        *,
        level: int = logging.INFO,
        detail: dict[str, Any] | None = None,
    ) -> EventRow:
        """Tell one thing to everyone but the store; return its row, to be written with the rows it is about."""
        LOG.log(level, "%s %s", kind, text, extra={"event": kind, "symbol": symbol, "venue_ms": venue_ms})
        self._push(EventNote(venue_ms, kind, symbol, text))
        if kind in ALERTED:
            self._alert(ALERTED[kind], text, symbol)
        return EventRow(venue_ms, wall_ms(), kind, symbol, text, detail)
