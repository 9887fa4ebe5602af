"""Measures the dashboard on a real terminal beside a running daemon: first frame, live data, cost of watching."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from perp_bot.bench.daemon_rig import DaemonRig, cpu_s, rss_bytes
from perp_bot.bench.demo import FIRST_FRAME, LIVE_PRICES
from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.bench.startup import perpbot
from perp_bot.bench.terminal import Terminal
from perp_bot.practice.thread import PracticeServer

SUBJECT = "tui"
HELP = "perpbot tui at a running daemon, 160x48: start to first frame and to live data, CPU and bytes a second"

_SPEED = 60.0


def run(quick: bool) -> list[Measurement]:
    """Start the dashboard again and again, watch with each for a while, and leave it by its `q` key."""
    rounds, watch_s = (1, 2.0) if quick else (9, 5.0)
    frame_s, live_s, leave_s, shares, rates, rss = ([] for _ in range(6))  # type: tuple[list[float], ...]
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, PracticeServer(speed=_SPEED) as venue:
        environment = user_environment(Path(name))
        with DaemonRig(Path(name) / "daemon", venue, environment) as rig:
            rig.start()
            command = [*perpbot(), "--config", str(rig.config_path), "tui"]
            for number in range(rounds + 1):
                with Terminal(command, Path(name), environment) as screen:
                    frame, live = screen.await_text(FIRST_FRAME), screen.await_text(LIVE_PRICES)
                    screen.read_for(1.0)  # what comes once: log, trades, sizes
                    cpu_before_s, bytes_before, began_s = cpu_s(screen.pid), screen.written_bytes, time.perf_counter()
                    screen.read_for(watch_s)
                    took_s = time.perf_counter() - began_s
                    used_s, drawn = cpu_s(screen.pid) - cpu_before_s, screen.written_bytes - bytes_before
                    memory = rss_bytes(screen.pid)
                    asked_s = time.perf_counter()
                    screen.leave()
                if not number:
                    continue  # the first one warms the caches
                frame_s.append(frame)
                live_s.append(live)
                leave_s.append(time.perf_counter() - asked_s)
                shares.append(used_s / took_s)
                rates.append(drawn / took_s)
                rss.append(memory)
    watched = f"{watch_s:g} s of watching each; the venue's clock runs {_SPEED:g} times faster"
    return [
        summarize(SUBJECT, "start -> first frame", "ms", frame_s, scale=1e3),
        summarize(SUBJECT, "start -> live data", "ms", live_s, scale=1e3),
        summarize(SUBJECT, "q -> ended", "ms", leave_s, scale=1e3),
        summarize(SUBJECT, "CPU of one second of watching", "ms", shares, scale=1e3, detail=watched),
        summarize(SUBJECT, "drawn in one second", "kB", rates, scale=1e-3, detail=watched),
        summarize(SUBJECT, "memory", "MB", rss, scale=1e-6, detail="resident"),
    ]
