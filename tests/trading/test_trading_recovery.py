"""A restart finds what the last run left: the desk rebuilt from rows equals the desk that lived (I4, I11, I12)."""

from __future__ import annotations

import sqlite3
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from desk_rig import HOUR, MINUTE, PX, QUARTER, START, DeskRig, config_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perp_bot.config.model import ExecutionConfig, RiskConfig, TradingConfig
from perp_bot.core.errors import StoreError
from perp_bot.core.events import FundingSettled
from perp_bot.core.types import Enter, Exit, FundingRate, OrderRole, OrderState, Side
from perp_bot.data.db.reader import Reader
from perp_bot.trading import recovery
from perp_bot.trading.desk import Desk, position_text

CLOSE = START + QUARTER


def facts(desk: Desk) -> dict[str, Any]:
    """Return everything a restart must find again."""
    return {
        "account": desk.account.totals(),
        "booked": desk.account.booked,
        "venue": {p.symbol: (p.signed_size, p.entry_px, p.stop_px) for p in desk.executor.positions},
        "orders": {order.intent.cloid: replace(order, note="") for order in desk.live_orders},
        "risk": desk.risk,
        "pauses": desk.pauses,
        "pending": desk.pending,
        "killed": desk.killed,
        "due": desk.funding_due,
        "handled": desk.handled_ms,
        "totals": desk.totals,
        "weeks": {week: pytest.approx(net, abs=1e-9) for week, net in desk.week_nets.items()},
        "newest": {symbol: record.decision_id for symbol, record in desk.last_decisions.items()},
    }


coins = st.sampled_from(["BTC", "ETH"])
moves = st.one_of(
    st.tuples(st.just("enter"), coins, st.sampled_from(list(Side))),
    st.tuples(st.just("exit"), coins, st.just(None)),
    st.tuples(st.just("move"), coins, st.floats(-0.025, 0.025)),
    st.tuples(st.just("fill"), coins, st.sampled_from([0.001, 0.004, 9.0])),
    st.tuples(st.just("hour"), coins, st.floats(-0.001, 0.001)),
    st.tuples(st.just("control"), coins, st.sampled_from(["pause", "resume", "flatten"])),
)


