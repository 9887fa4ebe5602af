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
from perp_bot.practice.server.actions import CUT, NOT_READ, Actions
from perp_bot.practice.server.fields import NULL_500, BadRequest
from perp_bot.practice.server.hub import Connection, Hub
from perp_bot.practice.server.limits import RollingBudget
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.subscription import FatalSubscription, UnknownSubscription, encode, frame
from perp_bot.practice.server.venue import Venue

log = logging.getLogger(__name__)

_CLOSE_DELAY_S = 0.1  # the venue hangs up 90 to 155 ms after a subscription to an unknown coin
_LARGEST_FRAME = 1 << 20
_NOT_READ = "Failed to deserialize the JSON body into the target type"
_FALSE_ANSWERS = {"status_429": "429 Too Many Requests", "null_500": "500 Internal Server Error"}
_NO_ANSWER = "502 Bad Gateway"


class Sockets:
    """The /ws endpoint."""

    def __init__(self, venue: Venue, hub: Hub, publisher: Publisher, actions: Actions) -> None:
        self._venue = venue
        self._hub = hub
        self._publisher = publisher
        self._actions = actions
        self._acting: set[asyncio.Task[None]] = set()
        self._opened = RollingBudget()
        self._said = RollingBudget()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one socket's conversation until it ends."""
        self._venue.clock.begin()
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
        connection.send("error", frame("error", f"Error parsing JSON into valid websocket request: {text}"))

    async def _change(self, connection: Connection, text: str, method: str, wanted: object) -> None:
        try:
            sub = streams.parse(wanted, self._venue)
        except UnknownSubscription:
            self._not_understood(connection, text)
            return
        except FatalSubscription:
            await asyncio.sleep(_CLOSE_DELAY_S)
            connection.hang_up()
            return
        shown = encode(sub.echo).decode()
        known = sub.key in connection.subscriptions
        if method == "subscribe" and known:
            connection.send("error", frame("error", f"Already subscribed: {shown}"))
            return
        if method == "unsubscribe" and not known:
            connection.send("error", frame("error", f"Already unsubscribed: {shown}"))
            return
        most = self._venue.limits.subscriptions
        if method == "subscribe" and self._hub.subscriptions_of_ip(connection.ip) >= most:
            connection.send("error", frame("error", f"Cannot subscribe to more than {most} channels."))
            return
        if method == "subscribe" and sub.user and self._is_one_user_too_many(connection.ip, sub.user):
            text = f"Cannot track more than {self._venue.limits.users} total users."
            connection.send("error", frame("error", text))
            return
        acknowledged = frame("subscriptionResponse", {"method": method, "subscription": sub.echo})
        connection.send("subscriptionResponse", acknowledged)
        if method == "unsubscribe":
            del connection.subscriptions[sub.key]
            connection.follows_clock = connection.follows_clock and sub.kind != streams.CLOCK
            return
        if sub.user:  # what has happened belongs into the snapshot, not after it
            self._publisher.tell_users(self._venue.catch_up())
        self._hub.subscribe(connection, sub)
        if sub.kind == streams.CLOCK and self._venue.clock.stepped:
            self._publisher.replay(connection)

    def _is_one_user_too_many(self, ip: str, user: str) -> bool:
        users = self._hub.users_of_ip(ip)
        return user not in users and len(users) >= self._venue.limits.users

    async def _post(self, connection: Connection, text: str, number: int, wanted: object) -> None:
        kind = wanted.get("type") if isinstance(wanted, Mapping) else None
        if kind not in ("info", "action") or not isinstance(wanted, Mapping):
            self._not_understood(connection, text)
            return
        payload = wanted.get("payload")
        if kind == "action":  # apart from the conversation, which a delayed answer must not hold up
            task = asyncio.create_task(self._post_action(connection, number, payload), name="practice-posted-action")
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)
            return
        try:
            asked = info.request_type(payload)
            if not isinstance(payload, Mapping):
                raise BadRequest
            data = info.answer(self._venue, payload)
        except BadRequest:
            response: dict[str, Any] = {"type": "error", "payload": _NOT_READ}
        else:
            response = {"type": "info", "payload": {"type": asked, "data": None if data is NULL_500 else data}}
        connection.send("post", frame("post", {"id": number, "response": response}))

    async def _post_action(self, connection: Connection, number: int, payload: object) -> None:
        outcome = await self._actions.handle(payload, None)
        if outcome.false == CUT:
            connection.hang_up()
            return
        response: dict[str, Any] = {"type": "action", "payload": outcome.reply}
        if outcome.false == NOT_READ:
            response = {"type": "error", "payload": _NOT_READ}
        elif outcome.false is not None:
            response = {"type": "error", "payload": _FALSE_ANSWERS.get(outcome.false, _NO_ANSWER)}
        connection.send("post", frame("post", {"id": number, "response": response}))


def _wall_ms() -> int:
    return time.monotonic_ns() // 1_000_000
