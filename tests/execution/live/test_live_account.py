"""The live executor and the account: what others did on it, what differs from the books, what it was found with."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from live_bench import CONFIG, T0, Bench, D
from model_venue import SYMBOL

from perp_bot.config.model import Config
from perp_bot.core.account_events import AccountRead, FillsReported, FundingReported
from perp_bot.core.types import OrderRole, OrderSide, OrderState, Side
from perp_bot.core.venue_account import VenueFunding
from perp_bot.execution.account import LIQUIDATION
from perp_bot.execution.live.commands import AskForOrder, ReadAccount, ReadFills, ReadFunding, SendAction
from perp_bot.execution.live.outside import AUTO_DELEVERAGING, OUTSIDE
from perp_bot.execution.live.rejections import Reason

HOUR_MS = 3_600_000


def with_policy(policy: str) -> Config:
    """Return settings with a policy for unknown positions."""
    return replace(CONFIG, execution=replace(CONFIG.execution, unknown_positions=policy))


def begun(policy: str = "protect") -> Bench:
    """A flat account that was read once."""
    bench = Bench(with_policy(policy))
    bench.start(T0, is_first=True)
    bench.serve_all()
    return bench


def held() -> Bench:
    """A long of 1 at 100 that an entry made, its stop at 94 resting."""
    bench = begun()
    bench.enter()
    bench.serve_all()
    assert bench.disagreement() is None
    return bench


# ---------------------------------------------------------------- what others did


def test_the_owners_own_position_gets_a_stop_and_is_not_closed() -> None:
    """Policy protect: it is told, booked as his, and covered."""
    bench = begun()
    bench.venue.outside(OrderSide.SELL, "2", direction="Open Short")
    bench.serve_all()
    bench.quiesce()
    (position,) = bench.executor.positions
    assert (position.side, position.size, position.strategy) == (Side.SHORT, D(2), OUTSIDE)
    (stop,) = bench.executor.live_orders
    assert (stop.intent.side, stop.intent.trigger_px, stop.intent.strategy) == (OrderSide.BUY, D("105.5"), OUTSIDE)
    assert [told.text for told in bench.told] == ["outside: sell 2 BTC @ 100 (Open Short), not by perpbot"]
    assert bench.told[0].is_grave


def test_the_owner_may_close_what_perpbot_opened() -> None:
    """The trade is the strategy's, its end is told as his doing, the stop goes."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "1", "103")
    bench.serve_all()
    bench.quiesce()
    (trade,) = bench.books.trades
    assert (trade.strategy, trade.exit_reason, trade.gross_usd) == ("mean_reversion", OUTSIDE, D(3))
    assert bench.executor.live_orders == ()


def test_the_owners_order_of_several_fills_is_one_order_in_the_books() -> None:
    """As large as its fills, filled by all of them."""
    bench = begun()
    bench.venue.outside(OrderSide.BUY, "0.5", "100", oid=77)
    bench.venue.outside(OrderSide.BUY, "0.25", "101", oid=77)
    bench.serve_all()
    order = bench.stored()[0]["venue:77"]
    assert (order.intent.size, order.filled, order.state) == (D("0.75"), D("0.75"), OrderState.FILLED)
    bench.restart()
    bench.venue.outside(OrderSide.BUY, "0.25", "102", oid=77)
    bench.serve_all()
    assert bench.stored()[0]["venue:77"].filled == 1
    bench.quiesce()


@pytest.mark.parametrize(
    ("is_liquidation", "direction", "reason"),
    [
        (True, "Close Long", LIQUIDATION),
        (False, "Auto-Deleveraging", AUTO_DELEVERAGING),
        (False, "Close Long", OUTSIDE),
    ],
)
def test_what_the_venue_closed_is_named_by_what_it_was(is_liquidation: bool, direction: str, reason: str) -> None:
    """A liquidation counts as a stop: its cooldown follows from the reason."""
    bench = held()
    bench.venue.outside(OrderSide.SELL, "1", "80", direction=direction, liq=is_liquidation)
    bench.serve_all()
    (trade,) = bench.books.trades
    assert (trade.exit_reason, trade.stopped) == (reason, is_liquidation)
    bench.quiesce()


def test_an_adopted_position_is_the_strategys() -> None:
    """Policy adopt: the configured strategy trades it from then on."""
    bench = begun("adopt")
    bench.venue.outside(OrderSide.BUY, "1")
    bench.serve_all()
    bench.quiesce()
    assert bench.executor.positions[0].strategy == "mean_reversion"


