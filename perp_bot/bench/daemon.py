"""Measures the start of the daemon: from its process to the loop running and to the first decision."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from perp_bot.bench.daemon_rig import STARTING, DaemonRig, cpu_s, practice_venue
from perp_bot.bench.measure import Measurement, summarize, user_environment

SUBJECT = "daemon"
HELP = "the daemon's process to its loop running and to its first decision (goal 1 s); at a warm practice venue"

_TIMEFRAME = "15m"
_COINS = 2


def run(quick: bool) -> list[Measurement]:
    """Measure first starts on an empty folder, and starts with stored history after one more close each.

    The close that happened while the daemon was down is decided as soon as the loop runs, by interpreted kernels
    while the compiled ones are loaded behind.
    """
    first, again, stops = _Starts("first ever"), _Starts("history stored"), []
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, practice_venue(None) as venue:
        folder = Path(name)
        environment = user_environment(folder)
        with DaemonRig(folder / "warm-up", venue, environment) as rig:
            rig.start()
            rig.stop()
        for number in range(1 if quick else 9):
            with DaemonRig(folder / f"first{number}", venue, environment) as rig:
                first.take(rig, decided=0)
                rig.stop()
        with DaemonRig(folder / "again", venue, environment) as rig:
            rig.start()
            decided = rig.await_state(lambda state: state.counters.decisions >= _COINS).counters.decisions
            rig.stop()
            for _ in range(1 if quick else 15):
                venue.step(to=_TIMEFRAME)
                decided = again.take(rig, decided=decided)
                stops.append(rig.stop())
    stop = summarize(SUBJECT, "asked to stop -> ended", "ms", stops, scale=1e3)
    return [*first.measured(), *again.measured(), stop]


class _Starts:
    """Samples of one kind of start."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._running_s: list[float] = []
        self._decided_s: list[float] = []
        self._cpu_s: list[float] = []

    def take(self, rig: DaemonRig, *, decided: int) -> int:
        """Start once, until every coin's newest close is decided; return the new total of decisions."""
        started_s = rig.spawn()
        rig.await_state(lambda state: state.status not in STARTING)
        running_s = time.perf_counter() - started_s
        state = rig.await_state(lambda state: state.counters.decisions >= decided + _COINS)
        self._decided_s.append(time.perf_counter() - started_s)
        self._cpu_s.append(cpu_s(rig.pid))
        self._running_s.append(running_s)
        return state.counters.decisions

    def measured(self) -> list[Measurement]:
        """Return the figures."""
        text = "seen over its socket"
        cpu = "processor time of all its threads until then, kernels loading behind included"
        return [
            summarize(SUBJECT, f"start -> loop runs, {self._kind}", "ms", self._running_s, scale=1e3, detail=text),
            summarize(SUBJECT, f"start -> first decision, {self._kind}", "ms", self._decided_s, scale=1e3, detail=text),
            summarize(SUBJECT, f"  CPU until first decision, {self._kind}", "ms", self._cpu_s, scale=1e3, detail=cpu),
        ]
