"""config check."""

from __future__ import annotations

from typing import Any

import click

from perp_bot.cli import options
from perp_bot.cli.invocation import Invocation


@click.group(
    epilog="""\b
Examples:
  perpbot config check
  perpbot --config other.yaml config check --json
"""
)
def config() -> None:
    """Validate and show the settings."""


@config.command(
    epilog="""\b
Examples:
  perpbot config check
  perpbot --config other.yaml config check --json
"""
)
@options.venue
@options.as_json
@click.pass_obj
def check(call: Invocation, venue: str | None, as_json: bool) -> None:
    """Validate the settings and print what holds, without secrets. Exit code 2 and a line per fault otherwise."""
    from perp_bot.cli.output import put, put_json, say
    from perp_bot.config.load import resolved

    found = resolved(call.load(venue))
    if as_json:
        put_json(found)
        return
    for line in _lines(found):
        put(line)
    say(f"settings are valid ({found['source']})")


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            lines.append(f"{indent}{name}:")
            lines += [f"{indent}  - {', '.join(f'{key}: {part}' for key, part in item.items())}" for item in value]
        else:
            lines.append(f"{indent}{name}: {_text(value)}")
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_text(item) for item in value)}]"
    return str(value)