def test_a_position_to_flatten_is_closed() -> None:
    """Policy flatten: one reduce-only order of all of it."""
    bench = begun("flatten")
    bench.venue.outside(OrderSide.BUY, "1")
    bench.serve_all()
    bench.quiesce()
    assert bench.venue.position == 0
    (exit_order,) = (
        o for o in bench.stored()[0].values() if o.intent.role is OrderRole.EXIT and o.intent.cloid[0] == "0"
    )
    assert (exit_order.intent.reason, exit_order.intent.size) == ("flatten_unknown", D(1))
    assert exit_order.intent.reduce_only


def test_a_position_to_refuse_stops_entries_and_is_protected() -> None:
    """Policy refuse: no entry while it is there, and none of perpbot's own is held against it."""
    bench = begun("refuse")
    bench.venue.outside(OrderSide.BUY, "1")
    bench.serve_all()
    assert "did not open" in (bench.executor.trouble() or "")
    assert bench.true_coverage() == 1
    bench.venue.outside(OrderSide.SELL, "1")
    bench.serve_all()
    assert bench.executor.trouble() is None


def test_the_first_start_takes_the_account_as_it_is() -> None:
    """Positions come in at the venue's entry prices; what made them is not booked again."""
    bench = Bench()
    bench.venue.outside(OrderSide.BUY, "1", "98")
    bench.venue.stream.clear()
    bench.baseline_ms = T0
    bench.__post_init__()
    bench.start(T0, is_first=True)
    bench.run_pass(FillsReported(bench.venue.fills_since(0)))
    bench.serve_all()
    bench.quiesce()
    (position,) = bench.executor.positions
    assert (position.size, position.entry_px, position.strategy) == (D(1), D(98), OUTSIDE)
    assert len(bench.books.trades) == 0


def test_a_position_without_an_entry_price_is_not_invented() -> None:
    """It is an orphan: told, and entries wait."""
    bench = Bench()
    bench.venue.position = D(1)
    account = bench.venue.account()
    bench.executor.find(replace(account, positions=(replace(account.positions[0], entry_px=None),)))
    assert bench.executor.positions == ()


def test_a_builders_fee_is_told() -> None:
    """None is configured: somebody takes money that was not agreed to."""
    bench = begun()
    bench.enter()
    bench.serve(0)
    fill = bench.venue.fills[0]
    bench.venue.stream = []
    bench.run_pass(FillsReported((replace(fill, builder_fee_usd=D("0.01")),)))
    assert [(told.kind, told.is_grave) for told in bench.told] == [("BUILDER_FEE", True)]


# ---------------------------------------------------------------- what differs


def read_twice(bench: Bench) -> list[str]:
    """Let the account be read, and read again a moment later; return what was told of differences after each."""
    found = []
    for dt in (60.0, 1.0, 1.0, 60.0):
        bench.run_pass(dt=dt)
        assert bench.commands(ReadAccount)
        bench.serve_all()
        found.append("; ".join(told.text for told in bench.told if told.kind == "DRIFT"))
        bench.told = []
    return found


def diverge(bench: Bench, kind: str) -> None:
    """Make the venue differ, as no fill explains."""
    venue = bench.venue
    if kind == "phantom":
        venue.position = D(0)
    if kind in ("orphan", "side"):
        venue.position, venue.entry_px = D(-1), D(100)
    if kind == "size":
        venue.position = D("0.5")
    if kind == "price":
        venue.entry_px = D("100.1")
    if kind == "leverage":
        venue.leverage = 5
    if kind == "foreign_order":
        venue.rest_foreign(OrderSide.BUY, "0.5", "90")


@pytest.mark.parametrize(
    ("kind", "blocks"),
    [
        ("phantom", True),
        ("orphan", True),
        ("side", True),
        ("size", True),
        ("leverage", True),  # of its coin alone
        ("price", False),
        ("foreign_order", False),
    ],
)
def test_a_difference_counts_when_it_is_seen_twice_and_is_told_once(kind: str, blocks: bool) -> None:
    """Between the two reads the fills are read; a grave one stops entries until it is gone."""
    bench = begun() if kind == "orphan" else held()
    diverge(bench, kind)
    bench.run_pass(dt=60.0)
    bench.serve(bench.port.inbox.index(bench.commands(ReadAccount)[0]))
    bench.deliver()
    assert bench.commands(ReadFills)
    assert not stopped(bench)
    assert "DRIFT" not in bench.kinds()
    bench.serve_all()
    bench.run_pass(dt=1.0)
    bench.serve_all()
    (told,) = (told for told in bench.told if told.kind == "DRIFT")
    assert told.text.startswith(f"{kind}: ")
    assert told.is_grave is blocks
    assert stopped(bench) is blocks
    assert (bench.executor.trouble() is not None) is (blocks and kind != "leverage")
    assert read_twice_more(bench) == []


