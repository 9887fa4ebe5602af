"""Measures a sweep of 1,000 parameter sets over 100,000 candles, beside vectorbt in several block sizes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from perp_bot.backtest.grid import grid_of
from perp_bot.backtest.kernel_mean_reversion import MeanReversionKernel
from perp_bot.backtest.sweep import run_points
from perp_bot.bench import research_case, research_data, sweep_case
from perp_bot.bench.measure import Measurement, summarize
from perp_bot.bench.peer_rig import Contender, start_installed
from perp_bot.bench.sweep_case import SweepTask
from perp_bot.bench.turns import clocked, in_turn
from perp_bot.indicators import compiled
from perp_bot.strategies import mean_reversion

SUBJECT = "sweep"
HELP = "1,000 points over 100,000 candles: ours (goal 60 ms with metrics) beside vectorbt where it is installed"
ONLY_WHEN_NAMED = True

OURS, METRICS = "perpbot", "perpbot with metrics"
CONTENDER = Contender("vectorbt", "run_vectorbt_sweep.py", "at the next open, vectorbt's stops")


def run(quick: bool) -> list[Measurement]:
    """Check ours against the plain loop and against vectorbt, point by point, then time them in turn.

    Raises:
        PerpBotError: a point does not trade as it must.
    """
    compiled.load()
    market = research_data.market(("BTC",), 10_000 if quick else 100_000, has_funding=False)
    task = SweepTask.of(market.symbols[0].candles, sweep_case.grid(quick))
    config = research_case.peer_config()
    points = [dict(zip(sweep_case.KEYS, point, strict=True)) for point in task.points.tolist()]
    ours = partial(run_points, config, market, mean_reversion.NAME, points)
    table = ours()
    figures = np.column_stack([table.trades, table.net_usd])
    total = f"{int(table.trades.sum()):,} trades, indicators included; {sweep_case.check_sampled(task, figures)}"
    bare = ours(with_metrics=False)
    sweep_case.check_sampled(task, np.column_stack([bare.trades, bare.net_usd]))
    kernel, laid = MeanReversionKernel(), grid_of(market)
    details = {OURS: f"goal 10; {total}", METRICS: "goal 60"}
    calls: dict[str, Callable[[], float]] = {
        OURS: clocked(partial(ours, with_metrics=False)),
        f"{OURS}, one thread": clocked(partial(ours, with_metrics=False, threads=1)),
        METRICS: clocked(ours),
        f"{METRICS}, one thread": clocked(partial(ours, threads=1)),
        f"{OURS}, of which indicators": clocked(partial(kernel.columns, laid, kernel.params(config))),
    }
    with tempfile.TemporaryDirectory(prefix="perpbot-bench-") as name, ExitStack() as stack:
        task.write(Path(name))
        for contender, worker in start_installed(SUBJECT, [CONTENDER], Path(name), stack, warm_up_rows=2_000):
            equal = sweep_case.check_vectorbt(task, figures, worker.result(worker.cases[0]))
            for case in worker.cases:
                label = f"{contender.peer} {worker.version}: {case}"
                calls[label], details[label] = partial(worker.seconds, case), f"indicators given; {equal}"
        slow = {label for label in calls if not label.startswith("perpbot")}
        seconds = in_turn(calls, 2 if quick else 15, slow=slow, slow_rounds=1 if quick else 3)
    return rows_of(seconds, details, len(points))


def rows_of(seconds: Mapping[str, list[float]], details: Mapping[str, str], points: int) -> list[Measurement]:
    """Return a row a candidate, with its ratio to ours."""
    base = np.median(seconds[OURS])
    return [
        summarize(
            SUBJECT, f"{label}, {points:,} points", "ms", samples, scale=1e3, detail=details.get(label, ""),
            times_ours=None if label.startswith("perpbot") else float(np.median(samples) / base),
        )
        for label, samples in seconds.items()
    ]  # fmt: skip
