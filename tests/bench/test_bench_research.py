"""`perpbot bench backtest` and `sweep`: what is compared, and that a comparison can fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perp_bot.bench import backtest, backtest_ours, research_case, research_data, sweep, sweep_case
from perp_bot.bench.reference import check_equal
from perp_bot.bench.sweep_case import SweepTask, check_sampled, check_vectorbt
from perp_bot.bench.turns import in_turn
from perp_bot.core.errors import PerpBotError

ROWS = 20_000
PRICES = ("open", "high", "low", "close")


def test_candidates_are_timed_in_turn_and_slow_ones_in_fewer_rounds() -> None:
    """A B C A C A C: each gives its own seconds."""
    order: list[str] = []

    def call(name: str) -> float:
        order.append(name)
        return float(len(order))

    calls = {name: lambda name=name: call(name) for name in "abc"}
    found = in_turn(calls, 3, slow={"b"}, slow_rounds=1)
    assert "".join(order) == "abcacac"
    assert found == {"a": [1.0, 4.0, 6.0], "b": [2.0], "c": [3.0, 5.0, 7.0]}


@pytest.mark.slow
def test_our_engine_trades_as_the_plain_loop_with_stops_among_the_trades() -> None:
    """Trade for trade: bars, prices, PnL; in days with a stop in the very bar of its entry, seldom as it is."""
    market = research_data.market(("BTC",), 580_000, has_funding=False)
    late = slice(570_000, None)
    candles = replace(
        market.symbols[0].candles,
        **{name: getattr(market.symbols[0].candles, name)[late] for name in ("open_ms", *PRICES, "volume")},
    )
    market = replace(market, symbols=(replace(market.symbols[0], candles=candles),))
    due = backtest.references(candles, research_case.signals(candles))
    found = backtest_ours.like_peers(market).with_indicators().trades
    reasons = [found.reasons[code] for code in found.exit_reason.tolist()]
    assert (len(reasons), reasons.count("capital_stop")) == (43, 1)
    assert check_equal("ours", due[backtest.NEXT_OPEN], research_case.rows_of(found, int(candles.open_ms[0]), 60_000))
    with pytest.raises(PerpBotError, match="does not trade as the reference"):
        check_equal("ours", due[backtest.LIKE_VECTORBT], research_case.rows_of(found, int(candles.open_ms[0]), 60_000))


@pytest.mark.slow
def test_ours_with_another_fee_or_stop_is_caught() -> None:
    """The check of the bench sees one basis point, and a stop that is one tick off."""
    market = research_data.market(("BTC",), ROWS, has_funding=False)
    candles = market.symbols[0].candles
    due = backtest.references(candles, research_case.signals(candles))[backtest.NEXT_OPEN]
    config = research_case.peer_config()
    dear = replace(config, backtest=replace(config.backtest, taker_fee_rate=0.00066))
    engine = backtest_ours.Engine(market, research_case.ReversionKernel(), dear)
    with pytest.raises(PerpBotError, match="ours does not trade as the reference: trade 0 is"):
        check_equal("ours", due, backtest_ours.trades_of(engine))


@pytest.mark.slow
def test_the_subjects_name_the_peers_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without peers ours is measured all the same; stderr has a line for each that is not there."""
    (tmp_path / ".venv-peers").mkdir()
    monkeypatch.chdir(tmp_path)
    found = sweep.run(quick=True)
    assert [item.times_ours for item in found] == [None] * len(found)
    assert capsys.readouterr().err == "sweep: vectorbt is not installed; see: make bench-peers\n"


@pytest.fixture(scope="module")
def task() -> SweepTask:
    """A small sweep."""
    return SweepTask.of(research_data.candles(8_000), sweep_case.grid(quick=True)[:3])


def test_a_sweep_that_differs_in_a_trade_or_a_cent_is_caught(task: SweepTask) -> None:
    """Points are compared with the plain loop; so are those on which two engines differ."""
    due = np.array([task.due(point) for point in task.points.tolist()])
    assert due[:, 0].sum() > 20
    assert check_sampled(task, due) == "3 points equal to the plain loop"
    assert check_vectorbt(task, due, due) == "3 points equal"
    for row, column, by in ((0, 0, 1.0), (2, 1, 0.01)):
        wrong = due.copy()
        wrong[row, column] += by
        with pytest.raises(PerpBotError, match=r"ours: .* at .*zscore_entry_threshold.*, due are"):
            check_sampled(task, wrong)
        with pytest.raises(PerpBotError, match=r"vectorbt: .* due are"):
            check_vectorbt(task, due, wrong)
        with pytest.raises(PerpBotError, match=r"ours: .* due are"):
            check_vectorbt(task, wrong, due)


def test_a_sweep_without_trades_proves_nothing(task: SweepTask) -> None:
    """Equality of nothing is an error."""
    with pytest.raises(PerpBotError, match="makes no trade"):
        check_sampled(task, np.zeros((3, 2)))


def test_the_sweep_has_a_thousand_points() -> None:
    """Or a few of them, all different."""
    assert len(sweep_case.grid(quick=False)) == 1_000
    assert len(np.unique(sweep_case.grid(quick=False), axis=0)) == 1_000
    assert 10 < len(sweep_case.grid(quick=True)) < 50
