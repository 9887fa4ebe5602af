"""Signal snapshots kept in the store: one row a venue minute at most."""

from __future__ import annotations

from collections.abc import Callable

from perp_bot.core.timeframes import MINUTE_MS
from perp_bot.data.db.rows import SignalRow
from perp_bot.signals.snapshot import FastSnapshot, Scale
from perp_bot.trading.journal import Journal


class SignalRecorder:
    """Looks at the newest fast snapshot and stores the first of every minute."""

    def __init__(self, journal: Journal, latest: Callable[[], FastSnapshot | None]) -> None:
        self._journal = journal
        self._latest = latest
        self._next_ms = 0

    def look(self) -> None:
        """Store the newest snapshot when a new minute has begun since the last row."""
        snapshot = self._latest()
        if snapshot is None or snapshot.venue_ms < self._next_ms:
            return
        self._next_ms = snapshot.venue_ms - snapshot.venue_ms % MINUTE_MS + MINUTE_MS
        self._journal.put(SignalRow(snapshot.venue_ms, Scale.FAST.value, snapshot.plain()))
