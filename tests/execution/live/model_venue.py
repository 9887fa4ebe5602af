"""A venue in memory for the live executor's tests: one account, one coin, the truth about orders, fills and position.

It matches nothing by itself: what trades is what the test says. Its rules are those of `shared/venue_protocols.md`
section 3: reduce-only shrinks and never flips, an immediate order's rest is gone, stops fire on mark, an order may be
placed once under a client order id. What it tells by stream is collected; the test chooses what arrives, and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perp_bot.core.account_events import EntryAnswer, EntryOutcome, FillsReported, OrdersReported
from perp_bot.core.types import Liquidity, OrderSide
from perp_bot.core.venue_account import (
    OrderReport,
    RestingOrder,
    VenueAccount,
    VenueFill,
    VenueFunding,
    VenuePosition,
)
from perp_bot.execution.live.rejections import STATUSES, Reason

SYMBOL = "BTC"
ZERO = Decimal(0)
_STATUS_OF = {reason: status for status, reason in STATUSES.items()}
StreamItem = OrdersReported | FillsReported


@dataclass(slots=True)
class ModelOrder:
    """An order as the venue has it; `status` is the venue's word."""

    oid: int
    cloid: str
    side: OrderSide
    px: Decimal
    size: Decimal
    left: Decimal
    reduce_only: bool
    trigger_px: Decimal | None
    is_ioc: bool
    placed_ms: int
    status: str = "open"
    filled: Decimal = ZERO
    has_rested: bool = False
    is_withdrawn: bool = False  # cancelled by request

    @property
    def is_open(self) -> bool:
        return self.status == "open"

    def report(self, at_ms: int) -> OrderReport:
        return OrderReport(self.oid, self.cloid or None, SYMBOL, self.status, self.left, self.size, at_ms)


