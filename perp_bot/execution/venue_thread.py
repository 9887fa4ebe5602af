"""The venue thread: sends signed actions and reads our account, and puts the answers on the loop's queue.

It is a few workers on one list of commands, the most urgent class first. One of them takes nothing but protective
orders and exits, so that an entry whose answer never comes holds up no stop. An action is sent once; an unknown outcome
is settled as `execution.live.unknown` says, for as long as it takes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from perp_bot.core.account_events import (
    AccountEvent,
    AccountRead,
    ActionAnswered,
    ActionOutcome,
    ActionSettled,
    BudgetRead,
    CoinRead,
    EntryAnswer,
    EntryOutcome,
    FillsReported,
    FundingReported,
    OrderAsked,
    ReadFailed,
)
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import PerpBotError, VenueError
from perp_bot.core.venue_account import OrderReport
from perp_bot.data.account_reads import AccountReads
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live import asking, unknown
from perp_bot.execution.live.answers import Answered, Done, Filled, Refused, Resting, Unclear
from perp_bot.execution.live.commands import (
    AskForOrder,
    Command,
    Read,
    ReadAccount,
    ReadBudget,
    ReadCoin,
    ReadFills,
    ReadFunding,
    SendAction,
)
from perp_bot.execution.live.nonces import NonceCounter
from perp_bot.execution.live.sender import (
    SAME_NONCE_AGAIN_S,
    Accepted,
    NotSent,
    Outcome,
    Rejected,
    Sender,
    Unknown,
)

LOG = logging.getLogger(__name__)

WORKERS = 4  # the first takes protective orders and exits only
_RANK = {cls: rank for rank, cls in enumerate(RequestClass)}
_WAIT_S = {RequestClass.PROTECTIVE: 5.0, RequestClass.EXIT: 5.0}  # for the weight budget; the others do not wait

Put = Callable[[AccountEvent], None]


@dataclass(frozen=True, slots=True)
class _Sending:
    """An action on its way, perhaps again under the nonce that it had."""

    command: SendAction
    nonce: int | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Settle:
    """An action with an unknown outcome, at the next step of its settling."""

    command: SendAction
    nonce: int
    state: unknown.Settling
    reports: Mapping[str, OrderReport] = field(default_factory=dict)


_Job = _Sending | _Settle | Read


class VenueThread:
    """Owns the signer's connections and the account's reads. `put` from the loop; answers through `put_event`."""

    def __init__(
        self,
        *,
        new_sender: Callable[[], Sender],
        reads: AccountReads,
        nonces: NonceCounter,
        put_event: Put,
        workers: int = WORKERS,
    ) -> None:
        """`new_sender` is called once a worker: a sender is used by one thread."""
        self._new_sender = new_sender
        self._reads = reads
        self._nonces = nonces
        self._put_event = put_event
        self._ready = threading.Condition()
        self._waiting: list[tuple[int, int, float, _Job]] = []  # (rank, order, not before, job)
        self._order = 0
        self._nonce_trouble: str | None = None  # as it was told
        self._busy = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, args=(index == 0,), name=f"perpbot-venue-{index}", daemon=True)
            for index in range(workers)
        ]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the workers; a request under way ends by its own timeout."""
        with self._ready:
            self._stopping = True
            self._ready.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)

    # ------------------------------------------------------------ commands

    def put(self, command: Command) -> None:
        """Take a command; never blocks."""
        job: _Job = _Sending(command) if isinstance(command, SendAction) else command
        self._push(job, command.cls)

    def is_idle(self) -> bool:
        """Whether nothing is under way or due now."""
        with self._ready:
            now_s = monotonic_s()
            return self._busy == 0 and not any(not_before <= now_s for _, _, not_before, _ in self._waiting)

    def _push(self, job: _Job, cls: RequestClass, delay_s: float = 0.0) -> None:
        with self._ready:
            self._order += 1
            self._waiting.append((_RANK[cls], self._order, monotonic_s() + delay_s, job))
            self._ready.notify_all()

    def _take(self, urgent_only: bool) -> _Job | None:
        """Return the most urgent job that is due, waiting for one; None when stopping."""
        with self._ready:
            while not self._stopping:
                now_s = monotonic_s()
                due = [
                    item
                    for item in self._waiting
                    if item[2] <= now_s and (not urgent_only or item[0] <= _RANK[RequestClass.EXIT])
                ]
                if due:
                    best = min(due, key=lambda item: item[:2])
                    self._waiting.remove(best)
                    self._busy += 1
                    return best[3]
                later = [item[2] for item in self._waiting]
                self._ready.wait(max(0.001, min(later) - now_s) if later else None)
            return None

    def _work(self, urgent_only: bool) -> None:
        sender = self._new_sender()
        try:
            while (job := self._take(urgent_only)) is not None:
                try:
                    self._do(job, sender)
                except Exception as error:
                    # The thread's edge: the loop must hear of every command, whatever broke.
                    LOG.exception("venue thread: unexpected failure")
                    self._fail(job, f"unexpected failure: {error!r}")
                finally:
                    with self._ready:
                        self._busy -= 1
        finally:
            sender.close()

    def _do(self, job: _Job, sender: Sender) -> None:
        if isinstance(job, _Sending):
            self._send(job, sender)
        elif isinstance(job, _Settle):
            self._settle(job, sender)
        else:
            self._read(job)

    def _fail(self, job: _Job, text: str) -> None:
        if isinstance(job, _Sending):
            self._put_event(ActionAnswered(job.command.number, ActionOutcome.UNKNOWN, text=text))
        elif isinstance(job, _Settle):
            self._push(job, job.command.cls, asking.BACKOFF_MAX_S)
        else:
            self._put_event(ReadFailed(job.number, text))

    # ------------------------------------------------------------ actions

    def _send(self, job: _Sending, sender: Sender) -> None:
        command = job.command
        try:
            nonce = self._take_nonce() if job.nonce is None else job.nonce
        except PerpBotError as error:
            self._put_event(ActionAnswered(command.number, ActionOutcome.NOT_SENT, text=str(error)))
            return
        wait_s, began_s = _WAIT_S.get(command.cls, 0.0), monotonic_s()
        try:
            outcome = sender.sign_and_post(
                command.action, nonce, command.expires_after, request_class=command.cls, max_wait_s=wait_s
            )
        except Exception as error:
            # Whatever broke, the request may have left: its nonce is known, so that what became of it can be asked.
            LOG.exception("venue thread: unexpected failure while sending")
            outcome = Unknown(f"unexpected failure: {error!r}")
        if isinstance(outcome, NotSent) and (outcome.reached_venue or job.tries):
            # Whatever answered may stand before the venue: only the same nonce may go out again.
            if job.tries < len(SAME_NONCE_AGAIN_S):
                self._push(_Sending(command, nonce, job.tries + 1), command.cls, SAME_NONCE_AGAIN_S[job.tries])
                return
            outcome = Unknown(outcome.why)
        took_ms = (monotonic_s() - began_s) * 1000.0
        self._put_event(replace(answer_of(command.number, outcome), took_ms=took_ms))
        if isinstance(outcome, Unknown) and command.cloids:
            self._push(_Settle(command, nonce, unknown.settling(command.cloids)), command.cls)

    def _take_nonce(self) -> int:
        """Return a nonce; one that cannot be written down is told once: a stop does not wait for a disk."""
        nonce = self._nonces.take()
        trouble, before = self._nonces.trouble, self._nonce_trouble
        self._nonce_trouble = trouble
        if trouble is not None and trouble != before:
            LOG.error("%s; nonces are counted on in memory", trouble)
        return nonce

    # ------------------------------------------------------------ unknown outcomes

    def _settle(self, job: _Settle, sender: Sender) -> None:
        """Do one step; go on at once, or after a while where it failed."""
        command, step = job.command, job.state.step
        assert step is not None
        asked = asking.perform(
            step,
            cloids=command.cloids,
            nonce=job.nonce,
            sent_ms=command.sent_ms,
            cls=command.cls,
            sender=sender,
            reads=self._reads,
        )
        if asked.fills is not None:
            self._put_event(FillsReported(asked.fills))
        reports = {**job.reports, **asked.reports}
        state = unknown.after(job.state, asked.answer)
        if state.step is None:
            self._put_event(settled_of(command.number, state, reports))
            return
        delay_s = asking.pause_s(job.state, state)
        self._push(replace(job, state=state, reports=reports), job.command.cls, delay_s)

    # ------------------------------------------------------------ reads

    def _read(self, command: Read) -> None:
        try:
            event: AccountEvent
            if isinstance(command, AskForOrder):
                event = OrderAsked(command.cloid, self._reads.order(command.cloid, command.cls))
            elif isinstance(command, ReadAccount):
                event = AccountRead(
                    command.number, self._reads.account(command.cls), self._reads.open_orders(command.cls)
                )
            elif isinstance(command, ReadBudget):
                found = self._reads.budget(command.cls)
                event = BudgetRead(command.number, found.requests_used, found.requests_cap)
            elif isinstance(command, ReadCoin):
                coin = self._reads.coin(command.symbol, command.cls)
                event = CoinRead(command.number, command.symbol, coin.leverage, coin.is_cross)
            elif isinstance(command, ReadFills):
                event = FillsReported(self._reads.fills_since(command.since_ms, command.cls), command.number)
            else:
                assert isinstance(command, ReadFunding)
                event = FundingReported(self._reads.funding_since(command.since_ms, command.cls), command.number)
        except VenueError as error:
            event = ReadFailed(command.number, str(error))
        self._put_event(event)


