"""Measures how long commands take from the shell's view: whole processes, run in turn, and what their imports cost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perp_bot.bench.measure import Measurement, summarize, user_environment
from perp_bot.core.errors import EXIT_AWAY, EXIT_OK, PerpBotError

SUBJECT = "startup"
HELP = "whole processes: --version (goal 30 ms), --help (goal 90 ms), status without a daemon, imports"

# What a command imports before it does anything; measured as processes of their own.
IMPORTS = (
    "click",
    "msgspec",
    "perp_bot.ipc.client",
    "perp_bot.cli.main",
    "perp_bot.tui.app",
    "perp_bot.trading.daemon",
)


def run(quick: bool) -> list[Measurement]:
    """Run every command in turn, round after round, after one that warms the page cache up.

    The daemon's own "deciding within 1 s of its start" is measured where a daemon and a venue run: see the subject
    `daemon`.
    """
    rounds = 2 if quick else 15
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as empty, tempfile.TemporaryDirectory() as cache:
        environment = user_environment(Path(cache))
        commands = {
            "python -c pass (floor)": ([sys.executable, "-c", "pass"], EXIT_OK),
            "perpbot --version": ([*perpbot(), "--version"], EXIT_OK),
            "perpbot --help": ([*perpbot(), "--help"], EXIT_OK),
            "perpbot status, no daemon": ([*perpbot(), "status"], EXIT_AWAY),
            **{f"import {name}": ([sys.executable, "-c", f"import {name}"], EXIT_OK) for name in IMPORTS},
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, (command, code) in commands.items():
                took_s = _timed_process(command, code, Path(empty), environment)
                if number:
                    seconds[name].append(took_s)
    return [summarize(SUBJECT, name, "ms", samples, scale=1e3) for name, samples in seconds.items()]


def perpbot() -> list[str]:
    """Return what the user runs: the installed script, else the package."""
    script = Path(sys.executable).with_name("perpbot")
    return [str(script)] if script.exists() else [sys.executable, "-m", "perp_bot"]


def _timed_process(command: list[str], expected_code: int, folder: Path, environment: dict[str, str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    took_s = time.perf_counter() - start
    if done.returncode != expected_code:
        said = (done.stderr or done.stdout).strip().splitlines() or ["silent"]
        shown = " ".join([Path(command[0]).name, *command[1:]])
        raise PerpBotError(f"startup: `{shown}` ended with {done.returncode}, expected {expected_code}: {said[-1]}")
    return took_s
