"""Subscriptions and the frames each of them gets for a stretch of venue time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, TIMEFRAMES, close_of, open_of
from perp_bot.practice.market import candles
from perp_bot.practice.market.context import ORACLE_STEP_S
from perp_bot.practice.server import shapes, user_streams
from perp_bot.practice.server.subscription import (
    FatalSubscription,
    Subscription,
    UnknownSubscription,
    frame,
    subscription,
)
from perp_bot.practice.server.venue import Venue

FAST_DEPTH = 5
FIRST_TRADES = 30
CLOCK = "practiceClock"
_COIN_KINDS = frozenset({"l2Book", "bbo", "trades", "candle", "activeAssetCtx"})


def parse(request: object, venue: Venue) -> Subscription:
    """Return the subscription a client asks for, its defaults filled in."""
    if not isinstance(request, Mapping) or not isinstance(request.get("type"), str):
        raise UnknownSubscription
    kind: str = request["type"]
    if kind == CLOCK:
        return subscription({"type": kind})
    if kind == "allMids":
        if request.get("dex"):
            raise FatalSubscription
        return subscription({"type": kind, "dex": None})
    if kind in user_streams.KINDS:
        return user_streams.parse(request, venue)
    coin = request.get("coin")
    if kind not in _COIN_KINDS or not isinstance(coin, str):
        raise UnknownSubscription
    if not venue.market.knows(coin):
        raise FatalSubscription
    if kind == "candle":
        if request.get("interval") not in TIMEFRAMES:
            raise UnknownSubscription
        interval: str = request["interval"]
        return subscription({"type": kind, "coin": coin, "interval": interval}, coin=coin, interval=interval)
    if kind == "l2Book":
        return _book(request, coin)
    return subscription({"type": kind, "coin": coin}, coin=coin)


def _book(request: Mapping[str, Any], coin: str) -> Subscription:
    figures, mantissa, fast = request.get("nSigFigs"), request.get("mantissa"), request.get("fast")
    if isinstance(figures, bool) or not isinstance(figures, int | None) or not isinstance(mantissa, int | None):
        raise UnknownSubscription
    if not isinstance(fast, bool | None):
        raise UnknownSubscription
    if figures not in (None, 2, 3, 4, 5) or (mantissa is not None and (figures != 5 or mantissa not in (2, 5))):
        raise FatalSubscription
    echo = {"type": "l2Book", "coin": coin, "nSigFigs": figures, "mantissa": mantissa, "fast": bool(fast)}
    return subscription(echo, coin=coin, sig_figs=figures, mantissa=mantissa, fast=bool(fast))


def first_frames(venue: Venue, sub: Subscription, at_ms: int) -> Iterator[str]:
    """Yield what a new subscription gets at once: trades from before it, or the state of the moment."""
    if sub.kind == "trades":
        rows = shapes.trades(venue.market, sub.coin, at_ms - HOUR_MS, at_ms, FIRST_TRADES)
        if rows:
            yield frame("trades", rows)
    elif sub.kind == "candle":
        yield from running_candle(venue, sub, at_ms)
    elif sub.user:
        yield from user_streams.first_frames(venue, sub, at_ms)
    else:
        yield from state(venue, sub, at_ms)


def state(venue: Venue, sub: Subscription, at_ms: int) -> Iterator[str]:
    """Yield the frame of a stream that tells a state: book, best prices, context, mids."""
    market = venue.market
    told_ms = at_ms + venue.faults.skew_ms()
    if sub.kind == "l2Book":
        depth = FAST_DEPTH if sub.fast else 20
        yield frame("l2Book", shapes.l2_book(market, sub.coin, at_ms, told_ms, sub.sig_figs, sub.mantissa, depth))
    elif sub.kind == "bbo":
        yield frame("bbo", shapes.bbo(market, sub.coin, at_ms, told_ms))
    elif sub.kind == "activeAssetCtx":
        coin = next(spec for spec in market.specs if spec.name == sub.coin)
        yield frame("activeAssetCtx", {"coin": sub.coin, "ctx": shapes.asset_ctx(market, coin, at_ms), "time": at_ms})
    elif sub.kind == "allMids":
        yield frame("allMids", {"mids": shapes.all_mids(market, at_ms)})


def new_trades(venue: Venue, sub: Subscription, from_ms: int, until_ms: int) -> Iterator[str]:
    """Yield the trades of [from, until) in one frame."""
    rows = shapes.trades(venue.market, sub.coin, from_ms, until_ms)
    if rows:
        yield frame("trades", rows)


def closed_candles(venue: Venue, sub: Subscription, from_ms: int, until_ms: int) -> Iterator[str]:
    """Yield the final frame of every candle that closes in (from, until], oldest first."""
    market = venue.market.live(sub.coin, from_ms)
    if market is None:
        return
    open_ms = open_of(sub.interval, from_ms)
    while (close_ms := close_of(sub.interval, open_ms)) <= until_ms:
        if close_ms > from_ms and venue.market.live(sub.coin, close_ms) is not None:
            row = candles.candle(market, sub.interval, open_ms, close_ms)
            if row is not None:
                yield frame("candle", shapes.candle(market.coin, sub.interval, open_ms, row))
        open_ms = close_ms


def running_candle(venue: Venue, sub: Subscription, at_ms: int) -> Iterator[str]:
    """Yield the open candle as it stands; nothing while it has no trade."""
    market = venue.market.live(sub.coin, at_ms)
    if market is None:
        return
    open_ms = open_of(sub.interval, at_ms)
    row = candles.candle(market, sub.interval, open_ms, at_ms)
    if row is not None:
        yield frame("candle", shapes.candle(market.coin, sub.interval, open_ms, row))


def clock(venue: Venue, at_ms: int, step: int) -> str:
    """Return a frame of the practice clock."""
    return frame(CLOCK, {"time": at_ms, "speed": venue.settings.speed, "step": step})


def context_times(venue: Venue, coin: str, from_ms: int, until_ms: int) -> list[int]:
    """Return four moments of (from, until] for contexts: the mark's extremes, the middle and the end, in time order."""
    market = venue.market.live(coin, until_ms)
    if market is None or until_ms - from_ms < MINUTE_MS:
        return [until_ms]
    hour, into_ms = divmod(from_ms - market.origin_ms, HOUR_MS)
    first = into_ms // 1_000 // ORACLE_STEP_S
    marks = market.context(hour).mark_px[first : first + 60 // ORACLE_STEP_S]
    step_ms = ORACLE_STEP_S * 1_000
    wanted = [
        from_ms + max(1, int(np.argmax(marks)) * step_ms),
        from_ms + max(1, int(np.argmin(marks)) * step_ms),
        until_ms,
        from_ms + MINUTE_MS // 2,
        from_ms + MINUTE_MS // 4,
        from_ms + 3 * MINUTE_MS // 4,
    ]
    times: list[int] = []
    for at_ms in wanted:
        if at_ms not in times:
            times.append(at_ms)
    return sorted(times[:4])
