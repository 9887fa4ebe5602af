"""Closing orders that a timer makes due."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from perp_bot.config.model import Config
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import OrderIntent, Position
from perp_bot.execution.closing import exit_intent

TIMEOUT = "timeout"


def timeout_at_ms(position: Position, config: Config) -> int:
    """Return the venue time at which the position has been open for `risk.position_timeout_hours`."""
    return position.opened_ms + round(config.risk.position_timeout_hours * HOUR_MS)


def next_timeout_ms(positions: Iterable[Position], config: Config) -> int | None:
    """Return when the next timeout is due; None without positions."""
    return min((timeout_at_ms(position, config) for position in positions), default=None)


def due_timeouts(
    positions: Iterable[Position], config: Config, now_ms: int, exiting: Collection[str] = (), attempt: int = 0
) -> tuple[OrderIntent, ...]:
    """Return the closing orders of positions that are too old, except of symbols in `exiting` (one is under way).

    The decision id comes from the position's opening, so that a restart derives the same order.
    """
    return tuple(
        exit_intent(position, TIMEOUT, now_ms, timer_decision_id(position, TIMEOUT), attempt)
        for position in positions
        if position.symbol not in exiting and now_ms >= timeout_at_ms(position, config)
    )


def timer_decision_id(position: Position, reason: str) -> str:
    """Return the id of a decision that no candle made: strategy:symbol:reason:opening time."""
    return f"{position.strategy}:{position.symbol}:{reason}:{position.opened_ms}"
