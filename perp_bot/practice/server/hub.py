"""The socket connections: who subscribed to what, what waits to be sent, and when the venue hangs up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator

from aiohttp import ClientConnectionResetError, web

from perp_bot.practice.server import streams
from perp_bot.practice.server.subscription import Subscription
from perp_bot.practice.server.venue import Venue

log = logging.getLogger(__name__)

MOST_WAITING = 50_000  # frames; a reader this slow is cut off


class Connection:
    """One socket. Frames wait in its own queue, so that a slow reader holds up nobody else."""

    def __init__(
        self, venue: Venue, ws: web.WebSocketResponse, transport: asyncio.BaseTransport | None, ip: str
    ) -> None:
        self.ip = ip
        self.subscriptions: dict[str, Subscription] = {}
        self.follows_clock = False
        self.last_sent_s = time.monotonic()
        self._venue = venue
        self._ws = ws
        self._transport = transport
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self.unwritten = 0  # frames queued or on their way
        self._is_slow = False  # it was waited for in vain and has not caught up since
        self._held: str | None = None  # a frame that a reorder fault keeps for after the next one

    def send(self, channel: str, text: str, coin: str = "") -> None:
        """Queue a frame, through the stream faults in force; `coin` "" for a frame of no coin."""
        faults = self._venue.faults
        if faults.is_silent() or faults.is_muted(channel, coin) or faults.happens("drop", channel, coin):
            return
        if self._held is None and faults.happens("reorder", channel, coin):
            self._held = text
            return
        self._put(text)
        if faults.happens("duplicate", channel, coin):
            self._put(text)
        if self._held is not None:
            self._put(self._held)
            self._held = None

    def _put(self, text: str) -> None:
        if self._queue.qsize() >= MOST_WAITING:
            log.warning("closing a socket that does not read: %d frames wait", self._queue.qsize())
            if isinstance(self._transport, asyncio.Transport):
                self._transport.abort()
            return
        self.unwritten += 1
        self._queue.put_nowait(text)

    async def write(self) -> None:
        """Send queued frames until the socket ends."""
        while True:
            text = await self._queue.get()
            try:
                await self._ws.send_str(text)
                self.last_sent_s = time.monotonic()
            except (ClientConnectionResetError, ConnectionError):
                return
            finally:
                self.unwritten -= 1
                self._queue.task_done()
            if self._is_slow and self._queue.empty():
                self._is_slow = False

    async def written(self, deadline_s: float) -> None:
        """Wait until every queued frame is written, or the socket is gone, or the deadline has passed.

        Who misses the deadline is not waited for again until it has caught up.
        """
        if self._is_slow:
            return
        ends_s = time.monotonic() + deadline_s
        while self.unwritten and not self._ws.closed:
            try:
                await asyncio.wait_for(self._queue.join(), 0.25)
            except TimeoutError:
                if time.monotonic() >= ends_s:
                    self._is_slow = True
                    return

    def hang_up(self) -> None:
        """End the socket without a close frame, as the venue does (1006 on the client's side)."""
        if self._transport is not None:
            self._transport.close()


class Hub:
    """All connections."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.connections: set[Connection] = set()
        self.published_ms = venue.clock.now_ms()  # trades before this moment have been sent to whoever listened

    def of_ip(self, ip: str) -> int:
        """Return how many connections an IP has."""
        return sum(connection.ip == ip for connection in self.connections)

    def subscriptions_of_ip(self, ip: str) -> int:
        """Return how many subscriptions an IP has over all its connections."""
        return sum(len(one.subscriptions) for one in self.connections if one.ip == ip)

    def users_of_ip(self, ip: str) -> set[str]:
        """Return the users whose channels an IP listens to, over all its connections."""
        return {sub.user for one in self.connections if one.ip == ip for sub in one.subscriptions.values()} - {""}

    def streams(self) -> dict[str, Subscription]:
        """Return every stream that someone listens to, by key, in a fixed order."""
        found = {key: sub for one in self.connections for key, sub in one.subscriptions.items()}
        return dict(sorted(found.items()))

    def listeners(self, key: str) -> Iterator[Connection]:
        """Yield the connections subscribed to a stream."""
        return (one for one in list(self.connections) if key in one.subscriptions)

    def publish(self, sub: Subscription, frames: Iterable[str]) -> None:
        """Queue the frames of a stream for everyone who listens."""
        for text in frames:
            for connection in self.listeners(sub.key):
                connection.send(sub.kind, text, sub.coin)

    async def written(self, deadline_s: float = 2.0) -> None:
        """Wait until all connections have written what was queued."""
        for connection in list(self.connections):
            await connection.written(deadline_s)

    def close_all(self) -> None:
        """Cut every socket."""
        for connection in list(self.connections):
            connection.hang_up()

    def close_idle(self) -> None:
        """Cut the sockets on which the venue has sent nothing for the idle limit; a silent venue keeps them open."""
        if self._venue.faults.is_silent():
            for connection in self.connections:
                connection.last_sent_s = time.monotonic()
            return
        oldest_s = time.monotonic() - self._venue.limits.idle_close_s
        for connection in list(self.connections):
            if connection.last_sent_s < oldest_s:
                connection.hang_up()

    def subscribe(self, connection: Connection, sub: Subscription) -> None:
        """Add a subscription and send what it gets at once.

        Of the market a stepped venue sends nothing but the acknowledgement until the clock is subscribed (last, by its
        clients) or the next step is made: the replay of the current minute comes first and in order. What a user's
        channel begins with is the state of the moment and comes at once.
        """
        connection.subscriptions[sub.key] = sub
        if sub.kind == streams.CLOCK:
            connection.follows_clock = True
        if self._venue.clock.stepped and not sub.user:
            return
        now_ms = self._venue.now_ms()
        if sub.kind == streams.CLOCK:
            connection.send(streams.CLOCK, streams.clock(self._venue, now_ms, self._venue.steps))
            return
        at_ms = self.published_ms if sub.kind == "trades" else now_ms
        for text in streams.first_frames(self._venue, sub, at_ms):
            connection.send(sub.kind, text, sub.coin)
