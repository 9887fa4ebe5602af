"""Our live books as the last daemon stored them, read by who is none: what it held, what it had sent."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perp_bot.core.types import Order, OrderRole, OrderState, Position
from perp_bot.core.venue_account import VenueFill
from perp_bot.data.account_reads import FILLS_BEFORE_MS
from perp_bot.data.db.reader import Reader
from perp_bot.execution.live.identities import SOURCE

BASELINE = "baseline_ms:live"  # stored: the account as it was found belongs to nobody's trading here
_MAY_COME = (OrderState.INTENT, OrderState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Books:
    """Positions, orders that can still fill, and until when the venue's fills are booked (None: never traded).

    What was at `baseline_ms` or before belongs to the account as it was found.
    """

    positions: tuple[Position, ...] = ()
    orders: tuple[Order, ...] = ()
    booked_until_ms: int | None = None
    baseline_ms: int = 0
    fill_ids: frozenset[str] = frozenset()  # of the newest fills

    def position(self, symbol: str) -> Position | None:
        """Return the position of a coin."""
        return next((p for p in self.positions if p.symbol == symbol), None)

    @property
    def resting(self) -> tuple[Order, ...]:
        """Orders that the venue has acknowledged."""
        return tuple(o for o in self.orders if o.state not in _MAY_COME)

    def entries_under_way(self, now_ms: int, valid_ms: int) -> tuple[Order, ...]:
        """Return entries that were not answered and that the venue may still take: their validity is not over."""
        return tuple(
            order
            for order in self.orders
            if order.state in _MAY_COME
            and order.intent.role is OrderRole.ENTRY
            and now_ms <= order.intent.created_ms + valid_ms
        )

    def unbooked(self, fills: tuple[VenueFill, ...]) -> tuple[VenueFill, ...]:
        """Return the fills that the next start books."""
        since_ms = max(self.baseline_ms, (self.booked_until_ms or 0) - FILLS_BEFORE_MS)
        return tuple(f for f in fills if f.fill_id not in self.fill_ids and f.at_ms > since_ms)


def stored_books(db: Path) -> Books:
    """Read the books; empty ones where there is no database yet. StoreError when they cannot be read."""
    if not db.exists():
        return Books()
    with Reader(db) as reader:
        baseline = reader.state(BASELINE)
        if baseline is None:
            return Books()
        newest = reader.fills(SOURCE, limit=1)
        until_ms = max(int(baseline), newest[0].venue_ms if newest else 0)
        since_ms = max(int(baseline), until_ms - 2 * FILLS_BEFORE_MS)
        return Books(
            tuple(reader.positions(SOURCE)),
            tuple(reader.live_orders(SOURCE)),
            until_ms,
            int(baseline),
            frozenset(fill.fill_id for fill in reader.fills(SOURCE, since_ms=since_ms)),
        )
