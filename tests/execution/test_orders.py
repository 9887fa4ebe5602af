"""The order machine: its table, its idempotence, and quantities that never exceed the order."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import permutations, product

import pytest
from execution_builders import T0, D, fill, intent
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.types import Fill, OrderRole, OrderSide, OrderState
from perp_bot.execution import orders
from perp_bot.execution.orders import TRANSITIONS, IllegalTransition, OrderTrack

NEW = orders.new_order(intent())


def test_every_state_has_its_row_and_ends_are_ends() -> None:
    """FILLED and REJECTED go nowhere; nothing goes back to INTENT or UNKNOWN once the venue has spoken."""
    assert set(TRANSITIONS) == set(OrderState)
    assert TRANSITIONS[OrderState.FILLED] == TRANSITIONS[OrderState.REJECTED] == frozenset()
    assert all(OrderState.INTENT not in targets for targets in TRANSITIONS.values())
    assert [state for state, targets in TRANSITIONS.items() if OrderState.UNKNOWN in targets] == [OrderState.INTENT]


@pytest.mark.parametrize(("start", "end"), list(product(OrderState, OrderState)))
def test_a_move_outside_the_table_raises(start: OrderState, end: OrderState) -> None:
    """All 49 pairs, one by one."""
    order = replace(NEW, state=start)
    if end in TRANSITIONS[start]:
        assert orders.moved(order, end, T0 + 1).state is end
    else:
        with pytest.raises(IllegalTransition, match=f"cannot go from {start} to {end}"):
            orders.moved(order, end, T0 + 1)


def test_the_cloid_is_derived_and_differs_by_every_part() -> None:
    """ "0x" and 32 hex digits from source, decision, role and attempt; the same parts, the same id."""
    first = orders.cloid_for("paper", "d", OrderRole.ENTRY)
    assert first == "0xdbb4f12a4eb887eab24d84b27f53b800"
    assert first == orders.cloid_for("paper", "d", OrderRole.ENTRY, 0)
    others = {
        orders.cloid_for("live", "d", OrderRole.ENTRY),
        orders.cloid_for("paper", "e", OrderRole.ENTRY),
        orders.cloid_for("paper", "d", OrderRole.EXIT),
        orders.cloid_for("paper", "d", OrderRole.ENTRY, 1),
    }
    assert len(others | {first}) == 5


def test_late_and_repeated_answers_change_nothing() -> None:
    """An acknowledgement after the fill, a second cancel, a cancel that lost the race."""
    done = orders.filled(NEW, D(1), D(100), T0 + 5)
    assert orders.accepted(done, T0 + 6) is done
    assert orders.cancelled(done, T0 + 6, "late") is done
    gone = orders.cancelled(orders.accepted(NEW, T0), T0 + 1, "x")
    assert orders.cancelled(gone, T0 + 2, "y") is gone
    refused = orders.rejected(NEW, T0, "no")
    assert orders.rejected(refused, T0 + 1, "again") is refused
    with pytest.raises(IllegalTransition):
        orders.accepted(refused, T0 + 1)
    with pytest.raises(IllegalTransition):
        orders.filled(refused, D(1), D(100), T0)


def test_unknown_is_only_for_orders_the_venue_never_answered() -> None:
    """A timeout after the acknowledgement is no news about the order."""
    unknown = orders.unanswered(NEW, T0 + 1, "timeout")
    assert unknown.state is OrderState.UNKNOWN
    assert orders.accepted(unknown, T0 + 2).state is OrderState.OPEN
    opened = orders.accepted(NEW, T0)
    assert orders.unanswered(opened, T0 + 1, "timeout") is opened


def test_the_average_price_is_weighted_by_size() -> None:
    """0.25 at 100 and 0.75 at 104 average 103."""
    part = orders.filled(NEW, D("0.25"), D(100), T0 + 1)
    assert (part.state, part.remaining) == (OrderState.PARTLY_FILLED, D("0.75"))
    done = orders.filled(part, D("0.75"), D(104), T0 + 2)
    assert (done.state, done.avg_px, done.filled) == (OrderState.FILLED, D(103), D(1))


@pytest.mark.parametrize(("size", "px"), [("1.1", "100"), ("0", "100"), ("-1", "100"), ("1", "0")])
def test_an_impossible_fill_raises(size: str, px: str) -> None:
    """Beyond the size, nothing, negative, free."""
    with pytest.raises(IllegalTransition):
        orders.filled(NEW, D(size), D(px), T0)


def test_a_fill_reported_after_the_cancel_counts() -> None:
    """Truth is the fills: the order stays cancelled, its quantity grows."""
    gone = orders.cancelled(orders.accepted(NEW, T0), T0 + 1, "x")
    late = orders.filled(gone, D("0.4"), D(100), T0 + 2)
    assert (late.state, late.filled) == (OrderState.CANCELLED, D("0.4"))
    assert orders.filled(late, D("0.6"), D(100), T0 + 3).state is OrderState.FILLED


def test_all_interleavings_of_answers_end_within_the_size() -> None:
    """Accept, two fills (each reported twice) and a cancel, in every order: never more than the size, no id twice."""
    first, second = fill("a", OrderSide.BUY, "0.4", "100"), fill("b", OrderSide.BUY, "0.6", "102")
    names = ["accept", "cancel", "first", "first", "second", "second"]
    for order_of_events in set(permutations(names)):
        track = OrderTrack(NEW)
        for name in order_of_events:
            if name == "accept":
                track = replace(track, order=orders.accepted(track.order, T0))
            elif name == "cancel":
                track = replace(track, order=orders.cancelled(track.order, T0, "x"))
            else:
                track = track.on_fill(first if name == "first" else second)
            assert D(0) <= track.order.filled <= track.order.intent.size
        assert (track.order.state, track.order.filled) == (OrderState.FILLED, D(1))
        assert track.order.avg_px == D("101.2")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 600)), max_size=12))
def test_whatever_fills_arrive_the_order_is_never_overfilled(reports: list[tuple[str, int]]) -> None:
    """Random sizes, repeated ids: the sum of accepted fills is `filled`, and never above the size."""
    track = OrderTrack(orders.accepted(NEW, T0))
    counted: dict[str, Decimal] = {}
    for fill_id, thousandths in reports:
        report = fill(fill_id, OrderSide.BUY, str(Decimal(thousandths) / 1000), "100")
        try:
            track = track.on_fill(report)
        except IllegalTransition:
            assert sum(counted.values(), D(0)) + report.size > D(1)
            continue
        counted.setdefault(fill_id, report.size)
        assert track.order.filled == sum(counted.values(), D(0)) <= D(1)


def test_an_order_row_older_than_its_fills_is_settled_by_them() -> None:
    """After a crash the fills are the truth; repeated rows and other orders' fills do not count."""
    stored = orders.accepted(NEW, T0)
    rows: list[Fill] = [
        fill("a", OrderSide.BUY, "0.4", "100", at=5, cloid="0xe"),
        fill("a", OrderSide.BUY, "0.4", "100", at=5, cloid="0xe"),
        fill("z", OrderSide.BUY, "9", "100", cloid="0xother"),
    ]
    part = orders.settled(stored, rows)
    assert (part.state, part.filled, part.avg_px, part.updated_ms) == (
        OrderState.PARTLY_FILLED,
        D("0.4"),
        D(100),
        T0 + 5,
    )
    full = orders.settled(part, [*rows, fill("b", OrderSide.BUY, "0.6", "100", at=9, cloid="0xe")])
    assert (full.state, full.filled) == (OrderState.FILLED, D(1))
    assert orders.settled(full, [*rows, fill("b", OrderSide.BUY, "0.6", "100", at=9, cloid="0xe")]) is full
    with pytest.raises(IllegalTransition, match="stored fills sum to 0"):
        orders.settled(part, [])
