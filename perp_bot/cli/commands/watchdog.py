"""watchdog."""

from __future__ import annotations

import click

from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot watchdog
  perpbot watchdog --after 120
  perpbot watchdog --flatten          when the daemon is gone: kill, and close everything
"""
)
@click.option(
    "--after",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Act once the daemon has been gone for this long. Default: watchdog.after_seconds.",
)
@click.option("--flatten/--no-flatten", default=None, help="Close everything then. Default: watchdog.flatten.")
@click.pass_obj
def watchdog(call: Invocation, after: float | None, flatten: bool | None) -> int:
    """Watch over the daemon from a process of its own, with a key of its own, until Ctrl-C or SIGTERM.

    When the daemon is gone (no process, or it does not answer, or its loop stands still) it places the stops that are
    missing, cancels entry orders and alerts; it closes positions with --flatten alone. It never cancels a stop.
    """
    config = call.load()
    from perp_bot.watchdog.process import run

    return run(
        config,
        after_s=config.watchdog.after_seconds if after is None else after,
        flatten=config.watchdog.flatten if flatten is None else flatten,
    )
