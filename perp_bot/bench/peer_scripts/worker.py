"""The side of a peer in the worker protocol: answers requests on stdin one at a time, with the seconds it measured.

A script next to this file calls `serve(prepare, version)`. The first line on stdin is the task: the folder with the
data, and how many rows to warm up on. `prepare(data)` gives a `Case` by name. Requests are JSON lines, and each is
answered by one: {"run": case} with the seconds of one run, {"result": case} with a file of what another run gave.
The end of stdin ends the process.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Of every trade, as float64: the bars of its entry and exit, their prices, and the PnL of one coin after fees.
TRADE_COLUMNS = ("entry_bar", "exit_bar", "entry_px", "exit_px", "pnl_usd")


class Case(NamedTuple):
    """What can be measured: `run` is timed, `rows` makes an array of what it returned and is not."""

    run: Callable[[], Any]
    rows: Callable[[Any], Any]


class Timed(NamedTuple):
    """What a run returns that measured a part of itself."""

    made: Any
    seconds: float


class Data:
    """The columns of the task, mapped from files `<name>.npy`; `settings` are the numbers beside them."""

    def __init__(self, folder: str, rows: int | None = None) -> None:
        self.folder = Path(folder)
        self.settings = json.loads((self.folder / "settings.json").read_text(encoding="utf-8"))
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        path = self.folder / f"{name}.npy"
        if name.startswith("_") or not path.exists():
            raise AttributeError(name)
        column = np.load(path, mmap_mode="r")
        return column if self._rows is None else column[: self._rows]


def serve(prepare: Callable[[Data], dict[str, Case]], version: str) -> None:
    """Answer requests until stdin ends. What libraries print goes to stderr: stdout belongs to the protocol."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    task = json.loads(sys.stdin.readline())
    for case in prepare(Data(task["folder"], task["warm_up_rows"])).values():
        case.run()
    data = Data(task["folder"])
    cases = prepare(data)
    answer(version=version, cases=list(cases))
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            gc.collect()
            answer(seconds=_timed(cases[request["run"]]).seconds)
        else:
            case = cases[request["result"]]
            path = data.folder / f"result-{os.getpid()}.npy"
            np.save(path, np.asarray(case.rows(_timed(case).made), dtype=np.float64))
            answer(path=str(path))


def _timed(case: Case) -> Timed:
    start = time.perf_counter()
    made = case.run()
    seconds = time.perf_counter() - start
    return made if isinstance(made, Timed) else Timed(made, seconds)
