"""Limits with numerator, denominator and window; the gate with every reason."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perp_bot.config.model import Config
from perp_bot.core.timeframes import DAY_MS, week_of
from perp_bot.core.types import ClosedTrade, GateReason, Instrument, Regime, Side
from perp_bot.ipc.state import LimitState
from perp_bot.risk.limits import LimitUse, RiskView, limits, losing_weeks, weekly_nets
from perp_bot.risk.manager import Blocks, EntryRequest, Pause, gate
from perp_bot.risk.state import RiskState

CONFIG = Config()
NOW = 20_000 * DAY_MS + 3_600_000
BTC = Instrument("BTC", 0, 5, 40)
STATE = RiskState(
    day_start_ms=20_000 * DAY_MS,
    day_start_equity_usd=670.0,
    last_equity_usd=670.0,
    session_start_ms=0,
    session_peak_usd=670.0,
    peak_usd=670.0,
)
VIEW = RiskView(now_ms=NOW, state=STATE, equity_usd=670.0)
REQUEST = EntryRequest("BTC", "mean_reversion", Regime.NORMAL, False, BTC, 1005.0)
FREE = Blocks()


def reasons(view: RiskView = VIEW, blocks: Blocks = FREE, request: EntryRequest = REQUEST) -> dict[str, str]:
    return {reason.rule: reason.text for reason in gate(CONFIG, view, blocks, request)}


def use(name: str, view: RiskView) -> LimitUse:
    return next(item for item in limits(CONFIG, view) if item.name == name)


def test_nothing_forbids_an_ordinary_entry() -> None:
    """The gate is open by default."""
    assert reasons() == {}


def test_a_strategys_own_limit_of_entries_a_day() -> None:
    """Reached is enough; below it, or without one, nothing is said."""
    limited = replace(REQUEST, strategy="macd_cross", max_trades_per_day=10)
    assert reasons(replace(VIEW, entries_today=9), request=limited) == {}
    at = replace(VIEW, entries_today=10)
    assert reasons(at, request=limited) == {"max_trades_per_day": "10 of 10 entries of macd_cross this UTC day"}
    assert reasons(at) == {}


def test_limit_use_has_the_fields_of_the_state_protocol() -> None:
    """The screen shows what the gate measured, field by field."""
    assert tuple(item.name for item in fields(LimitUse)) == LimitState.__struct_fields__
    names = ["daily_loss", "session_drawdown", "max_drawdown", "positions", "cooldown", "losing_weeks", "margin"]
    assert [item.name for item in limits(CONFIG, VIEW)] == names


def test_the_daily_loss_is_stated_with_numerator_denominator_and_window() -> None:
    """Realized net of the UTC day over day-start equity."""
    view = replace(VIEW, state=replace(STATE, day_realized_net_usd=-14.07))
    found = use("daily_loss", view)
    assert found.text == ("lost 2.1 % of 670.00 day-start equity, limit 8 % (realized net -14.07 on 2024-10-04 UTC)")
    assert found.used == pytest.approx(0.021)
    assert not found.breached
    assert reasons(view) == {}


def test_the_daily_loss_limit_blocks_at_exactly_eight_percent() -> None:
    """53.60 of 670 is the limit; a gain never uses it."""
    assert "daily_loss_limit" in reasons(replace(VIEW, state=replace(STATE, day_realized_net_usd=-53.6)))
    assert reasons(replace(VIEW, state=replace(STATE, day_realized_net_usd=-53.59))) == {}
    assert use("daily_loss", replace(VIEW, state=replace(STATE, day_realized_net_usd=99.0))).used == 0.0


def test_a_drawdown_blocks_by_its_number_and_by_its_pause() -> None:
    """The fall itself blocks before the pause is stored, the pause blocks after a recovery."""
    fallen = reasons(replace(VIEW, equity_usd=630.0))
    assert fallen == {
        "session_drawdown": "equity 630.00 is 5.97 % below the session's peak of 670.00, limit 5 %",
    }
    paused = reasons(replace(VIEW, state=replace(STATE, drawdown_paused=True)))
    assert paused == {
        "max_drawdown": "equity 670.00 is 0 % below the highest equity of 670.00, limit 25 %; "
        "paused until the operator resumes",
    }


def test_positions_count_open_ones_and_entries_under_way() -> None:
    """An entry order takes its place before it fills."""
    assert reasons(replace(VIEW, open_symbols=("ETH",))) == {"max_positions": "1 of 1 positions taken (ETH)"}
    assert reasons(replace(VIEW, entry_symbols=("ETH",))) == {"max_positions": "1 of 1 positions taken (ETH entering)"}


def test_the_cooldown_ends_at_its_time() -> None:
    """Blocked one ms before, free at it."""
    state = replace(STATE, cooldown_until_ms=NOW)
    assert reasons(replace(VIEW, state=state)) == {}
    blocked = replace(VIEW, state=state, now_ms=NOW - 1)
    assert reasons(blocked) == {"cooldown": "cooldown until 2024-10-04T01:00:00Z after a stop (1800 s)"}
    assert use("cooldown", blocked).used == 0.001


def test_force_overrides_the_losing_weeks_halt_and_nothing_else() -> None:
    """Three finished losing weeks halt; --force lifts only that."""
    halted = replace(VIEW, losing_weeks=3, state=replace(STATE, session_paused=True, cooldown_until_ms=NOW + 1))
    assert set(reasons(halted)) == {"losing_weeks", "session_drawdown", "cooldown"}
    assert set(reasons(replace(halted, force=True))) == {"session_drawdown", "cooldown"}
    assert reasons(replace(VIEW, losing_weeks=2)) == {}


def test_margin_counts_what_is_open() -> None:
    """335 USD of margin may be in use; the entry of the defaults needs all of it."""
    found = gate(CONFIG, replace(VIEW, margin_used_usd=10.0), FREE, REQUEST)
    assert found == (
        GateReason("margin_limit", "margin 10.00 in use + 335.00 for this entry is above 335.00 (0.5 of capital)"),
    )
    assert set(reasons(replace(VIEW, margin_used_usd=None))) == {"margin_limit"}
    assert set(reasons(replace(VIEW, margin_used_usd=math.nan))) == {"margin_limit"}


def test_an_account_too_small_for_the_margin_is_refused() -> None:
    """The venue would answer `Insufficient margin`; we say so first."""
    poor = replace(VIEW, equity_usd=300.0, state=replace(STATE, session_peak_usd=300.0, peak_usd=300.0))
    assert set(reasons(poor)) == {"insufficient_margin"}


@pytest.mark.parametrize("equity", [None, math.nan, math.inf, 0.0, -5.0])
def test_without_a_usable_equity_nothing_is_entered(equity: float | None) -> None:
    """A missing or NaN equity compares with nothing: it blocks."""
    assert "equity_unknown" in reasons(replace(VIEW, equity_usd=equity))


def test_latch_pauses_and_degraded_states_block() -> None:
    """Each with its own sentence; a pause only in its scope."""
    blocks = Blocks(
        killed="by cli: testing",
        pauses=(
            Pause("all", None, "lunch"),
            Pause("symbol", "ETH"),
            Pause("symbol", "BTC"),
            Pause("strategy", "mean_reversion"),
            Pause("strategy", "other"),
        ),
        degraded=(GateReason("stale_stream", "no message for 12 s"),),
    )
    assert [reason.text for reason in gate(CONFIG, VIEW, blocks, REQUEST)] == [
        "the kill latch is set: by cli: testing",
        "everything is paused by the operator: lunch",
        "symbol BTC is paused by the operator",
        "strategy mean_reversion is paused by the operator",
        "no message for 12 s",
    ]


def test_a_degraded_state_of_one_coin_blocks_that_coin_alone() -> None:
    """Its leverage at the venue is another: the others trade on."""
    own = GateReason("leverage", "BTC: leverage 7 at the venue, 3 is configured")
    assert gate(CONFIG, VIEW, Blocks(coins=(("BTC", own), ("ETH", own))), REQUEST) == (own,)
    assert gate(CONFIG, VIEW, Blocks(coins=(("ETH", own),)), REQUEST) == ()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"provisional": True}, "provisional"),
        ({"instrument": None}, "unlisted"),
        ({"instrument": replace(BTC, is_delisted=True)}, "delisted"),
        ({"instrument": replace(BTC, max_leverage=2)}, "leverage"),
        ({"regime": Regime.CRISIS}, "regime"),
    ],
)
def test_the_market_side_of_the_gate(change: dict[str, object], rule: str) -> None:
    """Provisional candle, unknown or delisted coin, leverage above the venue's, crisis."""
    assert set(reasons(request=replace(REQUEST, **change))) == {rule}  # type: ignore[arg-type]


