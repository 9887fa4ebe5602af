"""The live executor by example: entries, stops, closes, and what becomes of answers that are late, lost or refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from live_bench import CONFIG, T0, Bench, D, entry

from perp_bot.config.model import Config
from perp_bot.core.account_events import FillsReported
from perp_bot.core.types import OrderRole, OrderSide, OrderState, OrderType, Side
from perp_bot.data.limiter import RequestClass
from perp_bot.execution.live.commands import AskForOrder, SendAction
from perp_bot.execution.live.outside import OUTSIDE
from perp_bot.execution.live.protection import Protection, protection
from perp_bot.execution.live.rejections import Reason


def begun(bench: Bench | None = None) -> Bench:
    """A flat account that was read once; the mark stands above the entry's limit, which rests."""
    bench = bench or Bench()
    bench.start(T0, is_first=True)
    bench.serve_all()
    bench.venue.mark = D(101)
    return bench


def with_policy(policy: str) -> Config:
    """Return settings with a policy for unknown positions."""
    return replace(CONFIG, execution=replace(CONFIG.execution, unknown_positions=policy))


def held(size: str = "1") -> Bench:
    """A long position of `size` at 100 with its stop resting."""
    bench = begun()
    bench.venue.match(resting_entry(bench, size), D(size))
    bench.serve_all()
    assert bench.disagreement() is None
    return bench


def resting_entry(bench: Bench, size: str = "1", decision: str = "d1") -> str:
    """Let an entry rest at the venue; return its client order id."""
    cloid = bench.enter(decision=decision, size=size).cloid
    bench.serve_all()
    assert bench.venue.orders[cloid].is_open
    return cloid


def last_state(bench: Bench, cloid: str) -> OrderState:
    """Return how an order is stored."""
    return bench.stored()[0][cloid].state


# ---------------------------------------------------------------- entries


def test_a_limit_entry_that_fills_is_a_position_with_its_stop() -> None:
    """The stop goes out in the pass that heard of the fill, as large as the position, at the rule's price."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    (command,) = bench.port.inbox
    wire = command.action["orders"][0]  # type: ignore[union-attr]
    assert (wire["b"], wire["s"], wire["r"], wire["t"]["trigger"]["triggerPx"]) == (False, "1", True, "94")
    bench.serve_all()
    assert bench.executor.coverage("BTC") == 1


def test_what_a_limit_entry_leaves_is_taken_and_no_more() -> None:
    """0.4 filled by the end of its time: 0.6 are taken, under a client order id of their own."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.run_pass(dt=30.0)
    bench.serve_all()
    assert bench.venue.position == 1
    assert last_state(bench, cloid) is OrderState.CANCELLED
    (taker,) = (o for o in bench.stored()[0].values() if o.intent.role is OrderRole.ENTRY and o.intent.cloid != cloid)
    assert (taker.intent.size, taker.intent.decision_id, taker.state) == (D("0.6"), "d1", OrderState.FILLED)
    bench.quiesce()


def test_a_rest_below_ten_usd_is_left() -> None:
    """0.95 of 1 filled at 100: 5 USD are less than the venue takes; it is said, and nothing is sent."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.95"))
    bench.serve_all()
    bench.run_pass(dt=30.0)
    bench.serve_all()
    assert bench.venue.position == D("0.95")
    assert "CANCELLED" in bench.kinds()
    assert len(bench.decided["d1"]) == 1
    bench.quiesce()


def test_the_rest_of_an_untraced_entry_is_not_taken() -> None:
    """Nobody knows whether the limit rests: a taker for all of it could double the position."""
    bench = begun()
    bench.enter()
    bench.serve(0, "untraced")
    bench.deliver()
    bench.run_pass(dt=30.0)
    bench.settle_unknown(0)
    bench.deliver()
    assert "UNTRACED" in bench.kinds()
    assert len(bench.decided["d1"]) == 1


@pytest.mark.parametrize("reason", [Reason.MARGIN, Reason.OPEN_INTEREST_CAP, Reason.UNKNOWN])
def test_a_refusal_that_comes_after_the_entrys_time_is_not_answered_by_taking(reason: Reason) -> None:
    """The venue said no: the same order as a taker is the same mistake at a worse price."""
    bench = begun()
    bench.enter()
    bench.serve(0, reason.value)
    bench.run_pass(dt=30.0)
    bench.serve_all()
    assert len(bench.decided["d1"]) == 1
    assert bench.disagreement() is None


def test_what_the_venue_ended_for_a_reason_of_its_own_is_not_taken() -> None:
    """Cut for want of margin while our cancel was on its way: no taker follows."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.run_pass(dt=30.0)
    bench.venue.end(cloid, "marginCanceled")
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.CANCELLED
    assert len(bench.decided["d1"]) == 1


