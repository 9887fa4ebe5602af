"""What docs/backtest.md says of fills, stops, funding and limits, one by one, in both engines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from market_rig import QUARTER, START, Script, coin, config_with, flat, market_of, regimes_of, simulate

from perp_bot.backtest.market import Minutes
from perp_bot.backtest.results import BacktestResult, SimulatedTrade
from perp_bot.core.timeframes import HOUR_MS, MINUTE_MS
from perp_bot.core.types import MarginTier, Side

LONG, SHORT = Side.LONG, Side.SHORT
EXACT: dict[str, Any] = {"backtest__slippage_min_pct": 0.0, "backtest__slippage_max_pct": 0.0}  # due price = fill price
RICH: dict[str, Any] = {"risk__session_drawdown_pct": 1.0, "risk__daily_loss_limit_pct": 1.0, "risk__losing_weeks": 99}

pytestmark = pytest.mark.parametrize("engine", ["kernel", "plain"])


def only(result: BacktestResult) -> SimulatedTrade:
    """Return the one trade."""
    (trade,) = result.trades.rows()
    return trade


def after(bar: int) -> int:
    """Return the open of the bar after `bar`: where what was decided at its close is due."""
    return START + (bar + 1) * QUARTER


# ---------------------------------------------------------------- entries


def test_decided_on_the_close_and_filled_at_the_next_open(engine: str) -> None:
    """An entry at the close of bar 2 pays the open of bar 3, slipped, on the tick above, with the taker's fee."""
    rows = [*flat(3), (102, 102, 102, 102), *flat(4, 102)]
    trade = only(simulate(market_of(coin(rows)), Script({2: LONG}, {5: False}), config_with(), engine))
    assert (trade.decided_ms, trade.opened_ms, trade.closed_ms) == (after(2), after(2), after(5))
    assert 102 * 1.0001 <= trade.entry_px <= 102 * 1.0005 + 0.001
    assert trade.entry_px == round(trade.entry_px, 2)  # five figures at 102: a tick of 0.01
    assert trade.size == math.floor(1005 / 100 * 100) / 100  # sized at the decision's close of 100
    fees = 0.00045 * trade.size * (trade.entry_px + trade.exit_px)
    assert trade.fees_usd == pytest.approx(fees, abs=2e-8)
    assert trade.slippage_usd == pytest.approx(trade.size * (trade.entry_px - 102 + 102 - trade.exit_px), abs=1e-9)
    assert trade.gross_usd == pytest.approx(trade.size * (trade.exit_px - trade.entry_px), abs=1e-9)
    assert trade.net_usd == pytest.approx(trade.gross_usd - trade.fees_usd + trade.funding_usd, abs=1e-9)


def test_a_limit_without_a_fine_path_is_the_taker_fallback(engine: str) -> None:
    """Where no stored data tells whether the limit was traded through, the entry takes: its price and its fee."""
    trade = only(
        simulate(
            market_of(coin(flat(8))), Script({2: LONG}, {5: False}), config_with(execution__order_type="limit"), engine
        )
    )
    assert not trade.entry_is_maker
    assert trade.entry_px > 100


