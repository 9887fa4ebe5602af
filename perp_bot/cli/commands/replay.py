"""replay."""

from __future__ import annotations

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.command(
    epilog="""\b
Examples:
  perpbot replay
  perpbot replay last
  perpbot replay 20261127T101400Z --json
"""
)
@click.argument("session", required=False)
@options.as_json
@click.pass_obj
def replay(call: Invocation, session: str | None, as_json: bool) -> int:
    """Run a recorded session again, event by event, and compare its journal byte for byte.

    SESSION is a name, a folder, or `last`; without it the recorded sessions are listed. Exit code 1 when the two
    journals differ: the first difference is named.
    """
    from perp_bot.cli import replaying

    config = call.load()
    if session is None:
        return replaying.list_sessions(config, as_json=as_json)
    return replaying.replay_session(config, session, as_json=as_json)
