"""Liquidation on the mark: market orders first, of a large position a fifth; the backstop below two thirds.

The venue's liquidations page: positions above 100k USDC send 20 % to the book; for 30 s after that, all liquidation
orders of the account are for the entire position; below 2/3 of the maintenance margin the liquidator vault takes
positions and margin over.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange import booking, lifecycle, margin, matching
from perp_bot.practice.exchange.accounts import Account, Position
from perp_bot.practice.exchange.amounts import ZERO, money, text
from perp_bot.practice.exchange.core import Core, oldest_first
from perp_bot.practice.exchange.orders import CANCELED, FILLED, Order, shown_type
from perp_bot.practice.exchange.tiers import maintenance_usd
from perp_bot.practice.market.coins import COINS, INDEX

Json = dict[str, Any]

LARGE_USD = Decimal(100_000)
FIRST_SHARE = Decimal("0.2")
COOLDOWN_MS = 30_000
BACKSTOP = Decimal(2) / 3
ENDED = "liquidatedCanceled"
DELEVERAGED = "Auto-Deleveraging"
LIQUIDATOR = "0x" + "0" * 39 + "1"


def check(core: Core, account: Account) -> None:
    """Liquidate what no longer has its maintenance margin at the marks of now."""
    for position in account.held():
        if not position.is_cross:
            _act(core, account, [position])
    crossed = [position for position in account.held() if position.is_cross]
    if crossed:
        _act(core, account, crossed)


def force(core: Core, account: Account, coin: str) -> None:
    """Liquidate a position on the book whatever its margin: a fault."""
    position = account.positions.get(coin)
    if position is not None and position.szi:
        _announce(core, account, [position])
        _end_orders(core, account, [position])
        _sell(core, account, position, abs(position.szi))


def deleverage(core: Core, account: Account, coin: str, share: Decimal) -> None:
    """Close a share of a position at the mark, as when a trader on the other side could not be liquidated."""
    szi = account.szi(coin)
    size = min(abs(szi), round(abs(szi) * share, COINS[INDEX[coin]].sz_decimals))
    if size <= 0:
        return
    booking.book(
        core, account, coin, is_buy=szi < 0, px=core.mark(coin), size=size, is_taker=False, oid=core.next_oid(),
        tid=core.next_tid(), tx=core.next_hash(), is_free=True, direction=DELEVERAGED,
    )  # fmt: skip
    lifecycle.fit_to_position(core, account, coin)


def _standing(core: Core, account: Account, positions: list[Position]) -> tuple[Decimal, Decimal]:
    """Return value and maintenance margin of the cross part, or of one isolated position."""
    if positions[0].is_cross:
        return margin.cross_value(account, core.mark), margin.cross_maintenance(account, core.mark)
    (position,) = positions
    mark = core.mark(position.coin)
    return margin.value_usd(position, mark), maintenance_usd(position.coin, abs(position.szi) * mark)


def _act(core: Core, account: Account, positions: list[Position]) -> None:
    value, needed = _standing(core, account, positions)
    if value >= needed:
        return
    _announce(core, account, positions)
    _end_orders(core, account, positions)
    if value < needed * BACKSTOP:
        _take_over(core, account, positions)
        return
    is_cooling = core.now_ms < account.cooldown_until_ms
    for position in sorted(positions, key=lambda one: -abs(one.szi) * core.mark(one.coin)):
        size = abs(position.szi)
        if size * core.mark(position.coin) > LARGE_USD and not is_cooling:
            step = Decimal(1).scaleb(-COINS[INDEX[position.coin]].sz_decimals)
            size = max((size * FIRST_SHARE).quantize(step), step)
            account.cooldown_until_ms = core.now_ms + COOLDOWN_MS
        _sell(core, account, position, size)
        value, needed = _standing(core, account, positions)
        if value >= needed:
            return


def _sell(core: Core, account: Account, position: Position, size: Decimal) -> None:
    """Close a part on the book, at whatever it gives."""
    coin, mark, is_buy = position.coin, core.mark(position.coin), position.szi < 0
    cash_before, is_cross = account.cash_usd, position.is_cross
    order = Order(
        user=account.address, oid=core.next_oid(), coin=coin, is_buy=is_buy, px=mark, size=size, left=size,
        tif="LiquidationMarket", at_ms=core.now_ms, reduce_only=True, shown_type=shown_type(None, "FrontendMarket"),
    )  # fmt: skip
    found = {"liquidatedUser": account.address, "markPx": text(mark), "method": "market"}
    matching.take(core, order, limit=None, liquidation=found)
    lifecycle.end(core, account, order, FILLED if order.left == 0 else CANCELED)
    if not is_cross and not position.szi and account.cash_usd < cash_before:
        _absorb(core, account, "Isolated", account.cash_usd - cash_before, [])
    lifecycle.fit_to_position(core, account, coin)


def _take_over(core: Core, account: Account, positions: list[Position]) -> None:
    """Let the liquidator vault have the positions, at the mark, and the money that stood behind them."""
    cash_before, is_cross = account.cash_usd, positions[0].is_cross
    taken = [(position.coin, position.szi) for position in positions]
    for coin, szi in taken:
        mark = core.mark(coin)
        found = {"liquidatedUser": account.address, "markPx": text(mark), "method": "backstop"}
        kind = "Cross" if is_cross else "Isolated"
        booking.book(
            core, account, coin, is_buy=szi < 0, px=mark, size=abs(szi), is_taker=True, oid=core.next_oid(),
            tid=core.next_tid(), tx=core.next_hash(), is_free=True, liquidation=found,
            direction=f"Liquidated {kind} {'Long' if szi > 0 else 'Short'}",
        )  # fmt: skip
        lifecycle.fit_to_position(core, account, coin)
    left = account.cash_usd if is_cross else account.cash_usd - cash_before
    _absorb(core, account, "Cross" if is_cross else "Isolated", left, taken)


def _absorb(core: Core, account: Account, kind: str, left: Decimal, taken: list[tuple[str, Decimal]]) -> None:
    """Move money that is left, or a loss beyond it, to the liquidator: cash moves by -accountValue of the row."""
    if not left:
        return
    account.cash_usd -= left
    notional = sum((abs(szi) * core.mark(coin) for coin, szi in taken), ZERO)
    row = {
        "time": core.now_ms,
        "hash": core.next_hash(),
        "delta": {
            "type": "liquidation",
            "liquidatedNtlPos": money(notional),
            "accountValue": money(left),
            "leverageType": kind,
            "liquidatedPositions": [{"coin": coin, "szi": text(szi)} for coin, szi in taken],
        },
    }
    account.ledger.append(row)
    core.tell(account.address, "userNonFundingLedgerUpdates", [row])


def _end_orders(core: Core, account: Account, positions: list[Position]) -> None:
    """End the orders of what is liquidated: an isolated position's coin, or all but the coins held isolated."""
    if positions[0].is_cross:
        isolated = {position.coin for position in account.held() if not position.is_cross}
        gone = [order for order in account.orders.values() if order.coin not in isolated]
    else:
        gone = [order for order in account.orders.values() if order.coin == positions[0].coin]
    gone = oldest_first(gone)
    for order in gone:
        if order.oid in account.orders:
            lifecycle.end(core, account, order, ENDED)
    lifecycle.tell_cancelled(core, account, gone)


def _announce(core: Core, account: Account, positions: list[Position]) -> None:
    notional = sum((abs(position.szi) * core.mark(position.coin) for position in positions), ZERO)
    value, _ = _standing(core, account, positions)
    core.tell(
        account.address,
        "user",
        {
            "liquidation": {
                "lid": core.next_oid(),
                "liquidator": LIQUIDATOR,
                "liquidated_user": account.address,
                "liquidated_ntl_pos": money(notional),
                "liquidated_account_value": money(value),
            }
        },
    )
