"""One order of ours while it is worked at the venue: what we hold true of it, and what the venue has said."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from perp_bot.core.types import Order


@dataclass(slots=True)
class Working:
    """An order under way. The venue's word may be ahead of the fills that we have booked."""

    order: Order
    oid: int | None = None
    command: int | None = None  # the number of the action that placed it, until that is answered
    venue_filled: Decimal | None = None  # the venue's count; more than `order.filled` means that fills are missing
    ended: str | None = None  # the venue's last word; the order ends once its fills are booked
    is_refused: bool = False  # that word was a refusal
    cancel_note: str | None = None  # a cancel is wanted, for this reason
    cancel_command: int | None = None
    then_takes: bool = False  # what the cancel leaves unfilled is taken at once
    asked_again_at_s: float | None = None  # when to ask for it again, or for its fills (monotonic)
    asks: int = 0

    @property
    def cloid(self) -> str:
        """Its client order id."""
        return self.order.intent.cloid

    @property
    def misses_fills(self) -> bool:
        """Whether the venue has filled more than is booked."""
        return self.venue_filled is not None and self.order.filled < self.venue_filled


@dataclass(slots=True)
class Chase:
    """A position that must be closed, until it is: closing orders follow one another."""

    reason: str
    decision_id: str
    attempt: int = 0
    next_at_s: float = 0.0  # monotonic
    orders: list[str] = field(default_factory=list)
