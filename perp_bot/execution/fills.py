"""The one fill model, of paper trading and of the backtest. Pure: a market input and an order in, sizes and prices out.

- **Maker**: a resting limit fills only when the market trades *through* it: a public trade at a price strictly better
  for us than the limit (below a bid, above an ask), after the order was created and not after it expired. It fills at
  its own price, at most the size of that trade. A trade at the limit itself does not fill it: others stood before us.
- **Taker**: walks the levels of one book, best first, one fill a level at that level's price. What is beyond the
  visible levels is not invented: it stays open and takes from the next, newer book.
- **Stop**: triggers when mark <= stop (long) or mark >= stop (short), marks from before the position's opening or
  the stop's last move never; then it takes from the book, not beyond 10 % from its trigger (the venue's tolerance).

One book's liquidity is offered to each order separately; two takers of one side on one book do not compete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal

from perp_bot.config.model import BacktestConfig
from perp_bot.core.rounding import to_decimal
from perp_bot.core.types import BookLevel, Liquidity, OrderSide, PublicTrade, Side

STOP_TOLERANCE = Decimal("0.1")
MONEY_QUANTUM = Decimal("1e-8")  # the venue's wire has 8 decimals; fees and funding are exact multiples of it


@dataclass(frozen=True, slots=True)
class LevelFill:
    """A size taken at one level's price."""

    px: Decimal
    size: Decimal


def trades_through(side: OrderSide, limit_px: Decimal, trade_px: float) -> bool:
    """Whether a public trade went through a resting limit: strictly better for us than our price."""
    px = to_decimal(trade_px)
    return px < limit_px if side is OrderSide.BUY else px > limit_px


def in_maker_window(created_ms: int, expires_ms: int | None, trade_ms: int) -> bool:
    """Whether a trade happened while the limit rested: created < trade <= expires."""
    return created_ms < trade_ms and (expires_ms is None or trade_ms <= expires_ms)


def tradable_size(trade: PublicTrade, sz_decimals: int) -> Decimal:
    """Return a public trade's size on our lot grid; 0 when it is no positive number."""
    if not (math.isfinite(trade.sz) and trade.sz > 0 and math.isfinite(trade.px) and trade.px > 0):
        return Decimal(0)
    return to_decimal(trade.sz).quantize(Decimal(1).scaleb(-sz_decimals), rounding=ROUND_DOWN)


def walk(
    levels: Iterable[BookLevel], side: OrderSide, size: Decimal, limit_px: Decimal | None = None
) -> tuple[LevelFill, ...]:
    """Return what `size` takes from `levels` (the other side of the book, best first), one entry a level.

    Stops at `limit_px` (the worst price allowed) and at the last level. The sum may be less than `size`.
    Worked example: asks 100 x 1, 101 x 2; buying 2 takes 1 at 100 and 1 at 101.
    """
    taken: list[LevelFill] = []
    left = size
    for level in levels:
        if left <= 0:
            break
        px, available = to_decimal(level.px), to_decimal(level.sz)
        if limit_px is not None and (px > limit_px if side is OrderSide.BUY else px < limit_px):
            break
        part = min(left, available)
        if part > 0:
            taken.append(LevelFill(px, part))
            left -= part
    return tuple(taken)


def average_px(fills: Iterable[LevelFill]) -> Decimal | None:
    """Return the size-weighted average price; None for no fills."""
    size, notional = Decimal(0), Decimal(0)
    for fill in fills:
        size += fill.size
        notional += fill.size * fill.px
    return notional / size if size else None


def stop_triggered(side: Side, stop_px: Decimal, mark_px: float) -> bool:
    """Whether `mark_px` triggers the stop of a position of `side`; touching it does, NaN never does."""
    if not math.isfinite(mark_px) or mark_px <= 0:
        return False
    mark = to_decimal(mark_px)
    return mark <= stop_px if side is Side.LONG else mark >= stop_px


def stop_limit_px(closing: OrderSide, trigger_px: Decimal) -> Decimal:
    """Return the worst price a triggered stop may take: 10 % beyond its trigger."""
    return trigger_px * (1 + STOP_TOLERANCE * closing.sign)


def fee_usd(size: Decimal, px: Decimal, liquidity: Liquidity, costs: BacktestConfig) -> Decimal:
    """Return the fee of a fill: size x px x the rate of its kind, to 1e-8 USD (half even), exact from there on."""
    rate = costs.maker_fee_rate if liquidity is Liquidity.MAKER else costs.taker_fee_rate
    return (size * px * to_decimal(rate)).quantize(MONEY_QUANTUM, rounding=ROUND_HALF_EVEN)
