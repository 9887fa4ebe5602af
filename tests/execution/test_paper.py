"""Paper execution: maker, taker, stop, restarts, and the same outcome however the input is cut."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from execution_builders import (
    CONFIG,
    INSTRUMENTS,
    T0,
    D,
    book,
    executor,
    exit_of,
    intent,
    mark,
    position,
    stop_rule,
    trade,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from perp_bot.core.types import (
    AssetContext,
    Book,
    Fill,
    Liquidity,
    Order,
    OrderIntent,
    OrderRole,
    OrderSide,
    OrderState,
    OrderType,
    PublicTrade,
)
from perp_bot.execution.account import Account
from perp_bot.execution.executor import OrderEvent, OrderFilled
from perp_bot.execution.orders import settled
from perp_bot.execution.paper import PaperExecutor


def fills_of(events: list[OrderEvent]) -> list[Fill]:
    return [event.fill for event in events if isinstance(event, OrderFilled)]


def last(events: list[OrderEvent], cloid: str = "0xe") -> Order:
    return [event.order for event in events if event.order.intent.cloid == cloid][-1]


def holding(size: str = "1") -> PaperExecutor:
    """A paper venue with a long of `size` at 100, stop at 100 - 10/size, no book yet."""
    paper = executor()
    paper.restore([], [position(size=size, opened=0)])
    paper.drain()
    return paper


# ---------------------------------------------------------------- maker


def test_a_resting_entry_fills_only_when_the_market_trades_through_it() -> None:
    """At the limit nothing; through it our price, the maker fee, at most the trade's size."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades([trade(1, 100.0, 9.0), trade(2, 99.9, 0.4), trade(3, 101.0, 9.0), trade(4, 99.0, 9.0)])
    events = paper.drain()
    first, second = fills_of(events)
    assert (first.px, first.size, first.liquidity, first.venue_ms) == (D(100), D("0.4"), Liquidity.MAKER, T0 + 2)
    assert (first.fee_usd, first.fill_id) == (D("0.00600000"), "0xe:0")
    assert (second.size, second.venue_ms, second.fill_id) == (D("0.6"), T0 + 4, "0xe:0.4")
    assert last(events).state is OrderState.FILLED


def test_trades_from_before_the_order_or_after_its_time_do_not_fill_it() -> None:
    """created < trade <= expires."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades([trade(0, 99.0), trade(30_001, 99.0), trade(30_002, 99.0)])
    assert fills_of(paper.drain()) == []
    other = executor()
    other.submit(intent(), T0)
    other.on_trades([trade(30_000, 99.0)])
    assert [fill.venue_ms for fill in fills_of(other.drain())] == [T0 + 30_000]


def test_another_coins_trades_do_not_fill_it() -> None:
    """Each coin its own tape."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades([trade(1, 50.0, symbol="OLD")])
    assert fills_of(paper.drain()) == []


# ---------------------------------------------------------------- taker fallback


def test_an_unfilled_entry_takes_from_the_book_when_its_time_is_over() -> None:
    """At expires_ms the rest walks the newest book, pays the taker fee, keeps its cloid."""
    paper = executor()
    paper.submit(intent(size="7"), T0)
    paper.on_trades([trade(10, 99.0, 1.0)])
    paper.on_book(book(20_000))
    assert paper.next_deadline_ms() == T0 + 30_000
    paper.on_time(T0 + 29_999)
    assert len(fills_of(paper.drain())) == 1
    paper.on_time(T0 + 30_000)
    events = paper.drain()
    assert [(f.px, f.size, f.liquidity, f.venue_ms, f.fill_id) for f in fills_of(events)] == [
        (D(101), D(5), Liquidity.TAKER, T0 + 30_000, "0xe:1"),
        (D(102), D(1), Liquidity.TAKER, T0 + 30_000, "0xe:6"),
    ]
    assert fills_of(events)[0].fee_usd == D("0.22725000")
    assert last(events).state is OrderState.FILLED
    assert paper.next_deadline_ms() is None


def test_a_book_that_is_too_old_is_not_taken_from() -> None:
    """15 s at the order's time is allowed, 15.001 s waits for the next book and fills at its time."""
    fresh, stale = executor(), executor()
    for paper, at in ((fresh, 15_000), (stale, 14_999)):
        paper.submit(intent(), T0)
        paper.on_book(book(at))
        paper.on_time(T0 + 30_000)
    assert [f.venue_ms for f in fills_of(fresh.drain())] == [T0 + 30_000]
    assert fills_of(stale.drain()) == []
    stale.on_book(book(41_000, ask=105.0))
    assert [(f.px, f.venue_ms) for f in fills_of(stale.drain())] == [(D(105), T0 + 41_000)]


