"""The executor protocol: order commands in, order events out. Paper and live differ behind it, nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perp_bot.core.types import Fill, Order, OrderIntent


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """An order changed state; `order` is the new value."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """An order filled, wholly or in part; `order` is the value after the fill."""

    order: Order
    fill: Fill


OrderEvent = OrderUpdate | OrderFilled


class Executor(Protocol):
    """Where orders go. Called by the loop only; never blocks. Answers come as events."""

    def submit(self, intent: OrderIntent, now_ms: int) -> None:
        """Send an order whose intent is already on disk."""

    def cancel(self, cloid: str, now_ms: int, note: str) -> None:
        """Ask for a cancel."""

    def move_stop(self, symbol: str, stop_px: float, now_ms: int) -> bool:
        """Move the resting stop of a position; return whether it moved."""

    def drain(self) -> list[OrderEvent]:
        """Return and clear the events since the last call, in order."""
