"""A strategy's own limit of entries a UTC day: counted from the account, the same after a restart (I12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from desk_rig import QUARTER, START, DeskRig

from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import Action, DecisionRecord, Enter, Exit, Side
from perp_bot.decision.facts import restored


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[DeskRig]:
    """A desk whose strategy may enter twice a day, after one round trip in BTC."""
    with DeskRig(tmp_path) as rig:
        rig.script.max_trades_per_day = 2
        rig.step(START)
        round_trip(rig)
        yield rig


def round_trip(rig: DeskRig) -> None:
    """Enter BTC at the next close, leave at the one after."""
    rig.enter("BTC", Side.LONG)
    rig.decide(rig.now_ms // QUARTER * QUARTER + QUARTER, Exit("BTC", "done"))


def asked(rig: DeskRig, symbol: str = "BTC") -> DecisionRecord:
    """Ask for an entry at the next close; return its row."""
    rig.enter(symbol, Side.LONG)
    return rig.desk.last_decisions[symbol]


def test_the_entry_after_the_last_one_allowed_is_blocked_with_the_count(rig: DeskRig) -> None:
    """Two are opened, of which one is closed and one is open; the third, of the other coin, is not."""
    assert asked(rig).action is Action.ENTER
    blocked = asked(rig, "ETH")
    assert blocked.action is Action.BLOCKED
    assert [(reason.rule, reason.text) for reason in blocked.blocked_by] == [
        ("max_trades_per_day", "2 of 2 entries of scripted this UTC day")
    ]
    assert restored(blocked).risk.entries_today == 2


def test_a_restart_forgets_none_of_them(rig: DeskRig) -> None:
    """I12: closed round trips and open positions count as before."""
    assert asked(rig).action is Action.ENTER
    rig.restart()
    assert [reason.rule for reason in asked(rig, "ETH").blocked_by] == ["max_trades_per_day"]


def test_the_next_utc_day_begins_at_nothing_and_a_position_of_yesterday_is_none_of_today(rig: DeskRig) -> None:
    """The day in which a position was opened counts, not that in which it closes."""
    assert asked(rig).action is Action.ENTER
    rig.step(START // DAY_MS * DAY_MS + DAY_MS)
    assert rig.desk.entries_today(rig.now_ms) == 0
    rig.decide(rig.now_ms + QUARTER, Exit("BTC", "done"))
    assert rig.desk.entries_today(rig.now_ms) == 0
    assert asked(rig, "ETH").action is Action.ENTER
    assert rig.desk.entries_today(rig.now_ms) == 1


def test_entries_of_one_boundary_count_for_each_other(rig: DeskRig) -> None:
    """With one left, the coin that comes first in the config takes it."""
    close_ms = rig.now_ms // QUARTER * QUARTER + QUARTER
    rig.decide(close_ms, Enter("BTC", Side.LONG, "told to"), Enter("ETH", Side.LONG, "told to"))
    assert rig.desk.last_decisions["BTC"].action is Action.ENTER
    assert [reason.rule for reason in rig.desk.last_decisions["ETH"].blocked_by] == ["max_trades_per_day"]


def test_a_strategy_without_a_limit_is_never_asked(rig: DeskRig) -> None:
    """Mean reversion has none."""
    rig.script.max_trades_per_day = None
    assert asked(rig).action is Action.ENTER
    assert asked(rig, "ETH").action is Action.ENTER
