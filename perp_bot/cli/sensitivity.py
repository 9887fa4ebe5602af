"""`perpbot sensitivity`: plan the parameter sets, run them here or on a cluster, keep and show what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perp_bot.cli.backtesting import progress
from perp_bot.cli.output import put_json, say
from perp_bot.cli.research_case import ResearchCase
from perp_bot.cli.targets import refuse_unwritable
from perp_bot.core.counting import counted
from perp_bot.core.errors import EXIT_INTERRUPTED, EXIT_OK
from perp_bot.core.money import usd

if TYPE_CHECKING:
    from perp_bot.backtest.honesty import SharpeOdds
    from perp_bot.backtest.market import Market
    from perp_bot.backtest.parameters import Axis
    from perp_bot.backtest.sensitivity import Plan, Sensitivity
    from perp_bot.backtest.trials import Seen
    from perp_bot.config.model import Config


def sensitivity(
    case: ResearchCase,
    params: tuple[str, ...],
    grid_file: Path | None,
    *,
    cross: bool,
    cluster: str | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Run it; the exit code is 130 when it was interrupted and a part is shown."""
    from perp_bot.backtest import runs
    from perp_bot.backtest import sensitivity as room
    from perp_bot.backtest.sweep_blocks import SweepCase, sweep_here
    from perp_bot.backtest.trials import Seen

    config = case.config
    refuse_unwritable("--report", report)
    plan = _plan(config, case.strategy, params, grid_file, cross=cross)
    market = case.decidable_market()
    whole = SweepCase(config, market, case.strategy, case.from_ms, case.to_ms)
    address = cluster if cluster is not None else config.backtest.cluster
    with progress("sensitivity") as advance:
        if address:
            from perp_bot.backtest.cluster import sweep_on_cluster

            swept = sweep_on_cluster(address, whole, plan.points, advance)
        else:
            swept = sweep_here(whole, plan.points, advance)
    seen = Seen.on(market, case.strategy, case.from_ms, case.to_ms)
    found = room.read(config, plan, swept)
    extra = {**room.as_json(config, found), "notes": _notes(case, market, found)}
    run_id = runs.save(
        config, None, None, "sensitivity", extra, strategy=case.strategy, data_hash=market.data_hash,
        span_ms=seen.span_ms, trials=len(swept.places), trial_sharpes=swept.table.sharpe.tolist(),
    )  # fmt: skip
    odds = _odds_of_best(case, market, found, seen)
    if report is not None:
        _write_report(case, market, found, odds, run_id, report)
    if as_json:
        put_json({"run": run_id, **extra, "best": _best(found, odds)})
    else:
        _show(found, run_id, odds, extra["notes"])
    return EXIT_INTERRUPTED if swept.is_partial else EXIT_OK


def _plan(config: Config, strategy: str, params: tuple[str, ...], grid_file: Path | None, *, cross: bool) -> Plan:
    from perp_bot.backtest import sensitivity as room
    from perp_bot.backtest.parameters import read_grid

    if grid_file is not None:
        return room.cross(config, read_grid(grid_file))
    axes = _axes(config, strategy, params)
    return room.cross(config, axes) if cross else room.one_at_a_time(config, axes)


def _axes(config: Config, strategy: str, params: tuple[str, ...]) -> tuple[Axis, ...]:
    from perp_bot.backtest.default_grids import one_at_a_time
    from perp_bot.backtest.parameters import axis_from_text, name_of
    from perp_bot.core.errors import UsageError

    if not params:
        return one_at_a_time(strategy)
    found = [axis_from_text(text) for text in params]
    defaults = {axis.key: axis for axis in one_at_a_time(strategy)} if any(isinstance(a, str) for a in found) else {}
    axes = []
    for item in found:
        if isinstance(item, str):
            if item not in defaults:
                raise UsageError(f"--param {name_of(item)}: has no default values; write {name_of(item)}=FROM..TO:STEP")
            axes.append(defaults[item])
        else:
            axes.append(item)
    twice = next((a.name for place, a in enumerate(axes) if any(a.key == b.key for b in axes[:place])), None)
    if twice is not None:
        raise UsageError(f"--param {twice} is given twice")
    return tuple(axes)


def _notes(case: ResearchCase, market: Market, found: Sensitivity) -> list[str]:
    """Return what qualifies the figures: of the data what a backtest says, and which sets lack funding."""
    from perp_bot.backtest.data_notes import notes_of
    from perp_bot.backtest.engine import span_of
    from perp_bot.backtest.grid import grid_of
    from perp_bot.backtest.sensitivity import funding_note

    grid = grid_of(market)
    notes = [*notes_of(grid, case.config, *span_of(grid, case.from_ms, case.to_ms))]
    lacking = funding_note(found)
    return notes if lacking is None else [*notes, lacking]


