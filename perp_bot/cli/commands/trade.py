"""trade."""

from __future__ import annotations

from dataclasses import replace

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import UsageError

_NO_LIVE = "live trading comes with a later release; run `perpbot trade --paper`"


@click.command(
    epilog="""\b
Examples:
  perpbot trade --paper
  perpbot trade --paper --venue mainnet
  perpbot trade --strategy macd_cross
  perpbot --config eth.yaml trade
"""
)
@click.option("--paper/--live", "paper", default=None, help="On paper (the default), or live (a later release).")
@click.option("--force", is_flag=True, help="Override the losing-weeks halt, and nothing else.")
@click.option("--strategy", metavar="NAME", help="Strategy to run; overrides trading.strategy.")
@options.venue
@click.pass_obj
def trade(call: Invocation, paper: bool | None, force: bool, strategy: str | None, venue: str | None) -> int:
    """Run the trading daemon in the foreground until Ctrl-C or SIGTERM."""
    if paper is False:
        raise UsageError(_NO_LIVE)
    config = call.load(venue)
    if config.mode == "live" and paper is None:
        raise UsageError(f"the config says mode: live, and {_NO_LIVE}")
    from perp_bot.cli.places import make_folder
    from perp_bot.config.paths import RuntimePaths
    from perp_bot.strategies import registry
    from perp_bot.trading.daemon import run

    if strategy is not None:
        registry.create(strategy, config)  # names the nearest one when there is none of that name
        config = replace(config, trading=replace(config.trading, strategy=strategy))
    make_folder(config, RuntimePaths(config.data.db_path))
    return run(replace(config, mode="paper"), force=force)
