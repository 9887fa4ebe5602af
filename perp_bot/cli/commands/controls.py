"""pause, resume, close, cancel-orders."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.confirm import need_terminal_or_yes, prepare_and_commit
from perp_bot.cli.daemon import connect, finish
from perp_bot.cli.invocation import Invocation
from perp_bot.core.errors import UsageError
from perp_bot.core.symbols import normalize_symbol


@click.command(
    epilog="""\b
Examples:
  perpbot pause
  perpbot pause --symbol ETH --reason "thin book"
"""
)
@options.scope
@options.reason
@options.as_json
@click.pass_obj
def pause(call: Invocation, symbol: str | None, strategy: str | None, reason: str | None, as_json: bool) -> int:
    """Stop new entries. Stops, exits and reconciliation go on; `perpbot resume` undoes it."""
    return _single_phase(call, "pause", symbol, strategy, reason, as_json)


@click.command(
    epilog="""\b
Examples:
  perpbot resume
  perpbot resume --symbol ETH
"""
)
@options.scope
@options.reason
@options.as_json
@click.pass_obj
def resume(call: Invocation, symbol: str | None, strategy: str | None, reason: str | None, as_json: bool) -> int:
    """Allow entries again after a pause. A kill needs `perpbot unkill`."""
    return _single_phase(call, "resume", symbol, strategy, reason, as_json)


@click.command(
    epilog="""\b
Examples:
  perpbot close BTC
  perpbot close BTC --yes --json
"""
)
@click.argument("symbol")
@options.reason
@options.yes
@options.as_json
@click.pass_obj
def close(call: Invocation, symbol: str, reason: str | None, yes: bool, as_json: bool) -> int:
    """Close the position in SYMBOL, reduce-only, at the market. Shows the daemon's preview first."""
    coin = coin_of(symbol)
    need_terminal_or_yes("close", yes=yes)
    with connect(call.paths()) as client:
        return finish(prepare_and_commit(client, "close", yes=yes, symbol=coin, reason=reason), as_json=as_json)


@click.command(
    "cancel-orders",
    epilog="""\b
Examples:
  perpbot cancel-orders
  perpbot cancel-orders --symbol BTC --yes
""",
)
@options.scope
@options.reason
@options.yes
@options.as_json
@click.pass_obj
def cancel_orders(
    call: Invocation, symbol: str | None, strategy: str | None, reason: str | None, yes: bool, as_json: bool
) -> int:
    """Cancel resting orders; those that protect a position stay. Shows the daemon's preview first."""
    options.check_scope(symbol, strategy)
    coin = coin_of(symbol) if symbol is not None else None
    need_terminal_or_yes("cancel-orders", yes=yes)
    with connect(call.paths()) as client:
        result = prepare_and_commit(client, "cancel_orders", yes=yes, symbol=coin, strategy=strategy, reason=reason)
        return finish(result, as_json=as_json)


def coin_of(symbol: str) -> str:
    """Return the venue's name of a coin; UsageError when it cannot be one."""
    try:
        return normalize_symbol(symbol)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _single_phase(
    call: Invocation, cmd: str, symbol: str | None, strategy: str | None, reason: str | None, as_json: bool
) -> int:
    options.check_scope(symbol, strategy)
    coin = coin_of(symbol) if symbol is not None else None
    with connect(call.paths()) as client:
        return finish(client.control(cmd, symbol=coin, strategy=strategy, reason=reason), as_json=as_json)
