"""The process's one request budget, as the signal service asks for it."""

from __future__ import annotations

from perp_bot.core.errors import RateLimited
from perp_bot.data.limiter import RequestClass, WeightLimiter


class SignalBudget:
    """Takes weight from the shared limiter without ever waiting: signals give way to trading."""

    def __init__(self, limiter: WeightLimiter) -> None:
        self._limiter = limiter

    def try_acquire(self, weight: int) -> bool:
        """Take `weight` now, or say that it is not to be had."""
        try:
            self._limiter.acquire(weight, RequestClass.RESEARCH, max_wait_s=0.0)
        except RateLimited:
            return False
        return True

    def hold_back(self) -> None:
        """Note that the venue answered 429."""
        self._limiter.penalize()
