"""Sensitivity on a screen: a strip of blocks a parameter, heat maps of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perp_bot.backtest.sensitivity import ROBUST_SHARE, Heatmap, Sensitivity, Strip, funding_note
from perp_bot.core.counting import counted
from perp_bot.core.money import pct, usd
from perp_bot.reporting.words import starred

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_BLOCKS, _PLAIN = "░▒▓█", ".:+#"
_WIDE_COLUMNS = 16  # of a map; with more the cells are narrower
_MOST_ROWS = 40  # of a map on a screen
_LABEL = 9  # columns that a row's value takes


def print_sensitivity(console: Console, found: Sensitivity) -> None:
    """Print the verdict, strips and maps; a star marks what lacks funding."""
    from rich.text import Text

    plain = not (console.encoding or "").lower().startswith("utf")
    console.print(Text(f"settings in use: {starred(usd(found.base_profit_usd, sign=True), found.lacks_in_use)} USD"))
    if found.strips:
        console.print(_strip_table(found.strips, plain=plain, has_colour=console.color_system is not None))
    for item in found.maps:
        console.print()
        console.print(heatmap_text(item, plain=plain, width=console.width), soft_wrap=True)
    console.print()
    console.print(Text(verdict(found), style="bold"))


def verdict(found: Sensitivity) -> str:
    """Return in one sentence whether it is robust, with the share; of a part only what it looks like so far."""
    word = "robust" if found.is_robust else "not robust"
    shape = "of the grid" if found.plan.is_grid else "one parameter at a time"
    share = starred(pct(found.share_profitable, digits=0), found.is_incomplete)
    text = (
        f"{share} of {counted(found.neighbours, 'neighbour')} ({shape}) are profitable; that takes "
        f"{pct(ROBUST_SHARE, digits=0)}"
    )
    if found.base_profit_usd is not None and found.base_profit_usd <= 0:
        text += ", and the settings in use must be profitable themselves"
    return f"no verdict, {partial(found)}; so far {text}" if found.swept.is_partial else f"{word}: {text}"


def partial(found: Sensitivity) -> str:
    """Return how far an interrupted run came."""
    return f"interrupted: {len(found.swept.places):,} of {found.swept.asked:,} sets are finished"


def report_lines(found: Sensitivity) -> tuple[tuple[str, str], ...]:
    """Return what a report says of the neighbourhood, a label and a sentence each."""
    lines = [("verdict", verdict(found))]
    lacking = funding_note(found)
    if lacking is not None:
        lines.append(("*", lacking))
    for strip in found.strips:
        tried = [
            f"{value:g}: {usd(profit, sign=True)}" for value, profit in zip(strip.values, strip.profit_usd, strict=True)
        ]
        share = starred(pct(strip.share_profitable, digits=0), strip.is_incomplete)
        lines.append((strip.name, f"{share} of the values above 0; profit in USD: {', '.join(tried)}"))
    return tuple(lines)


def shade(value: float | None, most: float, *, plain: bool, blocks: int = 2) -> Text:
    """Return a cell: blocks by size, green and + above 0, red and - below."""
    from rich.text import Text

    if value is None or not math.isfinite(value):
        return Text("?".rjust(blocks + 1))
    levels = _PLAIN if plain else _BLOCKS
    block = levels[min(len(levels) - 1, int(abs(value) / most * len(levels)))] if most else levels[0]
    sign, style = ("+", "green") if value > 0 else ("-", "red")
    return Text(sign + block * blocks, style=style)


def heatmap_text(item: Heatmap, *, plain: bool, width: int = 80) -> RenderableType:
    """Return a map as text: rows are `y`, columns `x`; the settings in use are bracketed.

    Of more values than have room every second, third, ... is shown, the one in use among them, and the map says so.
    """
    from rich.text import Text

    known = [abs(value) for row in item.values for value in row if value is not None]
    most = max(known, default=0.0)
    profit = starred("profit", item.is_incomplete)
    head = f"{profit} over {item.y_name} (down) and {item.x_name} (across), darkest = {usd(most)} USD"
    if item.others:
        head += f", median over the other {item.others}"
    lines = [Text(head, style="bold")]
    blocks = 2 if len(item.x) <= _WIDE_COLUMNS else 1
    in_use = item.chosen or (item.x[0], item.y[0])
    columns = _shown(item.x, in_use[0], max(1, (width - _LABEL - 2) // (blocks + 2)))
    rows = _shown(item.y, in_use[1], _MOST_ROWS)
    for name, values, shown in ((item.y_name, item.y, rows), (item.x_name, item.x, columns)):
        if len(shown) < len(values):
            lines.append(
                Text(f"{len(shown)} of {len(values):,} values of {name} are shown; --json has all", style="dim")
            )
    for row in rows:
        y = item.y[row]
        line = Text(f"{y:>{_LABEL - 1}g} ", style="dim")
        is_open = False
        for column in columns:
            is_chosen = item.chosen == (item.x[column], y)
            line.append("[" if is_chosen else "]" if is_open else " ", style="bold")
            line.append_text(shade(item.values[row][column], most, plain=plain, blocks=blocks))
            is_open = is_chosen
        line.append("]" if is_open else "", style="bold")
        lines.append(line)
    axis = _axis([f"{item.x[column]:.4g}" for column in columns], blocks + 2, width - _LABEL - 1)
    lines.append(Text(" " * (_LABEL + 1) + axis, style="dim"))
    return Text("\n").join(lines)


def _shown(values: Sequence[float], in_use: float, room: int) -> list[int]:
    """Return the places of the values that are shown: all, or every n-th, so placed that the one in use is there."""
    every = -(-len(values) // room)
    first = values.index(in_use) % every if in_use in values else 0
    return list(range(first, len(values), every))


def _axis(labels: list[str], width: int, room: int) -> str:
    """Return the labels under their columns, as many as have room."""
    out = ""
    for place, label in enumerate(labels):
        if len(out) <= place * width and place * width + len(label) <= room:
            out = out.ljust(place * width) + label + " "
    return out


def _strip_table(strips: Sequence[Strip], *, plain: bool, has_colour: bool) -> RenderableType:
    # without colour a loss is a dash: its size is then said by `worst` alone
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for place in range(6):
        table.add_column(justify="right" if place in (1, 4, 5) else "left", no_wrap=True)
    table.add_row(*(Text(text, style="dim") for text in ("parameter", "in use", "values", "profit", "worst", "best")))
    known = [abs(value) for strip in strips for value in strip.profit_usd if value is not None]
    most = max(known, default=0.0)
    levels = _PLAIN if plain else _BLOCKS
    for strip in strips:
        cells = Text()
        for value in strip.profit_usd:
            if value is None:
                cells.append("?")
                continue
            block = levels[min(len(levels) - 1, int(abs(value) / most * len(levels)))] if most else levels[0]
            cells.append(block if value > 0 or has_colour else "-", style="green" if value > 0 else "red")
        tried = [value for value in strip.profit_usd if value is not None]
        table.add_row(
            Text(strip.name), Text(f"{strip.in_use:g}"), Text(f"{strip.values[0]:g} .. {strip.values[-1]:g}"),
            Text.assemble(cells, f" {starred(pct(strip.share_profitable, digits=0), strip.is_incomplete)} > 0"),
            *(
                Text(starred(usd(pick(tried), sign=True), strip.is_incomplete) if tried else "-") for pick in (min, max)
            ),
        )  # fmt: skip
    return table