def test_all_reasons_are_given_not_only_the_first() -> None:
    """The journal names everything that forbade the entry."""
    view = replace(VIEW, open_symbols=("ETH",), state=replace(STATE, cooldown_until_ms=NOW + 5, session_paused=True))
    found = reasons(view, Blocks(killed="x"), replace(REQUEST, provisional=True))
    assert set(found) == {"killed", "provisional", "max_positions", "cooldown", "session_drawdown"}


@given(
    st.builds(
        RiskView,
        now_ms=st.integers(0, 4_000_000_000_000),
        state=st.just(STATE),
        equity_usd=st.one_of(st.none(), st.floats()),
        open_symbols=st.lists(st.sampled_from(["BTC", "ETH"]), unique=True, max_size=2).map(tuple),
        margin_used_usd=st.one_of(st.none(), st.floats()),
        losing_weeks=st.integers(0, 10),
        force=st.booleans(),
    )
)
def test_every_breached_limit_blocks_and_no_nan_slips_through(view: RiskView) -> None:
    """Whatever the numbers: a breached limit is a reason, and an entry passes only on finite equity and margin."""
    found = gate(CONFIG, view, FREE, REQUEST)
    breached = [item for item in limits(CONFIG, view) if item.breached]
    assert len(breached) <= len(found)
    if not found:
        assert view.equity_usd is not None
        assert math.isfinite(view.equity_usd)
        assert view.margin_used_usd is not None
        assert math.isfinite(view.margin_used_usd)
        assert not view.open_symbols


