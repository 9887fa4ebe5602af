"""The widget every pane is made of: rows by the line API, a strip cache, and repaints of changed rows only."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from perp_bot.core.visible import visible
from perp_bot.tui.layout import Box
from perp_bot.tui.look import style
from perp_bot.tui.spans import PaneContent, Row, Span, cells_of, cut, fit, width_of

MAX_CACHED_STRIPS = 2000
WHEEL_LINES = 3
SHIFT_CELLS = 16

Painted = tuple[tuple[Span, ...], bool]  # spans of a screen line, and whether the cursor is on it


class Lines(Widget):
    """A block of lines without a title, focus or scrolling: header, strips, footer."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.painted: list[Painted] = []
        self.rows_repainted = 0  # for tests: the cost of a refresh is counted, never timed
        self._strips: dict[tuple[Painted, int, int], Strip] = {}
        self.shift = 0

    def place(self, box: Box | None) -> None:
        """Stand at `box`, or hide."""
        if box is None or box.width <= 0 or box.height <= 0:
            self.display = False
            return
        wanted = (box.x, box.y, box.width, box.height)
        if self.display and getattr(self, "_placed", None) == wanted:
            return
        self._placed = wanted
        self.styles.position = "absolute"
        self.styles.offset = (box.x, box.y)
        self.styles.width = box.width
        self.styles.height = box.height
        self.display = True

    def paint(self, lines: Sequence[Painted]) -> None:
        """Show `lines`; only those that changed are repainted."""
        old, self.painted = self.painted, list(lines)
        width = self.size.width
        for y in range(max(len(old), len(self.painted))):
            if y >= len(old) or y >= len(self.painted) or old[y] != self.painted[y]:
                self.refresh(Region(0, y, max(1, width), 1))

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show rows as they are."""
        self.paint([(item.spans, False) for item in rows])

    def render_line(self, y: int) -> Strip:
        """Return screen line `y`."""
        self.rows_repainted += 1
        width = self.size.width
        if y >= len(self.painted):
            return Strip.blank(width, style(""))
        key = (self.painted[y], width, self.shift)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= MAX_CACHED_STRIPS:
                self._strips.clear()
            strip = self._strips[key] = self._make_strip(y, width)
        return strip

    def _make_strip(self, y: int, width: int) -> Strip:
        spans, has_cursor = self.painted[y]
        under = style("cursor") if has_cursor else None
        segments = [Segment(text, style(name) + under if under is not None else style(name)) for text, name in spans]
        strip = Strip(segments)
        if self.shift and y >= self.fixed_lines:
            strip = strip.crop(self.shift, self.shift + width)
        elif strip.cell_length > width:
            strip = Strip(
                [Segment(text, style(name) + under if under else style(name)) for text, name in cut(spans, width)]
            )
        # Padding always carries a style: Textual's colour filters cannot read a segment without one (seen with 8.2.8).
        return strip.adjust_cell_length(width, under if under is not None else style(""))

    @property
    def fixed_lines(self) -> int:
        """Lines at the top that do not scroll."""
        return 0

    @property
    def text(self) -> str:
        """What is shown, as plain text."""
        return "\n".join("".join(part for part, _ in spans).rstrip() for spans, _ in self.painted)


class Pane(Lines, can_focus=True):
    """A titled, scrolling pane of rows. The cursor follows its row's key across refreshes."""

    BINDINGS = [  # noqa: RUF012 - Textual reads it so
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "edge(-1)", show=False),
        Binding("end", "edge(1)", show=False),
        Binding("g", "edge(-1)", show=False),
        Binding("G,shift+g", "edge(1)", show=False),
        Binding("left", "shift(-1)", show=False),
        Binding("right", "shift(1)", show=False),
    ]

    def __init__(self, *, id: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self.content = PaneContent("", ())
        self.top = 0
        self.cursor_key: str | None = None

    # ------------------------------------------------------------ content

    def show(self, content: PaneContent) -> None:
        """Show `content`, keeping the scroll position and the row under the cursor."""
        index = self.cursor_index
        self.content = content
        if content.selectable and content.rows:
            keys = [item.key for item in content.rows]
            if self.cursor_key not in keys:
                self.cursor_key = keys[min(index or 0, len(keys) - 1)]
        self._arrange()

    @property
    def fixed_lines(self) -> int:
        """The title, and the column head."""
        return 2 if self.content.head is not None else 1

    @property
    def page_lines(self) -> int:
        """Lines that rows have."""
        return max(1, self.size.height - self.fixed_lines)

    @property
    def cursor_index(self) -> int | None:
        """Index of the row under the cursor."""
        if not self.content.selectable:
            return None
        for index, item in enumerate(self.content.rows):
            if item.key == self.cursor_key:
                return index
        return None

    @property
    def cursor_row(self) -> Row | None:
        """The row under the cursor; the first visible one in a pane without a cursor."""
        index = self.cursor_index
        if index is None:
            index = self.top
        return self.content.rows[index] if index < len(self.content.rows) else None

    def _arrange(self) -> None:
        rows = self.content.rows
        lines = self.page_lines
        self.top = max(0, min(self.top, len(rows) - lines))
        painted: list[Painted] = [(self._title(), False)]
        if self.content.head is not None:
            painted.append((self.content.head.spans, False))
        at = self.cursor_index if self.has_focus else None
        shown = range(self.top, min(len(rows), self.top + lines))
        painted.extend((rows[index].spans, index == at) for index in shown)
        self.paint(painted)

    def _title(self) -> tuple[Span, ...]:
        width = self.size.width
        name = "title_focus" if self.has_focus else self.content.title_style
        title = f" {visible(self.content.title)} "
        if width_of(title) > width - 4:
            title = fit(title, max(1, width - 4))
        right = self._position_text()
        notes = "  ".join(part for part in (self.content.note, right) if part)
        notes = f" {visible(notes)} " if notes else ""
        left: list[Span] = [("─", "rule"), (title, name)]
        room = width - cells_of(left) - 1
        if width_of(notes) > room:
            notes = f" {right} " if right and width_of(right) + 2 <= room else ""
        rule = "─" * max(0, room - width_of(notes))
        return (*left, (rule, "rule"), (notes, "muted"), ("─", "rule"))

    def _position_text(self) -> str:
        rows, lines = len(self.content.rows), self.page_lines
        if rows <= lines:
            return ""
        more = f"{'▲' if self.top > 0 else ' '}{'▼' if self.top + lines < rows else ' '}"
        return f"{self.top + 1}-{min(rows, self.top + lines)}/{rows} {more}"

    # ------------------------------------------------------------ moving

    def move_by(self, lines: int) -> None:
        """Move the cursor, or scroll where there is none."""
        index = self.cursor_index
        if index is None:
            self.top += lines
        else:
            rows = self.content.rows
            index = max(0, min(len(rows) - 1, index + lines))
            self.cursor_key = rows[index].key
            self.top = max(index - self.page_lines + 1, min(self.top, index))
        self._arrange()

    def action_move(self, lines: int) -> None:
        """Move by lines."""
        self.move_by(lines)

    def action_page(self, pages: int) -> None:
        """Move by pages."""
        self.move_by(pages * max(1, self.page_lines - 1))

    def action_edge(self, direction: int) -> None:
        """Move to the first or last row."""
        self.move_by(direction * max(1, len(self.content.rows)))

    def action_shift(self, direction: int) -> None:
        """Show what is cut off at the right."""
        self.shift = max(0, self.shift + direction * SHIFT_CELLS)
        self.refresh()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll."""
        event.stop()
        self.move_by(-WHEEL_LINES)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll."""
        event.stop()
        self.move_by(WHEEL_LINES)

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._arrange()

    def on_focus(self) -> None:
        """Show the focus and the cursor."""
        self._arrange()

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._arrange()
