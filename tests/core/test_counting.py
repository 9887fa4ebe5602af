"""Numbers with their noun."""

from __future__ import annotations

import pytest

from perp_bot.core.counting import counted


@pytest.mark.parametrize(("count", "text"), [(0, "0 gaps"), (1, "1 gap"), (2, "2 gaps"), (1_200, "1,200 gaps")])
def test_only_one_has_no_s(count: int, text: str) -> None:
    """And thousands have their comma."""
    assert counted(count, "gap") == text


def test_a_plural_of_its_own() -> None:
    """Where an s is not enough."""
    assert counted(1, "candle is", "candles are") == "1 candle is"
    assert counted(3, "candle is", "candles are") == "3 candles are"
