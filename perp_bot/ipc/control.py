"""What the socket thread hands to the trading loop: typed control requests, each with its way to answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from perp_bot.core.errors import IpcError
from perp_bot.core.symbols import normalize_symbol
from perp_bot.ipc.protocol import PREPARED_ACTIONS, ControlResult

CONTROL_TIMEOUT_S = 5.0
KILL_ANSWER_S = 0.7  # the latch is on disk by then; how long the answer waits for the loop's own words
WAIT_UNTIL_DEFAULT_S = 30.0
WAIT_UNTIL_MAX_S = 600.0
MAX_REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, by the kernel's word (SO_PEERCRED)."""

    pid: int
    uid: int

    @property
    def text(self) -> str:
        """For journals and latches."""
        return f"pid {self.pid} (uid {self.uid})"


class ControlArgs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of a control, checked on the socket thread; None where a command has none of them.

    The scope is a symbol, a strategy, or (both None) all.
    """

    symbol: str | None = None
    strategy: str | None = None
    reason: str | None = None
    flatten: bool = False
    action: str | None = None
    phrase: str | None = None
    token: str | None = None
    venue_ms: int | None = None
    timeout_s: float | None = None

    @property
    def scope(self) -> str:
        """`all`, `symbol:BTC` or `strategy:mean_reversion`."""
        if self.symbol is not None:
            return f"symbol:{self.symbol}"
        if self.strategy is not None:
            return f"strategy:{self.strategy}"
        return "all"


Outcome = ControlResult | IpcError


@dataclass(frozen=True, slots=True)
class ControlRequest:
    """One request for the trading loop.

    `respond` may be called from any thread, once; later calls and calls after the deadline are ignored. The loop must
    not act on a request that `is_expired`: its sender has been told that nothing is known of it. (kill is the
    exception: it is latched already, and telling the loop late is better than never.)
    """

    cmd: str
    args: ControlArgs
    peer: Peer
    deadline_s: float  # monotonic
    respond: Callable[[Outcome], None]

    def is_expired(self, now_s: float) -> bool:
        """Return whether the sender has already been answered with a timeout."""
        return self.cmd != "kill" and now_s >= self.deadline_s


class ControlPort(Protocol):
    """Where the socket thread puts requests; the loop's queue."""

    def submit(self, request: ControlRequest) -> None:
        """Queue a request: thread-safe, never blocks."""


_ALLOWED: dict[str, frozenset[str]] = {
    "wait_until": frozenset({"venue_ms", "timeout_s"}),
    "pause": frozenset({"symbol", "strategy", "reason"}),
    "resume": frozenset({"symbol", "strategy", "reason"}),
    "kill": frozenset({"symbol", "strategy", "flatten", "reason"}),
    "prepare": frozenset({"action", "symbol", "strategy", "phrase", "reason"}),
    "commit": frozenset({"token", "reason"}),
}
CONTROL_COMMANDS = tuple(_ALLOWED)


def parse_args(cmd: str, raw: dict[str, Any]) -> ControlArgs:
    """Return the checked arguments of control `cmd`.

    Raises:
        IpcError: code `bad_args`, naming the argument.
    """
    unknown = sorted(set(raw) - _ALLOWED[cmd])
    if unknown:
        allowed = ", ".join(sorted(_ALLOWED[cmd]))
        raise _bad(f"{cmd} has no argument {unknown[0]!r}; it takes {allowed}")
    try:
        args = msgspec.convert(raw, ControlArgs)
    except msgspec.ValidationError as error:
        raise _bad(f"{cmd}: {error}") from error
    _check(cmd, args)
    if args.symbol is None:
        return args
    try:
        return msgspec.structs.replace(args, symbol=normalize_symbol(args.symbol))
    except ValueError as error:
        raise _bad(f"{cmd}: {error}") from error


def _check(cmd: str, args: ControlArgs) -> None:
    if args.symbol is not None and args.strategy is not None:
        raise _bad(f"{cmd} takes a symbol or a strategy, not both")
    if args.reason is not None and len(args.reason) > MAX_REASON_CHARS:
        raise _bad(f"{cmd}: a reason has at most {MAX_REASON_CHARS} characters")
    if cmd == "wait_until":
        if args.venue_ms is None or args.venue_ms < 0:
            raise _bad("wait_until needs venue_ms, epoch ms of the venue's time")
        if args.timeout_s is not None and not 0 < args.timeout_s <= WAIT_UNTIL_MAX_S:
            raise _bad(f"wait_until: timeout_s is above 0 and at most {WAIT_UNTIL_MAX_S:g}")
    if cmd == "kill" and not args.flatten and args.scope != "all":
        raise _bad("a kill latches everything; only its flatten has a scope (pause one symbol instead)")
    if cmd == "prepare":
        if args.action not in PREPARED_ACTIONS:
            raise _bad(f"prepare: action is one of {', '.join(PREPARED_ACTIONS)}, not {args.action!r}")
        if args.action == "close" and args.symbol is None:
            raise _bad("prepare close needs a symbol")
        if args.action == "unkill" and args.scope != "all":
            raise _bad("unkill has no scope: the latch is one")
    if cmd == "commit" and not args.token:
        raise _bad("commit needs the token that prepare gave")


def deadline_after_s(cmd: str, args: ControlArgs) -> float:
    """Return how long the sender of this control waits for the loop, seconds."""
    if cmd == "kill":
        return KILL_ANSWER_S
    if cmd == "wait_until":
        return args.timeout_s if args.timeout_s is not None else WAIT_UNTIL_DEFAULT_S
    return CONTROL_TIMEOUT_S


def _bad(message: str) -> IpcError:
    return IpcError(message, code="bad_args")
