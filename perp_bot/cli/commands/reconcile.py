"""reconcile."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot reconcile
  perpbot reconcile --json
  perpbot reconcile --apply
"""
)
@click.option("--apply", is_flag=True, help="Then do it, after asking; needs that no daemon runs.")
@options.yes
@options.as_json
@click.pass_obj
def reconcile(call: Invocation, apply: bool, yes: bool, as_json: bool) -> int:
    """Compare the stored live books with the venue's account, and show what --apply would do about it.

    --apply places a stop for a position that lacks one; with `execution.unknown_positions: flatten` it also closes
    positions that perpbot did not open, and cancels entry orders that are not its own. Nothing else is ever changed:
    fills are booked by the daemon when it starts. Exit code 0 when all is well, 1 when not.
    """
    config = call.load()
    from perp_bot.cli.reconciling import run

    return run(config, apply=apply, yes=yes, as_json=as_json)
