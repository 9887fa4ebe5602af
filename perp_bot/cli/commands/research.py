"""backtest and bench."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot backtest
  perpbot --config .perpbot-demo/config.yaml backtest --json
"""
)
@options.as_json
@click.pass_obj
def backtest(call: Invocation, as_json: bool) -> int:
    """Decide a recorded session again, offline, and compare each decision with the journal's row."""
    from perp_bot.backtest.redecide import main

    return main(call.load(), as_json)


@click.command(
    epilog="""\b
Examples:
  perpbot bench
  perpbot bench ingest ipc --json
  perpbot bench --baseline
"""
)
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@click.option("--baseline", is_flag=True, help="Store the figures, or compare them with the stored ones.")
@options.as_json
def bench(subjects: tuple[str, ...], baseline: bool, as_json: bool) -> int:
    """Measure speed on this machine: n, median and p95 of every subject."""
    from perp_bot.bench.runner import main

    return main(subjects, as_json, baseline)
