"""The path's market as the exchange needs it: exact prices and sizes, by moment and by stretch of time."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.exchange.amounts import ZERO
from perp_bot.practice.market.book import EPOCH_MS, BookSide
from perp_bot.practice.market.coin_market import CoinMarket
from perp_bot.practice.market.coins import COINS, INDEX, MARGIN_TABLES, CoinSpec
from perp_bot.practice.market.context import ORACLE_STEP_S
from perp_bot.practice.market.market import Market

MARK_STEP_MS = ORACLE_STEP_S * 1_000
SECOND_MS = 1_000

Level = tuple[Decimal, Decimal]  # price, size in coins


@dataclass(frozen=True, slots=True)
class PathTrade:
    """One trade of the path; the aggressor bought or sold."""

    at_ms: int
    px: Decimal
    size: Decimal
    is_buy: bool


@dataclass(frozen=True, slots=True)
class Tier:
    """One margin tier: from this notional on, the highest leverage, and what the maintenance margin is less."""

    lower_usd: Decimal
    max_leverage: int
    rate: Decimal  # maintenance: half of the initial margin at the highest leverage
    deducted_usd: Decimal


class Feed:
    """Reads of the market; everything is a function of time."""

    def __init__(self, market: Market) -> None:
        self._market = market

    @staticmethod
    def spec(asset: int) -> CoinSpec | None:
        """Return the coin of an asset number."""
        return COINS[asset] if 0 <= asset < len(COINS) else None

    @staticmethod
    def asset(coin: str) -> int:
        """Return the asset number of a coin."""
        return INDEX[coin]

    def is_live(self, coin: str, at_ms: int) -> bool:
        """Return whether the coin trades."""
        return self._market.live(coin, at_ms) is not None

    def delisted_since(self, coin: str) -> int | None:
        """Return when the coin was delisted on request."""
        return self._market.delisted_since(coin)

    def mark(self, coin: str, at_ms: int) -> Decimal:
        """Return the mark price that stands at a moment."""
        hour, second = self._second(coin, at_ms)
        past = self._past(coin)
        return _exact(past.context(hour).mark_at(second), past.coin.px_decimals)

    def oracle(self, coin: str, at_ms: int) -> Decimal:
        """Return the oracle price that stands at a moment."""
        hour, second = self._second(coin, at_ms)
        past = self._past(coin)
        return _exact(past.context(hour).oracle_at(second), past.coin.px_decimals)

    def best(self, coin: str, at_ms: int) -> tuple[Decimal, Decimal]:
        """Return best bid and ask of the path."""
        past = self._past(coin)
        bid, ask, tick = past.best(at_ms)
        return _units(bid * tick, past.coin.px_decimals), _units(ask * tick, past.coin.px_decimals)

    def book(self, coin: str, at_ms: int) -> tuple[list[Level], list[Level]]:
        """Return the path's bids and asks, best first; empty ones of a coin that does not trade."""
        live = self._market.live(coin, at_ms)
        if live is None:
            return [], []
        shot = live.book(at_ms)
        return _levels(live.coin, shot.bids), _levels(live.coin, shot.asks)

    def book_version(self, coin: str, at_ms: int) -> tuple[int, int]:
        """Return what changes whenever the path's book does: sizes every 500 ms, prices every second."""
        since_ms = at_ms - self._past(coin).origin_ms
        return since_ms // EPOCH_MS, since_ms // SECOND_MS

    def trades(self, coin: str, after_ms: int, until_ms: int) -> list[PathTrade]:
        """Return the path's trades at times in (after, until], oldest first."""
        past, found = self._past(coin), []
        since_ms = self._market.delisted_since(coin)
        if since_ms is not None:
            until_ms = min(until_ms, since_ms)
        for minute in range(
            max(0, (after_ms - past.origin_ms) // MINUTE_MS), (until_ms - past.origin_ms) // MINUTE_MS + 1
        ):
            opens_ms = past.origin_ms + minute * MINUTE_MS
            tape = past.tape(minute)
            first = int(np.searchsorted(tape.at_ms, after_ms - opens_ms, side="right"))
            last = int(np.searchsorted(tape.at_ms, until_ms - opens_ms, side="right"))
            columns = (tape.at_ms, tape.px_units, tape.size_units, tape.is_buy)
            for at_ms, px, size, is_buy in zip(*(column[first:last].tolist() for column in columns), strict=True):
                found.append(
                    PathTrade(
                        opens_ms + at_ms,
                        _units(px, past.coin.px_decimals),
                        _units(size, past.coin.sz_decimals),
                        bool(is_buy),
                    )
                )
        return found

    def funding(self, coin: str, after_ms: int, until_ms: int) -> list[tuple[int, Decimal]]:
        """Return when a funding hour was settled in (after, until], and its rate."""
        past, found = self._past(coin), []
        hour = max(0, past.hour_of(after_ms) - 2)
        while past.origin_ms + (hour + 1) * HOUR_MS <= until_ms:
            row = past.funding(hour)
            if after_ms < row.time_ms <= until_ms:
                found.append((row.time_ms, _exact(row.rate, 10)))
            hour += 1
        return found

    def _past(self, coin: str) -> CoinMarket:
        past = self._market.history(coin)
        assert past is not None, f"{coin} never traded here"
        return past

    def _second(self, coin: str, at_ms: int) -> tuple[int, int]:
        hour, into_ms = divmod(at_ms - self._past(coin).origin_ms, HOUR_MS)
        return hour, into_ms // SECOND_MS


def tiers_of(spec: CoinSpec) -> tuple[Tier, ...]:
    """Return a coin's margin tiers, lowest first, with their deductions.

    ded_n = ded_(n-1) + lowerBound_n x (rate_n - rate_(n-1)): the venue's margin tiers page.
    """
    table = next((tiers for number, _, tiers in MARGIN_TABLES if number == spec.margin_table_id), None)
    found: list[Tier] = []
    for bound, leverage in table or (("0.0", spec.max_leverage),):
        lower, rate = Decimal(bound), Decimal(1) / (2 * leverage)
        before = found[-1] if found else None
        deducted = ZERO if before is None else before.deducted_usd + lower * (rate - before.rate)
        found.append(Tier(lower, leverage, rate, deducted))
    return tuple(found)


def _levels(spec: CoinSpec, side: BookSide) -> list[Level]:
    rows = zip(side.px.tolist(), side.size.tolist(), strict=True)
    return [(_units(px, spec.px_decimals), _units(size, spec.sz_decimals)) for px, size in rows]


def _units(value: int, decimals: int) -> Decimal:
    return Decimal(value).scaleb(-decimals)


def _exact(value: float, decimals: int) -> Decimal:
    return Decimal(round(value * 10**decimals)).scaleb(-decimals)
