"""What the loop asks of the venue thread. Every command has a number; its answers carry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live.wire import Action


@dataclass(frozen=True, slots=True)
class SendAction:
    """Sign and send an action once; answered by `ActionAnswered`, and by `ActionSettled` where that was unknown."""

    number: int
    action: Action
    cls: RequestClass
    cloids: tuple[str, ...] = ()  # of the orders it places: an unknown outcome is settled by asking for them
    expires_after: int | None = None
    sent_ms: int = 0  # the loop's venue time: fills are asked for from then on


@dataclass(frozen=True, slots=True)
class AskForOrder:
    """What became of an order; answered by `OrderAsked`."""

    number: int
    cloid: str
    cls: RequestClass


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """Positions and open orders together; answered by `AccountRead`."""

    number: int
    cls: RequestClass = RequestClass.RECONCILE


@dataclass(frozen=True, slots=True)
class ReadFills:
    """Fills from a time on; answered by `FillsReported`, also when there are none."""

    number: int
    since_ms: int
    cls: RequestClass = RequestClass.RECONCILE


@dataclass(frozen=True, slots=True)
class ReadFunding:
    """Funding from a time on; answered by `FundingReported`."""

    number: int
    since_ms: int
    cls: RequestClass = RequestClass.RECONCILE


@dataclass(frozen=True, slots=True)
class ReadBudget:
    """The address's budget of actions; answered by `BudgetRead`."""

    number: int
    cls: RequestClass = RequestClass.RECONCILE


@dataclass(frozen=True, slots=True)
class ReadCoin:
    """Leverage and margin mode of a coin; answered by `CoinRead`."""

    number: int
    symbol: str
    cls: RequestClass = RequestClass.RECONCILE


Read = AskForOrder | ReadAccount | ReadFills | ReadFunding | ReadBudget | ReadCoin
Command = SendAction | Read


class VenuePort(Protocol):
    """Where commands go; never blocks. Answers come as events."""

    def put(self, command: Command) -> None:
        """Take a command."""

    def is_idle(self) -> bool:
        """Whether nothing is under way or due now (what waits to be tried again does not count)."""
