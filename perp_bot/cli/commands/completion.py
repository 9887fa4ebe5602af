"""completion: the script that a shell sources."""

from __future__ import annotations

import click

_VARIABLE = "_PERPBOT_COMPLETE"


@click.command(
    epilog="""\b
Examples:
  perpbot completion bash >> ~/.bashrc
  perpbot completion zsh > "${fpath[1]}/_perpbot"
  perpbot completion fish > ~/.config/fish/completions/perpbot.fish
"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL on stdout."""
    from click.shell_completion import get_completion_class

    from perp_bot.cli.output import put

    kind = get_completion_class(shell)
    assert kind is not None
    put(kind(context.find_root().command, {}, "perpbot", _VARIABLE).source())
