"""Our account and orders in the venue's own words: what its reads and user channels say, exact, without opinion."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perp_bot.core.types import Liquidity, OrderSide, Side


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """One position as the venue has it; `signed_size` negative = short. None where the venue does not say."""

    symbol: str
    signed_size: Decimal
    entry_px: Decimal | None
    unrealized_usd: Decimal
    liquidation_px: Decimal | None
    leverage: int | None = None
    is_cross: bool | None = None

    @property
    def side(self) -> Side:
        """Its direction."""
        return Side.LONG if self.signed_size > 0 else Side.SHORT


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """An account as the venue has it; `total_raw_usd` is its cash: value less the positions' size x mark."""

    venue_ms: int
    account_value_usd: Decimal
    total_raw_usd: Decimal
    withdrawable_usd: Decimal
    positions: tuple[VenuePosition, ...]

    def signed_size(self, symbol: str) -> Decimal:
        """Return the position of a coin with its sign, 0 when flat."""
        return next((p.signed_size for p in self.positions if p.symbol == symbol), Decimal(0))


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """One open order as the venue has it; `left` is not filled yet."""

    oid: int
    cloid: str | None
    symbol: str
    side: OrderSide
    px: Decimal
    left: Decimal
    size: Decimal
    reduce_only: bool
    trigger_px: Decimal | None  # of a stop or target
    is_stop: bool  # it protects: a trigger order that fires on a loss
    placed_ms: int


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What became of one order, as orderUpdates and orderStatus say; `left` is not filled."""

    oid: int
    cloid: str | None
    symbol: str
    status: str  # the venue's word: open, filled, canceled, triggered, marginCanceled, ...
    left: Decimal
    size: Decimal
    at_ms: int

    @property
    def filled(self) -> Decimal:
        """Size filled. A full fill is told with nothing left."""
        return self.size if self.status == "filled" else self.size - self.left

    @property
    def is_open(self) -> bool:
        """Whether it can still fill: on the book, or a trigger order that waits or has just fired."""
        return self.status in ("open", "triggered")


@dataclass(frozen=True, slots=True)
class VenueFill:
    """One fill of our account. Its key is (time, coin, tid): a tid alone is not unique."""

    symbol: str
    side: OrderSide
    px: Decimal
    size: Decimal
    fee_usd: Decimal
    closed_pnl_usd: Decimal
    at_ms: int
    oid: int
    cloid: str | None
    tid: int
    liquidity: Liquidity
    signed_before: Decimal  # the position before it
    direction: str  # the venue's word: Open Long, Close Short, Long > Short, Auto-Deleveraging, ...
    fee_token: str
    is_liquidation: bool  # of ours, by the venue
    builder_fee_usd: Decimal | None

    @property
    def fill_id(self) -> str:
        """The key as one text."""
        return f"{self.at_ms}:{self.symbol}:{self.tid}"


@dataclass(frozen=True, slots=True)
class VenueFunding:
    """One hour's funding of one position as the venue booked it; `usd` positive = received."""

    symbol: str
    at_ms: int
    usd: Decimal
    signed_size: Decimal
    rate: Decimal
