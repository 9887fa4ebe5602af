"""One weighted budget for every REST request: 1,200 a minute by the venue's clock, shared out by urgency."""

from __future__ import annotations

import threading
from collections import deque
from enum import StrEnum

from perp_bot.core.clock import Clock, monotonic_s
from perp_bot.core.errors import RateLimited

WEIGHT_PER_MINUTE = 1200
# The venue stamps a request later than we do, so it also forgets it later.
WINDOW_MS = 61_000
PENALTY_FIRST_S = 1.0
PENALTY_MAX_S = 15.0
_POLL_S = 0.05


class RequestClass(StrEnum):
    """How urgent a request is; a lower class leaves head-room for the higher ones."""

    PROTECTIVE = "protective"
    EXIT = "exit"
    ENTRY = "entry"
    RECONCILE = "reconcile"
    MARKET = "market"
    RESEARCH = "research"


SHARE: dict[RequestClass, float] = {
    RequestClass.PROTECTIVE: 1.0,
    RequestClass.EXIT: 0.95,
    RequestClass.ENTRY: 0.9,
    RequestClass.RECONCILE: 0.85,
    RequestClass.MARKET: 0.75,
    RequestClass.RESEARCH: 0.5,
}


def light_weight() -> int:
    """Return the weight of l2Book, allMids, clearinghouseState, orderStatus and exchangeStatus."""
    return 2


def info_weight() -> int:
    """Return the weight of every other info request, before its surcharge per row."""
    return 20


def candle_weight(rows: int) -> int:
    """Return the weight of a candleSnapshot answer: 20 and 1 per 60 candles (5,000 candles: 104)."""
    return info_weight() + -(-rows // 60)


def row_weight(rows: int) -> int:
    """Return the weight of an answer that costs 1 per 20 rows (fundingHistory, userFills ...): 500 rows: 45."""
    return info_weight() + -(-rows // 20)


def action_weight(entries: int) -> int:
    """Return the weight of a signed action: 1 and 1 per 40 orders or cancels in it."""
    return 1 + entries // 40


class WeightLimiter:
    """Keep the weight of the last minute below the venue's limit; safe from any thread.

    The minute is the venue's, so at `step` used weight comes back only when the venue's clock moves; waiting is
    bounded by the wall clock, and ends in RateLimited. After a 429 everything below PROTECTIVE holds back for a
    while (1 s, doubled up to 15 s, until an answer comes again).
    """

    def __init__(self, clock: Clock, *, weight_per_minute: int = WEIGHT_PER_MINUTE) -> None:
        self._clock = clock
        self._limit = weight_per_minute
        self._lock = threading.Condition()
        self._spent: deque[tuple[int, int]] = deque()  # (venue ms, weight), oldest first
        self._used = 0
        self._penalty_s = 0.0
        self._blocked_until_s = 0.0
        self._is_closed = False

    @property
    def limit(self) -> int:
        """Weight that the venue allows in a minute."""
        return self._limit

    def used(self) -> int:
        """Return the weight used in the last minute."""
        with self._lock:
            self._forget()
            return self._used

    def acquire(self, weight: int, request_class: RequestClass, *, max_wait_s: float = 5.0) -> None:
        """Take `weight` from the budget, waiting up to `max_wait_s` seconds of wall time.

        Raises:
            RateLimited: when the budget of this class does not free itself in time.
        """
        ceiling = int(self._limit * SHARE[request_class])
        if weight > ceiling:
            raise RateLimited(f"one {request_class} request of weight {weight} exceeds its share of {ceiling} a minute")
        deadline_s = monotonic_s() + max_wait_s
        with self._lock:
            while True:
                now_s = monotonic_s()
                self._forget()
                is_held = now_s < self._blocked_until_s and request_class is not RequestClass.PROTECTIVE
                if not is_held and self._used + weight <= ceiling:
                    self._spend(weight)
                    return
                if self._is_closed or now_s >= deadline_s:
                    why = "held back after a 429" if is_held else f"{self._used} of {ceiling} weight used"
                    raise RateLimited(
                        f"no budget for a {request_class} request of weight {weight} within {max_wait_s:g} s: {why}"
                    )
                self._lock.wait(min(_POLL_S, deadline_s - now_s))

    def charge(self, extra: int) -> None:
        """Correct the budget by `extra` once the number of answered rows is known (may be negative)."""
        if extra:
            with self._lock:
                self._spend(extra)
                self._lock.notify_all()

    def penalize(self) -> float:
        """Hold back after a 429 and return for how many wall seconds."""
        with self._lock:
            self._penalty_s = min(PENALTY_MAX_S, max(PENALTY_FIRST_S, self._penalty_s * 2))
            self._blocked_until_s = monotonic_s() + self._penalty_s
            return self._penalty_s

    def forgive(self) -> None:
        """Take an answer as the sign that the venue serves us again."""
        if self._penalty_s:
            with self._lock:
                self._penalty_s = 0.0
                self._blocked_until_s = 0.0
                self._lock.notify_all()

    def close(self) -> None:
        """End every wait at once; acquiring without budget fails from now on without waiting."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()

    def _spend(self, weight: int) -> None:
        self._spent.append((self._clock.now_ms(), weight))
        self._used += weight

    def _forget(self) -> None:
        now_ms = self._clock.now_ms()
        if self._spent and self._spent[-1][0] > now_ms + WINDOW_MS:
            # The clock was reset backwards (first reading of a practice venue): the old stamps mean nothing.
            self._spent = deque([(now_ms, self._used)])
        while self._spent and self._spent[0][0] <= now_ms - WINDOW_MS:
            self._used -= self._spent.popleft()[1]
