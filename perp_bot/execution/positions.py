"""What a fill does to a position: pure arithmetic, shared by the books and the paper venue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from perp_bot.core.types import Fill, OrderIntent, OrderSide, Position, Side
from perp_bot.execution.fills import MONEY_QUANTUM

ZERO = Decimal(0)

# (symbol, side, average entry price, size, the strategy's own stop or None) -> the position's one stop price.
StopRule = Callable[[str, Side, Decimal, Decimal, float | None], float | None]


@dataclass(frozen=True, slots=True)
class FillEffect:
    """A position after a fill. A fill through zero both closes and opens; its fee is split by size."""

    position: Position | None
    realized_usd: Decimal  # by the closed part, before fees
    closed_size: Decimal
    opened_size: Decimal
    closing_fee_usd: Decimal
    opening_fee_usd: Decimal


def side_opened_by(side: OrderSide) -> Side:
    """Return the side of the position that an order of `side` opens."""
    return Side.LONG if side is OrderSide.BUY else Side.SHORT


def realized_by(position: Position | None, side: OrderSide, size: Decimal, px: Decimal) -> Decimal:
    """Return the PnL that a fill realises on `position`, before its fee; 0 when it opens or adds."""
    if position is None or side is position.side.opening:
        return ZERO
    return min(size, position.size) * (px - position.entry_px) * position.side.sign


def after_fill(
    position: Position | None, fill: Fill, intent: OrderIntent | None, stop_rule: StopRule | None
) -> FillEffect:
    """Return the position after `fill`.

    `intent` is the order's: it names the deciding decision, the strategy's own stop and the target. Every fill that
    opens or adds sets the stop anew by `stop_rule` from the real average price and size, but never farther away than
    the strategy has moved it; part closes leave it.
    """
    if position is not None and fill.side is position.side.closing:
        return _reduced(position, fill, intent, stop_rule)
    if position is None:
        opened = _opened(fill, fill.size, fill.fee_usd, intent, stop_rule)
    else:
        total = position.size + fill.size
        average = (position.size * position.entry_px + fill.size * fill.px) / total
        added = replace(position, size=total, entry_px=average, fees_usd=position.fees_usd + fill.fee_usd)
        opened = _moved_stop_kept(position, _stopped(added, intent, stop_rule), intent, stop_rule)
    return FillEffect(opened, ZERO, ZERO, fill.size, ZERO, fill.fee_usd)


def _reduced(position: Position, fill: Fill, intent: OrderIntent | None, stop_rule: StopRule | None) -> FillEffect:
    realized = realized_by(position, fill.side, fill.size, fill.px)
    left = position.size - fill.size
    if left > 0:
        rest = replace(
            position,
            size=left,
            fees_usd=position.fees_usd + fill.fee_usd,
            realized_usd=position.realized_usd + realized,
        )
        return FillEffect(rest, realized, fill.size, ZERO, fill.fee_usd, ZERO)
    if left == 0:
        return FillEffect(None, realized, fill.size, ZERO, fill.fee_usd, ZERO)
    opening_fee = (fill.fee_usd * -left / fill.size).quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)
    flipped = _opened(fill, -left, opening_fee, intent, stop_rule)
    return FillEffect(flipped, realized, position.size, -left, fill.fee_usd - opening_fee, opening_fee)


def _opened(
    fill: Fill, size: Decimal, fee_usd: Decimal, intent: OrderIntent | None, stop_rule: StopRule | None
) -> Position:
    position = Position(
        symbol=fill.symbol,
        side=side_opened_by(fill.side),
        size=size,
        entry_px=fill.px,
        opened_ms=fill.venue_ms,
        strategy=fill.strategy,
        source=fill.source,
        stop_px=None,
        target_px=None if intent is None else intent.target_px,
        entry_decision_id=fill.cloid if intent is None else intent.decision_id,
        fees_usd=fee_usd,
    )
    return _stopped(position, intent, stop_rule)


def _stopped(position: Position, intent: OrderIntent | None, stop_rule: StopRule | None) -> Position:
    if stop_rule is None:
        return position
    own = None if intent is None else intent.stop_px
    return replace(position, stop_px=stop_rule(position.symbol, position.side, position.entry_px, position.size, own))


def _moved_stop_kept(
    before: Position, after: Position, intent: OrderIntent | None, stop_rule: StopRule | None
) -> Position:
    """Return `after` with the stop of `before` where that one was moved (it is not the rule's) and is nearer."""
    was, now = before.stop_px, after.stop_px
    if was is None or now is None or was == _stopped(before, intent, stop_rule).stop_px:
        return after
    return replace(after, stop_px=was) if (was - now) * before.side.sign > 0 else after
