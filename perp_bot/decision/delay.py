"""The one function that delays entries, for daemon and research alike.

`entry_delay_candles` = d: decided at the close of candle i, the conditions evaluated again at the closes i+1 .. i+d
(dropped when gone, if `cancel_if_signal_gone`), sent at the open after close i+d. d = 0 sends at once. A close that
was missed or came late drops the entry: its conditions were never looked at. What waits is plain data that the loop
stores, so that a restart waits on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from perp_bot.core import timeframes
from perp_bot.core.errors import StoreError
from perp_bot.core.types import Side


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that waits: decided at `decided_ms`, last looked at at `seen_ms`, `waited` closes so far."""

    symbol: str
    strategy: str
    side: Side
    decided_ms: int
    seen_ms: int
    waited: int


class DelayOutcome(StrEnum):
    """What becomes of an entry at this close."""

    NOTHING = "nothing"  # no entry wanted, none waiting
    WAIT = "wait"
    SEND = "send"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class DelayStep:
    """The outcome at one close, what waits afterwards, the side concerned, and a sentence."""

    outcome: DelayOutcome
    pending: PendingEntry | None
    side: Side | None
    text: str


def step(
    pending: PendingEntry | None,
    wanted: Side | None,
    *,
    symbol: str,
    strategy: str,
    timeframe: str,
    close_ms: int,
    delay_candles: int,
    cancel_if_gone: bool,
) -> DelayStep:
    """Return what becomes of a symbol's entry at one close, given the side the strategy wants now (None: none)."""
    if pending is not None and pending.seen_ms >= close_ms:
        # The same close again (a replay after a restart): the answer must be the one already given.
        return DelayStep(DelayOutcome.WAIT, pending, pending.side, _waiting(pending, delay_candles))
    if pending is not None:
        missed = timeframes.close_of(timeframe, pending.seen_ms) != close_ms
        gone = wanted is not pending.side and cancel_if_gone
        if not missed and not gone:
            waited = PendingEntry(symbol, strategy, pending.side, pending.decided_ms, close_ms, pending.waited + 1)
            if waited.waited >= delay_candles:
                text = f"decided {waited.waited} closes ago at {timeframes.iso(pending.decided_ms)}"
                return DelayStep(DelayOutcome.SEND, None, pending.side, text)
            return DelayStep(DelayOutcome.WAIT, waited, pending.side, _waiting(waited, delay_candles))
        why = "a close was missed" if missed else "its conditions no longer hold"
        if wanted is None:
            return DelayStep(DelayOutcome.DROP, None, pending.side, f"delayed {pending.side} entry dropped: {why}")
    if wanted is None:
        return DelayStep(DelayOutcome.NOTHING, None, None, "")
    if delay_candles == 0:
        return DelayStep(DelayOutcome.SEND, None, wanted, "")
    fresh = PendingEntry(symbol, strategy, wanted, close_ms, close_ms, 0)
    return DelayStep(DelayOutcome.WAIT, fresh, wanted, _waiting(fresh, delay_candles))


def waiting_side(pending: PendingEntry | None, timeframe: str, close_ms: int) -> Side | None:
    """Return the side of the entry that is looked at again at a close; None without one, or when it missed a close."""
    if pending is None:
        return None
    if pending.seen_ms == close_ms:  # the same close again: as it was asked the first time
        return pending.side if pending.waited else None
    return pending.side if timeframes.close_of(timeframe, pending.seen_ms) == close_ms else None


def pending_to_json(pending: Iterable[PendingEntry]) -> list[dict[str, Any]]:
    """Return waiting entries as plain JSON values."""
    return [asdict(entry) | {"side": str(entry.side)} for entry in pending]


def pending_from_json(stored: Iterable[Any]) -> tuple[PendingEntry, ...]:
    """Return the entries that `pending_to_json` stored; StoreError when they are damaged."""
    try:
        return tuple(PendingEntry(**(entry | {"side": Side(entry["side"])})) for entry in stored)
    except (TypeError, KeyError, ValueError) as error:
        raise StoreError(
            f"stored delayed entries cannot be read ({error}); restore a backup of the database"
        ) from error


def _waiting(pending: PendingEntry, delay_candles: int) -> str:
    return f"{pending.side} entry delayed: waited {pending.waited} of {delay_candles} closes"