def test_what_the_visible_book_does_not_hold_waits_for_the_next_book() -> None:
    """15 are shown of 20: the rest is not invented, and the same book is not taken from twice."""
    paper = executor()
    paper.on_book(book(0))
    paper.submit(intent(size="20", order_type=OrderType.TAKER), T0)
    assert sum(f.size for f in fills_of(paper.drain())) == 15
    paper.on_book(book(0))
    paper.on_time(T0 + 1000)
    assert fills_of(paper.drain()) == []
    paper.on_book(book(2000))
    events = paper.drain()
    assert [(f.size, f.venue_ms, f.fill_id) for f in fills_of(events)] == [(D(5), T0 + 2000, "0xe:15")]


def test_an_entry_without_any_book_is_given_up() -> None:
    """Two minutes after its time: a stale market is not entered. An exit never gives up."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_time(T0 + 30_000)
    assert paper.next_deadline_ms() == T0 + 150_000
    paper.on_time(T0 + 150_000)
    gone = last(paper.drain())
    assert (gone.state, gone.note) == (OrderState.CANCELLED, "no fresh book for 2 min: entry given up")
    held = holding()
    held.submit(exit_of(created_ms=T0 + 10), T0 + 10)
    held.on_time(T0 + 10**9)
    held.on_book(book(10**9))
    assert len(fills_of(held.drain())) == 1


def test_a_rest_below_ten_dollars_is_dropped_not_taken() -> None:
    """The venue would refuse it."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades([trade(1, 99.0, 0.95)])
    paper.on_book(book(29_000))
    paper.on_time(T0 + 30_000)
    order = last(paper.drain())
    assert (order.state, order.filled, order.note) == (
        OrderState.CANCELLED,
        D("0.95"),
        "rest is below the venue's 10 USD",
    )


# ---------------------------------------------------------------- protection


def test_every_entry_fill_brings_the_stop_to_the_position() -> None:
    """One resting reduce-only stop: its size and price follow the real fills."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades([trade(1, 99.0, 0.4)])
    paper.drain()
    stop = next(order for order in paper.live_orders if order.intent.role is OrderRole.STOP)
    assert (stop.intent.size, stop.intent.trigger_px, stop.intent.side) == (D("0.4"), D(75), OrderSide.SELL)
    assert (stop.intent.reduce_only, stop.intent.order_type) == (True, OrderType.STOP_MARKET)
    paper.on_trades([trade(2, 99.0, 0.6)])
    paper.drain()
    moved = next(order for order in paper.live_orders if order.intent.role is OrderRole.STOP)
    assert moved.intent.cloid == stop.intent.cloid
    assert (moved.intent.size, moved.intent.trigger_px) == (D(1), D(90))
    assert moved.intent.stop_px == paper.positions[0].stop_px == 90.0


def test_the_stop_triggers_on_mark_and_takes_from_the_book() -> None:
    """Long 1 at 100, stop 90: a mark of 90 sells into the bids; the reason is capital_stop."""
    paper = holding()
    paper.on_book(book(1000, bid=89.0, ask=89.5))
    paper.on_context([mark(1500, 90.01)])
    assert fills_of(paper.drain()) == []
    paper.on_context([mark(2000, 90.0)])
    events = paper.drain()
    (fill,) = fills_of(events)
    assert (fill.px, fill.size, fill.venue_ms, fill.role) == (D(89), D(1), T0 + 2000, OrderRole.STOP)
    assert (fill.reason, fill.closed_pnl_usd, fill.liquidity) == ("capital_stop", D(-11), Liquidity.TAKER)
    assert paper.positions == ()
    assert paper.live_orders == ()


def test_a_spike_between_two_reads_fires_the_stop() -> None:
    """The extremes are in the batch: the low counts although the newest mark is back above."""
    paper = holding()
    paper.on_book(book(1000))
    paper.on_context([mark(2000, 95.0), mark(1500, 89.0)])
    assert [f.venue_ms for f in fills_of(paper.drain())] == [T0 + 1500]


def test_marks_from_before_the_position_never_trigger() -> None:
    """The position opened at T0: a mark at T0 or before is another market's."""
    paper = holding()
    paper.on_book(book(0))
    paper.on_context([mark(-5, 50.0), mark(0, 50.0)])
    assert fills_of(paper.drain()) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
