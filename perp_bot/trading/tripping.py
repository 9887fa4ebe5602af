"""The circuit breakers at work in a live session: fed by the venue's answers, they pause entries or latch the kill."""

from __future__ import annotations

import logging

from perp_bot.core.account_events import AccountEvent, AccountRead, ActionAnswered, ActionOutcome, BudgetRead
from perp_bot.core.errors import StoreError
from perp_bot.core.types import OrderRole, OrderState
from perp_bot.data.db.rows import StateRow
from perp_bot.execution.live.executor import LiveExecutor
from perp_bot.execution.live.order_desk import NEVER_THERE, NOT_SENT
from perp_bot.risk import kill_switch
from perp_bot.risk.breakers import Breakers
from perp_bot.trading.desk import Desk
from perp_bot.trading.journal import Journal
from perp_bot.trading.notes import Notes

LOG = logging.getLogger(__name__)

KILLER = "the circuit breakers"
_ACCOUNT_EVERY_MS = 50_000
STALE_AFTER_S = 10.0  # a start, or one read that fails, is no stale stream


class Tripping:
    """Keeps `desk.breakers`; on the loop's thread."""

    def __init__(self, desk: Desk, journal: Journal, notes: Notes) -> None:
        self._desk = desk
        self._journal = journal
        self._notes = notes
        self._read_ms: int | None = None
        self._has_killed = False  # for what still holds: an operator who lifted that kill has seen it
        self._stale_since_s: float | None = None  # monotonic

    def take(self, event: AccountEvent, live: LiveExecutor, now_ms: int) -> None:
        """Take one event of the account side, after the executor has."""
        if isinstance(event, ActionAnswered):
            answered = event.outcome in (ActionOutcome.ACCEPTED, ActionOutcome.REJECTED)
            self._adopt(self._desk.breakers.on_action(answered, event.took_ms, now_ms), now_ms)
        elif isinstance(event, AccountRead):
            if self._read_ms is None or now_ms - self._read_ms >= _ACCOUNT_EVERY_MS:
                self._read_ms = now_ms
                self._adopt(self._desk.breakers.on_account(live.differs()), now_ms)
        elif isinstance(event, BudgetRead):
            self._desk.actions.take(event.used, event.cap, now_ms)

    def look(self, live: LiveExecutor, now_ms: int, now_s: float) -> None:
        """Look at the entries under way, the stream and the equity; release what is over."""
        self._look_at_entries(live, now_ms)
        desk = self._desk
        if desk.venue_trouble is None:
            self._stale_since_s = None
        else:
            self._stale_since_s = now_s if self._stale_since_s is None else self._stale_since_s
            if now_s - self._stale_since_s >= STALE_AFTER_S:
                self._adopt(desk.breakers.on_stale(desk.venue_trouble, now_ms), now_ms)
        state, over = desk.breakers.released(now_ms)
        self._adopt(state, now_ms)
        for name in over:
            self._notes.say("BREAKER", f"{name}: entries are allowed again", now_ms)
        why = desk.breakers.kills(desk.equity_usd(), desk.risk.day_start_equity_usd)
        if why is None:
            self._has_killed = False
        elif desk.killed is None and not self._has_killed:
            self._kill(why, now_ms)

    def _look_at_entries(self, live: LiveExecutor, now_ms: int) -> None:
        """Count entries that failed in a row: refused, not sent, or never answered."""
        for order in live.take_ended():
            if order.intent.role is not OrderRole.ENTRY:
                continue
            failed = order.state is OrderState.REJECTED or order.note.startswith((NOT_SENT, NEVER_THERE))
            self._adopt(self._desk.breakers.on_entry(failed and order.filled == 0, now_ms), now_ms)

    def _adopt(self, state: Breakers, now_ms: int) -> None:
        before, self._desk.breakers = self._desk.breakers, state
        for name in state.open_until_ms.keys() - before.open_until_ms.keys():
            text = f"entries pause: {state.why[name]}"
            self._notes.say("BREAKER", text, now_ms, level=logging.WARNING)
        if state.to_json() != before.to_json():
            self._journal.put(StateRow(self._desk.state_key("breakers"), state.to_json(), now_ms))

    def _kill(self, why: str, now_ms: int) -> None:
        """Latch the file; the loop's kill follower does the rest in its next pass."""
        self._has_killed = True

        def latch() -> str | None:
            try:
                kill_switch.latch(self._desk.kill_latch, who=KILLER, reason=why, venue_ms=now_ms)
            except StoreError as error:
                return str(error)
            return None

        failure = self._desk.outside.ask("breaker latched", str | None, latch)
        if failure is not None:
            self._has_killed = False
            LOG.error("%s", failure)
