"""lookahead."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot lookahead
  perpbot lookahead --strategy macd_cross --symbol BTC --bars 5000
"""
)
@options.research
@click.option("--bars", type=click.IntRange(1, 1_000_000), default=2000, show_default=True, metavar="N",
              help="Newest closes to check, of each coin.")  # fmt: skip
@options.as_json
@click.pass_obj
def lookahead(
    call: Invocation,
    symbol: str | None,
    strategy: str | None,
    timeframe: str | None,
    from_text: str | None,
    to_text: str | None,
    bars: int,
    as_json: bool,
) -> int:
    """Disprove look-ahead and unsettled warm-up, bar by bar, or name the bar.

    Every decision again with the future removed, with noise in its place, and from exactly the declared warm-up;
    without --strategy of all strategies. Exit code 1 when a bar is wrong.
    """
    from perp_bot.cli.looking_ahead import lookahead as run
    from perp_bot.cli.research_case import research_case

    case = research_case(call, symbol, strategy, timeframe, from_text, to_text)
    return run(case, all_strategies=strategy is None, bars=bars, as_json=as_json)
