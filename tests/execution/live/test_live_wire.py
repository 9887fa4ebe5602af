"""Actions on the wire: what the SDK would build, key by key, and nothing that the venue's hash would not forgive."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import float_to_wire
from hyperliquid.utils.types import Cloid
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.errors import OrderRuleError
from perp_bot.core.rounding import wire as number
from perp_bot.core.types import OrderSide
from perp_bot.execution.live import wire
from perp_bot.execution.live.wire import Grouping, Tif, Trigger, TriggerKind, VenueOrder

CLOID = "0x" + "0a" * 16
COINS = [{"name": f"C{place}", "szDecimals": 3} for place in range(300)]


class Captured(Exchange):  # type: ignore[misc]
    """The SDK's Exchange, which shows the action that it would post."""

    def __init__(self) -> None:
        meta: Any = {"universe": COINS}
        spot: Any = {"universe": [], "tokens": []}
        super().__init__(Account.from_key("0x" + "11" * 32), "http://127.0.0.1:1", meta=meta, spot_meta=spot)
        self.action: dict[str, Any] = {}

    def _post_action(self, action: dict[str, Any], signature: Any, nonce: int) -> None:
        self.action = action


SDK = Captured()


def sdk_action(call: Callable[[Captured], object]) -> str:
    """Return what the SDK builds, as JSON text: the order of the keys counts."""
    call(SDK)
    return json.dumps(SDK.action)


# The SDK takes floats and writes 8 decimals of them: from ten millions on those show the float's own error
# (99825765.4 becomes 99825765.40000001), which no Decimal has. Below that both must agree.
numbers = st.integers(0, 8).flatmap(
    lambda decimals: st.integers(1, 10 ** (7 + decimals)).map(lambda digits: Decimal(digits).scaleb(-decimals))
)
cloids = st.binary(min_size=16, max_size=16).map(lambda raw: "0x" + raw.hex())
executions = st.sampled_from(Tif) | st.builds(Trigger, numbers, st.sampled_from(TriggerKind), st.booleans())
orders = st.builds(
    VenueOrder,
    st.integers(0, 299),
    st.sampled_from(OrderSide),
    numbers,
    numbers,
    executions,
    st.booleans(),
    st.none() | cloids,
)


def as_request(order: VenueOrder) -> dict[str, Any]:
    """Return the order as the SDK's caller writes it."""
    if isinstance(order.execution, Tif):
        kind: dict[str, Any] = {"limit": {"tif": order.execution.value}}
    else:
        trigger = order.execution
        kind = {"trigger": {"triggerPx": float(trigger.px), "isMarket": trigger.is_market, "tpsl": trigger.kind.value}}
    request = {
        "coin": f"C{order.asset_id}",
        "is_buy": order.side is OrderSide.BUY,
        "sz": float(order.size),
        "limit_px": float(order.px),
        "order_type": kind,
        "reduce_only": order.reduce_only,
    }
    return request if order.cloid is None else {**request, "cloid": Cloid(order.cloid)}


@pytest.mark.slow
@given(st.lists(orders, min_size=1, max_size=4), st.sampled_from(Grouping))
def test_orders_are_those_of_the_sdk(placed: list[VenueOrder], grouping: Grouping) -> None:
    """Same keys, same order of keys, same texts of prices and sizes."""
    requests = [as_request(order) for order in placed]
    theirs = sdk_action(lambda sdk: sdk.bulk_orders(requests, grouping=grouping.value))
    assert json.dumps(wire.order_action(placed, grouping)) == theirs


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 2**53) | cloids, orders), min_size=1, max_size=4))
def test_modifies_are_those_of_the_sdk(modifies: list[tuple[int | str, VenueOrder]]) -> None:
    """An order is named by order id or client order id."""
    requests: Any = [
        {"oid": Cloid(oid) if isinstance(oid, str) else oid, "order": as_request(order)} for oid, order in modifies
    ]
    theirs = sdk_action(lambda sdk: sdk.bulk_modify_orders_new(requests))
    assert json.dumps(wire.batch_modify_action(modifies)) == theirs


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 299), st.integers(0, 2**53)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 299), cloids), min_size=1, max_size=5),
)
def test_cancels_are_those_of_the_sdk(by_oid: list[tuple[int, int]], by_cloid: list[tuple[int, str]]) -> None:
    """Two actions with different key names for the same things."""
    theirs = sdk_action(lambda sdk: sdk.bulk_cancel([{"coin": f"C{asset}", "oid": oid} for asset, oid in by_oid]))
    assert json.dumps(wire.cancel_action(by_oid)) == theirs
    requests: Any = [{"coin": f"C{asset}", "cloid": Cloid(cloid)} for asset, cloid in by_cloid]
    theirs = sdk_action(lambda sdk: sdk.bulk_cancel_by_cloid(requests))
    assert json.dumps(wire.cancel_by_cloid_action(by_cloid)) == theirs


def test_the_other_actions_are_those_of_the_sdk() -> None:
    """An absent time of scheduleCancel is absent, never null."""
    assert json.dumps(wire.update_leverage_action(7, 5, is_cross=False)) == sdk_action(
        lambda sdk: sdk.update_leverage(5, "C7", is_cross=False)
    )
    assert json.dumps(wire.schedule_cancel_action(17)) == sdk_action(lambda sdk: sdk.schedule_cancel(17))
    assert json.dumps(wire.schedule_cancel_action(None)) == sdk_action(lambda sdk: sdk.schedule_cancel(None))
    assert json.dumps(wire.noop_action()) == sdk_action(lambda sdk: sdk.noop(1))


