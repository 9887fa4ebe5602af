"""trade."""

from __future__ import annotations

from dataclasses import replace

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  perpbot trade --paper
  perpbot trade --paper --venue mainnet
  perpbot trade --strategy macd_cross
  perpbot --config live.yaml trade --live
"""
)
@click.option("--paper/--live", "paper", default=None, help="On paper (the default), or with real orders.")
@click.option("--yes", is_flag=True, help="Begin live trading without asking (for a service).")
@click.option("--force", is_flag=True, help="Override the losing-weeks halt, and nothing else.")
@click.option("--strategy", metavar="NAME", help="Strategy to run; overrides trading.strategy.")
@options.venue
@click.pass_obj
def trade(call: Invocation, paper: bool | None, yes: bool, force: bool, strategy: str | None, venue: str | None) -> int:
    """Run the trading daemon in the foreground until Ctrl-C or SIGTERM."""
    file_venue = call.load().venue
    config = call.load(venue)
    if config.mode == "live" and paper is None:
        raise UsageError("the config says mode: live: add --live to trade live, or --paper to trade on paper")
    from perp_bot.cli.places import make_folder
    from perp_bot.config.paths import RuntimePaths
    from perp_bot.strategies import registry
    from perp_bot.trading.daemon import run

    if strategy is not None:
        registry.create(strategy, config)  # names the nearest one when there is none of that name
        config = replace(config, trading=replace(config.trading, strategy=strategy))
    if paper is False:
        from perp_bot.cli.going_live import check_live, confirm_live

        check_live(config, file_venue=file_venue)
        confirm_live(config, yes=yes)
    else:
        config = replace(config, mode="paper")
    make_folder(config, RuntimePaths(config.data.db_path))
    return run(config, force=force)
