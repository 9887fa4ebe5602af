"""What the venue's answers and frames look like: market numbers in, JSON-ready values out."""

from __future__ import annotations

from typing import Any

import numpy as np

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS, close_of
from perp_bot.practice.market.book import BookSide, bucket_ticks
from perp_bot.practice.market.coin_market import CoinMarket, FundingRow
from perp_bot.practice.market.coins import CoinSpec
from perp_bot.practice.market.context import hourly_rate
from perp_bot.practice.market.hours import CLOSE, COUNT, HIGH, LOW, OPEN, VOLUME
from perp_bot.practice.market.market import Market
from perp_bot.practice.market.noise import Ints
from perp_bot.practice.market.numbers import wire, wire_float

Json = dict[str, Any]

RATE_DECIMALS = 10


def candle(coin: CoinSpec, interval: str, open_ms: int, row: Ints) -> Json:
    """Return one candle."""
    decimals = coin.px_decimals
    values = row.tolist()
    return {
        "t": open_ms,
        "T": close_of(interval, open_ms) - 1,
        "s": coin.name,
        "i": interval,
        "o": wire(values[OPEN], decimals),
        "c": wire(values[CLOSE], decimals),
        "h": wire(values[HIGH], decimals),
        "l": wire(values[LOW], decimals),
        "v": wire(values[VOLUME], coin.sz_decimals),
        "n": values[COUNT],
    }


def levels(coin: CoinSpec, side: BookSide, depth: int) -> list[Json]:
    """Return one side of a book."""
    rows = zip(side.px[:depth].tolist(), side.size[:depth].tolist(), side.orders[:depth].tolist(), strict=True)
    return [{"px": wire(px, coin.px_decimals), "sz": wire(sz, coin.sz_decimals), "n": n} for px, sz, n in rows]


def l2_book(
    market: Market, name: str, at_ms: int, told_ms: int, sig_figs: int | None, mantissa: int | None, depth: int = 20
) -> Json:
    """Return a whole book; a delisted coin's is empty, an aggregated one names its spread."""
    live = market.live(name, at_ms)
    if live is None:
        return {"coin": name, "time": told_ms, "levels": [[], []]}
    bucket = None
    if sig_figs is not None:
        bid, _, tick = live.best(at_ms)
        bucket = bucket_ticks(bid * tick, tick, sig_figs, mantissa)
    shot = live.book(at_ms, bucket)
    book: Json = {
        "coin": name,
        "time": told_ms,
        "levels": [levels(live.coin, shot.bids, depth), levels(live.coin, shot.asks, depth)],
    }
    if sig_figs is not None:
        book["spread"] = wire(int(shot.asks.px[0] - shot.bids.px[0]), live.coin.px_decimals)
    return book


def bbo(market: Market, name: str, at_ms: int, told_ms: int) -> Json:
    """Return best bid and ask; null sides when delisted."""
    live = market.live(name, at_ms)
    if live is None:
        return {"coin": name, "time": told_ms, "bbo": [None, None]}
    shot = live.book(at_ms)
    return {
        "coin": name,
        "time": told_ms,
        "bbo": [levels(live.coin, shot.bids, 1)[0], levels(live.coin, shot.asks, 1)[0]],
    }


