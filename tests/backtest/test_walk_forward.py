"""Walk-forward: windows, what is chosen, what is kept back, the stitched account."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from market_rig import QUARTER, config_with, wandering, with_path
from test_engine_equality import LOOSE, NO_LIMITS

from perp_bot.backtest import walk_forward as walk
from perp_bot.backtest.engine import RunOptions, run
from perp_bot.backtest.market import Market
from perp_bot.backtest.market_cut import until
from perp_bot.backtest.parameters import axis_of, grid_points
from perp_bot.backtest.sweep import run_points, with_values
from perp_bot.backtest.walk_forward import WalkForward, WalkOptions, used_before, walk_forward
from perp_bot.backtest.walk_windows import Window, schedule
from perp_bot.core.errors import UsageError
from perp_bot.core.timeframes import DAY_MS

CONFIG = config_with(**{**LOOSE, **NO_LIMITS})
AXES = (axis_of("entry_z", [1.0, 1.3, 1.6], "t"), axis_of("exit_z", [0.2, 0.5], "t"))
OPTIONS = WalkOptions(4, 2, 2, False, "net", AXES)
BARS = 512 + 96 * 14  # warm-up, then 14 days


def no_progress(share: float) -> None:
    assert 0 <= share <= 1


def walked(market: Market, options: WalkOptions = OPTIONS, config: object = None) -> WalkForward:
    config = CONFIG if config is None else config
    windows = walk.plan(config, market, options, None, None)
    return walk_forward(config, market, "mean_reversion", options, windows, no_progress)


# ------------------------------------------------------------ windows


def test_rolling_windows_move_and_anchored_ones_grow() -> None:
    """Counted back from the newest close; test follows training without a gap; the last one is kept back."""
    days = {"train_days": 4, "test_days": 2, "step_days": 3}
    rolling = schedule(0, 14 * DAY_MS, **days, anchored=False)
    spans = [(w.train_from_ms // DAY_MS, w.train_to_ms // DAY_MS, w.test_to_ms // DAY_MS) for w in rolling.windows]
    assert spans == [(2, 6, 8), (5, 9, 11)]
    assert rolling.final == Window(8 * DAY_MS, 12 * DAY_MS, 14 * DAY_MS)
    anchored = schedule(0, 14 * DAY_MS, **days, anchored=True)
    assert [w.train_from_ms for w in (*anchored.windows, anchored.final)] == [0, 0, 0]
    assert [w.test_to_ms for w in anchored.windows] == [w.test_to_ms for w in rolling.windows]


def test_windows_that_cannot_be_are_one_line() -> None:
    """Too little data says what is needed and what is there; overlapping tests would count twice."""
    with pytest.raises(UsageError, match=r"needs 90 days after warm-up .* there are 28\.0: 1970-01-01T00:00:00Z to"):
        schedule(0, 28 * DAY_MS, train_days=60, test_days=15, step_days=15, anchored=False)
    with pytest.raises(UsageError, match="--step 5 is shorter than --test 15: test windows would overlap"):
        schedule(0, 900 * DAY_MS, train_days=60, test_days=15, step_days=5, anchored=False)
    with pytest.raises(UsageError, match=r"warm-up takes 512 15m candles \(5\.33333 days\), there are 300"):
        walk.plan(CONFIG, wandering(1, 300), OPTIONS, None, None)


def test_the_first_window_begins_after_warm_up() -> None:
    """Its first close can be decided: 511 bars lie before it."""
    market = wandering(2, BARS)
    windows = walk.plan(CONFIG, market, replace(OPTIONS, anchored=True), None, None)
    first_open = int(market.symbols[0].candles.open_ms[0])
    assert windows.windows[0].train_from_ms + QUARTER == first_open + 512 * QUARTER


# ------------------------------------------------------------ what is chosen, and judged


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_each_window_is_what_engine_and_sweep_say() -> None:
    """The set that did best on the training span, run on the test span alone with its history for warm-up."""
    market = wandering(33, BARS)
    found = walked(market)
    points = list(grid_points(AXES))
    assert len(found.windows) == 4
    assert found.points == 6
    capital = 670.0
    for item in found.windows:
        window = item.window
        assert item.capital_usd == pytest.approx(capital)
        own = with_values(CONFIG, {"trading.capital_usd": item.capital_usd})
        table = run_points(
            own, market, "mean_reversion", points, from_ms=window.train_from_ms, to_ms=window.train_to_ms
        )
        assert table.trades.min() >= walk.LEAST_TRADES
        assert item.chosen == points[int(np.argmax(table.net_usd))]
        assert item.train_objective == table.net_usd.max()
        tuned = with_values(own, item.chosen)
        result = run(tuned, market, "mean_reversion", RunOptions(window.train_to_ms, window.test_to_ms))
        assert item.test_trades == len(result.trades)
        cost = result.held_usd[-1] * (0.00045 + 0.0003)
        assert item.closing_cost_usd == pytest.approx(cost)
        capital = float(result.equity_usd[-1]) - cost  # the next window begins with it
        assert item.test_net_usd == pytest.approx(capital - item.capital_usd)
        assert item.test_return == pytest.approx(capital / item.capital_usd - 1)
    stitched = found.stitched
    assert stitched.equity_usd[-1] == pytest.approx(670.0 + sum(item.test_net_usd for item in found.windows))
    assert len(stitched.trades) == sum(item.test_trades for item in found.windows) > 20
    assert (np.diff(stitched.close_ms) == QUARTER).all()  # step = test: no hole, no overlap
    assert stitched.close_ms[0] == found.windows[0].window.train_to_ms + QUARTER
    assert len(found.trial_sharpes) == 6
    assert any(item.closing_cost_usd > 0 for item in found.windows)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_final_window_is_not_touched_until_it_is_asked_for() -> None:
    """Whatever lies in it, an ordinary run says the same; with --final it is judged, and it matters."""
    market = with_path(wandering(34, BARS), 34, marks=True)
    other = with_path(wandering(99, BARS), 99, marks=True)
    final = walk.plan(CONFIG, market, OPTIONS, None, None).final
    mixed = joined_at(market, other, final.train_to_ms)
    ordinary, changed = walked(market), walked(mixed)
    assert ordinary.windows == changed.windows
    assert ordinary.stitched.equity_usd.tobytes() == changed.stitched.equity_usd.tobytes()
    assert ordinary.trial_sharpes == changed.trial_sharpes
    with_final = replace(OPTIONS, use_final=True)
    judged, other_end = walked(market, with_final), walked(mixed, with_final)
    assert [item.is_final for item in judged.windows] == [False] * 4 + [True]
    assert judged.windows[:4] == ordinary.windows
    assert judged.windows[4].chosen == other_end.windows[4].chosen  # chosen on what lies before it
    assert judged.windows[4].test_net_usd != other_end.windows[4].test_net_usd


def joined_at(before: Market, after: Market, at_ms: int) -> Market:
    """Return `before` up to a moment, then the prices of `after`."""
    items = []
    for a, b in zip(before.symbols, after.symbols, strict=True):
        candles = a.candles
        late = candles.open_ms >= at_ms
        columns = {
            name: np.where(late, getattr(b.candles, name), getattr(candles, name))
            for name in ("open", "high", "low", "close", "volume")
        }
        assert late.sum() == 192
        items.append(replace(a, candles=replace(candles, **columns)))
    return replace(before, symbols=tuple(items))


def test_a_market_that_was_cut_knows_nothing_later() -> None:
    """Candles closed, minutes over, hours settled by then, and nothing else."""
    market = with_path(wandering(5, 700), 5, marks=True)
    at_ms = int(market.symbols[0].candles.open_ms[600])
    cut = until(market, at_ms).symbols[0]
    assert cut.candles.open_ms[-1] + QUARTER == at_ms
    assert cut.fine is not None
    assert cut.minutes is not None
    assert at_ms - 120_000 <= cut.fine.open_ms[-1] <= at_ms - 60_000
    assert cut.minutes.minute_ms[-1] <= at_ms - 60_000
    assert cut.funding.hour_ms[-1] <= at_ms


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_without_enough_trades_the_settings_in_use_stay() -> None:
    """One lucky trade chooses nothing."""
    axes = (axis_of("entry_z", [2.8, 2.9], "t"), axis_of("adx", [0.5, 1.0], "t"))
    found = walked(wandering(6, BARS), replace(OPTIONS, axes=axes))
    assert all(item.is_fallback for item in found.windows)
    in_use = {"signals.zscore_entry_threshold": CONFIG.signals.zscore_entry_threshold,
              "signals.adx_threshold": CONFIG.signals.adx_threshold}  # fmt: skip
    assert all(item.chosen == in_use for item in found.windows)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_account_that_loses_never_ends_below_zero() -> None:
    """A strategy that bleeds for many windows: each has what the one before left, and its orders shrink with it."""
    costly = config_with(**{**LOOSE, **NO_LIMITS, "backtest__taker_fee_rate": 0.01, "backtest__maker_fee_rate": 0.01})
    found = walked(wandering(33, BARS), config=costly)
    capitals = [item.capital_usd for item in found.windows]
    assert capitals == sorted(capitals, reverse=True)
    assert capitals[-1] < 0.8 * capitals[0]
    assert found.stitched.equity_usd.min() > 0
    sizes = found.stitched.trades.size * found.stitched.trades.entry_px
    assert sizes[-1] < 0.9 * sizes[0]


def test_efficiency_is_return_a_day_over_return_a_day() -> None:
    """Six days in sample gain 6 %, three days out of sample gain 1 %: a third of a day's return is left."""
    day = DAY_MS
    one = walk.WindowResult(Window(0, 6 * day, 9 * day), False, {}, False, 100.0, None, 6.0, 9, None, 1.0, 9, 0.0)
    blank = dict.fromkeys(("schedule", "stability", "points", "left_out", "trial_sharpes", "stitched"))
    found = WalkForward(windows=(one,), is_partial=False, **blank)  # type: ignore[arg-type]
    assert found.efficiency == pytest.approx((1 / 3) / (6 / 6))
    assert replace(found, windows=(replace(one, train_net_usd=-1.0),)).efficiency is None


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_interruption_keeps_the_finished_windows() -> None:
    """Ctrl-C after the second: two windows, marked partial."""
    market = wandering(33, BARS)
    windows = walk.plan(CONFIG, market, OPTIONS, None, None)
    seen: list[float] = []

    def advance(share: float) -> None:
        seen.append(share)
        if len(seen) == 2:
            raise KeyboardInterrupt

    found = walk_forward(CONFIG, market, "mean_reversion", OPTIONS, windows, advance)
    assert found.is_partial
    assert found.stitched.is_partial
    assert found.windows == walked(market).windows[:2]


