"""Performs the steps by which an unknown outcome is settled, one at a time; `unknown` says which come next."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from perp_bot.core.errors import VenueError
from perp_bot.core.venue_account import OrderReport, RestingOrder, VenueFill
from perp_bot.data.account_reads import FILLS_BEFORE_MS, AccountReads
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live import unknown, wire
from perp_bot.execution.live.sender import Accepted, Outcome, Sender, Unknown

LOG = logging.getLogger(__name__)

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 5.0
_NOOP_WAIT_S = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What one step brought: its answer, what it told of the action's orders, and the fills where they were read."""

    answer: unknown.Answer
    reports: Mapping[str, OrderReport] = field(default_factory=dict)
    fills: tuple[VenueFill, ...] | None = None


def perform(
    step: unknown.Step,
    *,
    cloids: Collection[str],
    nonce: int,
    sent_ms: int,
    cls: RequestClass,
    sender: Sender,
    reads: AccountReads,
) -> Asked:
    """Ask one question, or send the noop.

    Args:
        step: of the settling.
        cloids: of the orders that the action places.
        nonce: the action's.
        sent_ms: the venue's time when it was sent: fills are asked for from a little before.
        cls: its place in the weight budget.
        sender: of this thread.
        reads: of the account.
    """
    if isinstance(step, unknown.SendNoop):
        outcome = sender.sign_and_post(wire.noop_action(), nonce, None, request_class=cls, max_wait_s=_NOOP_WAIT_S)
        return Asked(_noop_answer(outcome))
    try:
        if isinstance(step, unknown.AskOrder):
            report = reads.order(step.cloid, cls)
            if report is None:
                return Asked(unknown.Seen({}))
            return Asked(unknown.Seen({step.cloid: report.status}), {step.cloid: report})
        if isinstance(step, unknown.AskOpenOrders):
            found = {
                o.cloid: _report_of(o) for o in reads.open_orders(cls) if o.cloid is not None and o.cloid in cloids
            }
            return Asked(unknown.Seen(dict.fromkeys(found, "open")), found)
        fills = reads.fills_since(sent_ms - FILLS_BEFORE_MS, cls)
        seen = {fill.cloid: "filled" for fill in fills if fill.cloid is not None and fill.cloid in cloids}
        return Asked(unknown.Seen(seen), fills=fills)
    except VenueError as error:
        LOG.warning("settling an unknown outcome: %s", error)
        return Asked(unknown.AskFailed())


def pause_s(before: unknown.Settling, after: unknown.Settling) -> float:
    """Return how long to wait before the next step: after a setback ever longer, and while reads may lag behind."""
    if after.quiet_rounds > before.quiet_rounds:
        return BACKOFF_FIRST_S
    if after.setbacks > before.setbacks:
        return float(min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(after.setbacks, 8)))
    return 0.0


def _noop_answer(outcome: Outcome) -> unknown.NoopAnswer:
    if isinstance(outcome, Accepted):
        return unknown.NoopAnswer.TAKEN
    if isinstance(outcome, Unknown):
        return unknown.NoopAnswer.NONCE_SPENT if outcome.nonce_spent else unknown.NoopAnswer.UNKNOWN
    return unknown.NoopAnswer.REFUSED


def _report_of(order: RestingOrder) -> OrderReport:
    return OrderReport(order.oid, order.cloid, order.symbol, "open", order.left, order.size, order.placed_ms)