def test_a_broken_mark_never_triggers(bad: float) -> None:
    """NaN compares with nothing, zero and negative prices are none."""
    paper = holding()
    paper.on_book(book(0))
    paper.on_context([mark(10, bad)])
    assert fills_of(paper.drain()) == []


def test_a_triggered_stop_without_a_fresh_book_waits_for_one() -> None:
    """A trigger is remembered although the mark comes back."""
    paper = holding()
    paper.on_context([mark(60_000, 89.0), mark(61_000, 100.0)])
    events = paper.drain()
    assert fills_of(events) == []
    assert events[-1].order.note == f"triggered by mark 89 at {T0 + 60_000}"
    paper.on_book(book(65_000, bid=99.0))
    assert [(f.px, f.venue_ms) for f in fills_of(paper.drain())] == [(D(99), T0 + 65_000)]


def test_a_stop_takes_nothing_beyond_ten_percent_of_its_trigger() -> None:
    """Trigger 90: bids below 81 are not taken, the order goes on with the next book."""
    paper = holding()
    paper.on_book(book(1000, bid=80.9, ask=82.0))
    paper.on_context([mark(1500, 80.0)])
    assert fills_of(paper.drain()) == []
    paper.on_book(book(2000, bid=81.0, ask=82.0))
    assert [f.px for f in fills_of(paper.drain())] == [D(81)]


def test_a_stop_cancels_the_entry_that_still_works() -> None:
    """Otherwise the rest of the entry would open the position again right after its stop."""
    paper = executor()
    paper.submit(intent(expires_ms=T0 + 600_000), T0)
    paper.on_trades([trade(10, 99.0, 0.5)])
    paper.on_book(book(20, bid=79.0, ask=80.0))
    paper.on_context([mark(30, 79.0)])
    events = paper.drain()
    assert last(events).note == "the position's stop was triggered"
    assert paper.positions == ()
    paper.on_trades([trade(40, 50.0, 5.0)])
    assert fills_of(paper.drain()) == []


def test_an_exit_is_reduce_only_and_takes_the_stop_with_it() -> None:
    """An order larger than the position closes it, no more; its stop and other closing orders are cancelled."""
    paper = holding()
    paper.on_book(book(1000))
    paper.submit(exit_of("5", created_ms=T0 + 1000), T0 + 1000)
    events = paper.drain()
    assert [f.size for f in fills_of(events)] == [D(1)]
    assert last(events, "0xx").state is OrderState.CANCELLED
    assert last(events, "0xx").note == "reduce-only: position closed"
    assert paper.live_orders == ()
    assert paper.positions == ()


def test_closing_a_position_below_ten_dollars_is_allowed_a_part_of_it_is_not() -> None:
    """The whole close is exempt from the venue's minimum."""
    paper = holding("0.05")
    paper.on_book(book(1000))
    paper.submit(exit_of("0.04", cloid="0xpart", created_ms=T0 + 1000), T0 + 1000)
    assert last(paper.drain(), "0xpart").note == "Order must have minimum value of $10."
    paper.submit(exit_of("0.05", created_ms=T0 + 1000), T0 + 1000)
    assert last(paper.drain(), "0xx").state is OrderState.FILLED


def test_a_positions_stop_cannot_be_cancelled() -> None:
    """Cancelling orders never removes protection."""
    paper = holding()
    (stop,) = paper.live_orders
    paper.cancel(stop.intent.cloid, T0 + 5, "operator")
    assert paper.live_orders == (stop,)


# ---------------------------------------------------------------- refusals, cancels


@pytest.mark.parametrize(
    ("order", "note"),
    [
        (intent(symbol="NOPE"), "the venue has no perp called NOPE"),
        (intent(symbol="OLD"), "OLD is delisted"),
        (intent(size="0.0001"), "size 0.0001 is below one lot of 0.001"),
        (intent(size="1.00001"), "Order has invalid size."),
        (intent(limit="100.001"), "Price must be divisible by tick size."),
        (intent(size="0.05"), "Order must have minimum value of $10."),
        (exit_of(created_ms=T0), "Reduce only order would increase position."),
    ],
)
def test_what_the_venue_would_refuse_is_rejected(order: OrderIntent, note: str) -> None:
    """Paper accepts nothing that live would not."""
    paper = executor()
    paper.submit(order, T0)
    answer = last(paper.drain(), order.cloid)
    assert (answer.state, answer.note) == (OrderState.REJECTED, note)


