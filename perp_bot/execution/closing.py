"""The one closing order: a reduce-only taker of a whole position."""

from __future__ import annotations

from perp_bot.core.types import OrderIntent, OrderRole, OrderType, Position
from perp_bot.execution.orders import cloid_for


def exit_intent(position: Position, reason: str, now_ms: int, decision_id: str, attempt: int = 0) -> OrderIntent:
    """Return the order that closes `position`; `attempt` counts earlier orders of the same decision."""
    return OrderIntent(
        cloid=cloid_for(position.source, decision_id, OrderRole.EXIT, attempt),
        decision_id=decision_id,
        symbol=position.symbol,
        side=position.side.closing,
        role=OrderRole.EXIT,
        order_type=OrderType.TAKER,
        size=position.size,
        limit_px=None,
        trigger_px=None,
        reduce_only=True,
        created_ms=now_ms,
        expires_ms=None,
        strategy=position.strategy,
        source=position.source,
        reason=reason,
    )