def stopped(bench: Bench) -> bool:
    """Whether no entry of the coin may be made."""
    return bench.executor.trouble() is not None or SYMBOL in bench.executor.coin_troubles()


def read_twice_more(bench: Bench) -> list[str]:
    """Return what two more reads tell of differences."""
    bench.told = []
    for _ in range(2):
        bench.run_pass(dt=60.0)
        bench.serve_all()
    return [told.text for told in bench.told if told.kind == "DRIFT"]


def test_a_difference_that_ends_is_told_and_entries_go_on() -> None:
    """The owner sets the leverage back."""
    bench = held()
    bench.venue.leverage = 5
    for dt in (60.0, 1.0):
        bench.run_pass(dt=dt)
        bench.serve_all()
    assert bench.executor.trouble() is None  # other coins go on
    assert not bench.executor.differs()  # nor is it what latches the kill in the end
    assert list(bench.executor.coin_troubles()) == [SYMBOL]
    bench.venue.leverage = 3
    bench.run_pass(dt=60.0)
    bench.serve_all()
    assert bench.executor.coin_troubles() == {}
    assert bench.told[-1].text == "books and venue agree again"


def test_a_difference_of_one_read_is_none() -> None:
    """The account was a moment ahead of the fills."""
    bench = held()
    bench.run_pass(dt=60.0)
    ahead = bench.venue.account()
    number = bench.commands(ReadAccount)[0].number
    bench.port.inbox.clear()
    bench.run_pass(AccountRead(number, replace(ahead, positions=()), bench.venue.open_orders()))
    bench.serve_all()
    bench.run_pass(dt=1.0)
    bench.serve_all()
    assert bench.executor.trouble() is None
    assert "DRIFT" not in bench.kinds()


def test_a_stop_that_somebody_cancelled_is_missed_by_the_next_read() -> None:
    """Nobody told: it is asked for, ends, and another is placed within that pass's answers."""
    bench = held()
    (stop,) = bench.executor.live_orders
    bench.venue.cancel(stop.intent.cloid)
    bench.venue.stream.clear()
    bench.run_pass(dt=60.0)
    bench.serve(bench.port.inbox.index(bench.commands(ReadAccount)[0]))
    bench.deliver()
    assert [c.cloid for c in bench.commands(AskForOrder) if isinstance(c, AskForOrder)] == [stop.intent.cloid]
    bench.serve_all()
    assert bench.true_coverage() == 1
    bench.quiesce()


def test_the_account_is_not_compared_while_something_is_under_way() -> None:
    """An entry on its way may have filled: the read says nothing, and another follows soon, not every pass."""
    bench = begun()
    bench.enter()
    bench.serve(0, "lost")
    bench.deliver()
    bench.venue.stream.clear()
    reads = 0
    for _ in range(120):
        bench.run_pass(dt=1.0)
        for command in bench.commands(ReadAccount):
            reads += 1
            bench.serve(bench.port.inbox.index(command))
            bench.deliver()
    assert bench.executor.trouble() is None
    assert 6 <= reads <= 20
    bench.quiesce()
    assert bench.venue.position == 1


def test_an_account_that_cannot_be_read_stops_entries() -> None:
    """Until it can be read again."""
    bench = held()
    bench.run_pass(dt=60.0)
    bench.serve(0, "fail")
    bench.deliver()
    assert "cannot be read" in (bench.executor.trouble() or "")
    bench.run_pass(dt=2.0)
    bench.serve_all()
    assert bench.executor.trouble() is None


# ---------------------------------------------------------------- after a reconnect


def test_what_the_stream_lost_is_read_after_a_reconnect() -> None:
    """Fills, funding, the account and every order: the stop that fired meanwhile is booked at once."""
    bench = held()
    bench.venue.set_mark(D(93))
    bench.venue.stream.clear()
    bench.executor.resync()
    bench.run_pass()
    kinds = {type(command) for command in bench.port.inbox}
    assert kinds == {ReadFills, ReadFunding, ReadAccount, AskForOrder}
    bench.serve_all()
    assert bench.executor.positions == ()
    assert bench.quiesce() == 0


def test_a_resync_asks_nothing_about_what_is_being_sent() -> None:
    """Its answer comes by itself; an order on its way may be unknown to the venue for a moment yet."""
    bench = begun()
    bench.enter()
    bench.executor.resync()
    bench.run_pass()
    assert bench.commands(AskForOrder) == []


