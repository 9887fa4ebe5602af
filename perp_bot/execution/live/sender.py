"""Sends signed actions, once each, and says what is known of the outcome and no more.

There is no retry here: who gets `Unknown` has to ask (see `unknown`), who gets `NotSent` may decide anew.

- **Accepted**: the venue took the action and answered each of its entries; an entry may still be refused.
- **Rejected**: the venue said no to the whole action.
- **NotSent**: the venue has not acted on it. No connection, no budget, a kill, or a 429: the venue's limiter stands
  before everything else. Because a proxy could say 429 too, what was answered so goes again only under the same nonce:
  if the first was taken after all, the venue refuses the second as a used nonce, and nothing is doubled.
- **Unknown**: everything else. A request that left may have been taken, whatever came back: nothing in time, a cut
  connection, a 5xx, a page of HTML, an answer that is not in the venue's form. A nonce refused as used belongs here:
  the action that used it may be this one, sent twice by something in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import requests
import urllib3.exceptions

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import RateLimited
from perp_bot.data.limiter import RequestClass, WeightLimiter, action_weight
from perp_bot.execution.live import wire
from perp_bot.execution.live.answers import Answered, Malformed, decode
from perp_bot.execution.live.rejections import Reason, Rejection, Retry, rejection_of
from perp_bot.execution.live.signer import Signer
from perp_bot.ops.crash_points import crash_point
from perp_bot.risk.kill_switch import is_latched

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 5.0
SAME_NONCE_AGAIN_S = (0.25, 1.0)  # after a 429: whoever sends it again waits so long, twice at most
_MAX_BODY_BYTES = 1 << 20
_TOO_MANY_REQUESTS = 429
_UNREADABLE = (400, 415, 422)  # refused before anything was looked at, with the venue's own text


@dataclass(frozen=True, slots=True)
class Accepted:
    """The action was taken; `answers` holds one entry for each of its own, in their order."""

    answers: tuple[Answered, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The whole action was refused; nothing of it was done."""

    rejection: Rejection


@dataclass(frozen=True, slots=True)
class NotSent:
    """The venue has not acted on it. `reached_venue`: answered 429; goes again only under the same nonce."""

    why: str
    reached_venue: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The action may have been taken. `nonce_spent`: the venue refused its nonce as used."""

    why: str
    nonce_spent: bool = False


Outcome = Accepted | Rejected | NotSent | Unknown


class Sender:
    """The one way to the venue's `/exchange`; used by one thread."""

    def __init__(
        self,
        base_url: str,
        *,
        signer: Signer,
        limiter: WeightLimiter,
        kill_latch: Path,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self.base_url = base_url
        self._signer = signer
        self._limiter = limiter
        self._kill_latch = kill_latch
        self._timeouts = (connect_timeout_s, read_timeout_s)
        self._session = requests.Session()
        # Answers are small; without compression a stalled or broken one has one way less to fail.
        self._session.headers.update({"Content-Type": "application/json", "Accept-Encoding": "identity"})

    def sign_and_post(
        self,
        action: Mapping[str, Any],
        nonce: int,
        expires_after: int | None,
        *,
        request_class: RequestClass,
        max_wait_s: float = 0.0,
    ) -> Outcome:
        """Sign an action and send it once; return what is known of the outcome.

        Args:
            action: as `wire` builds it.
            nonce: of the signer's counter, never used before (or that of the very action that is settled by a noop).
            expires_after: venue time in ms after which the venue must not take it; None for never.
            request_class: its place in the weight budget.
            max_wait_s: seconds to wait for that budget.
        """
        try:
            self._limiter.acquire(action_weight(wire.entries(action)), request_class, max_wait_s=max_wait_s)
        except RateLimited as error:
            return NotSent(str(error))
        body = self._signed(action, nonce, expires_after)
        if wire.raises_exposure(action) and is_latched(self._kill_latch):
            return NotSent(f"killed: {self._kill_latch} forbids everything that adds exposure")
        crash_point(f"post.{action['type']}.before")
        outcome = self._post(body, action)
        crash_point(f"post.{action['type']}.after")
        return outcome

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _signed(self, action: Mapping[str, Any], nonce: int, expires_after: int | None) -> bytes:
        signature = self._signer.sign(action, nonce, expires_after)
        envelope = {
            "action": action,
            "nonce": nonce,
            "signature": signature.wire,
            "vaultAddress": None,
            "expiresAfter": expires_after,
        }
        return json.dumps(envelope).encode()

    def _post(self, body: bytes, action: Mapping[str, Any]) -> Outcome:
        deadline_s = monotonic_s() + sum(self._timeouts)
        try:
            with self._session.post(
                f"{self.base_url}/exchange", data=body, timeout=self._timeouts, stream=True, allow_redirects=False
            ) as response:
                return self._read(response.status_code, _body(response.raw, deadline_s), action)
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
            if _never_left(error):
                return NotSent(f"no connection to {self.base_url}: {_short(error)}")
            return Unknown(f"no answer from {self.base_url}: {_short(error)}")
        except _Endless as error:
            return Unknown(f"no end of the answer from {self.base_url}: {error}")

    def _read(self, status: int, body: bytes, action: Mapping[str, Any]) -> Outcome:
        if status == _TOO_MANY_REQUESTS:
            pause_s = self._limiter.penalize()
            return NotSent(f"{self.base_url} answered 429; holding back {pause_s:g} s", reached_venue=True)
        if status in _UNREADABLE:
            rejection = rejection_of(body[:500].decode("utf-8", "replace"))
            if rejection.reason is Reason.BAD_REQUEST:
                return Rejected(rejection)
        if status != requests.codes.ok:
            return Unknown(f"{self.base_url} answered {status}")
        try:
            answer = decode(body, wire.entries(action), wire.cloids(action))
        except Malformed as error:
            return Unknown(f"{self.base_url} answered in no known form: {error}")
        self._limiter.forgive()
        if isinstance(answer, Rejection):
            if answer.rule.retry is Retry.SETTLE:
                return Unknown(answer.text, nonce_spent=True)
            return Rejected(answer)
        return Accepted(answer)


class _Endless(Exception):
    """The body takes too long, or is too much."""


def _body(raw: Any, deadline_s: float) -> bytes:
    """Read a body piece by piece: one that trickles in for ever ends with the deadline."""
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read1(65_536, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_BODY_BYTES:
            raise _Endless(f"more than {_MAX_BODY_BYTES:,} bytes")
        if monotonic_s() > deadline_s:
            raise _Endless("still coming when its time was over")
    return b"".join(pieces)


def _never_left(error: BaseException) -> bool:
    """Return whether no connection came about, so that nothing of the request can have been sent."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(error) is requests.exceptions.ConnectionError and isinstance(
        reason, urllib3.exceptions.NewConnectionError
    )


def _short(error: BaseException) -> str:
    """Return what happened without object addresses, in one line."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    shown = reason if isinstance(reason, BaseException) else error
    return f"{type(shown).__name__} {' '.join(str(shown).split())}"[:160]
