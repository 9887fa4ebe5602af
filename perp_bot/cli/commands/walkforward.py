"""walkforward."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot walkforward
  perpbot walkforward --train 90 --test 30 --step 30 --anchored --objective calmar
  perpbot walkforward --timeframe 8h --grid grid.yaml --report walk.html
  perpbot walkforward --final          once, at the very end
"""
)
@options.research
@click.option("--train", type=click.IntRange(1, 36_500), metavar="DAYS", help="Default: backtest.train_days.")
@click.option("--test", type=click.IntRange(1, 36_500), metavar="DAYS", help="Default: backtest.test_days.")
@click.option("--step", type=click.IntRange(1, 36_500), metavar="DAYS", help="Default: backtest.step_days.")
@click.option("--anchored", is_flag=True, help="Every training window begins at the first close.")
@click.option("--objective", type=click.Choice(["sharpe", "calmar", "net"]), default="sharpe", show_default=True,
              help="What the training window maximises.")  # fmt: skip
@click.option("--grid", "grid_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Parameter sets: every combination of a YAML file. Default: the strategy's.")  # fmt: skip
@click.option("--final", "use_final", is_flag=True,
              help="Judge on the final window too, which is kept back otherwise. Its use is recorded.")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write one HTML page.")
@options.as_json
@click.pass_obj
def walkforward(
    call: Invocation,
    symbol: str | None,
    strategy: str | None,
    timeframe: str | None,
    from_text: str | None,
    to_text: str | None,
    train: int | None,
    test: int | None,
    step: int | None,
    anchored: bool,
    objective: str,
    grid_file: Path | None,
    use_final: bool,
    report: Path | None,
    as_json: bool,
) -> int:
    """Choose parameters on one window, judge them on the next, and so on through the stored data.

    Exit code 130 when interrupted: the finished windows are shown, marked partial.
    """
    from perp_bot.cli.research_case import research_case
    from perp_bot.cli.walking import walkforward as run

    case = research_case(call, symbol, strategy, timeframe, from_text, to_text)
    days = case.config.backtest
    lengths = (train or days.train_days, test or days.test_days, step or days.step_days)
    return run(case, lengths, anchored=anchored, objective=objective, grid_file=grid_file, use_final=use_final,
               report=report, as_json=as_json)  # fmt: skip
