"""Liquidation on the mark: market orders first, of a large position a fifth; the backstop below two thirds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import booking, lifecycle, margin, matching
from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import ZERO, text
from perp_bot.practice.exchange.core import Core
from perp_bot.practice.exchange.orders import Order
from perp_bot.practice.market.coins import COINS, INDEX

Json = dict[str, Any]

LARGE_USD = Decimal(100_000)
FIRST_SHARE = Decimal("0.2")
COOLDOWN_MS = 30_000
BACKSTOP = Decimal(2) / 3
ENDED = "liquidatedCanceled"


def check(core: Core, account: Account) -> None:
    """Liquidate what no longer has its maintenance margin at the marks of now."""
    for position in account.held():
        if not position.is_cross:
            mark = core.mark(position.coin)
            needed = margin.maintenance_usd(position.coin, abs(position.szi) * mark)
            _act(core, account, [position], margin.value_usd(position, mark), needed)
    crossed = [position for position in account.held() if position.is_cross]
    if crossed:
        value = margin.cross_value(account, core.mark)
        _act(core, account, crossed, value, margin.cross_maintenance(account, core.mark))


def force(core: Core, account: Account, coin: str) -> None:
    """Liquidate a position whatever its margin: a fault."""
    position = account.positions.get(coin)
    if position is not None and position.szi:
        _cancel_orders(core, account, position)
        _sell(core, account, position, abs(position.szi))


def _act(core: Core, account: Account, positions: list[Position], value: Decimal, needed: Decimal) -> None:
    if value >= needed:
        return
    for position in positions:
        _cancel_orders(core, account, position)
    if value < needed * BACKSTOP:
        for position in positions:
            _backstop(core, account, position)
        return
    for position in sorted(positions, key=lambda one: -abs(one.szi) * core.mark(one.coin)):
        if core.now_ms < account.cooldown_until_ms.get(position.coin, 0):
            continue
        size = abs(position.szi)
        if size * core.mark(position.coin) > LARGE_USD and position.coin not in account.cooldown_until_ms:
            decimals = COINS[INDEX[position.coin]].sz_decimals
            size = max(round(size * FIRST_SHARE, decimals), Decimal(1).scaleb(-decimals))
            account.cooldown_until_ms[position.coin] = core.now_ms + COOLDOWN_MS
        _sell(core, account, position, size)
        if margin.cross_value(account, core.mark) >= margin.cross_maintenance(account, core.mark):
            break
    for coin in [coin for coin in account.cooldown_until_ms if not account.szi(coin)]:
        del account.cooldown_until_ms[coin]


def _sell(core: Core, account: Account, position: Position, size: Decimal) -> None:
    """Close a part on the book, at whatever it gives."""
    mark = core.mark(position.coin)
    is_buy = position.szi < 0
    _tell(core, account, position, mark)
    order = Order(
        user=account.address, oid=core.next_oid(), coin=position.coin, is_buy=is_buy, px=mark, size=size, left=size,
        tif="Ioc", at_ms=core.now_ms, reduce_only=True, shown_type="Market",
    )  # fmt: skip
    limit = mark * 10 if is_buy else ZERO
    found = {"liquidatedUser": account.address, "markPx": text(mark), "method": "market"}
    matching.take(core, order, limit=limit, liquidation=found)
    lifecycle.fit_to_position(core, account, position.coin)


def _backstop(core: Core, account: Account, position: Position) -> None:
    """Let the liquidator take the whole position over at the mark, and what money is left with it."""
    mark = core.mark(position.coin)
    _tell(core, account, position, mark)
    found = {"liquidatedUser": account.address, "markPx": text(mark), "method": "backstop"}
    is_cross = position.is_cross
    booking.book(
        core, account, position.coin, is_buy=position.szi < 0, px=mark, size=abs(position.szi), is_taker=True,
        oid=core.next_oid(), tid=core.next_tid(), tx=core.next_hash(), liquidation=found, is_free=True,
    )  # fmt: skip
    lifecycle.fit_to_position(core, account, position.coin)
    if is_cross and not [one for one in account.held() if one.is_cross]:
        _take_money(core, account)


def _take_money(core: Core, account: Account) -> None:
    lost, account.cash_usd = account.cash_usd, ZERO
    account.ledger.append(
        {
            "time": core.now_ms,
            "hash": core.next_hash(),
            "delta": {"type": "liquidation", "liquidatedNtlPos": "0.0", "accountValue": text(lost)},
        }
    )


def _cancel_orders(core: Core, account: Account, position: Position) -> None:
    orders = [o for o in account.orders.values() if position.is_cross or o.coin == position.coin]
    gone = []
    for order in orders:
        if order.is_open and order.oid in account.orders:
            gone.append({"coin": order.coin, "oid": order.oid})
            lifecycle.end(core, account, order, ENDED)
    if gone:
        core.tell(account.address, "user", {"nonUserCancel": gone})


def _tell(core: Core, account: Account, position: Position, mark: Decimal) -> None:
    core.tell(
        account.address,
        "user",
        {
            "liquidation": {
                "lid": core.next_oid(),
                "liquidator": "0x" + "0" * 40,
                "liquidated_user": account.address,
                "liquidated_ntl_pos": text(round(abs(position.szi) * mark, 6)),
                "liquidated_account_value": text(round(margin.account_value(account, core.mark), 6)),
            }
        },
    )


def deleverage(core: Core, account: Account, coin: str, share: Decimal) -> None:
    """Close a share of a position at the mark, as when a trader on the other side could not be liquidated."""
    szi = account.szi(coin)
    size = round(abs(szi) * share, COINS[INDEX[coin]].sz_decimals)
    if size <= 0:
        return
    booking.book(
        core, account, coin, is_buy=szi < 0, px=core.mark(coin), size=min(size, abs(szi)), is_taker=True,
        oid=core.next_oid(), tid=core.next_tid(), tx=core.next_hash(), is_free=True,
    )  # fmt: skip
    lifecycle.fit_to_position(core, account, coin)
