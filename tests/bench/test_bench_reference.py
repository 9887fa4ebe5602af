"""The reference that engines are compared with: by hand, and that a comparison can fail."""

from __future__ import annotations

import numpy as np
import pytest

from perp_bot.bench.reference import Trade, at_close, at_next_open, check_equal
from perp_bot.core.errors import PerpBotError

OPEN = np.array([100.0, 101.0, 102.0, 103.0, 104.0, 105.0])
LOW = OPEN - 1.0
CLOSE = OPEN + 0.5
NEVER = np.zeros(6, np.bool_)
FAR = np.full(6, 1.0)


def at(*bars: int) -> np.ndarray:
    """Return a signal at these bars."""
    out = np.zeros(6, np.bool_)
    out[list(bars)] = True
    return out


def test_a_signal_is_filled_at_the_next_open() -> None:
    """In at the open of bar 2, out at the open of bar 5; half of both prices is fees."""
    assert at_next_open(OPEN, LOW, at(1), at(4), FAR, 0.5) == [Trade(2, 5, 102.0, 105.0, 3.0 - 103.5)]


def test_a_signal_is_filled_at_its_own_close() -> None:
    """The other kind of engine: in at close 1, out at close 4."""
    assert at_close(OPEN, LOW, CLOSE, at(1), at(4), FAR, 0.0) == [Trade(1, 4, 101.5, 104.5, 3.0)]


def test_a_stop_works_inside_the_bar_and_a_gap_fills_at_the_open() -> None:
    """Low 102 reaches the stop at 102.5 in bar 3 -> 102.5; a stop at 103.5 is behind the open of bar 3 -> 103."""
    inside, gap = FAR.copy(), FAR.copy()
    inside[1], gap[1] = 102.5, 103.5
    low = np.array([99.0, 100.0, 104.0, 102.0, 103.0, 104.0])
    assert at_next_open(OPEN, low, at(1), NEVER, inside, 0.0) == [Trade(2, 3, 102.0, 102.5, 0.5)]
    assert at_next_open(OPEN, low, at(1), NEVER, gap, 0.0) == [Trade(2, 3, 102.0, 103.0, 1.0)]


def test_a_stop_works_in_the_bar_of_the_entry_but_not_as_vectorbt_has_it() -> None:
    """Low 101 of bar 2 reaches the stop at 101.2 at once; vectorbt looks at it from bar 3 on, whose open is above."""
    stop = FAR.copy()
    stop[1] = 101.2
    assert at_next_open(OPEN, LOW, at(1), NEVER, stop, 0.0)[0][:2] == (2, 2)
    assert at_next_open(OPEN, LOW, at(1), at(4), stop, 0.0, like_vectorbt=True)[0][:2] == (2, 5)


def test_an_exit_due_at_the_open_comes_before_a_stop_in_that_bar_but_not_as_vectorbt_has_it() -> None:
    """Bar 4 opens at 104 with an exit due, and falls to the stop at 103.2."""
    stop = FAR.copy()
    stop[1] = 103.2
    low = np.array([99.0, 100.0, 105.0, 105.0, 103.0, 104.0])
    assert at_next_open(OPEN, low, at(1), at(3), stop, 0.0) == [Trade(2, 4, 102.0, 104.0, 2.0)]
    found = at_next_open(OPEN, low, at(1), at(3), stop, 0.0, like_vectorbt=True)
    assert [trade[:4] for trade in found] == [(2, 4, 102.0, 103.2)]


def test_after_a_stop_the_same_bars_close_may_enter_again() -> None:
    """Flat at the close of bar 2: in again at the open of bar 3."""
    stop = FAR.copy()
    stop[1] = 101.2
    assert [trade[:2] for trade in at_next_open(OPEN, LOW, at(1, 2), at(4), stop, 0.0)] == [(2, 2), (3, 5)]


def test_an_open_position_is_no_trade() -> None:
    """Nothing is closed that was not."""
    assert at_next_open(OPEN, LOW, at(1), NEVER, FAR, 0.0) == []
    assert at_close(OPEN, LOW, CLOSE, at(1), NEVER, FAR, 0.0) == []


DUE = [Trade(2, 5, 102.0, 105.0, 3.0), Trade(7, 9, 100.0, 99.0, -1.0)]


def test_equal_trades_are_counted_and_their_gap_is_said() -> None:
    """Rounding of a library is no difference."""
    found = np.array(DUE, dtype=float)
    found[1, 4] += 1e-9
    assert check_equal("peer", DUE, found) == "2 trades equal, PnL within 1e-09 USD"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, 0, 1.0), "trade 0 is"),
        ((1, 1, -1.0), "trade 1 is"),
        ((0, 2, 1e-6), "trade 0 is"),
        ((1, 3, -1e-6), "trade 1 is"),
        ((1, 4, 0.00001), "trade 1 is"),
        ((1, 4, np.nan), "trade 1 is"),
    ],
)
def test_any_difference_is_an_error_with_its_trade(change: tuple[int, int, float], message: str) -> None:
    """Bars, prices and PnL: each can fail, also by NaN."""
    row, column, by = change
    found = np.array(DUE, dtype=float)
    found[row, column] += by
    with pytest.raises(PerpBotError, match=f"peer does not trade as the reference: {message}"):
        check_equal("peer", DUE, found)


@pytest.mark.parametrize(("found", "count"), [(DUE[:1], 1), ([*DUE, DUE[1]], 3)])
def test_a_missing_or_extra_trade_is_an_error(found: list[Trade], count: int) -> None:
    """Also at the end, where every other one is equal."""
    with pytest.raises(PerpBotError, match=f"{count} trades, due were 2"):
        check_equal("peer", DUE, found)
