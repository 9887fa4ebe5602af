"""Measures the daemon's socket: a status round trip while 20 clients are attached and one of them never reads."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from perp_bot.bench.ipc_peers import paths
from perp_bot.bench.measure import Measurement, summarize, timed
from perp_bot.core.errors import PerpBotError

SUBJECT = "ipc"
HELP = "status over the socket, 4 KB, 20 clients attached and one not reading (goal p95 0.3 ms)"

SNAPSHOT_BYTES = 4096
ATTACHED = 20


def run(quick: bool) -> list[Measurement]:
    """Measure against a server in a process of its own; the clients that read are in a third."""
    from perp_bot.ipc.client import Client

    n = 200 if quick else 20_000
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perpbot-bench-")))
        stack.enter_context(peer("server", folder, SNAPSHOT_BYTES))
        socket_path = paths(folder).socket
        asking = stack.enter_context(Client(socket_path))
        alone = summarize(SUBJECT, "status, one client", "ms", timed(asking.state, n), scale=1e3, detail="decoded")
        stack.enter_context(peer("readers", folder, ATTACHED - 1))
        deaf = stack.enter_context(Client(socket_path))
        next(deaf.subscribe(0.05))  # subscribed, and never read again
        seconds = timed(asking.state, n)
        raw_seconds = timed(asking.raw_state, n)
        size = len(asking.raw_state())
    about = f"{size:,} bytes, decoded"
    return [
        alone,
        summarize(SUBJECT, f"status, {ATTACHED} attached", "ms", seconds, scale=1e3, detail=about),
        summarize(SUBJECT, f"status, {ATTACHED} attached, raw", "ms", raw_seconds, scale=1e3, detail="not decoded"),
    ]


@contextmanager
def peer(role: str, folder: Path, number: int) -> Iterator[None]:
    command = [sys.executable, "-m", "perp_bot.bench.ipc_peers", role, str(folder), str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise PerpBotError(f"ipc: the {role} process did not start")
            yield
            if process.poll() is not None:
                raise PerpBotError(f"ipc: the {role} process ended while it was measured")
        finally:
            process.stdin.close()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
