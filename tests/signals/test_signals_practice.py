"""The wired service against the practice venue, stepped: real answers over real HTTP."""

from __future__ import annotations

import time

import pytest

from perp_bot.config.model import Config
from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.data.limiter import WeightLimiter
from perp_bot.practice.thread import PracticeServer
from perp_bot.signals.wiring import LimiterBudget, signal_service


@pytest.mark.slow
def test_signals_follow_the_practice_venue_step_by_step() -> None:
    """After 12 stepped minutes every field of BTC and ETH is there; a coin the venue does not know says so."""
    with PracticeServer(speed=None) as venue:
        clock = VenueClock(venue.now_ms, None)
        service = signal_service(
            Config(venue=venue.base_url),
            clock,
            budget=LimiterBudget(WeightLimiter(clock)),
            watched=lambda: ("BTC", "ETH", "NOPE"),
        )
        service.start()
        try:
            for _ in range(12):
                venue.step("1m")
                service.on_clock(venue.now_ms)
                deadline_s = monotonic_s() + 10.0
                while not service.is_idle():
                    assert monotonic_s() < deadline_s
                    time.sleep(0.002)
            found = service.latest()
        finally:
            assert service.stop(5.0)
    assert found is not None
    assert found.venue_ms == clock.now_ms()
    for coin in ("BTC", "ETH"):
        signals = found.coins[coin]
        assert signals.missing == {}
        assert signals.metadata.confidence == 1.0
        assert signals.spread_bps is not None
        assert signals.slippage_bps is not None
        assert 0.0 < signals.spread_bps / 2 <= signals.slippage_bps + 1e-9
        assert signals.depth_usd is not None
        assert signals.depth_usd > 1_005.0
        assert signals.short_term_volatility is not None
        assert 0.0 < signals.short_term_volatility < 0.05
    assert "no book of NOPE" in found.coins["NOPE"].missing["spread_bps"]
    assert found.quality.confidence == pytest.approx(2 / 3)
    assert found.api_latency_ms is not None
