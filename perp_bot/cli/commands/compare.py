"""compare."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot compare
  perpbot --config .perpbot-demo/config.yaml compare --json
"""
)
@options.as_json
@click.pass_obj
def compare(call: Invocation, as_json: bool) -> int:
    """Decide a recorded session again, offline, and compare each decision with the journal's row."""
    from perp_bot.backtest.redecide import main

    return main(call.load(), as_json)
