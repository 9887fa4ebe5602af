"""How an action with an unknown outcome is settled: what to ask or send next, and when it is known what became of it.

No I/O and no clock: the caller performs `step`, hands the answer to `after`, and waits between failures as it sees fit.

1. Ask: each order by its client order id, then the open orders, then the fills. What is seen there landed.
2. Nothing known of it: it may still be under way. A noop signed with the *same* nonce ends that. Taken, it proves that
   the action had not landed and makes that final; each order is asked for once more, and is `Never`.
3. The nonce is spent: the action landed, or an earlier noop did whose answer was lost. The questions are asked up to
   three more times, as reads may lag behind; what is then still not seen is `Untraced`.

Only `Never` allows that the same is decided anew, under another client order id and nonce. Nothing here sends an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from perp_bot.execution.orders import IllegalTransition

QUIET_ROUNDS = 3  # rounds of questions, after the nonce is spent, in which nothing is seen
_STUCK_AFTER = 3


@dataclass(frozen=True, slots=True)
class AskOrder:
    """Ask orderStatus for one client order id."""

    cloid: str


@dataclass(frozen=True, slots=True)
class AskOpenOrders:
    """Read the account's open orders."""


@dataclass(frozen=True, slots=True)
class AskFills:
    """Read the account's fills from the time of the action's nonce on."""


@dataclass(frozen=True, slots=True)
class SendNoop:
    """Send a noop with the action's own nonce."""


Question = AskOrder | AskOpenOrders | AskFills
Step = Question | SendNoop


@dataclass(frozen=True, slots=True)
class Seen:
    """A question was answered: the status of each order it knows of (others' orders may be among them)."""

    statuses: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AskFailed:
    """A question was not answered, or not in a form that can be trusted."""


class NoopAnswer(StrEnum):
    """What came of a noop."""

    TAKEN = "taken"
    NONCE_SPENT = "nonce_spent"
    REFUSED = "refused"  # for another reason, or not sent: the nonce is as it was
    UNKNOWN = "unknown"  # not answered: it may have been taken


@dataclass(frozen=True, slots=True)
class Expired:
    """The venue's time has passed the action's expiry, by a margin: it cannot be taken any more. May come any time."""


Answer = Seen | AskFailed | NoopAnswer | Expired


class Nonce(StrEnum):
    """What is known of the action's nonce."""

    OPEN = "open"  # the action may still land
    CLOSED = "closed"  # it cannot land any more; it may have
    LANDED = "landed"  # one of its orders was seen
    BURNT = "burnt"  # a noop took it: the action never landed


@dataclass(frozen=True, slots=True)
class Found:
    """The order reached the venue, which has it in `status`."""

    cloid: str
    status: str


@dataclass(frozen=True, slots=True)
class Never:
    """The order never reached the venue and cannot any more."""

    cloid: str


@dataclass(frozen=True, slots=True)
class Untraced:
    """The nonce is spent and nothing is known of the order: perhaps refused without a record, or reads lag far behind.

    It is not sent again. The account's state decides, and a person is told.
    """

    cloid: str


Verdict = Found | Never | Untraced


@dataclass(frozen=True, slots=True)
class Settling:
    """An action being settled; `todo` holds the steps that are left of this round, the next one first."""

    cloids: tuple[str, ...]
    todo: tuple[Step, ...]
    nonce: Nonce = Nonce.OPEN
    found: tuple[Found, ...] = ()
    quiet_rounds: int = 0
    setbacks: int = 0  # questions that failed and noops that were refused or not answered

    @property
    def step(self) -> Step | None:
        """What to do next; None when everything is known that will be."""
        return self.todo[0] if self.todo else None

    @property
    def is_stuck(self) -> bool:
        """Whether it has failed so often that a person should know."""
        return self.setbacks >= _STUCK_AFTER

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict an order, in the action's order.

        Raises:
            IllegalTransition: while it is not settled.
        """
        if self.todo:
            raise IllegalTransition(f"not settled yet: {self.todo[0]} comes next")
        found = {item.cloid: item for item in self.found}
        missing = Never if self.nonce is Nonce.BURNT else Untraced
        return tuple(found.get(cloid) or missing(cloid) for cloid in self.cloids)


def settling(cloids: tuple[str, ...]) -> Settling:
    """Begin to settle the action that placed these orders."""
    if not cloids:
        raise IllegalTransition("only an action that places orders with client order ids can be settled by asking")
    return Settling(cloids, _round(cloids, ()))


def after(state: Settling, answer: Answer) -> Settling:
    """Return the state after the answer to `state.step`.

    Raises:
        IllegalTransition: when the answer is none to that step, or everything is settled already.
    """
    if state.step is None:
        raise IllegalTransition(f"settled already; {answer} answers nothing")
    if isinstance(answer, Expired):
        return _closed(state) if state.nonce is Nonce.OPEN else state
    if isinstance(state.step, SendNoop):
        if not isinstance(answer, NoopAnswer):
            raise IllegalTransition(f"{answer} does not answer a noop")
        return _after_noop(state, answer)
    if isinstance(answer, NoopAnswer):
        raise IllegalTransition(f"{answer} does not answer {state.step}")
    if isinstance(answer, AskFailed):
        return replace(state, setbacks=state.setbacks + 1)
    return _after_question(state, answer)


def _after_question(state: Settling, answer: Seen) -> Settling:
    known = {item.cloid for item in state.found}
    new = [
        Found(cloid, answer.statuses[cloid])
        for cloid in state.cloids
        if cloid in answer.statuses and cloid not in known
    ]
    known.update(item.cloid for item in new)
    if len(known) == len(state.cloids):
        todo: tuple[Step, ...] = ()
    else:
        todo = tuple(step for step in state.todo[1:] if not (isinstance(step, AskOrder) and step.cloid in known))
    is_over = not todo and len(known) < len(state.cloids)
    # An order that is seen landed, whatever a noop said: the venue may forget the nonces of an agent that was replaced.
    nonce = Nonce.LANDED if new else state.nonce
    seen = replace(state, todo=todo, nonce=nonce, found=(*state.found, *new))
    return _next_round(seen) if is_over else seen


def _next_round(state: Settling) -> Settling:
    """Go on after a round in which not every order was seen."""
    if state.nonce is Nonce.OPEN:
        return replace(state, todo=(SendNoop(),))
    if state.nonce is Nonce.BURNT:
        return state
    quiet_rounds = state.quiet_rounds + 1
    todo = () if quiet_rounds >= QUIET_ROUNDS else _round(state.cloids, state.found)
    return replace(state, todo=todo, quiet_rounds=quiet_rounds)


def _after_noop(state: Settling, answer: NoopAnswer) -> Settling:
    if answer is NoopAnswer.TAKEN:
        once_more = tuple(AskOrder(cloid) for cloid in state.cloids)
        return replace(state, nonce=Nonce.BURNT, todo=once_more)
    if answer is NoopAnswer.NONCE_SPENT:
        return _closed(state)
    return replace(state, todo=_round(state.cloids, state.found), setbacks=state.setbacks + 1)


def _closed(state: Settling) -> Settling:
    return replace(state, nonce=Nonce.CLOSED, todo=_round(state.cloids, state.found), quiet_rounds=0)


def _round(cloids: tuple[str, ...], found: tuple[Found, ...]) -> tuple[Step, ...]:
    known = {item.cloid for item in found}
    return (*(AskOrder(cloid) for cloid in cloids if cloid not in known), AskOpenOrders(), AskFills())
