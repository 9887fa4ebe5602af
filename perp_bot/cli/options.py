"""Options that several commands share, written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
yes = click.option("--yes", "-y", is_flag=True, help="Do it without asking (the preview is still shown).")
reason = click.option("--reason", metavar="TEXT", help="Why; kept in the journal.")
venue = click.option(
    "--venue", metavar="NAME", help="mainnet, testnet, practice, or a base URL; overrides the config's."
)


def research(command: _Command) -> _Command:
    """Add what every command of research takes: the coin, the strategy, the span."""
    for option in (
        click.option(
            "--to", "to_text", metavar="TIME", help="Last close to decide on; a day, ISO time or epoch ms, UTC."
        ),
        click.option("--from", "from_text", metavar="TIME", help="Decide on closes after this. Default: all stored."),
        click.option("--timeframe", metavar="TF", help="Candles to run on; overrides data.primary_timeframe."),
        click.option("--strategy", metavar="NAME", help="Strategy to run. Default: the config's."),
        click.option("--symbol", metavar="S", help="Only this coin; default: all configured, in one account."),
    ):
        command = option(command)
    return command


def scope(command: _Command) -> _Command:
    """Add `--symbol` and `--strategy`; without either the scope is everything."""
    command = click.option("--strategy", metavar="NAME", help="Only this strategy.")(command)
    return click.option("--symbol", metavar="S", help="Only this coin (BTC, BTC-PERP or BTCUSDT).")(command)


def check_scope(symbol: str | None, strategy: str | None) -> None:
    """Raise a usage error for two scopes at once."""
    if symbol is not None and strategy is not None:
        raise click.UsageError("give --symbol or --strategy, not both")
