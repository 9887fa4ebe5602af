"""The decision path: order of symbols, gate, price, size, ids, cancels, delays, late closes."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from decimal import Decimal

import pytest
from decision_builders import (
    CLOSE,
    CONFIG,
    DONE,
    LONG,
    QUIET,
    RISK,
    SHORT,
    STATE,
    STOPPED,
    STRATEGY,
    TF_MS,
    book,
    boundary,
    config,
    entry_order,
    item,
    position,
    view,
)
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.core.types import Action, GateReason, OrderRole, OrderSide, OrderType, Regime, Side
from perp_bot.decision.delay import PendingEntry
from perp_bot.decision.path import Boundary, BoundaryDecision, Decided, SymbolInput, decide_boundary
from perp_bot.indicators.row import IndicatorRow
from perp_bot.risk.manager import Blocks, Pause
from perp_bot.strategies.macd_cross import MacdCross


def decide(*items: SymbolInput, cfg: object = CONFIG, **changes: object) -> BoundaryDecision:
    return decide_boundary(cfg, STRATEGY, boundary(*items, **changes))  # type: ignore[arg-type]


def one(row: IndicatorRow | None, cfg: object = CONFIG, **changes: object) -> Decided:
    (decided,) = decide(item(row, **changes), cfg=cfg).decided  # type: ignore[arg-type]
    return decided


def rules(decided: Decided) -> set[str]:
    return {reason.rule for reason in decided.record.blocked_by}


# ---------------------------------------------------------------- entries


def test_a_long_entry_in_full() -> None:
    """Best bid 100, notional 1,005: size 10.05, stop 98 (20.10 USD at risk), limit for 30 s."""
    decided = one(LONG)
    record, intent = decided.record, decided.intent
    assert intent is not None
    assert record.decision_id == f"mean_reversion:BTC:15m:{CLOSE}"
    assert (record.action, record.side, record.blocked_by) == (Action.ENTER, Side.LONG, ())
    assert (record.notional_usd, record.stop_px, record.close_px) == (1005.0, 98.0, 95.5)
    assert (intent.side, intent.role, intent.order_type) == (OrderSide.BUY, OrderRole.ENTRY, OrderType.LIMIT)
    assert (intent.size, intent.limit_px, intent.reduce_only) == (Decimal("10.05"), Decimal(100), False)
    assert (intent.created_ms, intent.expires_ms) == (CLOSE + 500, CLOSE + 30_500)
    digest = hashlib.sha256(f"paper|{record.decision_id}|entry|0".encode()).hexdigest()
    assert intent.cloid == "0x" + digest[:32]


def test_a_short_entry_rests_at_the_best_ask() -> None:
    """Own side's best: sell at the ask, stop above."""
    decided = one(SHORT)
    assert decided.intent is not None
    assert (decided.intent.side, decided.intent.limit_px) == (OrderSide.SELL, Decimal("100.5"))
    assert decided.intent.size == Decimal(10)  # 1005 / 100.5
    assert decided.record.stop_px == 102.5  # 100.5 + 20.10 / 10 = 102.51, inward on a grid of 0.1


def test_a_taker_entry_is_priced_at_the_other_side_and_has_no_limit() -> None:
    """execution.order_type taker: sent at once."""
    decided = one(LONG, config(execution={"order_type": "taker"}))
    assert decided.intent is not None
    assert (decided.intent.order_type, decided.intent.limit_px, decided.intent.expires_ms) == (
        OrderType.TAKER,
        None,
        None,
    )
    assert decided.intent.size == Decimal(10)  # at the ask of 100.5


def test_high_risk_halves_the_size_and_doubles_the_stops_distance() -> None:
    """The capital at risk stays 20.10 USD."""
    row = replace(LONG, zscore=-2.6)
    low = view(row, candle=replace(view(LONG).candle, close=94.0))
    (decided,) = decide(item(LONG, view=low), regime=Regime.HIGH_RISK).decided
    assert decided.intent is not None
    assert (decided.intent.size, decided.record.stop_px) == (Decimal("5.025"), 96.0)


