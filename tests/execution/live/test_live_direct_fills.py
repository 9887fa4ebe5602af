"""What perpbot did without its daemon is known when the daemon comes back: closed by a command, or stopped."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from perp_bot.core.types import Liquidity, OrderRole, OrderSide
from perp_bot.core.venue_account import VenueFill
from perp_bot.execution.account import CAPITAL_STOP, STOP_REASONS
from perp_bot.execution.live.identities import direct_cloid
from perp_bot.execution.live.outside import DIRECTLY, OUTSIDE, is_direct, outside_reason

FILL = VenueFill(
    "BTC", OrderSide.SELL, Decimal(90_000), Decimal("0.01"), Decimal("0.4"), Decimal(-5), 1_700_000_000_000, 7, None, 8,
    Liquidity.TAKER, Decimal("0.01"), "Close Long", "USDC", False, None,
)  # fmt: skip


@pytest.mark.parametrize(("role", "reason"), [(OrderRole.EXIT, DIRECTLY), (OrderRole.STOP, CAPITAL_STOP)])
def test_orders_of_commands_are_known_by_their_ids(role: OrderRole, reason: str) -> None:
    """A stop that the watchdog armed starts the cooldown like any other."""
    cloid = direct_cloid("run", "BTC", role, 3)
    assert len(cloid) == 34
    assert cloid != direct_cloid("run", "BTC", role, 4)
    assert outside_reason(replace(FILL, cloid=cloid)) == reason
    assert (reason in STOP_REASONS) is (role is OrderRole.STOP)


def test_another_id_or_none_is_somebody_elses() -> None:
    """The owner's own trade in the app has none."""
    for cloid in (None, "0x" + "d" * 32):
        assert not is_direct(replace(FILL, cloid=cloid))
        assert outside_reason(replace(FILL, cloid=cloid)) == OUTSIDE
