"""The HTTP side: /info with the venue's status codes and bodies, and the practice venue's own control requests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from aiohttp import web

from perp_bot.core.errors import UsageError, VenueError
from perp_bot.practice.server import info, streams
from perp_bot.practice.server.hub import Hub
from perp_bot.practice.server.limits import RollingBudget, base_weight, row_weight
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.sockets import Sockets
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.settings import Limits

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

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.hub = Hub(venue)
        self.publisher = Publisher(venue, self.hub)
        self._sockets = Sockets(venue, self.hub, self.publisher)
        self._weights = RollingBudget()
        self._publishing: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """Return the application; it publishes while it runs."""
        app = web.Application(client_max_size=1 << 22)
        app.router.add_post("/info", self._info)
        app.router.add_get("/info", _not_allowed, allow_head=False)
        app.router.add_get("/ws", self._sockets.serve, allow_head=False)
        app.router.add_get("/practice/status", self._status)
        app.router.add_post("/practice/step", self._step)
        app.router.add_post("/practice/faults", self._faults)
        app.router.add_post("/practice/limits", self._limits)
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
        if request.content_type != "application/json":
            return web.Response(status=415, text=_NO_CONTENT_TYPE)
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return web.Response(status=400, text=_NO_JSON)
        try:
            kind = info.request_type(asked)
        except info.BadRequest:
            kind = None
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
        except info.BadRequest:
            return web.Response(status=422, text=_NO_TYPE)
        if reply is info.NULL_500:
            return _null(500)
        self._weights.spend(ip, self.venue.clock.now_ms(), row_weight(kind, info.row_count(reply)))
        return web.Response(body=streams.encode(reply), content_type="application/json")

    async def _status(self, request: web.Request) -> web.Response:
        ip = request.remote or "?"
        return web.json_response(
            {
                **self.venue.label(),
                "faults": self.venue.faults.report(),
                "limits": asdict(self.venue.limits),
                "cadence": asdict(self.venue.settings.cadence),
                "connections": len(self.hub.connections),
                "weight_used": self._weights.used(ip, self.venue.clock.now_ms()),
            }
        )

    async def _step(self, request: web.Request) -> web.Response:
        body = await _object(request)
        to, count = body.get("to", "1m"), body.get("count", 1)
        if (
            not isinstance(to, str)
            or isinstance(count, bool)
            or not isinstance(count, int)
            or set(body) - {"to", "count"}
        ):
            return _refused('expected {"to": timeframe, "count": number}')
        try:
            at_ms = await self.publisher.step(to, count)
        except UsageError as error:
            return _refused(str(error))
        return web.json_response({"time": at_ms, "step": self.venue.steps})

    async def _faults(self, request: web.Request) -> web.Response:
        body = await _object(request)
        try:
            self.set_faults(body)
        except UsageError as error:
            return _refused(str(error))
        return web.json_response({"faults": self.venue.faults.report()})

    def set_faults(self, changes: Mapping[str, object]) -> None:
        """Merge changes into the faults in force (see `Faults.update`); UsageError when one is wrong."""
        coins = self.venue.market
        before = self.venue.faults.delisted()
        closes = self.venue.faults.update(changes)
        strangers = {name for name in self.venue.faults.delisted() if coins.history(name) is None}
        if strangers:
            self.venue.faults.update({"delist": sorted(before) or None})
            raise UsageError(f"fault delist: the venue has no live coin {sorted(strangers)[0]!r}")
        self.venue.now_ms()
        if closes:
            self.hub.close_all()

    async def _limits(self, request: web.Request) -> web.Response:
        body = await _object(request)
        known = {field.name for field in fields(Limits)}
        wrong = [
            name
            for name, value in body.items()
            if name not in known or isinstance(value, bool) or not isinstance(value, int | float) or value <= 0
        ]
        if wrong:
            return _refused(f"limit {wrong[0]!r}: known limits are {', '.join(sorted(known))}, each a positive number")
        self.venue.set_limits(**body)
        return web.json_response(asdict(self.venue.limits))


async def _not_allowed(_: web.Request) -> web.Response:
    return web.Response(status=405)


async def _object(request: web.Request) -> dict[str, Any]:
    """Return the body as an object; anything else is refused."""
    raw = await request.read()
    try:
        body = json.loads(raw) if raw.strip() else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text='{"error": "expected a JSON object"}', content_type="application/json")
    return body


def _refused(reason: str) -> web.Response:
    return web.json_response({"error": reason}, status=400)


def _null(status: int) -> web.Response:
    return web.Response(status=status, text="null", content_type="application/json")


def _false(name: str) -> web.Response:
    if name == "status_502":
        return web.Response(status=502, text=_HTML, content_type="text/html")
    if name == "html":
        return web.Response(text=_HTML, content_type="text/html")
    return _null(429 if name == "status_429" else 500)
