"""The loop's side of the kill latch: follow the file, whoever put it there, and let go of it by an unkill alone."""

from __future__ import annotations

import logging
from collections.abc import Callable

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import StoreError
from perp_bot.data.db.rows import StateRow
from perp_bot.risk import kill_switch
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.notes import Notes

LOG = logging.getLogger(__name__)

PUT_BACK_EVERY_S = 1.0  # a folder that refuses the latch file is not asked at every message of the market

CancelEntries = Callable[[int, str], int]


class KillFollower:
    """Keeps `desk.killed`, the latch file and the stored kill saying the same."""

    def __init__(self, desk: Desk, journal: Journal, notes: Notes, cancel_entries: CancelEntries) -> None:
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._cancel_entries = cancel_entries
        self._tried_s: float | None = None  # last attempt to put the file back

    def look(self, now_ms: int) -> bool:
        """Look at the file (one lstat); return whether that killed.

        A latch file that vanished is put back: only unkill, with its phrase, lifts a kill.
        """
        desk = self._desk
        is_latched = desk.outside.ask("latched", bool, lambda: kill_switch.is_latched(desk.kill_latch))
        if desk.killed is not None:
            if not is_latched:
                self._put_back(now_ms)
            return False
        if not is_latched:
            return False
        self.kill(desk.outside.ask("latch text", str, lambda: _latch_text(desk)), now_ms)
        return True

    def kill(self, text: str, now_ms: int) -> None:
        """Forbid entries from now on and cancel those that work; protective orders stay."""
        desk = self._desk
        desk.killed = text
        self._journal.put(StateRow("kill", text, now_ms))
        cancelled = self._cancel_entries(now_ms, "killed")
        told = f"{text}; {cancelled} entry orders cancelled, protective orders stay"
        self._notes.say("KILLED", told, now_ms, level=logging.WARNING)

    def remember(self, now_ms: int) -> None:
        """After a start: store a kill that was latched while nobody ran, so that losing the file does not lift it."""
        if self._desk.killed is not None:
            self._journal.put(StateRow("kill", self._desk.killed, now_ms))

    def make_sure(self, who: str, reason: str, now_ms: int) -> None:
        """Kill when asked although no file stands there: it could not be created, or an unkill came in between."""
        if self._desk.killed is not None:
            return
        text = f"killed by {who}" + (f": {reason}" if reason else " (no reason given)")
        self.kill(text, now_ms)
        self._put_back(now_ms)

    def _put_back(self, now_ms: int) -> None:
        if not self._desk.outside.ask("latch put back", bool, lambda: self._is_put_back(now_ms)):
            return
        text = "the latch file was not there and is back: only `perpbot unkill` lifts a kill"
        self._notes.say("KILLED", text, now_ms, level=logging.WARNING)

    def _is_put_back(self, now_ms: int) -> bool:
        """Try to create the latch file again, once a second; return whether it is back."""
        now_s = monotonic_s()
        if self._tried_s is not None and now_s - self._tried_s < PUT_BACK_EVERY_S:
            return False
        is_first, self._tried_s = self._tried_s is None, now_s
        try:
            kill_switch.latch(
                self._desk.kill_latch, who="the daemon", reason=f"put back: {self._desk.killed}", venue_ms=now_ms
            )
        except StoreError as error:
            if is_first:
                LOG.error("the kill holds in memory and in the database, but not as a file: %s", error)
            return False
        self._tried_s = None
        return True


def _latch_text(desk: Desk) -> str:
    latch = kill_switch.read(desk.kill_latch)
    return "killed (the latch could not be read)" if latch is None else latch.text
