"""What the risk rules remember: transitions, restarts, and the operator's part."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.model import RiskConfig
from perp_bot.core.errors import StoreError
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.types import ClosedTrade, Side
from perp_bot.risk.state import RiskState

RISK = RiskConfig()
DAY = 20_000 * DAY_MS  # 2024-10-04


def trade(net: float, closed_ms: int, *, stopped: bool = False) -> ClosedTrade:
    amount = Decimal(str(net))
    return ClosedTrade(
        "t",
        "BTC",
        Side.LONG,
        Decimal(1),
        Decimal(100),
        Decimal(100),
        closed_ms - 1,
        closed_ms,
        amount,
        Decimal(0),
        Decimal(0),
        amount,
        "capital_stop" if stopped else "mean_reversion_complete",
        "mean_reversion",
        "paper",
        "id",
        stopped,
    )


def started(equity: float = 670.0, at_ms: int = DAY + 1000) -> RiskState:
    return RiskState().on_equity(equity, at_ms, RISK).state


def test_the_first_equity_starts_day_session_and_peak() -> None:
    """Nothing is assumed before the first equity is known."""
    state = started()
    assert (state.day_start_ms, state.day_start_equity_usd) == (DAY, 670.0)
    assert (state.session_peak_usd, state.peak_usd, state.session_start_ms) == (670.0, 670.0, DAY + 1000)


def test_a_fall_of_five_percent_from_the_sessions_peak_pauses_at_exactly_the_limit() -> None:
    """636.51 is above the limit of a 670 peak, 636.50 is on it."""
    assert not started().on_equity(636.51, DAY + 2000, RISK).state.session_paused
    step = started().on_equity(636.5, DAY + 2000, RISK)
    assert step.state.session_paused
    assert step.notes == (
        "entries paused: equity 636.50 is 5 % below the session's peak of 670.00, limit 5 %; the operator must resume",
    )


def test_a_session_pause_stays_until_the_operator_resumes() -> None:
    """Recovery and days do not lift it; the operator's resume begins a session with the equity as peak."""
    paused = started().on_equity(630.0, DAY + 2000, RISK).state
    recovered = paused.on_equity(700.0, DAY + 2 * DAY_MS, RISK).state
    assert recovered.session_paused
    resumed = recovered.on_operator_resume(DAY + 3 * DAY_MS, 690.0)
    assert not resumed.state.session_paused
    assert resumed.state.session_peak_usd == 690.0
    assert resumed.state.session_start_ms == DAY + 3 * DAY_MS
    assert resumed.state.peak_usd == 700.0
    assert resumed.notes == ("a new session begins with a peak of 690.00",)


def test_an_ordinary_resume_does_not_end_a_session() -> None:
    """Without a drawdown pause the session, its peak and the daily numbers go on."""
    state = started().on_equity(650.0, DAY + 2000, RISK).state
    assert state.on_operator_resume(DAY + 3000, 650.0).state == state


def test_the_maximum_drawdown_pauses_and_the_operator_accepts_it() -> None:
    """25 % from the highest equity; resuming measures from the present equity, and does not pause again at once."""
    state = started().on_equity(502.5, DAY + 2000, RISK).state
    assert state.drawdown_paused
    assert state.session_paused
    resumed = state.on_operator_resume(DAY + 3000, 502.5).state
    again = resumed.on_equity(502.5, DAY + 4000, RISK)
    assert (again.state.drawdown_paused, again.state.session_paused, again.notes) == (False, False, ())
    assert again.state.peak_usd == 502.5


def test_a_resume_without_known_equity_lifts_nothing() -> None:
    """NaN cannot become a peak that nothing ever falls from."""
    state = started().on_equity(600.0, DAY + 2000, RISK).state
    step = state.on_operator_resume(DAY + 3000, math.nan)
    assert step.state == state
    assert step.notes == ("not resumed from the drawdown pauses: the equity is not known",)


def test_nan_equity_changes_nothing_and_is_reported() -> None:
    """A NaN equity must not silently pass the limits."""
    step = started().on_equity(math.nan, DAY + 2000, RISK)
    assert step.state == started()
    assert step.notes == ("equity is nan: limits not evaluated",)


def test_a_new_day_starts_with_the_last_known_equity() -> None:
    """Day-start equity is that of midnight UTC, not of the first tick after it."""
    state = started().on_trade_closed(trade(-10, DAY + 5000), RISK).state.on_equity(660.0, DAY + 6000, RISK).state
    step = state.on_day_rollover(DAY + DAY_MS)
    assert step.state.day_start_ms == DAY + DAY_MS
    assert step.state.day_start_equity_usd == 660.0
    assert step.state.day_realized_net_usd == 0.0
    assert step.notes == ("a new UTC day begins at 2024-10-05T00:00:00Z, day-start equity 660.00",)
    assert step.state.on_day_rollover(DAY + DAY_MS + 5).state is step.state