def trades(market: Market, name: str, from_ms: int, until_ms: int, most: int | None = None) -> list[Json]:
    """Return the trades at times in [from, until), oldest first; `most` keeps the newest."""
    past = market.history(name)
    since_ms = market.delisted_since(name)
    if since_ms is not None:
        until_ms = min(until_ms, since_ms)
    if past is None or until_ms <= from_ms:
        return []
    first = max(0, (from_ms - past.origin_ms) // MINUTE_MS)
    last = (until_ms - 1 - past.origin_ms) // MINUTE_MS
    out: list[Json] = []
    for minute in range(last, first - 1, -1):
        out[:0] = _minute_trades(market, past, minute, from_ms, until_ms)
        if most is not None and len(out) >= most:
            return out[-most:]
    return out


def _minute_trades(market: Market, past: CoinMarket, minute: int, from_ms: int, until_ms: int) -> list[Json]:
    opens_at = past.origin_ms + minute * MINUTE_MS
    tape = past.tape(minute)
    first = int(np.searchsorted(tape.at_ms, from_ms - opens_at, side="left"))
    last = int(np.searchsorted(tape.at_ms, until_ms - opens_at, side="left"))
    columns = (tape.at_ms, tape.px_units, tape.size_units, tape.is_buy, tape.buyer, tape.seller)
    rows = zip(*(column[first:last].tolist() for column in columns), strict=True)
    coin = past.coin
    people = market.addresses
    return [
        {
            "coin": coin.name,
            "side": "B" if is_buy else "A",
            "px": wire(px, coin.px_decimals),
            "sz": wire(size, coin.sz_decimals),
            "time": opens_at + at_ms,
            "hash": tape.trade_hash(index),
            "tid": tape.tid(index),
            "users": [people[buyer], people[seller]],
        }
        for index, (at_ms, px, size, is_buy, buyer, seller) in enumerate(rows, start=first)
    ]


def mid(market: Market, coin: CoinSpec, at_ms: int) -> str:
    """Return the mid price; without a book, the last known price."""
    live = market.live(coin.name, at_ms)
    if live is None:
        return _last_price(market, coin)
    bid, ask, tick = live.best(at_ms)
    return wire((bid + ask) * tick * 5, coin.px_decimals + 1)


def all_mids(market: Market, at_ms: int) -> dict[str, str]:
    """Return the mid of every coin."""
    return {coin.name: mid(market, coin, at_ms) for coin in market.specs}


def asset_ctx(market: Market, coin: CoinSpec, at_ms: int) -> Json:
    """Return a perp's context; of a delisted coin nulls, zeros and the last price, as the venue has it."""
    live = market.live(coin.name, at_ms)
    if live is None:
        last = _last_price(market, coin)
        return {
            "funding": "0.0",
            "openInterest": "0.0",
            "prevDayPx": last,
            "dayNtlVlm": "0.0",
            "premium": None,
            "oraclePx": last,
            "markPx": last,
            "midPx": None,
            "impactPxs": None,
            "dayBaseVlm": "0.0",
        }
    hour, into_ms = divmod(at_ms - live.origin_ms, HOUR_MS)
    second = into_ms // 1_000
    context = live.context(hour)
    bid, ask, tick = live.best(at_ms)
    day = live.day((at_ms - live.origin_ms) // MINUTE_MS)
    decimals = coin.px_decimals
    return {
        "funding": wire_float(hourly_rate(float(context.premium_mean[second // 5])), RATE_DECIMALS),
        "openInterest": wire_float(day.open_interest, coin.sz_decimals),
        "prevDayPx": wire(day.px_before, decimals),
        "dayNtlVlm": wire_float(day.notional_usd, 6),
        "premium": wire_float(float(context.premium[second // 5]), RATE_DECIMALS),
        "oraclePx": wire_float(context.oracle_at(second), decimals),
        "markPx": wire_float(context.mark_at(second), decimals),
        "midPx": wire((bid + ask) * tick * 5, decimals + 1),
        "impactPxs": [wire(bid * tick, decimals), wire(ask * tick, decimals)],
        "dayBaseVlm": wire(day.volume, coin.sz_decimals),
    }


def funding_row(name: str, row: FundingRow) -> Json:
    """Return one settled hour."""
    return {
        "coin": name,
        "fundingRate": wire_float(row.rate, RATE_DECIMALS),
        "premium": wire_float(row.premium, RATE_DECIMALS),
        "time": row.time_ms,
    }


def _last_price(market: Market, coin: CoinSpec) -> str:
    since_ms = market.delisted_since(coin.name)
    past = market.history(coin.name)
    if past is None or since_ms is None:
        return wire_float(coin.base_px or 0.0, coin.px_decimals)
    bid, _, tick = past.best(since_ms)
    return wire(bid * tick, coin.px_decimals)
