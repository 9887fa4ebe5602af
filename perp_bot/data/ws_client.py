"""The market stream's connection: one daemon thread that connects, subscribes, pings, listens and comes back.

What the messages say is none of its business; it hands each payload to `on_message` on its own thread.
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import websocket

from perp_bot.core.clock import monotonic_s
from perp_bot.data.dial import Dialer, Stopped
from perp_bot.data.frames import FrameReader, FramingError, Opcode

log = logging.getLogger(__name__)

Subscription = dict[str, Any]
_PING = '{"method":"ping"}'


@dataclass(frozen=True, slots=True)
class StreamTimings:
    """Wall times of the connection, seconds; the venue closes a socket on which it sent nothing for 60 s."""

    ping_every_s: float = 30.0
    silent_after_s: float = 20.0  # nothing received, not even the answer to a ping: the socket is dead
    connect_timeout_s: float = 5.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 20.0
    stable_after_s: float = 5.0  # a connection that lived this long starts the backoff anew
    max_connects_a_minute: int = 30
    watch_every_s: float = 5.0


class StreamListener:
    """What the connection tells; called on its thread."""

    def on_message(self, payload: memoryview) -> None:
        """Take one message; the view is valid during the call only."""
        raise NotImplementedError

    def on_connected(self, outage_s: float | None, subscriptions: int) -> None:
        """The stream is up and everything is subscribed; `outage_s` None = for the first time."""
        raise NotImplementedError

    def on_disconnected(self, reason: str) -> None:
        """The stream that was up is down."""
        raise NotImplementedError

    def why_not_connect(self) -> str | None:
        """Return why no connection may be made now (asked before each); None when one may."""
        return None

    def why_stale(self) -> str | None:
        """Return why the connection, though alive, should be made anew; None when it is fine."""
        return None


class _Lost(Exception):
    """The connection is of no more use; the text says why."""


class MarketStream:
    """Keep one socket to the venue up, with every subscription on it."""

    def __init__(
        self,
        url: str,
        subscriptions: Sequence[Subscription],
        listener: StreamListener,
        *,
        timings: StreamTimings | None = None,
    ) -> None:
        self._url = url
        self._subscriptions = tuple(subscriptions)
        self._listener = listener
        self._timings = timings or StreamTimings()
        self._stop = threading.Event()
        self._dialer = Dialer(url, self._stop, self._timings.connect_timeout_s)
        self._thread = threading.Thread(target=self._run, name="perpbot-market-stream", daemon=True)
        self._connects: deque[float] = deque()
        self._lost_s: float | None = None
        self._last_received_s: float | None = None
        self.is_connected = False
        self.connections = 0  # successful ones
        self.messages = 0
        self.handler_errors = 0
        self.last_error: str | None = None

    @property
    def reconnects(self) -> int:
        """How often the stream came back."""
        return max(0, self.connections - 1)

    @property
    def age_s(self) -> float | None:
        """Seconds since anything was received; None = never."""
        last_s = self._last_received_s
        return None if last_s is None else monotonic_s() - last_s

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> bool:
        """Close the stream and end the thread; return whether it ended within `timeout_s`."""
        self._stop.set()
        self._dialer.abort()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            self._wait_for_turn()
            if self._stop.is_set():
                return
            began_s = monotonic_s()
            reason = self._live_once()
            if self._stop.is_set():
                return
            self.last_error = reason
            if monotonic_s() - began_s >= self._timings.stable_after_s:
                attempt = 0
            # Full jitter: many clients that lost the same venue do not come back together.
            ceiling_s = min(self._timings.backoff_max_s, self._timings.backoff_first_s * 2**attempt)
            delay_s = random.uniform(0, ceiling_s)
            attempt = min(attempt + 1, 16)
            log.warning("market stream: %s; connecting again in %.1f s", reason, delay_s)
            self._stop.wait(delay_s)

    def _wait_for_turn(self) -> None:
        """Keep below the venue's 30 new connections a minute."""
        now_s = monotonic_s()
        while self._connects and self._connects[0] <= now_s - 60:
            self._connects.popleft()
        if len(self._connects) >= self._timings.max_connects_a_minute:
            self._stop.wait(self._connects[0] + 60 - now_s)
            self._connects.popleft()
        self._connects.append(monotonic_s())

    def _live_once(self) -> str:
        """Connect, listen until the connection ends, and return why it ended."""
        refused = self._listener.why_not_connect()
        if refused is not None or self._stop.is_set():
            return refused or "stopping"
        try:
            stream = self._dialer.dial()
        except Stopped:
            return "stopping"
        except (OSError, websocket.WebSocketException, ValueError) as error:
            return f"cannot connect to {self._url}: {_plain(error)}"
        try:
            for subscription in self._subscriptions:
                stream.send(json.dumps({"method": "subscribe", "subscription": subscription}))
            self._listen(stream)
            reason = "closed"
        except _Lost as lost:
            reason = str(lost)
        except (OSError, websocket.WebSocketException, FramingError) as error:
            reason = f"connection lost: {_plain(error)}"
        except Exception as error:
            # The stream's supervising edge: whatever broke, the socket is made anew and the log has the details.
            log.exception("market stream: unexpected failure")
            reason = f"unexpected failure: {error!r}"
        finally:
            was_up, self.is_connected = self.is_connected, False
            stream.shutdown()
        if was_up and not self._stop.is_set():
            self._lost_s = monotonic_s()
            self._listener.on_disconnected(reason)
        return reason

    def _came_up(self) -> None:
        now_s = monotonic_s()
        outage_s = None if self._lost_s is None else now_s - self._lost_s
        self.connections += 1
        self.is_connected = True
        self._listener.on_connected(outage_s, len(self._subscriptions))

    def _listen(self, stream: Any) -> None:
        timings = self._timings
        raw = stream.sock
        reader = FrameReader()
        last_ping_s = watched_s = heard_s = monotonic_s()
        idle_ping_s = min(timings.ping_every_s, timings.silent_after_s / 2)
        raw.settimeout(min(idle_ping_s / 2, timings.watch_every_s))
        while not self._stop.is_set():
            try:
                count = raw.recv_into(reader.space())
                if count == 0:
                    raise _Lost("the venue closed the connection")
                self._last_received_s = heard_s = monotonic_s()
                if not self.is_connected:
                    self._came_up()  # a socket that opens and stays mute is not a stream
                reader.filled(count)
                self._hand_out(stream, reader)
                heard_s = monotonic_s()  # the time that our own handling took is no silence of the venue's
            except TimeoutError:
                pass  # nothing came: the deadlines below decide
            now_s = monotonic_s()
            silent_s = now_s - heard_s
            if silent_s >= timings.silent_after_s:
                raise _Lost(f"nothing received for {silent_s:.1f} s")
            since_ping_s = now_s - last_ping_s
            if since_ping_s >= timings.ping_every_s or min(silent_s, since_ping_s) >= idle_ping_s:
                stream.send(_PING)
                last_ping_s = now_s
            if now_s - watched_s >= timings.watch_every_s:
                watched_s = now_s
                stale = self._listener.why_stale()
                if stale is not None:
                    raise _Lost(stale)

    def _hand_out(self, stream: Any, reader: FrameReader) -> None:
        on_message = self._listener.on_message
        for opcode, payload in reader.messages():
            if opcode in (Opcode.TEXT, Opcode.BINARY):
                self.messages += 1
                try:
                    on_message(payload)
                except Exception:
                    # One message that our own code cannot take must not cost the stream; it is counted and logged.
                    self.handler_errors += 1
                    log.exception("market stream: a message could not be handled: %r", bytes(payload[:200]))
            elif opcode == Opcode.PING:
                stream.pong(bytes(payload))
            elif opcode == Opcode.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
                raise _Lost(f"the venue closed the connection (code {code})")
            if self._stop.is_set():
                return


def _plain(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