def test_a_trade_that_closes_after_midnight_rolls_the_day_first() -> None:
    """Its loss belongs to the new day even when no equity came in between."""
    state = started().on_trade_closed(trade(-10, DAY + 5000), RISK).state
    after = state.on_trade_closed(trade(-3, DAY + DAY_MS + 1), RISK).state
    assert (after.day_start_ms, after.day_realized_net_usd) == (DAY + DAY_MS, -3.0)


def test_a_late_report_of_yesterdays_trade_does_not_count_today() -> None:
    """Days are never rolled backwards."""
    today = started(at_ms=DAY + DAY_MS + 1000)
    assert today.on_trade_closed(trade(-50, DAY + 5000), RISK).state.day_realized_net_usd == 0.0


def test_any_stop_starts_the_cooldown_and_a_longer_one_is_kept() -> None:
    """1,800 s by the venue's clock from the stop; an earlier stop reported later shortens nothing."""
    step = started().on_trade_closed(trade(-20, DAY + 10_000, stopped=True), RISK)
    assert step.state.cooldown_until_ms == DAY + 10_000 + 1_800_000
    assert step.notes == ("cooldown until 2024-10-04T00:30:10Z after a stop (1800 s)",)
    assert step.state.on_stop(DAY + 5000, RISK).state == step.state
    plain = started().on_trade_closed(trade(-20, DAY + 10_000), RISK).state
    assert plain.cooldown_until_ms is None


usd = st.floats(-1e9, 1e9, allow_nan=False)
maybe_usd = st.one_of(st.none(), usd)
maybe_ms = st.one_of(st.none(), st.integers(0, 4_000_000_000_000))
states = st.builds(
    RiskState,
    day_start_ms=maybe_ms,
    day_start_equity_usd=maybe_usd,
    day_realized_net_usd=usd,
    last_equity_usd=maybe_usd,
    session_start_ms=maybe_ms,
    session_peak_usd=maybe_usd,
    session_paused=st.booleans(),
    peak_usd=maybe_usd,
    drawdown_paused=st.booleans(),
    cooldown_until_ms=maybe_ms,
)


@given(states)
def test_a_restart_restores_the_identical_state(state: RiskState) -> None:
    """I12: through JSON text and back nothing changes."""
    assert RiskState.from_json(json.loads(json.dumps(state.to_json()))) == state


steps = st.lists(
    st.one_of(
        st.tuples(st.just("equity"), st.floats(1, 2000), st.integers(0, 3 * DAY_MS)),
        st.tuples(st.just("trade"), st.floats(-100, 100), st.integers(0, 3 * DAY_MS)),
        st.tuples(st.just("stop"), st.floats(-100, 0), st.integers(0, 3 * DAY_MS)),
    ),
    max_size=20,
)


@given(steps, st.integers(0, 20))
def test_limits_are_the_same_whether_or_not_the_process_restarts_midway(
    events: list[tuple[str, float, int]], restart_at: int
) -> None:
    """I12: a state stored and read back at any point ends where the uninterrupted one ends."""
    straight, restarted = RiskState(), RiskState()
    for place, (kind, amount, after_ms) in enumerate(sorted(events, key=lambda item: item[2])):
        if place == restart_at:
            restarted = RiskState.from_json(json.loads(json.dumps(restarted.to_json())))
        at = DAY + after_ms
        if kind == "equity":
            straight = straight.on_equity(amount, at, RISK).state
            restarted = restarted.on_equity(amount, at, RISK).state
        else:
            closed = trade(round(amount, 2), at, stopped=kind == "stop")
            straight = straight.on_trade_closed(closed, RISK).state
            restarted = restarted.on_trade_closed(closed, RISK).state
    assert straight == restarted


@given(st.lists(st.floats(1, 2000), min_size=1, max_size=30))
def test_once_paused_only_the_operator_unpauses(equities: list[float]) -> None:
    """Whatever equity does, a pause is never lifted by it, and the peak never falls."""
    state, was_paused, peak = RiskState(), False, 0.0
    for place, equity in enumerate(equities):
        state = state.on_equity(equity, DAY + place, RISK).state
        assert state.session_paused or not was_paused
        assert state.session_peak_usd is not None
        assert state.session_peak_usd >= peak
        was_paused, peak = state.session_paused, state.session_peak_usd


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("session_paused", 1),
        ("peak_usd", "670"),
        ("day_start_ms", 1.5),
        ("cooldown_until_ms", True),
        ("day_realized_net_usd", None),
        ("peak_usd", math.nan),
    ],
)
def test_a_damaged_state_is_refused_not_guessed(key: str, value: object) -> None:
    """Limits are never made up from a broken row."""
    with pytest.raises(StoreError, match=key):
        RiskState.from_json({key: value})
