"""Sensitivity on a screen: a strip of blocks a parameter, heat maps of a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perp_bot.backtest.sensitivity import ROBUST_SHARE, Heatmap, Sensitivity, Strip
from perp_bot.core.money import pct, usd

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

_BLOCKS, _PLAIN = "░▒▓█", ".:+#"
_WIDE_COLUMNS = 16  # of a map; with more the cells are narrower


def print_sensitivity(console: Console, found: Sensitivity, in_use_usd: str) -> None:
    """Print the verdict, strips and maps. `in_use_usd` is the profit of the settings in use as text."""
    from rich.text import Text

    plain = not (console.encoding or "").lower().startswith("utf")
    console.print(Text(f"settings in use: {in_use_usd} USD"))
    if found.strips:
        console.print(_strip_table(found.strips, plain=plain, has_colour=console.color_system is not None))
    for item in found.maps:
        console.print()
        console.print(heatmap_text(item, plain=plain), soft_wrap=True)
    console.print()
    console.print(Text(verdict(found), style="bold"))


def verdict(found: Sensitivity) -> str:
    """Return in one sentence whether it is robust, with the share."""
    word = "robust" if found.is_robust else "not robust"
    shape = "of the grid" if found.plan.is_grid else "one parameter at a time"
    text = (
        f"{word}: {pct(found.share_profitable, digits=0)} of {found.neighbours:,} neighbours ({shape}) are "
        f"profitable; that takes {pct(ROBUST_SHARE, digits=0)}"
    )
    if found.base_profit_usd is not None and found.base_profit_usd <= 0:
        text += ", and the settings in use must be profitable themselves"
    return text


def report_lines(found: Sensitivity) -> tuple[tuple[str, str], ...]:
    """Return what a report says of the neighbourhood, a label and a sentence each."""
    lines = [("verdict", verdict(found))]
    for strip in found.strips:
        tried = [
            f"{value:g}: {usd(profit, sign=True)}" for value, profit in zip(strip.values, strip.profit_usd, strict=True)
        ]
        share = pct(strip.share_profitable, digits=0)
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


def heatmap_text(item: Heatmap, *, plain: bool) -> RenderableType:
    """Return a map as text: rows are `y`, columns `x`; the settings in use are bracketed."""
    from rich.text import Text

    known = [abs(value) for row in item.values for value in row if value is not None]
    most = max(known, default=0.0)
    head = f"profit over {item.y_name} (down) and {item.x_name} (across), darkest = {usd(most)} USD"
    if item.others:
        head += f", median over the other {item.others}"
    lines = [Text(head, style="bold")]
    blocks = 2 if len(item.x) <= _WIDE_COLUMNS else 1
    for y, row in zip(item.y, item.values, strict=True):
        line = Text(f"{y:>8g} ", style="dim")
        is_open = False
        for x, value in zip(item.x, row, strict=True):
            is_chosen = item.chosen == (x, y)
            line.append("[" if is_chosen else "]" if is_open else " ", style="bold")
            line.append_text(shade(value, most, plain=plain, blocks=blocks))
            is_open = is_chosen
        line.append("]" if is_open else "", style="bold")
        lines.append(line)
    lines.append(Text(" " * 10 + _axis([f"{x:.4g}" for x in item.x], blocks + 2), style="dim"))
    return Text("\n").join(lines)


def _axis(labels: list[str], width: int) -> str:
    """Return the labels under their columns, as many as have room."""
    out = ""
    for place, label in enumerate(labels):
        if len(out) <= place * width:
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
            Text.assemble(cells, f" {pct(strip.share_profitable, digits=0)} > 0"),
            Text(usd(min(tried), sign=True) if tried else "-"), Text(usd(max(tried), sign=True) if tried else "-"),
        )  # fmt: skip
    return table
