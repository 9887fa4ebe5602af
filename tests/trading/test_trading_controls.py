"""What an operator asks for: every verb, its scope, what it must not touch, and what it answers."""

from __future__ import annotations

import pytest
from desk_rig import MINUTE, NAME, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import IpcError, StoreFull
from perp_bot.core.types import Enter, Exit, OrderRole, Side
from perp_bot.decision.delay import PendingEntry
from perp_bot.ipc.control import Outcome
from perp_bot.ipc.protocol import ControlResult

CLOSE = START + QUARTER


def limit_rig(rig: DeskRig) -> None:
    """Entries rest as limits for an hour."""
    rig.config = config_of(rig.folder, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=3600.0))
    rig.restart()
    rig.step(START)


# ---------------------------------------------------------------- pause and resume


def test_a_pause_blocks_entries_and_lets_exits_and_stops_go_on(rig: DeskRig) -> None:
    """Paused: ETH is not entered, and the open BTC position leaves by its exit."""
    rig.enter("BTC")
    assert rig.done("pause", reason="news").status == "done"
    assert len(rig.desk.live_orders) == 1, "the stop of BTC stays"
    rig.decide(CLOSE + QUARTER, Enter("ETH", Side.LONG, "told to"), Exit("BTC", "told to leave"))
    assert rig.desk.account.positions == ()
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "blocked", "paused")]


def test_a_pause_cancels_the_entries_it_covers_and_no_other(rig: DeskRig) -> None:
    """Pausing BTC cancels its resting entry; that of ETH works on."""
    limit_rig(rig)
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"), Enter("ETH", Side.LONG, "told to"))
    assert [o.intent.symbol for o in rig.desk.entries_working()] == ["BTC", "ETH"]
    rig.done("pause", symbol="BTC")
    assert [o.intent.symbol for o in rig.desk.entries_working()] == ["ETH"]
    assert "entry buy BTC cancelled: paused" in rig.told("CANCELLED")


def test_a_pause_of_a_symbol_forgets_its_delayed_entry_and_stores_the_others(rig: DeskRig) -> None:
    """What still waits is what the store says waits, so that a restart waits for the same."""
    btc = PendingEntry("BTC", NAME, Side.LONG, CLOSE, CLOSE, 0)
    eth = PendingEntry("ETH", NAME, Side.SHORT, CLOSE, CLOSE, 0)
    rig.desk.pending = (btc, eth)
    rig.done("pause", symbol="BTC")
    assert rig.desk.pending == (eth,)
    assert rig.rebuilt().pending == (eth,)


def test_a_second_pause_of_the_same_scope_changes_nothing(rig: DeskRig) -> None:
    """Idempotent, by scope."""
    rig.done("pause", symbol="BTC")
    assert rig.done("pause", symbol="BTC").status == "already"
    assert rig.done("pause", strategy=NAME).status == "done"
    assert [(p.scope, p.name) for p in rig.desk.pauses] == [("symbol", "BTC"), ("strategy", NAME)]


def test_a_resume_lifts_its_own_scope_and_says_what_is_left(rig: DeskRig) -> None:
    """BTC resumed under a pause of everything stays paused, and the answer says so; resume of all lifts all."""
    rig.done("pause")
    rig.done("pause", symbol="BTC")
    answer = rig.done("resume", symbol="BTC")
    assert answer.status == "done"
    assert "everything is paused" in answer.text
    assert rig.done("resume").status == "done"
    assert rig.desk.pauses == ()
    assert rig.done("resume").status == "already"


def test_a_pause_is_answered_when_it_is_on_disk_and_survives_a_restart(rig: DeskRig) -> None:
    """Who was told `done` finds the pause again after a crash right behind the answer."""
    answers: list[Outcome] = []
    rig.writer.is_slow = True
    rig.handle(controls=[rig.request("pause", answers)])
    rig.handle()
    assert answers == [], "not on disk yet"
    rig.writer.recover()
    rig.flush()
    rig.handle()
    assert len(answers) == 1
    assert rig.rebuilt().pauses == rig.desk.pauses != ()


def test_a_pause_on_a_failed_disk_is_done_and_says_that_it_is_not_stored(rig: DeskRig) -> None:
    """The truth about the disk belongs to the answer."""
    rig.writer.error = StoreFull("the disk is full")
    answer = rig.done("pause")
    assert answer.status == "done"
    assert "NOT stored yet" in answer.text
    assert "the disk is full" in answer.text
    assert rig.desk.pauses != ()


@pytest.mark.parametrize(
    ("cmd", "scope"), [("pause", {"symbol": "DOGE"}), ("resume", {"strategy": "other"}), ("pause", {"strategy": "x"})]
)
def test_an_unknown_scope_is_refused_by_name(rig: DeskRig, cmd: str, scope: dict[str, str]) -> None:
    """A typing error must not look like success."""
    error = rig.refused(cmd, **scope)
    assert error.code == "bad_args"
    assert next(iter(scope.values())) in str(error)