def _odds_of_best(case: ResearchCase, market: Market, found: Sensitivity, seen: Seen) -> SharpeOdds:
    """Return how sure the best set is, after everything that was tried (this run is stored by now)."""
    from perp_bot.backtest.engine import RunOptions, run
    from perp_bot.backtest.honesty import odds_after
    from perp_bot.backtest.metrics import measure
    from perp_bot.backtest.runs import trials
    from perp_bot.backtest.sweep import with_values

    config = with_values(case.config, found.swept.table.points[found.best])
    result = run(config, market, case.strategy, RunOptions(case.from_ms, case.to_ms))
    return odds_after(measure(result), result.timeframe, trials(case.config, seen))


def _best(found: Sensitivity, odds: SharpeOdds) -> dict[str, Any]:
    return {
        "point": dict(found.swept.table.points[found.best]),
        "profit_usd": float(found.profit_usd[found.best]),
        "missing_funding_hours": int(found.missing_hours[found.best]),
        "trials": odds.trials,
        "luck_sharpe": odds.luck_sharpe,
        "probabilistic_sharpe": odds.probabilistic,
        "deflated_sharpe": odds.deflated,
        "is_sure": odds.is_sure,
    }


def _show(found: Sensitivity, run_id: str, odds: SharpeOdds, notes: list[str]) -> None:
    from rich.console import Console

    from perp_bot.reporting.labelled import labelled
    from perp_bot.reporting.sensitivity_text import partial, print_sensitivity

    console = Console(highlight=False)
    print_sensitivity(console, found)
    lines = _luck_of_best(found, odds)
    if not found.swept.table.trades.any():
        lines.append(("empty", "no set made a trade"))
    if found.plan.left_out:
        left = counted(found.plan.left_out, "combination that cannot be", "combinations that cannot be")
        lines.append(("left out", f"{left}: {found.plan.left_out_reason}"))
    if found.swept.is_partial:
        lines.append(("partial", partial(found)))
    lines += [("note", note) for note in notes]
    lines.append(("stored", run_id))
    console.print(labelled(lines))


def _luck_of_best(found: Sensitivity, odds: SharpeOdds) -> list[tuple[str, str]]:
    """Return the best set, and what luck has to do with it: a label and a sentence each."""
    from perp_bot.backtest.honesty import Honesty
    from perp_bot.backtest.parameters import name_of
    from perp_bot.reporting.summary import luck_lines
    from perp_bot.reporting.words import starred

    table, best = found.swept.table, found.best
    words = ", ".join(f"{name_of(key)} {value:g}" for key, value in table.points[best].items())
    profit = starred(usd(float(found.profit_usd[best]), sign=True), bool(found.missing_hours[best]))
    trades = counted(int(table.trades[best]), "trade")
    return [("best", f"{words or 'the settings in use'}: {profit} USD, {trades}"), *luck_lines(Honesty(odds))]


def _write_report(
    case: ResearchCase, market: Market, found: Sensitivity, odds: SharpeOdds, run_id: str, path: Path
) -> None:
    from perp_bot.backtest.engine import RunOptions, run
    from perp_bot.backtest.metrics import measure
    from perp_bot.reporting.heatmap import ParameterGrid
    from perp_bot.reporting.html import ReportExtras, write_report
    from perp_bot.reporting.sensitivity_text import partial, report_lines
    from perp_bot.reporting.words import starred

    result = run(case.config, market, case.strategy, RunOptions(case.from_ms, case.to_ms))
    grids = tuple(
        ParameterGrid(
            f"{starred('profit', item.is_incomplete)}, USD{_over_others(item.others)}",
            item.x_name, item.x, item.y_name, item.y, item.values, item.chosen,
        )
        for item in found.maps
    )  # fmt: skip
    sections = (
        ("Sensitivity", report_lines(found)),
        ("Skill or luck of the best set", tuple(_luck_of_best(found, odds))),
    )
    part = partial(found) if found.swept.is_partial else ""
    extras = ReportExtras(
        None, grids=grids, run_id=run_id, seed=case.config.backtest.seed, part=part, sections=sections
    )  # fmt: skip
    write_report(path, result, measure(result), market, extras)
    say(f"report of the settings in use written to {path}")


def _over_others(others: int) -> str:
    return f", median over the other {others}" if others else ""