def test_stability_says_how_much_a_parameter_moved() -> None:
    """The most common choice, its share, and the spread over the axis."""
    axis = axis_of("entry_z", [1.0, 1.5, 2.0], "t")
    blank = walk.WindowResult(Window(0, 1, 2), False, {}, False, 1.0, None, 0.0, 0, None, 0.0, 0, 0.0)
    found = [replace(blank, chosen={axis.key: value}) for value in (1.0, 2.0, 1.0, 1.0)]
    (item,) = walk._stability((axis,), found)
    assert (item.most_common, item.share) == (1.0, 0.75)
    assert item.spread == pytest.approx(np.std([1, 2, 1, 1]))


def test_an_earlier_use_of_the_final_window_is_found() -> None:
    """Same strategy and candles, any overlap, and only when it was used."""
    used = {"final": {"used": True, "from_ms": 10, "to_ms": 20}}
    kept = {"final": {"used": False, "from_ms": 10, "to_ms": 20}}
    records = [
        ("1", 1, used, "mean_reversion", "15m"), ("2", 2, kept, "mean_reversion", "15m"),
        ("3", 3, used, "other", "15m"), ("4", 4, used, "mean_reversion", "1h"),
    ]  # fmt: skip
    assert used_before(records, Window(0, 19, 30), "mean_reversion", "15m") == [("1", 1)]
    assert used_before(records, Window(0, 20, 30), "mean_reversion", "15m") == []