def answer_of(number: int, outcome: Outcome) -> ActionAnswered:
    """Return an outcome as the event that tells the loop."""
    if isinstance(outcome, Accepted):
        return ActionAnswered(number, ActionOutcome.ACCEPTED, tuple(_entry(answered) for answered in outcome.answers))
    if isinstance(outcome, Rejected):
        rejection = outcome.rejection
        return ActionAnswered(number, ActionOutcome.REJECTED, (), rejection.reason.value, rejection.text)
    if isinstance(outcome, NotSent):
        return ActionAnswered(number, ActionOutcome.NOT_SENT, text=outcome.why)
    return ActionAnswered(number, ActionOutcome.UNKNOWN, text=outcome.why)


def _entry(answered: Answered) -> EntryAnswer:
    cloid, entry = answered.cloid, answered.entry
    if isinstance(entry, Resting):
        return EntryAnswer(cloid, EntryOutcome.RESTING, entry.oid)
    if isinstance(entry, Filled):
        return EntryAnswer(cloid, EntryOutcome.FILLED, entry.oid, entry.size, entry.avg_px)
    if isinstance(entry, Refused):
        rejection = entry.rejection
        return EntryAnswer(cloid, EntryOutcome.REFUSED, reason=rejection.reason.value, text=rejection.text)
    if isinstance(entry, Unclear):
        return EntryAnswer(cloid, EntryOutcome.UNCLEAR, text=entry.text)
    return EntryAnswer(cloid, EntryOutcome.DONE if isinstance(entry, Done) else EntryOutcome.RESTING)


def settled_of(number: int, state: unknown.Settling, reports: Mapping[str, OrderReport]) -> ActionSettled:
    """Return the verdicts as the event that tells the loop; what only fills told of is untraced, the fills came too."""
    found, never, untraced = [], [], []
    for verdict in state.verdicts:
        if isinstance(verdict, unknown.Never):
            never.append(verdict.cloid)
        elif isinstance(verdict, unknown.Found) and verdict.cloid in reports:
            found.append(reports[verdict.cloid])
        else:
            untraced.append(verdict.cloid)
    return ActionSettled(number, tuple(found), tuple(never), tuple(untraced))
