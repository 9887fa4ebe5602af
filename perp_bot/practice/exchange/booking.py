"""Books a fill: what it does to the position and the cash, and the row that the venue tells of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import fees
from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import ZERO, money, money_steps, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.market.coins import COINS, INDEX

Json = dict[str, Any]


def book(
    core: Core,
    account: Account,
    coin: str,
    *,
    is_buy: bool,
    px: Decimal,
    size: Decimal,
    is_taker: bool,
    oid: int,
    cloid: str | None = None,
    tid: int,
    tx: str,
    liquidation: Json | None = None,
    is_free: bool = False,
    direction: str | None = None,
) -> Json:
    """Book one fill of an account and tell it; return the row. Cash moves by -signed size x price - fee, exactly.

    `liquidation` stands in the rows of both sides; `direction` is what `dir` says when size and side do not say it.
    """
    position = account.position(coin)
    signed = size if is_buy else -size
    before = position.szi
    taker, maker = fees.rates(account, core.now_ms)
    fee = ZERO if is_free else money_steps(px * size * (taker if is_taker else maker))
    if before == ZERO:
        position.is_cross, position.leverage = account.leverage_of(coin, COINS[INDEX[coin]].max_leverage)
        position.funding_open = ZERO
    elif before * (before + signed) < 0:
        position.funding_open = ZERO
    closed_pnl = _move(account, position, signed, px)
    account.cash_usd -= fee
    position.funding_change = ZERO
    fees.count(account, core.now_ms, px * size, is_taker=is_taker)
    row: Json = {
        "coin": coin,
        "px": text(px),
        "sz": text(size),
        "side": "B" if is_buy else "A",
        "time": core.now_ms,
        "startPosition": text(before),
        "dir": direction or _direction(before, signed),
        "closedPnl": money(closed_pnl),
        "hash": tx,
        "oid": oid,
        "crossed": is_taker,
        "fee": money(fee),
        "tid": tid,
        "feeToken": "USDC",
        "twapId": None,
    }
    if cloid is not None:
        row["cloid"] = cloid
    if liquidation is not None:
        row["liquidation"] = liquidation
    account.fills.append(row)
    core.tell(account.address, "user", {"fills": [row]})
    core.tell(account.address, "userFills", [row])
    return row


def _move(account: Account, position: Position, signed: Decimal, px: Decimal) -> Decimal:
    """Change size, entry and money by a fill; return the profit of what it closed."""
    before = position.szi
    closing = min(abs(signed), abs(before)) if before * signed < 0 else ZERO
    opening = abs(signed) - closing
    sign = Decimal(1) if before > 0 else Decimal(-1)
    closed_pnl = (px - position.entry_px) * closing * sign
    if closing:
        _close(account, position, closing, px)
    if opening:
        _open(account, position, opening if signed > 0 else -opening, px)
    return closed_pnl


def _close(account: Account, position: Position, size: Decimal, px: Decimal) -> None:
    before = abs(position.szi)
    signed = -size if position.szi > 0 else size
    if position.is_cross:
        account.cash_usd -= signed * px
    else:  # the same share of its own money goes back, with what the fill made of it
        kept = money_steps(position.raw_usd * (before - size) / before)
        account.cash_usd += position.raw_usd - signed * px - kept
        position.raw_usd = kept
    position.szi += signed
    if position.szi == ZERO:
        position.entry_px = ZERO


def _open(account: Account, position: Position, signed: Decimal, px: Decimal) -> None:
    held, more = abs(position.szi), abs(signed)
    position.entry_px = (position.entry_px * held + px * more) / (held + more)
    position.szi += signed
    if position.is_cross:
        account.cash_usd -= signed * px
        return
    own = money_steps(more * px / position.leverage)
    account.cash_usd -= own
    position.raw_usd += own - signed * px


def _direction(before: Decimal, signed: Decimal) -> str:
    after = before + signed
    if before * after < 0:
        return "Long > Short" if before > 0 else "Short > Long"
    if abs(after) > abs(before):
        return "Open Long" if after > 0 else "Open Short"
    return "Close Long" if before > 0 else "Close Short"