# ---------------------------------------------------------------- funding


def paid(hour: int, usd: str = "-0.5") -> VenueFunding:
    """An hour's funding of a long of 1 at a rate of 0.01 %."""
    return VenueFunding("BTC", T0 - T0 % HOUR_MS + hour * HOUR_MS + 17, Decimal(usd), D(1), Decimal("0.005"))


def test_funding_is_booked_once_and_not_from_before_the_baseline() -> None:
    """By stream, by read and again; what belongs to the account as it was found is not ours."""
    bench = held()
    bench.run_pass(FundingReported((paid(0), paid(1))))
    bench.run_pass(FundingReported((paid(1),), 99))
    payments = bench.executor.take_funding()
    assert {p.hour_ms for p in payments} == {paid(1).at_ms - 17}
    assert payments[0].usd == D("-0.5")
    assert payments[0].oracle_px == 100  # 0.5 = 1 x oracle x 0.005
    assert payments[0].strategy == "mean_reversion"
    assert [bench.books.apply_funding(payment).is_new for payment in payments] == [True, False]
    assert bench.executor.take_funding() == ()


# ---------------------------------------------------------------- protection that cannot be had


def test_a_stop_that_is_refused_is_told_after_the_grace_and_closes_after_twice() -> None:
    """5 s: told, and placed again; 10 s: closed. Until then it is tried at growing distances."""
    bench = begun()
    bench.enter()
    bench.serve(0)
    bench.deliver()
    bench.hear_all()
    told_at, closed_at, tries = None, None, 0
    for step in range(200):
        for command in [c for c in bench.commands(SendAction) if isinstance(c, SendAction)]:
            is_stop = "trigger" in command.action["orders"][0]["t"]
            tries += is_stop
            bench.serve(bench.port.inbox.index(command), Reason.OPEN_ORDERS.value if is_stop else "ok")
            bench.deliver()
        bench.hear_all()
        bench.run_pass(dt=0.1)
        if told_at is None and any("covered by a resting stop" in told.text for told in bench.told):
            told_at = step * 0.1
        if closed_at is None and bench.executor.is_closing("BTC"):
            closed_at = step * 0.1
    assert told_at == pytest.approx(5.0, abs=0.15)
    assert closed_at == pytest.approx(10.0, abs=0.15)
    assert bench.venue.position == 0
    assert tries == 10  # five in each of the two times
    (trade,) = bench.books.trades
    assert trade.exit_reason == "unprotected"


def test_protection_that_comes_back_is_told() -> None:
    """After the alarm, the all-clear."""
    bench = begun()
    bench.enter()
    bench.serve(0)
    bench.deliver()
    bench.hear_all()
    bench.serve(0, Reason.OPEN_ORDERS.value)
    bench.deliver()
    bench.run_pass(dt=6.0)
    assert bench.told[-1].is_grave
    bench.serve_all()
    assert "protected again after 6.0 s" in bench.told[-1].text
    assert not bench.told[-1].is_grave


def test_another_ones_bare_position_is_told_and_never_closed() -> None:
    """The policy protects it; closing it is the owner's business."""
    bench = begun()
    bench.venue.outside(OrderSide.BUY, "1")
    bench.hear_all()
    for _ in range(40):
        while bench.commands(SendAction):
            bench.serve(bench.port.inbox.index(bench.commands(SendAction)[0]), Reason.OPEN_ORDERS.value)
            bench.deliver()
        bench.run_pass(dt=1.0)
    assert bench.venue.position == 1
    assert not bench.executor.is_closing("BTC")
    assert sum("covered by a resting stop" in told.text for told in bench.told) == 1


def test_a_fill_that_an_earlier_run_lost_is_looked_for_farther_back() -> None:
    """A later one was stored: while the position differs, fills are read from ever farther back."""
    bench = begun()
    bench.venue.outside(OrderSide.BUY, "1")
    bench.venue.stream.clear()
    bench.begin(3 * 3_600.0)
    bench.venue.outside(OrderSide.BUY, "0.5")
    bench.hear_all()
    bench.restart()
    bench.serve_all()
    assert bench.executor.positions[0].size == D("0.5")
    assert bench.quiesce(400.0) <= 250.0
    assert bench.executor.positions[0].size == D("1.5")
    oldest = min(command.since_ms for command in bench.asked if isinstance(command, ReadFills))
    assert oldest == bench.baseline_ms - 60_000  # the account's life before perpbot is none of its business