def test_a_cancel_ends_the_order_and_a_second_one_repeats_the_answer() -> None:
    """Idempotent; an unknown id is answered with nothing."""
    paper = executor()
    paper.submit(intent(), T0)
    paper.cancel("0xe", T0 + 1, "signal gone")
    paper.cancel("0xe", T0 + 2, "again")
    paper.cancel("0xnone", T0 + 2, "again")
    states = [(event.order.state, event.order.note) for event in paper.drain()]
    assert states == [
        (OrderState.OPEN, ""),
        (OrderState.CANCELLED, "signal gone"),
        (OrderState.CANCELLED, "signal gone"),
    ]
    paper.on_trades([trade(5, 50.0)])
    assert paper.drain() == []


def test_the_same_cloid_submitted_twice_is_one_order() -> None:
    """Never doubled, live or ended."""
    paper = executor()
    paper.on_book(book(0))
    paper.submit(intent(), T0)
    paper.submit(intent(), T0)
    paper.on_trades([trade(5, 50.0, 9.0)])
    paper.submit(intent(), T0 + 6)
    assert sum(f.size for f in fills_of(paper.drain())) == 1


# ---------------------------------------------------------------- invariance

Input = Book | PublicTrade | AssetContext

inputs = st.lists(
    st.tuples(st.sampled_from("tbm"), st.integers(1, 90), st.integers(-14, 14), st.integers(1, 900)),
    min_size=1,
    max_size=40,
)


def stream(rows: list[tuple[str, int, int, int]]) -> list[Input]:
    """Turn drawn rows into market input in time order, many at equal times; prices 86 to 114, sizes up to 0.9."""
    out: list[tuple[int, int, Input]] = []
    for place, (kind, seconds, offset, size) in enumerate(rows):
        at, px = seconds * 1000, 100.0 + offset
        if kind == "t":
            out.append((at, 1, trade(at, px, size / 1000, tid=place)))
        elif kind == "b" and not any(at == other and rank == 0 for other, rank, _ in out):  # one book a moment
            out.append((at, 0, book(at, px - 0.5, px + 0.5, size / 1000)))
        elif kind == "m":
            out.append((at, 2, mark(at, px)))
    return [item for _, _, item in sorted(out, key=lambda row: row[:2])]


def offer(paper: PaperExecutor, item: Input) -> None:
    if isinstance(item, Book):
        paper.on_book(item)
    elif isinstance(item, PublicTrade):
        paper.on_trades([item])
    else:
        paper.on_context([item])


END_MS = T0 + 400_000


@given(inputs, st.lists(st.integers(0, 40), max_size=8), st.booleans())
def test_one_batch_or_many_gives_the_same_events(
    rows: list[tuple[str, int, int, int]], cuts: list[int], with_timer: bool
) -> None:
    """However the input is cut into passes, and whether or not timers run between them, every event is the same."""
    items = stream(rows)
    whole, cut = executor(), executor()
    for paper in (whole, cut):
        paper.submit(intent(size="1.5"), T0)
    # Within one batch the arrival is by kind, as slots and queues deliver it.
    for kind in (AssetContext, PublicTrade, Book):
        for item in items:
            if isinstance(item, kind):
                offer(whole, item)
    whole.on_time(END_MS)
    events: list[OrderEvent] = []
    for place, item in enumerate(items):
        is_cut = place in cuts and place > 0 and items[place - 1].venue_ms < item.venue_ms
        if is_cut:
            if with_timer:
                cut.on_time(items[place - 1].venue_ms)
            events += cut.drain()
        offer(cut, item)
    cut.on_time(END_MS)
    assert whole.drain() == events + cut.drain()


