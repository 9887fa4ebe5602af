"""kill and unkill."""

from __future__ import annotations

import sys

import click

from perp_bot.cli import options
from perp_bot.cli.confirm import prepare_and_commit
from perp_bot.cli.daemon import connect, finish
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  perpbot kill
  perpbot kill --reason "news" --json
  perpbot kill --flatten
  perpbot kill --flatten --symbol BTC --yes
  perpbot kill --take-over           the daemon hangs: end it, and keep the latch
"""
)
@click.option("--flatten", is_flag=True, help="Then close positions (all, or the scope's); shows a preview first.")
@click.option("--take-over", is_flag=True, help="When the daemon hangs: end its process. Never needed otherwise.")
@options.scope
@options.reason
@options.yes
@options.as_json
@click.pass_obj
def kill(
    call: Invocation,
    flatten: bool,
    take_over: bool,
    symbol: str | None,
    strategy: str | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Latch the kill: nothing adds exposure any more, entry orders are cancelled, protective orders stay.

    It acts at once, survives restarts, and works without a daemon and on a hung one. Only `perpbot unkill` undoes it.
    --symbol and --strategy limit what --flatten closes; the latch is one, for everything. With `mode: live` and no
    daemon it goes straight to the venue: entry orders are cancelled there, and --flatten closes there.
    """
    options.check_scope(symbol, strategy)
    if (symbol or strategy) and not flatten:
        raise UsageError("a kill latches everything; --symbol and --strategy go with --flatten (or use: perpbot pause)")
    from perp_bot.cli.commands.controls import coin_of
    from perp_bot.cli.killing import KillOrder, kill_now

    order = KillOrder(
        reason=reason or "",
        flatten=flatten,
        symbol=coin_of(symbol) if symbol is not None else None,
        strategy=strategy,
        take_over=take_over,
        yes=yes,
        can_ask=sys.stdin.isatty(),
    )
    paths = call.paths()
    assert call.config is not None
    outcome = kill_now(paths, order, call.config if call.config.mode == "live" else None)
    finish(outcome.result, as_json=as_json)
    return outcome.exit_code


@click.command(
    epilog="""\b
Examples:
  perpbot unkill
  perpbot unkill --phrase "resume practice"
"""
)
@click.option("--phrase", metavar="TEXT", help='What would be typed: "resume VENUE".')
@options.reason
@options.yes
@options.as_json
@click.pass_obj
def unkill(call: Invocation, phrase: str | None, reason: str | None, yes: bool, as_json: bool) -> int:
    """Come back from a kill: type the phrase "resume VENUE", or give it as --phrase.

    --yes is taken, as everywhere, but never stands in for the phrase.
    """
    if phrase is None and not sys.stdin.isatty():
        raise UsageError('unkill needs the phrase: --phrase "resume VENUE" (--yes does not stand in for it)')
    with connect(call.paths()) as client:
        wanted = f"resume {client.hello().venue}"
        typed = phrase if phrase is not None else click.prompt(f"Type `{wanted}` to come back from the kill", err=True)
        if typed.strip() != wanted:
            raise UsageError(f"nothing done: the phrase is `{wanted}`")
        result = prepare_and_commit(client, "unkill", yes=True, phrase=wanted, reason=reason)
        return finish(result, as_json=as_json)
