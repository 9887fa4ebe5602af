"""Runs a command as a process of its own and says how long it took and how much memory it had at its peak."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from perp_bot.core.errors import EXIT_OK, PerpBotError

# A small process between us and the command: what a process is forked from counts as its own peak (Linux).
_BETWEEN = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:]).returncode
seconds = time.perf_counter() - start
kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(f"\\n{code} {seconds} {kilobytes}", file=sys.stderr)
"""
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One run of a command that ended well."""

    seconds: float
    peak_bytes: int
    stdout: str


def run_whole(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ProcessRun:
    """Run `command` in `folder` to its end.

    Raises:
        PerpBotError: it did not end with 0; the line has its last words.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BETWEEN, *command], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    shown = " ".join([Path(command[0]).name, *command[1:]])
    *said, last = done.stderr.strip().splitlines() or [""]
    if done.returncode != 0:
        raise PerpBotError(f"`{shown}` did not start: {last}")
    code, seconds, kilobytes = last.split()
    if code != str(EXIT_OK):
        words = [line for line in said or done.stdout.splitlines() if line.strip()] or ["nothing"]
        raise PerpBotError(f"`{shown}` ended with {code}, expected {EXIT_OK}: {words[-1]}")
    return ProcessRun(float(seconds), int(kilobytes) * 1024, done.stdout)
