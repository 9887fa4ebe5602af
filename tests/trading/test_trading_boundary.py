"""A boundary decided: which candles, once, what a failing store changes, and what is written down."""

from __future__ import annotations

from pathlib import Path

import pytest
from desk_rig import PX, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig
from perp_bot.core.errors import StoreFull
from perp_bot.core.events import BoundaryClosed, CloseStatus, SeriesClose
from perp_bot.core.types import Candle, Enter, Exit, OrderRole, Side
from perp_bot.data.db.emergency import read_emergency
from perp_bot.data.db.writer import CommitUncertain
from perp_bot.decision.delay import PendingEntry

CLOSE = START + QUARTER


def candle(symbol: str, open_ms: int, close: float | None = None) -> Candle:
    px = PX[symbol] if close is None else close
    return Candle(symbol, "15m", open_ms, px, px * 1.001, px * 0.999, px, 10.0)


def test_a_close_is_decided_once(rig: DeskRig) -> None:
    """The same boundary again, as after a restart: no second row, no second order, nothing counted twice."""
    rig.enter("BTC")
    totals = rig.desk.totals.to_json()
    rig.handle(events=[rig.boundary_at(CLOSE)])
    assert rig.actions() == [("BTC", "enter", ""), ("ETH", "hold", "")]
    assert rig.desk.totals.to_json() == totals
    assert totals == {"candles_processed": 2, "decisions": 2, "entries": 1, "exits": 0}
    rig.restart()
    rig.step(CLOSE)
    rig.handle(events=[rig.boundary_at(CLOSE)])
    assert len(rig.actions()) == 2
    assert rig.desk.totals.to_json() == totals


def test_a_coin_without_a_row_is_held_and_the_others_are_decided(rig: DeskRig) -> None:
    """One coin's outage is not another's."""
    rig.step(CLOSE)
    for symbol in PX:
        rig.script.decisions[(symbol, CLOSE)] = Enter(symbol, Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(CLOSE, of={"BTC": CloseStatus.MISSING})])
    assert rig.actions() == [("BTC", "hold", ""), ("ETH", "enter", "")]
    assert rig.desk.last_decisions["BTC"].reason == "no candle: no row"


def test_an_unconfirmed_close_allows_the_exit_and_refuses_the_entry(rig: DeskRig) -> None:
    """Exits are decided on the stream's row, marked provisional; it never enters the history."""
    rig.enter("BTC")
    close_ms = CLOSE + QUARTER
    rig.step(close_ms)
    rig.script.decisions[("BTC", close_ms)] = Exit("BTC", "told to leave")
    rig.script.decisions[("ETH", close_ms)] = Enter("ETH", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(close_ms, CloseStatus.PROVISIONAL)])
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "blocked", "provisional")]
    assert rig.desk.last_decisions["BTC"].provisional
    last = rig.desk.histories["BTC"].last
    assert last is not None
    assert last.close_ms == CLOSE


def test_several_unconfirmed_closes_in_a_row_stand_in_the_window_until_final_rows_come(rig: DeskRig) -> None:
    """The strategy sees them one after the other; the final rows then replace them."""
    rig.decide(CLOSE)
    for number in (2, 3):
        rig.step(START + number * QUARTER)
        rig.handle(events=[rig.boundary_at(START + number * QUARTER, CloseStatus.PROVISIONAL)])
    assert rig.script.views[-1].bars == 3
    rows = tuple(candle("BTC", START + number * QUARTER) for number in (1, 2, 3))
    event = BoundaryClosed("15m", START + 4 * QUARTER, (SeriesClose("BTC", CloseStatus.CONFIRMED, rows),))
    rig.step(START + 4 * QUARTER)
    rig.handle(events=[event])
    assert (rig.script.views[-1].bars, rig.script.views[-1].provisional) == (4, False)


