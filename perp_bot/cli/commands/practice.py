"""practice serve."""

from __future__ import annotations

import math
from pathlib import Path

import click

from perp_bot.cli.invocation import Invocation
from perp_bot.config.venues import PRACTICE_PORT
from perp_bot.core.errors import UsageError


@click.group(
    epilog="""\b
Examples:
  perpbot practice serve
  perpbot practice serve --speed 60 --start 400
"""
)
def practice() -> None:
    """The practice venue: a faithful stand-in for the exchange, offline."""


@practice.command(
    epilog="""\b
Examples:
  perpbot practice serve
  perpbot practice serve --speed 60 --start 400
  perpbot practice serve --speed step --port 0
  perpbot practice serve --fund 0x0000000000000000000000000000000000000001=5000
"""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PRACTICE_PORT, show_default=True, help="0 = any free.")
@click.option("--speed", default="1", show_default=True, metavar="N|step", help="Venue seconds a second, or stepped.")
@click.option("--start", metavar="HOURS|TIME", help="Where in the recording to begin: hours, epoch ms or ISO time.")
@click.option("--seed", type=click.IntRange(0), default=42, show_default=True, help="Seed of everything generated.")
@click.option(
    "--faults", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="JSON file of faults to switch on."
)
@click.option(
    "--accounts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON or YAML file of accounts with agents and positions.",
)
@click.option("--fund", multiple=True, metavar="ADDRESS=USD", help="Give an account money; repeatable.")
@click.option("--open-accounts", is_flag=True, help="Every new signer gets 10,000 USDC; for playing only.")
@click.option("--hold", is_flag=True, help="The clock stands until the first client comes.")
@click.pass_obj
def serve(
    call: Invocation,
    host: str,
    port: int,
    speed: str,
    start: str | None,
    seed: int,
    faults: Path | None,
    accounts: Path | None,
    fund: tuple[str, ...],
    open_accounts: bool,
    hold: bool,
) -> None:
    """Serve the venue until interrupted.

    It trades for the accounts of --accounts and --fund alone, as the real venue does for those who have deposited.

    At speed 1 a restart with the same seed and without --start continues the market of the last time
    (practice-venue.json beside the database remembers it); --start or another seed begins a new one.

    With --hold a faster venue begins at --start for whoever comes first, however long that takes.
    """
    venue_speed = speed_of(speed)
    if hold and venue_speed in (None, 1.0):
        raise UsageError(f"--hold: at --speed {speed} the venue's time is not its own; choose another speed")
    state = call.load().data.db_path.parent / "practice-venue.json" if venue_speed == 1.0 else None
    from perp_bot.practice.app import serve as serve_venue

    serve_venue(
        host=host,
        port=port,
        speed=venue_speed,
        start=start,
        seed=seed,
        faults=faults,
        state=state,
        accounts=accounts,
        fund=fund,
        open_accounts=open_accounts,
        held=hold,
    )


def speed_of(text: str) -> float | None:
    """Return venue seconds per second, or None for `step`."""
    if text == "step":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not (math.isfinite(speed) and speed > 0):
        raise UsageError(f"--speed {text!r}: expected a number above 0, or step")
    return speed