@pytest.mark.parametrize("row", [SHORT, LONG])
def test_a_crisis_never_enters(row: IndicatorRow) -> None:
    """Even far beyond the widened thresholds; an exit still goes out."""
    far = replace(row, zscore=math.copysign(2.9, row.zscore or 0), rsi=50 + math.copysign(49, row.zscore or 0))
    far_view = view(far, candle=replace(view(row).candle, close=101 + math.copysign(20, row.zscore or 0)))
    (decided,) = decide(item(row, view=far_view), regime=Regime.CRISIS).decided
    assert (decided.intent, decided.record.action) == (None, Action.HOLD)
    assert decided.record.reason.startswith("regime CRISIS: no entries")
    (closing,) = decide(item(DONE, position=position()), regime=Regime.CRISIS).decided
    assert closing.intent is not None


@pytest.mark.parametrize(
    ("changes", "rule", "text"),
    [
        ({"book": None}, "stale_book", "stale book: there is no book"),
        ({"book": book(at=CLOSE - 14_501)}, "stale_book", "stale book: the newest book is too old to price from"),
        ({"book": book(bid=101.0, ask=100.0)}, "stale_book", "stale book: there is no book"),
        ({"book": book(bid=math.nan)}, "stale_book", "stale book: there is no book"),
        ({"instrument": None}, "unlisted", "the venue's meta has no perp called BTC"),
    ],
)
def test_what_cannot_be_priced_is_blocked(changes: dict[str, object], rule: str, text: str) -> None:
    """I10: no entry on a stale, absent or broken book."""
    decided = one(LONG, **changes)
    assert decided.intent is None
    assert decided.record.action is Action.BLOCKED
    assert GateReason(rule, text) in decided.record.blocked_by


def test_a_book_of_exactly_fifteen_seconds_still_prices() -> None:
    """The limit is inclusive, by the venue's time."""
    assert one(LONG, book=book(at=CLOSE - 14_500)).intent is not None


def test_a_capital_too_small_for_the_venue_is_blocked_with_the_reason() -> None:
    """5 USD of notional is below the venue's minimum of 10."""
    small = replace(CONFIG, trading=replace(CONFIG.trading, capital_usd=5.0, leverage=2))
    decided = one(LONG, small)
    assert rules(decided) == {"size"}
    assert "below the venue's minimum of 10 USD" in decided.record.blocked_by[0].text


def test_a_stop_beyond_the_liquidation_price_is_refused_before_the_entry() -> None:
    """At 40x with 90 % of the capital at risk the venue would liquidate first."""
    bold = replace(
        CONFIG,
        trading=replace(CONFIG.trading, leverage=40, margin_usage_limit=1.0),
        risk=replace(CONFIG.risk, max_loss_per_trade_pct=0.9),
    )
    assert rules(one(LONG, bold)) == {"stop_beyond_liquidation"}


def test_a_blocked_entry_is_stored_with_all_reasons() -> None:
    """Latch, pause and limits together, with the numbers it would have had."""
    blocks = Blocks(killed="by cli", pauses=(Pause("symbol", "BTC"),))
    risk = replace(RISK, state=replace(STATE, cooldown_until_ms=CLOSE + 1), open_symbols=("ETH",))
    (decided,) = decide(item(LONG), blocks=blocks, risk=risk).decided
    assert rules(decided) == {"killed", "paused", "cooldown", "max_positions"}
    assert (decided.intent, decided.record.stop_px, decided.record.notional_usd) == (None, 98.0, 1005.0)


# ---------------------------------------------------------------- order and limits across symbols


def test_exits_come_first_then_entries_in_config_order() -> None:
    """ETH is held: decided first although BTC is configured first."""
    cfg = config(risk={"max_positions": 2})
    small = replace(cfg, trading=replace(cfg.trading, margin_usage_limit=1.0))
    outcome = decide(item(LONG, "BTC"), item(DONE, "ETH", position=position(symbol="ETH")), cfg=small, risk=RISK)
    assert [(d.record.symbol, d.record.action) for d in outcome.decided] == [
        ("ETH", Action.EXIT),
        ("BTC", Action.ENTER),
    ]


def test_an_intended_entry_counts_at_once_for_those_that_follow() -> None:
    """One position allowed: the first in config order takes it."""
    btc, eth = decide(item(LONG, "BTC"), item(LONG, "ETH")).decided
    assert (btc.record.action, eth.record.action) == (Action.ENTER, Action.BLOCKED)
    assert rules(eth) == {"max_positions", "margin_limit"}
    eth_first, btc_second = decide(item(LONG, "ETH"), item(LONG, "BTC")).decided
    assert (eth_first.record.action, btc_second.record.action) == (Action.ENTER, Action.BLOCKED)


