"""The signal service's collectors, wired to the daemon's market side and budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perp_bot.config.model import Config
from perp_bot.core.clock import VenueClock
from perp_bot.core.types import Regime
from perp_bot.data.market import MarketData
from perp_bot.ops.http import HttpClient
from perp_bot.risk.sizing import entry_notional_usd
from perp_bot.signals.collectors.fast import FastSettings, FastSignalCollector
from perp_bot.signals.service import Collector
from perp_bot.signals.snapshot import Scale
from perp_bot.trading.budget import SignalBudget
from perp_bot.trading.desk import Desk


def collectors_for(
    config: Config, clock: VenueClock, desk: Desk, market: MarketData
) -> Callable[[], Mapping[Scale, Collector]]:
    """Return the factory that the service calls on its own thread."""
    watched = tuple(config.trading.symbols)

    def make() -> Mapping[Scale, Collector]:
        settings = FastSettings(
            order_notional_usd=entry_notional_usd(config, Regime.NORMAL),
            timeout_s=config.signal_service.fast_timeout_seconds,
        )
        fast = FastSignalCollector(
            settings,
            clock,
            HttpClient(),
            market.base_url,
            SignalBudget(market.client.limiter),
            lambda: watched,
            desk.market.book,
        )
        return {Scale.FAST: fast}

    return make
