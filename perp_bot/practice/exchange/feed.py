"""The path's market as the exchange needs it: exact prices and sizes, by moment, and when they first reach a price.

Stretches of time are (after, until], both of one hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.practice.market.book import EPOCH_MS, BookSide
from perp_bot.practice.market.coin_market import CoinMarket
from perp_bot.practice.market.coins import COINS, INDEX, CoinSpec
from perp_bot.practice.market.context import ORACLE_STEP_S
from perp_bot.practice.market.market import Market
from perp_bot.practice.market.noise import Floats, Ints
from perp_bot.practice.market.tape import MinuteTape

SECOND_MS = 1_000
MARK_STEP_MS = ORACLE_STEP_S * SECOND_MS
RATE_DECIMALS = 10

Level = tuple[Decimal, Decimal]  # price, size in coins


@dataclass(frozen=True, slots=True)
class PathTrade:
    """One trade of the path; the aggressor bought or sold."""

    at_ms: int
    px: Decimal
    size: Decimal
    is_buy: bool


class Feed:
    """Reads of the market; everything is a function of time."""

    def __init__(self, market: Market) -> None:
        self._market = market

    # ------------------------------------------------------------ coins

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

    # ------------------------------------------------------------ time

    def into_hour(self, at_ms: int) -> int:
        """Return the ms since the hour of the recording began."""
        return (at_ms - self._market.origin_ms) % HOUR_MS

    def last_of_hour(self, at_ms: int) -> int:
        """Return the last ms of the hour of a moment."""
        return at_ms - self.into_hour(at_ms) + HOUR_MS - 1

    # ------------------------------------------------------------ at a moment

    def mark(self, coin: str, at_ms: int) -> Decimal:
        """Return the mark price that stands at a moment; of a coin that never traded here its last known price."""
        past = self._market.history(coin)
        if past is None:
            spec = COINS[INDEX[coin]]
            return _exact(spec.base_px or 0.0, spec.px_decimals)
        hour, second = self._second(at_ms)
        return _exact(past.context(hour).mark_at(second), past.coin.px_decimals)

    def oracle(self, coin: str, at_ms: int) -> Decimal:
        """Return the oracle price that stands at a moment."""
        hour, second = self._second(at_ms)
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

    def trades_at(self, coin: str, at_ms: int) -> list[PathTrade]:
        """Return the path's trades of one ms, in their order."""
        past = self._past(coin)
        minute, into_ms = divmod(at_ms - past.origin_ms, MINUTE_MS)
        tape = past.tape(minute)
        first, last = _between(tape, into_ms - 1, into_ms)
        columns = (tape.px_units, tape.size_units, tape.is_buy)
        rows = zip(*(column[first:last].tolist() for column in columns), strict=True)
        return [
            PathTrade(at_ms, _units(px, past.coin.px_decimals), _units(size, past.coin.sz_decimals), bool(is_buy))
            for px, size, is_buy in rows
        ]

    # ------------------------------------------------------------ in a stretch of time

    def funding(self, coin: str, after_ms: int, until_ms: int) -> list[tuple[int, Decimal]]:
        """Return when funding was settled in (after, until], and its rate."""
        past = self._past(coin)
        hour = max(0, past.hour_of(after_ms) - 1)
        found: list[tuple[int, Decimal]] = []
        while past.origin_ms + (hour + 1) * HOUR_MS <= until_ms:
            row = past.funding(hour)
            if after_ms < row.time_ms <= until_ms:
                found.append((row.time_ms, _exact(row.rate, RATE_DECIMALS)))
            hour += 1
        return found

    def mark_times(self, coin: str, after_ms: int, until_ms: int) -> Ints:
        """Return the moments at which a new mark stands; none of a coin that does not trade."""
        hour, first, last = self._steps(coin, after_ms, until_ms, MARK_STEP_MS)
        return self._market.origin_ms + hour * HOUR_MS + np.arange(first, last + 1, dtype=np.int64) * MARK_STEP_MS

    def marks(self, coin: str, after_ms: int, until_ms: int) -> Floats:
        """Return the marks of those moments in USD."""
        hour, first, last = self._steps(coin, after_ms, until_ms, MARK_STEP_MS)
        return self._past(coin).context(hour).mark_px[first : last + 1]

    def first_mark(
        self, coin: str, after_ms: int, until_ms: int, rise: Decimal | None, fall: Decimal | None
    ) -> int | None:
        """Return the first moment at which the mark stands at or above `rise`, or at or below `fall`."""
        decimals = self._past(coin).coin.px_decimals
        marks = np.rint(self.marks(coin, after_ms, until_ms) * 10**decimals)
        reached = np.zeros(len(marks), bool)
        if rise is not None:
            reached |= marks >= float(rise.scaleb(decimals))
        if fall is not None:
            reached |= marks <= float(fall.scaleb(decimals))
        where = np.flatnonzero(reached)
        return int(self.mark_times(coin, after_ms, until_ms)[where[0]]) if len(where) else None

    def first_cross(
        self, coin: str, after_ms: int, until_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> int | None:
        """Return the first whole second at which the path's best ask is at or below `bid`, or its bid at `ask`."""
        past = self._past(coin)
        hour, first, last = self._steps(coin, after_ms, until_ms, SECOND_MS)
        path, decimals = past.path(hour), past.coin.px_decimals
        at, up = path.last[first : last + 1], path.aggressor[first : last + 1] > 0
        spread = path.spread[first : last + 1]
        reached = np.zeros(len(at), bool)
        if bid is not None:
            reached |= (at + np.where(up, 0, spread)) * np.int64(path.tick) <= int(bid.scaleb(decimals))
        if ask is not None:
            reached |= (at - np.where(up, spread, 0)) * np.int64(path.tick) >= int(ask.scaleb(decimals))
        where = np.flatnonzero(reached)
        return past.origin_ms + hour * HOUR_MS + (first + int(where[0])) * SECOND_MS if len(where) else None

    def first_reach(
        self, coin: str, after_ms: int, until_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> int | None:
        """Return when the first trade sells at or below `bid`, or buys at or above `ask`.

        All trades of a second have its price and its side, so that only the tapes of seconds that reach are made.
        """
        past = self._past(coin)
        hour = past.hour_of(after_ms + 1)
        opens_ms = past.origin_ms + hour * HOUR_MS
        first = (after_ms + 1 - opens_ms) // SECOND_MS
        path, decimals = past.path(hour), past.coin.px_decimals
        until_ms = self._traded_until(coin, until_ms)
        last = (until_ms - opens_ms) // SECOND_MS
        px = path.last[first : last + 1] * np.int64(path.tick)
        up = path.aggressor[first : last + 1] > 0
        reached = np.zeros(len(px), bool)
        if bid is not None:
            reached |= ~up & (px <= int(bid.scaleb(decimals)))
        if ask is not None:
            reached |= up & (px >= int(ask.scaleb(decimals)))
        for second in (first + np.flatnonzero(reached)).tolist():
            minute_ms = opens_ms + second // 60 * MINUTE_MS
            tape = past.tape((minute_ms - past.origin_ms) // MINUTE_MS)
            from_ms = max(after_ms, opens_ms + second * SECOND_MS - 1) - minute_ms
            upto_ms = min(until_ms, opens_ms + second * SECOND_MS + SECOND_MS - 1) - minute_ms
            found, end = _between(tape, from_ms, upto_ms)
            if found < end:
                return minute_ms + int(tape.at_ms[found])
        return None

    # ------------------------------------------------------------ below

    def _traded_until(self, coin: str, until_ms: int) -> int:
        since_ms = self._market.delisted_since(coin)
        return until_ms if since_ms is None else min(until_ms, since_ms - 1)

    def _steps(self, coin: str, after_ms: int, until_ms: int, step_ms: int) -> tuple[int, int, int]:
        """Return the hour, and the first and last step of it that begin in (after, until]; last < first: none."""
        origin_ms = self._market.origin_ms
        hour = (after_ms + 1 - origin_ms) // HOUR_MS
        opens_ms = origin_ms + hour * HOUR_MS
        first = -(-(after_ms + 1 - opens_ms) // step_ms)
        last = (self._traded_until(coin, until_ms) - opens_ms) // step_ms
        return hour, first, max(last, first - 1)

    def _past(self, coin: str) -> CoinMarket:
        past = self._market.history(coin)
        assert past is not None, f"{coin} never traded here"
        return past

    def _second(self, at_ms: int) -> tuple[int, int]:
        hour, into_ms = divmod(at_ms - self._market.origin_ms, HOUR_MS)
        return hour, into_ms // SECOND_MS


def _between(tape: MinuteTape, after_ms: int, until_ms: int) -> tuple[int, int]:
    """Return the range of trades in (after, until], counted from the minute's start."""
    found: npt.NDArray[np.intp] = np.searchsorted(tape.at_ms, [after_ms, until_ms], side="right")
    return int(found[0]), int(found[1])


def _levels(spec: CoinSpec, side: BookSide) -> list[Level]:
    rows = zip(side.px.tolist(), side.size.tolist(), strict=True)
    return [(_units(px, spec.px_decimals), _units(size, spec.sz_decimals)) for px, size in rows]


def _units(value: int, decimals: int) -> Decimal:
    return Decimal(value).scaleb(-decimals)


def _exact(value: float, decimals: int) -> Decimal:
    return Decimal(round(value * 10**decimals)).scaleb(-decimals)
