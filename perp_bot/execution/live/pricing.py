"""An intent as the venue's order: its price on the grid, its bound, its kind."""

from __future__ import annotations

from decimal import Decimal

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import Rounding, quantize_price, to_decimal
from perp_bot.core.types import AssetContext, Book, Instrument, OrderIntent, OrderRole, OrderSide, OrderType
from perp_bot.execution.fills import stop_limit_px
from perp_bot.execution.live.wire import Tif, Trigger, TriggerKind, VenueOrder

# How far beyond the best price a closing order may take, by its attempt: an exit must come through, at a bound.
EXIT_BOUNDS = (Decimal("0.01"), Decimal("0.03"), Decimal("0.08"))


def venue_order(
    intent: OrderIntent,
    instrument: Instrument,
    book: Book | None,
    context: AssetContext | None,
    bound: Decimal,
) -> VenueOrder:
    """Return the order that carries out an intent; a taker takes at most `bound` (a share) beyond the best price.

    Raises:
        OrderRuleError: when there is no price to bound a taker by, or one is off what the venue knows.
    """
    digits = instrument.sz_decimals
    execution: Tif | Trigger
    if intent.role is OrderRole.STOP:
        assert intent.trigger_px is not None
        # The bound is rounded away from the trigger: a stop that cannot take its worst price is none.
        away = Rounding.DOWN if intent.side is OrderSide.SELL else Rounding.UP
        px = quantize_price(stop_limit_px(intent.side, intent.trigger_px), digits, away)
        execution = Trigger(intent.trigger_px, TriggerKind.STOP_LOSS)
    elif intent.order_type is OrderType.LIMIT:
        assert intent.limit_px is not None
        px, execution = intent.limit_px, Tif.GTC
    else:
        px, execution = intent.limit_px or taker_px(intent.side, digits, book, context, bound), Tif.IOC
    return VenueOrder(instrument.asset_id, intent.side, px, intent.size, execution, intent.reduce_only, intent.cloid)


def taker_px(
    side: OrderSide, sz_decimals: int, book: Book | None, context: AssetContext | None, bound: Decimal
) -> Decimal:
    """Return the worst price that a taker may take: `bound` beyond the best price, else beyond the mark.

    Rounded to the cautious side, so that the bound holds.

    Raises:
        OrderRuleError: when neither is known.
    """
    levels = () if book is None else (book.asks if side is OrderSide.BUY else book.bids)
    if levels:
        best = to_decimal(levels[0].px)
    elif context is not None:
        best = to_decimal(context.mark_px)
    else:
        raise OrderRuleError("no book and no mark: there is no price to bound a taker by")
    rounding = Rounding.DOWN if side is OrderSide.BUY else Rounding.UP
    return quantize_price(best * (1 + bound * side.sign), sz_decimals, rounding)
