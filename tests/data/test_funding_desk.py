"""Funding rates that the loop waits for: asked until they are there, never invented."""

from __future__ import annotations

from typing import Any

import pytest
from market_fakes import HOUR, MINUTE, T0, MemoryStore, RecordingSink

from perp_bot.core.clock import VenueClock
from perp_bot.core.errors import VenueAway
from perp_bot.core.events import FundingSettled
from perp_bot.core.types import FundingRate
from perp_bot.data.db.rows import FundingRateRow
from perp_bot.data.funding_desk import FundingDesk


class Rates:
    """The venue's settled rates."""

    def __init__(self) -> None:
        self.rates: list[FundingRate] = []
        self.error: Exception | None = None
        self.asked: list[tuple[str, int, int]] = []

    def funding_history(self, symbol: str, start_ms: int, end_ms: int, **_: Any) -> tuple[FundingRate, ...]:
        self.asked.append((symbol, start_ms, end_ms))
        if self.error is not None:
            raise self.error
        return tuple(rate for rate in self.rates if rate.symbol == symbol and start_ms <= rate.hour_ms <= end_ms)


def make(clock: VenueClock) -> tuple[FundingDesk, Rates, RecordingSink, MemoryStore]:
    rates, sink, store = Rates(), RecordingSink(), MemoryStore()

    def keep(found: tuple[FundingRate, ...]) -> None:
        store.put(*(FundingRateRow(rate) for rate in found))

    return FundingDesk(client=rates, clock=clock, sink=sink, store=keep), rates, sink, store


def test_a_settled_rate_is_reported_once_and_stored() -> None:
    """Asking twice for the same hour is asking once."""
    desk, rates, sink, store = make(VenueClock(T0 + MINUTE, None))
    rates.rates = [FundingRate("BTC", T0, 0.0000125, None)]
    desk.request("BTC", T0)
    desk.request("BTC", T0)
    assert desk.is_pending()
    desk.run()
    assert sink.log == [FundingSettled(FundingRate("BTC", T0, 0.0000125, None))]
    assert store.rates[("BTC", T0)].rate == 0.0000125
    assert not desk.is_pending()
    assert desk.wait_s() is None


def test_at_step_an_absent_rate_waits_for_the_clock_and_does_not_hold_up_the_loop() -> None:
    """The row lands up to 118 ms after the hour: a clock that stands on the hour cannot see it yet."""
    clock = VenueClock(T0, None)
    desk, rates, sink, _ = make(clock)
    desk.request("BTC", T0)
    desk.run()
    assert not desk.is_pending()
    assert desk.wait_s() is None
    rates.rates = [FundingRate("BTC", T0, 0.0001, None)]
    clock.observe(T0 + MINUTE)
    assert desk.is_pending()
    assert desk.wait_s() == 0.0
    desk.run()
    assert len(sink.log) == 1


def test_a_venue_that_is_away_is_asked_again_later() -> None:
    """A failed read is no rate of 0: the request stays, with growing pauses."""
    desk, rates, sink, _ = make(VenueClock(T0 + MINUTE, 1.0))
    rates.error = VenueAway("502")
    desk.request("ETH", T0)
    desk.run()
    assert sink.log == []
    assert desk.is_pending()
    wait_s = desk.wait_s()
    assert wait_s == pytest.approx(0.25, abs=0.1)


def test_another_hours_rate_is_not_taken() -> None:
    """The rate of the hour before is not the rate of this one."""
    desk, rates, sink, _ = make(VenueClock(T0 + MINUTE, None))
    rates.rates = [FundingRate("BTC", T0 - HOUR, 0.0001, None)]
    desk.request("BTC", T0)
    desk.run()
    assert sink.log == []


def test_rates_are_asked_for_by_hour_then_coin() -> None:
    """The order of the requests does not decide the order of the events."""
    desk, rates, sink, _ = make(VenueClock(T0 + 2 * HOUR, None))
    rates.rates = [FundingRate(coin, hour, 0.1, None) for coin in ("BTC", "ETH") for hour in (T0, T0 + HOUR)]
    for coin, hour_ms in (("ETH", T0 + HOUR), ("ETH", T0), ("BTC", T0)):
        desk.request(coin, hour_ms)
    desk.run()
    found = [(event.funding.hour_ms, event.funding.symbol) for event in sink.log]
    assert found == [(T0, "BTC"), (T0, "ETH"), (T0 + HOUR, "ETH")]
