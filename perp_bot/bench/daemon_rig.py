"""Real `perpbot trade` processes at a practice venue that runs on a thread of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import yaml

from perp_bot.config.paths import RuntimePaths
from perp_bot.core.errors import DaemonAway, IpcError, PerpBotError
from perp_bot.ipc.client import Client
from perp_bot.ipc.state import StateSnapshot
from perp_bot.practice.settings import Limits
from perp_bot.practice.thread import PracticeServer

PATIENCE_S = 60.0
POLL_S = 0.003
STARTING = ("STARTING", "RECONCILING")


class DaemonRig:
    """One database folder, one daemon at a time; it ends with the block, the venue is its owner's."""

    def __init__(
        self,
        folder: Path,
        venue: PracticeServer,
        environment: Mapping[str, str],
        *,
        settings: Mapping[str, Any] | None = None,
        options: tuple[str, ...] = ("--paper",),
    ) -> None:
        """`settings` go over the few that a rig needs; `options` are those of `perpbot trade`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = RuntimePaths(folder / "perp_bot.db")
        self.config_path = folder / "config.yaml"
        self._venue = venue
        self._environment = environment
        self._settings = dict(settings or {})
        self._options = options
        self._talk = folder / "daemon.out"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        settings = {"venue": self._venue.base_url, "data": {"db_path": str(self.paths.db)}, **self._settings}
        self.config_path.write_text(yaml.safe_dump(settings), encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    # ------------------------------------------------------------ the daemon

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def spawn(self) -> float:
        """Start the daemon; return the moment before (performance counter, seconds)."""
        command = [sys.executable, "-m", "perp_bot", "--config", str(self.config_path), "trade", *self._options]
        with self._talk.open("ab") as output:
            started_s = time.perf_counter()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self._environment
            )
        return started_s

    def start(self) -> StateSnapshot:
        """Start the daemon and wait until it runs."""
        self.spawn()
        return self.await_state(lambda state: state.status not in STARTING)

    def await_state(self, is_it: Callable[[StateSnapshot], bool]) -> StateSnapshot:
        """Return the first state for which `is_it` holds; a daemon that ends instead says why."""
        deadline_s = time.perf_counter() + PATIENCE_S
        while time.perf_counter() < deadline_s:
            with suppress(DaemonAway, IpcError), Client(self.paths.socket) as client:
                while time.perf_counter() < deadline_s:
                    state, _age_s = client.state()
                    if is_it(state):
                        return state
                    time.sleep(POLL_S)
            self.check_alive()
            time.sleep(POLL_S)
        return self._fail(f"it did not get there in {PATIENCE_S:g} s")

    def perpbot(self, *arguments: str) -> float:
        """Run a command beside the daemon; return the seconds it took. It must succeed."""
        command = [sys.executable, "-m", "perp_bot", "--config", str(self.config_path), *arguments]
        started_s = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        took_s = time.perf_counter() - started_s
        if done.returncode != 0:
            self._fail(f"`perpbot {' '.join(arguments)}` ended with {done.returncode}: {done.stderr.strip()[-200:]}")
        return took_s

    def kill(self) -> None:
        """SIGKILL the daemon."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def check_alive(self) -> None:
        """Raise when the daemon has ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            self._fail(f"it ended with {self._process.returncode}")

    def stop(self) -> float:
        """End the daemon as its user would; return the seconds it took."""
        assert self._process is not None
        started_s = time.perf_counter()
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        took_s = time.perf_counter() - started_s
        if code != 0:
            self._fail(f"it ended with {code} when asked to stop")
        return took_s

    def _fail(self, what: str) -> NoReturn:
        said = self._talk.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["nothing"]
        raise PerpBotError(f"the measured daemon: {what}; it said: {said[-1]}")

    # ------------------------------------------------------------ the venue's time

    def step(self, client: Client, to: str) -> None:
        """Advance the venue to the next close of `to` and wait until the daemon has settled it."""
        client.wait_until(self._venue.step(to=to), PATIENCE_S)


def practice_venue(speed: float | None) -> PracticeServer:
    """Return a venue that is not started yet: the same market each time, with weight enough for start after start."""
    return PracticeServer(speed=speed, start="400", seed=42, limits=Limits(weight_per_minute=10**6))


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, by the kernel's own count (Linux)."""
    lines = _proc(pid, "status").splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kilobytes) * 1024


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used so far (Linux; ticks of 10 ms)."""
    after_name = _proc(pid, "stat").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
    except OSError as error:
        raise PerpBotError(f"/proc/{pid}/{name} cannot be read ({error.strerror}): measured on Linux only") from None
