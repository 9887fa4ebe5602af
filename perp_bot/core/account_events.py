"""What reaches the trading loop from the venue's account side, by stream and by answers of the venue thread."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from perp_bot.core.venue_account import OrderReport, RestingOrder, VenueAccount, VenueFill, VenueFunding


@dataclass(frozen=True, slots=True)
class OrdersReported:
    """Orders of the account changed state (the stream; nothing is repeated after a reconnect)."""

    reports: tuple[OrderReport, ...]


@dataclass(frozen=True, slots=True)
class FillsReported:
    """Fills of the account, oldest first, by stream or by a read (of command `number`); many come twice."""

    fills: tuple[VenueFill, ...]
    number: int | None = None


@dataclass(frozen=True, slots=True)
class FundingReported:
    """Funding that the venue has booked; many come twice."""

    payments: tuple[VenueFunding, ...]
    number: int | None = None


class EntryOutcome(StrEnum):
    """What the venue said of one entry of an action."""

    RESTING = "resting"
    FILLED = "filled"  # at once, perhaps in part: of an immediate order the rest is gone
    DONE = "done"  # a cancel, a leverage
    REFUSED = "refused"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """The venue's answer to one entry; `reason` as `execution.live.rejections` names it."""

    cloid: str | None
    outcome: EntryOutcome
    oid: int | None = None
    size: Decimal | None = None
    px: Decimal | None = None
    reason: str = ""
    text: str = ""


class ActionOutcome(StrEnum):
    """What is known of an action."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"  # as a whole
    NOT_SENT = "not_sent"  # the venue has not acted on it, and cannot any more
    UNKNOWN = "unknown"  # being settled: `ActionSettled` follows


@dataclass(frozen=True, slots=True)
class ActionAnswered:
    """The answer to command `number`."""

    number: int
    outcome: ActionOutcome
    entries: tuple[EntryAnswer, ...] = ()
    reason: str = ""
    text: str = ""
    took_ms: float = 0.0  # wall time from taking the command to the answer


@dataclass(frozen=True, slots=True)
class ActionSettled:
    """What became of the orders of an action with an unknown outcome.

    `never` reached the venue and cannot any more; `untraced` is not known to it though the nonce is spent: the
    account's own state decides.
    """

    number: int
    found: tuple[OrderReport, ...]
    never: tuple[str, ...]
    untraced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OrderAsked:
    """The answer to a question about one order; `report` None: the venue does not know it."""

    cloid: str
    report: OrderReport | None


@dataclass(frozen=True, slots=True)
class AccountRead:
    """Positions and open orders, read together by command `number`; the venue may be a moment ahead of our fills."""

    number: int
    account: VenueAccount
    orders: tuple[RestingOrder, ...]


@dataclass(frozen=True, slots=True)
class BudgetRead:
    """The address's lifetime budget of actions, as read by command `number`."""

    number: int
    used: int
    cap: int


@dataclass(frozen=True, slots=True)
class CoinRead:
    """Leverage and margin mode of a coin, as read by command `number`."""

    number: int
    symbol: str
    leverage: int
    is_cross: bool


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """A read of command `number` failed."""

    number: int
    text: str


AccountEvent = (
    OrdersReported
    | FillsReported
    | FundingReported
    | ActionAnswered
    | ActionSettled
    | OrderAsked
    | AccountRead
    | BudgetRead
    | CoinRead
    | ReadFailed
)
