"""Profit targets, watched at every mark: a position whose strategy named one is closed when a mark reaches it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from perp_bot.core.types import AssetContext, OrderIntent, Position
from perp_bot.decision.exits import timer_decision_id
from perp_bot.execution.closing import exit_intent

TARGET = "target"


def due_targets(
    positions: Iterable[Position],
    contexts: Mapping[str, tuple[AssetContext, ...]],
    now_ms: int,
    exiting: Collection[str] = (),
) -> tuple[OrderIntent, ...]:
    """Return the closing orders of positions whose target one of the newest marks has touched.

    Marks from before the opening count for nothing; symbols in `exiting` have a closing order under way.
    """
    return tuple(
        exit_intent(position, TARGET, now_ms, timer_decision_id(position, TARGET))
        for position in positions
        if position.symbol not in exiting and _is_reached(position, contexts.get(position.symbol, ()))
    )


def _is_reached(position: Position, contexts: Iterable[AssetContext]) -> bool:
    target = position.target_px
    if target is None or not math.isfinite(target):
        return False
    sign = position.side.sign
    return any(c.venue_ms > position.opened_ms and (c.mark_px - target) * sign >= 0 for c in contexts)
