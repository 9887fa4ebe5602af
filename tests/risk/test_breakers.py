"""Circuit breakers: each opens at its limit and not before, releases itself, and outlives a restart."""

from __future__ import annotations

import pytest

from perp_bot.core.errors import StoreError
from perp_bot.risk.breakers import (
    ACTIONS,
    DIFFERENCES,
    ERRORS,
    FAILURES,
    LATENCIES,
    LATENCY,
    ORDER_FAILURES,
    PAUSE_MS,
    SLOW_MS,
    STALE_STREAM,
    Breakers,
)

NOW = 1_700_000_000_000


def test_slow_answers_open_by_their_median() -> None:
    """Two slow ones of five are an accident; three are a slow venue."""
    state = Breakers()
    for took_ms in (SLOW_MS + 1, 10.0, SLOW_MS + 1, 10.0):
        state = state.on_action(True, took_ms, NOW)
    assert state.on_action(True, 10.0, NOW).trouble() is None
    opened = state.on_action(True, SLOW_MS + 1, NOW)
    assert opened.open_until_ms == {LATENCY: NOW + PAUSE_MS}
    assert opened.latencies_ms == (), "the next pause needs five slow answers again"


def test_an_answer_that_never_came_is_no_latency() -> None:
    """It counts for the error rate."""
    state = Breakers()
    for _ in range(LATENCIES):
        state = state.on_action(False, 8_000.0, NOW)
    assert state.trouble() is None
    assert state.outcomes == (False,) * LATENCIES


@pytest.mark.parametrize(("errors", "opens"), [(ACTIONS // 2, False), (ACTIONS // 2 + 1, True)])
def test_more_than_half_of_the_last_actions_without_an_answer(errors: int, opens: bool) -> None:
    """Measured on twenty actions, never on fewer."""
    state = Breakers()
    for number in range(ACTIONS):
        assert state.trouble() is None
        state = state.on_action(number >= errors, 10.0, NOW)
    assert (ERRORS in state.open_until_ms) is opens


def test_entries_that_fail_in_a_row() -> None:
    """One that the venue takes starts the count anew."""
    state = Breakers()
    for failed in (True, True, False, True, True):
        state = state.on_entry(failed, NOW)
    assert state.trouble() is None
    state = state.on_entry(True, NOW)
    assert state.trouble() == f"{ORDER_FAILURES}: {FAILURES} entries in a row failed, until 2023-11-14T22:18:20Z"
    assert state.failures == 0


def test_a_pause_releases_itself_to_the_millisecond() -> None:
    """Five minutes of the venue's clock."""
    state = Breakers().on_stale("no market data", NOW)
    assert state.released(NOW + PAUSE_MS - 1) == (state, ())
    closed, over = state.released(NOW + PAUSE_MS)
    assert over == (STALE_STREAM,)
    assert closed.trouble() is None


def test_a_stale_stream_holds_the_pause_open() -> None:
    """The five minutes begin when the stream is back; meanwhile the stored state moves every few seconds only."""
    state = Breakers().on_stale("away", NOW)
    assert state.on_stale("away", NOW + 1_000) is state
    assert state.on_stale("away", NOW + 60_000).open_until_ms[STALE_STREAM] == NOW + 60_000 + PAUSE_MS


def test_equity_that_collapses_kills() -> None:
    """More than half below the day's start; unknown equity kills nobody."""
    state = Breakers()
    assert state.kills(500.0, 1_000.0) is None
    assert state.kills(499.0, 1_000.0) == "equity 499.00 USD is 50% below the day's start of 1,000.00"
    assert state.kills(None, 1_000.0) is None
    assert state.kills(float("nan"), 1_000.0) is None
    assert state.kills(10.0, None) is None


def test_an_account_that_keeps_differing_kills() -> None:
    """One read that agrees starts the count anew."""
    state = Breakers()
    for differs in (*(True,) * (DIFFERENCES - 1), False, *(True,) * (DIFFERENCES - 1)):
        state = state.on_account(differs)
        assert state.kills(None, None) is None
    assert state.on_account(True).kills(None, None) == "the account has differed from the books for 5 reads in a row"


def test_what_is_open_is_open_after_a_restart() -> None:
    """Also the counts that lead there."""
    state = Breakers().on_stale("away", NOW).on_entry(True, NOW).on_account(True)
    again = Breakers.from_json(state.to_json())
    assert again.trouble() == state.trouble()
    assert (again.failures, again.differences) == (1, 1)
    assert Breakers.from_json(None) == Breakers()


@pytest.mark.parametrize("stored", [7, {}, {"open_until_ms": 3, "why": {}, "failures": 0, "differences": 0}])
def test_a_damaged_state_is_refused(stored: object) -> None:
    """Nothing is guessed about a pause."""
    with pytest.raises(StoreError, match="circuit breakers are damaged"):
        Breakers.from_json(stored)