@dataclass(slots=True)
class ModelVenue:
    """The truth. `depth` is what an order that takes finds at `touch` px away; `mark` fires stops."""

    now_ms: int
    mark: Decimal = Decimal(100)
    depth: Decimal = Decimal(1_000)
    leverage: int = 3
    keeps_size: bool = False  # an immediate order that shrinks keeps its size, too (not captured)
    orders: dict[str, ModelOrder] = field(default_factory=dict)
    position: Decimal = ZERO
    entry_px: Decimal = ZERO
    fills: list[VenueFill] = field(default_factory=list)
    funding: list[VenueFunding] = field(default_factory=list)
    stream: list[StreamItem] = field(default_factory=list)
    flips: set[str] = field(default_factory=set)  # orders of ours that went through zero
    _ids: int = 0

    # ------------------------------------------------------------ actions

    def place(self, wire: dict[str, Any]) -> EntryAnswer:
        """Take one order of an action as the venue would by itself."""
        side = OrderSide.BUY if wire["b"] else OrderSide.SELL
        trigger, size = wire["t"].get("trigger"), Decimal(wire["s"])
        cloid: str = wire["c"]
        assert cloid not in self.orders, f"sent twice under one client order id: {cloid}"
        self._ids += 1
        order = ModelOrder(
            self._ids,
            cloid,
            side,
            Decimal(wire["p"]),
            size,
            size,
            wire["r"],
            None if trigger is None else Decimal(trigger["triggerPx"]),
            trigger is None and wire["t"]["limit"]["tif"] == "Ioc",
            self.now_ms,
        )
        self.orders[cloid] = order
        reason = self._refusal(order)
        if reason is not None:
            return self._refuse(order, reason)
        if order.reduce_only and order.left > abs(self.position):
            order.left = abs(self.position)  # the size it came with stays what the venue tells of it
            if order.is_ioc and not self.keeps_size:
                order.size = order.left
        if order.trigger_px is not None:
            return self._rests(order)
        takes = self.depth if self._crosses(order) else ZERO
        taken = min(order.left, takes)
        if taken > 0:
            self.depth -= taken
            self._trade(order, taken, self.mark, Liquidity.TAKER)
        if order.is_ioc and order.is_open:
            if taken == 0:
                return self._refuse(order, Reason.NO_MATCH)
            self._end(order, "canceled")
        if taken > 0 and (order.is_ioc or not order.is_open):
            return EntryAnswer(cloid, EntryOutcome.FILLED, order.oid, taken, self.mark)
        return self._rests(order)

    def refuse(self, wire: dict[str, Any], reason: Reason) -> EntryAnswer:
        """Refuse one order of an action for a reason of the test's."""
        before = self.depth
        self._ids += 1
        side = OrderSide.BUY if wire["b"] else OrderSide.SELL
        size = Decimal(wire["s"])
        assert wire["c"] not in self.orders, f"sent twice under one client order id: {wire['c']}"
        order = ModelOrder(
            self._ids, wire["c"], side, Decimal(wire["p"]), size, size, wire["r"], None, False, self.now_ms
        )
        self.depth = before
        if reason in _STATUS_OF:
            self.orders[order.cloid] = order
            return self._refuse(order, reason)
        self.orders[order.cloid] = order
        order.status = "unrecorded"  # refused before anything was looked at: no record of it
        return EntryAnswer(order.cloid, EntryOutcome.REFUSED, reason=reason.value, text=reason.value)

    def cancel(self, cloid: str) -> EntryAnswer:
        """Cancel an order by its client order id."""
        order = self.orders.get(cloid)
        if order is None or not order.is_open:
            return EntryAnswer(None, EntryOutcome.REFUSED, reason=Reason.GONE.value, text="never placed, or gone")
        order.is_withdrawn = True
        self._end(order, "canceled")
        return EntryAnswer(None, EntryOutcome.DONE)

    # ------------------------------------------------------------ what happens by itself

    def match(self, cloid: str, size: Decimal) -> None:
        """Let somebody trade against a resting order."""
        order = self.orders[cloid]
        if order.is_open and order.trigger_px is None:
            self._trade(order, min(size, order.left), order.px, Liquidity.MAKER)

    def set_mark(self, mark: Decimal) -> None:
        """Move the mark; stops that it reaches fire and take what there is."""
        self.mark = mark
        for order in list(self.orders.values()):
            if order.is_open and order.trigger_px is not None and self._is_beyond(order):
                order.status = "triggered"
                self._tell(order)
                order.status = "open"
                taken = min(order.left, self.depth)
                if taken > 0:
                    self._trade(order, taken, mark, Liquidity.TAKER)
                if order.is_open:
                    self._end(order, "canceled")

    def end(self, cloid: str, status: str) -> None:
        """End an order by the venue's own rule."""
        self._end(self.orders[cloid], status)

    def outside(
        self,
        side: OrderSide,
        size: str,
        px: str = "100",
        *,
        direction: str = "",
        liq: bool = False,
        fee: str = "0",
        oid: int | None = None,
    ) -> None:
        """Let the owner, or the venue, trade on the account."""
        self._ids += 1
        wanted = Decimal(size)
        number = self._ids if oid is None else oid
        order = ModelOrder(number, "", side, Decimal(px), wanted, wanted, False, None, True, self.now_ms)
        self._trade(order, wanted, Decimal(px), Liquidity.TAKER, direction=direction, is_liquidation=liq, fee=fee)

    def rest_foreign(self, side: OrderSide, size: str, px: str) -> ModelOrder:
        """Let the owner rest an order of his own."""
        self._ids += 1
        wanted = Decimal(size)
        order = ModelOrder(self._ids, "", side, Decimal(px), wanted, wanted, False, None, False, self.now_ms)
        self.orders[f"foreign:{order.oid}"] = order
        return order

    # ------------------------------------------------------------ reads

    def report_of(self, cloid: str) -> OrderReport | None:
        """Answer orderStatus."""
        order = self.orders.get(cloid)
        return None if order is None or order.status == "unrecorded" else order.report(self.now_ms)

    def open_orders(self) -> tuple[RestingOrder, ...]:
        """Answer frontendOpenOrders."""
        return tuple(
            RestingOrder(
                order.oid,
                order.cloid or None,
                SYMBOL,
                order.side,
                order.px,
                order.left,
                order.size,
                order.reduce_only,
                order.trigger_px,
                order.trigger_px is not None,
                order.placed_ms,
            )
            for order in self.orders.values()
            if order.is_open
        )

    def account(self) -> VenueAccount:
        """Answer clearinghouseState."""
        held: tuple[VenuePosition, ...] = ()
        if self.position != 0:
            held = (VenuePosition(SYMBOL, self.position, self.entry_px, ZERO, None, self.leverage, True),)
        return VenueAccount(self.now_ms, Decimal(1_000), Decimal(1_000), Decimal(1_000), held)

    def fills_since(self, since_ms: int) -> tuple[VenueFill, ...]:
        """Answer userFillsByTime."""
        return tuple(fill for fill in self.fills if fill.at_ms >= since_ms)

    # ------------------------------------------------------------ inside

    def _refusal(self, order: ModelOrder) -> Reason | None:
        if order.reduce_only and (self.position == 0 or (self.position > 0) == (order.side is OrderSide.BUY)):
            return Reason.REDUCE_ONLY
        if order.trigger_px is not None:
            return Reason.TRIGGER_PX if self._is_beyond(order) else None
        is_whole = order.reduce_only and order.size >= abs(self.position)
        return Reason.MINIMUM if order.size * order.px < 10 and not is_whole else None

    def _is_beyond(self, order: ModelOrder) -> bool:
        assert order.trigger_px is not None
        return self.mark <= order.trigger_px if order.side is OrderSide.SELL else self.mark >= order.trigger_px

    def _crosses(self, order: ModelOrder) -> bool:
        return order.px >= self.mark if order.side is OrderSide.BUY else order.px <= self.mark

    def _rests(self, order: ModelOrder) -> EntryAnswer:
        order.has_rested = True
        self._tell(order)
        return EntryAnswer(order.cloid, EntryOutcome.RESTING, order.oid)

    def _refuse(self, order: ModelOrder, reason: Reason) -> EntryAnswer:
        order.status = _STATUS_OF[reason]
        if reason is Reason.MINIMUM:
            order.status = "minTradeNtlRejected"
        self._tell(order)
        return EntryAnswer(order.cloid, EntryOutcome.REFUSED, reason=reason.value, text=reason.value)

    def _end(self, order: ModelOrder, status: str) -> None:
        order.status = status
        self._tell(order)

    def _tell(self, order: ModelOrder) -> None:
        self.stream.append(OrdersReported((order.report(self.now_ms),)))

    def _trade(
        self,
        order: ModelOrder,
        size: Decimal,
        px: Decimal,
        liquidity: Liquidity,
        *,
        direction: str = "",
        is_liquidation: bool = False,
        fee: str = "0",
    ) -> None:
        before = self.position
        signed = size * order.side.sign
        after = before + signed
        if before * after < 0 and order.cloid:
            self.flips.add(order.cloid)
        if before * signed >= 0:
            self.entry_px = (abs(before) * self.entry_px + size * px) / (abs(before) + size)
        elif before * after < 0:
            self.entry_px = px
        self.position = after
        self._ids += 1
        fill = VenueFill(
            SYMBOL,
            order.side,
            px,
            size,
            Decimal(fee),
            ZERO,
            self.now_ms,
            order.oid,
            order.cloid or None,
            self._ids,
            liquidity,
            before,
            direction,
            "USDC",
            is_liquidation,
            None,
        )
        self.fills.append(fill)
        self.stream.append(FillsReported((fill,)))
        order.filled += size
        order.left -= size
        if order.left == 0:
            order.status = "filled"
        if order.cloid:
            self._tell(order)
        self._fit()

    def _fit(self) -> None:
        """Shrink reduce-only orders to the position; end those with nothing to reduce."""
        for order in list(self.orders.values()):
            if not order.reduce_only or not order.is_open:
                continue
            if self.position == 0 or (self.position > 0) == (order.side is OrderSide.BUY):
                self._end(order, "reduceOnlyCanceled")
            elif order.left > abs(self.position):
                order.left = abs(self.position)
