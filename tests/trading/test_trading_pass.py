"""One pass of the loop: the order of handling, timers, funding hours, held closes, and who is answered when."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk_rig import HEALTHY, HOUR, MINUTE, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig, RiskConfig
from perp_bot.core.clock import monotonic_s
from perp_bot.core.errors import IpcError
from perp_bot.core.events import ClockFrame, CloseStatus, FeedOverflow, FundingSettled, StreamStatus
from perp_bot.core.types import Enter, Exit, FundingRate, Instrument, OrderRole, Regime, Side
from perp_bot.execution.funding import FundingDue
from perp_bot.ipc.control import Outcome
from perp_bot.ipc.protocol import ControlResult
from perp_bot.trading import loop as loop_module

CLOSE = START + QUARTER


# ---------------------------------------------------------------- order of handling


def test_a_pause_and_a_close_in_one_batch_block_the_entry(rig: DeskRig) -> None:
    """Controls come before closes: who pauses now is not entered now."""
    rig.step(CLOSE)
    rig.script.decisions[("BTC", CLOSE)] = Enter("BTC", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(CLOSE)], controls=[rig.request("pause", [])])
    assert rig.actions()[0] == ("BTC", "blocked", "paused")


def test_a_stop_and_a_close_in_one_batch_fire_the_stop_first(rig: DeskRig) -> None:
    """The mark that fires the stop is handled before the close that would exit: one exit, by the stop."""
    rig.enter("BTC")
    close_ms = CLOSE + QUARTER
    rig.script.decisions[("BTC", close_ms)] = Exit("BTC", "told to leave")
    rig.step(close_ms, {"BTC": 97_000.0}, events=(rig.boundary_at(close_ms),))
    assert rig.rows("SELECT exit_reason FROM trades") == [("capital_stop",)]
    assert rig.actions()[-2:] == [("BTC", "hold", ""), ("ETH", "hold", "")]


def test_a_spike_that_came_and_went_in_one_batch_fires_the_stop(rig: DeskRig) -> None:
    """The lowest mark of the batch is looked at, not only the newest."""
    rig.enter("BTC")
    rig.clock.observe(rig.now_ms + MINUTE)
    at = rig.now_ms
    marks = (rig.context("BTC", 97_000.0, at - 2), rig.context("BTC", 100_000.0, at))
    rig.handle(contexts={"BTC": marks}, books={"BTC": rig.book("BTC", 97_000.0)}, frame=ClockFrame(at))
    assert rig.desk.account.positions == ()
    assert rig.told("STOP") != []


def test_an_overflow_and_a_close_in_one_batch_block_the_entry_until_a_confirmed_close(rig: DeskRig) -> None:
    """What was lost is known first, whatever came first; told once, over with the next confirmed close."""
    rig.step(CLOSE)
    rig.script.decisions[("BTC", CLOSE)] = Enter("BTC", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(CLOSE), FeedOverflow("trades"), FeedOverflow("trades")])
    assert rig.actions()[0] == ("BTC", "blocked", "overflow")
    assert len(rig.told("DEGRADED")) == 1
    assert rig.desk.overflow is None
    rig.decide(CLOSE + QUARTER, Enter("BTC", Side.LONG, "told to"))
    assert rig.actions()[-2] == ("BTC", "enter", "")
    assert len(rig.told("RECOVERED")) == 1


def test_an_unconfirmed_close_does_not_end_an_overflow(rig: DeskRig) -> None:
    """Only rows that REST confirmed make up for what was lost."""
    rig.handle(events=[FeedOverflow("trades")])
    rig.step(CLOSE)
    rig.handle(events=[rig.boundary_at(CLOSE, of={"ETH": CloseStatus.PROVISIONAL})])
    assert rig.desk.overflow is not None


def test_closes_that_came_before_the_first_prices_are_held_and_decided_in_their_order(tmp_path: Path) -> None:
    """Right after a start: no decision without marks and books, then the oldest close first."""
    with DeskRig(tmp_path) as rig:
        rig.handle(events=[rig.boundary_at(START - QUARTER)])
        assert rig.actions() == []
        rig.step(START, events=(rig.boundary_at(START),))
        rig.handle()
        closes = [close for (close,) in rig.rows("SELECT close_ms FROM decisions ORDER BY seq")]
        assert closes == [START - QUARTER] * 2 + [START] * 2


def test_a_close_is_not_held_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A market that stays dark: after the wait exits are decided, and an entry is refused for want of a book."""
    with DeskRig(tmp_path) as rig:
        rig.script.decisions[("BTC", START)] = Enter("BTC", Side.LONG, "told to")
        rig.handle(frame=ClockFrame(START))
        rig.handle(events=[rig.boundary_at(START)])
        assert rig.actions() == []
        monkeypatch.setattr(loop_module, "MARKET_READY_S", 0.0)
        rig.handle()
        assert rig.actions()[0] == ("BTC", "blocked", "stale_book")


