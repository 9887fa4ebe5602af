"""A sweep on a Dask cluster: the data once to every worker, then blocks of at least a second's work.

A block is computed by the code that computes it here (`run_points_on`), so results are the same bit for bit wherever
it ran. A worker that is lost costs its blocks: they are computed again on another one.
"""

from __future__ import annotations

import hashlib
import logging
import math
import pickle
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perp_bot.backtest.engine import span_of
from perp_bot.backtest.grid import Grid, grid_of
from perp_bot.backtest.sweep import SweepTable, Value, run_points_on
from perp_bot.backtest.sweep_blocks import Advance, SweepCase, Swept, dealt, joined, together
from perp_bot.core.counting import counted
from perp_bot.core.errors import ClusterAway, PerpBotError, UsageError
from perp_bot.version import VERSION

BLOCK_S = 1.5  # of work a block: a task costs Dask a few ms, so that scheduling stays far below 5 %
CONNECT_S = 5
_TIMED_POINTS = 16  # computed here first, the settings in use among them: how long they take says how many a block has
_RETRIES = 3  # of a block that failed on a worker
LOST_S = 30  # without any worker, then we give up
_LOOK_S = 1.0  # so often we look whether there is still a cluster
_MEMORY = "give the workers more memory (dask worker --memory-limit) or fewer threads, or run a shorter span"

Points = Sequence[Mapping[str, Value]]


def sweep_on_cluster(
    address: str, case: SweepCase, points: Points, advance: Advance, *, block_points: int | None = None
) -> Swept:
    """Run the points on the cluster at `address` (tcp://host:8786); Ctrl-C gives the finished ones.

    `block_points`: how many a block has; None: as many as take `BLOCK_S`.

    Raises:
        UsageError: Dask is not installed here, the address is none, or the workers run another perpbot.
        ClusterAway: no scheduler answers, it has no workers, or it went away.
        PerpBotError: a block ran out of memory, or kills every worker that takes it.
    """
    with _client(address) as client:
        _same_program(client, address)
        order = together(case.strategy, points)
        first, size = _timed(case, points, order)
        size = block_points or size
        parts = [first] if first[0] else []
        known = set(first[0])
        blocks = list(dealt(case.strategy, points, [place for place in order if place not in known], size))
        advance(len(first[0]) / len(order))
        try:
            for place, table in _run(client, address, case, points, blocks):
                parts.append((blocks[place], table))
                advance(sum(len(places) for places, _ in parts) / len(order))
        except KeyboardInterrupt:
            if not parts:
                raise
        return joined(parts, points)


