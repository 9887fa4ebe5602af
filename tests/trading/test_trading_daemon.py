"""The daemon inside this process against a stepped practice venue: start-up, a trade, a restart, refusals."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from desk_rig import DeskRig

from perp_bot.config.model import Config, DataConfig, TradingConfig
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import EXIT_OK, ConfigError, DaemonAway, DaemonBusy, HaltedByRisk, IpcError, StoreError
from perp_bot.core.timeframes import week_of
from perp_bot.data.db.emergency import EmergencyJournal
from perp_bot.ipc.client import Client
from perp_bot.ipc.state import StateSnapshot
from perp_bot.practice.thread import PracticeServer
from perp_bot.trading.daemon import Daemon, run
from perp_bot.trading.needs import check_needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    """The daemon makes threads give way sooner, for its whole process."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def venue() -> Iterator[PracticeServer]:
    """A stepped venue: ETH LONG is decided at the third 15m close and filled within the minute after it."""
    with PracticeServer(speed=None, start="400", seed=42) as server:
        yield server


def config_of(venue: PracticeServer, folder: Path, *symbols: str) -> Config:
    return Config(
        trading=TradingConfig(symbols=symbols or ("BTC", "ETH")),
        data=DataConfig(db_path=folder / "perp_bot.db"),
        venue=venue.base_url,
    )


class Running:
    """A daemon on a thread and a client of it."""

    def __init__(self, venue: PracticeServer, client: Client, daemon: Daemon) -> None:
        self.venue = venue
        self.client = client
        self.daemon = daemon

    def settle(self) -> StateSnapshot:
        self.client.wait_until(self.venue.now_ms, 20.0)
        return self.client.state()[0]

    def step(self, to: str, count: int = 1) -> StateSnapshot:
        for _ in range(count):
            self.venue.step(to=to, count=1)
            state = self.settle()
        return state


def _connect(paths: RuntimePaths, codes: list[object]) -> Client:
    """Return a client of the daemon once it trades; `codes` holds how it ended when it did."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert not codes, codes
        with suppress(DaemonAway, IpcError):
            client = Client(paths.socket, timeout_s=25.0)
            try:
                if client.state()[0].status not in ("STARTING", "RECONCILING"):
                    return client
            except (DaemonAway, IpcError):
                client.close()
                continue
            client.close()
        time.sleep(0.01)
    raise AssertionError("the daemon does not trade after 20 s")


@contextmanager
def running(config: Config, venue: PracticeServer, *, force: bool = False) -> Iterator[Running]:
    """Run a daemon until the block ends; it must end with 0."""
    daemon = Daemon(config, force=force)
    codes: list[object] = []

    def work() -> None:
        try:
            codes.append(daemon.run())
        except BaseException as error:
            codes.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    client = _connect(RuntimePaths(config.data.db_path), codes)
    try:
        with client:
            made = Running(venue, client, daemon)
            made.settle()
            yield made
    finally:
        daemon.stop("the test is over")
        thread.join(20)
    assert codes == [EXIT_OK]


def rows(config: Config, sql: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(f"file:{config.data.db_path}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_a_daemon_starts_trades_stops_and_goes_on_where_it_was(venue: PracticeServer, tmp_path: Path) -> None:
    """A position, a pause and the counters survive the restart; the second daemon makes up for the hours between."""
    config = config_of(venue, tmp_path)
    with running(config, venue) as first:
        state = first.step("15m", 3)
        assert state.counters.decisions == 8
        state = first.step("1m")
        assert [(p.symbol, p.side) for p in state.positions] == [("ETH", "long")]
        assert state.status == "RUNNING"
        assert state.venue_speed is None
        assert first.client.control("pause", reason="night").status == "done"
        with pytest.raises(DaemonBusy):
            run(config, force=False)
    record = json.loads(RuntimePaths(config.data.db_path).run_record.read_text())
    assert (record["exit_code"], record["reason"]) == (0, "the test is over")
    assert not RuntimePaths(config.data.db_path).socket.exists()
    kinds = [kind for (kind,) in rows(config, "SELECT kind FROM events ORDER BY seq")]
    assert kinds[:2] == ["STARTED", "CONNECTED"]
    assert kinds[-1] == "STOPPED"
    assert rows(config, "SELECT count(*) FROM signals") != [(0,)]
    assert rows(config, "SELECT count(*) FROM bot_state WHERE key='meta'") == [(1,)], "research reads the coins' rules"

    venue.step(to="1h", count=1)
    venue.step(to="1m", count=5)
    with running(config, venue) as second:
        state = second.settle()
        assert [(p.symbol, p.side) for p in state.positions] == [("ETH", "long")]
        assert state.status == "PAUSED"
        assert state.status_reasons == ("everything is paused by the operator: night",)
        assert state.counters.decisions >= 8
        state = second.step("1m")
        assert state.account.funding_usd != 0.0, "the hour of the downtime was owed and paid"
        assert state.account.accounting_error_max_usd < 0.01
        assert second.client.control("resume").status == "done"
        preview = second.client.control("prepare", action="flatten").preview
        assert preview is not None
        assert second.client.control("commit", token=preview.token).status == "flat"
    assert rows(config, "SELECT exit_reason FROM trades") == [("operator_flatten",)]
    assert rows(config, "SELECT position_json FROM positions") == []


def test_an_exit_that_never_reached_the_database_is_made_again_at_the_start(
    venue: PracticeServer, tmp_path: Path
) -> None:
    """The emergency journal names it; the position is closed and the record forgotten."""
    config = config_of(venue, tmp_path)
    with running(config, venue) as first:
        first.step("15m", 3)
        assert first.step("1m").positions != ()
    journal = EmergencyJournal(RuntimePaths(config.data.db_path).emergency_journal)
    journal.open()
    journal.append(
        {
            "cloid": "0x" + "1" * 32,
            "decision_id": "mean_reversion:ETH:15m:1",
            "symbol": "ETH",
            "side": "sell",
            "role": "exit",
            "size": "1",
            "reason": "mean_reversion_complete",
        }
    )
    journal.close()
    with running(config, venue) as second:
        assert second.step("1m").positions == ()
    assert rows(config, "SELECT exit_reason FROM trades") == [("mean_reversion_complete",)]
    assert any("never reached the database" in str(text) for (text,) in rows(config, "SELECT text FROM events"))


def test_settings_without_a_coin_that_is_held_are_refused(venue: PracticeServer, tmp_path: Path) -> None:
    """Nobody would watch its stop: one line that names the coin and the key."""
    config = config_of(venue, tmp_path)
    with running(config, venue) as first:
        first.step("15m", 3)
        assert first.step("1m").positions != ()
    with pytest.raises(ConfigError, match=r"trading\.symbols: ETH is missing and LONG"):
        run(config_of(venue, tmp_path, "BTC"), force=False)
    record = json.loads(RuntimePaths(config.data.db_path).run_record.read_text())
    assert record["exit_code"] == 2


def losing_trades(config: Config, venue: PracticeServer) -> None:
    """Store one losing round trip in each of the three weeks before the venue's."""
    with running(config, venue):
        pass
    connection = sqlite3.connect(config.data.db_path)
    with connection:
        for number in (1, 2, 3):
            at = week_of(venue.now_ms) - number * 7 * 86_400_000 + 3_600_000
            for side, px in (("buy", "100"), ("sell", "90")):
                values = (f"{number}{side}", f"{number}{side}", "BTC", side, px, "0.1", "0", "taker", at, "entry")
                connection.execute(
                    "INSERT INTO fills (fill_id, cloid, symbol, side, px, size, fee_usd, liquidity, venue_ms, role,"
                    " strategy, source, reason, closed_pnl_usd) VALUES (?,?,?,?,?,?,?,?,?,?,'s','paper','r','0')",
                    values,
                )
    connection.close()


