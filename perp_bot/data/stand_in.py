"""REST reads that stand in for stream channels that have fallen silent, so that stops fire and exits fill.

A socket can live and answer pings while one of its subscriptions brings nothing. Entries stop then (the channel is
named in the health); what is held is looked after by books and marks that are read instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from perp_bot.core.clock import VenueClock, monotonic_s
from perp_bot.core.errors import VenueError
from perp_bot.core.events import MarketSink
from perp_bot.core.types import AssetContext, Book
from perp_bot.data.limiter import RequestClass, light_weight

log = logging.getLogger(__name__)

BOOKS, CONTEXTS = "l2Book", "activeAssetCtx"
# Wall seconds at the venue's own speed. Books come every 5.4 s (2026-09): two of them may be missing.
SILENT_AFTER_S: Mapping[str, float] = {BOOKS: 12.0, CONTEXTS: 10.0}
RECONNECT_AFTER_S = 30.0
RECONNECT_AT_MOST_EVERY_S = 300.0
CONTEXTS_EVERY_S = 5.0
BOOK_EVERY_S = 3.0
BOOKS_WEIGHT_A_MINUTE = 300  # a quarter of the budget; many silent books are read more rarely
TIMEOUT_S = 3.0
MAX_WAIT_S = 0.5

Key = tuple[str, str]  # channel, coin


@dataclass(frozen=True, slots=True)
class SilentChannel:
    """A subscription that brings nothing; `problem` says why REST does not stand in for it."""

    channel: str
    coin: str
    age_s: float  # wall, since its newest frame, or since the stream began
    limit_s: float
    problem: str | None

    @property
    def text(self) -> str:
        """Say it in one sentence."""
        silent = f"{self.channel} of {self.coin} has been silent for {self.age_s:.0f} s, limit {self.limit_s:g} s"
        if self.problem is not None:
            return f"{silent}, and REST cannot stand in: {self.problem}"
        return f"{silent}; REST stands in for exits"


class StandInClient(Protocol):
    """The two REST reads that this needs (`VenueClient`)."""

    def book(
        self, symbol: str, *, request_class: RequestClass = ..., max_wait_s: float = ..., timeout_s: float | None = ...
    ) -> Book:
        """Return the book."""

    def contexts(
        self, *, request_class: RequestClass = ..., max_wait_s: float = ..., timeout_s: float | None = ...
    ) -> tuple[AssetContext, ...]:
        """Return the contexts of all coins."""


class StandIn:
    """Watch the age of books and contexts of every coin and read the silent ones; a chore of the REST worker."""

    name = "stand-in"

    def __init__(
        self,
        *,
        client: StandInClient,
        clock: VenueClock,
        sink: MarketSink,
        coins: Callable[[], tuple[str, ...]],
        ages_s: Callable[[], Mapping[Key, float]],
        on_silent: Callable[[str], None] = lambda coin: None,
    ) -> None:
        """`ages_s` gives wall seconds since the newest frame; `on_silent` hears of a coin whose channel fell silent."""
        self._client = client
        self._clock = clock
        self._sink = sink
        self._coins = coins
        self._ages_s = ages_s
        self._on_silent = on_silent
        self._began_s: float | None = None
        self._connected_s: float | None = None
        self._forced_s: float | None = None
        self._contexts_due_s = 0.0
        self._book_due_s: dict[str, float] = {}
        self._problems: dict[Key, str] = {}
        self._standing: set[Key] = set()

    def stream_is_up(self) -> None:
        """Note that the stream is up and everything is subscribed: from now on each channel should speak."""
        self._connected_s = monotonic_s()
        if self._began_s is None:
            self._began_s = self._connected_s

    def silent(self) -> tuple[SilentChannel, ...]:
        """Return the channels that are silent, the longest first; none at `step`, where silence is normal."""
        speed = self._clock.speed
        began_s = self._began_s
        if speed is None or began_s is None:
            return ()
        ages_s, up_s = self._ages_s(), monotonic_s() - began_s
        found = []
        for coin in self._coins():
            for channel, after_s in SILENT_AFTER_S.items():
                age_s, limit_s = ages_s.get((channel, coin), up_s), after_s / min(1.0, speed)
                if age_s > limit_s:
                    found.append(SilentChannel(channel, coin, age_s, limit_s, self._problems.get((channel, coin))))
        return tuple(sorted(found, key=lambda item: -item.age_s))

    def why_reconnect(self) -> str | None:
        """Return the reason to subscribe everything anew, at most once in five minutes; None when there is none."""
        now_s, connected_s = monotonic_s(), self._connected_s
        limit_s = RECONNECT_AFTER_S / min(1.0, self._clock.speed or 1.0)
        if connected_s is None or now_s - connected_s < limit_s:
            return None
        if self._forced_s is not None and now_s - self._forced_s < RECONNECT_AT_MOST_EVERY_S:
            return None
        long = [item for item in self.silent() if item.age_s > limit_s]
        if not long:
            return None
        self._forced_s = now_s
        more = f" (and {len(long) - 1} more)" if len(long) > 1 else ""
        return f"no {long[0].channel} of {long[0].coin}{more} for {long[0].age_s:.0f} s though the socket answers"

    # ------------------------------------------------------------ the chore

    def wait_s(self) -> float | None:
        """Return wall seconds until the next read; None while every channel speaks."""
        silent = self.silent()
        if not silent:
            if self._standing:
                self._end(set())
            return None
        return max(0.0, min(self._due_s(item) for item in silent) - monotonic_s())

    def is_pending(self) -> bool:
        """Never: nobody waits for it."""
        return False

    def run(self) -> None:
        """Read what is due, the marks first: they fire the stops."""
        silent = self.silent()
        self._end({(item.channel, item.coin) for item in silent})
        for item in silent:
            self._begin(item)
        now_s = monotonic_s()
        due = [item for item in silent if self._due_s(item) <= now_s]
        without_marks = [item.coin for item in due if item.channel == CONTEXTS]
        if without_marks:
            self._read_contexts(without_marks)
        books = [item.coin for item in silent if item.channel == BOOKS]
        every_s = max(BOOK_EVERY_S, len(books) * light_weight() * 60.0 / BOOKS_WEIGHT_A_MINUTE)
        for item in due:
            if item.channel == BOOKS:
                self._book_due_s[item.coin] = monotonic_s() + every_s
                self._read_book(item.coin)

    def _due_s(self, item: SilentChannel) -> float:
        return self._contexts_due_s if item.channel == CONTEXTS else self._book_due_s.get(item.coin, 0.0)

    def _read_contexts(self, coins: list[str]) -> None:
        self._contexts_due_s = monotonic_s() + CONTEXTS_EVERY_S
        try:
            rows = self._client.contexts(request_class=RequestClass.EXIT, max_wait_s=MAX_WAIT_S, timeout_s=TIMEOUT_S)
        except VenueError as error:
            for coin in coins:
                self._failed((CONTEXTS, coin), str(error))
            return
        by_coin = {row.symbol: row for row in rows}
        for coin in coins:
            context = by_coin.get(coin)
            if context is None:
                self._failed((CONTEXTS, coin), f"the venue has no mark of {coin}")
                continue
            self._problems.pop((CONTEXTS, coin), None)
            if not self._speaks_again(CONTEXTS, coin):
                self._sink.put_context(context)

    def _read_book(self, coin: str) -> None:
        try:
            book = self._client.book(coin, request_class=RequestClass.EXIT, max_wait_s=MAX_WAIT_S, timeout_s=TIMEOUT_S)
        except VenueError as error:
            self._failed((BOOKS, coin), str(error))
            return
        self._problems.pop((BOOKS, coin), None)
        if not self._speaks_again(BOOKS, coin):
            self._sink.put_book(book)

    def _speaks_again(self, channel: str, coin: str) -> bool:
        """Whether the stream spoke while we read: its frame is the newer one."""
        return not any((item.channel, item.coin) == (channel, coin) for item in self.silent())

    def _failed(self, key: Key, problem: str) -> None:
        if self._problems.get(key) != problem:
            log.warning("market data: %s of %s: REST cannot stand in: %s", *key, problem)
        self._problems[key] = problem

    def _begin(self, item: SilentChannel) -> None:
        key = (item.channel, item.coin)
        if key not in self._standing:
            self._standing.add(key)
            log.warning("market data: %s has been silent for %.0f s", f"{item.channel} of {item.coin}", item.age_s)
            self._on_silent(item.coin)

    def _end(self, silent: set[Key]) -> None:
        for key in self._standing - silent:
            self._standing.discard(key)
            self._problems.pop(key, None)
            log.info("market data: %s of %s: the stream speaks again", *key)
