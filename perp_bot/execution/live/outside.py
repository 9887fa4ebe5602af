"""Fills that no order of ours made: the owner's own trade, a liquidation, an auto-deleveraging, a position found."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

from perp_bot.core.types import Liquidity, Order, OrderIntent, OrderRole, OrderState, OrderType, Position
from perp_bot.core.venue_account import VenueFill, VenuePosition
from perp_bot.execution import orders
from perp_bot.execution.account import CAPITAL_STOP, LIQUIDATION
from perp_bot.execution.fills import MONEY_QUANTUM
from perp_bot.execution.live.identities import DIRECT, SOURCE

OUTSIDE = "outside"  # the strategy of a position that perpbot did not open
AUTO_DELEVERAGING = "auto_deleveraging"
DIRECTLY = "closed_without_daemon"  # by perpbot kill, reconcile or the watchdog
MARGIN_TOKEN = "USDC"  # noqa: S105 - the coin that fees are paid in
OPENED = "opened"  # ends the id of the part of a fill that opened the other side
PREFIX = "venue:"  # of the client order id that stands for another's order in the books


def found_fill(held: VenuePosition, at_ms: int) -> VenueFill | None:
    """Return the fill that stands for a position the account was found with; None without an entry price."""
    if held.entry_px is None:
        return None
    return VenueFill(
        symbol=held.symbol,
        side=held.side.opening,
        px=held.entry_px,
        size=abs(held.signed_size),
        fee_usd=Decimal(0),
        closed_pnl_usd=Decimal(0),
        at_ms=at_ms,
        oid=0,
        cloid=None,
        tid=0,
        liquidity=Liquidity.TAKER,
        signed_before=Decimal(0),
        direction="found at the start",
        fee_token=MARGIN_TOKEN,
        is_liquidation=False,
        builder_fee_usd=None,
    )


def split_fill(fill: VenueFill, closing_size: Decimal) -> tuple[VenueFill, VenueFill]:
    """Return the part of a fill that closes `closing_size`, and the part that opens the other side; its fee by size."""
    opening_size = fill.size - closing_size
    fee = (fill.fee_usd * opening_size / fill.size).quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)
    closing = replace(fill, size=closing_size, fee_usd=fill.fee_usd - fee)
    return closing, replace(fill, size=opening_size, fee_usd=fee)


def outside_cloid(fill: VenueFill) -> str:
    """Return the client order id that stands for the order behind a fill."""
    return f"{PREFIX}{fill.oid}" if fill.oid else f"{PREFIX}found:{fill.symbol}"


def outside_order(fill: VenueFill, position: Position | None, before: Order | None, strategy: str) -> Order:
    """Return the order that stands for another's, as large as its fills.

    A closing one belongs to the position's strategy. `before` is what stood for it until this fill; `strategy` names
    whose position an opening one makes.
    """
    reduces = position is not None and fill.side is position.side.closing
    intent = OrderIntent(
        cloid=outside_cloid(fill),
        decision_id=f"{OUTSIDE}:{fill.symbol}:{fill.oid}",
        symbol=fill.symbol,
        side=fill.side,
        role=OrderRole.EXIT if reduces else OrderRole.ENTRY,
        order_type=OrderType.TAKER,
        size=fill.size if before is None else fill.size + before.intent.size,
        limit_px=None,
        trigger_px=None,
        reduce_only=False,
        created_ms=fill.at_ms,
        expires_ms=None,
        strategy=position.strategy if reduces and position is not None else strategy,
        source=SOURCE,
        reason=outside_reason(fill),
    )
    return orders.new_order(intent) if before is None else replace(before, intent=intent, state=OrderState.OPEN)


def is_direct(fill: VenueFill) -> bool:
    """Whether perpbot itself made it, without its daemon: kill, reconcile or the watchdog."""
    return fill.cloid is not None and fill.cloid.startswith(tuple(DIRECT.values()))


def outside_reason(fill: VenueFill) -> str:
    """Return why a fill happened that we did not order."""
    if fill.is_liquidation:
        return LIQUIDATION
    if is_direct(fill):
        return CAPITAL_STOP if str(fill.cloid).startswith(DIRECT[OrderRole.STOP]) else DIRECTLY
    return AUTO_DELEVERAGING if "auto-deleverag" in fill.direction.lower() else OUTSIDE
