"""doctor."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot doctor
  perpbot --config live.yaml doctor
  perpbot doctor --json | jq -r 'select(.level == "failure").fix'
"""
)
@options.venue
@options.as_json
@click.pass_obj
def doctor(call: Invocation, venue: str | None, as_json: bool) -> int:
    """Check what stands between these settings and safe trading: one verdict a line, with the fix.

    Reads only: no order, no lock, nothing written; beside a running daemon too. Exit code 0 all well, 5 warnings only,
    1 failures; 2 when the settings themselves are wrong.

    With --json: {"name", "level": ok, warning, failure or skipped, "text", "fix"}, a line each.
    """
    from perp_bot.cli.examining import show
    from perp_bot.trading.doctor.examine import examine

    config = call.load(venue)
    return show(examine(config), config.secrets, as_json=as_json)
