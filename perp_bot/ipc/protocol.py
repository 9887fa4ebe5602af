"""The socket's language: one JSON object per line each way.

Request  {"id": 1, "cmd": "pause", "args": {...}}
Reply    {"id": 1, "ok": true, "result": {...}} or {"id": 1, "ok": false, "error": {"code": "...", "message": "..."}}
Push     {"push": "state", "state": {...}} or {"push": "event", "event": {...}} after `subscribe`

Commands and their arguments (every control takes a scope: all, a symbol or a strategy):
  hello                                          -> protocol, boot_id, pid, version, mode, venue
  get_state                                      -> the snapshot
  subscribe   {interval_s?}                      -> pushes until the connection ends
  wait_until  {venue_ms, timeout_s?}             -> answers once the loop has settled that time
  pause       {symbol?|strategy?, reason?}       single-phase, idempotent
  resume      {symbol?|strategy?, reason?}       from a pause; single-phase, idempotent
  kill        {flatten?, reason?}                latches before it answers; flatten adds a preview, token
  prepare     {action, symbol?|strategy?, phrase?}  unkill, close, flatten, cancel_orders -> preview, token
  commit      {token}                            spends the token
"""

from __future__ import annotations

from typing import Any

import msgspec

from perp_bot.ipc.state import EventNote, StateSnapshot

MAX_LINE_BYTES = 64 * 1024
TOKEN_TTL_S = 10.0

COMMANDS = ("hello", "get_state", "subscribe", "wait_until", "pause", "resume", "kill", "prepare", "commit")
PREPARED_ACTIONS = ("unkill", "close", "flatten", "cancel_orders")


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line from a client."""

    id: int | str
    cmd: str
    args: dict[str, Any] = {}


class ErrorBody(msgspec.Struct, frozen=True):
    """Why a request was refused: `code` is stable, `message` is for people."""

    # malformed, oversized, unknown_command, bad_args, refused, token_spent, token_expired, changed, timeout, busy
    code: str
    message: str


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line back."""

    id: int | str | None
    ok: bool
    result: Any = None
    error: ErrorBody | None = None


class Preview(msgspec.Struct, frozen=True):
    """What a prepared action would do, by the daemon's own reckoning."""

    action: str
    scope: str
    token: str
    expires_in_s: float
    # symbol, side, size, notional_usd, est_fee_usd, est_slippage_usd, mark_age_s, book_age_s
    positions: tuple[dict[str, Any], ...]
    orders: tuple[dict[str, Any], ...]  # cloid, symbol, side, size, role
    text: str  # one sentence for people
    phrase: str | None = None  # what must be typed (unkill)


class ControlResult(msgspec.Struct, frozen=True):
    """The outcome of a control."""

    status: str  # done, already, killed, flat, partly_flat, unknown
    text: str
    preview: Preview | None = None


class Hello(msgspec.Struct, frozen=True):
    """Who answers: sent once per connection on `hello`."""

    protocol: int
    boot_id: str
    pid: int
    version: str
    mode: str
    venue: str


class StateEnvelope(msgspec.Struct, frozen=True):
    """The result of `get_state`. Every age inside `state` is to be read as that age plus `age_s`."""

    age_s: float  # since the trading loop published the snapshot
    state: StateSnapshot


class StatePush(msgspec.Struct, frozen=True, tag_field="push", tag="state"):
    """A pushed state: on change, and at least once a second by the socket thread itself (the heartbeat)."""

    age_s: float
    state: StateSnapshot


class EventPush(msgspec.Struct, frozen=True, tag_field="push", tag="event"):
    """A pushed event."""

    event: EventNote


Push = StatePush | EventPush
