"""tui."""

from __future__ import annotations

import os
import sys

import click

from perp_bot.cli.commands.status import show_once
from perp_bot.cli.invocation import Invocation
from perp_bot.cli.output import say


@click.command(
    epilog="""\b
Examples:
  perpbot tui
  perpbot tui --read-only
"""
)
@click.option("--read-only", is_flag=True, help="Offer no control.")
@click.option("--screen", metavar="NAME", help="Open on this screen.")
@click.pass_obj
def tui(call: Invocation, read_only: bool, screen: str | None) -> int:
    """Open the dashboard. It only looks: closing it changes nothing in the daemon."""
    if os.environ.get("TERM") == "dumb" and sys.stdout.isatty():
        say("TERM=dumb cannot show the dashboard; this is the status once, `perpbot status --watch` goes on")
        return show_once(call)
    config = call.load()
    from perp_bot.tui.app import run

    return run(config, screen=screen, read_only=read_only or config.tui.read_only)
