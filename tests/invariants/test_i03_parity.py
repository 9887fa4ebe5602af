"""I3 (b) and (c) at `step`: days of trading simulated from their recorded market, and replayed.

3 days here; 30 with `make soak`. Days without at least 8 trades, or without a kind of exit or fill, fail as empty.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import forked
import pytest
from parity_days import NEEDED, SETTINGS, Lived, live, rig_in

from perp_bot.backtest import recorded
from perp_bot.backtest.recorded import simulate
from perp_bot.cli.comparing import compare
from perp_bot.config.load import load_config
from perp_bot.core.timeframes import iso
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


def perpbot_compare(config_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--config", str(config_path), "compare", "--days", "365", *options]
    return forked.run(arguments, env=os.environ, timeout_s=1800)


def compared(config_path: Path, *options: str) -> dict[str, Any]:
    """Return the one document of `perpbot compare --days --json` on a session: its decisions, its trades."""
    done = perpbot_compare(config_path, "--json", *options)
    assert done.stdout, done.stderr
    return json.loads(done.stdout) | {"exit_code": done.returncode}  # type: ignore[no-any-return]


def copy_of(lived: Lived, folder: Path) -> tuple[Path, Path]:
    """Copy a session, to be tampered with; return its config and its database."""
    shutil.copytree(lived.rig.folder, folder, ignore=shutil.ignore_patterns("*.log", "*.sock", "*.columns"))
    return folder / "config.yaml", folder / "perp_bot.db"


def run_sql(db: Path, *statements: tuple[str, tuple[Any, ...]]) -> None:
    """Change one row with each statement."""
    with sqlite3.connect(db) as connection:
        for sql, parameters in statements:
            assert connection.execute(sql, parameters).rowcount == 1
    connection.close()


def test_compare_finds_no_difference_on_the_recorded_market(lived: Lived) -> None:
    """Every decision identical, every trade matched, no part of any of them apart, nothing remains."""
    found = compared(lived.rig.config_path)
    assert (found["exit_code"], found["simulated_on"]) == (0, "recorded market")
    assert (found["is_reproduced"], found["differences"], found["is_partial"]) == (True, [], False)
    assert found["decisions"] == found["asked"] >= 3 * 96 * len(SETTINGS["trading"]["symbols"]) - 3
    assert (len(found["matched"]), found["missed"], found["extra"]) == (len(lived.trades), [], [])
    assert max(abs(part) for trade in found["matched"] for part in trade["parts"].values()) < 1e-7
    assert abs(found["remainder_usd"]) < 1e-6


def test_compare_with_days_as_json_fails_on_a_decision_that_differs(lived: Lived, tmp_path: Path) -> None:
    """The trades may match to the last digit: a stored decision that does not come out again is exit code 1."""
    config, db = copy_of(lived, tmp_path / "copy")
    newest = "(SELECT max(seq) FROM decisions WHERE action = 'hold')"
    run_sql(db, (f"UPDATE decisions SET reason = 'because' WHERE seq = {newest}", ()))
    found = compared(config)
    assert (found["exit_code"], found["is_reproduced"], found["is_explained"]) == (1, False, True)
    assert [item["field"] for item in found["differences"]] == ["reason"]


def test_an_interrupted_simulation_of_the_recording_is_compared_as_far_as_it_came(
    lived: Lived, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C: exit code 130, what the simulation reached is matched without a difference, the rest is not missed."""
    whole = recorded.decide_boundary  # type: ignore[attr-defined]  # the name that the simulation calls
    seen: list[int] = []
    half = len(lived.equity) // 2

    def interrupted(*arguments: Any) -> Any:
        if len(seen) == half:
            raise KeyboardInterrupt
        seen.append(1)
        return whole(*arguments)

    monkeypatch.setattr(recorded, "decide_boundary", interrupted)
    config = load_config(lived.rig.config_path, env={})
    code = compare(config, 365.0, "paper", on_candles=False, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (code, found["is_partial"], found["is_reproduced"]) == (130, True, True)
    reached = [trade for trade in lived.trades if trade.closed_ms <= found["to_ms"]]
    assert 0 < len(reached) < len(lived.trades)
    assert (len(found["matched"]), found["missed"], found["extra"]) == (len(reached), [], [])
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
    config, db = copy_of(lived, tmp_path / "copy")
    entries = {fill.fill_id: fill for fill in lived.fills if fill.role == "entry"}
    trade = next(t for t in lived.trades if entries[t.trade_id.removeprefix("trade:")].size == t.size)
    fill = entries[trade.trade_id.removeprefix("trade:")]
    cent = Decimal("0.01")
    lost = cent * trade.size * trade.side.sign
    run_sql(
        db,
        ("UPDATE fills SET px = ? WHERE fill_id = ?", (str(fill.px + cent), fill.fill_id)),
        (
            "UPDATE trades SET entry_px = ?, gross_usd = ?, net_usd = ? WHERE trade_id = ?",
            (str(trade.entry_px + cent), str(trade.gross_usd - lost), str(trade.net_usd - lost), trade.trade_id),
        ),
    )
    found = compared(config)
    left = [one for one in found["matched"] if abs(one["remainder_usd"]) > 1e-6]
    assert [(one["symbol"], one["decided_ms"]) for one in left] == [
        (trade.symbol, int(trade.entry_decision_id.rpartition(":")[2]))
    ]
    assert left[0]["remainder_usd"] / float(trade.size) == pytest.approx(-0.01 * trade.side.sign, abs=1e-9)
    assert (found["exit_code"] == 1) == (abs(left[0]["remainder_usd"]) >= 0.005)


def test_a_fill_shifted_by_a_cent_of_money_leaves_exactly_one_cent(lived: Lived, tmp_path: Path) -> None:
    """A stored fill, and its trade's net with it, 0.01 USD worse: that cent is printed as the trade's remainder.

    Whatever of the fill carries it, here each in a trade of its own: the parts are made of recorded inputs, so none of
    them takes the cent up.
    """
    config, db = copy_of(lived, tmp_path / "copy")
    cent = Decimal("0.01")
    fills = {fill.fill_id: fill for fill in lived.fills}
    filled_at_once = [t for t in lived.trades if fills[t.trade_id.removeprefix("trade:")].size == t.size]
    shifted = dict(zip(("entry price", "exit price", "fee"), filled_at_once, strict=False))
    assert len(shifted) == 3
    for moved, trade in shifted.items():
        entry = fills[trade.trade_id.removeprefix("trade:")]
        last = next(f for f in lived.fills if f.symbol == trade.symbol and f.venue_ms == trade.closed_ms)
        worse = cent / trade.size * trade.side.sign  # USD a coin: dearer to buy, cheaper to sell
        net = ("UPDATE trades SET net_usd = ? WHERE trade_id = ?", (str(trade.net_usd - cent), trade.trade_id))
        if moved == "fee":
            change = ("UPDATE fills SET fee_usd = ? WHERE fill_id = ?", (str(entry.fee_usd + cent), entry.fill_id))
            booked = ("fees_usd", trade.fees_usd + cent)
        elif moved == "entry price":
            change = ("UPDATE fills SET px = ? WHERE fill_id = ?", (str(entry.px + worse), entry.fill_id))
            booked = ("entry_px", trade.entry_px + worse)
        else:
            change = ("UPDATE fills SET px = ? WHERE fill_id = ?", (str(last.px - worse), last.fill_id))
            booked = ("exit_px", trade.exit_px - worse)
        run_sql(
            db, change, net, (f"UPDATE trades SET {booked[0]} = ? WHERE trade_id = ?", (str(booked[1]), trade.trade_id))
        )
    done = perpbot_compare(config)
    assert done.returncode == 1, done.stderr  # half a cent or more is not explained
    lines = [line for line in done.stdout.splitlines() if "; remainder" in line]
    told = {line.split(": net")[0].strip(): line for line in lines}
    for trade in shifted.values():
        decided = iso(int(trade.entry_decision_id.rpartition(":")[2]))
        mine = told.pop(f"{decided} {trade.side:5} {trade.symbol}")
        assert mine.endswith("net -0.0100 USD apart: no difference; remainder -0.0100")
    assert len(told) == len(lived.trades) - len(shifted)
    assert all(line.endswith("net +0.0000 USD apart: no difference; remainder +0.0000") for line in told.values())
    assert "  largest remainder -0.0100 USD" in done.stdout.splitlines()
    left = [one["remainder_usd"] for one in compared(config)["matched"] if abs(one["remainder_usd"]) > 1e-6]
    assert left == [pytest.approx(-0.01, abs=1e-9)] * len(shifted)


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