@given(st.lists(st.sampled_from([LONG, SHORT, QUIET]), min_size=2, max_size=2), st.integers(1, 3))
def test_entries_never_exceed_the_positions_allowed(rows: list[IndicatorRow], allowed: int) -> None:
    """Whatever wants to enter at one boundary."""
    outcome = decide(
        *(item(row, s) for row, s in zip(rows, ("BTC", "ETH"), strict=True)),
        cfg=config(risk={"max_positions": allowed}),
    )
    assert sum(d.intent is not None for d in outcome.decided) <= allowed


# ---------------------------------------------------------------- exits


@pytest.mark.parametrize(("row", "reason"), [(DONE, "mean_reversion_complete"), (STOPPED, "zscore_stop")])
def test_an_exit_closes_the_whole_position_reduce_only(row: IndicatorRow, reason: str) -> None:
    """A taker for the position's size, whatever is paused, killed, stale or late."""
    outcome = decide(
        item(row, position=position(), book=None, view=view(row, provisional=True)),
        now_ms=CLOSE + TF_MS,
        blocks=Blocks(killed="x", pauses=(Pause("all", None),)),
        risk=replace(RISK, equity_usd=None),
    )
    (decided,) = outcome.decided
    intent = decided.intent
    assert intent is not None
    assert (decided.record.action, decided.record.reason, decided.record.side) == (Action.EXIT, reason, Side.LONG)
    assert (intent.order_type, intent.side, intent.size, intent.reduce_only) == (
        OrderType.TAKER,
        OrderSide.SELL,
        Decimal(10),
        True,
    )
    assert (intent.limit_px, intent.expires_ms, intent.reason) == (None, None, reason)


def test_a_closing_order_under_way_is_not_doubled() -> None:
    """The row says so; no second intent."""
    decided = one(DONE, position=position(), live_exit=True)
    assert (decided.intent, decided.record.action) == (None, Action.HOLD)
    assert decided.record.reason == "mean_reversion_complete; a closing order is under way"


def test_an_exit_cancels_the_rest_of_its_entry_order() -> None:
    """A partly filled entry must not fill on."""
    outcome = decide(item(DONE, position=position(), live_entry=entry_order()))
    assert outcome.cancel_cloids == ("0xlive",)
    assert outcome.decided[0].intent is not None


def test_a_missing_candle_decides_nothing_and_says_why() -> None:
    """Neither entry nor exit; the row is stored."""
    decided = one(None, missing="no row of the close within 5 s", position=position())
    assert (decided.intent, decided.record.action, decided.record.close_px) == (None, Action.HOLD, None)
    assert decided.record.reason == "no candle: no row of the close within 5 s"


# ---------------------------------------------------------------- working entry orders


def test_a_working_entry_is_left_while_its_conditions_hold_and_cancelled_when_gone() -> None:
    """cancel_if_signal_gone, the default; opposite conditions are gone as well."""
    kept = decide(item(LONG, live_entry=entry_order()))
    assert (kept.cancel_cloids, kept.decided[0].intent) == ((), None)
    assert kept.decided[0].record.reason == "an entry order is working"
    for row in (QUIET, SHORT, replace(LONG, rsi=None)):
        gone = decide(item(row, live_entry=entry_order()))
        assert (gone.cancel_cloids, gone.decided[0].intent) == (("0xlive",), None)
    off = decide(item(QUIET, live_entry=entry_order()), cfg=config(execution={"cancel_if_signal_gone": False}))
    assert off.cancel_cloids == ()


def test_a_part_filled_entry_loses_its_rest_when_the_conditions_are_gone() -> None:
    """The position stays, the rest of the order goes."""
    outcome = decide(item(QUIET, position=position(), live_entry=entry_order()))
    assert outcome.cancel_cloids == ("0xlive",)
    assert outcome.decided[0].record.action is Action.HOLD
    kept = decide(item(LONG, position=position(), live_entry=entry_order()))
    assert kept.cancel_cloids == ()


# ---------------------------------------------------------------- late, provisional, delayed


