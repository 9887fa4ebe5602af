"""Collects the fast scale: for every watched coin at once, from the stream's books, and by REST where those are old."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from perp_bot.core.clock import Clock, monotonic_s
from perp_bot.core.errors import BadAnswer, PerpBotError, RateLimited
from perp_bot.core.types import Book, BookLevel
from perp_bot.signals.liquidity import book_fault, depth_within, mid_px, slippage_bps, spread_bps
from perp_bot.signals.quality import completeness, freshness
from perp_bot.signals.snapshot import FastSignals, FastSnapshot, SignalQualityMetadata
from perp_bot.signals.volatility import MidHistory

if TYPE_CHECKING:
    from perp_bot.ops.http import Answer, HttpClient

log = logging.getLogger(__name__)

T = TypeVar("T")

WEIGHT_L2_BOOK = 2
WEIGHT_ALL_MIDS = 2

STREAM_BOOK = "stream l2Book"
REST_BOOK = "rest l2Book"
REST_MIDS = "rest allMids"

_FIELDS = ("spread_bps", "depth_usd", "slippage_bps", "short_term_volatility")

BookSource = Callable[[str], Book | None]
Watched = Callable[[], Sequence[str]]


class Budget(Protocol):
    """The process's request budget."""

    def try_acquire(self, weight: int) -> bool:
        """Take `weight` now, or say that it is not to be had. Never waits."""

    def hold_back(self) -> None:
        """Note that the venue answered 429."""


@dataclass(frozen=True, slots=True)
class FastSettings:
    """Sizes and times of the fast scale. Seconds are the venue's, but for `timeout_s`."""

    order_notional_usd: float  # the size that slippage is estimated for
    timeout_s: float = 5.0  # wall; the collection returns with what it has
    interval_s: float = 5.0
    fresh_s: float = 10.0  # a book up to this old counts in full; the stream resends every 5.4 s
    max_age_s: float = 60.0  # a book older than this is not used at all
    depth_band: float = 0.01
    volatility_window: int = 30  # one-minute returns
    volatility_least: int = 10


class _WireLevel(msgspec.Struct):
    px: float
    sz: float


class _WireBook(msgspec.Struct):
    coin: str
    time: int
    levels: tuple[tuple[_WireLevel, ...], tuple[_WireLevel, ...]]


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of asking for one coin's book."""

    book: Book | None
    source: str | None
    is_cached: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class _Mids:
    """What came of the one request for all mids; it also measures the round trip."""

    by_coin: dict[str, float]
    latency_ms: float | None
    problem: str | None


