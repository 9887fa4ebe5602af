"""Measures what many days cost: a real daemon stepped through 30 venue-days, its memory and its time per day."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from perp_bot.bench.daemon_rig import PATIENCE_S, DaemonRig, practice_venue, rss_bytes
from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.ipc.client import Client

SUBJECT = "soak"
HELP = "30 venue-days at step: memory growth a day after the first (goal < 1 MB), wall time a day (goal < 60 s)"
ONLY_WHEN_NAMED = True  # minutes, where the other subjects take seconds

DAYS = 30
TIMEFRAME = "15m"
CLOSES_A_DAY = 96


@dataclass(frozen=True, slots=True)
class Day:
    """The daemon at the end of a venue-day."""

    number: int
    wall_s: float
    rss_bytes: int
    decisions: int
    entries: int
    accounting_error_usd: float


def run(quick: bool) -> list[Measurement]:
    """Step through the days, one 15m close after the other, each settled before the next."""
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, practice_venue(None) as venue:
        folder = Path(name)
        with DaemonRig(folder / "daemon", venue, user_environment(folder)) as rig:
            rig.start()
            days = []
            for day in live_through(rig, 3 if quick else DAYS):
                days.append(day)
                said = f"day {day.number}: {day.rss_bytes / 1e6:.1f} MB, {day.wall_s:.1f} s, {day.decisions} decisions"
                print(f"  {said}", file=sys.stderr, flush=True)
            rig.stop()
    first, last = days[0], days[-1]
    growth = [float(after.rss_bytes - before.rss_bytes) for before, after in pairwise(days)]
    mean_mb = (last.rss_bytes - first.rss_bytes) / (len(days) - 1) / 1e6
    about = f"{first.rss_bytes / 1e6:.1f} MB after day 1, {last.rss_bytes / 1e6:.1f} MB after day {last.number}"
    return [
        summarize(SUBJECT, "memory growth a day", "MB", growth, scale=1e-6, detail=f"{about}: mean {mean_mb:.3f} MB"),
        summarize(SUBJECT, "wall time a day", "s", [day.wall_s for day in days], detail=f"{CLOSES_A_DAY} closes"),
    ]


def live_through(rig: DaemonRig, days: int) -> Iterator[Day]:
    """Step a running daemon through whole days and yield what each cost."""
    with Client(rig.paths.socket, timeout_s=PATIENCE_S) as client:
        for number in range(1, days + 1):
            began_s = time.perf_counter()
            for _ in range(CLOSES_A_DAY):
                rig.step(client, TIMEFRAME)
            wall_s = time.perf_counter() - began_s
            state, _age_s = client.state()
            counters = state.counters
            yield Day(
                number,
                wall_s,
                rss_bytes(rig.pid),
                counters.decisions,
                counters.entries,
                state.account.accounting_error_max_usd,
            )
