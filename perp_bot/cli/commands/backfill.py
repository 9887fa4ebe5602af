"""backfill."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot backfill
  perpbot backfill --days 30 --symbol BTC --symbol ETH
  perpbot backfill --venue mainnet --json
"""
)
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), metavar="N", help="Default: data.history_days.")
@click.option("--symbol", "symbols", multiple=True, metavar="S", help="Repeat for several; default: trading.symbols.")
@options.venue
@options.as_json
@click.pass_obj
def backfill(call: Invocation, days: float | None, symbols: tuple[str, ...], venue: str | None, as_json: bool) -> int:
    """Fetch candles and funding rates that the store is missing; run again, it resumes.

    Prints for every series what was asked, had and missing. That the venue has less than was asked is no failure.
    """
    config = call.load(venue)
    from perp_bot.cli.backfilling import run

    return run(config, days if days is not None else config.data.history_days, symbols, as_json=as_json)