def test_a_gap_is_repaired_from_the_store(rig: DeskRig, caplog: pytest.LogCaptureFixture) -> None:
    """The missing closes are read back; without them the warm-up begins again, never a number over a hole."""
    rig.decide(CLOSE)
    rig.stored = [candle("BTC", START + number * QUARTER) for number in range(4)]
    rig.step(START + 4 * QUARTER)
    rig.handle(events=[rig.boundary_at(START + 4 * QUARTER)])
    assert "a gap in the closes; 4 candles at hand" in caplog.text
    assert rig.script.views[-2].bars == 4
    rig.stored = []
    rig.step(START + 9 * QUARTER)
    rig.handle(events=[rig.boundary_at(START + 9 * QUARTER)])
    assert [view.bars for view in rig.script.views[-2:]] == [1, 1]


def test_a_store_that_lags_behind_is_completed_by_what_is_at_hand(rig: DeskRig) -> None:
    """The newest row may not be on disk yet."""
    rig.decide(CLOSE)
    rig.stored = [candle("BTC", START + number * QUARTER) for number in range(2)]
    rig.step(START + 3 * QUARTER)
    rig.handle(events=[rig.boundary_at(START + 3 * QUARTER)])
    assert len(rig.desk.histories["BTC"]) == 3


def test_another_timeframe_decides_nothing(rig: DeskRig) -> None:
    """Only the primary series is decided on."""
    rig.handle(events=[BoundaryClosed("1h", START, ())])
    assert rig.actions() == []


def test_a_close_that_is_handled_too_late_lets_exits_out_and_no_entry_in(rig: DeskRig) -> None:
    """More than half a candle late, as after a restart: its price is history."""
    rig.enter("BTC")
    close_ms = CLOSE + QUARTER
    rig.step(close_ms + QUARTER // 2 + 1_000)
    rig.script.decisions[("BTC", close_ms)] = Exit("BTC", "told to leave")
    rig.script.decisions[("ETH", close_ms)] = Enter("ETH", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(close_ms)])
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "hold", "")]
    assert "late" in rig.desk.last_decisions["ETH"].reason


def test_an_old_book_refuses_the_entry(rig: DeskRig) -> None:
    """I10: nothing is priced from a book of a minute ago."""
    rig.step(CLOSE - 60_000)
    rig.step(CLOSE, without_books=True)
    rig.script.decisions[("BTC", CLOSE)] = Enter("BTC", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(CLOSE)])
    assert rig.actions()[0] == ("BTC", "blocked", "stale_book")


def test_the_second_entry_of_a_boundary_counts_the_first(tmp_path: Path) -> None:
    """With room for one position, config order decides who gets it."""
    config = config_of(tmp_path)
    with DeskRig(tmp_path, config=type(config)(trading=config.trading, data=config.data)) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("ETH", Side.LONG, "told to"), Enter("BTC", Side.LONG, "told to"))
        assert rig.actions() == [("BTC", "enter", ""), ("ETH", "blocked", "max_positions")]


# ---------------------------------------------------------------- a failing store


def test_a_known_failure_blocks_entries_and_lets_exits_out_on_the_emergency_journal(rig: DeskRig) -> None:
    """The disk is full: BTC leaves, its intent is in the pre-allocated file, ETH is not entered; later all lands."""
    rig.enter("BTC")
    rig.writer.error = StoreFull("the disk is full")
    rig.decide(CLOSE + QUARTER, Exit("BTC", "told to leave"), Enter("ETH", Side.LONG, "told to"))
    assert rig.desk.account.positions == ()
    assert rig.desk.last_decisions["ETH"].blocked_by[0].rule == "store"
    (record,) = read_emergency(rig.folder / "emergency")
    assert (record["symbol"], record["role"], record["reason"]) == ("BTC", "exit", "told to leave")
    assert any("the disk is full" in text for text in rig.told("DEGRADED"))
    rig.writer.recover()
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "blocked", "store")]
    for _ in range(2):
        rig.loop._health_s = 0.0
        rig.handle()
        rig.flush()
    assert read_emergency(rig.folder / "emergency") == [], "forgotten once the database has everything"
    assert rig.rebuilt().account.totals() == rig.desk.account.totals()


def test_a_commit_that_fails_under_our_hands_blocks_the_entry_and_lets_the_exit_out(rig: DeskRig) -> None:
    """Health was good a moment ago: the whole boundary is one transaction, its exit goes, its entry does not."""
    rig.enter("BTC")
    rig.writer.fails_once = StoreFull("the disk is full")
    rig.decide(CLOSE + QUARTER, Exit("BTC", "told to leave"), Enter("ETH", Side.LONG, "told to"))
    assert rig.desk.account.positions == ()
    assert rig.actions()[-2:] == [("BTC", "exit", ""), ("ETH", "blocked", "store")]
    assert rig.rows("SELECT symbol, role, state FROM orders WHERE symbol = 'ETH'") == []
    assert rig.desk.last_decisions["ETH"].action == "blocked"


