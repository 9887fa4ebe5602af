"""Client order ids that were used, the venue's ids of our orders, and the numbers of commands."""

from __future__ import annotations

from collections.abc import Iterable

from perp_bot.core.types import OrderRole
from perp_bot.execution.orders import cloid_for

SOURCE = "live"
# Orders that perpbot sends without its daemon (kill, reconcile, watchdog) are known by how their ids begin: the daemon
# that comes back has not stored them, and must not take them for somebody else's.
DIRECT = {OrderRole.EXIT: "0xd17ec7e0", OrderRole.STOP: "0xd17ec750"}


def direct_cloid(run: str, symbol: str, role: OrderRole, number: int) -> str:
    """Return the client order id of an order that is sent without the daemon."""
    begin = DIRECT[role]
    return begin + cloid_for("direct", f"{run}:{symbol}", role, number)[len(begin) :]


class Identities:
    """Every identity of one session; none is given out twice."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._cloids: dict[int, str] = {}  # by the venue's order id
        self._number = 0

    def use(self, cloids: Iterable[str]) -> None:
        """Note client order ids that are taken."""
        self._used.update(cloids)

    def is_used(self, cloid: str) -> bool:
        """Whether a client order id is taken."""
        return cloid in self._used

    def bind(self, oid: int, cloid: str) -> None:
        """Note the venue's id of an order of ours."""
        self._cloids[oid] = cloid

    def cloid_of(self, oid: int, cloid: str | None) -> str | None:
        """Return our client order id of an order that the venue names by either id; None for another's."""
        return cloid if cloid in self._used else self._cloids.get(oid)

    def next_number(self) -> int:
        """Return the number of the next command."""
        self._number += 1
        return self._number

    def fresh(self, decision_id: str, role: OrderRole) -> int:
        """Return the first attempt of a decision in a role whose client order id was never used."""
        attempt = 0
        while cloid_for(SOURCE, decision_id, role, attempt) in self._used:
            attempt += 1
        return attempt
