"""runs list, show, diff."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.group(
    epilog="""\b
Examples:
  perpbot runs list
  perpbot runs show last
  perpbot runs diff 12 last
"""
)
def runs() -> None:
    """List, show and compare stored results of research.

    A run is called by its id, the begin of it, its number, or `last`.
    """


@runs.command(
    name="list",
    epilog="""\b
Examples:
  perpbot runs list
  perpbot runs list --strategy mean_reversion --json
""",
)
@click.option("--kind", type=click.Choice(["backtest", "walkforward", "sensitivity", "screen"]),
              help="Only these.")  # fmt: skip
@click.option("--strategy", metavar="NAME", help="Only this strategy.")
@options.as_json
@click.pass_obj
def list_runs(call: Invocation, kind: str | None, strategy: str | None, as_json: bool) -> int:
    """List the stored runs, oldest first. A damaged one is a line on stderr (exit code 5); the others are listed."""
    from perp_bot.cli.run_views import list_stored

    return list_stored(call.load(), kind, strategy, as_json=as_json)


@runs.command(
    epilog="""\b
Examples:
  perpbot runs show last
  perpbot runs show 12 --trades trades.csv
"""
)
@click.argument("run")
@click.option("--trades", "trades_path", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write its trades as CSV.")  # fmt: skip
@options.as_json
@click.pass_obj
def show(call: Invocation, run: str, trades_path: Path | None, as_json: bool) -> int:
    """Show a stored run: what made it, its figures, its notes."""
    from perp_bot.cli.run_views import show_stored

    return show_stored(call.load(), run, trades_path, as_json=as_json)


@runs.command(
    epilog="""\b
Examples:
  perpbot runs diff 12 13
  perpbot runs diff 12 last --json
"""
)
@click.argument("first")
@click.argument("second")
@options.as_json
@click.pass_obj
def diff(call: Invocation, first: str, second: str, as_json: bool) -> int:
    """Say what differs between two runs: settings, figures, trades (matched by symbol, side and deciding candle)."""
    from perp_bot.cli.run_views import show_diff

    return show_diff(call.load(), first, second, as_json=as_json)
