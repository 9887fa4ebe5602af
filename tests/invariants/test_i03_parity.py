"""I3 (b) and (c) at `step`: days of trading simulated from their recorded market, and replayed.

3 days here; 30 with `make soak`. Days without at least 8 trades, or without a kind of exit or fill, fail as empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from parity_days import NEEDED, Lived, live, rig_in

from perp_bot.backtest.recorded import simulate
from perp_bot.config.load import load_config
from perp_bot.core.types import ClosedTrade, Fill

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("parity")]


@pytest.fixture(scope="module", params=[3, pytest.param(30, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    """Days that were lived through once, with their simulation."""
    with rig_in(tmp_path_factory.mktemp("days") / "run") as rig:
        yield live(rig, request.param)


def fill_of(fill: Fill) -> tuple[Any, ...]:
    """Return a fill without what names the account."""
    return (
        fill.symbol, fill.side, fill.px, fill.size, fill.fee_usd, fill.liquidity, fill.venue_ms, fill.role, fill.reason,
        fill.closed_pnl_usd,
    )  # fmt: skip


def trade_of(trade: ClosedTrade) -> ClosedTrade:
    """Return a trade without what names the account."""
    return replace(trade, source="", trade_id="")


def test_the_days_are_not_empty(lived: Lived) -> None:
    """At least 8 trades: stops of both kinds, a timeout, an orderly end, maker and taker entries, funding hours."""
    kinds = lived.kinds()
    assert len(lived.trades) >= 8
    assert [kind for kind in NEEDED if not kinds[kind]] == []


def test_the_simulation_of_the_recorded_market_fills_alike(lived: Lived) -> None:
    """Prices, sizes, fees, liquidity, times, roles and reasons of every fill, in their order."""
    assert [fill_of(fill) for fill in lived.run.fills] == [fill_of(fill) for fill in lived.fills]


def test_the_simulation_of_the_recorded_market_trades_alike(lived: Lived) -> None:
    """Every round trip equal to the last digit, with fees, funding, net and its deciding candle."""
    assert [trade_of(trade) for trade in lived.run.trades] == [trade_of(trade) for trade in lived.trades]


def test_the_simulation_of_the_recorded_market_pays_alike(lived: Lived) -> None:
    """Every funding hour, and the equity at every close."""
    ours = [(p.symbol, p.hour_ms, p.signed_size, p.oracle_px, p.rate, p.usd) for p in lived.run.funding]
    theirs = [(p.symbol, p.hour_ms, p.signed_size, p.oracle_px, p.rate, p.usd) for p in lived.funding]
    assert sorted(ours) == sorted(theirs)
    assert [(at_ms, equity) for at_ms, equity, _ in lived.run.equity] == lived.equity


def test_the_same_days_are_replayed_byte_for_byte(lived: Lived) -> None:
    """I3 (c), on the same session."""
    done = lived.rig.perpbot("replay", "last", "--json", timeout_s=1800.0)
    found = json.loads(done.stdout)
    assert (done.returncode, found["identical"], found["whole"]) == (0, True, True)
    assert found["rows"]["fills"] == len(lived.fills)
    assert found["rows"]["trades"] == len(lived.trades)


def test_a_simulation_with_other_settings_is_another_one(lived: Lived) -> None:
    """The simulation decides by itself: it does not copy the session that it is compared with."""
    config = load_config(lived.rig.config_path, env={})
    calmer = replace(config, signals=replace(config.signals, zscore_entry_threshold=2.2))
    run = simulate(calmer, lived.recording)
    assert run.trades
    assert [trade_of(trade) for trade in run.trades] != [trade_of(trade) for trade in lived.trades]


def test_the_folder_of_the_session_can_be_read_alone(lived: Lived, tmp_path: Path) -> None:
    """A recording is whole in itself: with no database beside it the simulation is the same."""
    config = load_config(lived.rig.config_path, env={})
    elsewhere = replace(config, data=replace(config.data, db_path=tmp_path / "none.db"))
    assert simulate(elsewhere, lived.recording).fills == lived.run.fills