@given(numbers)
def test_a_number_is_written_as_the_sdk_writes_it(value: Decimal) -> None:
    """No exponent, no trailing zero, at most 8 decimals, and exactly the value."""
    text = number(value)
    assert text == float_to_wire(float(value))
    assert Decimal(text) == value
    assert re.fullmatch(r"(0|[1-9]\d*)(\.\d{0,7}[1-9])?", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("84000", "84000"),
        ("8.4E+4", "84000"),
        ("0.00000001", "0.00000001"),
        ("1E-8", "0.00000001"),
        ("100.10", "100.1"),
        ("100.00", "100"),
        ("123456789012345678901234567890.12345678", "123456789012345678901234567890.12345678"),
    ],
)
def test_numbers_by_example(value: str, text: str) -> None:
    """Written out, also where a context of 28 digits would round."""
    assert number(Decimal(value)) == text


@pytest.mark.parametrize("value", ["0.000000001", "1.123456789", "NaN", "Infinity", "-Infinity"])
def test_a_number_the_wire_cannot_hold_is_refused_not_rounded(value: str) -> None:
    """Rounding belongs to the quantizer, before."""
    with pytest.raises(OrderRuleError):
        number(Decimal(value))


@pytest.mark.parametrize(("px", "size"), [("0", "1"), ("1", "0"), ("-1", "1"), ("1", "-0.1"), ("-0", "1")])
def test_a_price_or_size_is_above_zero(px: str, size: str) -> None:
    """The venue would refuse it, after a nonce and a request."""
    order = VenueOrder(0, OrderSide.BUY, Decimal(px), Decimal(size), Tif.GTC, False, None)
    with pytest.raises(OrderRuleError, match="must be above 0"):
        wire.order_action([order])


@pytest.mark.parametrize("cloid", ["", "0x12", "0X" + "ab" * 16, "0x" + "AB" * 16, "ab" * 16, "0x" + "zz" * 16])
def test_a_cloid_is_of_one_form(cloid: str) -> None:
    """Answers are matched by its text, so there is one way to write it."""
    order = VenueOrder(0, OrderSide.BUY, Decimal(1), Decimal(1), Tif.GTC, False, cloid)
    for build in (
        lambda: wire.order_action([order]),
        lambda: wire.cancel_by_cloid_action([(0, cloid)]),
        lambda: wire.batch_modify_action([(cloid, ORDER)]),
    ):
        with pytest.raises(OrderRuleError, match="client order id"):
            build()


ORDER = VenueOrder(0, OrderSide.BUY, Decimal(1), Decimal(1), Tif.GTC, False, CLOID)
CLOSING = VenueOrder(0, OrderSide.SELL, Decimal(1), Decimal(1), Tif.IOC, True, None)


def test_an_empty_or_overlong_action_is_refused() -> None:
    """The venue takes 200 cancels an action, and answers an empty batch with one error."""
    with pytest.raises(OrderRuleError, match="at least one order"):
        wire.order_action([])
    with pytest.raises(OrderRuleError, match="at least one cancel"):
        wire.cancel_action([])
    with pytest.raises(OrderRuleError, match="at most 200 orders, not 201"):
        wire.cancel_action([(0, oid) for oid in range(201)])
    with pytest.raises(OrderRuleError, match="leverage"):
        wire.update_leverage_action(0, 0, is_cross=True)


def test_what_raises_exposure_is_known_from_the_action() -> None:
    """Any order that is not reduce-only does; an action of an unknown kind counts as one."""
    raising = [
        wire.order_action([ORDER]),
        wire.order_action([CLOSING, ORDER]),
        wire.batch_modify_action([(1, CLOSING), (2, ORDER)]),
        {"type": "twapOrder"},
        {},
    ]
    harmless = [
        wire.order_action([CLOSING]),
        wire.batch_modify_action([(1, CLOSING)]),
        wire.cancel_action([(0, 1)]),
        wire.cancel_by_cloid_action([(0, CLOID)]),
        wire.update_leverage_action(0, 3, is_cross=True),
        wire.schedule_cancel_action(None),
        wire.noop_action(),
    ]
    assert [wire.raises_exposure(action) for action in raising] == [True] * 5
    assert [wire.raises_exposure(action) for action in harmless] == [False] * 7


def test_entries_and_cloids_are_those_of_the_action() -> None:
    """One answer an order or cancel; the rest has one."""
    assert wire.cloids(wire.order_action([ORDER, CLOSING])) == (CLOID, None)
    assert wire.cloids(wire.batch_modify_action([(1, ORDER)])) == (CLOID,)
    assert wire.cloids(wire.cancel_by_cloid_action([(0, CLOID)])) == ()
    assert wire.entries(wire.order_action([ORDER, CLOSING])) == 2
    assert wire.entries(wire.cancel_action([(0, 1), (0, 2), (1, 3)])) == 3
    assert wire.entries(wire.noop_action()) == 1
