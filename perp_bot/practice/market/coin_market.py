"""One coin's market with random access by time: hours, minutes, trades, book and contexts, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from perp_bot.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from perp_bot.practice.market import noise
from perp_bot.practice.market.book import BookShot, book_at
from perp_bot.practice.market.coins import CoinSpec
from perp_bot.practice.market.context import HourContext, hour_context, hourly_rate, open_interest
from perp_bot.practice.market.hours import CLOSE, COUNT, HIGH, LOW, OPEN, VOLUME, CoinHours
from perp_bot.practice.market.noise import Ints
from perp_bot.practice.market.path import HourPath, hour_path, minute_rows
from perp_bot.practice.market.tape import MinuteTape, minute_tape

_KEPT_PATHS, _KEPT_MINUTES, _KEPT_TAPES, _KEPT_FUNDING = 24, 2_000, 90, 20_000
_KEPT_DAYS, _KEPT_BOOKS = 16, 8
_JITTER_KEY = 6

K = TypeVar("K")
V = TypeVar("V")


class Kept(OrderedDict[K, V]):
    """The most recently used results of a pure function, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def get_or(self, key: K, make: Callable[[K], V]) -> V:
        """Return the kept result, or make and keep it."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        value = self[key] = make(key)
        if len(self) > self._limit:
            self.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class FundingRow:
    """One settled hour: when it landed, its rate and the mean premium it came from."""

    time_ms: int
    rate: float
    premium: float


@dataclass(frozen=True, slots=True)
class DayFigures:
    """The 24 hours up to a minute: volume in size steps, notional, the price before them in units, open interest."""

    volume: int
    notional_usd: float
    px_before: int
    open_interest: float


class CoinMarket:
    """Everything generated about one coin. Times are epoch ms; hour 0 opens at `origin_ms`."""

    def __init__(self, coin: CoinSpec, index: int, seed: int, origin_ms: int, hours: CoinHours) -> None:
        self.coin = coin
        self.index = index
        self.origin_ms = origin_ms
        self._seed = seed
        self._hours = hours
        self._paths: Kept[int, HourPath] = Kept(_KEPT_PATHS)
        self._contexts: Kept[int, HourContext] = Kept(_KEPT_PATHS)
        self._minutes: Kept[int, Ints] = Kept(_KEPT_MINUTES)
        self._tapes: Kept[int, MinuteTape] = Kept(_KEPT_TAPES)
        self._days: Kept[int, DayFigures] = Kept(_KEPT_DAYS)
        self._books: Kept[tuple[int, int | None], BookShot] = Kept(_KEPT_BOOKS)
        self._funding: Kept[int, FundingRow] = Kept(_KEPT_FUNDING)

    def hour_of(self, at_ms: int) -> int:
        """Return the index of the hour that contains `at_ms` (negative before the recording)."""
        return (at_ms - self.origin_ms) // HOUR_MS

    def hour_rows(self, hours: int) -> Ints:
        """Return the hourly candles 0 .. hours - 1 in units."""
        return self._hours.upto(max(0, hours - 1))[:hours]

    def path(self, hour: int) -> HourPath:
        """Return the second-by-second path of an hour."""
        return self._paths.get_or(
            hour,
            lambda k: hour_path(self._hours.upto(k)[k], self._hours.tick(k), self._seed, self.index, k),
        )

    def context(self, hour: int) -> HourContext:
        """Return the hour's marks, oracle prices and premiums."""
        return self._contexts.get_or(hour, lambda k: hour_context(self.path(k), self.coin, self._seed, self.index, k))

    def minutes(self, hour: int) -> Ints:
        """Return the hour's sixty one-minute candles in units."""
        return self._minutes.get_or(
            hour, lambda k: minute_rows(self._hours.upto(k)[k], self.path(k), self._seed, self.index, k)
        )

    def tape(self, minute: int) -> MinuteTape:
        """Return the trades of a minute, counted from the recording's start."""
        return self._tapes.get_or(
            minute,
            lambda m: minute_tape(
                self.minutes(m // 60)[m % 60], self.path(m // 60), self._seed, self.index, m // 60, m % 60
            ),
        )

    def open_minute(self, at_ms: int) -> Ints | None:
        """Return the candle of the running minute made of the trades before `at_ms`; None when there is none yet."""
        minute, into_ms = divmod(at_ms - self.origin_ms, MINUTE_MS)
        if minute < 0 or into_ms == 0:
            return None
        tape = self.tape(minute)
        seen = int(np.searchsorted(tape.at_ms, into_ms, side="left"))
        if seen == 0:
            return None
        prices = tape.px_units[:seen]
        row = np.empty(6, np.int64)
        row[OPEN], row[HIGH], row[LOW], row[CLOSE] = prices[0], prices.max(), prices.min(), prices[-1]
        row[VOLUME], row[COUNT] = tape.size_units[:seen].sum(), seen
        return row

    def best(self, at_ms: int) -> tuple[int, int, int]:
        """Return best bid and ask in ticks, and the tick in units."""
        hour, into_ms = divmod(at_ms - self.origin_ms, HOUR_MS)
        path = self.path(hour)
        second = into_ms // 1_000
        last, spread = int(path.last[second]), int(path.spread[second])
        if path.aggressor[second] > 0:
            return last - spread, last, path.tick
        return last, last + spread, path.tick

    def book(self, at_ms: int, bucket: int | None = None) -> BookShot:
        """Return the book at a moment; `bucket` (ticks) aggregates it."""
        return self._books.get_or((at_ms, bucket), self._book)

    def _book(self, key: tuple[int, int | None]) -> BookShot:
        at_ms, bucket = key
        bid, ask, tick = self.best(at_ms)
        return book_at(self.coin, self.index, self._seed, bid, ask, tick, at_ms - self.origin_ms, bucket)

    def day(self, minute: int) -> DayFigures:
        """Return the figures of the 24 hours before a minute, counted from the recording's start."""
        return self._days.get_or(minute, self._day)

    def _day(self, end_minute: int) -> DayFigures:
        start_minute = max(0, end_minute - DAY_MS // MINUTE_MS)
        end_hour, start_hour = end_minute // 60, start_minute // 60
        parts = [self.minutes(start_hour)[start_minute % 60 :]]
        if end_hour > start_hour:
            parts.append(self.hour_rows(end_hour)[start_hour + 1 :])
            if end_minute % 60:
                parts.append(self.minutes(end_hour)[: end_minute % 60])
        rows = np.concatenate(parts)
        scale = 10.0 ** (self.coin.px_decimals + self.coin.sz_decimals)
        typical = (rows[:, HIGH] + rows[:, LOW] + rows[:, CLOSE]) / 3.0
        return DayFigures(
            volume=int(rows[:, VOLUME].sum()),
            notional_usd=float((typical * rows[:, VOLUME]).sum() / scale),
            px_before=int(rows[0, OPEN]),
            open_interest=open_interest(self.coin, self._seed, self.index, end_minute * MINUTE_MS),
        )

    def funding(self, hour: int) -> FundingRow:
        """Return the rate settled at the end of an hour; it lands 1 to 118 ms after it."""
        return self._funding.get_or(hour, self._settle)

    def _settle(self, hour: int) -> FundingRow:
        premium = self.context(hour).premium_of_hour
        jitter_ms = 1 + int(118 * noise.uniform(self._seed, _JITTER_KEY + (self.index << 8), np.array([hour]))[0])
        return FundingRow(self.origin_ms + (hour + 1) * HOUR_MS + jitter_ms, hourly_rate(premium), premium)
