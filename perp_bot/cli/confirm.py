"""prepare, preview, ask, commit: how the command line does what moves money."""

from __future__ import annotations

import sys

import click

from perp_bot.cli.output import say
from perp_bot.core.errors import IpcError, UsageError
from perp_bot.ipc.client import Client
from perp_bot.ipc.protocol import ControlResult, Preview

_ASK_AGAIN = ("token_expired", "changed")


def need_terminal_or_yes(what: str, *, yes: bool) -> None:
    """Refuse early, before the daemon is asked for anything, when nobody can be asked.

    Raises:
        UsageError: stdin is no terminal and `--yes` was not given.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"{what} asks before it acts, and this is not a terminal: add --yes")


def prepare_and_commit(
    client: Client,
    action: str,
    *,
    yes: bool,
    symbol: str | None = None,
    strategy: str | None = None,
    phrase: str | None = None,
    reason: str | None = None,
    first: Preview | None = None,
) -> ControlResult:
    """Show the daemon's preview, ask (unless `yes`), and commit; a preview that got old is shown afresh.

    Args:
        client: a connection to the daemon.
        action: one of `PREPARED_ACTIONS`.
        yes: commit without asking.
        symbol: scope.
        strategy: scope.
        phrase: what was typed (unkill).
        reason: for the journal.
        first: a preview already at hand (kill with flatten).

    Raises:
        IpcError: refused by the daemon; `timeout` when the outcome is not known.
        click.Abort: the operator said no.
    """
    preview = first
    while True:
        if preview is None:
            result = client.control(
                "prepare", action=action, symbol=symbol, strategy=strategy, phrase=phrase, reason=reason
            )
            if result.preview is None:  # nothing to do: no position, no order, not killed
                return result
            preview = result.preview
        show_preview(preview)
        if not yes and not click.confirm("Do it?", default=False, err=True):
            return ControlResult("refused", f"{action}: not done, you said no")
        try:
            return client.control("commit", token=preview.token, reason=reason)
        except IpcError as error:
            if yes or error.code not in _ASK_AGAIN:
                raise
            say(f"{error}; here is how it stands now")
            preview = None


def show_preview(preview: Preview) -> None:
    """Write what the daemon says it would do, on stderr."""
    say(preview.text)
    for position in preview.positions:
        say("  position  " + _fields(position))
    for order in preview.orders:
        say("  order     " + _fields(order))


def _fields(row: dict[str, object]) -> str:
    return "  ".join(f"{name} {_value(name, value)}" for name, value in row.items())


def _value(name: str, value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:,.2f}" if name.endswith("_usd") else f"{value:g}"
    return str(value)
