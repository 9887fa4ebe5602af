"""`perpbot backtest`: run it, measure it, say how sure it is, keep it, show it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perp_bot.cli.output import put_json, say
from perp_bot.cli.research_case import ResearchCase
from perp_bot.cli.targets import refuse_unwritable
from perp_bot.core.errors import EXIT_INTERRUPTED, EXIT_OK

if TYPE_CHECKING:
    from perp_bot.backtest.results import BacktestResult
    from perp_bot.config.model import Config


def backtest(
    case: ResearchCase,
    *,
    plain: bool,
    compounding: bool,
    as_json: bool,
    report: Path | None,
    trades: Path | None,
    recording: str | None = None,
) -> int:
    """Run a backtest; the exit code is 130 when it was interrupted and a part is shown."""
    from perp_bot.backtest import honesty, runs
    from perp_bot.backtest.engine import RunOptions, run
    from perp_bot.backtest.metrics import measure
    from perp_bot.backtest.trials import Seen

    refuse_unwritable("--report", report)
    refuse_unwritable("--trades", trades)
    config = case.config
    if compounding:
        config = replace(config, backtest=replace(config.backtest, compounding=True))
    market = case.market() if recording is not None else case.decidable_market()
    if recording is not None:
        result = _on_recording(config, case.strategy, recording)
    else:
        with progress("backtest") as advance:
            result = run(config, market, case.strategy, RunOptions(case.from_ms, case.to_ms, plain, advance))
    metrics = measure(result)
    earlier = runs.trials(config, Seen.by(result), but=config)
    beside = honesty.examine(config, result, metrics, market, earlier)
    run_id = runs.save(config, result, metrics, "backtest")
    if trades is not None or config.backtest.export_trades_csv:
        from perp_bot.reporting.trades_csv import write_trades_csv

        write_trades_csv(trades or Path(f"{run_id}-trades.csv"), result)
    if report is not None:
        from perp_bot.reporting.html import ReportExtras, write_report

        write_report(report, result, metrics, market, ReportExtras(beside, run_id=run_id, seed=config.backtest.seed))
        say(f"report written to {report}")
    if as_json:
        put_json(as_object(result, metrics, beside, run_id))
    else:
        from rich.console import Console

        from perp_bot.reporting.summary import print_summary

        print_summary(Console(highlight=False), result, metrics, beside, run_id)
    return EXIT_INTERRUPTED if result.is_partial else EXIT_OK


def _on_recording(config: Config, strategy: str, session: str) -> BacktestResult:
    from perp_bot.backtest.recorded_result import run_recorded
    from perp_bot.config.paths import RuntimePaths
    from perp_bot.data.recordings import find

    config = replace(config, trading=replace(config.trading, strategy=strategy))
    found = find(RuntimePaths(config.data.db_path).recordings, session)
    with counting("passes") as advance:
        return run_recorded(config, found, advance)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Yield what is to be called with the number done, where the end is not known; on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} " + what), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)


def as_object(result: Any, metrics: Any, beside: Any, run_id: str) -> dict[str, Any]:
    """Return a backtest as plain JSON values."""
    from perp_bot.backtest import honesty, stored_run
    from perp_bot.backtest import metrics as measured

    return {
        "run": run_id,
        **stored_run.describe(result),
        "metrics": measured.as_json(metrics),
        "honesty": honesty.as_json(beside),
        "trades": [row._asdict() for row in result.trades.rows()],
    }


@contextmanager
def progress(what: str) -> Iterator[Callable[[float], None]]:
    """Yield what is to be called with the share done; a bar on stderr, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
