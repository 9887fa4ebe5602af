"""Builds the signal service of a daemon from its settings."""

from __future__ import annotations

from collections.abc import Mapping

from perp_bot.config import venues
from perp_bot.config.model import Config
from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import RateLimited
from perp_bot.data.limiter import RequestClass, WeightLimiter
from perp_bot.signals.collectors.fast import BookSource, Budget, FastSettings, FastSignalCollector, Watched
from perp_bot.signals.service import Collector, SignalService
from perp_bot.signals.snapshot import Scale


class LimiterBudget:
    """The signals' share of the process's one weight limiter: taken at once or not at all."""

    def __init__(self, limiter: WeightLimiter) -> None:
        self._limiter = limiter

    def try_acquire(self, weight: int) -> bool:
        """Take `weight` from the lowest class, without waiting."""
        try:
            self._limiter.acquire(weight, RequestClass.RESEARCH, max_wait_s=0.0)
        except RateLimited:
            return False
        return True

    def hold_back(self) -> None:
        """Tell the limiter of a 429."""
        self._limiter.penalize()


def fast_settings(config: Config) -> FastSettings:
    """Return the fast scale's settings; our order size is capital x margin limit x leverage, USD."""
    trading = config.trading
    return FastSettings(
        order_notional_usd=trading.capital_usd * trading.margin_usage_limit * trading.leverage,
        timeout_s=config.signal_service.fast_timeout_seconds,
    )


def signal_service(
    config: Config, clock: VenueClock, *, budget: Budget, watched: Watched, book_source: BookSource | None = None
) -> SignalService:
    """Return the service, not started.

    `watched` (coins) and `book_source` (the stream's newest book) are called on the signal thread: they must return
    at once and be safe there. The HTTP client is imported on that thread too, so that start-up does not wait for it.
    """

    def collectors() -> Mapping[Scale, Collector]:
        from perp_bot.ops.http import HttpClient

        fast = FastSignalCollector(
            fast_settings(config), clock, HttpClient(), venues.base_url(config.venue), budget, watched, book_source
        )
        return {Scale.FAST: fast}

    return SignalService(clock, collectors)
