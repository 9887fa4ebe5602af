"""data list, check, import, record."""

from __future__ import annotations

from pathlib import Path

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.group(
    epilog="""\b
Examples:
  perpbot data list
  perpbot data check
  perpbot data import --bundled hyperliquid
  perpbot data import btc.csv --symbol BTC --timeframe 1h
  perpbot data record --minutes 60
"""
)
def data() -> None:
    """Show, check, import and record market data."""


@data.command(name="list", epilog="\b\nExamples:\n  perpbot data list --json")
@options.as_json
@click.pass_obj
def list_series(call: Invocation, as_json: bool) -> int:
    """List the stored candle series, with gaps, the share generated, funding and marks."""
    from perp_bot.cli import data_views

    return data_views.list_series(call.load(), as_json=as_json)


@data.command(epilog="\b\nExamples:\n  perpbot data check")
@options.as_json
@click.pass_obj
def check(call: Invocation, as_json: bool) -> int:
    """Say what is odd in what is stored, a line each. Exit code 5 when there is anything."""
    from perp_bot.cli import data_views

    return data_views.check(call.load(), as_json=as_json)


@data.command(
    name="import",
    epilog="""\b
Examples:
  perpbot data import btc.csv --symbol BTC --timeframe 1h
  perpbot data import eth.parquet --symbol ETH --timeframe 15m --columns t=time,volume=vol --time-unit s
  perpbot data import rates.csv --symbol BTC --funding --interval-hours 8
  perpbot data import --bundled hyperliquid
""",
)
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--symbol", metavar="S", help="The coin of the file.")
@click.option("--timeframe", metavar="TF", help="The interval of its candles.")
@click.option(
    "--columns", "mapping", metavar="OURS=THEIRS,...", help="Names that differ from t,open,high,low,close,volume."
)
@click.option("--time-unit", type=click.Choice(["ms", "s", "iso"]), default="ms", show_default=True, help="Of t.")
@click.option("--funding", is_flag=True, help="The file holds funding rates: t,rate.")
@click.option(
    "--interval-hours", type=click.IntRange(1, 24), default=1, show_default=True, help="Hours that one rate is for."
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave impossible rows out (they become gaps) instead of refusing the file."
)
@click.option(
    "--bundled",
    metavar="[SET]",
    is_flag=False,
    flag_value="hyperliquid",
    help="Instead of a file, what ships with perpbot: hyperliquid (default) or binance-8h.",
)
@options.as_json
@click.pass_obj
def import_(
    call: Invocation,
    file: Path | None,
    symbol: str | None,
    timeframe: str | None,
    mapping: str | None,
    time_unit: str,
    funding: bool,
    interval_hours: int,
    skip_bad: bool,
    bundled: str | None,
    as_json: bool,
) -> int:
    """Store candles or funding rates of a CSV or Parquet file; every row is checked, all are stored or none.

    Columns t,open,high,low,close,volume with t in ms need no mapping.
    """
    from perp_bot.cli import data_views

    if (file is None) == (bundled is None):
        raise click.UsageError("give a FILE or --bundled SET")
    if bundled is not None:
        return data_views.import_bundled(call.load(), bundled, as_json=as_json)
    if symbol is None:
        raise click.UsageError("--symbol is missing: whose rows are these?")
    assert file is not None
    return data_views.import_file(
        call.load(),
        file,
        symbol,
        timeframe,
        mapping,
        time_unit,
        funding=funding,
        interval_hours=interval_hours,
        skip_bad=skip_bad,
        as_json=as_json,
    )


@data.command(
    epilog="""\b
Examples:
  perpbot data record --minutes 60
  perpbot data record --symbol BTC --symbol ETH
"""
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="N",
              help="Stop after N minutes of the venue's time. Default: until Ctrl-C.")  # fmt: skip
@click.option("--symbol", "symbols", multiple=True, metavar="S", help="Only this coin; may be given again.")
@options.as_json
@click.pass_obj
def record(call: Invocation, minutes: float | None, symbols: tuple[str, ...], as_json: bool) -> int:
    """Record the venue's books, trades, marks and closes without trading, and store candles as the daemon does.

    `perpbot backtest --recording SESSION` simulates on it. Exit code 130 when interrupted before --minutes were over.
    """
    from perp_bot.cli import recording

    return recording.record(call.load(), minutes, symbols, as_json=as_json)