WEEK = 7 * DAY_MS
THIS_WEEK = week_of(NOW)


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        ({}, 0),
        ({-1: -5.0, -2: -5.0, -3: -5.0}, 3),
        ({-1: -5.0, -3: -5.0, -7: -5.0}, 3),  # weeks without trades neither add nor break
        ({-1: -5.0, -2: 1.0, -3: -5.0, -4: -5.0}, 1),
        ({-1: -5.0, -2: 0.0, -3: -5.0}, 1),  # nothing lost: breaks
        ({0: -50.0, -1: -5.0, -2: -5.0}, 2),  # the running week does not add
        ({0: 50.0, -1: -5.0, -2: -5.0, -3: -1.0}, 3),  # nor break
        ({-1: 3.0, -2: -5.0, -3: -5.0, -4: -5.0}, 0),
    ],
)
def test_losing_weeks_are_consecutive_finished_weeks_with_trades(nets: dict[int, float], expected: int) -> None:
    """Counted back from the last finished calendar week."""
    assert losing_weeks({THIS_WEEK + offset * WEEK: net for offset, net in nets.items()}, NOW) == expected


def test_weekly_nets_are_by_the_monday_of_the_close() -> None:
    """Sunday 23:59:59.999 and Monday 00:00 are different weeks."""

    def closed(at_ms: int, net: str) -> ClosedTrade:
        one, zero = Decimal(1), Decimal(0)
        amount = Decimal(net)
        return ClosedTrade(
            "t", "BTC", Side.LONG, one, one, one, 0, at_ms, amount, zero, zero, amount, "r", "s", "paper", "d", False
        )

    found = weekly_nets([closed(THIS_WEEK - 1, "-2.5"), closed(THIS_WEEK, "1.5"), closed(THIS_WEEK + 5, "-0.25")])
    assert found == {THIS_WEEK - WEEK: -2.5, THIS_WEEK: 1.25}