def test_a_limit_that_never_reached_the_venue_is_taken_when_its_time_is_over() -> None:
    """Never is proof: the whole size is taken once."""
    bench = begun()
    bench.enter()
    bench.serve(0, "vanished")
    bench.deliver()
    bench.run_pass(dt=30.0)
    bench.serve_all()
    assert bench.venue.position == 1
    bench.quiesce()


# ---------------------------------------------------------------- reduce-only orders shrink


def test_a_stop_that_shrank_with_its_position_ends_with_it() -> None:
    """The venue keeps its size and shows less left: that is no fill, and it is not waited for without end."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "0.4")
    bench.serve_all()
    bench.venue.outside(OrderSide.SELL, "0.6")
    bench.serve_all()
    assert bench.quiesce() <= 3.0
    assert bench.executor.live_orders == ()


def test_an_exit_that_was_shrunk_ends_when_its_own_report_comes_first() -> None:
    """Told as filled with the size that it was sent with, it filled what the fills say."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "0.4")
    bench.venue.stream.clear()
    bench.venue.keeps_size = True
    bench.close()
    bench.serve(0)
    bench.hear_all()
    assert bench.quiesce() <= 70.0
    assert bench.venue.position == 0


# ---------------------------------------------------------------- stops


def test_a_moved_stop_that_is_refused_is_tried_at_growing_distances() -> None:
    """The old stop covers the position: the new one is no reason to send the same mistake a hundred times."""
    bench = held()
    bench.move_stop(95.0)
    refused = 0
    for _ in range(100):
        if bench.port.inbox:
            refused += 1
            bench.serve(0, Reason.OPEN_ORDERS.value)
            bench.deliver()
        bench.run_pass(dt=0.1)
    assert 4 <= refused <= 7
    assert bench.true_coverage() == 1
    bench.quiesce()


def test_a_position_that_its_stop_closed_is_not_opened_again_by_the_entrys_rest() -> None:
    """The cancel that would take the rest is on its way when the stop fires: the rest stays untaken."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.run_pass(dt=30.0)
    bench.venue.set_mark(D(90))
    bench.hear_all()
    bench.serve_all()
    assert bench.venue.position == 0
    assert len(bench.decided["d1"]) == 1
    bench.quiesce()


def test_a_rest_that_was_about_to_be_taken_goes_with_the_position() -> None:
    """The end of the limit and the stop's fill come in one pass: nothing is sent."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.run_pass(dt=30.0)
    bench.serve(0)
    bench.venue.set_mark(D(90))
    bench.hear_all()
    bench.serve_all()
    assert len(bench.decided["d1"]) == 1
    bench.quiesce()


