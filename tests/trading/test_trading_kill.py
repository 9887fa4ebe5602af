"""The kill latch as the loop follows it (I6)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from desk_rig import QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig
from perp_bot.core.errors import StoreError
from perp_bot.core.types import Enter, Exit, OrderState, Side
from perp_bot.ipc.control import Outcome
from perp_bot.ipc.protocol import ControlResult
from perp_bot.risk import kill_switch
from perp_bot.trading import killing

CLOSE = START + QUARTER
PHRASE = "resume practice"


def latch(rig: DeskRig, reason: str = "test") -> None:
    kill_switch.latch(rig.latch, who="a test", reason=reason, venue_ms=None)


def refusing(rig: DeskRig) -> Path:
    """Return a path where nothing stands and nothing can be created: its folder is a link to nowhere."""
    folder = rig.folder / "gone"
    folder.symlink_to(rig.folder / "nowhere")
    return folder / "KILL"


def test_a_file_dropped_by_hand_kills_in_the_next_pass(rig: DeskRig) -> None:
    """An empty file is enough: killed, stored, told, entries blocked, exits not."""
    rig.enter("BTC")
    rig.latch.touch()
    rig.handle()
    assert rig.desk.killed is not None
    assert rig.state("kill") == rig.desk.killed
    assert len(rig.told("KILLED")) == 1
    assert "KILLED" in rig.alerts
    rig.decide(CLOSE + QUARTER, Enter("ETH", Side.LONG, "told to"), Exit("BTC", "told to leave"))
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "blocked", "killed")]
    assert rig.desk.account.positions == ()


def test_a_kill_cancels_working_entries_before_the_market_of_the_same_pass_fills_them(tmp_path: Path) -> None:
    """The latch is looked at first: a trade through the limit in the very batch fills nothing."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=60.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        (entry,) = rig.desk.entries_working()
        latch(rig)
        through = float(entry.intent.limit_px or 0) - 10.0
        rig.step(CLOSE + 61_000, trades=(rig.trade("BTC", through, 9.0, CLOSE + 1),))
        assert rig.desk.account.positions == ()
        assert rig.rows("SELECT state FROM orders") == [(OrderState.CANCELLED.value,)]


def test_a_latch_file_removed_by_hand_comes_back(rig: DeskRig) -> None:
    """Only unkill lifts a kill."""
    latch(rig)
    rig.handle()
    rig.latch.unlink()
    rig.handle()
    assert kill_switch.is_latched(rig.latch)
    assert rig.desk.killed is not None
    assert "only `perpbot unkill` lifts a kill" in rig.told("KILLED")[-1]


