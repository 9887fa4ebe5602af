"""Publishes market and accounts: at a tick of wall time when the clock runs, minute by minute when it is stepped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import MINUTE_MS, TIMEFRAMES, close_of, open_of
from perp_bot.practice.server import streams, user_streams
from perp_bot.practice.server.hub import Connection, Hub
from perp_bot.practice.server.streams import CLOCK
from perp_bot.practice.server.subscription import Subscription
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.server.witness import Witness

log = logging.getLogger(__name__)

MOST_STEPS = 100_000
_WAITING_MARK = 2_000  # frames; a long step pauses here until they are written

Send = Callable[[Subscription, str], None]


class Publisher:
    """Turns the passing of venue time into frames."""

    def __init__(self, venue: Venue, hub: Hub, witness: Witness) -> None:
        self._venue = venue
        self._hub = hub
        self._witness = witness
        self._bests: dict[str, str] = {}
        self._stepping = asyncio.Lock()
        self._last_minute_ms = (venue.clock.now_ms() - MINUTE_MS, venue.clock.now_ms())
        self._cut_s = time.monotonic()  # when all sockets were last cut by a fault that repeats
        self.before_time_passes: Callable[[int], None] = lambda _: None  # called with the venue's time

    async def run(self) -> None:
        """Publish until cancelled; hang up on idle sockets in either mode."""
        cadence = self._venue.settings.cadence
        next_clock_s = next_idle_s = time.monotonic()
        while True:
            await asyncio.sleep(cadence.tick_wall_ms / 1_000.0)
            try:
                self._cut_again()
                if not self._venue.clock.stepped:
                    self.before_time_passes(self._venue.clock.now_ms())
                    self.tick()
                    if time.monotonic() >= next_clock_s:
                        next_clock_s = time.monotonic() + cadence.clock_wall_ms / 1_000.0
                        self._tell_time()
                if time.monotonic() >= next_idle_s:
                    next_idle_s = time.monotonic() + min(1.0, self._venue.limits.idle_close_s / 10.0)
                    self._hub.close_idle()
            except Exception:  # a fault of one tick must not end the venue; it is logged whole
                log.exception("publishing failed at venue time %d", self._venue.clock.now_ms())

    def tick(self) -> None:
        """Publish what happened since the last tick: every trade and candle close, states sampled now."""
        from_ms, now_ms = self._hub.published_ms, self._venue.now_ms()
        if now_ms <= from_ms:
            return
        self._hub.published_ms = now_ms
        found = list(self._hub.streams().values())
        for sub in (one for one in found if one.kind == "trades"):
            self._hub.publish(sub, streams.new_trades(self._venue, sub, from_ms, now_ms))
        for sub in found:
            if self._is_due(sub, from_ms, now_ms):
                self._hub.publish(sub, streams.state(self._venue, sub, now_ms))
        for sub in (one for one in found if one.kind == "bbo"):
            self._publish_best(sub, now_ms)
        for sub in (one for one in found if one.kind == "candle"):
            self._hub.publish(sub, streams.closed_candles(self._venue, sub, from_ms, now_ms))
            if _passed(self._venue.settings.cadence.candle_ms, from_ms, now_ms):
                self._hub.publish(sub, streams.running_candle(self._venue, sub, now_ms))
        self._venue.exchange.advance(now_ms)
        told = self.tell_users(now_ms)
        if _passed(self._venue.settings.cadence.account_ms, from_ms, now_ms):
            self._tell_states([sub for sub in found if sub.user and sub.key not in told], now_ms)

    def tell_users(self, now_ms: int, acted: str = "") -> set[str]:
        """Publish what happened to accounts, then the states of those concerned; return the streams of states told.

        `acted`: whose action was just carried out; it changes states that no event tells of (a leverage).
        """
        events = self._venue.exchange.drain()
        if events:
            self._witness.happened(self._venue.exchange, events, now_ms)
        users = {event.user for event in events} | {acted}
        subs = [sub for sub in self._hub.streams().values() if sub.user in users]
        if not subs:
            return set()
        for event in events:
            for sub in subs:
                text = user_streams.happened(sub, event)
                if text is not None:
                    self._hub.publish(sub, [text])
        self._tell_states(subs, now_ms)
        return {sub.key for sub in subs if sub.kind in user_streams.STATES}

    def _tell_states(self, subs: list[Subscription], now_ms: int) -> None:
        for sub in subs:
            if sub.kind in user_streams.STATES:
                self._hub.publish(sub, user_streams.state(self._venue, sub, now_ms))

    def _cut_again(self) -> None:
        """Cut all sockets when a fault wants it every so many seconds."""
        every_s = self._venue.faults.close_every_s()
        if every_s is None:
            self._cut_s = time.monotonic()
        elif time.monotonic() >= self._cut_s + every_s:
            self._cut_s = time.monotonic()
            self._hub.close_all()

    def _is_due(self, sub: Subscription, from_ms: int, now_ms: int) -> bool:
        cadence = self._venue.settings.cadence
        if sub.kind == "activeAssetCtx":
            return _passed(cadence.context_ms, from_ms, now_ms)
        if sub.kind == "l2Book":
            return _passed(cadence.fast_book_ms if sub.fast else cadence.book_ms, from_ms, now_ms)
        return sub.kind == "allMids" and _passed(cadence.mids_ms, from_ms, now_ms)

    def _publish_best(self, sub: Subscription, now_ms: int) -> None:
        for text in streams.state(self._venue, sub, now_ms):
            said = text[text.index('"bbo":[') :]  # without the time
            if self._bests.get(sub.key) != said:
                self._bests[sub.key] = said
                self._hub.publish(sub, [text])

    def _tell_time(self) -> None:
        text = streams.clock(self._venue, self._venue.clock.now_ms(), self._venue.steps)
        for connection in self._hub.connections:
            if connection.follows_clock:
                connection.send(CLOCK, text)

    async def step(self, to: str, count: int) -> int:
        """Advance to the `count`-th next close of `to`, minute by minute; return the new time once all is written."""
        if not self._venue.clock.stepped:
            raise UsageError("this practice venue's clock runs by itself; start it with --speed step to step it")
        if to not in TIMEFRAMES:
            raise UsageError(f"unknown timeframe {to!r}; known: {', '.join(TIMEFRAMES)}")
        if not 1 <= count <= MOST_STEPS:
            raise UsageError(f"count {count} is not between 1 and {MOST_STEPS}")
        async with self._stepping:
            target_ms = self._venue.clock.now_ms()
            for _ in range(count):
                target_ms = close_of(to, open_of(to, target_ms))
            while (now_ms := self._venue.clock.now_ms()) < target_ms:
                self._one_minute(now_ms, min(target_ms, close_of("1m", open_of("1m", now_ms))))
                if any(connection.unwritten > _WAITING_MARK for connection in self._hub.connections):
                    await self._hub.written()
                elif self._venue.steps % 60 == 0:
                    await asyncio.sleep(0)
            await self._hub.written()
            return target_ms

    def _one_minute(self, from_ms: int, until_ms: int) -> None:
        self.before_time_passes(from_ms)
        self._venue.clock.set(until_ms)
        self._venue.catch_up()
        self._venue.steps += 1
        self._last_minute_ms = (from_ms, until_ms)
        self._hub.published_ms = until_ms
        subs = list(self._hub.streams().values())
        for sub, text in self._minute_frames(subs, from_ms, until_ms):
            self._hub.publish(sub, [text])
        told = self.tell_users(until_ms)
        self._tell_states([sub for sub in subs if sub.user and sub.key not in told], until_ms)
        self._tell_time()

    def replay(self, connection: Connection) -> None:
        """Send one connection the current minute again, its clock frame last; a stepped venue only.

        The books that the minute began with come first: without them a client could not price a stop early in it.
        """
        from_ms, until_ms = self._last_minute_ms
        subs = [connection.subscriptions[key] for key in sorted(connection.subscriptions)]
        for sub in (one for one in subs if one.kind == "l2Book"):
            for text in streams.state(self._venue, sub, from_ms):
                connection.send(sub.kind, text, sub.coin)
        for sub, text in self._minute_frames(subs, from_ms, until_ms):
            connection.send(sub.kind, text, sub.coin)
        connection.send(CLOCK, streams.clock(self._venue, until_ms, self._venue.steps))

    def _minute_frames(
        self, subs: list[Subscription], from_ms: int, until_ms: int
    ) -> Iterator[tuple[Subscription, str]]:
        """Yield a minute's frames in their order: trades, contexts by time, mids, books, best prices, candles."""
        venue = self._venue
        for sub in (one for one in subs if one.kind == "trades"):
            for text in streams.new_trades(venue, sub, from_ms, until_ms):
                yield sub, text
        moments = [
            (at_ms, sub)
            for sub in subs
            if sub.kind == "activeAssetCtx"
            for at_ms in streams.context_times(venue, sub.coin, from_ms, until_ms)
        ]
        for at_ms, sub in sorted(moments, key=lambda moment: moment[0]):
            for text in streams.state(venue, sub, at_ms):
                yield sub, text
        for kind in ("allMids", "l2Book", "bbo"):
            for sub in (one for one in subs if one.kind == kind):
                for text in streams.state(venue, sub, until_ms):
                    yield sub, text
        for sub in (one for one in subs if one.kind == "candle"):
            for text in streams.closed_candles(venue, sub, from_ms, until_ms):
                yield sub, text
            for text in streams.running_candle(venue, sub, until_ms):
                yield sub, text


def _passed(period_ms: int, from_ms: int, now_ms: int) -> bool:
    """Return whether a multiple of the period lies in (from, now]."""
    return now_ms // period_ms > from_ms // period_ms