@pytest.mark.parametrize("first", ["the answer", "the report", "the report alone"])
def test_a_stop_that_the_mark_has_passed_closes_at_once_however_it_is_heard_of(first: str) -> None:
    """The refusal comes by answer or by stream, or the answer is lost: the position is closed in that pass."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    bench.venue.mark = D(93)
    bench.serve(0, "lost" if first == "the report alone" else "ok")
    if first == "the answer":
        bench.deliver()
    else:
        bench.hear()
    assert bench.executor.is_closing("BTC")
    bench.serve_all()
    assert bench.venue.position == 0
    bench.quiesce()
    (exit_order,) = (o for o in bench.stored()[0].values() if o.intent.role is OrderRole.EXIT)
    assert exit_order.intent.reason == "capital_stop"


def test_the_stop_of_the_old_side_goes_when_the_owner_turns_the_position() -> None:
    """Its end was lost: it is cancelled like one of a closed position, not kept because something is held."""
    bench = held()
    old = bench.executor.live_orders[0].intent.cloid
    bench.venue.outside(OrderSide.SELL, "2")
    bench.venue.stream = [item for item in bench.venue.stream if isinstance(item, FillsReported)]
    bench.hear_all()
    cancels = [c.action["cancels"][0]["cloid"] for c in bench.port.inbox if "cancels" in c.action]  # type: ignore[union-attr]
    assert cancels == [old]
    assert bench.quiesce() <= 3.0
    (stop,) = bench.executor.live_orders
    assert (stop.intent.side, stop.intent.size) == (OrderSide.BUY, D(1))


# ---------------------------------------------------------------- closing


def test_a_close_of_what_a_lost_message_closed_is_known_within_seconds() -> None:
    """The stop fired and nobody was told: the exit's refusal makes the fills be read, not the next minute's read."""
    bench = held()
    bench.venue.set_mark(D(93))
    bench.venue.stream.clear()
    bench.close()
    bench.serve_all()
    assert bench.executor.positions == ()
    assert bench.quiesce() <= 3.0
    assert len([c for c in bench.sent if c.action["type"] == "order"]) == 3


def test_what_the_entry_fills_behind_a_close_is_closed_too() -> None:
    """Flat by the exit, the entry's cancel still on its way: what it fills meanwhile is not kept."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.close()
    cancel, exit_order = bench.port.inbox
    assert [c.action["type"] for c in (cancel, exit_order)] == ["cancelByCloid", "order"]  # type: ignore[union-attr]
    bench.serve(1)
    bench.deliver()
    bench.hear_all()
    assert bench.executor.positions == ()
    bench.run_pass(dt=1.0)
    bench.venue.match(cloid, D("0.3"))
    bench.hear_all()
    assert bench.executor.is_closing("BTC")
    bench.serve_all()
    bench.quiesce()
    assert bench.venue.position == 0
    assert not bench.executor.is_closing("BTC")


# ---------------------------------------------------------------- orders that were written off too soon


def test_an_untraced_entry_that_rests_after_all_is_cancelled() -> None:
    """Two reads of the account show it: an order of ours that ended here may not fill some day."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.serve(0, "untraced")
    bench.serve_all()
    assert bench.quiesce() <= 5.0
    assert bench.venue.orders[cloid].status == "canceled"


def test_an_untraced_stop_that_rests_goes_once_another_does() -> None:
    """While the position has no other, the stray one is all there is: it stays."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    bench.serve(0, "untraced")
    bench.deliver()
    bench.settle_unknown(0)
    bench.deliver()
    for _ in range(4):  # nothing but reads is answered
        reads = [i for i, c in enumerate(bench.port.inbox) if not isinstance(c, SendAction)]
        for index in reversed(reads):
            bench.serve(index)
        while bench.outbox:
            bench.deliver()
        bench.run_pass(dt=2.0)
    assert bench.true_coverage() == 1
    assert bench.quiesce() <= 70.0
    assert len(bench.executor.live_orders) == 1


def test_a_stop_that_is_being_cancelled_is_not_the_one_that_protects() -> None:
    """Moved there and back: the stop that goes already is no reason to let the other one go."""
    bench = held()
    bench.move_stop(95.0)
    bench.serve_all()
    bench.move_stop(96.0)
    bench.serve(0)
    bench.deliver()
    (cancel,) = bench.port.inbox
    assert cancel.action["type"] == "cancelByCloid"  # type: ignore[union-attr]
    bench.move_stop(95.0)
    while bench.port.inbox:
        bench.serve(0)
        assert bench.true_coverage() == 1
    bench.quiesce()
    (stop,) = bench.executor.live_orders
    assert stop.intent.trigger_px == 95


