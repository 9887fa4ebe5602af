"""The plateau of two parameters as a heat map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from perp_bot.reporting import svg
from perp_bot.reporting.svg import Frame


@dataclass(frozen=True, slots=True)
class ParameterGrid:
    """One figure over two parameters; `values[row][column]` belongs to `y[row]` and `x[column]`."""

    figure: str  # what the values are, e.g. "net USD"
    x_name: str
    x: Sequence[float]
    y_name: str
    y: Sequence[float]
    values: Sequence[Sequence[float | None]]  # None: not defined
    chosen: tuple[float, float] | None = None  # (x, y) of the settings in use


_LABELS_UP_TO = 14  # columns; beyond, values are shown on hover only


def heatmap(grid: ParameterGrid) -> str:
    """Return the grid as coloured cells: red below 0, green above, paler towards 0."""
    columns, rows = len(grid.x), len(grid.y)
    height = min(520.0, 60.0 + rows * max(22.0, min(44.0, 380.0 / max(1, rows))))
    frame = Frame(0.0, float(columns), 0.0, float(rows), height=height, left=88, bottom=44, top=8)
    known = [abs(value) for row in grid.values for value in row if value is not None and math.isfinite(value)]
    most = max(known, default=0.0) or 1.0
    parts: list[str] = []
    for row, y in enumerate(grid.y):
        for column, x in enumerate(grid.x):
            parts += _cell(grid, frame, row, column, most)
            if row == 0 and (columns <= 24 or column % -(-columns // 24) == 0):
                parts.append(svg.text(frame.x(column + 0.5), frame.floor + 16, f"{x:g}", "tick", "middle"))
        if rows <= 24 or row % -(-rows // 24) == 0:
            parts.append(svg.text(frame.left - 8, frame.y(row + 0.5) + 4, f"{y:g}", "tick", "end"))
    parts.append(svg.text((frame.left + frame.width) / 2, height - 6, grid.x_name, "axis", "middle"))
    middle = (frame.top + frame.floor) / 2
    words = svg.text(0, 0, grid.y_name, "axis", "middle")
    parts.append(f'<g transform="translate(14 {middle:.1f}) rotate(-90)">{words}</g>')
    return svg.picture(frame, parts, f"{grid.figure} over {grid.x_name} and {grid.y_name}")


def _cell(grid: ParameterGrid, frame: Frame, row: int, column: int, most: float) -> list[str]:
    value = grid.values[row][column]
    left, top = frame.x(column), frame.y(row + 1)
    width, height = frame.x(column + 1) - left, frame.y(row) - top
    place = f"{grid.x_name} {grid.x[column]:g}, {grid.y_name} {grid.y[row]:g}"
    if value is None or not math.isfinite(value):
        return [svg.box(left + 1, top + 1, width - 2, height - 2, "cell none", f"{place}: not defined", 2)]
    strength = 0.12 + 0.88 * abs(value) / most
    style = "gain" if value > 0 else "loss"
    title = f"{place}: {grid.figure} {value:,.4g}"
    parts = [
        f'<g opacity="{strength:.2f}">{svg.box(left + 1, top + 1, width - 2, height - 2, f"cell {style}", "", 2)}</g>',
        svg.box(left + 1, top + 1, width - 2, height - 2, "cell over", title, 2),
    ]
    if len(grid.x) <= _LABELS_UP_TO and height >= 18:
        ink = "cell-text strong" if strength > 0.6 else "cell-text"
        parts.append(svg.text(left + width / 2, top + height / 2 + 4, f"{value:,.3g}", ink, "middle"))
    if grid.chosen == (grid.x[column], grid.y[row]):
        parts.append(svg.box(left + 1, top + 1, width - 2, height - 2, "chosen", f"{place}: in use", 2))
    return parts
