"""Short-term volatility from the mids that collections see: one mid a minute, log returns, standard deviation."""

from __future__ import annotations

import math
from collections import deque

from perp_bot.core.timeframes import MINUTE_MS

MAX_GAP_MINUTES = 5


class MidHistory:
    """Mids of one coin by venue minute: the last mid seen in a minute stands for it.

    A return over k minutes (a collection was missed) counts as r / sqrt(k); beyond `MAX_GAP_MINUTES` the chain is cut
    and no return is made of it.
    """

    def __init__(self, window: int, least: int) -> None:
        """Keep the newest `window` one-minute returns; say nothing before `least` of them."""
        self._least = least
        self._returns: deque[float] = deque(maxlen=window)
        self._closed: tuple[int, float] | None = None  # the last whole minute that has a mid
        self._open: tuple[int, float] | None = None  # the minute under way

    @property
    def samples(self) -> int:
        """How many one-minute returns there are."""
        return len(self._returns)

    def note(self, at_ms: int, mid_px: float) -> None:
        """Take a mid. Times before the newest minute are ignored; a clock set back by over a minute starts anew."""
        minute = at_ms // MINUTE_MS
        if self._open is None or minute == self._open[0]:
            self._open = (minute, mid_px)
            return
        if minute < self._open[0] - 1:
            self._returns.clear()
            self._closed, self._open = None, (minute, mid_px)
            return
        if minute < self._open[0]:
            return
        self._close_minute(self._open)
        self._open = (minute, mid_px)

    def _close_minute(self, ended: tuple[int, float]) -> None:
        if self._closed is not None:
            gap = ended[0] - self._closed[0]
            if gap <= MAX_GAP_MINUTES:
                self._returns.append(math.log(ended[1] / self._closed[1]) / math.sqrt(gap))
        self._closed = ended

    def volatility(self) -> float | None:
        """Return the population standard deviation of the returns, fraction per square root of a minute."""
        if len(self._returns) < self._least:
            return None
        mean = math.fsum(self._returns) / len(self._returns)
        return math.sqrt(math.fsum((item - mean) ** 2 for item in self._returns) / len(self._returns))
