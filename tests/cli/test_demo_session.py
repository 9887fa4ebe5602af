"""`perpbot demo`: its session folder, its last word, and the children it starts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ipc"))

from ipc_samples import snapshot

from perp_bot.bench.terminal import Terminal
from perp_bot.cli import demo
from perp_bot.cli.children import Child
from perp_bot.config.load import load_config
from perp_bot.core.errors import DaemonAway, PerpBotError, VenueAway
from perp_bot.ipc.state import StateSnapshot

KEYS = [
    "candles_processed", "decisions", "entries", "exits", "open_positions", "equity", "realized_pnl", "fees", "funding",
    "accounting_error_usd", "loop_lag_ms_p95", "venue_speed", "stream_reconnects",
]  # fmt: skip


def changed(state: StateSnapshot, **more: object) -> StateSnapshot:
    return msgspec.structs.replace(state, **more)


def test_the_last_word_has_exactly_the_promised_keys() -> None:
    """In this order, on one line, and the accounting error is the largest of the run, not the newest."""
    state = snapshot()
    account = msgspec.structs.replace(state.account, accounting_error_usd=0.0, accounting_error_max_usd=0.004)
    said = demo.summary(changed(state, account=account))
    assert list(said) == KEYS
    assert said["accounting_error_usd"] == 0.004
    assert said["open_positions"] == len(state.positions)
    assert said["equity"] == state.account.equity_usd
    assert said["realized_pnl"] == state.account.realized_usd
    assert "\n" not in json.dumps(said)


def test_unknown_numbers_stay_unknown_in_the_last_word() -> None:
    """No mark, no equity: null, never 0."""
    state = snapshot()
    counters = msgspec.structs.replace(state.counters, loop_lag_ms_p95=None)
    account = msgspec.structs.replace(state.account, equity_usd=None)
    said = demo.summary(changed(state, account=account, counters=counters, venue_speed=None))
    assert (said["equity"], said["loop_lag_ms_p95"], said["venue_speed"]) == (None, None, None)
    assert "null" in json.dumps(said)


def test_a_line_a_second_says_what_is_held_or_flat() -> None:
    """Time of the venue, status, equity and counters."""
    state = snapshot()
    flat = demo._line(changed(state, positions=(), as_of_ms=1_768_446_000_000, status="RUNNING"))
    assert flat.startswith("01-15 03:00 RUNNING ")
    assert "| flat |" in flat
    held = demo._line(state)
    assert all(position.symbol in held for position in state.positions)


def test_a_session_has_a_folder_and_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's thresholds are kept, venue, mode and files are the session's; two sessions never share a folder."""
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "config.yaml"
    mine.write_text(
        yaml.safe_dump({"venue": "mainnet", "signals": {"adx_threshold": 31.0}, "data": {"history_days": 9}})
    )
    first, second = demo._prepare(mine), demo._prepare(mine)
    assert first.folder != second.folder
    assert first.folder.parent == tmp_path / ".perpbot-demo"
    config = load_config(first.config_path)
    assert config.venue == first.venue_url
    assert config.signals.adx_threshold == 31.0
    assert config.data.history_days == 9
    assert config.data.db_path == first.folder / "perp_bot.db"
    assert config.signal_service.cache_db_path.parent == first.folder
    assert first.compare_command == f"perpbot --config {first.config_path} compare"
    assert yaml.safe_load(mine.read_text())["venue"] == "mainnet", "the user's file is not touched"


@pytest.mark.slow
@pytest.mark.process
def test_on_a_terminal_the_dashboard_closes_after_the_duration(tmp_path: Path) -> None:
    """--duration holds with the dashboard too, and no line says that the bot goes on: it does not."""
    command = [sys.executable, "-m", "perp_bot", "demo", "--duration", "2"]
    with Terminal(command, tmp_path, os.environ) as screen:
        screen.await_text("PAPER", within_s=15)  # the first frame
        screen.await_text("the demo's daemon and venue are stopped", within_s=15)
        screen.await_text("check this session's decisions", within_s=5)
        drawn = bytes(screen._drawn)
    assert b"the bot goes on" not in drawn
    assert b"dashboard closed" not in drawn


@pytest.mark.slow
def test_a_child_that_ends_says_why(tmp_path: Path) -> None:
    """Its last words are in the error; the wait does not go on to its end."""
    (tmp_path / "broken.yaml").write_text("tradin: {}\n")
    child = Child("daemon", ["--config", str(tmp_path / "broken.yaml"), "trade", "--paper"], tmp_path / "out")
    session = demo.Session(tmp_path, tmp_path / "broken.yaml", "http://127.0.0.1:9", 9)
    with pytest.raises(VenueAway, match=r"ended with code 2: .*tradin"):
        demo._await_venue(session, child)
    config = load_config(None)
    with pytest.raises(DaemonAway, match=r"ended with code 2: .*tradin"):
        demo._await_daemon(config, child)
    with pytest.raises(PerpBotError):
        demo._watch_headless(config, session, child, child, 0.5)
    assert child.stop() == 2


@pytest.mark.slow
@pytest.mark.process
def test_a_child_is_ended_in_order_and_has_a_group_of_its_own(tmp_path: Path) -> None:
    """SIGTERM is enough; ctrl-C at the demo does not reach it directly."""
    child = Child("practice venue", ["practice", "serve", "--port", str(demo._free_port())], tmp_path / "out")
    try:
        assert os.getpgid(child.pid) != os.getpgid(0)
        assert child.exit_code is None
    finally:
        code = child.stop()
    assert code in (0, 130, -15)
    assert child.exit_code == code