class FastSignalCollector:
    """Reads what the stream already has, asks REST only for what is old, and says what is missing and why."""

    def __init__(
        self,
        settings: FastSettings,
        clock: Clock,
        http: HttpClient,
        base_url: str,
        budget: Budget,
        watched: Watched,
        book_source: BookSource | None = None,
    ) -> None:
        """Take the places to ask; `watched` and `book_source` are called on the signal thread and must not block."""
        self._settings = settings
        self._clock = clock
        self._http = http
        self._info_url = f"{base_url}/info"
        self._budget = budget
        self._watched = watched
        self._book_source = book_source
        self._mids: dict[str, MidHistory] = {}
        self._book_decoder = msgspec.json.Decoder(_WireBook | None, strict=False)  # the venue sends decimal strings
        self._mids_decoder = msgspec.json.Decoder(dict[str, float], strict=False)

    @property
    def interval_s(self) -> float:
        """Venue seconds between two collections."""
        return self._settings.interval_s

    @property
    def timeout_s(self) -> float:
        """Wall seconds a collection takes at most."""
        return self._settings.timeout_s

    async def close(self) -> None:
        """Release the connections."""
        await self._http.close()

    async def collect(self) -> FastSnapshot:
        """Collect every watched coin, concurrently; return with what there is when the time is up."""
        coins = tuple(dict.fromkeys(self._watched()))
        asking_mids = asyncio.create_task(self._ask_mids())
        asking_books = {coin: asyncio.create_task(self._book_of(coin)) for coin in coins}
        tasks: set[asyncio.Task[_Mids] | asyncio.Task[_Found]] = {asking_mids, *asking_books.values()}
        try:
            await asyncio.wait(tasks, timeout=self._settings.timeout_s)
        finally:
            for task in tasks:
                task.cancel()  # a no-op on those that are done
        await asyncio.gather(*tasks, return_exceptions=True)
        problem = self._problem_of(asking_mids)
        mids = _Mids({}, None, problem) if problem else asking_mids.result()
        now_ms = self._clock.now_ms()
        signals = {}
        for coin, task in asking_books.items():
            problem = self._problem_of(task)
            found = self._without_answer(coin, problem) if problem else task.result()
            signals[coin] = self._signals_of(coin, found, mids, now_ms)
        self._forget_unwatched(coins)
        return self._snapshot(signals, mids, now_ms)

    # ------------------------------------------------------------ asking

    async def _ask_mids(self) -> _Mids:
        try:
            found, answer = await self._ask(self._mids_decoder, "allMids", {"type": "allMids"}, WEIGHT_ALL_MIDS)
        except PerpBotError as error:
            return _Mids({}, None, str(error))
        return _Mids(found, answer.took_s * 1000.0, None)

    async def _ask(
        self, decoder: msgspec.json.Decoder[T], what: str, body: dict[str, str], weight: int
    ) -> tuple[T, Answer]:
        if not self._budget.try_acquire(weight):
            raise RateLimited("the request budget is used up")
        timeout_s = self._settings.timeout_s
        try:
            return await self._http.json("POST", self._info_url, decoder, what=what, body=body, timeout_s=timeout_s)
        except RateLimited:
            self._budget.hold_back()
            raise

    async def _book_of(self, coin: str) -> _Found:
        held = self._held_book(coin)
        if held is not None and self._age_s(held) <= self._settings.fresh_s:
            return _Found(held, STREAM_BOOK, is_cached=False, problem=None)
        try:
            return _Found(await self._ask_book(coin), REST_BOOK, is_cached=False, problem=None)
        except PerpBotError as error:
            if held is None:
                return _Found(None, None, is_cached=False, problem=str(error))
            return _Found(held, STREAM_BOOK, is_cached=True, problem=str(error))

    async def _ask_book(self, coin: str) -> Book:
        body = {"type": "l2Book", "coin": coin}
        wire, _ = await self._ask(self._book_decoder, f"l2Book {coin}", body, WEIGHT_L2_BOOK)
        if wire is None:
            raise BadAnswer(f"the venue has no book of {coin}: not listed, or delisted")
        if wire.coin != coin:
            raise BadAnswer(f"asked for the book of {coin}, was given that of {wire.coin}")
        bids, asks = (tuple(BookLevel(level.px, level.sz) for level in side) for side in wire.levels)
        book = Book(coin, wire.time, bids, asks)
        fault = book_fault(book)
        if fault is not None:
            raise BadAnswer(f"{coin}: {fault}")
        return book

    def _held_book(self, coin: str) -> Book | None:
        """Return the stream's book when it makes sense at all."""
        held = None if self._book_source is None else self._book_source(coin)
        return None if held is None or book_fault(held) is not None else held

    def _without_answer(self, coin: str, problem: str) -> _Found:
        held = self._held_book(coin)
        return _Found(held, None if held is None else STREAM_BOOK, is_cached=held is not None, problem=problem)

    def _problem_of(self, task: asyncio.Task[_Mids] | asyncio.Task[_Found]) -> str | None:
        """Say why an ended task has no result, or None when it has."""
        if task.cancelled():
            return f"no answer within {self._settings.timeout_s:g} s"
        error = task.exception()
        if error is None:
            return None
        log.error("collecting fast signals failed", exc_info=error)
        return f"internal error: {type(error).__name__}"

    def _age_s(self, book: Book) -> float:
        return max(0.0, (self._clock.now_ms() - book.venue_ms) / 1000.0)

    # ------------------------------------------------------------ reckoning

    def _signals_of(self, coin: str, found: _Found, mids: _Mids, now_ms: int) -> FastSignals:
        settings = self._settings
        book, problem = found.book, found.problem
        staleness_s = None if book is None else max(0.0, (now_ms - book.venue_ms) / 1000.0)
        if staleness_s is not None and staleness_s > settings.max_age_s:
            problem = f"the newest book is {staleness_s:.0f} s old" + (f" ({problem})" if problem else "")
            book, staleness_s = None, None
        values: dict[str, float | None] = dict.fromkeys(_FIELDS)
        missing: dict[str, str] = {}
        notes: list[str] = []
        sources: list[str] = []
        depth_coins, depth_is_floor = None, False
        if book is None:
            reason = problem or "no book"
            mid = _usable(mids.by_coin.get(coin))
            if mid is not None:
                sources.append(REST_MIDS)
            missing |= dict.fromkeys(("spread_bps", "depth_usd", "depth_coins", "slippage_bps"), reason)
        else:
            mid = mid_px(book)
            sources.append(found.source or STREAM_BOOK)
            depth = depth_within(book, settings.depth_band)
            values["spread_bps"] = spread_bps(book)
            values["depth_usd"], depth_coins, depth_is_floor = depth.usd, depth.coins, depth.is_floor
            values["slippage_bps"] = slippage_bps(book, settings.order_notional_usd)
            if values["slippage_bps"] is None:
                missing["slippage_bps"] = f"the book holds less than our {settings.order_notional_usd:,.0f} USD"
            if found.is_cached:
                notes.append(f"book {staleness_s:.0f} s old: {problem}")
        values["short_term_volatility"] = self._volatility(coin, mid, now_ms, missing)
        if mid is None:
            missing["mid_px"] = mids.problem or f"the venue gives no mid of {coin}"
        return FastSignals(
            symbol=coin,
            mid_px=mid,
            spread_bps=values["spread_bps"],
            depth_usd=values["depth_usd"],
            depth_coins=depth_coins,
            depth_is_floor=depth_is_floor,
            slippage_bps=values["slippage_bps"],
            short_term_volatility=values["short_term_volatility"],
            metadata=SignalQualityMetadata(
                timestamp=now_ms,
                confidence=completeness(values) * freshness(staleness_s, settings.fresh_s, settings.max_age_s),
                staleness_seconds=staleness_s,
                sources=tuple(sources),
                is_cached=found.is_cached and book is not None,
            ),
            missing=missing,
            notes=tuple(notes),
        )

    def _volatility(self, coin: str, mid: float | None, now_ms: int, missing: dict[str, str]) -> float | None:
        history = self._mids.get(coin)
        if history is None:
            history = MidHistory(self._settings.volatility_window, self._settings.volatility_least)
            self._mids[coin] = history
        if mid is not None:
            history.note(now_ms, mid)
        found = history.volatility()
        if found is None:
            needed = self._settings.volatility_least
            missing["short_term_volatility"] = f"{history.samples} of {needed} one-minute returns so far"
        return found

    def _forget_unwatched(self, coins: tuple[str, ...]) -> None:
        for coin in self._mids.keys() - set(coins):
            del self._mids[coin]

    def _snapshot(self, signals: dict[str, FastSignals], mids: _Mids, now_ms: int) -> FastSnapshot:
        parts = [item.metadata for item in signals.values()]
        ages = [part.staleness_seconds for part in parts if part.staleness_seconds is not None]
        missing = {}
        if mids.latency_ms is None:
            missing["api_latency_ms"] = mids.problem or "not measured"
        if not signals:
            missing["coins"] = "no coin is watched"
        return FastSnapshot(
            venue_ms=now_ms,
            collected_monotonic=monotonic_s(),
            coins=signals,
            api_latency_ms=mids.latency_ms,
            quality=SignalQualityMetadata(
                timestamp=now_ms,
                confidence=math.fsum(part.confidence for part in parts) / len(parts) if parts else 0.0,
                staleness_seconds=max(ages) if ages else None,
                sources=tuple(dict.fromkeys(source for part in parts for source in part.sources)),
                is_cached=any(part.is_cached for part in parts),
            ),
            missing=missing,
        )


def _usable(px: float | None) -> float | None:
    return px if px is not None and math.isfinite(px) and px > 0.0 else None
