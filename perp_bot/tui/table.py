"""Columns of a table: what fits, and rows of aligned cells. Low-priority columns drop out first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perp_bot.core.visible import visible
from perp_bot.tui.spans import PaneContent, Row, Span, fit, message, width_of


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `priority` 1 is kept longest; `stretch` takes what is left over."""

    title: str
    width: int  # least cells
    priority: int = 1
    right: bool = True
    stretch: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One record: a cell for every column, missing ones as `("-", "muted")`."""

    key: str
    cells: tuple[Span, ...]


def build(
    title: str,
    columns: Sequence[Column],
    lines: Sequence[Line],
    width: int,
    *,
    empty: str,
    selectable: bool = True,
    title_style: str = "title",
) -> PaneContent:
    """Return the content of a table pane that is `width` cells wide; `empty` is the reason for having no rows."""
    if not lines:
        return PaneContent(title, (message(empty),), title_style=title_style)
    cells = [tuple((visible(text), style) for text, style in line.cells) for line in lines]
    shown, widths = _choose(columns, cells, width)
    head = Row("head", tuple(_spread(columns, shown, widths, [(c.title, "muted") for c in columns])))
    rows = tuple(
        Row(line.key, tuple(_spread(columns, shown, widths, line_cells)))
        for line, line_cells in zip(lines, cells, strict=True)
    )
    hidden = len(columns) - len(shown)
    note = f"{hidden} column{'s' if hidden > 1 else ''} hidden" if hidden else ""
    return PaneContent(title, rows, note, head, title_style, selectable)


def _choose(
    columns: Sequence[Column], cells: Sequence[tuple[Span, ...]], width: int
) -> tuple[list[int], dict[int, int]]:
    needed = {
        index: max(column.width, width_of(column.title), *(width_of(line[index][0]) for line in cells))
        if not column.stretch
        else column.width
        for index, column in enumerate(columns)
    }
    shown: list[int] = []
    used = 1
    for index in sorted(range(len(columns)), key=lambda index: (columns[index].priority, index)):
        if used + needed[index] + 1 > width and shown:
            break  # a column of lower priority must not sneak in before one of higher
        shown.append(index)
        used += needed[index] + 1
    shown.sort()
    widths = {index: needed[index] for index in shown}
    for index in shown:
        if columns[index].stretch:
            widths[index] += max(0, width - used)
            break
    return shown, widths


def _spread(
    columns: Sequence[Column], shown: Sequence[int], widths: dict[int, int], cells: Sequence[Span]
) -> list[Span]:
    spans: list[Span] = [(" ", "")]
    for index in shown:
        text, style = cells[index]
        spans.append((fit(text, widths[index], right=columns[index].right), style))
        spans.append((" ", ""))
    return spans
