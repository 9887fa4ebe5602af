"""sensitivity."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot sensitivity
  perpbot sensitivity --param entry_z=1.5..2.5:0.1 --param adx
  perpbot sensitivity --param entry_z --param exit_z --cross --report plateau.html
  perpbot sensitivity --grid grid.yaml --cluster tcp://127.0.0.1:8786
"""
)
@options.research
@click.option("--param", "params", multiple=True, metavar="NAME[=VALUES]",
              help="Vary this one, e.g. entry_z, entry_z=1.8..2.2:0.1, adx=20,25,30. May be repeated.")  # fmt: skip
@click.option("--grid", "grid_file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Every combination of a YAML file, e.g. entry_z: [1.8, 2.0].")  # fmt: skip
@click.option("--cross", is_flag=True, help="Every combination of the parameters, not one at a time.")
@click.option("--cluster", metavar="URL", help="Dask scheduler, tcp://host:8786; overrides backtest.cluster.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write one HTML page.")
@options.as_json
@click.pass_obj
def sensitivity(
    call: Invocation,
    symbol: str | None,
    strategy: str | None,
    timeframe: str | None,
    from_text: str | None,
    to_text: str | None,
    params: tuple[str, ...],
    grid_file: Path | None,
    cross: bool,
    cluster: str | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Say what becomes of the result when parameters are a little different.

    One parameter at a time, or every combination. Exit code 130 when interrupted: what is finished is shown.
    """
    if grid_file is not None and (params or cross):
        raise click.UsageError("give --grid or --param, not both (a grid is every combination already)")
    from perp_bot.cli.research_case import research_case
    from perp_bot.cli.sensitivity import sensitivity as run

    case = research_case(call, symbol, strategy, timeframe, from_text, to_text)
    return run(case, params, grid_file, cross=cross, cluster=cluster, report=report, as_json=as_json)
