"""review."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot review
  perpbot review --weeks 4 --source paper
  perpbot --config .perpbot-demo/config.yaml review --json
"""
)
@click.option("--weeks", type=click.IntRange(1, 520), default=1, show_default=True, metavar="N",
              help="Weeks of 7 days, back from the newest row of the database.")  # fmt: skip
@click.option("--source", type=click.Choice(["paper", "live"]), help="Only this mode; default: all.")
@options.as_json
@click.pass_obj
def review(call: Invocation, weeks: int, source: str | None, as_json: bool) -> int:
    """Say what was traded, gross and net, what blocked entries, and whether it was luck.

    Reads the database only; a daemon may run. Compared with as many weeks before.
    """
    from perp_bot.cli.review_view import show

    return show(call.load(), weeks, source, as_json=as_json)
