"""The log pane: pages come from the log thread; this only asks for them and draws them."""

from __future__ import annotations

from collections.abc import Callable

from perp_bot.tui.sources.log_filter import LogFilter
from perp_bot.tui.sources.log_reader import LogPage, LogRequest
from perp_bot.tui.spans import PaneContent, message
from perp_bot.tui.widgets.line_view import Pane


class LogView(Pane):
    """Follows the tail until scrolled up; `end` returns to it."""

    def __init__(self, *, id: str, ask: Callable[[LogRequest], None], level: str) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._ask = ask
        self.wanted = LogFilter(level=level)
        self.page: LogPage | None = None
        self._wanted_top: int | None = None  # None follows the tail
        self._left_at: int | None = None  # lines shown when the tail was left
        self._asked: LogRequest | None = None
        self.shift = 0
        self.show(PaneContent("Log", (message("reading the log"),)))

    @property
    def is_following(self) -> bool:
        """Whether new lines scroll in."""
        return self._wanted_top is None

    def set_filter(self, wanted: LogFilter) -> None:
        """Show only the lines that pass."""
        self.wanted = wanted
        self._follow()

    def request(self) -> None:
        """Ask for the page that this size and position need, when it differs from the last one asked for."""
        wanted = LogRequest(max(1, self.size.height - 1), self._wanted_top, self.wanted)
        if wanted != self._asked:
            self._asked = wanted
            self._ask(wanted)

    def show_page(self, page: LogPage) -> None:
        """Draw a page; one for an older filter is dropped."""
        if page.wanted != self.wanted:
            return
        self.page = page
        if not page.rows:
            self.show(PaneContent(self._heading(page), (message(self._empty_reason(page)),)))
            return
        self.show(PaneContent(self._heading(page), page.rows, self._note(page)))

    def _heading(self, page: LogPage) -> str:
        parts = ["Log"]
        if page.wanted.label:
            parts.append(f"{page.wanted.label}  {page.shown:,} of {page.total:,}")
        if not page.is_complete:
            parts.append("searching…")
        if page.trouble and page.rows:
            parts.append(f"! {page.trouble}")
        return "  ".join(parts)

    def _note(self, page: LogPage) -> str:
        counted = []
        if page.errors:
            counted.append(f"{page.errors} new errors")
        if page.warnings:
            counted.append(f"{page.warnings} new warnings")
        if self.is_following:
            counted.append("tail")
        else:
            new = page.shown - (self._left_at if self._left_at is not None else page.shown)
            counted.append(f"{page.top + 1:,}-{page.top + len(page.rows):,}/{page.shown:,}")
            counted.append(f"+{new:,} new, G follows" if new > 0 else "G follows")
        return "  ".join(counted)

    def _empty_reason(self, page: LogPage) -> str:
        if page.trouble:
            return page.trouble
        if page.total and not page.is_complete:
            return f"searching {page.total:,} lines"
        if page.total:
            return f"the filter hides {page.total:,} lines (esc clears the text, < lowers the level)"
        return "the log is empty"

    # ------------------------------------------------------------ moving

    def _follow(self) -> None:
        self._wanted_top = None
        self._left_at = None
        self.request()

    def move_by(self, lines: int) -> None:
        """Scroll; at the end the tail is followed again."""
        page = self.page
        if page is None:
            return
        highest_top = max(0, page.shown - self.page_lines)
        now = page.top if self._wanted_top is None else self._wanted_top
        top = max(0, now + lines)
        if top >= highest_top:
            self._follow()
            self.show_page(page)
            return
        if self._left_at is None:
            self._left_at = page.shown
        self._wanted_top = top
        self.request()

    def action_edge(self, direction: int) -> None:
        """Go to the oldest line, or to the tail."""
        page = self.page
        if page is not None:
            self.move_by(direction * (page.shown + 1))

    def on_resize(self) -> None:
        """Ask for as many lines as there are now; the pane's own handler runs too, Textual calls both."""
        self.request()