def test_a_folder_that_refuses_the_file_is_not_asked_at_every_pass(
    rig: DeskRig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kill holds in memory; the failure is said once, not with every message of the market."""
    latch(rig)
    rig.handle()
    rig.latch.unlink()
    rig.desk.kill_latch = refusing(rig)
    for _ in range(50):
        rig.handle()
    assert rig.desk.killed is not None
    assert caplog.text.count("but not as a file") == 1
    monkeypatch.setattr(killing, "PUT_BACK_EVERY_S", 0.0)
    rig.desk.kill_latch = rig.latch
    rig.handle()
    assert kill_switch.is_latched(rig.latch)


def test_a_kill_whose_file_could_not_be_created_kills_all_the_same(rig: DeskRig) -> None:
    """The socket thread hands the request on although its latch failed: memory and database hold the kill."""
    answer = rig.done("kill", reason="no disk")
    assert answer.status == "killed"
    assert "no disk" in (rig.desk.killed or "")
    assert rig.state("kill") == rig.desk.killed
    assert kill_switch.is_latched(rig.latch), "and it is tried again at once"
    rig.decide(CLOSE, Enter("ETH", Side.LONG, "told to"))
    assert rig.actions()[-1] == ("ETH", "blocked", "killed")


def test_a_kill_behind_an_unkill_in_one_pass_stands(rig: DeskRig) -> None:
    """The second kill found the old file in place; the unkill before it must not carry it away."""
    latch(rig)
    rig.handle()
    preview = rig.done("prepare", action="unkill", phrase=PHRASE).preview
    assert preview is not None
    answers: list[Outcome] = []
    unkill = rig.request("commit", answers, token=preview.token)
    again = rig.request("kill", answers, reason="again")
    rig.handle(controls=[unkill, again])
    assert any(isinstance(answer, ControlResult) and answer.status == "killed" for answer in answers)
    assert rig.desk.killed is not None
    assert kill_switch.is_latched(rig.latch)
    assert rig.state("kill") is not None


def test_unkill_needs_the_phrase_and_then_its_token(rig: DeskRig) -> None:
    """Nothing else lifts it; afterwards entries go out again."""
    assert rig.done("prepare", action="unkill", phrase=PHRASE).status == "already"
    latch(rig)
    rig.handle()
    for phrase in ("", "resume", "RESUME PRACTICE"):
        assert rig.refused("prepare", action="unkill", phrase=phrase).code == "refused"
    preview = rig.done("prepare", action="unkill", phrase=PHRASE).preview
    assert preview is not None
    assert rig.done("commit", token=preview.token).status == "done"
    assert rig.desk.killed is None
    assert not os.path.lexists(rig.latch)
    assert rig.state("kill") is None
    rig.decide(CLOSE, Enter("ETH", Side.LONG, "told to"))
    assert rig.actions()[-1] == ("ETH", "enter", "")


def test_unkill_says_what_still_blocks(rig: DeskRig) -> None:
    """A pause behind the kill stays."""
    rig.done("pause", reason="holiday")
    latch(rig)
    rig.handle()
    preview = rig.done("prepare", action="unkill", phrase=PHRASE).preview
    assert preview is not None
    assert "holiday" in rig.done("commit", token=preview.token).text


def test_a_kill_that_changed_since_the_preview_is_not_lifted(rig: DeskRig) -> None:
    """Somebody killed for another reason meanwhile."""
    latch(rig)
    rig.handle()
    preview = rig.done("prepare", action="unkill", phrase=PHRASE).preview
    assert preview is not None
    rig.desk.killed = "killed by somebody else"
    assert rig.refused("commit", token=preview.token).code == "changed"
    assert kill_switch.is_latched(rig.latch)


def test_kill_with_flatten_latches_and_previews_the_flatten(rig: DeskRig) -> None:
    """The kill is done at once; the flatten waits for its commit and ends flat and killed."""
    rig.enter("BTC")
    latch(rig)
    answer = rig.done("kill", flatten=True)
    assert answer.status == "killed"
    assert answer.preview is not None
    assert [row["symbol"] for row in answer.preview.positions] == ["BTC"]
    assert rig.desk.account.positions != ()
    assert rig.done("commit", token=answer.preview.token).status == "flat"
    assert rig.desk.killed is not None


@pytest.mark.parametrize("leaves", ["file", "database"])
def test_a_kill_survives_a_restart_by_its_file_or_by_the_database(rig: DeskRig, leaves: str) -> None:
    """Either one latches again; both stand afterwards."""
    latch(rig)
    rig.handle()
    if leaves == "database":
        rig.flush()
        rig.latch.unlink()
    else:
        rig.raw.put()
    rig.restart()
    assert rig.desk.killed is not None
    assert kill_switch.is_latched(rig.latch)


def test_a_kill_of_the_downtime_is_stored_at_the_start(rig: DeskRig) -> None:
    """Latched while nobody ran: from the start on, losing the file does not lift it."""
    rig.close()
    latch(rig)
    rig._open(START)
    assert rig.state("kill") == rig.desk.killed
    rig.latch.unlink()
    rig.restart()
    assert rig.desk.killed is not None


def test_a_kill_of_the_downtime_cancels_the_entries_that_were_working(tmp_path: Path) -> None:
    """A restored entry order does not outlive the kill."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=3600.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.close()
        latch(rig)
        rig._open(CLOSE)
        assert rig.desk.entries_working() == ()
        assert rig.rows("SELECT state, note FROM orders") == [("cancelled", "killed")]


def test_an_entry_whose_latch_falls_between_decision_and_send_is_not_sent(rig: DeskRig) -> None:
    """The sender looks at the file itself: decided, committed, and cancelled unsent."""
    real = rig.writer.commit

    def commit_and_latch(*rows: object, deadline_s: float) -> None:
        real(*rows, deadline_s=deadline_s)  # type: ignore[arg-type]
        latch(rig)

    rig.writer.commit = commit_and_latch  # type: ignore[method-assign]
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    assert rig.desk.account.positions == ()
    assert rig.rows("SELECT state, note FROM orders") == [("cancelled", "killed before it was sent")]


def test_a_stored_kill_that_cannot_be_latched_again_refuses_the_start(rig: DeskRig) -> None:
    """A daemon that could not be told by its file does not trade."""
    latch(rig)
    rig.handle()
    rig.flush()
    rig.latch.unlink()
    rig.latch = refusing(rig)
    with pytest.raises(StoreError, match="kill NOT latched"):
        rig.rebuilt()
