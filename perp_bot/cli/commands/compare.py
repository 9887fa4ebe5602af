"""compare."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import EXIT_OK


@click.command(
    epilog="""\b
Examples:
  perpbot compare
  perpbot compare --days 7
  perpbot --config .perpbot-demo/config.yaml compare --json
"""
)
@click.option("--days", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Also run the backtest of the last N days and match its trades with the session's.")  # fmt: skip
@click.option("--source", default="paper", show_default=True, metavar="NAME", help="Whose trades: paper or live.")
@click.option("--candles", "on_candles", is_flag=True, help="Backtest on candles even where the market was recorded.")
@options.as_json
@click.pass_obj
def compare(call: Invocation, days: float | None, source: str, on_candles: bool, as_json: bool) -> int:
    """Decide a recorded session again, offline, and set it beside the backtest of the same days.

    Every stored decision must come out identical (exit code 1 otherwise). With --days the trades are matched by
    deciding candle; what differs is taken apart, and what split the paths is named.
    """
    config = call.load()
    if days is None or not as_json:
        from perp_bot.backtest.redecide import main

        code = main(config, as_json)
        if days is None or code != EXIT_OK:
            return code
    from perp_bot.cli.comparing import compare as run

    return run(config, days, source, on_candles=on_candles, as_json=as_json)
