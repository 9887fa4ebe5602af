"""A process that has imported what every test run needs but the package, and forks one run after another.

Reads one JSON object a line: {"arguments", "env", "cwd", "output", "timeout_s"}; answers each with pytest's exit code.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback

import aiohttp.web
import click
import eth_account
import hyperliquid.utils.signing
import hypothesis.strategies
import msgspec
import numba
import numpy
import pandas
import pytest
import requests
import rich.console
import talib
import textual.app
import websocket
import yaml

IMPORTED = (
    aiohttp, click, eth_account, hypothesis, hyperliquid, msgspec, numba, numpy, pandas, requests, rich, talib, textual,
    websocket, yaml,
)  # fmt: skip
TIMED_OUT = 124


def main() -> None:
    """Serve until the input ends."""
    gc.freeze()  # pytest looks through everything at its end; what is here already is not its
    for line in sys.stdin:
        sys.stdout.write(f"{run(json.loads(line))}\n")
        sys.stdout.flush()


def run(wanted: dict[str, object]) -> int:
    """Run pytest in a fork; return its exit code, minus the signal that ended it, or `TIMED_OUT`."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = be_pytest(wanted)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline_s = time.monotonic() + float(wanted["timeout_s"])  # type: ignore[arg-type]
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline_s:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return TIMED_OUT
        time.sleep(0.005)


def be_pytest(wanted: dict[str, object]) -> int:
    """In the fork: become `python -P -m pytest arguments` with that environment."""
    output = os.open(str(wanted["output"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(wanted["env"])  # type: ignore[call-overload]
    os.chdir(str(wanted["cwd"]))
    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    code = int(pytest.main(list(wanted["arguments"])))  # type: ignore[call-overload]
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
