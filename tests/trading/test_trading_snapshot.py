"""The state snapshot: every number from the desk, missing as None, the status with its reasons."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from desk_rig import MINUTE, QUARTER, START, DeskRig, config_of

from perp_bot.config.model import ExecutionConfig
from perp_bot.core.clock import monotonic_s
from perp_bot.core.types import Enter, Side
from perp_bot.data.db.reader import Reader
from perp_bot.ipc.state import StateSnapshot
from perp_bot.signals.snapshot import FastSignals, FastSnapshot, SignalQualityMetadata
from perp_bot.trading.signal_rows import SignalRecorder
from perp_bot.trading.snapshot import RunFacts, SnapshotBuilder, Sources

CLOSE = START + QUARTER
QUALITY = SignalQualityMetadata(START, 0.9, 1.0, ("book",), False)


def fast(venue_ms: int = START) -> FastSnapshot:
    coin = FastSignals("BTC", 100_000.0, 0.2, 5e6, 50.0, False, 0.1, None, QUALITY, {"short_term_volatility": "young"})
    return FastSnapshot(venue_ms, monotonic_s(), {"BTC": coin}, 1.5, QUALITY)


def builder(rig: DeskRig, snapshot: FastSnapshot | None = None) -> SnapshotBuilder:
    facts = RunFacts(
        "boot", 1, START, monotonic_s(), "practice", "http://127.0.0.1:1", None, "made up", frozenset({"BTC"})
    )
    sources = Sources(lambda: rig.market.feed, lambda: snapshot, lambda: 2, lambda: 0.5, lambda: None)
    made = SnapshotBuilder(rig.desk, facts, sources)
    made.phase = "RUNNING"
    return made


def state(rig: DeskRig, snapshot: FastSnapshot | None = None) -> StateSnapshot:
    """Return the state as a client reads it from the socket."""
    return msgspec.json.decode(msgspec.json.encode(builder(rig, snapshot).build(rig.now_ms, 3)), type=StateSnapshot)


def test_a_flat_desk_before_any_price_shows_no_invented_number(tmp_path: Path) -> None:
    """Prices None, signals None, ages None; cash is known."""
    with DeskRig(tmp_path) as rig:
        found = state(rig)
        assert (found.prices[0].mark_px, found.prices[0].mark_age_s, found.prices[0].best_bid) == (None, None, None)
        assert (found.signals[0].zscore, found.signals[0].action, found.signals[0].close_ms) == (None, None, None)
        assert (found.account.cash_usd, found.account.equity_usd) == (1_000.0, 1_000.0)
        assert found.ages.db_write_s is None
        assert found.fast_signals == ()
        assert found.api_latency_ms is None


def test_an_open_position_is_shown_with_its_stop_order_and_money(rig: DeskRig) -> None:
    """Size x mark, PnL at the mark, fees, the stop where it rests, when it times out."""
    rig.enter("BTC")
    rig.step(CLOSE + MINUTE, {"BTC": 100_500.0})
    found = state(rig)
    (position,) = found.positions
    held = rig.desk.account.positions[0]
    size = float(held.size)
    assert position.notional_usd == pytest.approx(size * 100_500.0)
    assert position.unrealized_usd == pytest.approx(size * (100_500.0 - 100_001.0))
    assert position.fees_usd == float(held.fees_usd) > 0
    assert position.stop_px == held.stop_px
    assert position.timeout_ms == CLOSE + 24 * 3_600_000
    (order,) = found.orders
    assert (order.role, order.reduce_only, order.trigger_px) == ("stop", True, held.stop_px)
    assert found.account.equity_usd == pytest.approx(1_000.0 - position.fees_usd + position.unrealized_usd)
    assert found.account.margin_used_usd == pytest.approx(position.notional_usd / 3)
    assert found.prices[0].generated
    assert not found.prices[1].generated
    assert (found.counters.entries, found.counters.stream_reconnects, found.viewers) == (1, 3, 2)


def test_a_position_whose_mark_is_missing_has_no_worth(rig: DeskRig) -> None:
    """After a restart, before the first mark: equity unknown, never the entry price."""
    rig.enter("BTC")
    rig.restart()
    found = state(rig)
    assert (found.account.equity_usd, found.account.unrealized_usd, found.account.margin_used_usd) == (None, None, None)
    assert (found.positions[0].mark_px, found.positions[0].unrealized_usd, found.positions[0].notional_usd) == (
        None,
        None,
        None,
    )


def test_the_newest_decision_is_shown_with_its_reason_and_what_blocked_it(rig: DeskRig) -> None:
    """Blocked entries say by what."""
    rig.done("pause", reason="news")
    rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
    signal = state(rig).signals[0]
    assert (signal.action, signal.reason, signal.close_ms) == ("blocked_long", "told to", CLOSE)
    assert signal.blocked_by == ("everything is paused by the operator: news",)
    assert signal.conditions == {"told": True}
    assert state(rig).signals[1].action == "hold"


@pytest.mark.parametrize(
    ("phase", "killed", "paused", "degraded", "status"),
    [
        ("RUNNING", False, False, False, "RUNNING"),
        ("RUNNING", False, False, True, "DEGRADED"),
        ("RUNNING", False, True, True, "PAUSED"),
        ("RUNNING", True, True, True, "KILLED"),
        ("RECONCILING", True, False, False, "RECONCILING"),
    ],
)
def test_the_status_is_the_gravest_and_every_reason_is_listed(
    rig: DeskRig, phase: str, killed: bool, paused: bool, degraded: bool, status: str
) -> None:
    """KILLED before PAUSED before DEGRADED; what is behind it stays visible."""
    if killed:
        rig.desk.killed = "killed by a test"
    if paused:
        rig.done("pause")
    if degraded:
        rig.desk.overflow = "lost"
    made = builder(rig)
    made.phase = phase
    found = made.build(rig.now_ms, 0)
    assert found.status == status
    assert len(found.status_reasons) == killed + paused + degraded


def test_a_limit_that_was_hit_is_a_pause_with_its_numbers(rig: DeskRig) -> None:
    """Numerator, denominator and limit, in the status and in the list of limits."""
    rig.enter("BTC")
    rig.step(CLOSE + MINUTE, {"BTC": 90_000.0})
    found = state(rig)
    assert found.status == "PAUSED"
    assert any("limit 8" in text for text in found.status_reasons)
    daily = next(limit for limit in found.limits if limit.name == "daily_loss")
    assert daily.breached
    assert daily.used > daily.limit


def test_a_resting_entry_is_listed_with_its_limit_and_expiry(tmp_path: Path) -> None:
    """What can still fill is on the screen."""
    config = config_of(tmp_path, execution=ExecutionConfig(order_type="limit", taker_fallback_seconds=60.0))
    with DeskRig(tmp_path, config=config) as rig:
        rig.step(START)
        rig.decide(CLOSE, Enter("BTC", Side.LONG, "told to"))
        (order,) = state(rig).orders
        assert (order.role, order.side, order.limit_px, order.expires_ms) == ("entry", "buy", 99_999.0, CLOSE + 60_000)


def test_fast_signals_are_shown_with_their_age_and_gaps(rig: DeskRig) -> None:
    """A value that is missing says why."""
    found = state(rig, fast())
    (coin,) = found.fast_signals
    assert (coin.symbol, coin.spread_bps, coin.volatility, coin.confidence) == ("BTC", 0.2, None, 0.9)
    assert "young" in coin.note
    assert coin.age_s is not None
    assert found.api_latency_ms == 1.5


def test_fast_signals_are_stored_once_a_minute(rig: DeskRig) -> None:
    """The first of every minute by the venue's clock, nothing while there is none."""
    newest: list[FastSnapshot | None] = [None]
    recorder = SignalRecorder(rig.journal, lambda: newest[0])
    recorder.look()
    for venue_ms in (START + 5_000, START + 25_000, START + 59_999, START + 60_000, START + 61_000):
        newest[0] = fast(venue_ms)
        recorder.look()
    rig.flush()
    with Reader(rig.db) as reader:
        stored = reader.signals("fast", 0, START + 10 * MINUTE)
    assert [venue_ms for venue_ms, _ in stored] == [START + 5_000, START + 60_000]
    assert stored[0][1]["coins"]["BTC"]["spread_bps"] == 0.2
