"""Sentences with a label each, wrapped beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perp_bot.core.visible import visible

if TYPE_CHECKING:
    from rich.table import Table


def labelled(lines: list[tuple[str, str]]) -> Table:
    """Return the lines as a table for rich; texts are shown as they are, a label that repeats is shown once."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    before = ""
    for label, line in lines:
        table.add_row(Text("" if label == before else visible(label)), Text(visible(line)))
        before = label
    return table
