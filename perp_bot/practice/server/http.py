"""The HTTP side: /info and /exchange with the venue's status codes and bodies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import Any

from aiohttp import web

from perp_bot.core.errors import VenueError
from perp_bot.practice.server import info
from perp_bot.practice.server.actions import CUT, NOT_READ, Actions
from perp_bot.practice.server.control import Control
from perp_bot.practice.server.fields import NULL_500, BadRequest
from perp_bot.practice.server.hub import Hub
from perp_bot.practice.server.limits import RollingBudget, base_weight, row_weight
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.sockets import Sockets
from perp_bot.practice.server.subscription import encode
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.server.witness import Witness

log = logging.getLogger(__name__)

_NO_TYPE = "Failed to deserialize the JSON body into the target type"
_NO_JSON = "Failed to parse the request body as JSON"
_NO_CONTENT_TYPE = "Expected request with `Content-Type: application/json`"
_HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


class PortTaken(VenueError):
    """The address cannot be listened on."""

    exit_code = 1


async def listen(runner: web.AppRunner, host: str, port: int) -> int:
    """Listen on an address and return its port (a free one for 0); PortTaken when it cannot be had."""
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PortTaken(
            f"practice venue: cannot listen on {host}:{port} ({reason}); another one may be running, or choose --port"
        ) from None
    bound: int = runner.addresses[0][1]
    return bound


class Server:
    """The venue's aiohttp application and the objects behind it."""

    def __init__(self, venue: Venue, witness: Witness | None = None) -> None:
        self.venue = venue
        self.hub = Hub(venue)
        self._witness = Witness() if witness is None else witness
        self.publisher = Publisher(venue, self.hub, self._witness)
        self._weights = RollingBudget()
        self._actions = Actions(venue, self.publisher, self._weights, self._witness)
        self._sockets = Sockets(venue, self.hub, self.publisher, self._actions)
        self.control = Control(venue, self.hub, self.publisher, self._weights, self._actions)
        self._publishing: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """Return the application; it publishes while it runs."""
        app = web.Application(client_max_size=1 << 22)
        app.router.add_post("/info", self._info)
        app.router.add_get("/info", _not_allowed, allow_head=False)
        app.router.add_post("/exchange", self._exchange)
        app.router.add_get("/exchange", _not_allowed, allow_head=False)
        app.router.add_get("/ws", self._sockets.serve, allow_head=False)
        self.control.add_to(app)
        app.on_startup.append(self._begin)
        app.on_shutdown.append(self._end)
        return app

    async def _begin(self, _: web.Application) -> None:
        self._publishing = asyncio.create_task(self.publisher.run(), name="practice-publisher")

    async def _end(self, _: web.Application) -> None:
        self.hub.close_all()
        if self._publishing is not None:
            self._publishing.cancel()
            await asyncio.gather(self._publishing, return_exceptions=True)

    async def _info(self, request: web.Request) -> web.Response:
        self.venue.clock.begin()
        asked = await _body(request)
        if isinstance(asked, web.Response):
            return asked
        try:
            kind = info.request_type(asked)
        except BadRequest:
            kind = None
        self._witness.asked("info", kind)
        faults = self.venue.faults
        if delay_s := faults.delay_s(kind):
            await asyncio.sleep(delay_s)
        if (false_answer := faults.answer_for("info", kind)) is not None:
            return _false(false_answer)
        if kind is None:
            return web.Response(status=422, text=_NO_TYPE)
        ip, limit = request.remote or "?", self.venue.limits.weight_per_minute
        if not self._weights.try_spend(ip, self.venue.clock.now_ms(), base_weight(kind), limit):
            return _null(429)
        try:
            await info.warm(self.venue, asked)
            reply = info.answer(self.venue, asked)
        except BadRequest:
            return web.Response(status=422, text=_NO_TYPE)
        if reply is NULL_500:
            return _null(500)
        self._weights.spend(ip, self.venue.clock.now_ms(), row_weight(kind, info.row_count(reply)))
        return web.Response(body=encode(reply), content_type="application/json")

    async def _exchange(self, request: web.Request) -> web.Response:
        self.venue.clock.begin()
        body = await _body(request)
        if isinstance(body, web.Response):
            return body
        outcome = await self._actions.handle(body, request.remote or "?")
        if outcome.false == CUT:
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=502)
        if outcome.false == NOT_READ:
            return web.Response(status=422, text=_NO_TYPE)
        if outcome.false is not None:
            return _false(outcome.false)
        return web.Response(body=encode(outcome.reply), content_type="application/json")


async def _not_allowed(_: web.Request) -> web.Response:
    return web.Response(status=405)


async def _body(request: web.Request) -> Any:
    """Return the JSON of a request, or the response that refuses it."""
    if request.content_type != "application/json":
        return web.Response(status=415, text=_NO_CONTENT_TYPE)
    try:
        return json.loads(await request.read())
    except ValueError:
        return web.Response(status=400, text=_NO_JSON)


def _null(status: int) -> web.Response:
    return web.Response(status=status, text="null", content_type="application/json")


def _false(name: str) -> web.Response:
    if name == "status_502":
        return web.Response(status=502, text=_HTML, content_type="text/html")
    if name == "html":
        return web.Response(text=_HTML, content_type="text/html")
    return _null(429 if name == "status_429" else 500)
