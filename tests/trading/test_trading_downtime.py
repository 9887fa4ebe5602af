"""Stops and funding hours of a downtime, made up for from the venue's minutes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk_rig import HOUR, MINUTE, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig
from perp_bot.core.errors import VenueAway
from perp_bot.core.events import MissedMinutes
from perp_bot.core.types import Candle, Enter, OrderState, Side
from perp_bot.trading.downtime import Downtime

CLOSE = START + QUARTER
DOWN = START + HOUR - 20 * MINUTE


class Minutes:
    """A venue client that knows one-minute candles."""

    def __init__(self, low_at: Callable[[int], float] = lambda at: 99_900.0, first_ms: int = 0) -> None:
        self.low_at = low_at
        self.first_ms = first_ms
        self.asked: list[str] = []

    def candles(self, symbol: str, timeframe: str, start_ms: int, end_ms: int, *more: Any) -> tuple[Candle, ...]:
        self.asked.append(symbol)
        first = max(self.first_ms, -(-start_ms // MINUTE) * MINUTE)
        return tuple(
            Candle(symbol, "1m", at, 100_000.0, 100_100.0, self.low_at(at), 100_000.0, 1.0)
            for at in range(first, end_ms + 1, MINUTE)
        )


def down_and_up(rig: DeskRig, client: object, now_ms: int) -> None:
    """End the daemon, let time pass, start it and make up for what was missed."""
    rig.step(DOWN)
    rig.close()
    rig._open(now_ms)
    Downtime(rig.desk, client, rig.books, rig.notes).make_up(now_ms, None)  # type: ignore[arg-type]


def test_the_hours_of_a_downtime_are_owed_once(rig: DeskRig) -> None:
    """Down over 04:00 and 05:00 with a long: both are due at the minute's open, the next is the loop's."""
    rig.enter("BTC")
    down_and_up(rig, Minutes(), START + 2 * HOUR + 10 * MINUTE)
    assert sorted(rig.desk.funding_due) == [("BTC", START + HOUR), ("BTC", START + 2 * HOUR)]
    assert rig.desk.next_hour_ms == START + 3 * HOUR
    assert rig.rows("SELECT hour_ms FROM funding_payments ORDER BY 1") == [(START + HOUR,), (START + 2 * HOUR,)]
    rig.close()
    rig._open(START + 2 * HOUR + 10 * MINUTE)
    Downtime(rig.desk, Minutes(), rig.books, rig.notes).make_up(START + 2 * HOUR + 10 * MINUTE, None)  # type: ignore[arg-type]
    assert len(rig.desk.funding_due) == 2, "a second restart owes nothing again"


def test_a_stop_that_was_passed_fires_at_its_price_and_later_hours_are_not_owed(rig: DeskRig) -> None:
    """Through the stop at 04:30: closed then, 04:00 is owed, 05:00 is not; the cooldown runs from then."""
    rig.enter("BTC")
    stop = rig.desk.account.positions[0].stop_px
    assert stop is not None
    passed = START + HOUR + 30 * MINUTE
    down_and_up(rig, Minutes(lambda at: 97_000.0 if at == passed else 99_900.0), START + 2 * HOUR + 10 * MINUTE)
    assert rig.desk.account.positions == ()
    (trade,) = rig.desk.account.trades
    assert (float(trade.exit_px), trade.exit_reason, trade.closed_ms) == (stop, "capital_stop", passed + MINUTE - 1)
    assert sorted(rig.desk.funding_due) == [("BTC", START + HOUR)]
    assert rig.desk.risk.cooldown_until_ms == passed + MINUTE - 1 + 1_800_000
    assert any("its stop was passed" in text for text in rig.told("RECONCILE"))
    assert "STOP" in rig.alerts


def test_a_made_up_book_fills_no_entry(tmp_path: Path) -> None:
    """The rest of the entry order is cancelled before the stop fires, killed or not."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=3600.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.fill_entry("BTC", 0.005)
        # The stop of the part lies far away: 30 USD on 0.005 BTC.
        down_and_up(rig, Minutes(lambda at: 90_000.0 if at >= START + HOUR else 99_900.0), START + 2 * HOUR)
        assert rig.desk.account.positions == ()
        assert [str(t.size) for t in rig.desk.account.trades] == ["0.00500"]
        assert rig.rows("SELECT state FROM orders WHERE role = 'entry'") == [(OrderState.CANCELLED.value,)]


def test_a_venue_that_does_not_answer_is_said_and_the_stop_still_rests(rig: DeskRig) -> None:
    """The downtime cannot be checked; the first mark through the stop fires it."""
    rig.enter("BTC")

    class Away:
        def candles(self, *arguments: Any) -> None:
            raise VenueAway("nobody there")

    down_and_up(rig, Away(), START + 2 * HOUR)
    assert any("cannot be checked: nobody there" in text for text in rig.told("RECONCILE"))
    rig.step(START + 2 * HOUR + MINUTE, {"BTC": 97_000.0})
    assert rig.desk.account.positions == ()


def test_minutes_that_the_venue_no_longer_has_are_named(rig: DeskRig) -> None:
    """It keeps 5,000: a longer downtime cannot be checked whole, and hours without a price are missing."""
    rig.enter("BTC")
    down_and_up(rig, Minutes(first_ms=START + 2 * HOUR - 10 * MINUTE), START + 2 * HOUR + MINUTE)
    said = rig.told("RECONCILE")
    assert any("the venue has no minutes from" in text for text in said)
    assert any("1 funding hours of the downtime cannot be priced" in text for text in said)
    assert sorted(rig.desk.funding_due) == [("BTC", START + 2 * HOUR)]


@pytest.mark.parametrize("held", [True, False])
def test_a_short_stop_or_a_flat_desk_asks_the_venue_nothing(rig: DeskRig, held: bool) -> None:
    """Less than a minute is no downtime; flat, nothing can have happened."""
    if held:
        rig.enter("BTC")
    client = Minutes()
    down_and_up(rig, client, DOWN + 30_000 if held else DOWN + HOUR)
    assert client.asked == []
    assert rig.desk.next_hour_ms == (START + HOUR if held else START + 2 * HOUR)


def test_a_stop_that_was_passed_while_the_stream_was_away_fires_once_at_its_price(rig: DeskRig) -> None:
    """The stream is back with a mark above the stop: the minutes of the gap tell, and the position is closed."""
    rig.enter("BTC")
    stop = rig.desk.account.positions[0].stop_px
    rig.step(START + HOUR - MINUTE, {"BTC": 100_000.0})
    through = Minutes(lambda at: 97_000.0)
    gap = through.candles("BTC", "1m", CLOSE + MINUTE, CLOSE + 10 * MINUTE)
    for _ in range(2):
        rig.handle(events=[MissedMinutes("BTC", gap)])
    (trade,) = rig.desk.account.trades
    assert (float(trade.exit_px), trade.exit_reason) == (stop, "capital_stop")
    assert len([text for text in rig.told("RECONCILE") if "while the market stream was away" in text]) == 1
    assert rig.desk.live_orders == ()
