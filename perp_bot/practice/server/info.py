"""Answers to /info requests, over HTTP and over the socket's post."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from perp_bot.core.timeframes import FIXED_MS, HOUR_MS, TIMEFRAMES
from perp_bot.practice.market import candles
from perp_bot.practice.server import account_reads, meta, shapes
from perp_bot.practice.server.fields import NULL_500, BadRequest, is_foreign_dex, text_of, time_of, time_or
from perp_bot.practice.server.venue import Venue

FUNDING_ROWS = 500
RECENT_TRADES = 10


Handler = Callable[["Venue", Mapping[str, Any]], Any]


def request_type(request: object) -> str:
    """Return the type of a request; BadRequest when it has none that exists."""
    if not isinstance(request, Mapping) or not isinstance(request.get("type"), str):
        raise BadRequest
    kind: str = request["type"]
    if kind not in HANDLERS:
        raise BadRequest
    return kind


async def warm(venue: Venue, request: Mapping[str, Any]) -> None:
    """Generate what a long candle or funding answer needs, hour by hour, so that the sockets keep their pace."""
    kind = request["type"]
    asked = request.get("req", {}) if kind == "candleSnapshot" else request
    market = venue.market.history(str(asked.get("coin"))) if isinstance(asked, Mapping) else None
    if market is None:
        return
    if kind == "candleSnapshot":
        step_ms = FIXED_MS.get(str(asked.get("interval")), HOUR_MS)
        start, end = asked.get("startTime"), asked.get("endTime")
        if step_ms >= HOUR_MS or not isinstance(start, int) or not isinstance(end, int):
            return
        last = market.hour_of(min(end, venue.now_ms()))
        first = max(0, market.hour_of(start), last - candles.MOST_ROWS * step_ms // HOUR_MS - 1)
        make: Callable[[int], object] = market.minutes
    elif kind == "fundingHistory" and isinstance(asked.get("startTime"), int):
        last = market.hour_of(venue.now_ms())
        first = max(0, market.hour_of(asked["startTime"]) - 1)
        last = min(last, first + FUNDING_ROWS + 1)
        make = market.funding
    else:
        return
    for count, hour in enumerate(range(first, last)):
        make(hour)
        if count % 16 == 15:
            await asyncio.sleep(0)


def answer(venue: Venue, request: Mapping[str, Any]) -> Any:
    """Return the answer to a request of a known type; BadRequest when a field is missing or wrong."""
    if request["type"] in account_reads.HANDLERS:
        venue.catch_up()
    return HANDLERS[request["type"]](venue, request)


def _meta(venue: Venue, request: Mapping[str, Any]) -> Any:
    return NULL_500 if is_foreign_dex(request) else meta.meta(venue.market, venue.now_ms())


def _meta_and_ctxs(venue: Venue, request: Mapping[str, Any]) -> Any:
    if is_foreign_dex(request):
        return NULL_500
    now_ms = venue.now_ms()
    market = venue.market
    return [meta.meta(market, now_ms), [shapes.asset_ctx(market, coin, now_ms) for coin in market.specs]]


def _all_mids(venue: Venue, request: Mapping[str, Any]) -> Any:
    return NULL_500 if is_foreign_dex(request) else shapes.all_mids(venue.market, venue.now_ms())


def _l2_book(venue: Venue, request: Mapping[str, Any]) -> Any:
    coin = text_of(request, "coin")
    figures, mantissa = request.get("nSigFigs"), request.get("mantissa")
    if figures not in (None, 2, 3, 4, 5) or isinstance(figures, bool) or mantissa not in (None, 1, 2, 5):
        raise BadRequest
    if not venue.market.knows(coin):
        return None
    if mantissa is not None and (mantissa == 1 or figures != 5):
        return NULL_500
    return shapes.l2_book(venue.market, coin, venue.now_ms(), venue.told_ms(), figures, mantissa)


def _candles(venue: Venue, request: Mapping[str, Any]) -> Any:
    asked = request.get("req")
    if not isinstance(asked, Mapping):
        raise BadRequest
    name, interval = text_of(asked, "coin"), text_of(asked, "interval")
    start_ms = time_of(asked, "startTime")
    now_ms = venue.now_ms()
    end_ms = time_or(asked, "endTime", now_ms)
    if interval not in TIMEFRAMES:
        raise BadRequest
    if not venue.market.knows(name):
        return NULL_500
    market = venue.market.history(name)
    if market is None:
        return []
    since_ms = venue.market.delisted_since(name)
    until_ms = now_ms if since_ms is None else min(now_ms, since_ms)
    rows = candles.snapshot(market, interval, start_ms, end_ms, until_ms)
    out = [shapes.candle(market.coin, interval, open_ms, row) for open_ms, row in rows]
    if out and venue.faults.nan_candle(name):
        out[max(0, len(out) - 2)]["c"] = "NaN"  # the newest closed one
    return out


def _funding(venue: Venue, request: Mapping[str, Any]) -> Any:
    name = text_of(request, "coin")
    start_ms = time_of(request, "startTime")
    now_ms = venue.now_ms()
    end_ms = min(now_ms, time_or(request, "endTime", now_ms))
    if not venue.market.knows(name):
        return NULL_500
    market = venue.market.history(name)
    if market is None:
        return []
    since_ms = venue.market.delisted_since(name)
    hour = max(0, market.hour_of(start_ms) - 1)
    rows: list[shapes.Json] = []
    while len(rows) < FUNDING_ROWS and market.origin_ms + (hour + 1) * HOUR_MS <= end_ms:
        row = market.funding(hour)
        if start_ms <= row.time_ms <= end_ms and (since_ms is None or row.time_ms <= since_ms):
            rows.append(shapes.funding_row(name, row))
        hour += 1
    return rows


def _predicted(venue: Venue, _: Mapping[str, Any]) -> Any:
    now_ms = venue.now_ms()
    settled_ms = now_ms - now_ms % HOUR_MS  # the hour just settled, as the venue has it
    out = []
    for coin in venue.market.specs:
        if venue.market.is_delisted(coin, now_ms):
            continue
        ours = {
            "fundingRate": shapes.asset_ctx(venue.market, coin, now_ms)["funding"],
            "nextFundingTime": settled_ms,
            "fundingIntervalHours": 1,
        }
        out.append([coin.name, [["BinPerp", None], ["HlPerp", ours], ["BybitPerp", None]]])
    return out


def _recent_trades(venue: Venue, request: Mapping[str, Any]) -> Any:
    name = text_of(request, "coin")
    if not venue.market.knows(name):
        return NULL_500
    now_ms = venue.now_ms()
    return shapes.trades(venue.market, name, now_ms - HOUR_MS, now_ms, RECENT_TRADES)[::-1]


def _exchange_status(venue: Venue, _: Mapping[str, Any]) -> Any:
    return {"specialStatuses": None, "time": venue.told_ms(), "practice": venue.label()}


HANDLERS: dict[str, Handler] = {
    "meta": _meta,
    "metaAndAssetCtxs": _meta_and_ctxs,
    "allPerpMetas": lambda venue, _: [meta.meta(venue.market, venue.now_ms())],
    "spotMeta": lambda _venue, _: meta.spot_meta(),
    "allMids": _all_mids,
    "l2Book": _l2_book,
    "candleSnapshot": _candles,
    "fundingHistory": _funding,
    "predictedFundings": _predicted,
    "recentTrades": _recent_trades,
    "exchangeStatus": _exchange_status,
    "perpDexs": lambda _venue, _: [None],
    "perpsAtOpenInterestCap": lambda _venue, _: [],
    **account_reads.HANDLERS,
}


def row_count(reply: Any) -> int:
    """Return how many rows an answer's weight counts."""
    return len(reply) if isinstance(reply, list) else 0