def live(rig: DeskRig, what: str, symbol: str, how: Any) -> None:
    """Live through one move."""
    if what == "enter":
        rig.enter(symbol, how)
    elif what == "exit":
        rig.decide(rig.now_ms // QUARTER * QUARTER + QUARTER, Exit(symbol, "told to leave"))
    elif what == "move":
        rig.step(rig.now_ms + MINUTE, {symbol: round(rig.px[symbol] * (1 + how), 1)})
    elif what == "fill" and rig.desk.live_entry(symbol) is not None:
        rig.fill_entry(symbol, how)
    elif what == "hour":
        hour = rig.now_ms // HOUR * HOUR + HOUR
        rig.step(hour)
        rig.handle(events=[FundingSettled(FundingRate(symbol, hour, how, None))])
    elif what == "control" and how == "flatten":
        preview = rig.done("prepare", action="flatten").preview
        if preview is not None:
            rig.done("commit", token=preview.token)
    elif what == "control":
        rig.done(how, symbol=symbol)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(session=st.lists(moves, min_size=1, max_size=14), order_type=st.sampled_from(["limit", "taker"]))
@pytest.mark.slow
def test_a_desk_rebuilt_from_its_rows_equals_the_desk_that_lived(
    session: list[tuple[str, str, Any]], order_type: str
) -> None:
    """Whatever happened: cash, positions, orders, limits, pauses, dues and counters are the same; cents agree."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        execution = ExecutionConfig(order_type=order_type, taker_fallback_seconds=1800.0)
        config = config_of(folder, execution=execution, risk=RiskConfig(max_positions=2, cooldown_seconds=600))
        with DeskRig(folder, config=config) as rig:
            rig.step(START)
            for move in session:
                live(rig, *move)
            rig.step(rig.now_ms + MINUTE)
            rig.flush()
            assert facts(rig.rebuilt()) == facts(rig.desk)
            assert rig.desk.accounting_error_max_usd < Decimal("0.000001")
            assert rig.desk.accounting_trouble is None


def test_a_first_start_is_flat_with_the_configured_capital(tmp_path: Path) -> None:
    """Nothing stored: nothing assumed but the capital."""
    with DeskRig(tmp_path) as rig:
        assert rig.desk.account.cash_usd == Decimal("1000.0")
        assert (rig.desk.killed, rig.desk.pauses, rig.desk.handled_ms) == (None, (), 0)


def test_the_start_cash_is_stored_once(rig: DeskRig) -> None:
    """A changed capital does not change what happened before."""
    from perp_bot.data.db.rows import StateRow

    rig.journal.put(StateRow("start_cash", "1000.0", START))
    rig.config = config_of(rig.folder, trading=TradingConfig(capital_usd=5.0))
    rig.restart()
    assert rig.desk.account.start_cash == Decimal("1000.0")


def test_a_stop_does_not_move_because_the_settings_changed(rig: DeskRig) -> None:
    """The resting stop is what it was when the position was opened."""
    rig.enter("BTC")
    stop = rig.desk.account.positions[0].stop_px
    rig.config = config_of(rig.folder, risk=RiskConfig(max_loss_per_trade_pct=0.01))
    rig.restart()
    assert rig.desk.account.positions[0].stop_px == stop
    (order,) = rig.desk.live_orders
    assert float(order.intent.trigger_px or 0) == stop


def test_an_intent_that_was_not_sent_is_sent_and_one_that_waits_too_long_is_given_up(tmp_path: Path) -> None:
    """Killed between commit and send: restarted at once the entry goes on; an hour later it is dropped."""
    config = config_of(tmp_path)
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        real = rig.desk.executor.submit
        rig.desk.executor.submit = lambda intent, now_ms: None  # type: ignore[method-assign]
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        rig.desk.executor.submit = real  # type: ignore[method-assign]
        assert rig.rows("SELECT state FROM orders") == [("intent",)]
        rig.close()
        rig._open(CLOSE)
        assert [order.state for order in rig.desk.live_orders] == [OrderState.OPEN]
        rig.step(CLOSE + HOUR)
        assert rig.desk.account.positions == ()
        assert rig.rows("SELECT state FROM orders") == [("cancelled",)]


def test_a_working_exit_and_its_stop_go_on_after_a_restart(rig: DeskRig) -> None:
    """An exit that waited for a book takes the first fresh one; then the stop is gone too."""
    rig.enter("BTC")
    rig.later(MINUTE)
    rig.loop._owed._within_s = 0.0
    assert rig.commit("close", symbol="BTC").status == "partly_flat"
    rig.restart()
    assert {order.intent.role for order in rig.desk.live_orders} == {OrderRole.EXIT, OrderRole.STOP}
    rig.step(rig.now_ms + MINUTE)
    assert rig.desk.account.positions == ()
    assert rig.desk.live_orders == ()


def test_an_entry_of_a_coin_that_is_not_traded_any_more_is_cancelled_at_the_start(tmp_path: Path) -> None:
    """Nobody would watch what it opens."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=3600.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("ETH", Side.LONG, "told to"))
        rig.config = replace(config, trading=replace(config.trading, symbols=("BTC",)))
        rig.restart()
        assert rig.desk.live_orders == ()
        assert rig.rows("SELECT note FROM orders") == [("not in trading.symbols any more",)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE fills SET size = '0.02'", "the stored fills of BTC add up to 0.02"),
        ("DELETE FROM positions", "the stored position is flat"),
        ("DELETE FROM fills", "add up to flat"),
    ],
)
def test_rows_that_contradict_each_other_refuse_the_start(rig: DeskRig, sql: str, words: str) -> None:
    """Nothing is guessed: which of the two is right is for people."""
    rig.enter("BTC")
    rig.flush()
    with sqlite3.connect(rig.db) as connection:
        connection.execute("DELETE FROM orders")
        connection.execute(sql)
    with pytest.raises(StoreError, match="restore a backup") as raised:
        rig.rebuilt()
    assert words in str(raised.value)


def test_damaged_risk_state_refuses_the_start(rig: DeskRig) -> None:
    """Limits are never guessed."""
    rig.flush()
    with sqlite3.connect(rig.db) as connection:
        connection.execute("INSERT OR REPLACE INTO bot_state VALUES ('risk', '[1]', 0)")
    with pytest.raises(StoreError, match="risk state is damaged"):
        rig.rebuilt()


def test_emergency_records_whose_order_the_database_knows_are_done_with(rig: DeskRig) -> None:
    """Only what never arrived is closed again."""
    rig.enter("BTC")
    rig.decide(CLOSE + QUARTER, Exit("BTC", "told to leave"))
    ((cloid,),) = rig.rows("SELECT cloid FROM orders WHERE role = 'exit'")
    with Reader(rig.db) as reader:
        assert recovery.never_stored([], reader) == []
        found = recovery.never_stored([{"cloid": cloid}, {"cloid": "0xother"}], reader)
    assert found == [{"cloid": "0xother"}]


def test_a_position_in_words() -> None:
    """LONG 0.01 BTC @ 84,000."""
    with tempfile.TemporaryDirectory() as name, DeskRig(Path(name)) as rig:
        rig.step(START)
        rig.enter("BTC")
        size = rig.desk.account.positions[0].size
        assert position_text(rig.desk.account.positions[0]) == f"LONG {size} BTC @ 100001.0"
        assert PX["BTC"] == 100_000.0
