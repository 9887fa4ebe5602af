"""Account reads of /info; of an address without an account the exchange answers what an empty one would have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perp_bot.practice.server.fields import (
    NULL_500,
    flag_of,
    is_foreign_dex,
    oid_of,
    text_of,
    time_of,
    time_or,
    user_of,
)
from perp_bot.practice.server.fills import by_order_and_time
from perp_bot.practice.server.venue import Venue

Json = dict[str, Any]

MOST_FILLS = 2_000
MOST_ROWS = 500
_ABSTRACTIONS = {"standard": "disabled", "unified": "unifiedAccount"}

Handler = Callable[["Venue", Mapping[str, Any]], Any]


def clearinghouse_state(venue: Venue, user: str) -> Json:
    """Return balances and positions, told at the time that the venue tells."""
    return {**venue.exchange.clearinghouse_state(user, venue.now_ms()), "time": venue.told_ms()}


def open_orders(venue: Venue, user: str) -> list[Json]:
    """Return the resting orders with everything that is known of them."""
    return venue.exchange.frontend_open_orders(user)


def fills(venue: Venue, user: str, by_time: bool) -> list[Json]:
    """Return the newest fills, newest first."""
    rows = venue.exchange.user_fills(user)
    return (by_order_and_time(rows, newest_first=True) if by_time else rows)[:MOST_FILLS]


def active_asset_data(venue: Venue, user: str, coin: str) -> Json | None:
    """Return leverage and room to trade of one coin, None when there is no such coin."""
    if not venue.market.knows(coin):
        return None
    return venue.exchange.active_asset_data(user, coin)


def _clearinghouse(venue: Venue, request: Mapping[str, Any]) -> Any:
    user = user_of(request)
    return NULL_500 if is_foreign_dex(request) else clearinghouse_state(venue, user)


def _active_asset(venue: Venue, request: Mapping[str, Any]) -> Any:
    found = active_asset_data(venue, user_of(request), text_of(request, "coin"))
    return NULL_500 if found is None else found


def _order_status(venue: Venue, request: Mapping[str, Any]) -> Any:
    user, oid = user_of(request), oid_of(request)
    return venue.exchange.order_status(user, oid)


def _fills(venue: Venue, request: Mapping[str, Any]) -> Any:
    return fills(venue, user_of(request), flag_of(request, "aggregateByTime"))


def _fills_by_time(venue: Venue, request: Mapping[str, Any]) -> Any:
    user, start_ms, end_ms = _range(venue, request)
    newest_first, by_time = flag_of(request, "reversed"), flag_of(request, "aggregateByTime")
    rows = venue.exchange.user_fills_by_time(user, start_ms, end_ms, is_reversed=newest_first)
    return (by_order_and_time(rows, newest_first=newest_first) if by_time else rows)[:MOST_FILLS]


def _funding(venue: Venue, request: Mapping[str, Any]) -> Any:
    user, start_ms, end_ms = _range(venue, request)
    return venue.exchange.user_funding(user, start_ms, end_ms)[:MOST_ROWS]


def _ledger(venue: Venue, request: Mapping[str, Any]) -> Any:
    user, start_ms, end_ms = _range(venue, request)
    return venue.exchange.ledger_updates(user, start_ms, end_ms)


def _range(venue: Venue, request: Mapping[str, Any]) -> tuple[str, int, int]:
    user, start_ms = user_of(request), time_of(request, "startTime")
    return user, start_ms, time_or(request, "endTime", venue.now_ms())


def _of_anyone(value: Callable[[Venue, str], Any]) -> Handler:
    def handler(venue: Venue, request: Mapping[str, Any]) -> Any:
        return value(venue, user_of(request))

    return handler


def _abstraction(venue: Venue, user: str) -> str:
    return _ABSTRACTIONS[venue.mode_of(user)] if venue.is_account(user) else "default"


HANDLERS: dict[str, Handler] = {
    "clearinghouseState": _clearinghouse,
    "spotClearinghouseState": _of_anyone(lambda venue, user: venue.exchange.spot_clearinghouse_state(user)),
    "openOrders": _of_anyone(lambda venue, user: venue.exchange.open_orders(user)),
    "frontendOpenOrders": _of_anyone(open_orders),
    "orderStatus": _order_status,
    "historicalOrders": _of_anyone(lambda venue, user: venue.exchange.historical_orders(user)),
    "userFills": _fills,
    "userFillsByTime": _fills_by_time,
    "userFunding": _funding,
    "userNonFundingLedgerUpdates": _ledger,
    "userRateLimit": _of_anyone(lambda venue, user: venue.exchange.rate_limit(user)),
    "userFees": _of_anyone(lambda venue, user: venue.exchange.fees(user)),
    "userAbstraction": _of_anyone(_abstraction),
    "userRole": _of_anyone(lambda venue, user: venue.exchange.role(user)),
    "portfolio": _of_anyone(lambda venue, user: venue.exchange.portfolio(user)),
    "extraAgents": _of_anyone(lambda venue, user: venue.exchange.extra_agents(user)),
    "activeAssetData": _active_asset,
    "subAccounts": _of_anyone(lambda _venue, _: None),
    "userTwapSliceFills": _of_anyone(lambda _venue, _: []),
    "userVaultEquities": _of_anyone(lambda _venue, _: []),
}
"""Each call finds the exchange advanced to the venue's now."""
