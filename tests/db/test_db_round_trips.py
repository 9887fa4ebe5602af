"""What goes into the store typed comes out equal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import store_samples as sample
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perp_bot.core.types import OrderSide, OrderState, Side
from perp_bot.data.db.codec import canonical_json
from perp_bot.data.db.ledger import LedgerReader, LedgerSums
from perp_bot.data.db.reader import Reader
from perp_bot.data.db.rows import (
    AssetMinute,
    CandleRows,
    DecisionRow,
    EquityRow,
    EventRow,
    FillRow,
    FundingDueRow,
    FundingPaidRow,
    FundingRateRow,
    OrderRow,
    PositionRow,
    SignalRow,
    StateRow,
    TradeRow,
)
from perp_bot.data.db.writer import Writer

DUE = FundingDueRow("BTC", sample.T0, "-0.01003", "100200.5", "mean_reversion", "paper")
EVENT = EventRow(sample.T0, sample.T0 + 1, "OPEN", "BTC", "short 0.01 BTC", {"b": 1, "a": [1.5, None]})
EQUITY = EquityRow("paper", sample.T0, 670.25, "670.250000000001", -0.5)

ROUND_TRIPS: list[tuple[str, Any, Callable[[Reader], Any], Any]] = [
    ("candle", CandleRows((sample.candle(),)), lambda r: r.candles("BTC", "15m", 0, 2**60), [sample.candle()]),
    ("asset minute", sample.MINUTE, lambda r: r.asset_minutes("BTC", 0, 2**60), [sample.MINUTE]),
    ("funding rate", FundingRateRow(sample.RATE), lambda r: r.funding_rates("BTC", 0, 2**60), [sample.RATE]),
    ("decision", DecisionRow(sample.DECISION, 7, 1.5, None), lambda r: r.decisions(9), [sample.DECISION]),
    ("order", OrderRow(sample.ORDER), lambda r: r.orders(9), [sample.ORDER]),
    ("fill", FillRow(sample.FILL), lambda r: r.fills("paper"), [sample.FILL]),
    ("funding due", DUE, lambda r: r.funding_due("paper"), [DUE]),
    ("funding paid", FundingPaidRow(sample.PAYMENT), lambda r: r.funding_payments("paper"), [sample.PAYMENT]),
    ("trade", TradeRow(sample.TRADE), lambda r: r.trades(), [sample.TRADE]),
    ("position", PositionRow("paper", "BTC", sample.POSITION), lambda r: r.positions("paper"), [sample.POSITION]),
    ("equity", EQUITY, lambda r: r.equity("paper", 0), [EQUITY]),
    ("event", EVENT, lambda r: r.events(9), [EVENT]),
    ("state", StateRow("risk", {"x": [None, 1.1]}, 5), lambda r: r.state("risk"), {"x": [None, 1.1]}),
    ("signal", SignalRow(5, "fast", {"BTC": {"a": 1}}), lambda r: r.signals("fast", 0, 9), [(5, {"BTC": {"a": 1}})]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "read", "expected"), [r[1:] for r in ROUND_TRIPS], ids=[r[0] for r in ROUND_TRIPS])
def test_a_row_comes_out_as_it_went_in(
    writer: Writer, db: Path, row: Any, read: Callable[[Reader], Any], expected: Any
) -> None:
    """Every kind of row survives the store unchanged, decimals to the last digit."""
    writer.put(row)
    writer.flush(5)
    with Reader(db) as reader:
        assert read(reader) == expected


def test_every_kind_of_row_has_a_round_trip() -> None:
    """A new kind of row cannot be added without a round-trip test."""
    from perp_bot.data.db import rows

    assert {type(row[1]) for row in ROUND_TRIPS} == set(rows.Row.__args__)


def test_latency_is_kept_apart_from_the_journal_row(writer: Writer, db: Path) -> None:
    """Wall times stand in their own table, so that a replayed journal row is identical."""
    writer.put(DecisionRow(sample.DECISION, wall_ms=77, confirm_ms=1.5, decide_ms=None))
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.decision_latency(sample.DECISION.decision_id) == (77, 1.5, None)
        assert reader.decision_ids_at(sample.T0, "15m") == {sample.DECISION.decision_id}
        assert reader.decision_ids_at(sample.T0, "1h") == set()


def test_the_first_of_two_equal_ids_stands_and_a_difference_is_logged(
    writer: Writer, db: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A fill, trade or decision that comes twice is booked once; one that differs is reported."""
    writer.put(FillRow(sample.FILL), TradeRow(sample.TRADE), DecisionRow(sample.DECISION, 1))
    writer.put(FillRow(sample.FILL), TradeRow(sample.TRADE), DecisionRow(sample.DECISION, 2))
    writer.flush(5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    writer.put(FillRow(replace(sample.FILL, px=Decimal("1"))))
    writer.flush(5)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"fills {sample.FILL.fill_id} came twice and differs in px; the first one stands"
    ]
    with Reader(db) as reader:
        assert reader.fills("paper") == [sample.FILL]
        assert reader.trades() == [sample.TRADE]
        assert reader.decisions(9) == [sample.DECISION]


