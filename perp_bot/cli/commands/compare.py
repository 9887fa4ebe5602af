"""compare."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot compare
  perpbot compare --days 7
  perpbot --config .perpbot-demo/config.yaml compare --json
"""
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Only the last N days, and beside the backtest of the same days.")  # fmt: skip
@click.option("--source", type=click.Choice(["paper", "live"]), default="paper", show_default=True,
              help="Whose decisions and trades.")  # fmt: skip
@click.option("--candles", "on_candles", is_flag=True, help="Backtest on candles even where the market was recorded.")
@options.as_json
@click.pass_obj
def compare(call: Invocation, days: float | None, source: str, on_candles: bool, as_json: bool) -> int:
    """Decide a recorded session again, offline, and set it beside the backtest of the same days.

    Every stored decision must come out identical (exit code 1 otherwise). With --days those of the last N days are
    made again, and their trades matched by deciding candle; what differs is taken apart, and what split the paths is
    named. Exit code 1 also where half a cent remains unexplained and where nothing is stored to compare; 130 when
    interrupted: what was compared is shown, marked partial.
    """
    from perp_bot.cli.comparing import compare as run

    return run(call.load(), days, source, on_candles=on_candles, as_json=as_json)
