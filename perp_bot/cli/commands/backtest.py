"""backtest."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot backtest
  perpbot backtest --symbol BTC --from 2026-01-10 --to 2026-01-20
  perpbot backtest --strategy mean_reversion --report backtest.html --trades trades.csv
  perpbot backtest --recording last
"""
)
@options.research
@click.option(
    "--plain", is_flag=True, help="Run the strategy in plain Python, by the daemon's own objects: slow, the same."
)
@click.option("--compound", is_flag=True, help="Size by the equity instead of trading.capital_usd.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write one HTML page.")
@click.option(
    "--trades", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the trades as CSV."
)
@click.option("--recording", metavar="SESSION", help="On the market that a session recorded: its books and trades.")
@options.as_json
@click.pass_obj
def backtest(
    call: Invocation,
    symbol: str | None,
    strategy: str | None,
    timeframe: str | None,
    from_text: str | None,
    to_text: str | None,
    plain: bool,
    compound: bool,
    report: Path | None,
    trades: Path | None,
    recording: str | None,
    as_json: bool,
) -> int:
    """Simulate a strategy on the stored candles, as the daemon would have traded them.

    All configured coins share one account. Exit code 130 when interrupted: what came before is shown, marked partial.
    """
    from perp_bot.cli.backtesting import backtest as run
    from perp_bot.cli.research_case import research_case

    case = research_case(call, symbol, strategy, timeframe, from_text, to_text)
    if recording is not None and (plain or compound or from_text is not None or to_text is not None):
        raise click.UsageError("--recording runs its whole session: without --from, --to, --plain and --compound")
    return run(
        case, plain=plain, compounding=compound, as_json=as_json, report=report, trades=trades, recording=recording
    )
