"""`perpbot demo`: the practice venue, a paper daemon and the dashboard, with a session folder of their own.

The venue's stretch and speed are chosen so that the ordinary rules trade within the first seconds; nothing else is
special about a demo: the same daemon, the same config keys, the same commands work on it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from perp_bot.cli.children import Child
from perp_bot.config.load import load_config
from perp_bot.config.model import Config
from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import EXIT_OK, DaemonAway, IpcError, PerpBotError, VenueAway
from perp_bot.core.money import usd
from perp_bot.ipc.client import Client
from perp_bot.ipc.state import StateSnapshot

DEFAULT_HEADLESS_S = 60.0
DEMO_SEED = 42
DEMO_START = "400"  # hours into the recording
DEMO_SPEED = 600
VENUE_READY_S = 20.0
DAEMON_READY_S = 30.0


@dataclass(frozen=True, slots=True)
class Session:
    """Where one demo keeps its files."""

    folder: Path
    config_path: Path
    venue_url: str
    port: int

    @property
    def compare_command(self) -> str:
        """The command that checks this session's decisions offline."""
        return f"perpbot --config {self.config_path} compare"


def run(config_path: Path | None, *, headless: bool, duration_s: float | None) -> int:
    """Run the demo and return its exit code; without a terminal it is headless."""
    headless = headless or not (sys.stdout.isatty() and sys.stdin.isatty())
    session = _prepare(config_path)
    config = load_config(session.config_path)
    with ExitStack() as stack:
        _say(f"session {session.folder}")
        _say("starting the practice venue")
        arguments = ["practice", "serve", "--port", str(session.port), "--speed", str(DEMO_SPEED)]
        # Held until the daemon asks: how long a machine takes to start it must not decide which trades are seen.
        arguments += ["--start", DEMO_START, "--seed", str(DEMO_SEED), "--hold"]
        venue = Child("practice venue", arguments, session.folder / "practice.out")
        stack.callback(venue.stop)
        _await_venue(session, venue)
        _say("starting the paper daemon")
        daemon = Child(
            "daemon", ["--config", str(session.config_path), "trade", "--paper"], session.folder / "daemon.out"
        )
        stack.callback(daemon.stop)
        if headless:
            return _watch_headless(config, session, venue, daemon, duration_s or DEFAULT_HEADLESS_S)
        from perp_bot.tui import app  # the dashboard is loaded only where there is a terminal

        _await_daemon(config, daemon)
        code = app.run(config, for_s=duration_s, farewell=False)
        final = _last_state(config)
        daemon.stop()
        if final is not None:
            _say(_line(final))
        _say("the demo's daemon and venue are stopped")
    _say(f"check this session's decisions: {session.compare_command}")
    return code


def _prepare(config_path: Path | None) -> Session:
    """Make the session folder and its config: the user's settings, the demo's venue and database."""
    base = load_config(config_path).source_path
    settings = yaml.safe_load(base.read_text()) if base is not None else {}
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = Path(".perpbot-demo").resolve() / stamp
    attempt = 1
    while folder.exists():
        attempt += 1
        folder = folder.with_name(f"{stamp}-{attempt}")
    folder.mkdir(parents=True)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    settings = dict(settings or {})
    settings["venue"], settings["mode"] = url, "paper"
    settings["data"] = {**(settings.get("data") or {}), "db_path": str(folder / "perp_bot.db")}
    settings["signal_service"] = {
        **(settings.get("signal_service") or {}),
        "cache_db_path": str(folder / "signal_cache.db"),
    }
    path = folder / "config.yaml"
    path.write_text("# Made by `perpbot demo`.\n" + yaml.safe_dump(settings, sort_keys=False))
    return Session(folder, path, url, port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_venue(session: Session, venue: Child) -> None:
    deadline = time.monotonic() + VENUE_READY_S
    while time.monotonic() < deadline:
        if venue.exit_code is not None:
            raise VenueAway(f"the practice venue ended with code {venue.exit_code}: {venue.last_words()}")
        try:
            with urllib.request.urlopen(session.venue_url + "/practice/status", timeout=2) as answer:  # noqa: S310
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise VenueAway(f"the practice venue did not answer within {VENUE_READY_S:.0f} s; see {venue.talk}")


def _await_daemon(config: Config, daemon: Child) -> StateSnapshot:
    """Return the first state the daemon gives; a daemon that ends says why."""
    deadline = time.monotonic() + DAEMON_READY_S
    while time.monotonic() < deadline:
        if daemon.exit_code is not None:
            raise DaemonAway(f"the daemon ended with code {daemon.exit_code}: {daemon.last_words()}")
        state = _last_state(config)
        if state is not None:
            return state
        time.sleep(0.02)
    raise DaemonAway(f"the daemon did not answer within {DAEMON_READY_S:.0f} s; see {daemon.talk}")


def _last_state(config: Config) -> StateSnapshot | None:
    try:
        with Client(RuntimePaths(config.data.db_path).socket, timeout_s=2.0) as client:
            return client.state()[0]
    except (DaemonAway, IpcError):
        return None


def _watch_headless(config: Config, session: Session, venue: Child, daemon: Child, duration_s: float) -> int:
    """Print a line a second on stderr, then one JSON object on stdout."""
    started = time.monotonic()
    state = _await_daemon(config, daemon)
    next_line = started
    while time.monotonic() - started < duration_s:
        next_line += 1.0
        time.sleep(max(0.0, min(next_line, started + duration_s) - time.monotonic()))
        for child in (venue, daemon):
            if child.exit_code is not None:
                raise PerpBotError(f"the {child.name} ended early with code {child.exit_code}: {child.last_words()}")
        fresh = _last_state(config)
        if fresh is None:
            _say("the daemon does not answer")
            continue
        state = fresh
        _say(_line(state))
    code = daemon.stop()
    if code != EXIT_OK:
        raise PerpBotError(f"the daemon ended with code {code}: {daemon.last_words()}")
    _say(f"check this session's decisions: {session.compare_command}")
    print(json.dumps(summary(state)), flush=True)
    return EXIT_OK


def summary(state: StateSnapshot) -> dict[str, float | int | str | None]:
    """Return the demo's last word: totals of the session, money in USD, lag in ms."""
    account, counters = state.account, state.counters
    return {
        "candles_processed": counters.candles_processed,
        "decisions": counters.decisions,
        "entries": counters.entries,
        "exits": counters.exits,
        "open_positions": len(state.positions),
        "equity": account.equity_usd,
        "realized_pnl": account.realized_usd,
        "fees": account.fees_usd,
        "funding": account.funding_usd,
        "accounting_error_usd": account.accounting_error_max_usd,
        "loop_lag_ms_p95": counters.loop_lag_ms_p95,
        "venue_speed": state.venue_speed,
        "stream_reconnects": counters.stream_reconnects,
    }


def _line(state: StateSnapshot) -> str:
    clock = datetime.fromtimestamp(state.as_of_ms / 1000, UTC).strftime("%m-%d %H:%M")
    marks = " ".join(f"{price.symbol} {price.mark_px:,.1f}" for price in state.prices if price.mark_px is not None)
    held = ", ".join(
        f"{item.side} {item.size:g} {item.symbol} {usd(item.unrealized_usd, sign=True)}" for item in state.positions
    )
    counters = state.counters
    return (
        f"{clock} {state.status} {marks} | equity {usd(state.account.equity_usd)} | {held or 'flat'} | "
        f"decisions {counters.decisions} entries {counters.entries} exits {counters.exits}"
    )


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if os.name != "posix":  # pragma: no cover
    raise ImportError("perpbot demo needs a POSIX system (Unix sockets and signals)")
