"""status."""

from __future__ import annotations

import sys

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot status
  perpbot status --watch
  perpbot status --json | jq .state.status
"""
)
@options.as_json
@click.option("--watch", is_flag=True, help="Go on, once a second, until Ctrl-C.")
@click.pass_obj
def status(call: Invocation, as_json: bool, watch: bool) -> int:
    """Show what the daemon is doing, every number with its age. Exit code 3 when no daemon runs.

    With --json: {"age_s": seconds since the loop published it, "state": {...}}; add age_s to every age in the state.
    """
    from perp_bot.cli.daemon import connect

    if not (watch or as_json):
        return show_once(call)
    with connect(call.paths()) as client:
        if watch:
            _watch(client, as_json)
        else:
            from perp_bot.cli.output import put_raw

            put_raw(client.raw_state())
    return 0


def show_once(call: Invocation) -> int:
    """Print the state as text; DaemonAway when no daemon runs."""
    from perp_bot.cli.daemon import connect
    from perp_bot.cli.status_view import console, render

    with connect(call.paths()) as client:
        state, age_s = client.state()
    console().print(render(state, age_s))
    return 0


def _watch(client: object, as_json: bool) -> None:
    from perp_bot.ipc.client import Client
    from perp_bot.ipc.protocol import StatePush

    assert isinstance(client, Client)
    states = (push for push in client.subscribe(interval_s=1.0) if isinstance(push, StatePush))
    if as_json:
        from perp_bot.cli.output import put_json

        for push in states:
            put_json({"age_s": push.age_s, "state": push.state})
        return
    from perp_bot.cli.status_view import console, render

    terminal = console()
    if not sys.stdout.isatty():
        for push in states:
            terminal.print(render(push.state, push.age_s))
        return
    from rich.live import Live

    with Live(console=terminal, auto_refresh=False, screen=True) as live:
        for push in states:
            live.update(render(push.state, push.age_s), refresh=True)