def test_resume_ends_a_drawdown_pause_and_lifts_neither_kill_nor_cooldown_nor_the_day(rig: DeskRig) -> None:
    """The session pause needs the operator; everything else is not his to lift by a resume."""
    rig.enter("BTC")
    rig.step(rig.now_ms + MINUTE, {"BTC": 97_000.0})  # the stop: about 3 % of 1,000 USD lost
    assert rig.desk.risk.cooldown_until_ms is not None
    risk = rig.desk.risk
    rig.latch.touch()
    rig.handle()
    assert rig.done("resume").status == "already"
    rig.desk.risk = type(risk)(**{name: getattr(risk, name) for name in risk.__slots__} | {"session_paused": True})
    answer = rig.done("resume")
    assert answer.status == "done"
    assert "still killed" in answer.text
    after = rig.desk.risk
    assert not after.session_paused
    assert after.cooldown_until_ms == risk.cooldown_until_ms
    assert after.day_realized_net_usd == risk.day_realized_net_usd
    assert rig.desk.killed is not None
    assert rig.state("risk")["session_paused"] is False


def test_a_symbol_resume_does_not_end_a_drawdown_pause(rig: DeskRig) -> None:
    """It concerns the whole account."""
    risk = rig.desk.risk
    rig.desk.risk = type(risk)(**{name: getattr(risk, name) for name in risk.__slots__} | {"drawdown_paused": True})
    assert rig.done("resume", symbol="BTC").status == "already"
    assert rig.desk.risk.drawdown_paused


# ---------------------------------------------------------------- close, flatten, cancel_orders


def test_close_shows_its_preview_and_closes_one_symbol(rig: DeskRig) -> None:
    """The preview has size, notional, fee and slippage by the daemon's reckoning; the commit answers flat."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    (row,) = preview.positions
    size = float(rig.desk.account.positions[0].size)
    assert (row["symbol"], row["side"], row["size"]) == ("BTC", "long", size)
    assert row["notional_usd"] == pytest.approx(size * 100_000.0)
    assert row["est_fee_usd"] == pytest.approx(size * 100_000.0 * 0.00045)
    assert row["est_slippage_usd"] == pytest.approx(size * 1.0)
    answer = rig.done("commit", token=preview.token)
    assert (answer.status, rig.desk.account.positions) == ("flat", ())
    assert rig.rows("SELECT exit_reason FROM trades") == [("operator_close",)]
    assert rig.desk.live_orders == (), "no stop is left behind"


def test_nothing_to_close_is_said_without_a_token(rig: DeskRig) -> None:
    """`close ETH` without a position or an entry order."""
    for action in ("close", "flatten", "cancel_orders"):
        answer = rig.done("prepare", action=action, symbol="ETH")
        assert (answer.status, answer.preview) == ("already", None)


def test_flatten_closes_everything_and_cancels_entries(rig: DeskRig) -> None:
    """Two positions, both gone."""
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    rig.decide(CLOSE + QUARTER, Enter("ETH", Side.SHORT, "told to"))
    assert len(rig.desk.account.positions) == 2
    answer = rig.commit("flatten")
    assert answer.status == "flat"
    assert rig.desk.account.positions == rig.desk.executor.positions == ()
    assert len(rig.rows("SELECT 1 FROM trades")) == 2


def test_flatten_while_an_entry_is_part_filled_cancels_the_rest_and_closes_the_part(rig: DeskRig) -> None:
    """What filled is closed, what did not is cancelled: nothing fills afterwards."""
    limit_rig(rig)
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    (entry,) = rig.desk.entries_working()
    assert entry.intent.limit_px is not None
    through = float(entry.intent.limit_px) - 5.0
    rig.fill_entry("BTC", 0.005)
    assert float(rig.desk.account.positions[0].size) == 0.005
    assert rig.commit("flatten").status == "flat"
    rig.step(CLOSE + 2 * MINUTE, trades=(rig.trade("BTC", through, 1.0, CLOSE + 2 * MINUTE - 1),))
    assert rig.desk.account.positions == ()
    assert rig.desk.live_orders == ()


def test_cancel_orders_cancels_entries_and_never_a_stop(rig: DeskRig) -> None:
    """The protective stop stays through it."""
    limit_rig(rig)
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    rig.fill_entry("BTC", 0.005)
    answer = rig.commit("cancel_orders")
    assert answer.status == "done"
    assert "1 entry orders cancelled" in answer.text
    assert [order.intent.role for order in rig.desk.live_orders] == [OrderRole.STOP]


def test_a_token_is_spent_once(rig: DeskRig) -> None:
    """The second commit of one preview is refused."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    assert rig.done("commit", token=preview.token).status == "flat"
    assert rig.refused("commit", token=preview.token).code == "token_spent"


