"""screen."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot screen
  perpbot screen --timeframe 1h --horizon 24 --json
"""
)
@click.option("--symbol", metavar="S", help="Only this coin; default: everything stored, configured or not.")
@click.option("--timeframe", metavar="TF", help="Candles to look at; overrides data.primary_timeframe.")
@click.option("--horizon", type=click.IntRange(2, 1000), metavar="BARS",
              help="Of the variance ratio. Default: signals.zscore_lookback.")  # fmt: skip
@click.option("--bars", type=click.IntRange(100, 1_000_000), default=3000, show_default=True, metavar="N",
              help="Newest candles to measure on.")  # fmt: skip
@options.as_json
@click.pass_obj
def screen(
    call: Invocation, symbol: str | None, timeframe: str | None, horizon: int | None, bars: int, as_json: bool
) -> int:
    """Rank the stored markets for mean reversion: volume, spread, and how much they revert, with its error.

    Reads the database only. What is not recorded is unknown and does not pass.
    """
    from perp_bot.cli.research_case import research_case
    from perp_bot.cli.screening import screen as run

    case = research_case(call, symbol, None, timeframe, None, None)
    return run(case, is_one=symbol is not None, horizon=horizon, bars=bars, as_json=as_json)
