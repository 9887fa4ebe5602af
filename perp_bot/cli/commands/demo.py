"""demo."""

from __future__ import annotations

import click

from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot demo
  perpbot demo --headless --duration 60
"""
)
@click.option("--headless", is_flag=True, help="No dashboard: a line a second, then one JSON object on stdout.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Wall seconds to run.")
@click.pass_obj
def demo(call: Invocation, headless: bool, duration: float | None) -> int:
    """See it work: the practice venue, a paper daemon and the dashboard, no account and no network."""
    from perp_bot.cli.demo import run

    return run(call.config_path, headless=headless, duration_s=duration)
