"""Our side of the worker protocol: a peer in a process of its own interpreter that runs one case at a time when asked.

The other side is `peer_scripts/worker.py`. Between requests a peer waits on its stdin, so that rounds of several peers
can take turns on an otherwise quiet machine.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.errors import PerpBotError

PATIENCE_S = 600.0


class PeerWorker:
    """One running peer; it ends with the block. Every failure is one line with the peer's name and last words."""

    def __init__(
        self,
        name: str,
        python: Path,
        script: Path,
        task_folder: Path,
        *,
        warm_up_rows: int,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.name = name
        self.version = ""
        self.cases: tuple[str, ...] = ()
        self._command = [str(python), str(script)]
        self._task = {"folder": str(task_folder), "warm_up_rows": warm_up_rows}
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def __enter__(self) -> Self:
        self._talk = tempfile.TemporaryFile()
        # Its own packages and nothing of ours.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._talk, env=environment
        )
        try:
            hello = self._ask(self._task)
        except BaseException:
            self._end()
            raise
        self.version, self.cases = str(hello["version"]), tuple(hello["cases"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The peer's process id."""
        assert self._process is not None
        return self._process.pid

    def seconds(self, case: str) -> float:
        """Run a case once; return the seconds that the peer measured."""
        return float(self._ask({"run": case})["seconds"])

    def result(self, case: str) -> NDArray[np.float64]:
        """Run a case once, untimed; return what it gave, trades with one row each (`TRADE_COLUMNS`)."""
        path = Path(self._ask({"result": case})["path"])
        made: NDArray[np.float64] = np.load(path)
        path.unlink()
        return made

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            self._fail("it ended")
        line = self._line()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._fail(f"it answered {line[:80]!r}")
        return answer

    def _line(self) -> bytes:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        while b"\n" not in self._unread:
            ready, _, _ = select.select([process.stdout], [], [], self._patience_s)
            if not ready:
                self._fail(f"no answer in {self._patience_s:g} s")
            more = os.read(process.stdout.fileno(), 65_536)
            if not more:
                self._fail("it ended")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _fail(self, what: str) -> NoReturn:
        self._talk.seek(0)
        said = self._talk.read().decode(errors="replace").strip().splitlines() or ["nothing"]
        raise PerpBotError(f"the peer {self.name}: {what}; it said: {said[-1]}")

    def _end(self) -> None:
        process = self._process
        if process is not None:
            process.kill()
            process.communicate()
        self._talk.close()