def test_a_late_close_decides_exits_only() -> None:
    """Half a candle after the close an entry would be about another market."""
    in_time = decide(item(LONG), now_ms=CLOSE + TF_MS // 2, book_max_age_ms=TF_MS)
    assert in_time.decided[0].intent is not None
    late = decide(item(LONG), now_ms=CLOSE + TF_MS // 2 + 1, book_max_age_ms=TF_MS)
    assert late.decided[0].intent is None
    assert late.decided[0].record.reason.startswith("late: more than half a 15m candle after the close; z -2.10")


def test_a_provisional_candle_holds_entries() -> None:
    """The row is marked."""
    decided = one(LONG, view=view(LONG, provisional=True))
    assert (decided.intent, decided.record.provisional, decided.record.reason) == (None, True, "provisional candle")


def run_delay(rows: list[IndicatorRow], delay: int, *, cancel: bool = True) -> list[tuple[str, bool]]:
    """Decide consecutive closes with a delay; return (reason, sent) of each."""
    cfg = config(execution={"entry_delay_candles": delay, "cancel_if_signal_gone": cancel})
    pending: tuple[PendingEntry, ...] = ()
    seen = []
    for place, row in enumerate(rows):
        close = CLOSE + place * TF_MS
        outcome = decide(item(row, close_ms=close), cfg=cfg, close_ms=close, now_ms=close, pending=pending)
        pending = outcome.pending
        seen.append((outcome.decided[0].record.reason, outcome.decided[0].intent is not None))
    return seen


def test_a_delayed_entry_goes_out_after_its_closes_with_conditions_holding() -> None:
    """d = 2: decided at i, evaluated at i+1 and i+2, sent after i+2."""
    seen = run_delay([LONG, LONG, LONG], 2)
    assert [sent for _, sent in seen] == [False, False, True]
    assert seen[0][0].startswith("long entry delayed: waited 0 of 2 closes")
    assert seen[2][0].endswith("decided 2 closes ago at 2024-10-04T00:00:00Z")


def test_a_delayed_entry_is_dropped_when_its_conditions_are_gone() -> None:
    """And starts anew when they come back; an opposite signal starts the other side."""
    seen = run_delay([LONG, QUIET, LONG, LONG], 1)
    assert [sent for _, sent in seen] == [False, False, False, True]
    assert seen[1][0].startswith("delayed long entry dropped: its conditions no longer hold")
    assert [sent for _, sent in run_delay([LONG, SHORT, SHORT], 1)] == [False, False, True]


def test_without_cancel_if_signal_gone_a_delayed_entry_goes_out_all_the_same() -> None:
    """The setting means what it says."""
    assert [sent for _, sent in run_delay([LONG, QUIET, QUIET], 2, cancel=False)] == [False, False, True]


CROSSED_UP = IndicatorRow(rsi=55.0, atr=1.0, macd_histogram=0.2, macd_histogram_before=-0.1, volume_mean=10.0)
STILL_UP = replace(CROSSED_UP, macd_histogram_before=0.1)
BACK_DOWN = replace(CROSSED_UP, macd_histogram=-0.1, macd_histogram_before=0.2)


def run_macd(rows: list[IndicatorRow | None], delay: int, *, cancel: bool = True) -> list[tuple[str, Decided]]:
    """Decide consecutive closes of macd_cross with a delay, None: no candle; return (reason, outcome) of each."""
    cfg = config(execution={"entry_delay_candles": delay, "cancel_if_signal_gone": cancel})
    strategy = MacdCross(cfg.macd, "15m", 1)
    pending: tuple[PendingEntry, ...] = ()
    seen = []
    for place, row in enumerate(rows):
        close = CLOSE + place * TF_MS
        seen_by = None if row is None else replace(view(row, close_ms=close), bars=512)
        if seen_by is not None:
            seen_by = replace(seen_by, candle=replace(seen_by.candle, close=100.0, volume=12.0))
        made = boundary(item(row, close_ms=close, view=seen_by), close_ms=close, now_ms=close, pending=pending)
        outcome = decide_boundary(cfg, strategy, made)
        pending = outcome.pending
        seen.append((outcome.decided[0].record.reason, outcome.decided[0]))
    return seen


def test_a_delayed_cross_goes_out_while_it_still_stands() -> None:
    """d = 2: crossed at i, still crossed at i+1 and i+2, sent after i+2 with stop and target of that candle."""
    seen = run_macd([CROSSED_UP, STILL_UP, STILL_UP, STILL_UP], 2)
    assert [decided.intent is not None for _, decided in seen] == [False, False, True, False]
    assert seen[1][0].startswith("long entry delayed: waited 1 of 2 closes")
    intent = seen[2][1].intent
    assert intent is not None
    assert (intent.side, intent.stop_px, intent.target_px) == (OrderSide.BUY, 98.0, 104.0)
    assert seen[3][0] == "no cross: histogram +0.1 to +0.2"  # nothing waits any more


@pytest.mark.parametrize("between", [BACK_DOWN, replace(STILL_UP, volume_mean=13.0), None])
def test_a_delayed_cross_is_dropped_when_it_or_its_filters_are_gone(between: IndicatorRow | None) -> None:
    """Also by a missing candle: that it stands again afterwards is no new cross."""
    seen = run_macd([CROSSED_UP, between, STILL_UP, STILL_UP], 2)
    assert [decided.intent is not None for _, decided in seen] == [False] * 4
    kept = run_macd([CROSSED_UP, BACK_DOWN, STILL_UP], 2, cancel=False)
    assert kept[2][1].intent is not None


def test_a_working_entry_of_a_cross_is_kept_while_it_still_stands() -> None:
    """The order that rests at the next close was not sent for one candle."""
    strategy = MacdCross(CONFIG.macd, "15m", 1)

    def at_next_close(row: IndicatorRow) -> BoundaryDecision:
        seen = view(row)
        seen = replace(seen, candle=replace(seen.candle, close=100.0, volume=12.0), bars=512)
        return decide_boundary(CONFIG, strategy, boundary(item(row, view=seen, live_entry=entry_order())))

    assert at_next_close(STILL_UP).cancel_cloids == ()
    assert at_next_close(BACK_DOWN).cancel_cloids == ("0xlive",)


def test_delayed_entries_of_one_boundary_still_share_the_limits() -> None:
    """Two wait, one position is allowed: the first in config order is sent, the other blocked."""
    cfg = config(execution={"entry_delay_candles": 1})
    first = decide(item(LONG, "BTC"), item(LONG, "ETH"), cfg=cfg)
    assert len(first.pending) == 2
    close = CLOSE + TF_MS
    second = decide(
        item(LONG, "BTC", close), item(LONG, "ETH", close), cfg=cfg, close_ms=close, now_ms=close, pending=first.pending
    )
    assert [d.record.action for d in second.decided] == [Action.ENTER, Action.BLOCKED]
    assert second.pending == ()


# ---------------------------------------------------------------- the record


@pytest.mark.slow
@given(
    st.sampled_from([LONG, SHORT, QUIET, DONE, replace(LONG, rsi=math.nan), replace(LONG, adx=None)]),
    st.one_of(st.none(), st.floats()),
    st.one_of(st.none(), st.floats()),
    st.sampled_from(list(Regime)),
    st.booleans(),
)
def test_every_record_is_json_and_no_entry_passes_on_nan(
    row: IndicatorRow, equity: float | None, margin: float | None, regime: Regime, is_held: bool
) -> None:
    """Only finite numbers or None in a row; an entry needs finite equity and margin."""
    outcome = decide(
        item(row, position=position() if is_held else None),
        regime=regime,
        risk=replace(RISK, equity_usd=equity, margin_used_usd=margin),
    )
    record = outcome.decided[0].record
    for part in (record.indicators, record.conditions, record.thresholds, record.account):
        json.dumps(part, allow_nan=False)
    if record.action is Action.ENTER:
        assert regime is not Regime.CRISIS
        assert equity is not None
        assert margin is not None
        assert math.isfinite(equity)
        assert math.isfinite(margin)


def test_latency_and_clock_readings_do_not_enter_the_record() -> None:
    """Decided 0.5 s or 9 s after the close: the same row, another intent time."""
    quick: Boundary = boundary(item(LONG))
    slow = replace(quick, now_ms=CLOSE + 9_000, risk=replace(RISK, now_ms=CLOSE + 9_000))
    first, second = (decide_boundary(CONFIG, STRATEGY, given_).decided[0] for given_ in (quick, slow))
    assert first.record == second.record
    assert first.intent is not None
    assert second.intent is not None
    assert (first.intent.created_ms, second.intent.created_ms) == (CLOSE + 500, CLOSE + 9_000)