class Ledger:
    """What the database holds: orders by cloid, fills by id."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.fills: dict[str, Fill] = {}

    def take(self, events: list[OrderEvent]) -> None:
        for event in events:
            self.orders[event.order.intent.cloid] = event.order
            if isinstance(event, OrderFilled):
                self.fills.setdefault(event.fill.fill_id, event.fill)

    def account(self) -> Account:
        intents = {cloid: order.intent for cloid, order in self.orders.items()}
        return Account.rebuild("paper", D(670), self.fills.values(), [], intents=intents, stop_rule=stop_rule)

    def restarted(self) -> PaperExecutor:
        paper = PaperExecutor(CONFIG, "paper", INSTRUMENTS, stop_rule)
        live = [settled(order, self.fills.values()) for order in self.orders.values()]
        paper.restore([order for order in live if order.is_live], self.account().positions)
        return paper


@pytest.mark.slow
@settings(max_examples=200)
@given(inputs, st.integers(0, 40), st.integers(0, 40))
def test_a_restart_between_any_two_inputs_changes_no_fill(
    rows: list[tuple[str, int, int, int]], restart_at: int, replay_from: int
) -> None:
    """I4: with the same rows and the input replayed from any earlier point, fills, orders and books are equal."""
    items = stream(rows)
    restart_at = min(restart_at, len(items))
    # The venue replays at least the running step, which holds the newest book; here from any earlier book on.
    starts = [place for place, item in enumerate(items[:restart_at]) if isinstance(item, Book)] or [0]
    replay_from = starts[-1 - replay_from % len(starts)]
    straight, ledger = Ledger(), Ledger()
    for book_of_record, stop_at in ((straight, None), (ledger, restart_at)):
        paper = executor()
        paper.submit(intent(size="1.5"), T0)
        for item in items[:stop_at]:
            offer(paper, item)
            book_of_record.take(paper.drain())
        if stop_at is not None:
            book_of_record.take(paper.drain())
            paper = book_of_record.restarted()
            for item in items[replay_from:]:
                offer(paper, item)
                book_of_record.take(paper.drain())
        paper.on_time(END_MS)
        book_of_record.take(paper.drain())
    assert list(ledger.fills.values()) == list(straight.fills.values())
    assert {c: replace(o, note="") for c, o in ledger.orders.items()} == {
        c: replace(o, note="") for c, o in straight.orders.items()
    }
    assert ledger.account().totals() == straight.account().totals()


@given(inputs)
def test_whatever_the_market_does_the_stop_covers_the_position_and_nothing_is_overfilled(
    rows: list[tuple[str, int, int, int]],
) -> None:
    """After every input: stop size = position size, no order above its size, our books equal the venue's."""
    paper, ledger = executor(), Ledger()
    paper.submit(intent(size="1.5"), T0)
    for item in stream(rows):
        offer(paper, item)
        ledger.take(paper.drain())
        stops = [order for order in paper.live_orders if order.intent.role is OrderRole.STOP]
        held = {p.symbol: p.size for p in paper.positions}
        assert {order.intent.symbol: order.remaining for order in stops} == held
        assert all(order.filled <= order.intent.size for order in ledger.orders.values())
        mine = {p.symbol: (p.signed_size, p.entry_px, p.stop_px, p.opened_ms) for p in ledger.account().positions}
        assert mine == {p.symbol: (p.signed_size, p.entry_px, p.stop_px, p.opened_ms) for p in paper.positions}
        assert ledger.account().check({"BTC": 100.0}) < Decimal("1e-9")


def test_replayed_input_changes_nothing() -> None:
    """A reconnect sends the last trades, marks and books again."""
    paper = executor()
    paper.submit(intent(), T0)
    again: list[Input] = [trade(10, 99.0, 0.3), trade(10, 99.0, 0.2, tid=11), mark(12, 99.0), book(15)]
    for _ in range(3):
        for item in again:
            offer(paper, item)
        paper.drain()
    assert sum(order.filled for order in paper.live_orders) == D("0.5")


def test_two_trades_of_one_millisecond_survive_a_restart_between_them() -> None:
    """The stored note names the public trade that filled last: after a replay only the next one fills."""
    items = [trade(10, 99.0, 0.3, tid=7), trade(10, 99.0, 0.2, tid=8), trade(10, 99.0, 0.1, tid=9)]
    ledger = Ledger()
    paper = executor()
    paper.submit(intent(), T0)
    paper.on_trades(items[:2])
    ledger.take(paper.drain())
    paper = ledger.restarted()
    paper.on_trades(items)
    ledger.take(paper.drain())
    assert [(f.fill_id, f.size) for f in ledger.fills.values()] == [
        ("0xe:0", D("0.3")),
        ("0xe:0.3", D("0.2")),
        ("0xe:0.5", D("0.1")),
    ]


def test_an_intent_on_disk_is_sent_after_the_restart() -> None:
    """Killed between journal and send: the order goes out once, and fills as it would have."""
    paper = executor()
    order = Order(exit_of(created_ms=T0 + 1000), OrderState.INTENT, D(0), None, T0 + 1000)
    paper.restore([order], [position()])
    paper.on_book(book(1000))
    paper.on_time(T0 + 1000)
    assert [(f.size, f.venue_ms) for f in fills_of(paper.drain())] == [(D(1), T0 + 1000)]


def test_a_position_restored_without_its_stop_gets_it() -> None:
    """Killed between the fill and the stop's row: protected at once."""
    paper = executor()
    paper.restore([], [position()])
    (event,) = paper.drain()
    assert (event.order.intent.role, event.order.intent.trigger_px, event.order.state) == (
        OrderRole.STOP,
        D(90),
        OrderState.OPEN,
    )
