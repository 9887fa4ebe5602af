"""A practice venue and a real daemon process, for scenarios: stepped by hand, never slept on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import forked
import yaml
from forked import Forked

from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import DaemonAway, IpcError
from perp_bot.core.timeframes import close_of
from perp_bot.ipc.client import Client
from perp_bot.ipc.state import StateSnapshot
from perp_bot.practice.thread import PracticeServer

READY_S = 30.0

QUARTER_MS = 15 * 60_000

# Thresholds that trade often: with start 430 and seed 42 ETH SHORT is decided at the 2nd close and left at the 3rd,
# BTC LONG at the 6th, left at the 12th.
LIVELY: dict[str, Any] = {
    "zscore_entry_threshold": 1.0,
    "zscore_exit_threshold": 0.95,
    "zscore_stop_threshold": 9.0,
    "bollinger_std": 1.0,
    "rsi_overbought": 50.5,
    "rsi_oversold": 49.5,
    "adx_threshold": 100.0,
}
LIVELY_START = "430"


class DaemonDied(AssertionError):
    """The daemon ended when it should run."""


class Rig:
    """One venue, one database folder, one daemon at a time."""

    mode = "paper"
    flags: tuple[str, ...] = ("--paper",)  # of `trade`

    def __init__(
        self,
        folder: Path,
        *,
        speed: float | None = None,
        start: str = "400",
        seed: int = 42,
        settings: dict[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._venue_options: dict[str, Any] = {"speed": speed, "start": start, "seed": seed}
        self.venue: PracticeServer
        self.settings = settings or {}
        self.process: Forked | None = None
        self.symbols: tuple[str, ...] = tuple(self.settings.get("trading", {}).get("symbols", ("BTC", "ETH")))
        self.start_ms = 0  # the venue's time when this rig began
        self.starts = 0
        self.environment: dict[str, str] = {}  # of every process, beside the test's own

    def __enter__(self) -> Self:
        self.venue = PracticeServer(**self._venue_options).__enter__()
        self.start_ms = self.venue.now_ms
        self.write_config()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.venue.__exit__(None, None, None)

    # ------------------------------------------------------------ files

    @property
    def config_path(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def paths(self) -> RuntimePaths:
        return RuntimePaths(self.folder / "perp_bot.db")

    def write_config(self) -> None:
        merged: dict[str, Any] = {"venue": self.venue.base_url, "mode": self.mode, **self.settings}
        merged["data"] = {"db_path": "perp_bot.db", **merged.get("data", {})}
        self.config_path.write_text(yaml.safe_dump(merged))

    def rows(self, sql: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return rows of the store, read-only."""
        connection = sqlite3.connect(f"file:{self.paths.db}?mode=ro", uri=True, timeout=5)
        try:
            return connection.execute(sql, arguments).fetchall()
        finally:
            connection.close()

    def events(self, *kinds: str) -> list[str]:
        """Return the texts of stored events, oldest first, of these kinds or of all."""
        rows = self.rows("SELECT kind, text FROM events ORDER BY seq")
        return [text for kind, text in rows if not kinds or kind in kinds]

    def decided(self, symbol: str | None = None) -> dict[int, tuple[str, ...]]:
        """Return action and blocking rules of each close (number since the start of 15m closes) of a coin."""
        sql = "SELECT close_ms, action, blocked_json FROM decisions WHERE symbol = ? ORDER BY seq"
        found: dict[int, tuple[str, ...]] = {}
        for close_ms, action, blocked in self.rows(sql, symbol or "ETH"):
            rules = (reason["rule"] for reason in json.loads(blocked))
            found[(close_ms - self.start_ms) // QUARTER_MS] = (action, *rules)
        return found

    def reasons(self, symbol: str) -> dict[int, str]:
        """Return the reason of each decision of a coin, by the number of its close."""
        rows = self.rows("SELECT close_ms, reason FROM decisions WHERE symbol = ? ORDER BY seq", symbol)
        return {(close_ms - self.start_ms) // QUARTER_MS: reason for close_ms, reason in rows}

    def stored_gaps(self, timeframe: str) -> list[tuple[str, int]]:
        """Return (coin, open time) of stored candles that do not follow the one before, or are provisional."""
        sql = "SELECT symbol, open_ms, source FROM candles WHERE timeframe = ? ORDER BY symbol, open_ms"
        gaps, before = [], ("", 0)
        for symbol, open_ms, source in self.rows(sql, timeframe):
            follows = before[0] != symbol or open_ms == close_of(timeframe, before[1])
            if not follows or source == "stream":
                gaps.append((symbol, open_ms))
            before = (symbol, open_ms)
        return gaps

    def journal(self) -> list[tuple[Any, ...]]:
        """Return the decision journal without its row numbers."""
        return self.rows(
            "SELECT decision_id, symbol, timeframe, close_ms, strategy, source, action, side, reason, close_px,"
            " stop_px, target_px, notional_usd, regime, provisional, indicators_json, conditions_json, thresholds_json,"
            " account_json, blocked_json, signals_json FROM decisions ORDER BY seq"
        )

    def books(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return orders, fills, trades and funding without row numbers."""
        return {
            "orders": self.rows(
                "SELECT cloid, symbol, side, role, size, state, filled, avg_px FROM orders ORDER BY created_ms, cloid"
            ),
            "fills": self.rows(
                "SELECT fill_id, cloid, symbol, side, px, size, fee_usd, venue_ms FROM fills ORDER BY seq"
            ),
            "trades": self.rows(
                "SELECT trade_id, symbol, side, size, entry_px, exit_px, net_usd, exit_reason FROM trades ORDER BY seq"
            ),
            "funding": self.rows(
                "SELECT symbol, hour_ms, signed_size, rate, usd FROM funding_payments ORDER BY hour_ms, symbol"
            ),
        }

    @property
    def log_text(self) -> str:
        return self.paths.log.read_text(errors="replace") if self.paths.log.exists() else ""

    @property
    def talk(self) -> str:
        path = self.folder / "daemon.out"
        return path.read_text(errors="replace") if path.exists() else ""

    # ------------------------------------------------------------ the daemon

    def arguments(self, *arguments: str) -> list[str]:
        """Return what comes behind `perpbot`: the config and the arguments."""
        return ["--config", str(self.config_path), *arguments]

    def command(self, *arguments: str) -> list[str]:
        """Return the command for a process that is started from nothing."""
        return [sys.executable, "-m", "perp_bot", *self.arguments(*arguments)]

    def perpbot(self, *arguments: str, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command as its user would and return what it said."""
        return forked.run(self.arguments(*arguments), env={**os.environ, **self.environment}, timeout_s=timeout_s)

    def spawn(self, *arguments: str, env: dict[str, str] | None = None) -> Forked:
        """Start the daemon without waiting for it."""
        self.starts += 1
        self.process = Forked(
            self.arguments("trade", *self.flags, *arguments),
            env={**os.environ, **self.environment, **(env or {})},
            stdout=self.folder / "daemon.out",
        )
        return self.process

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> StateSnapshot:
        """Start the daemon and wait until it runs and has settled the venue's time."""
        self.spawn(*arguments, env=env)
        return self.await_ready()

    def await_ready(self) -> StateSnapshot:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                state = self.state()
                if state.status not in ("STARTING", "RECONCILING"):
                    return self.settle()
            except (DaemonAway, IpcError):
                pass
            time.sleep(0.02)
        raise AssertionError(f"daemon not ready in {READY_S} s: {self.talk[-2000:]}")

    def is_answering(self) -> bool:
        """Whether the daemon has a state to show: its socket is there a moment before that."""
        try:
            self.state()
        except (DaemonAway, IpcError):
            return False
        return True

    def check_alive(self) -> None:
        assert self.process is not None
        code = self.process.poll()
        if code is not None:
            raise DaemonDied(f"daemon ended with {code}: {self.talk[-2000:]}")

    def client(self, timeout_s: float = 10.0) -> Client:
        return Client(self.paths.socket, timeout_s=timeout_s)

    def state(self) -> StateSnapshot:
        with self.client() as client:
            return client.state()[0]

    def settle(self, timeout_s: float = 20.0) -> StateSnapshot:
        """Wait until the loop has handled the venue's present and return the state."""
        with self.client(timeout_s + 5) as client:
            client.wait_until(self.venue.now_ms, timeout_s)
            return client.state()[0]

    def step(self, to: str = "1m", count: int = 1) -> StateSnapshot:
        """Advance the venue and wait until the loop has handled it."""
        for _ in range(count):
            self.venue.step(to=to, count=1)
            state = self.settle()
        return state

    def until(self, what: str, is_true: Callable[[], object], timeout_s: float = 15.0) -> None:
        """Wait until `is_true` holds while the daemon lives; `what` names it when it never does."""
        deadline = time.monotonic() + timeout_s
        while not is_true():
            self.check_alive()
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout_s:g} s: {what}; {self.talk[-2000:]}")
            time.sleep(0.02)

    def await_status(self, status: str, timeout_s: float = 15.0) -> StateSnapshot:
        """Wait for a status and return the state that has it."""
        seen: list[StateSnapshot] = []

        def is_it() -> bool:
            seen[:] = [self.state()]
            return seen[0].status == status

        try:
            self.until(f"status {status}", is_it, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"status is {seen[0].status} {seen[0].status_reasons}: {error}") from None
        return seen[0]

    def step_to_close(self, count: int = 1, timeout_s: float = 15.0) -> None:
        """Advance to the next 15m close and wait for its journal rows, however bad the venue's answers are."""
        for _ in range(count):
            close_ms = self.venue.step(to="15m")

            def is_decided(at_ms: int = close_ms) -> bool:
                return len(self.rows("SELECT 1 FROM decisions WHERE close_ms = ?", at_ms)) == len(self.symbols)

            self.until(f"the decisions of the close at {close_ms}", is_decided, timeout_s)

    def await_steps(self, count: int, timeout_s: float = 15.0) -> StateSnapshot:
        """Advance by 15m closes and wait until each is decided, when the database cannot be asked."""
        state = self.state()
        for _ in range(count):
            close_ms = self.venue.step(to="15m")

            def is_decided(at_ms: int = close_ms) -> bool:
                nonlocal state
                state = self.state()
                return all(row.close_ms == at_ms for row in state.signals)

            self.until(f"the decisions of the close at {close_ms}", is_decided, timeout_s)
        return state

    def kill(self) -> None:
        """SIGKILL the daemon."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM the daemon and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)