# ------------------------------------------------------------ here


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "--cluster needs Dask, which is not installed: pip install 'perp-bot[cluster]', or leave --cluster out"
        ) from None
    for name in list(logging.root.manager.loggerDict):  # Dask sets the level of each; what they say, we say in a line
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    _refuse_bad_address(address)
    try:
        client = Client(address, timeout=f"{CONNECT_S}s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        why = f": {error}" if isinstance(error, ValueError) else ""
        raise ClusterAway(
            f"no Dask scheduler answers at {address} within {CONNECT_S} s{why}; start one (dask scheduler), correct "
            "--cluster / backtest.cluster, or leave it out to use this machine"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=CONNECT_S)


def _refuse_bad_address(address: str) -> None:
    """Raise UsageError for what is no address: a Client that cannot read it prints a traceback when it is freed."""
    from distributed.comm.addressing import get_address_host_port

    try:
        host, port = get_address_host_port(address)
        is_lawful = bool(host) and 0 < port < 65_536
    except ValueError:
        is_lawful = False
    if not is_lawful:
        raise UsageError(
            f"--cluster / backtest.cluster {address!r} is no address; it is tcp://HOST:PORT of a scheduler"
        )


def _same_program(client: Any, address: str) -> None:
    """Refuse a cluster without workers, or with workers that run another program: bits would differ."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_S)
    except TimeoutError:
        raise ClusterAway(
            f"the Dask scheduler at {address} has no workers; start some: dask worker {address}"
        ) from None
    try:
        found: dict[str, tuple[str, ...]] = client.run(program)
    except (ImportError, AttributeError, TypeError, OSError, RuntimeError) as error:
        raise UsageError(f"the workers of {address} cannot run perpbot {VERSION} ({error}); install it there") from None
    ours = program()
    for worker, theirs in found.items():
        if theirs != ours:
            raise UsageError(
                f"worker {worker} runs perpbot, numpy, numba {', '.join(theirs)}, this is {', '.join(ours)}: results "
                "would not be the same; install the same versions"
            )


def _timed(case: SweepCase, points: Points, order: Sequence[int]) -> tuple[tuple[list[int], SweepTable], int]:
    """Run a few points here, evenly chosen; return them, and how many points make a block."""
    grid = grid_of(case.market)
    begin, end = span_of(grid, case.from_ms, case.to_ms)
    places = [int(order[at]) for at in np.unique(np.linspace(0, len(order) - 1, _TIMED_POINTS).astype(int))]
    chosen = [points[place] for place in places]
    run_points_on(case.config, grid, case.strategy, chosen[:1], begin, end, threads=1)  # compiles
    begun = time.perf_counter()
    table = run_points_on(case.config, grid, case.strategy, chosen, begin, end, threads=1)
    each_s = max(1e-7, (time.perf_counter() - begun) / len(places))
    return (places, table), max(1, math.ceil(BLOCK_S / each_s))


def _run(
    client: Any, address: str, case: SweepCase, points: Points, blocks: Sequence[Sequence[int]]
) -> Iterator[tuple[int, SweepTable]]:
    """Yield (block, its table) as they are finished."""
    packed = pickle.dumps(case, protocol=pickle.HIGHEST_PROTOCOL)
    name = f"perpbot-{hashlib.sha256(packed).hexdigest()}"
    shared = client.scatter({name: Packed(name, packed)}, broadcast=True)[name] if blocks else None
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    futures = {}
    for number, places in enumerate(blocks):
        chosen = [dict(points[place]) for place in places]
        future = client.submit(run_block, shared, chosen, retries=_RETRIES, pure=False)
        future.add_done_callback(ended.put)
        futures[future.key] = (future, number)
    try:
        while futures:
            future, number = futures[_next(ended, client, address, len(futures)).key]
            if future.status in ("lost", "pending"):  # its worker died with the result: it is computed again
                future.add_done_callback(ended.put)
                continue
            del futures[future.key]
            if future.status == "error":
                raise _told(future.exception(), number, blocks)
            if future.status != "finished":
                left = len(futures) + 1
                if client.status != "running":
                    raise ClusterAway(_gone(address, left))
                raise ClusterAway(_lost(address, f"block {number + 1} of {len(blocks)} and {left - 1} more"))
            yield number, replace(future.result(), points=tuple(points[place] for place in blocks[number]))
    finally:
        client.cancel([future for future, _ in futures.values()], force=True)


def _next(ended: queue.SimpleQueue[Any], client: Any, address: str, left: int) -> Any:
    """Return the next future that ended; give up when there has been nobody to work on them for `LOST_S`."""
    alone_since: float | None = None
    while True:
        try:
            return ended.get(timeout=_LOOK_S)
        except queue.Empty:
            if client.status != "running":
                raise ClusterAway(_gone(address, left)) from None
        if client.nthreads():
            alone_since = None
            continue
        now = time.monotonic()
        alone_since = now if alone_since is None else alone_since
        if now - alone_since > LOST_S:
            raise ClusterAway(_lost(address, counted(left, "block")))


def _lost(address: str, left: str) -> str:
    return (
        f"the Dask cluster at {address} lost every worker that held the data, with {left} to do: most likely "
        f"they ran out of memory; {_MEMORY}"
    )


def _gone(address: str, left: int) -> str:
    return (
        f"the Dask cluster at {address} went away with {counted(left, 'block')} to do; start it again, or leave "
        "--cluster out to use this machine"
    )


def _told(error: BaseException, number: int, blocks: Sequence[Sequence[int]]) -> PerpBotError:
    """Return the one line for a block that failed."""
    if isinstance(error, PerpBotError):
        return error
    which = f"block {number + 1} of {len(blocks)} ({counted(len(blocks[number]), 'parameter set')})"
    if isinstance(error, MemoryError):
        return PerpBotError(f"{which} ran out of memory on a worker; {_MEMORY}")
    if type(error).__name__ == "KilledWorker":
        return PerpBotError(f"{which} ended every worker that took it, most likely out of memory; {_MEMORY}")
    return PerpBotError(f"{which} failed on a worker: {type(error).__name__}: {error}")


# ------------------------------------------------------------ on a worker


@dataclass(frozen=True, slots=True)
class Packed:
    """A case as it is sent: bytes, so that Dask never looks inside, and their hash."""

    name: str
    content: bytes


_lock = threading.Lock()
_laid: tuple[str, SweepCase, Grid] | None = None


def program() -> tuple[str, ...]:
    """Return the versions that results depend on."""
    import numba
    import numpy as np

    return VERSION, np.__version__, numba.__version__


def run_block(packed: Packed, points: Points) -> SweepTable:
    """Run a block; the grid is laid once a worker process."""
    case, grid = _on_grid(packed)
    begin, end = span_of(grid, case.from_ms, case.to_ms)
    table = run_points_on(case.config, grid, case.strategy, points, begin, end, threads=1)
    return replace(table, points=())


def _on_grid(packed: Packed) -> tuple[SweepCase, Grid]:
    global _laid
    with _lock:
        if _laid is None or _laid[0] != packed.name:
            case: SweepCase = pickle.loads(packed.content)  # noqa: S301 - made by `_run`, through the cluster's own pickles
            _laid = (packed.name, case, grid_of(case.market))
        return _laid[1], _laid[2]