def minutes_path(*inside: tuple[int, tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """Return the minutes of eight bars at 100, some replaced."""
    rows = flat(8 * 15)
    for minute, row in inside:
        rows[minute] = row
    return rows


WAITS_TWO_MINUTES = config_with(execution__taker_fallback_seconds=120.0, **EXACT)


def test_a_limit_fills_only_when_traded_through(engine: str) -> None:
    """A minute that only touches the limit leaves it; one that goes below fills it as maker, at the limit."""
    bar = [*flat(3), (100, 100, 99.9, 100), *flat(4)]
    touched = minutes_path((45, (100, 100, 100, 100)), (46, (100, 100, 99.9, 100)))
    trade = only(simulate(market_of(coin(bar, fine=touched)), Script({2: LONG}, {5: False}), WAITS_TWO_MINUTES, engine))
    assert trade.entry_is_maker
    assert trade.entry_px == 100
    assert trade.opened_ms == after(2) + 2 * MINUTE_MS - 1
    assert trade.fees_usd == pytest.approx(100 * trade.size * (0.00015 + 0.00045), abs=2e-8)


def test_a_limit_that_is_not_filled_in_time_takes_the_next_minute(engine: str) -> None:
    """Not traded through within 120 s: it takes at the open of minute 2, although minute 3 would have filled it."""
    bar = [*flat(3), (100, 100.5, 99, 100), *flat(4)]
    path = minutes_path((47, (100.4, 100.5, 100.3, 100.4)), (48, (100, 100, 99, 100)))
    trade = only(simulate(market_of(coin(bar, fine=path)), Script({2: LONG}, {5: False}), WAITS_TWO_MINUTES, engine))
    assert not trade.entry_is_maker
    assert (trade.entry_px, trade.opened_ms) == (100.4, after(2) + 2 * MINUTE_MS)


def test_an_entry_into_a_missing_candle_is_given_up(engine: str) -> None:
    """Nobody is there to fill it, and no later price is taken for it."""
    rows: list[Any] = [*flat(3), None, *flat(6)]
    assert len(simulate(market_of(coin(rows)), Script({2: LONG}, {6: False}), config_with(), engine).trades) == 0


def test_nothing_is_decided_on_a_missing_candle(engine: str) -> None:
    """A position survives the hole; an exit that was due there waits for the next open."""
    rows: list[Any] = [*flat(4), None, *flat(6, 101)]
    trade = only(simulate(market_of(coin(rows)), Script({1: LONG}, {3: False, 4: False}), config_with(**EXACT), engine))
    assert (trade.closed_ms, trade.exit_px) == (after(4), 101)


def test_a_delayed_entry_is_looked_at_again_and_sent_later(engine: str) -> None:
    """Delay 2: decided at bar 2, seen at 3 and 4, sent at the open of bar 5; dropped when gone in between."""
    config = config_with(execution__entry_delay_candles=2, **EXACT)
    kept = Script({2: LONG, 3: LONG, 4: LONG}, {6: False})
    assert only(simulate(market_of(coin(flat(9))), kept, config, engine)).opened_ms == after(4)
    gone = Script({2: LONG, 4: LONG}, {6: False})
    assert len(simulate(market_of(coin(flat(7))), gone, config, engine).trades) == 0


def test_below_ten_usd_and_below_a_lot_nothing_is_sent(engine: str) -> None:
    """The venue's minimum and lot hold as live, and are counted."""
    small = config_with(trading__capital_usd=6.0)  # 9 USD of notional
    result = simulate(market_of(coin(flat(6))), Script({2: LONG}), small, engine)
    assert (len(result.trades), result.blocked) == (0, {"size": 1})
    dear = simulate(market_of(coin(flat(6, 50_000), sz_decimals=0)), Script({2: LONG}), config_with(), engine)
    assert dear.blocked == {"size": 1}


# ---------------------------------------------------------------- stops, targets, timeouts

CLOSE_STOP = Script({2: LONG}, {9: False}, stop_px=99.0)


def stopped(rows: list[Any], script: Script, engine: str, **settings: Any) -> SimulatedTrade:
    """Return the trade of a script on rows, without slippage."""
    return only(simulate(market_of(coin(rows)), script, config_with(**EXACT, **settings), engine))


def test_a_stop_inside_a_bar_fills_at_its_price(engine: str) -> None:
    """Low 98.5 with a stop at 99: out at 99, at the last ms of the bar."""
    rows = [*flat(4), (100, 100, 98.5, 100), *flat(6)]
    trade = stopped(rows, CLOSE_STOP, engine)
    assert (trade.exit_px, trade.closed_ms, trade.stop_px) == (99, after(4) - 1, 99)


def test_the_capital_stop_comes_from_the_real_fill(engine: str) -> None:
    """3 % of 670 USD on 10.05 coins bought at 102: 2 USD below, rounded inward."""
    rows = [*flat(3), *flat(2, 102), (102, 102, 99, 102), *flat(4, 102)]
    trade = stopped(rows, Script({2: LONG}, {8: False}), engine)
    assert trade.stop_px == trade.exit_px == 100
    assert trade.exit_reason == "capital_stop"


def test_a_gap_through_the_stop_fills_at_the_open(engine: str) -> None:
    """Opened at 97 below a stop of 99: 97 is what there was."""
    rows = [*flat(4), (97, 97.5, 96, 97), *flat(6, 97)]
    assert stopped(rows, CLOSE_STOP, engine).exit_px == 97


def test_the_stop_comes_before_the_target_within_a_bar(engine: str) -> None:
    """Both were touched and nobody knows in which order: the worse one counts."""
    rows = [*flat(4), (100, 103, 98, 100), *flat(6)]
    trade = stopped(rows, Script({2: LONG}, {9: False}, stop_px=99.0, target_px=102.0), engine)
    assert trade.exit_px == 99


def test_a_target_fills_at_its_price_or_at_the_better_open(engine: str) -> None:
    """Reached inside: 102; opened beyond it: the open."""
    script = Script({2: LONG}, {9: False}, target_px=102.0)
    inside = stopped([*flat(4), (100, 103, 100, 103), *flat(6, 103)], script, engine)
    assert (inside.exit_px, inside.exit_reason) == (102, "target")
    beyond = stopped([*flat(4), (104, 104, 104, 104), *flat(6, 104)], script, engine)
    assert (beyond.exit_px, beyond.exit_reason) == (104, "target")


def test_an_exit_due_at_the_open_precedes_a_stop_on_the_same_bar(engine: str) -> None:
    """The order is in the market when the bar begins: it fills at 100, whatever the low does later."""
    rows = [*flat(5), (100, 100, 90, 95), *flat(5, 95)]
    trade = stopped(rows, Script({2: LONG}, {4: False}, stop_px=99.0), engine)
    assert (trade.exit_px, trade.exit_reason) == (100, "done")


def test_a_short_is_the_mirror(engine: str) -> None:
    """High 101.5 with a stop at 101: out at 101; gross is negative."""
    rows = [*flat(4), (100, 101.5, 100, 100), *flat(6)]
    trade = stopped(rows, Script({2: SHORT}, {9: False}, stop_px=101.0), engine)
    assert (trade.side, trade.exit_px) == ("short", 101)
    assert trade.gross_usd == pytest.approx(-trade.size)


def test_the_finest_path_decides_what_came_first(engine: str) -> None:
    """The bar touched both; its minutes say that the target was first."""
    bar = [*flat(4), (100, 103, 98, 100), *flat(6)]
    path = flat(11 * 15)
    path[60 + 3] = (100, 103, 100, 101)
    path[60 + 9] = (101, 101, 98, 100)
    market = market_of(coin(bar, fine=path))
    script = Script({2: LONG}, {9: False}, stop_px=99.0, target_px=102.0)
    trade = only(simulate(market, script, config_with(**EXACT), engine))
    assert (trade.exit_px, trade.closed_ms) == (102, after(3) + 4 * MINUTE_MS - 1)


def marks(bars: int, spike: tuple[int, float, float]) -> Minutes:
    """Return recorded marks at 100, with one minute's low and high replaced."""
    n = bars * 15
    low, high, level = np.full(n, 100.0), np.full(n, 100.0), np.full(n, 100.0)
    low[spike[0]], high[spike[0]] = spike[1], spike[2]
    times = START + np.arange(n, dtype=np.int64) * MINUTE_MS
    return Minutes(times, level, high, low, level, np.full(n, 100.5), np.full(n, 100.5))


def test_stops_trigger_on_the_mark_where_it_is_recorded(engine: str) -> None:
    """A candle's low that the mark did not see stops nothing; a mark's spike does, at the price that traded."""
    dip = [*flat(4), (100, 100, 98, 100), *flat(6)]
    quiet = market_of(coin(dip, minutes=marks(11, (0, 100.0, 100.0))))
    assert only(simulate(quiet, CLOSE_STOP, config_with(**EXACT), engine)).exit_reason == "done"
    spiked = market_of(coin(flat(11), fine=flat(11 * 15), minutes=marks(11, (66, 98.0, 100.0))))
    trade = only(simulate(spiked, CLOSE_STOP, config_with(**EXACT), engine))
    assert (trade.closed_ms, trade.exit_px) == (START + 67 * MINUTE_MS - 1, 100)


def test_a_timeout_closes_at_the_first_open_after_it(engine: str) -> None:
    """24 hours at the default; an hour and ten minutes falls into a bar and waits for the next open."""
    trade = stopped(flat(12), Script({2: LONG}), engine, risk__position_timeout_hours=70 / 60)
    assert (trade.exit_reason, trade.closed_ms) == ("timeout", after(2) + 5 * QUARTER)
    fine = market_of(coin(flat(12), fine=flat(12 * 15)))
    config = config_with(risk__position_timeout_hours=70 / 60, execution__order_type="taker", **EXACT)
    assert only(simulate(fine, Script({2: LONG}), config, engine)).closed_ms == after(2) + 70 * MINUTE_MS


# ---------------------------------------------------------------- funding, liquidation


def test_funding_is_paid_at_the_hours_held_on_the_oracle(engine: str) -> None:
    """Open from 00:45 to 02:00 inclusive: hours 1 and 2, rate x oracle x size, a long pays; 0 and 3 do not count."""
    rates = {0: 1.0, 1: 0.0001, 2: -0.0003, 3: 1.0}
    market = market_of(coin(flat(16), rates=rates, minutes=marks(16, (0, 100.0, 100.0)), fine=flat(16 * 15)))
    trade = only(simulate(market, Script({2: LONG}, {7: False}), config_with(**EXACT), engine))
    assert trade.closed_ms == START + 2 * HOUR_MS
    assert trade.funding_usd == pytest.approx(-trade.size * 100.5 * (0.0001 - 0.0003), abs=2e-8)
    short = only(simulate(market, Script({2: SHORT}, {7: False}), config_with(**EXACT), engine))
    assert short.funding_usd == pytest.approx(short.size * 100.5 * (0.0001 - 0.0003), abs=2e-8)


def test_an_hour_without_a_rate_books_nothing_and_is_counted(engine: str) -> None:
    """Hour 2 is not stored: 0 is not invented for it, it is named."""
    result = simulate(
        market_of(coin(flat(16), rates={1: 0.0001})), Script({2: LONG}, {10: False}), config_with(), engine
    )
    trade = only(result)
    assert (trade.missing_funding_hours, result.missing_funding_hours) == (1, 1)
    assert trade.funding_usd == pytest.approx(-trade.size * 100 * 0.0001, abs=2e-8)
    assert any("without a known funding rate" in note for note in result.notes)


DEEP = config_with(
    trading__leverage=10, trading__margin_usage_limit=0.9, risk__max_loss_per_trade_pct=0.99, **RICH, **EXACT,
    risk__max_drawdown_pct=1.0,
)  # fmt: skip


def test_a_gap_beyond_the_liquidation_price_liquidates_and_never_owes(engine: str) -> None:
    """6,030 USD of notional on 670: the open 60 % lower is worse than bankrupt, and the account ends at 0."""
    rows = [*flat(4), (40, 40, 40, 40), *flat(6, 40)]
    script = Script({2: LONG, 8: LONG}, {9: False}, stop_px=95.0)
    result = simulate(market_of(coin(rows, max_leverage=40)), script, DEEP, engine)
    trade = only(result)
    assert trade.exit_reason == "liquidation"
    assert result.equity_usd[-1] == pytest.approx(0, abs=1e-6)
    assert "equity_unknown" in result.blocked


def test_higher_margin_tiers_liquidate_sooner(engine: str) -> None:
    """From 3,000 USD on the tier allows 3x only: a move of 8 % that the first tier survives ends the position."""
    rows = [*flat(4), (92, 92, 92, 92), *flat(6, 92)]
    script = Script({2: LONG}, {9: False}, stop_px=90.5)
    flat_tier = simulate(market_of(coin(rows, max_leverage=40)), script, DEEP, engine)
    assert only(flat_tier).exit_reason == "done"
    tiers = (MarginTier(0, 40), MarginTier(3_000, 3))
    assert only(simulate(market_of(coin(rows, tiers=tiers)), script, DEEP, engine)).exit_reason == "liquidation"


def test_a_stop_beyond_the_liquidation_price_is_refused(engine: str) -> None:
    """The daemon's own check, before the entry."""
    config = config_with(trading__leverage=40, trading__margin_usage_limit=0.99, risk__max_loss_per_trade_pct=0.99)
    result = simulate(market_of(coin(flat(6))), Script({2: LONG}), config, engine)
    assert result.blocked == {"stop_beyond_liquidation": 1}


# ---------------------------------------------------------------- account, limits


def test_a_stop_starts_the_cooldown(engine: str) -> None:
    """Stopped in bar 4; entries at the closes of bars 4 and 5 are within 30 minutes, bar 6's is not."""
    rows = [*flat(4), (100, 100, 98.5, 100), *flat(9)]
    script = Script({2: LONG, 4: LONG, 5: LONG, 6: LONG}, {10: False}, stop_px=99.0)
    result = simulate(market_of(coin(rows)), script, config_with(**EXACT), engine)
    assert result.blocked == {"cooldown": 2}
    assert [row.opened_ms for row in result.trades.rows()] == [after(2), after(6)]


def test_a_strategys_own_stop_starts_it_too_and_an_ordinary_exit_does_not(engine: str) -> None:
    """zscore_stop is a stop."""
    for own, blocked in ((True, {"cooldown": 1}), (False, {})):
        script = Script({2: LONG, 4: LONG}, {3: own, 8: False})
        assert simulate(market_of(coin(flat(12))), script, config_with(), engine).blocked == blocked


def test_the_daily_loss_ends_with_the_day(engine: str) -> None:
    """A loss of 3 % with a limit of 2 %: no entry for the rest of the UTC day, one after midnight."""
    rows = [*flat(4), (100, 100, 97, 100), *flat(110)]
    script = Script({2: LONG, 20: LONG, 94: LONG, 97: LONG}, {99: False}, stop_px=97.5)
    config = config_with(risk__daily_loss_limit_pct=0.02, risk__session_drawdown_pct=1.0, **EXACT)
    result = simulate(market_of(coin(rows)), script, config, engine)
    assert result.blocked == {"daily_loss_limit": 2}
    assert len(result.trades) == 2


def test_a_drawdown_pause_lasts_until_the_operator_resumes(engine: str) -> None:
    """2 % below the peak with a limit of 2 %: paused; lifted six hours later, or never when nobody is there."""
    rows = [*flat(4), (100, 100, 98, 98), *flat(60, 98)]
    script = Script({2: LONG, 10: LONG, 40: LONG}, {6: False, 50: False})
    for hours, trades, resumes in ((6.0, 2, 1), (0.0, 1, 0)):
        config = config_with(risk__session_drawdown_pct=0.02, backtest__resume_hours=hours, **EXACT)
        result = simulate(market_of(coin(rows)), script, config, engine)
        assert (len(result.trades), result.resumes) == (trades, resumes)
        assert result.blocked["session_drawdown"] == 1 + (not resumes)


def test_coins_share_one_account_in_config_order(engine: str) -> None:
    """Both want in at one close: the first one gets the only place; it frees it for the next boundary, not this one."""
    market = market_of(coin(flat(12)), coin(flat(12), "BBB"))
    script = Script({2: LONG, (5, "BBB"): LONG, (6, "BBB"): SHORT}, {5: False, 9: False})
    result = simulate(market, script, config_with(), engine)
    assert [(row.symbol, row.opened_ms) for row in result.trades.rows()] == [("AAA", after(2)), ("BBB", after(6))]
    assert result.blocked["max_positions"] == 2


def test_compounding_sizes_by_the_equity(engine: str) -> None:
    """Off by default: the capital of the settings; on: what the account is worth at the decision."""
    rows = [*flat(3), *flat(3, 100), *flat(8, 101)]
    script = Script({2: LONG, 8: LONG}, {6: False, 11: False})
    for on in (False, True):
        config = config_with(backtest__compounding=on, **EXACT)
        result = simulate(market_of(coin(rows)), script, config, engine)
        first, second = result.trades.rows()
        capital = 670 + first.net_usd if on else 670
        assert first.net_usd > 5
        assert second.size == math.floor(capital * 1.5 / 101 * 100 + 1e-9) / 100


def test_a_regime_scales_the_size_and_a_crisis_enters_nothing(engine: str) -> None:
    """As recorded at the time: HIGH_RISK halves, CRISIS forbids; a strategy that ignores it meets the gate."""
    regimes = regimes_of((5, "HIGH_RISK"), (12, "CRISIS"))
    script = Script({2: LONG, 8: LONG, 14: LONG}, {4: False, 10: False})
    result = simulate(market_of(coin(flat(20)), regimes=regimes), script, config_with(), engine)
    first, second = result.trades.rows()
    assert (first.size, second.size) == (10.05, 5.02)
    assert result.blocked == {"regime": 1, "size": 1}


def test_equity_is_cash_and_open_positions_at_every_close(engine: str) -> None:
    """I11: start, results of closed trades, open PnL, fees and funding add up at every candle."""
    rng = np.random.default_rng(5)
    close = 100 + np.cumsum(rng.standard_normal(40)) * 0.3
    rows = [(c, c + 0.2, c - 0.2, c) for c in close]
    script = Script({2: LONG, 12: SHORT, 25: LONG}, {9: False, 20: False, 34: False})
    result = simulate(market_of(coin(rows, rates=dict.fromkeys(range(12), 0.0001))), script, config_with(), engine)
    trades = list(result.trades.rows())
    assert len(trades) == 3
    for bar in range(40):
        at_ms = after(bar)
        closed = sum(row.net_usd for row in trades if row.closed_ms < at_ms)
        if not any(row.opened_ms < at_ms <= row.closed_ms for row in trades):
            assert result.equity_usd[bar] == pytest.approx(670 + closed, abs=1e-7)
            assert result.held_usd[bar] == 0
    held = next(row for row in trades if row.opened_ms == after(2))
    at = 5
    open_pnl = held.size * (close[at] - held.entry_px)
    hours = [h for h in range(12) if held.opened_ms < START + h * HOUR_MS <= after(at)]
    assert len(hours) == 1
    funding = -held.size * 0.0001 * rows[3][3]
    fee = 0.00045 * held.size * held.entry_px
    assert result.equity_usd[at] == pytest.approx(670 + open_pnl + funding - fee, abs=1e-6)


def test_a_position_open_at_the_end_is_in_the_equity_not_in_the_trades(engine: str) -> None:
    """It is said, and nothing is closed that was not."""
    result = simulate(market_of(coin([*flat(4), *flat(4, 101)])), Script({2: LONG}), config_with(**EXACT), engine)
    assert (len(result.trades), result.open_positions) == (0, 1)
    assert result.equity_usd[-1] == pytest.approx(670 + 10.05 - 0.00045 * 1005, abs=1e-7)


def test_excursions_are_the_worst_and_best_on_the_way(engine: str) -> None:
    """MAE and MFE at candle extremes while it was open; the bar it ended in counts at its exit alone."""
    rows = [*flat(4), (100, 103, 98.5, 100), *flat(2), (100, 100, 98.2, 100), *flat(4)]
    trade = stopped(rows, Script({2: LONG}, {6: False}), engine)
    assert trade.mae_usd == pytest.approx(-1.5 * trade.size)
    assert trade.mfe_usd == pytest.approx(3.0 * trade.size)
