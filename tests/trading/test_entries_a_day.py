"""A strategy's own limit of entries a UTC day: counted from the account, the same after a restart (I12)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from desk_rig import QUARTER, START, DeskRig
from rich.console import Console

from perp_bot.cli.status_view import render
from perp_bot.core.clock import monotonic_s
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import Action, DecisionRecord, Enter, Exit, Side
from perp_bot.decision.facts import restored
from perp_bot.ipc.state import LimitState, StateSnapshot
from perp_bot.trading.snapshot import RunFacts, SnapshotBuilder, Sources


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


def shown(rig: DeskRig) -> StateSnapshot:
    """Return the state as `perpbot status` takes it from the socket."""
    facts = RunFacts("boot", 1, START, monotonic_s(), "practice", "http://127.0.0.1:1", None, "made up", frozenset())
    sources = Sources(lambda: rig.market.feed, lambda: None, lambda: 0, lambda: 0.5, lambda: None)
    made = SnapshotBuilder(rig.desk, facts, sources)
    made.phase = "RUNNING"
    return msgspec.json.decode(msgspec.json.encode(made.build(rig.now_ms, 0)), type=StateSnapshot)


def in_words(state: StateSnapshot) -> str:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=160, record=True, file=nowhere)
        console.print(render(state, 0.0))
        return console.export_text()


def test_the_limit_is_shown_like_the_others_with_what_is_used_of_it(rig: DeskRig) -> None:
    """One of two, then two of two, at its limit, in the words of the gate; it ends with the day, and is no pause."""
    found = shown(rig)
    assert found.limits[-1] == LimitState(
        "entries_today", "max_trades_per_day", 1.0, 2.0, "count", False, "1 of 2 entries of scripted this UTC day"
    )
    assert asked(rig).action is Action.ENTER
    found = shown(rig)
    assert (found.limits[-1].used, found.limits[-1].limit, found.limits[-1].breached) == (2.0, 2.0, True)
    (line,) = [line for line in in_words(found).splitlines() if "entries_today" in line]
    assert " ".join(line.split()) == "entries_today AT LIMIT 2 of 2 entries of scripted this UTC day"
    assert found.status == "RUNNING"
    rig.step(START // DAY_MS * DAY_MS + DAY_MS)
    assert (shown(rig).limits[-1].used, shown(rig).limits[-1].breached) == (0.0, False)


def test_a_strategy_without_a_limit_shows_none(rig: DeskRig) -> None:
    """Nothing of nothing is no limit."""
    rig.script.max_trades_per_day = None
    assert "entries_today" not in {limit.name for limit in shown(rig).limits}
