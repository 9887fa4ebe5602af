"""Keeps every position protected, and closes what cannot be: what to place, what may go, when to tell, when to close.

The clock of protection is the wall's (monotonic): a position without a full resting stop for the grace is told and its
stop placed again; for twice as long, it is closed. A position that perpbot did not open is told, never closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import Order, OrderIntent, OrderRole, Position
from perp_bot.execution.account import TRAILING_STOP
from perp_bot.execution.live.chasing import Chases
from perp_bot.execution.live.identities import SOURCE, Identities
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.live.protection import Protection, protection, stops_of
from perp_bot.execution.live.voice import Voice
from perp_bot.execution.positions import StopRule
from perp_bot.execution.stops import stop_intent, stop_reason

UNPROTECTED = "unprotected"  # why a position is closed that no stop protects
REARM_FIRST_S, REARM_MAX_S = 0.25, 5.0


class Guard:
    """Watches the protection of the account's positions."""

    def __init__(
        self, grace_s: float, stop_rule: StopRule, identities: Identities, voice: Voice, chases: Chases
    ) -> None:
        self._grace_s = grace_s
        self._stop_rule = stop_rule
        self._identities = identities
        self._voice = voice
        self._chases = chases
        self._uncovered_s: dict[str, float] = {}  # since when, monotonic
        self._arms: dict[str, tuple[int, float]] = {}  # stops tried, and when to try again
        self._warned: set[str] = set()
        self._passed: set[str] = set()  # told that the mark is beyond a stop that is not perpbot's

    def look(self, position: Position, orders: Iterable[Order], now_ms: int, now_s: float) -> Protection:
        """Return how a position is protected now, and tell or close what has lasted too long."""
        found = protection(position, orders)
        symbol = position.symbol
        if found.is_good:
            self._arms.pop(symbol, None)
            self._passed.discard(symbol)
        if found.coverage < 1:
            self._watch_uncovered(position, found.coverage, now_ms, now_s)
            return found
        since_s = self._uncovered_s.pop(symbol, None)
        if symbol in self._warned and since_s is not None:
            self._warned.discard(symbol)
            self._voice.tell("PROTECTION", f"{symbol} is protected again after {now_s - since_s:.1f} s", symbol)
        return found

    def stop_due(
        self, position: Position, found: Protection, orders: Iterable[Order], now_ms: int, now_s: float
    ) -> OrderIntent | None:
        """Return the stop that has to be placed now; after a refusal, at growing distances."""
        symbol = position.symbol
        tries, next_s = self._arms.get(symbol, (0, 0.0))
        if not found.is_wanted or position.stop_px is None or now_s < next_s:
            return None
        self._arms[symbol] = (tries + 1, now_s + min(REARM_MAX_S, REARM_FIRST_S * 2 ** min(tries, 6)))
        trigger = to_decimal(position.stop_px)
        has_moved = any(stop.intent.trigger_px != trigger for stop in stops_of(symbol, orders))
        reason = TRAILING_STOP if has_moved and found.coverage >= 1 else stop_reason(position, self._stop_rule)
        opening = f"{position.entry_decision_id}@{position.opened_ms}"
        attempt = self._identities.fresh(opening, OrderRole.STOP)
        return stop_intent(position, trigger, now_ms, reason=reason, source=SOURCE, attempt=attempt)

    def stop_was_passed(self, position: Position, reason: str, now_ms: int, now_s: float) -> None:
        """The venue refuses the stop's price because the mark is beyond it: the position should be closed already."""
        symbol = position.symbol
        if symbol in self._chases:
            return
        if position.strategy == OUTSIDE:
            if symbol not in self._passed:
                text = f"{symbol}: the mark is beyond the stop of a position that is not perpbot's: it has none"
                self._voice.tell("PROTECTION", text, symbol, grave=True)
            self._passed.add(symbol)
            self._arms[symbol] = (6, now_s + REARM_MAX_S)
            return
        self._voice.tell("PROTECTION", f"{symbol}: the mark is beyond its stop already: closing", symbol, grave=True)
        self._chases.start(position, reason, now_ms)

    def forget(self, symbol: str) -> None:
        """The position is gone."""
        self._uncovered_s.pop(symbol, None)
        self._arms.pop(symbol, None)
        self._warned.discard(symbol)
        self._passed.discard(symbol)

    def _watch_uncovered(self, position: Position, coverage: Decimal, now_ms: int, now_s: float) -> None:
        symbol = position.symbol
        bare_s = now_s - self._uncovered_s.setdefault(symbol, now_s)
        if bare_s < self._grace_s:
            return
        if symbol not in self._warned:
            self._warned.add(symbol)
            self._arms.pop(symbol, None)  # placed again at once, whatever the last refusal said
            text = f"{symbol}: {coverage:.0%} of the position is covered by a resting stop for {bare_s:.1f} s"
            self._voice.tell("PROTECTION", f"{text}; a stop is being placed again", symbol, grave=True)
        if bare_s >= 2 * self._grace_s and symbol not in self._chases and position.strategy != OUTSIDE:
            self._voice.tell("PROTECTION", f"{symbol}: no stop for {bare_s:.1f} s: closing", symbol, grave=True)
            self._chases.start(position, UNPROTECTED, now_ms)
