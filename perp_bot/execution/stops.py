"""The one protective order: a reduce-only stop of a whole position, triggered by mark."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.core.types import OrderIntent, OrderRole, OrderType, Position
from perp_bot.execution.account import CAPITAL_STOP, STRATEGY_STOP
from perp_bot.execution.orders import cloid_for
from perp_bot.execution.positions import StopRule


def stop_intent(
    position: Position, trigger_px: Decimal, at_ms: int, *, reason: str, source: str, attempt: int = 0
) -> OrderIntent:
    """Return the stop of `position`; `attempt` counts its earlier ones.

    A coin can be closed and opened again by one decision: the opening time keeps their stops apart.
    """
    opening = f"{position.entry_decision_id}@{position.opened_ms}"
    return OrderIntent(
        cloid=cloid_for(source, opening, OrderRole.STOP, attempt),
        decision_id=position.entry_decision_id,
        symbol=position.symbol,
        side=position.side.closing,
        role=OrderRole.STOP,
        order_type=OrderType.STOP_MARKET,
        size=position.size,
        limit_px=None,
        trigger_px=trigger_px,
        reduce_only=True,
        created_ms=at_ms,
        expires_ms=None,
        strategy=position.strategy,
        source=position.source,
        reason=reason,
        stop_px=position.stop_px,
    )


def stop_reason(position: Position, rule: StopRule) -> str:
    """Return whose stop it is: the capital's, or a nearer one of the strategy."""
    capital = rule(position.symbol, position.side, position.entry_px, position.size, None)
    return CAPITAL_STOP if capital is None or position.stop_px == capital else STRATEGY_STOP
