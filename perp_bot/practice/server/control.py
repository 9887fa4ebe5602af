"""The practice venue's own requests, which no real venue has: status, steps, faults and limits."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from aiohttp import web

from perp_bot.core.errors import UsageError
from perp_bot.practice.fault_script import FaultScript
from perp_bot.practice.faults import Faults
from perp_bot.practice.server.actions import Actions
from perp_bot.practice.server.hub import Hub
from perp_bot.practice.server.interventions import Interventions
from perp_bot.practice.server.limits import RollingBudget
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.venue import Venue
from perp_bot.practice.settings import Limits

log = logging.getLogger(__name__)


class Control:
    """The /practice paths, and what tests and start-up ask for without HTTP."""

    def __init__(self, venue: Venue, hub: Hub, publisher: Publisher, weights: RollingBudget, actions: Actions) -> None:
        self._venue = venue
        self._hub = hub
        self._publisher = publisher
        self._weights = weights
        self._interventions = Interventions(venue, publisher, actions)
        self._script = FaultScript()
        publisher.before_time_passes = self._follow_script

    def add_to(self, app: web.Application) -> None:
        """Serve the requests."""
        app.router.add_get("/practice/status", self._status)
        app.router.add_post("/practice/step", self._step)
        app.router.add_post("/practice/faults", self._faults)
        app.router.add_post("/practice/limits", self._limits)

    def set_faults(self, changes: Mapping[str, object]) -> dict[str, Any]:
        """Merge changes into the faults in force and do at once what is to happen once; return the replies to that.

        UsageError when a part is wrong; then nothing has changed.
        """
        venue = self._venue
        lasting = {name: value for name, value in changes.items() if not self._interventions.knows(name)}
        wanted = self._interventions.parse(changes)
        trial = Faults(0)
        trial.update(lasting)
        strangers = {name for name in trial.delisted() if venue.market.history(name) is None}
        if strangers:
            raise UsageError(f"fault delist: the venue has no live coin {sorted(strangers)[0]!r}")
        closes = venue.faults.update(lasting)
        venue.now_ms()
        replies = self._interventions.carry_out(wanted)
        if closes:
            self._hub.close_all()
        return replies

    def follow(self, script: FaultScript) -> None:
        """Set the faults of a script when their time has come; those of its beginning now."""
        for changes in script.all_changes():
            Faults(0).update({k: v for k, v in changes.items() if not self._interventions.knows(k)})
            self._interventions.parse(changes)
        self._script = script
        self._follow_script(self._venue.clock.now_ms())

    def _follow_script(self, now_ms: int) -> None:
        for changes in self._script.due(now_ms - self._venue.clock.start_ms):
            try:
                self.set_faults(changes)
            except UsageError as error:  # the account of the script's author has become another one
                log.warning("a step of the fault script was left out: %s", error)

    async def _status(self, request: web.Request) -> web.Response:
        ip = request.remote or "?"
        return web.json_response(
            {
                **self._venue.label(),
                "faults": self._venue.faults.report(),
                "limits": asdict(self._venue.limits),
                "cadence": asdict(self._venue.settings.cadence),
                "connections": len(self._hub.connections),
                "weight_used": self._weights.used(ip, self._venue.clock.now_ms()),
                "open_accounts": self._venue.settings.open_accounts,
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
            at_ms = await self._publisher.step(to, count)
        except UsageError as error:
            return _refused(str(error))
        return web.json_response({"time": at_ms, "step": self._venue.steps})

    async def _faults(self, request: web.Request) -> web.Response:
        body = await _object(request)
        try:
            replies = self.set_faults(body)
        except UsageError as error:
            return _refused(str(error))
        return web.json_response({"faults": self._venue.faults.report(), **({"replies": replies} if replies else {})})

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
        self._venue.set_limits(**body)
        return web.json_response(asdict(self._venue.limits))


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