def test_a_commit_of_unknown_outcome_leaves_no_entry_behind(rig: DeskRig) -> None:
    """Whether the intent landed is not known: it is not sent, and stored as cancelled."""
    rig.writer.fails_once = CommitUncertain("still at the disk")
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    assert rig.desk.account.positions == ()
    assert rig.desk.live_orders == ()
    ((state, note),) = rig.rows("SELECT state, note FROM orders")
    assert state == "cancelled"
    assert "not confirmed" in note
    assert rig.rebuilt().live_orders == ()


def test_working_entries_are_cancelled_when_the_store_fails(tmp_path: Path) -> None:
    """A fill that cannot be written down must not happen."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=3600.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.writer.error = StoreFull("the disk is full")
        rig.loop._health_s = 0.0
        rig.handle()
        assert rig.desk.entries_working() == ()


# ---------------------------------------------------------------- orders and what waits


def test_a_resting_entry_whose_conditions_are_gone_is_cancelled(tmp_path: Path) -> None:
    """`cancel_if_signal_gone`; while they hold it works on."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=36_000.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.decide(CLOSE + QUARTER, Enter("BTC", Side.LONG, "still told to"))
        assert [order.intent.role for order in rig.desk.live_orders] == [OrderRole.ENTRY]
        rig.decide(CLOSE + 2 * QUARTER)
        assert rig.desk.live_orders == ()
        assert "conditions no longer hold" in rig.rows("SELECT note FROM orders")[0][0]


def test_a_delayed_entry_waits_in_the_store_and_goes_out_later(tmp_path: Path) -> None:
    """One close of delay: what waits is written with the decision, a restart waits on, the entry follows."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="taker", entry_delay_candles=1))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        assert rig.actions()[0] == ("BTC", "hold", "")
        rig.restart()
        assert rig.desk.pending == (PendingEntry("BTC", "scripted", Side.LONG, CLOSE, CLOSE, 0),)
        rig.decide(CLOSE + QUARTER, Enter("BTC", Side.LONG, "still told to"))
        assert rig.actions()[-2] == ("BTC", "enter", "")
        assert rig.desk.pending == ()


def test_what_waits_for_a_coin_that_was_not_asked_stays(tmp_path: Path) -> None:
    """A boundary that decides one coin alone forgets nothing of the other."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="taker", entry_delay_candles=3))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        row = candle("ETH", CLOSE)
        rig.step(CLOSE + QUARTER)
        rig.handle(
            events=[BoundaryClosed("15m", CLOSE + QUARTER, (SeriesClose("ETH", CloseStatus.CONFIRMED, (row,)),))]
        )
        assert [entry.symbol for entry in rig.desk.pending] == ["BTC"]
        assert rig.rebuilt().pending == rig.desk.pending


def test_equity_is_stored_at_every_close(rig: DeskRig) -> None:
    """Cash exactly, equity at the newest marks; once a close."""
    rig.enter("BTC")
    rig.handle(events=[rig.boundary_at(CLOSE)])
    rows = rig.rows("SELECT venue_ms, equity_usd, cash_usd FROM equity")
    equity = rig.desk.equity_usd()
    assert rows == [(CLOSE, equity, str(rig.desk.account.cash_usd))]


def test_the_intent_is_on_disk_before_it_is_sent(rig: DeskRig) -> None:
    """When the executor hears of an order, the store knows it already."""
    seen: list[list[tuple[str, ...]]] = []
    real = rig.desk.executor.submit

    def submit(intent: object, now_ms: int) -> None:
        seen.append(rig.rows("SELECT o.state, d.action FROM orders o JOIN decisions d USING (decision_id)"))
        real(intent, now_ms)  # type: ignore[arg-type]

    rig.desk.executor.submit = submit  # type: ignore[method-assign]
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    assert seen == [[("intent", "enter")]]
