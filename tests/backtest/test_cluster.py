"""Sweeps on a real Dask cluster on the loopback: the same bits, a lost worker, memory that runs out, nobody there."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from market_rig import config_with, wandering
from test_engine_equality import LOOSE, NO_LIMITS

from perp_bot.backtest import cluster
from perp_bot.backtest.cluster import sweep_on_cluster
from perp_bot.backtest.parameters import axis_of, grid_points
from perp_bot.backtest.sweep import SweepTable, run_points
from perp_bot.backtest.sweep_blocks import SweepCase, Swept
from perp_bot.core.errors import ClusterAway, PerpBotError, UsageError

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(180)]

CONFIG = config_with(**{**LOOSE, **NO_LIMITS})
POINTS = list(grid_points([
    axis_of("entry_z", {"from": 1.0, "to": 1.9, "step": 0.1}, "t"), axis_of("exit_z", [0.2, 0.4], "t"),
    axis_of("lookback", [15, 20, 30], "t"),
]))  # fmt: skip


@dataclass
class Cluster:
    """A scheduler and its workers, each a process of its own."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[Cluster]:
    """Start a scheduler and two workers without nannies: a worker that is killed stays dead."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(cluster.__file__).parents[2]), str(Path(__file__).parent)]),
    }
    log = (tmp_path / "dask.log").open("wb")

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", *arguments], cwd=tmp_path, env=env, stdout=log, stderr=log)

    scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    worker = ("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    workers = [start(*worker, "--name", name) for name in ("a", "b")]
    try:
        yield Cluster(address, scheduler, workers)
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()
        log.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a cluster that is just starting."""
    monkeypatch.setattr(cluster, "CONNECT_S", 60)


def case_of(seed: int = 35, bars: int = 3_000) -> SweepCase:
    return SweepCase(CONFIG, wandering(seed, bars), "mean_reversion")


def assert_same_bits(swept: Swept, table: SweepTable) -> None:
    assert not swept.is_partial
    for item in fields(SweepTable):
        if item.name != "points":
            assert getattr(swept.table, item.name).tobytes() == getattr(table, item.name).tobytes(), item.name
    assert list(swept.table.points) == list(table.points)


@pytest.mark.usefixtures("patient")
def test_a_killed_worker_costs_its_block_and_no_bit_changes(two_workers: Cluster) -> None:
    """One of two workers is killed with most blocks to come; every figure is that of this machine, bit for bit."""
    case = case_of()
    shares: list[float] = []

    def advance(share: float) -> None:
        shares.append(share)
        if len(shares) == 3:  # here, then two blocks from the cluster
            two_workers.workers[0].send_signal(signal.SIGKILL)
            assert two_workers.workers[0].wait() == -signal.SIGKILL

    swept = sweep_on_cluster(two_workers.address, case, POINTS, advance, block_points=2)
    assert shares[2] < 0.5
    assert shares[-1] == 1.0
    assert two_workers.workers[1].poll() is None
    assert_same_bits(swept, run_points(CONFIG, case.market, "mean_reversion", POINTS))
    assert swept.table.trades.sum() > 1_000


@pytest.mark.usefixtures("patient")
def test_the_data_are_sent_once_a_worker_and_both_work(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks carry parameters alone: what the scheduler sends with them does not grow with the market."""
    from distributed import Client

    sizes: list[int] = []
    whole = Client.submit

    def counting(self: Client, function: Callable[..., object], *args: object, **named: object) -> object:
        import pickle

        sizes.append(len(pickle.dumps(args[1:])))
        return whole(self, function, *args, **named)

    monkeypatch.setattr(Client, "submit", counting)
    case = case_of(36)
    swept = sweep_on_cluster(two_workers.address, case, POINTS, lambda share: None, block_points=4)
    assert len(sizes) > 5
    assert max(sizes) < 2_000 < case.market.symbols[0].candles.close.nbytes
    assert_same_bits(swept, run_points(CONFIG, case.market, "mean_reversion", POINTS))


@pytest.mark.usefixtures("patient")
def test_an_interruption_keeps_the_finished_blocks(two_workers: Cluster) -> None:
    """Ctrl-C in the middle: their points, with the right figures, marked partial."""
    case = case_of(37)

    def advance(share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    swept = sweep_on_cluster(two_workers.address, case, POINTS, advance, block_points=3)
    assert swept.is_partial
    assert 0.4 * len(POINTS) < len(swept.places) < len(POINTS)
    table = run_points(CONFIG, case.market, "mean_reversion", POINTS)
    assert swept.table.end_equity_usd.tolist() == table.end_equity_usd[swept.places].tolist()


@pytest.mark.usefixtures("patient")
def test_memory_that_runs_out_is_one_message(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the block and says what to do."""
    import cluster_faults

    monkeypatch.setattr(cluster, "run_block", cluster_faults.out_of_memory)
    with pytest.raises(PerpBotError, match=r"block \d+ of \d+ \(\d parameter sets\) ran out of memory on a worker;"):
        sweep_on_cluster(two_workers.address, case_of(38, 800), POINTS, lambda share: None, block_points=5)


@pytest.mark.usefixtures("patient")
def test_a_block_that_ends_every_worker_is_one_message(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel's out-of-memory killer does: never tried for ever."""
    import cluster_faults

    monkeypatch.setattr(cluster, "run_block", cluster_faults.end_the_worker)
    monkeypatch.setattr(cluster, "LOST_S", 5)
    with pytest.raises(PerpBotError, match=r"lost every worker .* block \d+ of \d+ and .* out of memory; give"):
        sweep_on_cluster(two_workers.address, case_of(39, 800), POINTS, lambda share: None, block_points=30)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not installed: what to install, or to leave the option out."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"Dask, which is not installed: pip install 'perp-bot\[cluster\]'"):
        sweep_on_cluster("tcp://127.0.0.1:9", case_of(40, 800), POINTS, lambda share: None)


@pytest.mark.usefixtures("patient")
def test_workers_of_another_version_are_refused(two_workers: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits would differ: named with both versions, before anything is computed."""
    ours = cluster.program()
    monkeypatch.setattr(cluster, "VERSION", "9.9.9")
    with pytest.raises(UsageError, match=rf"runs perpbot, numpy, numba {ours[0]}, .* this is 9\.9\.9, "):
        sweep_on_cluster(two_workers.address, case_of(40, 800), POINTS, lambda share: None)


def test_no_cluster_is_one_line_and_its_own_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there."""
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ClusterAway, match=f"no Dask scheduler answers at {address} within 1 s") as caught:
        sweep_on_cluster(address, case_of(40, 800), POINTS, lambda share: None)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["foo", "tcp://foo", "foo:bar", "bar://x:1", "tcp://:8786", "x:99999"])
def test_what_is_no_address_is_refused_at_once(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Not tried for seconds, and no client of Dask is left to complain when it is freed."""
    case = SweepCase(CONFIG, wandering(1, 600), "mean_reversion")
    with pytest.raises(UsageError, match=f"'{address}' is no address; it is tcp://HOST:PORT of a scheduler"):
        sweep_on_cluster(address, case, POINTS, lambda share: None)
    gc.collect()
    assert capfd.readouterr().err == ""
