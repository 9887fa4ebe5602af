"""The breakers in a session: what ends an entry counts as it was, and a cause that comes back kills again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perp_bot.core.types import Order, OrderIntent, OrderRole, OrderSide, OrderState, OrderType
from perp_bot.execution.live.order_desk import NEVER_THERE, NOT_SENT
from perp_bot.risk import kill_switch
from perp_bot.risk.breakers import FAILURES, ORDER_FAILURES, Breakers
from perp_bot.risk.state import RiskState
from perp_bot.trading.outside import Outside
from perp_bot.trading.tripping import STALE_AFTER_S, Tripping

NOW = 1_700_000_000_000
ENTRY = OrderIntent(
    "0x" + "a" * 32, "d", "BTC", OrderSide.BUY, OrderRole.ENTRY, OrderType.LIMIT, Decimal(1), Decimal(100), None, False,
    NOW, None, "s", "live", "why",
)  # fmt: skip


class Desk:
    """What the breakers look at and change."""

    def __init__(self, folder: Path) -> None:
        self.breakers = Breakers()
        self.kill_latch = folder / "KILL"
        self.killed: str | None = None
        self.venue_trouble: str | None = None
        self.outside = Outside()
        self.risk = replace(RiskState(), day_start_equity_usd=1_000.0)
        self.equity = 1_000.0

    def equity_usd(self) -> float:
        return self.equity

    def state_key(self, name: str) -> str:
        return f"{name}:live"


class Live:
    """Gives the orders that have ended."""

    def __init__(self) -> None:
        self.ended: list[Order] = []

    def take_ended(self) -> list[Order]:
        ended, self.ended = self.ended, []
        return ended


class Silent:
    """Takes rows and notes."""

    def put(self, *rows: Any) -> None:
        """Forget them."""

    def say(self, *told: Any, **options: Any) -> None:
        """Forget it."""


@pytest.fixture
def rig(tmp_path: Path) -> tuple[Tripping, Desk, Live]:
    """The breakers of a desk at 1,000 USD."""
    desk = Desk(tmp_path)
    return Tripping(desk, Silent(), Silent()), desk, Live()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "note", "counts"),
    [
        (OrderState.REJECTED, "Insufficient margin to place order.", True),
        (OrderState.CANCELLED, f"{NOT_SENT}: no connection", True),
        (OrderState.CANCELLED, NEVER_THERE, True),
        (OrderState.CANCELLED, "takes: not filled in time", False),
        (OrderState.CANCELLED, "Order was never placed, already canceled, or filled.", False),
        (OrderState.FILLED, "", False),
    ],
)
def test_which_ends_of_an_entry_are_failures(
    rig: tuple[Tripping, Desk, Live], state: OrderState, note: str, counts: bool
) -> None:
    """Three in a row pause entries; a stop's end is none of theirs."""
    tripping, desk, live = rig
    order = Order(ENTRY, state, Decimal(0), None, NOW, note)
    stop = replace(order, intent=replace(ENTRY, role=OrderRole.STOP))
    for _ in range(FAILURES):
        assert ORDER_FAILURES not in desk.breakers.open_until_ms
        live.ended = [stop, order]
        tripping.look(live, NOW, 0.0)  # type: ignore[arg-type]
    assert (ORDER_FAILURES in desk.breakers.open_until_ms) is counts


def test_a_collapse_kills_once_until_it_is_over_and_comes_again(rig: tuple[Tripping, Desk, Live]) -> None:
    """An operator who lifts the kill has seen it; another collapse, after the equity was back, is another kill."""
    tripping, desk, live = rig
    desk.equity = 400.0
    tripping.look(live, NOW, 0.0)  # type: ignore[arg-type]
    assert kill_switch.is_latched(desk.kill_latch)
    kill_switch.clear(desk.kill_latch)
    tripping.look(live, NOW, 0.0)  # type: ignore[arg-type]
    assert not kill_switch.is_latched(desk.kill_latch)
    desk.equity = 900.0
    tripping.look(live, NOW, 0.0)  # type: ignore[arg-type]
    desk.equity = 300.0
    tripping.look(live, NOW, 0.0)  # type: ignore[arg-type]
    assert kill_switch.is_latched(desk.kill_latch)


def test_a_stream_that_was_away_for_a_moment_trips_nothing(rig: tuple[Tripping, Desk, Live]) -> None:
    """A start, or one read that failed, is no stale stream."""
    tripping, desk, live = rig
    for now_s, trouble in ((0.0, "away"), (STALE_AFTER_S - 1, None), (STALE_AFTER_S, "away")):
        desk.venue_trouble = trouble
        tripping.look(live, NOW, now_s)  # type: ignore[arg-type]
    assert desk.breakers.trouble() is None
    tripping.look(live, NOW, 2 * STALE_AFTER_S)  # type: ignore[arg-type]
    assert "stale_stream" in desk.breakers.open_until_ms
