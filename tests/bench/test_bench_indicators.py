"""The indicators beside a peer's: only the same work is timed."""

from __future__ import annotations

import numpy as np
import pytest

from perp_bot.bench.indicators import SETTLED, agreement
from perp_bot.core.errors import PerpBotError

BARS = SETTLED + 50


def rows() -> np.ndarray:
    """Return two rows of different size, not defined at the start."""
    made = np.vstack([np.linspace(1.0, 2.0, BARS), np.linspace(-90.0, 100.0, BARS)])
    made[:, :20] = np.nan
    return made


@pytest.mark.parametrize(("case", "gap"), [("rsi 14", 1.1e-9), ("zscore 20", 1.1e-6), ("atr 14", 1.1e-9)])
def test_a_peer_that_does_other_work_is_not_timed(case: str, gap: float) -> None:
    """One value of one row too far, by the largest of its row; just within is said."""
    theirs = rows()
    theirs[1, SETTLED + 7] += 100.0 * gap
    with pytest.raises(PerpBotError, match=rf"^{case}: the peer's values are 1\.1e-0\d from ours"):
        agreement(case, rows(), theirs)
    theirs[1, SETTLED + 7] -= 20.0 * gap
    assert agreement(case, rows(), theirs).startswith("within ")


def test_a_start_of_its_own_is_forgotten_and_a_missing_value_is_not() -> None:
    """Seeds differ among libraries; a NaN where ours has a number is another work."""
    theirs = rows()
    theirs[:, : SETTLED - 1] += 1.0
    assert agreement("rsi 14", rows(), theirs) == "within 0e+00 of ours"
    theirs[0, -1] = np.nan
    with pytest.raises(PerpBotError, match="nan from ours"):
        agreement("rsi 14", rows(), theirs)