def test_a_close_is_decided_on_the_health_of_now(rig: DeskRig) -> None:
    """The reads that confirmed it came after the last look: a venue that fails since then blocks, and is told."""
    rig.step(CLOSE)
    rig.market.feed = replace(HEALTHY, rest_ok=False, last_rest_error="502")
    rig.script.decisions[("BTC", CLOSE)] = Enter("BTC", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(CLOSE)])
    assert rig.actions()[0] == ("BTC", "blocked", "stale_stream")
    assert any("502" in text for text in rig.told("DEGRADED"))
    rig.market.feed = HEALTHY
    rig.decide(CLOSE + QUARTER)
    assert any("502" in text for text in rig.told("RECOVERED"))


# ---------------------------------------------------------------- timers


def test_a_position_that_is_too_old_is_closed_even_while_killed_and_paused(tmp_path: Path) -> None:
    """The timeout is an exit: nothing holds it up."""
    config = config_of(tmp_path, risk=RiskConfig(position_timeout_hours=1.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.enter("BTC")
        rig.done("pause")
        rig.latch.touch()
        rig.step(CLOSE + HOUR - 1)
        assert rig.desk.account.positions != ()
        rig.step(CLOSE + HOUR)
        assert rig.desk.account.positions == ()
        assert rig.rows("SELECT exit_reason FROM trades") == [("timeout",)]
        assert rig.told("TIMEOUT") != []


def test_a_timeout_that_closed_nothing_is_tried_once_a_minute_not_at_every_pass(tmp_path: Path) -> None:
    """A refused exit does not become a storm of journal writes, and is not given up either."""
    config = config_of(tmp_path, risk=RiskConfig(position_timeout_hours=1.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.enter("BTC")
        instrument = rig.market.listed.pop("BTC")
        for back in range(5):
            rig.step(CLOSE + HOUR + back)
        assert rig.rows("SELECT state FROM orders WHERE role = 'exit'") == [("rejected",)]
        rig.market.listed["BTC"] = instrument
        rig.step(CLOSE + HOUR + MINUTE)
        assert rig.desk.account.positions == ()


def test_the_target_of_a_position_is_watched_at_every_mark(rig: DeskRig) -> None:
    """Touched in the middle of a batch: closed, by a reduce-only order of its own reason."""
    rig.enter("BTC", target_px=101_000.0)
    rig.clock.observe(rig.now_ms + MINUTE)
    at = rig.now_ms
    marks = (rig.context("BTC", 101_000.0, at - 1), rig.context("BTC", 100_500.0, at))
    rig.handle(contexts={"BTC": marks}, books={"BTC": rig.book("BTC", 100_500.0)}, frame=ClockFrame(at))
    assert rig.rows("SELECT exit_reason, stopped FROM trades") == [("target", 0)]


def test_a_mark_from_before_the_opening_reaches_no_target(rig: DeskRig) -> None:
    """Replayed marks are older than the position."""
    rig.enter("BTC", target_px=101_000.0)
    rig.handle(contexts={"BTC": (rig.context("BTC", 102_000.0, CLOSE),)}, frame=ClockFrame(CLOSE))
    assert rig.desk.account.positions != ()


def test_an_exit_takes_the_rest_of_the_entry_order_with_it(tmp_path: Path) -> None:
    """An entry that fills behind its own exit would leave a position that nobody decided."""
    config = config_of(
        tmp_path,
        risk=RiskConfig(position_timeout_hours=0.25),
        execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=7200.0),
    )
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.fill_entry("BTC", 0.005)
        rig.step(rig.now_ms + QUARTER)
        assert rig.desk.account.positions == ()
        assert rig.desk.live_orders == ()


def test_a_delisted_coin_is_told_once_and_its_position_settled(rig: DeskRig) -> None:
    """By the venue's own word: no entries, and the position leaves at the last oracle price."""
    rig.enter("BTC")
    rig.market.listed["BTC"] = Instrument("BTC", 0, 5, 40, is_delisted=True)
    rig.loop._health_s = 0.0
    for minute in range(1, 4):
        rig.step(CLOSE + minute * MINUTE, without_books=True)
    assert rig.desk.account.positions == ()
    assert rig.rows("SELECT exit_reason, CAST(exit_px AS REAL) FROM trades") == [("delisted", 100_000.0)]
    assert len(rig.told("DELISTED")) == 1
    rig.market.listed["BTC"] = Instrument("BTC", 0, 5, 40)
    rig.loop._health_s = 0.0
    rig.handle()
    assert len(rig.told("LISTED")) == 1


# ---------------------------------------------------------------- funding


def rate(symbol: str, hour_ms: int, value: float = 0.0001) -> FundingSettled:
    return FundingSettled(FundingRate(symbol, hour_ms, value, None))


def test_an_hour_with_a_position_is_owed_at_the_oracle_price_and_paid_when_its_rate_comes(rig: DeskRig) -> None:
    """Long 0.0135 BTC over 04:00 at an oracle of 100,000 and 0.01 % pays 0.135 USD, on disk before and after."""
    rig.enter("BTC")
    size = rig.desk.account.positions[0].size
    hour = START + HOUR
    rig.step(hour)
    assert rig.market.asked == [("BTC", hour)]
    assert rig.rows("SELECT symbol, hour_ms, rate FROM funding_payments") == [("BTC", hour, None)]
    rig.handle(events=[rate("BTC", hour)])
    assert rig.desk.account.funding_usd == -(size * Decimal("100000.0") * Decimal("0.0001"))
    assert rig.desk.funding_due == {}
    rig.handle(events=[rate("BTC", hour)])
    assert rig.desk.account.funding_usd == -(size * Decimal("100000.0") * Decimal("0.0001")), "paid once"


def test_an_hour_owes_nothing_when_flat_or_opened_at_the_hour(rig: DeskRig) -> None:
    """A position opened at 04:00 sharp does not pay for 04:00, but for 05:00."""
    hour = START + HOUR
    rig.step(hour)
    rig.handle()
    assert rig.market.asked == []
    rig.script.decisions[("BTC", hour)] = Enter("BTC", Side.LONG, "told to")
    rig.handle(events=[rig.boundary_at(hour)])
    rig.step(hour + MINUTE)
    assert rig.market.asked == []
    rig.step(hour + HOUR)
    assert rig.market.asked == [("BTC", hour + HOUR)]


def test_a_position_closed_behind_the_hour_in_the_same_batch_still_pays(tmp_path: Path) -> None:
    """Who held at the hour pays, though the loop looked only after the stop had fired."""
    with DeskRig(tmp_path, speed=1.0) as rig:
        rig.step(START)
        rig.enter("BTC")
        size = rig.desk.account.positions[0].size
        hour = START + HOUR
        at = hour + 5_000
        rig.clock.observe(at)
        rig.handle(
            contexts={
                "BTC": (rig.context("BTC", 99_000.0, hour - 100), rig.context("BTC", 97_000.0, hour + 1_000)),
                "ETH": (rig.context("ETH", 3_000.0, hour - 100),),
            },
            books={"BTC": rig.book("BTC", 97_000.0, hour + 900)},
            frame=ClockFrame(at),
        )
        assert rig.desk.account.positions == ()
        assert rig.market.asked == [("BTC", hour)]
        assert rig.desk.funding_due[("BTC", hour)] == FundingDue(
            "BTC", hour, size, Decimal("99000.0"), "scripted", "paper"
        )
        rig.handle(events=[rate("BTC", hour)])
        (trade,) = rig.desk.account.trades
        assert trade.funding_usd == -(size * Decimal("99000.0") * Decimal("0.0001"))
        assert rig.rows("SELECT funding_usd FROM trades") == [(str(trade.funding_usd),)]


def test_a_position_opened_behind_the_hour_in_the_same_batch_does_not_pay(tmp_path: Path) -> None:
    """The entry fills at 04:00:01: the hour was not its own."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=7200.0))
    with DeskRig(tmp_path, config=config, speed=1.0) as rig:
        rig.step(START)
        rig.decide(START + 3 * QUARTER, Enter("BTC", Side.LONG, "told to"))
        hour = START + HOUR
        rig.clock.observe(hour + 5_000)
        rig.handle(trades=[rig.trade("BTC", 99_000.0, 9.0, hour + 1_000)], frame=ClockFrame(hour + 5_000))
        assert rig.desk.account.positions != ()
        assert rig.market.asked == []


def test_several_hours_in_one_batch_are_all_owed(rig: DeskRig) -> None:
    """A process that was stopped for three hours owes three."""
    rig.enter("BTC")
    rig.step(START + 3 * HOUR + MINUTE)
    assert rig.market.asked == [("BTC", START + hours * HOUR) for hours in (1, 2, 3)]


def test_an_hour_waits_for_its_first_oracle_price_and_is_given_up_after_an_hour(rig: DeskRig) -> None:
    """Right after a restart there is none yet; a coin that never gets one is told as missing."""
    rig.enter("BTC")
    rig.restart()
    rig.desk.next_hour_ms = START + HOUR
    rig.clock.observe(START + HOUR + 1)
    rig.handle(frame=ClockFrame(START + HOUR + 1))
    assert rig.market.asked == []
    assert rig.desk.next_hour_ms == START + HOUR
    rig.clock.observe(START + 2 * HOUR)
    rig.handle(frame=ClockFrame(START + 2 * HOUR))
    assert rig.market.asked == []
    assert any("its funding is missing" in text for text in rig.told("RECONCILE"))


def test_a_rate_that_comes_after_the_close_corrects_trade_day_and_week(rig: DeskRig) -> None:
    """Net, day and week all hold the payment, in memory and on disk."""
    rig.enter("BTC")
    rig.step(START + HOUR)
    rig.decide(START + HOUR + QUARTER, Exit("BTC", "told to leave"))
    before, day = rig.desk.account.trades[0].net_usd, rig.desk.risk.day_realized_net_usd
    week = dict(rig.desk.week_nets)
    rig.handle(events=[rate("BTC", START + HOUR)])
    paid = rig.desk.account.funding_usd
    assert paid < 0
    assert rig.desk.account.trades[0].net_usd == before + paid
    assert rig.desk.risk.day_realized_net_usd == pytest.approx(day + float(paid))
    assert sum(rig.desk.week_nets.values()) == pytest.approx(sum(week.values()) + float(paid))
    assert rig.state("risk")["day_realized_net_usd"] == rig.desk.risk.day_realized_net_usd


# ---------------------------------------------------------------- answers, state, life


def wait_until(rig: DeskRig, venue_ms: int, answers: list[Outcome]) -> None:
    rig.handle(controls=[rig.request("wait_until", answers, venue_ms=venue_ms)])


def test_wait_until_is_not_answered_before_its_time_is_handled(rig: DeskRig) -> None:
    """Neither early nor before what it brought is on disk."""
    answers: list[Outcome] = []
    wait_until(rig, CLOSE, answers)
    rig.flush()
    rig.handle()
    assert answers == []
    rig.step(CLOSE)
    rig.flush()
    rig.handle()
    assert [a.status for a in answers if isinstance(a, ControlResult)] == ["done"]


def test_wait_until_waits_for_reads_under_way_and_for_the_queue(rig: DeskRig) -> None:
    """What the market side still owes belongs to that time."""
    answers: list[Outcome] = []
    rig.market.settled = False
    wait_until(rig, START, answers)
    rig.market.settled = True
    rig.queue.put_event(StreamStatus(True, 0, "still to be handled"))
    rig.flush()
    rig.handle()
    assert answers == []
    rig.loop.handle(rig.queue.take(0))
    rig.flush()
    rig.handle()
    assert len(answers) == 1


def test_wait_until_never_blocks_the_loop_on_a_slow_disk(rig: DeskRig) -> None:
    """Passes go on while rows wait; the answer comes when they land."""
    answers: list[Outcome] = []
    rig.writer.is_slow = True
    rig.step(CLOSE)
    wait_until(rig, CLOSE, answers)
    for _ in range(20):
        rig.handle()
    assert answers == []
    rig.writer.recover()
    rig.flush()
    rig.handle()
    assert len(answers) == 1


def test_a_wait_for_a_far_time_does_not_make_the_loop_spin(rig: DeskRig) -> None:
    """The short poll is for a wait whose time has come; others are looked at with the pulse."""
    wait_until(rig, START + HOUR, [])
    assert rig.loop._wait_s() > 0.01
    rig.step(START + HOUR)
    rig.market.settled = False
    rig.handle()
    assert rig.loop._wait_s() == loop_module.SETTLE_POLL_S


def test_a_wait_whose_sender_gave_up_is_forgotten(rig: DeskRig) -> None:
    """No list of dead requests grows."""
    answers: list[Outcome] = []
    request = rig.request("wait_until", answers, venue_ms=CLOSE)
    object.__setattr__(request, "deadline_s", 0.0)
    rig.loop._waiters.append((request, CLOSE))
    rig.handle()
    assert rig.loop._waiters == []
    assert answers == []


def test_the_state_is_published_on_change_but_not_with_every_pass(rig: DeskRig) -> None:
    """At most twenty times a second however much happens; a change is never forgotten."""
    rig.handle()
    before, began_s = rig.published, monotonic_s()
    for _ in range(30):
        rig.handle(events=[StreamStatus(True, 0, "again")])
    assert rig.published - before <= 1 + (monotonic_s() - began_s) / loop_module.STATE_AT_MOST_EVERY_S
    assert rig.loop._wait_s() <= loop_module.STATE_AT_MOST_EVERY_S


@pytest.mark.parametrize("cmd", ["kill", "pause"])
def test_who_was_answered_sees_in_the_next_state_what_came_of_it(cmd: str, rig: DeskRig) -> None:
    """`perpbot kill` and then `perpbot status`: never one that still says running."""
    rig.handle(events=[StreamStatus(True, 0, "again")])  # a state has gone out a moment ago
    published: list[tuple[str | None, int]] = []
    rig.loop._hooks = replace(
        rig.loop._hooks, publish=lambda: published.append((rig.desk.killed, len(rig.desk.pauses)))
    )
    seen: list[tuple[str | None, int]] = []

    class Answers(list[Any]):
        def append(self, answer: Any) -> None:
            super().append(answer)
            seen.append(published[-1])

    answers = Answers()
    rig.handle(controls=[rig.request(cmd, answers)])
    deadline_s = time.monotonic() + 5.0
    while not answers and time.monotonic() < deadline_s:
        rig.handle()
    ((killed, pauses),) = seen
    assert (killed is not None, pauses) == ((True, 0) if cmd == "kill" else (False, 1))


def test_a_reconnect_is_told_and_counted_and_a_loss_too(rig: DeskRig) -> None:
    """RECONNECT is alerted; the first connection is none."""
    rig.handle(events=[StreamStatus(True, 0, "connected"), StreamStatus(False, 0, "stream lost: reset")])
    rig.handle(events=[StreamStatus(True, 1, "reconnected after 1.0 s")])
    assert rig.loop.reconnects == 1
    assert [note.kind for note in rig.events] == ["CONNECTED", "DISCONNECTED", "RECONNECT"]
    assert rig.alerts == ["RECONNECT"]


def test_every_clock_frame_reaches_the_signal_service(rig: DeskRig) -> None:
    """Its schedule runs by the venue's time."""
    rig.step(CLOSE)
    assert rig.clocks == [START, CLOSE]


def test_progress_and_risk_are_stored_with_every_step(rig: DeskRig) -> None:
    """A restart begins where the loop was, with the limits as they were (I12)."""
    rig.enter("BTC")
    rig.step(CLOSE + MINUTE, {"BTC": 97_000.0})
    assert rig.state("handled_ms") == CLOSE + MINUTE
    assert rig.rebuilt().risk == rig.desk.risk
    assert rig.desk.risk.cooldown_until_ms == CLOSE + MINUTE + 1_800_000


def test_run_handles_what_comes_and_ends_when_told_answering_who_waits(tmp_path: Path) -> None:
    """stop() from another thread ends the pass under way; nobody is left without an answer."""
    with DeskRig(tmp_path, speed=1.0) as rig:
        thread = threading.Thread(target=rig.loop.run)
        answers: list[Outcome] = []
        for symbol, px in rig.px.items():
            rig.queue.put_context(rig.context(symbol, px))
            rig.queue.put_book(rig.book(symbol, px))
        rig.queue.submit(rig.request("wait_until", answers, venue_ms=START + HOUR))
        rig.queue.submit(rig.request("pause", answers))
        thread.start()
        deadline = threading.Event()
        while not answers and not deadline.wait(0.001):
            pass
        rig.loop.stop()
        thread.join(5.0)
        assert not thread.is_alive()
        assert rig.desk.market.context("BTC") is not None
        assert [type(answer) for answer in answers] == [ControlResult, IpcError]
        assert "stopping" in str(answers[1])
        assert rig.desk.lag.percentile(0.5) is not None


def test_the_wait_ends_with_the_next_timer(tmp_path: Path) -> None:
    """A position's timeout, an order's fallback and the next hour are events, not polled."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=0.05))
    with DeskRig(tmp_path, config=config, speed=1.0) as rig:
        rig.step(START)
        rig.desk.regime = Regime.NORMAL
        rig.decide(START + QUARTER, Enter("BTC", Side.LONG, "told to"))
        rig.loop._is_unpublished = False
        assert [order.intent.role for order in rig.desk.live_orders] == [OrderRole.ENTRY]
        assert rig.loop._wait_s() <= 0.05