def test_an_order_is_updated_and_leaves_the_live_ones_when_it_ends(writer: Writer, db: Path) -> None:
    """An order is one row by its cloid, and only orders that can still fill are live."""
    writer.put(OrderRow(replace(sample.ORDER, state=OrderState.INTENT)))
    writer.put(OrderRow(sample.ORDER))
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.live_orders("paper") == [sample.ORDER]
        assert reader.live_orders("live") == []
        done = replace(sample.ORDER, state=OrderState.FILLED, filled=Decimal("0.01003"))
        writer.put(OrderRow(done))
        writer.flush(5)
        assert reader.live_orders("paper") == []
        assert reader.orders(9) == [done]


def test_a_flat_position_is_gone(writer: Writer, db: Path) -> None:
    """None in the place of a position deletes it."""
    writer.put(PositionRow("paper", "BTC", sample.POSITION))
    writer.put(PositionRow("paper", "BTC", None))
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.positions("paper") == []


def test_a_due_hour_becomes_paid_and_never_due_again(writer: Writer, db: Path) -> None:
    """The rate that came settles the hour; a replayed 'due' does not undo it."""
    due = replace(DUE, hour_ms=sample.PAYMENT.hour_ms)
    writer.put(due)
    writer.put(FundingPaidRow(sample.PAYMENT))
    writer.put(due)
    writer.flush(5)
    with Reader(db) as reader:
        assert reader.funding_due("paper") == []
        assert reader.funding_payments("paper") == [sample.PAYMENT]


def test_two_halves_of_a_minute_are_joined(writer: Writer, db: Path) -> None:
    """A restart within a minute keeps the extremes of both halves, and the same half twice changes nothing."""
    second = AssetMinute("BTC", sample.T0, (2.0, 9.0, 1.0, 8.0), (2.5, 2.6, 0.25, 0.5), None, 0.25, None, 20)
    for minute in (sample.MINUTE, second, second):
        writer.put(minute)
    writer.flush(5)
    expected = AssetMinute("BTC", sample.T0, (1.0, 9.0, 0.5, 8.0), (1.5, 3.5, 0.25, 0.5), 1234.5, 0.25, 0.0000125, 60)
    with Reader(db) as reader:
        assert reader.asset_minutes("BTC", 0, 2**60) == [expected]


def test_a_minute_without_a_sample_of_a_kind_is_missing_not_zero(writer: Writer, db: Path) -> None:
    """NaN goes in as missing and comes out as NaN; the later half fills it in."""
    nan = math.nan
    writer.put(replace(sample.MINUTE, mark_ohlc=(nan, nan, nan, nan)))
    writer.flush(5)
    with Reader(db) as reader:
        assert all(math.isnan(price) for price in reader.asset_minutes("BTC", 0, 2**60)[0].mark_ohlc)
        writer.put(sample.MINUTE)
        writer.flush(5)
        assert reader.asset_minutes("BTC", 0, 2**60) == [sample.MINUTE]


def test_ledger_sums_are_exact(writer: Writer, db: Path) -> None:
    """Cash moves by -signed size x price - fee (I11), summed without rounding."""
    buy = replace(
        sample.FILL,
        fill_id="b",
        side=OrderSide.BUY,
        px=Decimal("3.3"),
        size=Decimal("3"),
        fee_usd=Decimal("0.1"),
    )
    other = replace(buy, fill_id="e", symbol="ETH", px=Decimal("2"), size=Decimal("1e-30"), fee_usd=Decimal(0))
    closing = replace(buy, fill_id="c", side=OrderSide.SELL, px=Decimal("4"))
    elsewhere = replace(buy, fill_id="l", source="live")
    writer.put(*(FillRow(fill) for fill in (buy, other, closing, elsewhere)))
    writer.flush(5)
    with LedgerReader(db) as reader:
        sums = reader.ledger_sums("paper")
    # -9.9 - 0.1 - 2e-30 + 12 - 0.1: thirty decimals, more than the usual context keeps
    assert sums == LedgerSums(3, 0, Decimal("1.899999999999999999999999999998"))


