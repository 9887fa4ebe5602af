"""What happens to an account once, on request, without a signature: its owner's hand, and the venue's."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from perp_bot.core.errors import UsageError
from perp_bot.practice import wire
from perp_bot.practice.accounts_file import MODES
from perp_bot.practice.server.actions import TRADES, Actions
from perp_bot.practice.server.publisher import Publisher
from perp_bot.practice.server.venue import Venue

Json = dict[str, Any]

FIELDS: Mapping[str, tuple[str, ...]] = {
    "act": ("user", "action"),
    "mode": ("user", "mode"),
    "leverage": ("user", "coin", "value", "margin"),
    "liquidate": ("user", "coin"),
    "deleverage": ("user", "coin", "share"),
}
"""Interventions and what each is told by."""


class Interventions:
    """Carries interventions out; each is checked before any is begun."""

    def __init__(self, venue: Venue, publisher: Publisher, actions: Actions) -> None:
        self._venue = venue
        self._publisher = publisher
        self._actions = actions

    def knows(self, name: str) -> bool:
        """Return whether a name is an intervention's."""
        return name in FIELDS

    def parse(self, changes: Mapping[str, object]) -> list[tuple[str, Json]]:
        """Return the interventions of a request; UsageError when one cannot be understood."""
        return [(name, self._parsed(name, value)) for name, value in changes.items() if name in FIELDS]

    def carry_out(self, wanted: list[tuple[str, Json]]) -> Json:
        """Do what is wanted now; return the exchange's replies by name."""
        return {name: self._do(name, value) for name, value in wanted}

    def _parsed(self, name: str, value: object) -> Json:
        fields = FIELDS[name]
        if not isinstance(value, Mapping) or set(value) != set(fields):
            raise UsageError(f"fault {name}: expected an object with {', '.join(fields)}, found {value!r}")
        out = dict(value)
        try:
            out["user"] = wire.address(value["user"])
        except wire.NotAnAction:
            raise UsageError(f"fault {name}: {value['user']!r} is not an address") from None
        if not self._venue.is_account(out["user"]):
            raise UsageError(f"fault {name}: {out['user']} is not an account of this venue")
        if name == "act":
            out["action"] = _action(value["action"])
        elif name == "mode":
            if value["mode"] not in MODES:
                raise UsageError(f"fault mode: {value['mode']!r} is not one of {', '.join(MODES)}")
        else:
            self._check_coin(name, out)
        return out

    def _check_coin(self, name: str, value: Json) -> None:
        spec = next((one for one in self._venue.market.specs if one.name == value["coin"]), None)
        if spec is None or self._venue.market.history(spec.name) is None:
            raise UsageError(f"fault {name}: the venue has no live coin {value['coin']!r}")
        if name == "leverage":
            leverage = value["value"]
            if isinstance(leverage, bool) or not isinstance(leverage, int) or not 1 <= leverage <= spec.max_leverage:
                raise UsageError(f"fault leverage: {leverage!r} is not a whole number from 1 to {spec.max_leverage}")
            if value["margin"] not in ("cross", "isolated"):
                raise UsageError(f"fault leverage: {value['margin']!r} is not cross or isolated")
            return
        held = self._venue.exchange.clearinghouse_state(value["user"], self._venue.catch_up())["assetPositions"]
        if spec.name not in [row["position"]["coin"] for row in held]:
            raise UsageError(f"fault {name}: {value['user']} has no position in {spec.name}")
        if name == "deleverage":
            share = value["share"]
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise UsageError(f"fault deleverage: {share!r} is not a share above 0 and up to 1")

    def _do(self, name: str, value: Json) -> object:
        user, now_ms = value["user"], self._venue.catch_up()
        exchange, reply = self._venue.exchange, None
        if name == "act":
            reply = exchange.act(user, value["action"], now_ms)
        elif name == "mode":
            self._venue.set_mode(user, value["mode"])
        elif name == "leverage":
            exchange.set_leverage_outside(user, value["coin"], value["value"], is_cross=value["margin"] == "cross")
        elif name == "liquidate":
            exchange.force_liquidation(user, value["coin"])
        else:
            exchange.adl(user, value["coin"], Decimal(str(value["share"])))
        self._publisher.tell_users(now_ms, user)
        return reply


def _action(value: object) -> Json:
    try:
        if isinstance(value, Mapping) and value.get("type") in TRADES:
            return wire.canonical(value)
    except wire.NotAnAction:
        pass
    raise UsageError(f"fault act: the action cannot be read: {value!r}; types: {', '.join(sorted(TRADES))}")