def test_three_losing_weeks_refuse_the_start_and_force_overrides(venue: PracticeServer, tmp_path: Path) -> None:
    """Exit code 4 in one line; with --force it runs."""
    config = config_of(venue, tmp_path)
    losing_trades(config, venue)
    with pytest.raises(HaltedByRisk, match="3 calendar weeks in a row lost money") as raised:
        run(config, force=False)
    assert raised.value.exit_code == 4
    with running(config, venue, force=True) as forced:
        assert forced.settle().status == "RUNNING"


def test_rows_that_the_store_did_not_take_are_a_failure_not_a_clean_end(
    venue: PracticeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that lost rows at its end says so with its exit code and in the run record."""
    config = config_of(venue, tmp_path)
    daemon = Daemon(config, force=False)

    def lose(writer: object) -> None:
        daemon._lost = "3 rows were not written: the disk is full"

    real = daemon._stop_writer
    monkeypatch.setattr(daemon, "_stop_writer", lambda writer: (real(writer), lose(writer))[0])
    threading.Timer(1.0, lambda: daemon.stop("the test is over")).start()
    with pytest.raises(StoreError, match="3 rows were not written"):
        daemon.run()
    record = json.loads(RuntimePaths(config.data.db_path).run_record.read_text())
    assert (record["exit_code"], record["reason"]) == (1, "3 rows were not written: the disk is full")


def test_a_strategy_whose_input_nobody_produces_is_starved_and_says_so(venue: PracticeServer, tmp_path: Path) -> None:
    """Declared = wired, or told at every coin (the shipped strategy needs nothing that is missing)."""
    config = config_of(venue, tmp_path)

    class Needy:
        name = "needy"

        class needs:
            timeframes = ("15m", "4h")
            spot = True
            trades = book = funding = open_interest = True
            options = False

    (tmp_path / "other").mkdir()
    with DeskRig(tmp_path / "other") as rig:
        check_needs(rig.desk, Needy())  # type: ignore[arg-type]
        starved = rig.desk.starved
    assert starved == dict.fromkeys(("BTC", "ETH"), "needy needs spot, 4h candles, which nothing produces")
    with running(config, venue) as shipped:
        assert [signal.starved for signal in shipped.settle().signals] == [None, None]
