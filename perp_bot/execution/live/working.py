"""One order of ours while it is worked at the venue: what we hold true of it, and what the venue has said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from perp_bot.core.types import Order, OrderRole, OrderState

ASK_AGAIN_S, ASK_AGAIN_MAX_S = 1.0, 10.0


@dataclass(slots=True)
class Working:
    """An order under way. The venue's word may be ahead of the fills that we have booked."""

    order: Order
    oid: int | None = None
    command: int | None = None  # the number of the action that placed it, until that is answered
    is_settling: bool = False  # the venue thread finds out what became of it
    venue_filled: Decimal | None = None  # the venue's count; more than `order.filled` means that fills are missing
    fill_reads: int = 0  # answered while fills were missing
    rests: Decimal | None = None  # of a reduce-only order: the least that was left of it, when that was seen
    ended: str | None = None  # the venue's last word; the order ends once its fills are booked
    cancel_note: str | None = None  # a cancel is wanted, for this reason
    cancel_command: int | None = None
    then_takes: bool = False  # what the cancel leaves unfilled is taken at once
    look_again_at_s: float | None = None  # monotonic: what was promised by then has not been told
    asks: int = 0
    asked_ms: int | None = None  # the venue's time of the oldest question about it that is not answered

    @property
    def cloid(self) -> str:
        """Its client order id."""
        return self.order.intent.cloid

    @property
    def misses_fills(self) -> bool:
        """Whether the venue has filled more than is booked."""
        return self.venue_filled is not None and self.order.filled < self.venue_filled

    @property
    def is_at_venue(self) -> bool:
        """Whether the venue has it, as far as we know."""
        return self.ended is None and self.order.state in (OrderState.OPEN, OrderState.PARTLY_FILLED)

    @property
    def is_moving(self) -> bool:
        """Whether the venue may have done something with it that we have not booked."""
        waits = self.command is not None or self.cancel_command is not None or self.misses_fills
        return waits or self.order.state is OrderState.UNKNOWN

    @property
    def is_leaving_entry(self) -> bool:
        """Whether it is an entry that is being cancelled, and may fill until it is."""
        return self.cancel_note is not None and self.order.intent.role is OrderRole.ENTRY

    @property
    def as_rests(self) -> Order:
        """The order as large as it rests at the venue, which shrinks reduce-only ones with the position."""
        order = self.order
        if self.rests is None or self.rests >= order.remaining:
            return order
        return replace(order, intent=replace(order.intent, size=order.filled + self.rests))

    def shrink(self, left: Decimal) -> None:
        """Note that no more than `left` rests of it; it never grows again."""
        if self.order.intent.reduce_only:
            self.rests = left if self.rests is None else min(self.rests, left)

    def patience_s(self) -> float:
        """Return how long to wait before asking once more; longer each time."""
        self.asks += 1
        return min(ASK_AGAIN_MAX_S, float(ASK_AGAIN_S * 2 ** min(self.asks - 1, 5)))
