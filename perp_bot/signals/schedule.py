"""When one scale is collected: by the venue's clock, never before the last collection has ended."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable

from perp_bot.core.clock import VenueClock

_LONGEST_NAP_S = 1.0  # a clock that jumps is noticed within this


class Schedule:
    """Starts a collection every `interval_s` venue seconds.

    A running clock is followed by sleeping, with at least `min_gap_s` of wall time between two collections; a stepped
    one by being told of its moves.
    """

    def __init__(
        self, clock: VenueClock, interval_s: float, collect: Callable[[], Awaitable[None]], *, min_gap_s: float
    ) -> None:
        """Take `collect`, which states its failures and never raises. Make it on the loop's thread."""
        self._clock = clock
        self._interval_ms = int(interval_s * 1000.0)
        self._collect = collect
        self._min_gap_s = min_gap_s
        self._lock = threading.Lock()
        self._told = 0
        self._acted_on = -1  # -1: the first collection is still to come
        self._is_collecting = False
        self._last_start_ms: int | None = None
        self._wake = asyncio.Event()

    def tell(self) -> None:
        """Note that the stepped clock moved (any thread); `wake` must follow on the loop."""
        with self._lock:
            self._told += 1

    def wake(self) -> None:
        """Look at the clock again now (the loop's thread)."""
        self._wake.set()

    def is_settled(self) -> bool:
        """Whether nothing is under way and every told move of the clock was acted upon (any thread)."""
        with self._lock:
            if self._is_collecting or self._acted_on < 0:
                return False
            return not self._clock.stepped or self._acted_on >= self._told

    async def run(self) -> None:
        """Collect whenever due, until cancelled."""
        while True:
            self._wake.clear()
            with self._lock:
                told = self._told  # read before the clock: a move told later gets another look
            left_ms = self._left_ms()
            with self._lock:
                self._is_collecting = left_ms <= 0
                if left_ms > 0:
                    self._acted_on = told
            if left_ms > 0:
                await self._nap(left_ms)
                continue
            self._last_start_ms = self._clock.now_ms()
            try:
                await self._collect()
            finally:
                with self._lock:
                    self._is_collecting = False
                    self._acted_on = told
            if not self._clock.stepped:
                await asyncio.sleep(self._min_gap_s)

    def _left_ms(self) -> int:
        """Venue ms until the next start; a clock that was set back makes it due one interval from then."""
        if self._last_start_ms is None:
            return 0
        now_ms = self._clock.now_ms()
        self._last_start_ms = min(self._last_start_ms, now_ms)
        return self._last_start_ms + self._interval_ms - now_ms

    async def _nap(self, left_ms: int) -> None:
        left_s = self._clock.wall_seconds_until(self._clock.now_ms() + left_ms)
        timeout_s = _LONGEST_NAP_S if left_s is None else min(_LONGEST_NAP_S, left_s + 0.001)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
