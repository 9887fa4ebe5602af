"""Measures the trading loop's lag in a real daemon, alone and while dashboards watch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from perp_bot.bench.daemon_rig import DaemonRig, practice_venue
from perp_bot.bench.demo import LIVE_PRICES
from perp_bot.bench.ipc import peer
from perp_bot.bench.measure import Measurement, user_environment
from perp_bot.bench.startup import perpbot
from perp_bot.bench.terminal import Terminal
from perp_bot.core.errors import PerpBotError
from perp_bot.ipc.state import Counters

SUBJECT = "lag"
HELP = "loop lag of a real daemon while five dashboards watch (goal p95 5 ms); the venue's clock runs 60 times faster"

Environment = Mapping[str, str]

SPEED = 60.0
WATCHERS = 5


def run(quick: bool) -> list[Measurement]:
    """Run one daemon each: alone, with five subscribers that read everything, with five dashboards on terminals."""
    seconds = 0.5 if quick else 40.0
    kinds = {"alone": _alone, f"{WATCHERS} subscribers": _subscribers, f"{WATCHERS} dashboards": _dashboards}
    found = []
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name:
        environment = user_environment(Path(name))
        for number, (kind, watch) in enumerate(kinds.items()):
            folder = Path(name) / str(number)
            with practice_venue(SPEED) as venue, DaemonRig(folder, venue, environment) as rig:
                rig.start()
                watch(rig, environment, seconds)
                found.append(_measured(kind, rig.await_state(lambda state: True).counters, seconds))
    return found


def _measured(kind: str, counters: Counters, seconds: float) -> Measurement:
    if counters.loop_lag_ms_p50 is None or counters.loop_lag_ms_p95 is None:
        raise PerpBotError("lag: the daemon's loop took no pass")
    detail = f"put on the queue to handled; {seconds:g} s, the daemon's start included"
    median, p95 = counters.loop_lag_ms_p50, counters.loop_lag_ms_p95
    return Measurement(SUBJECT, f"loop lag, {kind}", "ms", counters.loop_lag_passes, median, p95, detail)


def _alone(_rig: DaemonRig, _environment: Environment, seconds: float) -> None:
    time.sleep(seconds)


def _subscribers(rig: DaemonRig, _environment: Environment, seconds: float) -> None:
    with peer("readers", rig.paths.directory, WATCHERS):
        _await_viewers(rig)
        time.sleep(seconds)
        _check_viewers(rig)


def _dashboards(rig: DaemonRig, environment: Environment, seconds: float) -> None:
    command = [*perpbot(), "--config", str(rig.config_path), "tui"]
    with ExitStack() as stack:
        screens = [stack.enter_context(Terminal(command, rig.paths.directory, environment)) for _ in range(WATCHERS)]
        for screen in screens:
            screen.await_text(LIVE_PRICES)
        _await_viewers(rig)
        until_s = time.perf_counter() + seconds
        while time.perf_counter() < until_s:
            for screen in screens:
                screen.read_for(0.02)  # a terminal that nobody reads would stop its dashboard
        _check_viewers(rig)


def _await_viewers(rig: DaemonRig) -> None:
    rig.await_state(lambda state: state.viewers >= WATCHERS)


def _check_viewers(rig: DaemonRig) -> None:
    viewers = rig.await_state(lambda state: True).viewers
    if viewers < WATCHERS:
        raise PerpBotError(f"lag: {viewers} of {WATCHERS} watchers are still attached")
