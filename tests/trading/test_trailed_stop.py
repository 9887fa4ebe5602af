"""A strategy moves the stop of an open position: nearer only, in place at once, there again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_rig import MINUTE, PX, QUARTER, START, DeskRig

from perp_bot.core.types import Hold, OrderRole, Side

CLOSE = START + QUARTER


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    """A desk with a LONG in BTC, bought at 100,000 or so, stopped at 98,000 or so."""
    with DeskRig(tmp_path) as rig:
        rig.step(START, PX)
        rig.enter("BTC", Side.LONG, CLOSE)
        yield rig


def stop_of(rig: DeskRig) -> tuple[float, float, str]:
    """Return the stop of the books, the trigger at the executor, and the order's reason."""
    position = rig.desk.account.position("BTC")
    assert position is not None
    assert position.stop_px is not None
    (order,) = [order for order in rig.desk.live_orders if order.intent.role is OrderRole.STOP]
    return position.stop_px, float(order.intent.trigger_px or 0), order.intent.reason


def trail(rig: DeskRig, to: float, px: float = 103_000.0) -> None:
    """Decide the next close with a stop that moves."""
    rig.decide(rig.now_ms // QUARTER * QUARTER + QUARTER, Hold("BTC", "trailing", to), marks={"BTC": px})


def test_a_nearer_stop_moves_at_the_executor_and_in_the_books(rig: DeskRig) -> None:
    """One order throughout: its trigger moves, the position says the same, people are told, the row says where to."""
    before = {order.intent.cloid for order in rig.desk.live_orders}
    assert stop_of(rig)[0] < 99_000
    trail(rig, 100_940.03)
    assert stop_of(rig) == (100_941.0, 100_941.0, "trailing_stop")  # on the grid, rounded towards the price
    assert {order.intent.cloid for order in rig.desk.live_orders} == before
    assert rig.told("TRAIL") == ["BTC: the stop trails to 100941"]
    record = rig.desk.last_decisions["BTC"]
    assert (record.stop_px, record.reason) == (100_941.0, "trailing")


@pytest.mark.parametrize("to", [90_000.0, 103_500.0], ids=["farther", "beyond the close"])
def test_a_stop_never_moves_back_nor_through_the_market(rig: DeskRig, to: float) -> None:
    """Such a wish changes nothing."""
    was = stop_of(rig)
    trail(rig, to)
    assert stop_of(rig) == was
    assert rig.told("TRAIL") == []


def test_a_stop_that_fires_at_the_close_is_not_told_to_have_moved(rig: DeskRig) -> None:
    """Triggered, with no book to fill from: the decision's wish comes too late, books and order stay as they fired."""
    was = stop_of(rig)
    close_ms = rig.now_ms // QUARTER * QUARTER + QUARTER
    rig.clock.observe(close_ms)
    rig.handle(contexts={"BTC": (rig.context("BTC", 90_000.0),)})
    rig.px["BTC"] = 103_000.0
    rig.script.decisions[("BTC", close_ms)] = Hold("BTC", "trailing", 101_000.0)
    rig.handle(events=[rig.boundary_at(close_ms)])
    assert rig.desk.last_decisions["BTC"].reason == "trailing"
    assert stop_of(rig) == was
    assert rig.told("TRAIL") == []


def test_it_fires_on_the_first_mark_below(rig: DeskRig) -> None:
    """Closed as a trailing stop, with the cooldown that any stop starts."""
    trail(rig, 101_000.0)
    rig.step(rig.now_ms + MINUTE, {"BTC": 100_990.0})
    assert rig.desk.account.position("BTC") is None
    (trade,) = rig.desk.account.trades
    assert (trade.exit_reason, trade.stopped) == ("trailing_stop", True)
    assert rig.desk.risk.cooldown_until_ms is not None


def test_it_is_there_again_after_a_restart(rig: DeskRig) -> None:
    """Books, order and reason; and it still fires."""
    trail(rig, 101_000.0)
    was = stop_of(rig)
    rig.restart()
    assert stop_of(rig) == was
    rig.step(rig.now_ms + MINUTE, {"BTC": 100_990.0})
    assert [trade.exit_reason for trade in rig.desk.account.trades] == ["trailing_stop"]


def test_a_provisional_close_moves_nothing(rig: DeskRig) -> None:
    """Its final row may never have been there."""
    from perp_bot.core.events import CloseStatus

    was = stop_of(rig)
    close_ms = rig.now_ms // QUARTER * QUARTER + QUARTER
    rig.step(close_ms, {"BTC": 103_000.0})
    rig.script.decisions[("BTC", close_ms)] = Hold("BTC", "trailing", 101_000.0)
    rig.handle(events=[rig.boundary_at(close_ms, CloseStatus.PROVISIONAL)])
    assert stop_of(rig) == was