def test_a_stray_stop_at_the_moved_price_stays_while_only_the_old_one_rests() -> None:
    """The old stop covers the position, but the stray stands where the stop has to be: it goes after its like."""
    bench = held()
    bench.move_stop(95.0)
    bench.serve(0, "untraced")
    bench.deliver()
    bench.settle_unknown(0)
    bench.deliver()
    for _ in range(8):
        for index in reversed([i for i, c in enumerate(bench.port.inbox) if not isinstance(c, SendAction)]):
            bench.serve(index)
        while bench.outbox:
            bench.deliver()
        if bench.commands(SendAction):
            bench.serve(bench.port.inbox.index(bench.commands(SendAction)[0]), Reason.OPEN_ORDERS.value)
        bench.run_pass(dt=2.0)
    assert [o.trigger_px for o in bench.venue.orders.values() if o.is_open] == [D(94), D(95)]
    assert bench.quiesce() <= 130.0


# ---------------------------------------------------------------- restarts


def test_a_close_that_was_under_way_goes_on_after_a_restart() -> None:
    """The closing order was sent and found nobody to trade with: the next run sends another."""
    bench = held()
    bench.venue.depth = D(0)
    bench.close()
    bench.serve(0)
    bench.restart()
    bench.serve_all()
    bench.venue.depth = D(1_000)
    bench.run_pass(dt=1.0)
    bench.serve_all()
    assert bench.venue.position == 0
    bench.quiesce()


def test_an_entry_whose_position_was_closed_is_cancelled_after_a_restart() -> None:
    """Killed before its cancel was answered: the next run neither leaves it nor takes its rest."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.venue.set_mark(D(90))
    bench.hear_all()
    bench.restart()
    bench.venue.mark = D(101)
    bench.run_pass(dt=31.0)
    bench.serve_all()
    bench.quiesce()
    assert bench.venue.orders[cloid].status == "canceled"
    assert len(bench.decided["d1"]) == 1


def test_an_unknown_position_is_flattened_after_a_restart_too() -> None:
    """The policy holds for what is held, not only for the fill that made it."""
    bench = begun(Bench(with_policy("flatten")))
    bench.venue.outside(OrderSide.BUY, "1")
    bench.venue.depth = D(0)
    bench.serve_all()
    bench.restart()
    bench.venue.depth = D(1_000)
    bench.serve_all()
    assert bench.venue.position == 0
    bench.quiesce()


# ---------------------------------------------------------------- what others did


def test_what_the_owner_turned_is_his_not_the_strategys() -> None:
    """He sells 3 of a long of 1: the trade is closed, and a short of 2 opened that perpbot did not."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "3", fee="0.3")
    bench.serve_all()
    bench.quiesce()
    (position,) = bench.executor.positions
    assert (position.side, position.size, position.strategy) == (Side.SHORT, D(2), OUTSIDE)
    (trade,) = bench.books.trades
    assert (trade.strategy, trade.exit_reason, trade.fees_usd) == ("mean_reversion", OUTSIDE, D("0.1"))
    assert position.fees_usd == D("0.2")
    bench.restart()
    bench.serve_all()
    bench.quiesce()
    assert bench.executor.positions == (position,)


def test_a_turned_position_is_flattened_where_unknown_ones_are() -> None:
    """The short is not perpbot's: with the policy to flatten it goes."""
    bench = begun(Bench(with_policy("flatten")))
    bench.venue.match(resting_entry(bench), D(1))
    bench.serve_all()
    bench.venue.outside(OrderSide.SELL, "2")
    bench.serve_all()
    bench.quiesce()
    assert bench.venue.position == 0


@pytest.mark.parametrize("heard", ["by fills", "after a restart", "by the next read"])
def test_a_stop_that_shrank_does_not_grow_with_the_position_again(heard: str) -> None:
    """The owner sells half and buys it back: the stop rests for half, and another has to be placed for all."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "0.5")
    if heard == "by fills":
        bench.hear_all()
    bench.venue.outside(OrderSide.BUY, "0.5")
    assert bench.true_coverage() == D("0.5")
    if heard == "after a restart":
        bench.restart()
    if heard == "by the next read":
        bench.venue.stream.clear()
    bench.serve_all()
    assert bench.quiesce() <= 65.0
    assert bench.true_coverage() == 1


def test_a_stop_on_its_way_shrinks_too() -> None:
    """The position is cut while the stop's answer is late, and grows again: it does not count for all."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    bench.serve(0)
    for side in (OrderSide.SELL, OrderSide.BUY):
        bench.venue.stream.clear()
        bench.venue.outside(side, "0.5")
        bench.hear(0)
    bench.venue.stream.clear()
    bench.deliver()
    assert bench.executor.coverage("BTC") == D("0.5")
    assert bench.quiesce() <= 3.0