def test_limits_and_filters_take_the_newest(writer: Writer, db: Path) -> None:
    """A limit keeps the newest rows, in the order they were booked."""
    writer.put(*(TradeRow(replace(sample.TRADE, trade_id=str(k), closed_ms=sample.T0 + k)) for k in range(5)))
    writer.put(*(EventRow(k, k, "A" if k % 2 else "B", None, str(k)) for k in range(5)))
    writer.put(CandleRows(tuple(sample.candle(sample.T0 + k * 900_000) for k in range(5))))
    writer.flush(5)
    with Reader(db) as reader:
        assert [t.trade_id for t in reader.trades(limit=2)] == ["3", "4"]
        assert [t.trade_id for t in reader.trades("paper", since_ms=sample.T0 + 3)] == ["3", "4"]
        assert reader.trades("live") == []
        assert [e.text for e in reader.events(2)] == ["3", "4"]
        assert [e.text for e in reader.events(9, kinds=["A"])] == ["1", "3"]
        newest = reader.last_candles("BTC", "15m", 2)
        assert [c.open_ms for c in newest] == [sample.T0 + 3 * 900_000, sample.T0 + 4 * 900_000]
        assert [c.open_ms for c in reader.last_candles("BTC", "15m", 2, before_ms=sample.T0 + 900_000)] == [sample.T0]
        assert reader.candle_span("BTC", "15m") == (sample.T0, sample.T0 + 4 * 900_000, 5)
        assert reader.candle_span("ETH", "15m") is None
        assert reader.state("never written") is None


def test_canonical_json_has_one_spelling() -> None:
    """Keys are sorted, no spaces, floats by their shortest text, NaN is missing, infinity refused."""
    assert canonical_json({"b": 0.1 + 0.2, "a": (1, None, "ä")}) == '{"a":[1,null,"\\u00e4"],"b":0.30000000000000004}'
    assert canonical_json({"x": [math.nan, {"y": math.nan}]}) == '{"x":[null,{"y":null}]}'
    with pytest.raises(ValueError):
        canonical_json({"x": math.inf})
    with pytest.raises(TypeError):
        canonical_json({"x": Decimal(1)})


FROM_ONE_FILE = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # one writer serves all examples; each overwrites its row


@pytest.mark.slow
@FROM_ONE_FILE
@given(
    size=sample.amounts, entry=sample.amounts, fees=sample.amounts, stop=st.none() | sample.numbers,
    name=sample.texts, side=st.sampled_from(Side), opened=sample.times,
)  # fmt: skip
def test_any_position_round_trips(
    writer: Writer, db: Path, size: Decimal, entry: Decimal, fees: Decimal, stop: float | None, name: str, side: Side,
    opened: int,
) -> None:  # fmt: skip
    """Whatever the numbers, a position read back is the position written."""
    position = replace(
        sample.POSITION,
        size=size,
        entry_px=entry,
        fees_usd=fees,
        stop_px=stop,
        strategy=name,
        side=side,
        opened_ms=opened,
    )
    writer.commit(PositionRow("paper", "BTC", position), deadline_s=5)
    with Reader(db) as reader:
        assert reader.positions("paper") == [position]


@pytest.mark.slow
@FROM_ONE_FILE
@given(
    px=sample.amounts, size=sample.amounts, avg=st.none() | sample.amounts, stop=st.none() | sample.numbers,
    state=st.sampled_from(OrderState), note=sample.texts, expires=st.none() | sample.times,
)  # fmt: skip
def test_any_order_round_trips(
    writer: Writer, db: Path, px: Decimal, size: Decimal, avg: Decimal | None, stop: float | None, state: OrderState,
    note: str, expires: int | None,
) -> None:  # fmt: skip
    """Whatever the numbers, an order read back is the order written."""
    intent = replace(sample.INTENT, limit_px=px, size=size, stop_px=stop, expires_ms=expires)
    order = replace(sample.ORDER, intent=intent, avg_px=avg, state=state, note=note)
    writer.commit(OrderRow(order), deadline_s=5)
    with Reader(db) as reader:
        assert reader.orders(1) == [order]


@pytest.mark.slow
@FROM_ONE_FILE
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | sample.numbers | sample.texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(sample.texts, inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_json_state_round_trips(writer: Writer, db: Path, value: Any) -> None:
    """Whatever the value, a state key read back is the value written, and its text is canonical."""
    writer.commit(StateRow("k", value, 1), deadline_s=5)
    with Reader(db) as reader:
        assert reader.state("k") == value


@pytest.mark.slow
@FROM_ONE_FILE
@given(values=st.lists(sample.prices, min_size=5, max_size=5), trades=st.none() | st.integers(0, 2**40))
def test_any_candle_round_trips(writer: Writer, db: Path, values: list[float], trades: int | None) -> None:
    """Prices are stored bit for bit."""
    o, h, low, c, v = values
    candle = replace(sample.candle(), open=o, high=h, low=low, close=c, volume=v, trades=trades)
    writer.commit(CandleRows((candle,)), deadline_s=5)
    with Reader(db) as reader:
        assert reader.candles("BTC", "15m", 0, 2**60) == [candle]
