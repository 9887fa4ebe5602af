"""Which nonces a signer may still use: the 100 highest bar the way to lower ones, and none works twice."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass, field

from perp_bot.core.timeframes import DAY_MS

KEPT = 100
BACK_MS = 2 * DAY_MS
AHEAD_MS = DAY_MS


class BadNonce(Exception):
    """The nonce cannot be used; the message is the venue's answer (texts measured on its testnet, 2026-09)."""


@dataclass(slots=True)
class _Used:
    highest: list[int] = field(default_factory=list)  # a heap: its first is the smallest that counts
    seen: set[int] = field(default_factory=set)  # all within the window: also below the floor one is told a duplicate


class Nonces:
    """The nonces of every signer. Times are the wall clock's, which clients stamp their nonces with."""

    def __init__(self) -> None:
        self._used: dict[str, _Used] = defaultdict(_Used)

    def take(self, signer: str, nonce: int, wall_ms: int) -> None:
        """Use up a nonce, or raise BadNonce: used before, below the 100 highest, or far from the present."""
        used = self._used[signer]
        if nonce in used.seen:
            raise BadNonce(f"Invalid nonce: duplicate nonce {nonce}")
        if nonce >= wall_ms + AHEAD_MS:
            raise BadNonce(f"Invalid nonce: nonce too high {nonce} > {wall_ms + AHEAD_MS}")
        floor = used.highest[0] if len(used.highest) == KEPT else 0
        floor = max(floor, wall_ms - BACK_MS)
        if nonce <= floor:
            raise BadNonce(f"Invalid nonce: nonce too low {nonce} < {floor}")
        used.seen.add(nonce)
        if len(used.highest) < KEPT:
            heapq.heappush(used.highest, nonce)
        else:
            heapq.heapreplace(used.highest, nonce)
            if len(used.seen) % KEPT == 0:
                used.seen = {one for one in used.seen if one > wall_ms - BACK_MS}