def test_a_position_that_changed_since_the_preview_is_not_closed(rig: DeskRig) -> None:
    """Another size, another answer: `changed`, and nothing is sent."""
    limit_rig(rig)
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    rig.fill_entry("BTC", 0.005)
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    rig.fill_entry("BTC", 0.005)
    assert rig.refused("commit", token=preview.token).code == "changed"
    assert float(rig.desk.account.positions[0].size) == 0.01
    assert rig.rows("SELECT 1 FROM orders WHERE role = 'exit'") == []


def test_an_old_token_is_refused(rig: DeskRig) -> None:
    """Ten seconds after the preview the market is another."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    rig.tokens._entries[preview.token].issued_s -= 11.0
    assert rig.refused("commit", token=preview.token).code == "token_expired"


def test_a_close_that_waits_for_a_fresh_book_is_answered_when_it_is_flat(rig: DeskRig) -> None:
    """The loop goes on meanwhile: no answer before the book, `flat` after it."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    answers: list[Outcome] = []
    rig.later(MINUTE)  # the newest book is a minute old now
    rig.handle(controls=[rig.request("commit", answers, token=preview.token)])
    rig.handle()
    assert answers == []
    rig.step(rig.now_ms + 1)
    assert rig.desk.account.positions == ()
    rig.flush()
    rig.handle()
    assert isinstance(answers[0], ControlResult)
    assert answers[0].status == "flat"


def test_a_close_that_finds_no_book_in_time_says_partly_flat(rig: DeskRig) -> None:
    """At the last look what is still open is named."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="close", symbol="BTC").preview
    assert preview is not None
    rig.loop._owed._within_s = 0.0
    rig.later(MINUTE)
    answer = rig.done("commit", token=preview.token)
    assert answer.status == "partly_flat"
    assert "BTC" in answer.text
    assert "working" in answer.text


def test_flat_is_said_after_two_looks_at_books_and_account(rig: DeskRig) -> None:
    """When the account's own word differs from the books, the answer is `unknown`, never `flat`."""
    rig.enter("BTC")
    preview = rig.done("prepare", action="flatten").preview
    assert preview is not None
    ghost = rig.desk.account.positions[0]
    answers: list[Outcome] = []
    rig.loop._owed._within_s = 0.0
    request = rig.request("commit", answers, token=preview.token)
    answer = rig.controls.handle(request, rig.now_ms)
    assert not isinstance(answer, ControlResult)
    rig.desk.executor._positions["BTC"] = ghost
    found = answer.look(True)
    assert found is not None
    assert found.status == "unknown"


def test_an_exit_that_is_under_way_is_not_sent_twice(rig: DeskRig) -> None:
    """A second flatten while the first waits for its book adds no order."""
    rig.enter("BTC")
    rig.loop._owed._within_s = 0.0
    rig.later(MINUTE)
    assert rig.commit("flatten").status == "partly_flat"
    assert rig.commit("flatten").status == "partly_flat"
    assert len(rig.rows("SELECT 1 FROM orders WHERE role = 'exit'")) == 1


# ---------------------------------------------------------------- the rest


def test_a_request_whose_sender_has_given_up_is_not_done(rig: DeskRig) -> None:
    """It was told that nothing is known of it; only kill is obeyed late."""
    answers: list[Outcome] = []
    rig.handle(controls=[rig.request("pause", answers, patience_s=-1.0)])
    assert (answers, rig.desk.pauses) == ([], ())
    assert rig.request("kill", answers, patience_s=-1.0).is_expired(monotonic_s()) is False


def test_an_unknown_command_is_refused_and_the_loop_goes_on(rig: DeskRig) -> None:
    """The socket thread checks names; the loop does not trust it."""
    answers: list[Outcome] = []
    request = rig.request("pause", answers)
    object.__setattr__(request, "cmd", "dance")
    rig.handle(controls=[request])
    assert isinstance(answers[0], IpcError)
    assert answers[0].code == "unknown_command"


def test_resume_from_a_drawdown_needs_a_known_equity(rig: DeskRig) -> None:
    """With a position and no mark of it the new peak would be invented."""
    rig.enter("BTC")
    risk = rig.desk.risk
    rig.desk.risk = type(risk)(**{name: getattr(risk, name) for name in risk.__slots__} | {"session_paused": True})
    rig.desk.market._marks.clear()
    answers: list[Outcome] = []
    rig.handle(controls=[rig.request("resume", answers)])
    assert "equity is not known" in str(answers[0])
    assert rig.desk.risk.session_paused
