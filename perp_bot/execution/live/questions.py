"""What the venue is asked about our account and orders, and which answers are still to come."""

from __future__ import annotations

from perp_bot.core.types import OrderRole
from perp_bot.data.account_reads import FILLS_BEFORE_MS
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live.commands import (
    AskForOrder,
    Command,
    ReadAccount,
    ReadFills,
    ReadFunding,
    VenuePort,
)
from perp_bot.execution.live.identities import Identities
from perp_bot.execution.live.working import Working

CLASSES = {
    OrderRole.ENTRY: RequestClass.ENTRY,
    OrderRole.EXIT: RequestClass.EXIT,
    OrderRole.STOP: RequestClass.PROTECTIVE,
}


class Questions:
    """Puts reads on the port and remembers what each was about."""

    def __init__(self, port: VenuePort, identities: Identities, baseline_ms: int) -> None:
        """`baseline_ms`: nothing before it is asked for."""
        self._port = port
        self._identities = identities
        self._asked: dict[int, tuple[str, str]] = {}  # (kind, cloid) by number
        self._reading: dict[int, int] = {}  # reads of fills under way: when they were asked for
        self.read_until_ms = baseline_ms  # up to then every fill has been read; the stream alone may have lost one

    @property
    def is_reading_account(self) -> bool:
        """Whether a read of the account is under way."""
        return any(kind == "account" for kind, _ in self._asked.values())

    # ------------------------------------------------------------ asking

    def order(self, working: Working, now_ms: int) -> None:
        """Ask what became of an order."""
        working.asks += 1
        if working.asked_ms is None:
            working.asked_ms = now_ms
        cls = CLASSES[working.order.intent.role]
        self._ask(AskForOrder(self._identities.next_number(), working.cloid, cls), "order", working.cloid)

    def fills(self, since_ms: int, now_ms: int, cloid: str = "") -> None:
        """Read the fills from a little before `since_ms`; `cloid`: of the order that misses some."""
        number = self._identities.next_number()
        self._reading[number] = now_ms
        self._ask(ReadFills(number, max(0, since_ms - FILLS_BEFORE_MS), RequestClass.PROTECTIVE), "fills", cloid)

    def funding(self, since_ms: int) -> None:
        """Read the funding from `since_ms` on."""
        self._ask(ReadFunding(self._identities.next_number(), since_ms), "funding")

    def account(self, cls: RequestClass) -> None:
        """Read positions and open orders."""
        self._ask(ReadAccount(self._identities.next_number(), cls), "account")

    def _ask(self, command: Command, kind: str, cloid: str = "") -> None:
        self._asked[command.number] = (kind, cloid)
        self._port.put(command)

    # ------------------------------------------------------------ answers

    def answered(self, number: int | None) -> tuple[str, str]:
        """Note an answer; return what was asked: (kind, cloid), both empty for what the stream tells."""
        return self._asked.pop(number or 0, ("", ""))

    def fills_answered(self, number: int | None) -> str:
        """Note that fills were read, once they are booked; return the cloid of the order that missed some."""
        _, cloid = self.answered(number)
        self.read_until_ms = max(self.read_until_ms, self._reading.pop(number or 0, 0))
        return cloid

    def order_answered(self, cloid: str) -> None:
        """Note that an order was told of."""
        self._asked = {number: asked for number, asked in self._asked.items() if asked != ("order", cloid)}

    def failed(self, number: int) -> tuple[str, str]:
        """Note a read that failed; return what was asked."""
        self._reading.pop(number, None)
        return self.answered(number)
