"""What `perpbot runs` prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perp_bot.backtest import run_diff
from perp_bot.backtest import runs as store
from perp_bot.backtest.honesty import Honesty, odds_after
from perp_bot.backtest.metrics import Metrics
from perp_bot.backtest.run_diff import Change, RunDiff, TradeChange
from perp_bot.backtest.stored_run import StoredRun, metrics_of
from perp_bot.backtest.trials import Seen
from perp_bot.cli.output import put, put_json, say
from perp_bot.config.model import Config
from perp_bot.core.counting import counted
from perp_bot.core.errors import EXIT_OK, EXIT_WARNINGS, UsageError
from perp_bot.core.money import usd
from perp_bot.core.timeframes import DAY_MS
from perp_bot.core.visible import visible
from perp_bot.reporting.labelled import labelled
from perp_bot.reporting.summary import print_summary
from perp_bot.reporting.trades_csv import write_trades_csv
from perp_bot.reporting.words import day, minute, ratio

_ID_WIDTH = len("0001-sensitivity-abcdef")
_PIPE_WIDTH = 160  # nothing is cut where no screen is the limit
_MOST_TRADES = 20  # of a diff on the terminal; --json has all


def list_stored(config: Config, kind: str | None, strategy: str | None, *, as_json: bool) -> int:
    """Print a line a run; 5 when one of them is damaged."""
    table, shown, damaged = _list_table(), 0, 0
    for name, run in store.stored(config):
        if isinstance(run, str):
            damaged += 1
            say(f"perpbot: run {name}: {visible(run)}")
        elif kind in (None, run.kind) and strategy in (None, run.strategy):
            shown += 1
            if as_json:
                put_json(_brief(run))
            else:
                table.add_row(*(Text(visible(cell)) for cell in _row(run)))
    if shown and not as_json:
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)
    if not shown and not damaged:
        say(f"no such run is stored in {store.folder_of(config)}")
    return EXIT_WARNINGS if damaged else EXIT_OK


def _list_table() -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("run", no_wrap=True, min_width=_ID_WIDTH)  # what the other commands take is never cut
    for title in ("strategy", "from"):
        table.add_column(title, no_wrap=True)
    for title in ("days", "trades", "net USD", "Sharpe"):
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _row(run: StoredRun) -> tuple[str, ...]:
    about, figures = run.result or {}, run.metrics or {}
    begin, end = about.get("from_ms"), about.get("to_ms")
    days = "-" if begin is None or end is None else f"{(end - begin) / DAY_MS:,.0f}"
    mark = "*" if figures.get("incomplete") else ""
    part = " (part)" if _is_partial(run) else ""
    return (
        run.id, f"{run.strategy or '-'}{part}", day(begin), days, f"{figures.get('trades', '-')}",
        f"{usd(figures.get('net_usd'), sign=True)}{mark}", ratio(figures.get("sharpe")),
    )  # fmt: skip


def _is_partial(run: StoredRun) -> bool:
    """Whether it was interrupted; a run without one result says so among what its kind adds."""
    return bool((run.result or {}).get("is_partial") or run.extra.get("is_partial"))


def _brief(run: StoredRun) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(run)
    for name in ("config", "extra", "trial_sharpes", "schema"):
        del plain[name]
    plain["is_partial"] = _is_partial(run)
    return plain


def show_stored(config: Config, wanted: str, trades_path: Path | None, *, as_json: bool) -> int:
    """Print one run; its trades to a file if asked."""
    run = _found(config, wanted)
    result, metrics = store.result_of(config, run), metrics_of(run)
    if trades_path is not None:
        if result is None:
            raise UsageError(f"--trades: run {run.id} ({run.kind}) has no trades of its own")
        write_trades_csv(trades_path, result)
        say(f"{counted(len(result.trades), 'trade')} written to {trades_path}")
    if as_json:
        put_json(run)
        return EXIT_OK
    if result is not None and metrics is not None:
        print_summary(Console(file=sys.stdout), result, metrics, _honesty(config, run, metrics), run.id)
    else:
        part = ", interrupted: a part of it" if _is_partial(run) else ""
        put(visible(f"{run.id}: {run.kind} of {run.strategy or 'no one strategy'}, {run.trials:,} tried{part}"))
    plain = {name: value for name, value in run.extra.items() if not isinstance(value, list | dict)}
    for name, value in plain.items():
        put(visible(f"{name}: {_value(value)}"))
    lines = [("note", str(note)) for note in run.extra.get("notes", ())]
    if metrics is not None and metrics.returns is None:
        lines.append(
            ("luck", "not known: the run was stored by a perpbot that did not keep the moments of its returns")
        )
    lines.append(("settings", _settings(run)))
    Console(file=sys.stdout, highlight=False).print(labelled(lines))
    besides = [name for name in run.extra if name not in plain and name != "notes"]
    if besides:
        put(f"besides: {', '.join(besides)} (--json has them)")
    commit = f" ({run.commit})" if run.commit else ""
    put(
        f"saved {minute(run.saved_ms)} UTC by perpbot {run.version}{commit}, seed {run.seed}, data {run.data_hash[:16]}"
    )
    return EXIT_OK


def _found(config: Config, wanted: str) -> StoredRun:
    """Return the run that is called `wanted`; see `runs.find` for faults."""
    if not wanted.strip():  # the begin of every id
        raise UsageError("no run is named; give an id, the begin of one, its number, or last (see: perpbot runs list)")
    return store.find(config, wanted)


def _honesty(config: Config, run: StoredRun, metrics: Metrics) -> Honesty | None:
    """Return how sure the Sharpe ratio is after everything that was tried up to now; None where it was not stored."""
    if metrics.returns is None:
        return None
    timeframe = str((run.result or {})["timeframe"])
    return Honesty(odds_after(metrics, timeframe, store.trials(config, Seen.in_run(run))))


def _settings(run: StoredRun) -> str:
    """Return the settings that are not the default."""
    changed = run_diff.own_settings(run)
    if not changed:
        return "the defaults"
    return f"{', '.join(f'{item.name} {_setting(item.second)}' for item in changed)}; all others at the default"


def _setting(value: Any) -> str:
    return " ".join(map(_setting, value)) if isinstance(value, list) else _value(value)


def show_diff(config: Config, first: str, second: str, *, as_json: bool) -> int:
    """Print what differs between two runs."""
    runs = _found(config, first), _found(config, second)
    found = run_diff.diff(*runs, *(store.result_of(config, run) for run in runs))
    if as_json:
        put_json({"first": runs[0].id, "second": runs[1].id, **_diff_json(found)})
        return EXIT_OK
    if found.is_empty:
        put(f"{runs[0].id} and {runs[1].id}: nothing differs ({counted(found.same_trades, 'trade')})")
        return EXIT_OK
    console = Console(file=sys.stdout)
    for title, changes in (("origin", found.origin), ("settings", found.settings), ("figures", found.figures)):
        if changes:
            console.print(_changes(title, changes, runs[0].id, runs[1].id))
            console.print()
    put(f"trades: {found.same_trades:,} equal, {len(found.trades):,} differ")
    for item in found.trades[:_MOST_TRADES]:
        put(f"  {visible(_trade_line(item))}")
    if len(found.trades) > _MOST_TRADES:
        put(f"  and {len(found.trades) - _MOST_TRADES:,} more; --json has all")
    return EXIT_OK


def _changes(title: str, changes: tuple[Change, ...], first: str, second: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(title)
    table.add_column(Text(first), justify="right")
    table.add_column(Text(second), justify="right")
    for item in changes:
        table.add_row(*(Text(visible(cell)) for cell in (item.name, _value(item.first), _value(item.second))))
    return table


def _value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def _trade_line(item: TradeChange) -> str:
    head = f"{minute(item.decided_ms)} {item.symbol} {item.side}"
    if item.first is None or item.second is None:
        only, place = (item.first, "first") if item.first is not None else (item.second, "second")
        assert only is not None
        return f"{head}: only in the {place}, net {usd(only.net_usd, sign=True)}"
    net = f"net {usd(item.first.net_usd, sign=True)} and {usd(item.second.net_usd, sign=True)}"
    return f"{head}: {net}; differs in {', '.join(item.fields)}"


def _diff_json(found: RunDiff) -> dict[str, Any]:
    def plain(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
        return [{"name": item.name, "first": item.first, "second": item.second} for item in changes]

    trades = [
        {
            "symbol": item.symbol, "side": item.side, "decided_ms": item.decided_ms, "differs_in": list(item.fields),
            "first": None if item.first is None else item.first._asdict(),
            "second": None if item.second is None else item.second._asdict(),
        }
        for item in found.trades
    ]  # fmt: skip
    return {
        "origin": plain(found.origin), "settings": plain(found.settings), "figures": plain(found.figures),
        "same_trades": found.same_trades, "trades": trades,
    }  # fmt: skip
