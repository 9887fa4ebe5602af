"""Tokens between `prepare` and `commit`: single use, 10 s, bound to this boot and to what was previewed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import IpcError
from perp_bot.ipc.protocol import TOKEN_TTL_S

_REMEMBERED_S = 300.0  # spent and expired tokens are known that long, to say which of the two they are
_MAX_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a token stands for. `fingerprint` is the loop's digest of what the preview showed (sides, size bands)."""

    action: str
    scope: str
    fingerprint: str


@dataclass(slots=True)
class _Entry:
    prepared: Prepared
    issued_s: float
    is_spent: bool = False


class TokenStore:
    """Issue and spend tokens; used by the trading loop alone (not thread-safe)."""

    def __init__(self, boot_id: str, *, ttl_s: float = TOKEN_TTL_S) -> None:
        self._boot = boot_id[:12]
        self._ttl_s = ttl_s
        self._entries: dict[str, _Entry] = {}

    def issue(self, action: str, scope: str, fingerprint: str, now_s: float | None = None) -> str:
        """Return a fresh token for one prepared action; `now_s` is monotonic."""
        now = monotonic_s() if now_s is None else now_s
        self._forget(now)
        token = f"{self._boot}.{secrets.token_hex(12)}"
        self._entries[token] = _Entry(Prepared(action, scope, fingerprint), now)
        return token

    def spend(self, token: str, now_s: float | None = None) -> Prepared:
        """Return what `token` stands for, and make it worthless.

        Raises:
            IpcError: `token_spent`, `token_expired`, `changed` (another boot of the daemon) or `refused` (unknown).
        """
        now = monotonic_s() if now_s is None else now_s
        entry = self._entries.get(token)
        if entry is None:
            if not token.startswith(f"{self._boot}."):
                raise IpcError("the daemon was restarted since this token was given; prepare again", code="changed")
            raise IpcError("this token is not known; prepare again", code="refused")
        if entry.is_spent:
            raise IpcError("this token was already used; prepare again", code="token_spent")
        entry.is_spent = True
        if now - entry.issued_s > self._ttl_s:
            raise IpcError(f"this token is older than {self._ttl_s:g} s; prepare again", code="token_expired")
        return entry.prepared

    def _forget(self, now_s: float) -> None:
        for token in [key for key, entry in self._entries.items() if now_s - entry.issued_s > _REMEMBERED_S]:
            del self._entries[token]
        while len(self._entries) >= _MAX_KEPT:
            del self._entries[next(iter(self._entries))]
