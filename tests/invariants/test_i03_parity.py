"""I3 (b) and (c) at `step`: days of trading simulated from their recorded market, and replayed.

3 days here; 30 with `make soak`. Days without at least 8 trades, or without a kind of exit or fill, fail as empty.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
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


def compared(config_path: Path, *options: str) -> dict[str, Any]:
    """Return what `perpbot compare --days` says of a session."""
    command = [sys.executable, "-m", "perp_bot", "--config", str(config_path), "compare", "--days", "365", "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=1800, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"exit_code": done.returncode}  # type: ignore[no-any-return]


def test_compare_finds_no_difference_on_the_recorded_market(lived: Lived) -> None:
    """Every trade matched, no part of any of them apart, nothing remains."""
    found = compared(lived.rig.config_path)
    assert (found["exit_code"], found["simulated_on"]) == (0, "recorded market")
    assert (len(found["matched"]), found["missed"], found["extra"]) == (len(lived.trades), [], [])
    assert max(abs(part) for trade in found["matched"] for part in trade["parts"].values()) < 1e-7
    assert abs(found["remainder_usd"]) < 1e-6


def test_compare_explains_the_backtest_on_candles_to_nothing(lived: Lived) -> None:
    """Spread, latency, slippage, the backtest's own fills, size, fees and funding, each from inputs: they add up."""
    found = compared(lived.rig.config_path, "--candles")
    assert (found["exit_code"], found["simulated_on"]) == (0, "candles")
    assert len(found["matched"]) >= 8
    assert all(lone["split"] for lone in (*found["missed"], *found["extra"]))
    sums = {name: sum(abs(t["parts"][name]) for t in found["matched"]) for name in found["matched"][0]["parts"]}
    assert all(sums[name] > 0 for name in ("spread", "latency", "model", "fees")), sums
    assert all(abs(trade["remainder_usd"]) < 1e-6 for trade in found["matched"])


def test_a_fill_shifted_by_a_cent_leaves_exactly_a_cent(lived: Lived, tmp_path: Path) -> None:
    """One entry fill a cent dearer in the store, and its trade with it: a cent a coin remains, in no other trade."""
    shutil.copytree(lived.rig.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.log", "*.sock", "*.columns"))
    config, db = tmp_path / "copy" / "config.yaml", tmp_path / "copy" / "perp_bot.db"
    entries = {fill.fill_id: fill for fill in lived.fills if fill.role == "entry"}
    trade = next(t for t in lived.trades if entries[t.trade_id.removeprefix("trade:")].size == t.size)
    fill = entries[trade.trade_id.removeprefix("trade:")]
    cent = Decimal("0.01")
    lost = cent * trade.size * trade.side.sign
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE fills SET px = ? WHERE fill_id = ?", (str(fill.px + cent), fill.fill_id))
        connection.execute(
            "UPDATE trades SET entry_px = ?, gross_usd = ?, net_usd = ? WHERE trade_id = ?",
            (str(trade.entry_px + cent), str(trade.gross_usd - lost), str(trade.net_usd - lost), trade.trade_id),
        )
    connection.close()
    found = compared(config)
    left = [one for one in found["matched"] if abs(one["remainder_usd"]) > 1e-6]
    assert [(one["symbol"], one["decided_ms"]) for one in left] == [
        (trade.symbol, int(trade.entry_decision_id.rpartition(":")[2]))
    ]
    assert left[0]["remainder_usd"] / float(trade.size) == pytest.approx(-0.01 * trade.side.sign, abs=1e-9)
    assert (found["exit_code"] == 1) == (abs(left[0]["remainder_usd"]) >= 0.005)


def test_backtest_runs_on_the_recording_too(lived: Lived) -> None:
    """`perpbot backtest --recording last`: the session's trades, with the metrics of any backtest."""
    done = lived.rig.perpbot("backtest", "--recording", "last", "--json", timeout_s=1800.0)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    ours = [(t["symbol"], t["opened_ms"], t["closed_ms"], t["net_usd"]) for t in found["trades"]]
    assert ours == [(t.symbol, t.opened_ms, t.closed_ms, float(t.net_usd)) for t in lived.trades]
    refused = lived.rig.perpbot("backtest", "--recording", "last", "--plain")
    assert (refused.returncode, "--recording runs its whole session" in refused.stderr) == (2, True)


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
