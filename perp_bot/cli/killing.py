"""Kill from the command line: the latch first, then whoever can be told.

The latch file is created and fsynced before anything else, so that a daemon that is gone, hung or refusing changes
nothing about the kill: whoever sends orders looks at the file before every action that adds exposure.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING

import click

from perp_bot.cli.confirm import prepare_and_commit
from perp_bot.cli.output import say
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import (
    EXIT_AWAY,
    EXIT_FAILURE,
    EXIT_OK,
    DaemonAway,
    DaemonBusy,
    IpcError,
    PerpBotError,
    StoreError,
    UsageError,
)
from perp_bot.ipc.client import Client
from perp_bot.ipc.heartbeat import is_answering, living_daemon
from perp_bot.ipc.protocol import ControlResult
from perp_bot.ops.instance_lock import InstanceLock, holder
from perp_bot.risk import kill_switch

if TYPE_CHECKING:
    from perp_bot.config.model import Config

_ANSWER_S = 1.0
_LOCK_FREE_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class KillOrder:
    """What the operator asked for; `can_ask` is whether there is a terminal to ask on."""

    reason: str
    flatten: bool
    symbol: str | None
    strategy: str | None
    take_over: bool
    yes: bool
    can_ask: bool


@dataclass(frozen=True, slots=True)
class KillOutcome:
    """What came of it. The exit code is 0 only when all that was asked for is certain."""

    result: ControlResult
    exit_code: int


def kill_now(paths: RuntimePaths, order: KillOrder, live: Config | None = None) -> KillOutcome:
    """Latch, tell the daemon, and flatten or take over when asked; without a daemon go to the venue where that is live.

    Args:
        paths: of the daemon.
        order: what was asked for.
        live: the settings when their mode is live.

    Raises:
        StoreError: the latch could not be created and no daemon could be told either.
    """
    latch_error = _latch(paths, order)
    if order.take_over:
        return _take_over(paths, order, latch_error, live)
    try:
        with Client(paths.socket, _ANSWER_S, lock_path=paths.lock) as client:
            told = client.control(
                "kill",
                answer_within_s=_ANSWER_S,
                reason=order.reason or None,
                flatten=order.flatten or None,
                symbol=order.symbol,
                strategy=order.strategy,
            )
            return _flatten(client, order, told) if order.flatten else KillOutcome(told, EXIT_OK)
    except (DaemonAway, IpcError) as error:
        return _without_answer(paths, order, error, latch_error, live)


def _latch(paths: RuntimePaths, order: KillOrder) -> StoreError | None:
    who = f"perpbot kill, pid {os.getpid()} (uid {os.getuid()})"
    try:
        kill_switch.latch(paths.kill_latch, who=who, reason=order.reason, venue_ms=None)
    except StoreError as error:
        return error  # the daemon may be able to: it is asked next
    return None


def _flatten(client: Client, order: KillOrder, told: ControlResult) -> KillOutcome:
    """Confirm and commit the flatten of a kill that is latched already."""
    say(told.text)
    preview = told.preview
    # With nothing to close there is nothing to confirm, but the daemon still has to say that it is flat.
    needs_no_answer = order.yes or (preview is not None and not preview.positions and not preview.orders)
    if not needs_no_answer and not order.can_ask:
        return KillOutcome(
            ControlResult("killed", "killed; NOT flattened: this is not a terminal, add --yes"), EXIT_FAILURE
        )
    try:
        result = prepare_and_commit(
            client,
            "flatten",
            yes=needs_no_answer,
            symbol=order.symbol,
            strategy=order.strategy,
            reason=order.reason or None,
            first=preview,
        )
    except (DaemonAway, IpcError) as error:
        return KillOutcome(ControlResult("unknown", f"killed; whether it is flat is not known: {error}"), EXIT_FAILURE)
    except click.Abort:
        return KillOutcome(ControlResult("killed", "killed; NOT flattened: interrupted"), EXIT_FAILURE)
    if result.status in ("refused", "unknown", "partly_flat"):
        return KillOutcome(ControlResult(result.status, f"killed; {result.text}"), EXIT_FAILURE)
    return KillOutcome(result, EXIT_OK)


def _without_answer(
    paths: RuntimePaths, order: KillOrder, error: PerpBotError, latch_error: StoreError | None, live: Config | None
) -> KillOutcome:
    """Say what the file alone has achieved."""
    pid = living_daemon(paths)
    if latch_error is not None:
        if live is not None and pid is None:  # no latch is no reason to leave orders at the venue
            outcome = _at_venue(live, paths, order, f"{latch_error}; no daemon runs")
            return KillOutcome(outcome.result, outcome.exit_code or EXIT_FAILURE)
        raise StoreError(f"{latch_error}; and the daemon could not be told: {error}")
    if pid is None:
        text = f"killed: latched at {paths.kill_latch}; no daemon runs"
        if live is not None:
            return _at_venue(live, paths, order, text)
        if order.flatten:
            text += (
                "; NOT flattened: positions on paper live in the daemon alone, so start it (`perpbot trade --paper`, "
                "it opens nothing while killed) and run `perpbot kill --flatten` again"
            )
        return KillOutcome(ControlResult("killed", text), EXIT_AWAY if order.flatten else EXIT_OK)
    text = (
        f"killed: latched at {paths.kill_latch}; the daemon (pid {pid}) did not confirm: {error}; "
        "it looks at the latch before every order that adds exposure"
    )
    if order.flatten:
        text += "; NOT flattened: if it hangs, add --take-over"
    return KillOutcome(ControlResult("killed", text), EXIT_FAILURE if order.flatten else EXIT_OK)


def _at_venue(live: Config, paths: RuntimePaths, order: KillOrder, done: str) -> KillOutcome:
    from perp_bot.cli.killing_live import kill_at_venue  # the way to the venue: loaded when it is gone

    return kill_at_venue(live, paths, order, done)


def _take_over(
    paths: RuntimePaths, order: KillOrder, latch_error: StoreError | None, live: Config | None
) -> KillOutcome:
    """End a daemon that hangs: latch (done), SIGKILL the holder of the lock, take the lock to be sure.

    Raises:
        StoreError: the latch is not on disk, so nothing would hold back the next daemon.
        UsageError: the daemon answers well, or nobody can be asked.
    """
    if latch_error is not None:
        raise latch_error
    pid = holder(paths.lock)
    if pid is not None:
        if is_answering(paths, _ANSWER_S):
            raise UsageError(
                "killed; the daemon answers and its loop is alive, so nothing was taken over; "
                "use perpbot kill --flatten"
            )
        _end(pid, order)
    _hold_lock_once(paths)
    text = f"killed: latched at {paths.kill_latch}; "
    text += f"the hung daemon (pid {pid}) was ended and its lock is free" if pid is not None else "no daemon runs"
    if live is not None:
        return _at_venue(live, paths, order, text)
    if not order.flatten:
        return KillOutcome(ControlResult("killed", text), EXIT_OK)
    text += (
        "; NOT flattened: positions on paper live in the daemon alone, so start it again (`perpbot trade --paper`, it "
        "opens nothing while killed) and run `perpbot kill --flatten`"
    )
    return KillOutcome(ControlResult("killed", text), EXIT_AWAY)


def _end(pid: int, order: KillOrder) -> None:
    """SIGKILL the daemon after asking."""
    question = f"End the daemon's process (pid {pid}) with SIGKILL?"
    if not order.yes:
        if not order.can_ask:
            raise UsageError("killed; --take-over asks before it ends a process, and this is not a terminal: add --yes")
        if not click.confirm(question, default=False, err=True):
            raise UsageError("killed; nothing was taken over, you said no")
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise StoreError(f"killed; the daemon (pid {pid}) belongs to another user and cannot be ended") from error


def _hold_lock_once(paths: RuntimePaths) -> None:
    """Take the instance lock and give it back: proof that no daemon is left.

    Raises:
        DaemonBusy: someone still holds it.
    """
    deadline_s = monotonic_s() + _LOCK_FREE_WITHIN_S
    while True:
        try:
            with InstanceLock(paths.lock):
                return
        except DaemonBusy:
            if monotonic_s() >= deadline_s:
                raise
            Event().wait(0.05)
