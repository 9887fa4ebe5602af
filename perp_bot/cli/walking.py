"""`perpbot walkforward`: run the windows, keep the result, say what is left out of sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perp_bot.cli.backtesting import progress
from perp_bot.cli.output import put_json, say
from perp_bot.cli.research_case import ResearchCase
from perp_bot.cli.targets import refuse_unwritable
from perp_bot.core.errors import EXIT_INTERRUPTED, EXIT_OK

if TYPE_CHECKING:
    from perp_bot.backtest.walk_windows import Schedule


def walkforward(
    case: ResearchCase,
    lengths: tuple[int, int, int],
    *,
    anchored: bool,
    objective: str,
    grid_file: Path | None,
    use_final: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    """Run it; the exit code is 130 when it was interrupted and a part is shown."""
    from perp_bot.backtest import default_grids, honesty, runs
    from perp_bot.backtest import metrics as measured
    from perp_bot.backtest import walk_forward as walk
    from perp_bot.backtest.parameters import read_grid
    from perp_bot.backtest.trials import Seen

    refuse_unwritable("--report", report)
    config = case.config
    axes = read_grid(grid_file) if grid_file is not None else default_grids.walk_forward(case.strategy)
    options = walk.WalkOptions(*lengths, anchored, objective, axes, use_final)
    market = case.market()
    windows = walk.plan(config, market, options, case.from_ms, case.to_ms)
    warnings = _warnings(case, windows, use_final=use_final)
    for line in warnings:
        say(line)
    with progress("walk-forward") as advance:
        found = walk.walk_forward(config, market, case.strategy, options, windows, advance)
    metrics = measured.measure(found.stitched)
    extra = walk.as_json(found, options)
    spans = [item.window for item in found.windows]  # training windows were looked at as well
    seen = Seen.by(found.stitched, (spans[0].train_from_ms + 1, spans[-1].test_to_ms) if spans else None)
    run_id = runs.save(
        config, found.stitched, metrics, "walkforward", extra, span_ms=seen.span_ms, trial_sharpes=found.trial_sharpes
    )
    tried = runs.trials(config, seen)
    odds = honesty.odds_after(metrics, found.stitched.timeframe, tried)
    beside = honesty.Honesty(odds)
    if report is not None:
        from perp_bot.reporting.html import ReportExtras, write_report
        from perp_bot.reporting.walk_text import report_lines

        sections = (("Walk-forward", report_lines(found, objective)),)
        extras = ReportExtras(beside, run_id=run_id, seed=config.backtest.seed, sections=sections)
        write_report(report, found.stitched, metrics, market, extras)
        say(f"report of the stitched test windows written to {report}")
    if as_json:
        put_json({
            "run": run_id, **extra, "warnings": warnings, "metrics": measured.as_json(metrics),
            "honesty": honesty.as_json(beside), "notes": list(found.stitched.notes),
        })  # fmt: skip
    else:
        _show(found, objective, metrics, beside, run_id)
    return EXIT_INTERRUPTED if found.is_partial else EXIT_OK


def _warnings(case: ResearchCase, windows: Schedule, *, use_final: bool) -> list[str]:
    """Say what the final window is, and loudly when it is no longer unseen."""
    from perp_bot.backtest import runs
    from perp_bot.backtest.walk_forward import used_before
    from perp_bot.core.timeframes import iso

    final = windows.final
    span = f"{iso(final.train_to_ms)} to {iso(final.test_to_ms)} ({windows.test_days} days)"
    stored = [
        (run_id, record.saved_ms, record.extra, record.strategy, str((record.result or {}).get("timeframe")))
        for run_id, record in runs.stored(case.config)
        if not isinstance(record, str) and record.kind == "walkforward"
    ]
    before = used_before(stored, final, case.strategy, case.config.data.primary_timeframe)
    uses = ", ".join(f"{run_id} on {iso(saved_ms)}" for run_id, saved_ms in before)
    if use_final and before:
        loud = f"WARNING: THE FINAL WINDOW {span} WAS LOOKED AT BEFORE, by {uses}. "
        return [loud + "It is no longer unseen: what it says now is in sample. Only new data can judge."]
    if use_final:
        return [f"the final window {span} is used; this is recorded, and a second use will be said"]
    told = f"; it was used before, by {uses}" if before else ""
    return [f"the final window {span} is kept back until --final{told}"]


def _show(found: Any, objective: str, metrics: Any, beside: Any, run_id: str) -> None:
    from rich.console import Console

    from perp_bot.reporting.summary import print_summary
    from perp_bot.reporting.walk_text import print_walk

    console = Console(highlight=False)
    print_walk(console, found, objective)
    console.print()
    print_summary(console, found.stitched, metrics, beside, run_id)
