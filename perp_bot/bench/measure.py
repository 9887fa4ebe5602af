"""What a measurement is: how it is timed, summarised, and on which machine."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median as median_of
from typing import Any

from perp_bot.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure: `n` samples of `unit`, their median, and the value that 95 % of them were no worse than.

    For times less is better; for rates (units that end in `/s`) more is better, so their `p95` is the slow end.
    """

    subject: str
    name: str
    unit: str
    n: int
    median: float
    p95: float
    detail: str = ""
    times_ours: float | None = None  # of a peer: its median / ours of the same work in the same rounds

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")


def timed(fn: Callable[[], object], n: int) -> list[float]:
    """Return the seconds that each of `n` calls took, by the monotonic performance counter."""
    clock = time.perf_counter
    seconds = []
    for _ in range(n):
        start = clock()
        fn()
        seconds.append(clock() - start)
    return seconds


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile (`share` 0.95 of [1..100] is 95): a value that really occurred."""
    if not samples:
        raise UsageError("a percentile needs at least one sample; the measurement ran none")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summarize(
    subject: str,
    name: str,
    unit: str,
    samples: Sequence[float],
    *,
    scale: float = 1.0,
    detail: str = "",
    times_ours: float | None = None,
) -> Measurement:
    """Return the measurement of `samples`, each multiplied by `scale` (1e3 turns seconds into ms).

    Raises:
        UsageError: when there is no sample; a figure of nothing is never made up.
    """
    values = [sample * scale for sample in samples]
    worse = -1.0 if unit.endswith("/s") else 1.0  # of a rate, the slow end is the low one
    slow_end = worse * percentile([worse * value for value in values], 0.95)
    return Measurement(subject, name, unit, len(values), median_of(values), slow_end, detail, times_ours)


def figure_text(value: float) -> str:
    """Return a figure for people: four digits."""
    if value == 0.0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def user_environment(cache: Path) -> dict[str, str]:
    """Return the environment for measured processes: compiled modules are kept, as they are on a user's machine.

    Where ours forbids that (PYTHONDONTWRITEBYTECODE), they are kept in the folder `cache`; the first run fills it.
    """
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment["PYTHONPYCACHEPREFIX"] = str(cache / "compiled-modules")
    return environment


def machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, memory, Python, kernel. No host name, no path, no user."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "memory_gib": _memory_gib(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def _memory_gib() -> float | None:
    try:
        total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
    return round(total_bytes / 2**30, 1)
