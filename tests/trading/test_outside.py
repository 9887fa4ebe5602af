"""What the loop asks outside its batches: kept by a recording, given again by a replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from desk_rig import MINUTE, QUARTER, START, DeskRig

from perp_bot.core.events import ClockFrame, StreamStatus
from perp_bot.core.types import Enter, Side
from perp_bot.data.session_format import Entry, Pass, events_of
from perp_bot.ipc.control import Outcome
from perp_bot.risk import kill_switch
from perp_bot.trading.outside import Diverged, RecordedOutside, ReplayedOutside
from perp_bot.trading.queue import Batch
from perp_bot.trading.replay import request_of


class Kept:
    """A recorder that keeps entries in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.lost: str | None = None

    def put(self, entry: Entry) -> None:
        self.entries.append(entry)

    @property
    def passes(self) -> list[Pass]:
        return [entry for entry in self.entries if isinstance(entry, Pass)]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def rig(tmp_path: Path, kept: Kept) -> Iterator[DeskRig]:
    """A recorded desk."""
    (tmp_path / "first").mkdir()
    with DeskRig(tmp_path / "first") as made:
        record(made, kept)
        yield made


def record(rig: DeskRig, kept: Kept) -> None:
    rig.desk.outside = rig.journal._outside = RecordedOutside(kept)  # type: ignore[arg-type]


def run_again(kept: Kept, rig: DeskRig) -> None:
    """Give the recorded passes to a desk that began alike."""
    outside = ReplayedOutside()
    rig.desk.outside = rig.journal._outside = outside
    for item in kept.passes:
        outside.begin(item.answers)
        controls = [request_of(*control) for control in item.controls]
        frame = None if item.frame_ms is None else ClockFrame(item.frame_ms)
        events = events_of(item.events)
        batch = Batch(item.contexts, item.books, item.first_books, item.trades, events, controls, frame)
        rig.loop.take_pass(batch, item.now_ms)


def journal(rig: DeskRig) -> list[list[tuple[Any, ...]]]:
    return [
        rig.rows("SELECT decision_id, action, blocked_json, account_json FROM decisions ORDER BY seq"),
        rig.rows("SELECT cloid, state, note, filled FROM orders ORDER BY cloid"),
        rig.rows("SELECT fill_id, px, size, venue_ms FROM fills ORDER BY seq"),
        rig.rows("SELECT venue_ms, kind, symbol, text FROM events ORDER BY seq"),
        rig.rows("SELECT key, value_json, updated_ms FROM bot_state WHERE key != 'start_cash' ORDER BY key"),
    ]


def test_a_recorded_pass_holds_everything_that_its_batch_held(kept: Kept, rig: DeskRig) -> None:
    """Marks, both books, trades, events, controls and the frame; what only waits for the loop is left out."""
    answers: list[Outcome] = []
    context, first, book = rig.context("BTC", 1.0), rig.book("BTC", 1.0), rig.book("BTC", 2.0)
    trade, event = rig.trade("BTC", 1.0, 2.0), StreamStatus(True, 0, "connected")
    controls = [rig.request("pause", answers, reason="x"), rig.request("wait_until", answers, venue_ms=1)]
    rig.handle(
        contexts={"BTC": (context,)}, books={"BTC": book}, first_books={"BTC": first}, trades=[trade], events=[event],
        controls=controls, frame=ClockFrame(START),
    )  # fmt: skip
    (found,) = kept.passes
    assert (found.now_ms, found.frame_ms) == (START, START)
    assert (found.contexts, found.books, found.first_books) == ({"BTC": (context,)}, {"BTC": book}, {"BTC": first})
    assert (found.trades, found.events) == ([trade], [("StreamStatus", event)])
    assert [(cmd, pid, uid) for cmd, _, pid, uid in found.controls] == [("pause", 7, 1000)]


def test_a_session_with_a_kill_is_the_same_again(kept: Kept, rig: DeskRig, tmp_path: Path) -> None:
    """The latch file came from another process, vanished, and was put back: no file stands where it is replayed."""
    rig.step(START)
    rig.decide(START + QUARTER, Enter("BTC", Side.LONG, "told to"))
    kill_switch.latch(rig.latch, who="test", reason="enough", venue_ms=None)
    rig.step(START + QUARTER + MINUTE)
    rig.latch.unlink()
    rig.step(START + QUARTER + 2 * MINUTE)
    rig.done("pause", reason="news")
    rig.commit("close", symbol="BTC")
    rig.decide(START + 2 * QUARTER, Enter("ETH", Side.LONG, "told to"))
    (tmp_path / "again").mkdir()
    with DeskRig(tmp_path / "again") as again:
        again.script.decisions = rig.script.decisions
        run_again(kept, again)
        assert not again.latch.exists()
        assert journal(again) == journal(rig)
    texts = rig.told("KILLED")
    assert len(texts) == 2
    assert rig.actions()[-1] == ("ETH", "blocked", "killed,paused")


def test_another_question_than_recorded_is_noticed(kept: Kept) -> None:
    """A replay by other code must not go on with the wrong answers."""
    outside = RecordedOutside(kept)  # type: ignore[arg-type]
    assert outside.ask("first", bool, lambda: False) is False
    assert outside.ask("second", str, lambda: "yes") == "yes"
    outside.took(1, Batch())
    again = ReplayedOutside()
    again.begin(kept.passes[0].answers)
    assert again.ask("first", bool, lambda: True) is False
    with pytest.raises(Diverged, match="asked 'second' where the replay asks 'third'"):
        again.ask("third", str, lambda: "no")
    again.begin(kept.passes[0].answers)
    with pytest.raises(Diverged, match=r"asked 'second' \(question 2 of its pass\), the replay did not"):
        again.begin([])


def test_a_lost_recording_is_told_once(kept: Kept, rig: DeskRig) -> None:
    """With one event, and trading goes on."""
    rig.step(START)
    kept.lost = "the disk is full"
    rig.step(START + MINUTE)
    rig.step(START + 2 * MINUTE)
    assert rig.told("RECORDING") == ["the recording of this session ends here, trading goes on: the disk is full"]