def test_that_the_mark_is_beyond_the_stop_of_anothers_position_is_told_once() -> None:
    """It is not closed, its stop is tried every few seconds, and one alert says so until one rests."""
    bench = begun()
    bench.venue.outside(OrderSide.BUY, "1")
    bench.venue.mark = D(90)
    for _ in range(60):
        bench.run_pass(dt=1.0)
        bench.serve_all()
    assert bench.venue.position == 1
    assert sum("beyond the stop" in told.text for told in bench.told) == 1
    tries = sum(c.action["type"] == "order" for c in bench.sent)
    assert 10 <= tries <= 14
    bench.venue.mark = D(100)
    bench.quiesce()
    bench.venue.mark = D(90)


def test_a_lost_fill_is_found_however_late_the_account_can_be_read() -> None:
    """Others were heard since: fills are read from where they were last read, not from the newest that was heard."""
    bench = begun()
    bench.venue.outside(OrderSide.BUY, "1")
    bench.venue.stream.clear()
    for _ in range(20):  # no read is answered for 100 s
        bench.run_pass(dt=5.0)
        while bench.port.inbox:
            bench.serve(0, "not_sent" if bench.commands(SendAction) == bench.port.inbox[:1] else "fail")
            bench.deliver()
    bench.venue.outside(OrderSide.BUY, "0.5")
    bench.hear_all()
    assert bench.quiesce() <= 70.0
    assert bench.executor.positions[0].size == D("1.5")


# ---------------------------------------------------------------- answers that are late, lost, or no


def test_an_entry_that_the_kill_latch_held_back_is_not_sent_again() -> None:
    """The sender looked at the latch last: the order ends unsent, and nothing follows it."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.latched = True
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.CANCELLED
    assert bench.venue.orders == {}
    bench.quiesce()


def test_a_cancel_that_came_too_late_makes_the_order_be_asked_for() -> None:
    """It filled before: the answer is that it is gone, the fill is found though the stream lost it."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.executor.cancel(cloid, bench.now_ms, "conditions no longer hold")
    bench.venue.match(cloid, D(1))
    bench.venue.stream.clear()
    bench.serve(0)
    bench.deliver()
    assert len(bench.commands(AskForOrder)) == 1
    bench.serve_all()
    bench.run_pass(dt=0.4)
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.FILLED
    bench.quiesce()


def test_a_cancel_that_was_not_sent_is_sent_again() -> None:
    """Whatever held it up: the order may not stay."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.executor.cancel(cloid, bench.now_ms, "conditions no longer hold")
    bench.serve(0, "not_sent")
    bench.deliver()
    assert bench.quiesce() <= 3.0
    assert bench.venue.orders[cloid].status == "canceled"
    assert bench.stored()[0][cloid].note == "conditions no longer hold"


def test_an_order_is_cancelled_as_soon_as_the_venue_has_it() -> None:
    """The cancel is wanted while the order is on its way: it goes with the first word that it arrived."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.executor.cancel(cloid, bench.now_ms, "killed")
    assert len(bench.port.inbox) == 1
    bench.serve(0)
    bench.hear_all()
    assert [c.action["type"] for c in bench.port.inbox] == ["cancelByCloid"]  # type: ignore[union-attr]
    bench.deliver()
    assert len(bench.port.inbox) == 1
    bench.serve_all()
    assert bench.venue.orders[cloid].status == "canceled"
    bench.quiesce()


def test_a_fill_that_is_told_after_its_orders_end_is_booked() -> None:
    """Written off as unknown to the venue, filled after all: the money has moved."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.serve(0, "traceless")
    bench.deliver()
    bench.settle_unknown(0)
    bench.deliver()
    assert last_state(bench, cloid) is OrderState.CANCELLED
    action = bench.sent[0].action["orders"][0]
    bench.venue.place(action)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    assert bench.executor.positions[0].size == D("0.4")
    assert bench.stored()[0][cloid].filled == D("0.4")
    bench.quiesce()
    assert bench.venue.orders[cloid].status == "canceled"


def test_an_order_that_ends_ahead_of_its_fills_waits_for_them() -> None:
    """Cancelled with 0.4 filled, the fill not told yet: the rest is 0.6, whatever the books say at that moment."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    lost = bench.venue.stream
    bench.venue.stream = []
    bench.run_pass(dt=30.0)
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.OPEN
    bench.venue.stream = lost
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.CANCELLED
    assert bench.venue.position == 1
    bench.quiesce()


