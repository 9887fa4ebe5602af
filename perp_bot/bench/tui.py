"""Measures the dashboard on a real terminal beside a running daemon: first frame, live data, cost of watching."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from perp_bot.bench.daemon_rig import DaemonRig, cpu_s, practice_venue, rss_bytes
from perp_bot.bench.demo import FIRST_FRAME, LIVE_PRICES
from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.bench.startup import perpbot
from perp_bot.bench.terminal import Terminal
from perp_bot.core.errors import PerpBotError

SUBJECT = "tui"
HELP = "perpbot tui at a running daemon, 160x48: start to first frame and to live data, CPU and bytes a second"

_SPEED = 60.0


@dataclass(frozen=True, slots=True)
class _Watch:
    """One dashboard, watched from its start to its end."""

    frame_s: float
    live_s: float
    leave_s: float
    cpu_share: float
    bytes_a_second: float
    rss_bytes: int


def run(quick: bool) -> list[Measurement]:
    """Start the dashboard again and again, watch with each for a while, and leave it by its `q` key."""
    rounds, watch_s = (1, 2.0) if quick else (9, 5.0)
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, practice_venue(_SPEED) as venue:
        environment = user_environment(Path(name))
        with DaemonRig(Path(name) / "daemon", venue, environment) as rig:
            rig.start()
            command = [*perpbot(), "--config", str(rig.config_path), "tui"]
            seen = []
            for _ in range(rounds + 1):
                with Terminal(command, Path(name), environment) as screen:
                    seen.append(_watch(screen, watch_s))
    seen = seen[1:]  # the first one warms the caches
    shares, rates = [one.cpu_share for one in seen], [one.bytes_a_second for one in seen]
    watched = f"{watch_s:g} s of watching each; the venue's clock runs {_SPEED:g} times faster"
    return [
        summarize(SUBJECT, "start -> first frame", "ms", [one.frame_s for one in seen], scale=1e3),
        summarize(SUBJECT, "start -> live data", "ms", [one.live_s for one in seen], scale=1e3),
        summarize(SUBJECT, "q -> ended", "ms", [one.leave_s for one in seen], scale=1e3),
        summarize(SUBJECT, "CPU of one second of watching", "ms", shares, scale=1e3, detail=watched),
        summarize(SUBJECT, "drawn in one second", "kB", rates, scale=1e-3, detail=watched),
        summarize(SUBJECT, "memory", "MB", [one.rss_bytes for one in seen], scale=1e-6, detail="resident"),
    ]


def _watch(screen: Terminal, watch_s: float) -> _Watch:
    frame_s, live_s = screen.await_text(FIRST_FRAME), screen.await_text(LIVE_PRICES)
    screen.read_for(1.0)  # what comes once: log, trades, sizes
    cpu_before_s, bytes_before, began_s = cpu_s(screen.pid), screen.written_bytes, time.perf_counter()
    screen.read_for(watch_s)
    took_s = time.perf_counter() - began_s
    used_s, drawn_bytes = cpu_s(screen.pid) - cpu_before_s, screen.written_bytes - bytes_before
    memory_bytes = rss_bytes(screen.pid)
    asked_s = time.perf_counter()
    code = screen.leave()
    if code != 0:
        raise PerpBotError(f"tui: it ended with {code} after its q key")
    leave_s = time.perf_counter() - asked_s
    return _Watch(frame_s, live_s, leave_s, used_s / took_s, drawn_bytes / took_s, memory_bytes)
