"""Channels of one user: what events become, what a new subscription gets at once, and the states that are repeated.

orderUpdates and userEvents tell what happens and never what has happened; fills, fundings and ledger updates begin with
a snapshot; the rest are states, sent when they change and every few seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from perp_bot.practice.exchange.core import UserEvent
from perp_bot.practice.server import account_reads, meta, shapes
from perp_bot.practice.server.fills import by_order_and_time
from perp_bot.practice.server.subscription import (
    FatalSubscription,
    Subscription,
    UnknownSubscription,
    frame,
    subscription,
)
from perp_bot.practice.server.venue import Venue

SNAPSHOTS = {
    "userFills": "fills",
    "userFundings": "fundings",
    "userNonFundingLedgerUpdates": "nonFundingLedgerUpdates",
}
"""Channels that begin with a snapshot, and the field that holds the rows."""
STATES = frozenset({"clearinghouseState", "openOrders", "webData2", "webData3", "activeAssetData"})
KINDS = frozenset({"orderUpdates", "userEvents", "notification", *SNAPSHOTS, *STATES})
_CHANNEL_OF_KIND = {"userEvents": "user"}  # the venue's own: the channel has another name than the subscription
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_FUNDING_FIELDS = ("coin", "usdc", "szi", "fundingRate", "nSamples")


def parse(request: Mapping[str, Any], venue: Venue) -> Subscription:
    """Return the subscription to a channel of a user."""
    kind, user = request["type"], request.get("user")
    if not isinstance(user, str) or not _ADDRESS.fullmatch(user):
        raise UnknownSubscription
    user = user.lower()
    echo: dict[str, Any] = {"type": kind, "user": user}
    if kind == "userFills":
        by_time = request.get("aggregateByTime")
        if not isinstance(by_time, bool | None):
            raise UnknownSubscription
        return subscription(
            {**echo, **({"aggregateByTime": True} if by_time else {})}, user=user, by_time=bool(by_time)
        )
    if kind == "activeAssetData":
        coin = request.get("coin")
        if not isinstance(coin, str):
            raise UnknownSubscription
        if not venue.market.knows(coin):
            raise FatalSubscription
        return subscription({**echo, "coin": coin}, user=user, coin=coin)
    if kind in ("clearinghouseState", "openOrders"):
        if request.get("dex"):
            raise FatalSubscription
        return subscription({**echo, "dex": ""}, user=user)
    return subscription(echo, user=user)


def first_frames(venue: Venue, sub: Subscription, at_ms: int) -> Iterator[str]:
    """Yield what a new subscription gets at once: a snapshot of rows, a state, or nothing."""
    rows: list[Any]
    if sub.kind in STATES:
        yield from state(venue, sub, at_ms)
        return
    if sub.kind not in SNAPSHOTS:
        return
    is_account, exchange = venue.is_account(sub.user), venue.exchange
    if sub.kind == "userFills":
        rows = account_reads.fills(venue, sub.user, sub.by_time)
    elif not is_account:
        rows = []
    elif sub.kind == "userFundings":
        rows = [_funding(row) for row in exchange.user_funding(sub.user, 0, at_ms)[-account_reads.MOST_ROWS :]]
    else:
        rows = exchange.ledger_updates(sub.user, 0, at_ms)
    yield frame(sub.kind, {"isSnapshot": True, "user": sub.user, SNAPSHOTS[sub.kind]: rows})


def happened(sub: Subscription, event: UserEvent) -> str | None:
    """Return the frame that an event is for a subscription, None when it does not concern it."""
    if event.user != sub.user:
        return None
    if sub.kind == "notification":
        said = _notice(event)
        return None if said is None else frame("notification", {"notification": said})
    if event.channel != _CHANNEL_OF_KIND.get(sub.kind, sub.kind):
        return None
    if sub.kind not in SNAPSHOTS:
        return frame(event.channel, event.data)
    rows = event.data
    if sub.kind == "userFundings":
        rows = [_funding(row) for row in rows]
    elif sub.by_time:
        rows = by_order_and_time(rows)
    return frame(sub.kind, {"user": sub.user, SNAPSHOTS[sub.kind]: rows})


def state(venue: Venue, sub: Subscription, at_ms: int) -> Iterator[str]:
    """Yield the frame of a channel that tells a state."""
    user = sub.user
    if sub.kind == "clearinghouseState":
        held = account_reads.clearinghouse_state(venue, user)
        yield frame(sub.kind, {"dex": "", "user": user, "clearinghouseState": held})
    elif sub.kind == "openOrders":
        yield frame(sub.kind, {"dex": "", "user": user, "orders": account_reads.open_orders(venue, user)})
    elif sub.kind == "activeAssetData":
        yield frame(sub.kind, account_reads.active_asset_data(venue, user, sub.coin))
    elif sub.kind == "webData2":
        yield frame(sub.kind, _web_data_2(venue, user, at_ms))
    elif sub.kind == "webData3":
        yield frame(sub.kind, _web_data_3(venue, user))


def _web_data_2(venue: Venue, user: str, at_ms: int) -> dict[str, Any]:
    market = venue.market
    return {
        "clearinghouseState": account_reads.clearinghouse_state(venue, user),
        "leadingVaults": [],
        "totalVaultEquity": "0.0",
        "openOrders": account_reads.open_orders(venue, user),
        "agentAddress": None,
        "agentValidUntil": None,
        "cumLedger": _cum_ledger(venue, user, at_ms),
        "meta": meta.meta(market, at_ms),
        "assetCtxs": [shapes.asset_ctx(market, coin, at_ms) for coin in market.specs],
        "serverTime": venue.told_ms(),
        "isVault": False,
        "user": user,
        "twapStates": [],
    }


def _web_data_3(venue: Venue, user: str) -> dict[str, Any]:
    return {
        "userState": {
            "agentAddress": None,
            "agentValidUntil": None,
            "cumLedger": _cum_ledger(venue, user, venue.now_ms()),
            "serverTime": venue.told_ms(),
            "isVault": False,
            "user": user,
        },
        "perpDexStates": [{"totalVaultEquity": "0.0", "perpsAtOpenInterestCap": [], "leadingVaults": []}],
    }


def _cum_ledger(venue: Venue, user: str, at_ms: int) -> str:
    """Return what was deposited, net of what was withdrawn."""
    if not venue.is_account(user):
        return "0.0"
    moved = Decimal(0)
    for delta in (row["delta"] for row in venue.exchange.ledger_updates(user, 0, at_ms)):
        moved += Decimal(delta.get("usdc", "0")) * (-1 if delta["type"] == "withdraw" else 1)
    return f"{moved:.2f}"


def _funding(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a funding payment as the socket tells it: without the wrapping of the REST row."""
    delta = row.get("delta", row)
    return {"time": row["time"], **{name: delta.get(name) for name in _FUNDING_FIELDS}}


def _notice(event: UserEvent) -> str | None:
    if event.channel != "user" or not isinstance(event.data, Mapping) or "liquidation" not in event.data:
        return None
    return f"Liquidation: {event.data['liquidation'].get('liquidated_ntl_pos')} USD of positions"