def test_an_answer_that_cannot_be_read_is_asked_for_at_once() -> None:
    """Unclear is not refused and not accepted."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.serve(0, "unclear")
    bench.venue.stream.clear()
    bench.deliver()
    assert last_state(bench, cloid) is OrderState.UNKNOWN
    bench.run_pass(dt=0.1)
    assert len(bench.commands(AskForOrder)) == 1
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.OPEN


def test_an_entry_that_the_venue_does_not_know_is_written_off_after_its_validity_only() -> None:
    """Killed with an entry on its way: it may land until its validity ends, whatever the venue answers before."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.restart()
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.UNKNOWN
    bench.run_pass(dt=9.0)
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.UNKNOWN
    bench.land()
    bench.venue.stream.clear()
    assert bench.quiesce() <= 12.0
    assert last_state(bench, cloid) is OrderState.OPEN


def test_an_entry_that_never_landed_is_written_off_once_its_validity_is_over() -> None:
    """Past the validity and a margin, unknown is never."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.restart()
    for _ in range(29):
        bench.run_pass(dt=1.0)
        bench.serve_all()
    assert last_state(bench, cloid) is OrderState.CANCELLED
    bench.quiesce()


def test_a_committed_order_is_sent_once() -> None:
    """Handed over again, it answers as it stands."""
    bench = begun()
    intent = bench.enter()
    bench.executor.submit(intent, bench.now_ms)
    assert len(bench.port.inbox) == 1
    bench.serve_all()
    bench.executor.cancel(intent.cloid, bench.now_ms, "no")
    bench.serve_all()
    bench.executor.submit(intent, bench.now_ms)
    assert bench.port.inbox == []


def test_an_order_that_cannot_be_priced_is_refused_here() -> None:
    """No book and no mark: a taker without a bound is not sent; a close is tried again."""
    blind = Bench()
    taker = entry("d9", order_type=OrderType.TAKER)
    blind.send(taker)
    assert blind.port.inbox == []
    assert last_state(blind, taker.cloid) is OrderState.REJECTED


def test_closing_orders_take_farther_from_the_best_price_each_time() -> None:
    """1 %, then 3 %, then 8 %, each reduce-only and as large as what is left."""
    bench = held()
    bench.venue.mark = D(100)
    bench.venue.depth = D(0)
    bench.run_pass()
    bench.close()
    asked = []
    for _ in range(40):
        for command in bench.commands(SendAction):
            assert isinstance(command, SendAction)
            order = command.action["orders"][0]
            asked.append((order["p"], order["s"], order["r"], order["t"]))
        bench.serve_all()
        bench.run_pass(dt=0.25)
    ioc = {"limit": {"tif": "Ioc"}}
    assert asked[:3] == [("99", "1", True, ioc), ("97", "1", True, ioc), ("92", "1", True, ioc)]
    assert 5 <= len(asked) <= 7
    bench.venue.depth = D(1_000)
    bench.quiesce()
    assert bench.venue.position == 0


def test_the_stop_of_a_position_is_not_cancelled_by_name() -> None:
    """A kill cancels orders; what protects stays."""
    bench = held()
    (stop,) = bench.executor.live_orders
    bench.executor.cancel(stop.intent.cloid, bench.now_ms, "killed")
    bench.run_pass()
    assert bench.port.inbox == []
    assert bench.true_coverage() == 1


def test_classes_and_expiry_of_what_is_sent() -> None:
    """Entries expire and wait behind all else; stops and cancels of entries go first; exits and stops never expire."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.close()
    bench.serve_all()
    sent = {c.action["type"] if not c.cloids else c.cls.value: c for c in bench.sent}
    assert {c.cls for c in bench.sent if c.action["type"] == "cancelByCloid"} == {RequestClass.PROTECTIVE}
    assert sent["entry"].expires_after == bench.sent[0].sent_ms + 10_000
    assert (sent["exit"].expires_after, sent["protective"].expires_after) == (None, None)


