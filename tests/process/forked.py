"""perpbot processes without the second and more that the imports of each would take: forked from one that has them.

They are processes as any other, with the command line, the environment and the files of one that was started by hand;
`make test` starts some five hundred. How a start from nothing goes, tests/cli and the demo's test show.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType

_PRELOADED = "preloaded"
_servers = multiprocessing.get_context("forkserver")


@lru_cache(maxsize=1)
def _serve() -> None:
    """Start the server; what it cannot import it leaves out without a word, so that each fork looks."""
    _servers.set_forkserver_preload([_PRELOADED])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    try:
        forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _no_main() -> Iterator[None]:
    """Hide the program that runs the tests: each fork would import it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class Forked:
    """A perpbot process, used as `subprocess.Popen` is."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: Path,
        stderr: Path | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start `perpbot arguments`; what it says is appended to the files, without `stderr` to one."""
        places = (str(stdout), None if stderr is None else str(stderr), None if cwd is None else str(cwd))
        self.args = list(arguments)
        _serve()
        self._process = _servers.Process(target=_be_perpbot, args=(self.args, dict(env), *places))
        with _no_main():
            self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code; minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code; `subprocess.TimeoutExpired` when it does not come in time."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def run(
    arguments: Sequence[str], *, env: Mapping[str, str], timeout_s: float, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `perpbot arguments` and return what it said; `subprocess.TimeoutExpired` when it does not end in time."""
    with tempfile.TemporaryDirectory(prefix="perpbot-said-") as name:
        stdout, stderr = Path(name, "stdout"), Path(name, "stderr")
        process = Forked(arguments, env=env, stdout=stdout, stderr=stderr, cwd=cwd)
        try:
            code = process.wait(timeout_s)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return subprocess.CompletedProcess(process.args, code, stdout.read_text(), stderr.read_text())


def _be_perpbot(arguments: list[str], env: dict[str, str], stdout: str, stderr: str | None, cwd: str | None) -> None:
    """In the fork: become what `python -m perp_bot arguments` is."""
    if _PRELOADED not in sys.modules:
        raise ImportError(f"the fork server could not import {_PRELOADED}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    said = os.open(stdout, flags, 0o600)
    told = said if stderr is None else os.open(stderr, flags, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (said, 1), (told, 2)):
        os.dup2(source, target)
    for source in {said, told, nothing}:
        os.close(source)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["perpbot", *arguments]
    from perp_bot.__main__ import main
    from perp_bot.ops import crash_points

    crash_points.arm()
    try:
        sys.exit(main())
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
