"""Dialogs that only show or ask for text: help, health, the log filter."""

from __future__ import annotations

from collections.abc import Callable

from textual import events
from textual.widgets import Input

from perp_bot.tui.dialogs.base import Dialog, TypedDialog
from perp_bot.tui.panes import chrome
from perp_bot.tui.spans import Row, cut, message, row
from perp_bot.tui.store import ViewState


class _Reading(Dialog):
    """Scrolls when it is longer than the screen; any of its own keys closes it."""

    closing_keys: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self._top = 0

    def all_rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Return every row."""
        raise NotImplementedError

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Return the rows that fit."""
        found = [Row(item.key, cut(item.spans, self.inner_width)) for item in self.all_rows(view, now_s)]
        lines = max(3, self.app.size.height - 8)
        self._top = max(0, min(self._top, len(found) - lines))
        more = "up and down scroll   " if len(found) > lines else ""
        keys = row("keys", (f" {more}", "muted"), ("[esc]", "key"), (" close", "text"))
        return [*found[self._top : self._top + lines], message("", key="gap"), keys]

    def on_listening_key(self, event: events.Key) -> None:
        """Scroll or close."""
        event.stop()
        steps = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10, "home": -10_000, "end": 10_000}
        if event.key in steps:
            self._top = max(0, self._top + steps[event.key])
        elif event.key in self.closing_keys:
            self.leave()


class HelpDialog(_Reading):
    """Every key, from the table of actions."""

    closing_keys = ("question_mark", "f1", "q")

    def all_rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Return the help."""
        return [row("title", (" Keys ", "title_focus")), *chrome.help_content(self.inner_width).rows]


class HealthDialog(_Reading):
    """Every age with its thresholds."""

    closing_keys = ("H", "upper_h", "q")

    def all_rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Return the table."""
        return [row("title", (" Health ", "title_focus")), *chrome.health_content(view, now_s, self.inner_width).rows]


class FilterDialog(TypedDialog):
    """Asks for the text of the log filter; applies as it is typed."""

    tier = "look"
    placeholder = "text, or !text for the lines without it"

    def __init__(self, text: str, apply: Callable[[str], None]) -> None:
        super().__init__()
        self._before = text
        self._apply = apply
        self.field.value = text

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Say how."""
        return [
            row("title", (" Filter the log ", "title_focus")),
            row("keys", (" [Enter]", "key"), (" keep   ", "text"), ("[esc]", "key"), (" as before", "text")),
        ]

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        event.stop()
        if not self.field.disabled and not self._is_leaving:
            self._apply(event.value)

    def entered(self, value: str) -> None:
        """Keep the filter; an empty one shows everything."""
        self._apply(value)
        self.leave()

    def cancel(self) -> None:
        """Go back to the filter from before."""
        self._apply(self._before)
        self.leave()