def test_an_answer_from_before_the_end_of_the_validity_proves_nothing_however_late_it_comes() -> None:
    """Asked too early, answered after a long pause: meanwhile the entry landed, and its rest is not taken."""
    bench = begun()
    cloid = bench.enter().cloid
    bench.restart()
    index = bench.port.inbox.index(bench.commands(AskForOrder)[0])
    bench.serve(index)
    bench.land()
    bench.venue.stream.clear()
    bench.run_pass(dt=40.0)
    bench.deliver()
    assert last_state(bench, cloid) is OrderState.UNKNOWN
    bench.serve_all()
    bench.quiesce()
    assert bench.venue.position <= 1


def test_a_stop_that_the_venue_shrinks_tells_that_it_holds_less() -> None:
    """A lost fill is read at once, instead of stops being placed again that can never be large enough."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    bench.venue.outside(OrderSide.SELL, "0.5")
    bench.venue.stream.clear()
    bench.serve_all()
    assert bench.executor.positions[0].size == D("0.5")
    assert bench.quiesce() <= 3.0
    assert len([c for c in bench.sent if c.action["type"] == "order"]) == 2


def test_a_close_below_the_minimum_tells_that_the_venue_holds_more() -> None:
    """0.05 are 5 USD, which only a whole position may be: the fill that was lost is read, all of it is closed."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D("0.05"))
    bench.serve_all()
    bench.venue.outside(OrderSide.BUY, "0.5")
    bench.venue.stream.clear()
    bench.close()
    bench.serve_all()
    assert bench.quiesce() <= 3.0
    assert bench.venue.position == 0


def test_an_entry_that_still_rests_goes_with_its_position() -> None:
    """0.4 of it was stopped out: the other 0.6 may not open the trade again."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.venue.match(cloid, D("0.4"))
    bench.serve_all()
    bench.venue.set_mark(D(90))
    bench.serve_all()
    assert bench.venue.orders[cloid].status == "canceled"
    assert bench.stored()[0][cloid].note == "its position was closed"
    bench.quiesce()


def test_a_stop_that_is_on_its_way_is_not_placed_again() -> None:
    """Its answer takes three seconds: one is enough."""
    bench = begun()
    bench.venue.match(resting_entry(bench), D(1))
    bench.hear_all()
    for _ in range(12):
        bench.run_pass(dt=0.25)
    assert len(bench.commands(SendAction)) == 1
    bench.serve_all()
    assert bench.true_coverage() == 1


def test_a_stop_of_the_other_side_covers_nothing() -> None:
    """A sell stop does not protect a short, and is none that may replace its own."""
    bench = held()
    (stop,) = bench.executor.live_orders
    (position,) = bench.executor.positions
    short = replace(position, side=Side.SHORT)
    assert protection(short, [stop]) == Protection(D(0), is_wanted=True)
    assert protection(position, [stop]) == Protection(D(1), is_wanted=False, is_good=True)


def test_closing_orders_follow_one_another_and_never_overlap() -> None:
    """The exit's answer takes three seconds: no other is sent, and it is known that the coin is being closed."""
    bench = held()
    bench.close()
    for _ in range(12):
        bench.run_pass(dt=0.25)
    assert len(bench.commands(SendAction)) == 1
    assert bench.executor.is_closing("BTC")
    assert not bench.executor.move_stop("BTC", 95.0, bench.now_ms)
    bench.serve_all()
    assert bench.venue.position == 0
    assert not bench.executor.is_closing("BTC")


def test_a_cancel_that_was_taken_and_not_told_of_is_asked_for_soon() -> None:
    """The stream lost the word: half a second, not the next minute's read."""
    bench = begun()
    cloid = resting_entry(bench)
    bench.executor.cancel(cloid, bench.now_ms, "conditions no longer hold")
    bench.serve(0)
    bench.venue.stream.clear()
    bench.deliver()
    bench.run_pass(dt=0.6)
    bench.serve_all()
    assert last_state(bench, cloid) is OrderState.CANCELLED
