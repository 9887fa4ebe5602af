"""What waits survives a restart; what is too old is closed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from decision_builders import CLOSE, CONFIG, TF, TF_MS, position

from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import HOUR_MS
from perp_bot.core.types import Side
from perp_bot.decision.delay import (
    DelayOutcome,
    DelayStep,
    PendingEntry,
    pending_from_json,
    pending_to_json,
    step,
    waiting_side,
)
from perp_bot.decision.exits import due_timeouts, next_timeout_ms, timeout_at_ms

WAITING = PendingEntry("BTC", "mean_reversion", Side.LONG, CLOSE, CLOSE, 0)


def advance(pending: PendingEntry | None, wanted: Side | None, close_ms: int, delay: int = 2) -> DelayStep:
    return step(
        pending,
        wanted,
        symbol="BTC",
        strategy="mean_reversion",
        timeframe=TF,
        close_ms=close_ms,
        delay_candles=delay,
        cancel_if_gone=True,
    )


def test_a_delay_of_zero_sends_at_once() -> None:
    """The default."""
    assert advance(None, Side.LONG, CLOSE, delay=0).outcome is DelayOutcome.SEND
    assert advance(None, None, CLOSE, delay=0).outcome is DelayOutcome.NOTHING


def test_a_missed_close_drops_the_entry() -> None:
    """Its conditions were never looked at there; when they hold now, it starts anew."""
    gone = advance(WAITING, None, CLOSE + 2 * TF_MS)
    assert (gone.outcome, gone.text) == (DelayOutcome.DROP, "delayed long entry dropped: a close was missed")
    fresh = advance(WAITING, Side.LONG, CLOSE + 2 * TF_MS)
    assert fresh.pending == PendingEntry("BTC", "mean_reversion", Side.LONG, CLOSE + 2 * TF_MS, CLOSE + 2 * TF_MS, 0)


def test_the_same_close_again_counts_once() -> None:
    """A replay after a restart does not bring the entry nearer."""
    once = advance(WAITING, Side.LONG, CLOSE + TF_MS)
    assert once.pending == replace(WAITING, seen_ms=CLOSE + TF_MS, waited=1)
    again = advance(once.pending, Side.LONG, CLOSE + TF_MS)
    assert (again.outcome, again.pending) == (DelayOutcome.WAIT, once.pending)


def test_what_waits_is_looked_at_at_every_next_close() -> None:
    """At the one after the close it was last seen at; not once a close was missed, nor where nothing waits."""
    assert waiting_side(WAITING, TF, CLOSE + TF_MS) is Side.LONG
    assert waiting_side(WAITING, TF, CLOSE + 2 * TF_MS) is None
    assert waiting_side(None, TF, CLOSE) is None
    assert waiting_side(WAITING, TF, CLOSE) is None  # the close that decided it, once more
    assert waiting_side(replace(WAITING, waited=1), TF, CLOSE) is Side.LONG  # a later one, once more


def test_what_waits_survives_a_restart() -> None:
    """Through JSON text and back, equal; damage is refused."""
    stored = json.loads(json.dumps(pending_to_json([WAITING])))
    assert pending_from_json(stored) == (WAITING,)
    with pytest.raises(StoreError, match="delayed entries"):
        pending_from_json([{"symbol": "BTC"}])


def test_a_position_times_out_at_its_hour() -> None:
    """24 h after its opening, not a ms before; the order is the same one after a restart."""
    held = position()
    due_at = held.opened_ms + 24 * HOUR_MS
    assert timeout_at_ms(held, CONFIG) == due_at == next_timeout_ms([held], CONFIG)
    assert next_timeout_ms([], CONFIG) is None
    assert due_timeouts([held], CONFIG, due_at - 1) == ()
    (intent,) = due_timeouts([held], CONFIG, due_at)
    assert (intent.reason, intent.reduce_only, intent.size) == ("timeout", True, held.size)
    assert intent.decision_id == f"mean_reversion:BTC:timeout:{held.opened_ms}"
    (later,) = due_timeouts([held], CONFIG, due_at + 5)
    assert later.cloid == intent.cloid
    (retried,) = due_timeouts([held], CONFIG, due_at + 5, attempt=1)
    assert retried.cloid != intent.cloid
    assert due_timeouts([held], CONFIG, due_at, exiting={"BTC"}) == ()
