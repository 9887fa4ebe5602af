"""One socket's conversation: subscribe, unsubscribe, ping and post, with the venue's own error texts."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import WSMsgType, web

from perp_bot.practice.server import info, streams
from perp_bot.practice.server.hub import Connection, Hub
from perp_bot.practice.server.limits import RollingBudget
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.venue import Venue

log = logging.getLogger(__name__)

_CLOSE_DELAY_S = 0.1  # the venue hangs up 90 to 155 ms after a subscription to an unknown coin
_LARGEST_FRAME = 1 << 20


class Sockets:
    """The /ws endpoint."""

    def __init__(self, venue: Venue, hub: Hub, publisher: Publisher) -> None:
        self._venue = venue
        self._hub = hub
        self._publisher = publisher
        self._opened = RollingBudget()
        self._said = RollingBudget()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one socket's conversation until it ends."""
        ip = request.remote or "?"
        limits = self._venue.limits
        refusal = self._venue.faults.answer_for("ws", None)
        if refusal is not None:
            return web.Response(status=502 if refusal in ("status_502", "html") else 429)
        if self._hub.of_ip(ip) >= limits.connections or not self._opened.try_spend(
            ip, _wall_ms(), 1, limits.new_connections_per_minute
        ):
            return web.Response(status=429)
        ws = web.WebSocketResponse(compress=False, max_msg_size=_LARGEST_FRAME)
        await ws.prepare(request)
        connection = Connection(self._venue, ws, request.transport, ip)
        self._hub.connections.add(connection)
        writer = asyncio.create_task(connection.write(), name="practice-socket-writer")
        try:
            async for message in ws:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                if not self._said.try_spend(ip, _wall_ms(), 1, limits.messages_per_minute):
                    log.warning("closing a socket that sent more than %d messages a minute", limits.messages_per_minute)
                    connection.hang_up()
                    break
                text = message.data if isinstance(message.data, str) else message.data.decode("utf-8", "replace")
                await self._take(connection, text)
        finally:
            self._hub.connections.discard(connection)
            writer.cancel()
        return ws

    async def _take(self, connection: Connection, text: str) -> None:
        try:
            request = json.loads(text)
        except ValueError:
            request = None
        method = request.get("method") if isinstance(request, Mapping) else None
        if method == "ping":
            connection.send("pong", '{"channel":"pong"}')
        elif method in ("subscribe", "unsubscribe") and isinstance(request, Mapping):
            await self._change(connection, text, method, request.get("subscription"))
        elif method == "post" and isinstance(request, Mapping) and isinstance(request.get("id"), int):
            await self._post(connection, text, request["id"], request.get("request"))
        else:
            self._not_understood(connection, text)

    def _not_understood(self, connection: Connection, text: str) -> None:
        connection.send("error", streams.frame("error", f"Error parsing JSON into valid websocket request: {text}"))

    async def _change(self, connection: Connection, text: str, method: str, wanted: object) -> None:
        try:
            sub = streams.parse(wanted, self._venue)
        except streams.UnknownSubscription:
            self._not_understood(connection, text)
            return
        except streams.FatalSubscription:
            await asyncio.sleep(_CLOSE_DELAY_S)
            connection.hang_up()
            return
        shown = streams.encode(sub.echo).decode()
        known = sub.key in connection.subscriptions
        if method == "subscribe" and known:
            connection.send("error", streams.frame("error", f"Already subscribed: {shown}"))
            return
        if method == "unsubscribe" and not known:
            connection.send("error", streams.frame("error", f"Already unsubscribed: {shown}"))
            return
        most = self._venue.limits.subscriptions
        if method == "subscribe" and self._hub.subscriptions_of_ip(connection.ip) >= most:
            connection.send("error", streams.frame("error", f"Cannot subscribe to more than {most} channels."))
            return
        acknowledged = streams.frame("subscriptionResponse", {"method": method, "subscription": sub.echo})
        connection.send("subscriptionResponse", acknowledged)
        if method == "unsubscribe":
            del connection.subscriptions[sub.key]
            connection.follows_clock = connection.follows_clock and sub.kind != streams.CLOCK
            return
        self._hub.subscribe(connection, sub)
        if sub.kind == streams.CLOCK and self._venue.clock.stepped:
            self._publisher.replay(connection)

    async def _post(self, connection: Connection, text: str, number: int, wanted: object) -> None:
        if not isinstance(wanted, Mapping) or wanted.get("type") != "info":
            self._not_understood(connection, text)
            return
        payload = wanted.get("payload")
        try:
            kind = info.request_type(payload)
            if not isinstance(payload, Mapping):
                raise info.BadRequest
            data = info.answer(self._venue, payload)
        except info.BadRequest:
            response: dict[str, Any] = {
                "type": "error",
                "payload": "Failed to deserialize the JSON body into the target type",
            }
        else:
            told = None if data is info.NULL_500 else data
            response = {"type": "info", "payload": {"type": kind, "data": told}}
        connection.send("post", streams.frame("post", {"id": number, "response": response}))


def _wall_ms() -> int:
    return time.monotonic_ns() // 1_000_000
