"""Closing until it is closed: closing orders of a position follow one another, each with a wider bound.

A closing order that finds no liquidity, or whose sending failed, must not leave a position that was to be closed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from perp_bot.core.types import Order, OrderIntent, OrderRole, Position
from perp_bot.execution.closing import exit_intent
from perp_bot.execution.live.identities import Identities
from perp_bot.execution.live.pricing import EXIT_BOUNDS

CHASE_FIRST_S, CHASE_MAX_S = 0.25, 5.0


@dataclass(slots=True)
class _Chase:
    """One position being closed."""

    reason: str
    decision_id: str
    ended: int = 0  # closing orders that have ended without closing it
    next_at_s: float | None = None  # monotonic
    orders: set[str] = field(default_factory=set)


class Chases:
    """The coins that are being closed."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._chases: dict[str, _Chase] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._chases

    def start(self, position: Position, reason: str, now_ms: int) -> None:
        """Begin to close a position for a reason of our own; nothing when it is being closed already."""
        decision_id = f"{position.strategy}:{position.symbol}:{reason}:{now_ms}"
        self._chases.setdefault(position.symbol, _Chase(reason, decision_id))

    def joined(self, intent: OrderIntent) -> None:
        """Note a closing order that goes out: what it leaves open is closed by others."""
        chase = self._chases.setdefault(intent.symbol, _Chase(intent.reason, intent.decision_id))
        chase.orders.add(intent.cloid)

    def bound(self, symbol: str) -> Decimal:
        """Return how far beyond the best price the next closing order may take."""
        chase = self._chases.get(symbol)
        return EXIT_BOUNDS[min(0 if chase is None else chase.ended, len(EXIT_BOUNDS) - 1)]

    def due(
        self, positions: dict[str, Position], live: Iterable[Order], leaving: Container[str], now_ms: int, now_s: float
    ) -> list[OrderIntent]:
        """Return the closing orders that have to go out now, one a coin at most; forget coins that are closed.

        `leaving`: coins with an entry that is being cancelled: what it fills until then is closed too.
        """
        working = {order.intent.cloid for order in live}
        for symbol in [s for s in self._chases if s not in positions and s not in leaving]:
            if not self._chases[symbol].orders & working:
                del self._chases[symbol]
        found = [self._next(symbol, positions.get(symbol), working, now_ms, now_s) for symbol in self._chases]
        return [intent for intent in found if intent is not None]

    def _next(
        self, symbol: str, position: Position | None, working: set[str], now_ms: int, now_s: float
    ) -> OrderIntent | None:
        chase = self._chases[symbol]
        under_way = chase.orders & working
        if position is None or under_way:
            return None
        if chase.orders:  # the last one has ended, the position has not
            chase.orders.clear()
            chase.ended += 1
            chase.next_at_s = now_s + min(CHASE_MAX_S, CHASE_FIRST_S * 2 ** min(chase.ended - 1, 5))
        if chase.next_at_s is not None and now_s < chase.next_at_s:
            return None
        attempt = self._identities.fresh(chase.decision_id, OrderRole.EXIT)
        return exit_intent(position, chase.reason, now_ms, chase.decision_id, attempt)
