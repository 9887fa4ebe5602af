"""What every dialog shares: it ignores input for 300 ms, esc only closes, nothing is confirmed by a stray Enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from perp_bot.core.clock import monotonic_s
from perp_bot.tui.look import style
from perp_bot.tui.spans import Row, cut, message
from perp_bot.tui.store import ViewState

DEAF_S = 0.3


def as_text(rows: Sequence[Row]) -> Text:
    """Return rows as one Rich text: styles by object, never by markup."""
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, item in enumerate(rows):
        if index:
            text.append("\n")
        for part, name in item.spans:
            text.append(part, style(name))
    return text


class Dialog(ModalScreen[None], inherit_bindings=False):
    """A dialog over the dashboard. Subclasses give `rows` and may take keys once it listens."""

    tier = "look"  # CSS class: shape and border differ by tier
    frame_lines = 4  # border and padding

    def __init__(self) -> None:
        super().__init__()
        self._opened_s = monotonic_s()
        self._is_leaving = False
        self._static = Static(markup=False, id="dialog-body")

    @property
    def is_deaf(self) -> bool:
        """Whether the first 300 ms still run: a key on its way to the dashboard must not land here."""
        return monotonic_s() - self._opened_s < DEAF_S

    @property
    def inner_width(self) -> int:
        """Cells of a line of text."""
        return max(20, min(92, self.app.size.width - 4) - 6)

    def compose(self) -> ComposeResult:
        """Lay out the box."""
        with Vertical(id="dialog", classes=self.tier):
            yield self._static

    def rows(self, view: ViewState, now_s: float) -> list[Row]:
        """Return what the dialog says."""
        raise NotImplementedError

    def update(self, view: ViewState, now_s: float) -> None:
        """Draw for the present state; called a few times a second while open."""
        rows = [Row(item.key, cut(item.spans, self.inner_width)) for item in self.rows(view, now_s)]
        self._static.update(as_text(_squeeze(rows, self.app.size.height - self.frame_lines)))

    def leave(self) -> None:
        """Close the dialog, once: a second key may arrive while it is closing."""
        if not self._is_leaving and self.is_current:
            self._is_leaving = True
            self.dismiss(None)

    def cancel(self) -> None:
        """Close without doing anything."""
        self.leave()

    def on_listening_key(self, event: events.Key) -> None:
        """Take a key, once the dialog listens."""

    def on_key(self, event: events.Key) -> None:
        """Close on esc; everything else only after the first 300 ms."""
        if event.key == "escape":
            event.stop()
            self.cancel()
            return
        if self.is_deaf:
            event.stop()
            event.prevent_default()
            return
        self.on_listening_key(event)


class TypedDialog(Dialog):
    """A dialog that acts only on a typed word. Its field takes input after the first 300 ms."""

    placeholder = ""
    frame_lines = 7  # border, padding and the field

    def __init__(self) -> None:
        super().__init__()
        self.field = Input(placeholder=self.placeholder, disabled=True, id="dialog-field", max_length=40)
        self.complaint = ""

    def compose(self) -> ComposeResult:
        """Lay out the box with its field."""
        with Vertical(id="dialog", classes=self.tier):
            yield self._static
            yield self.field

    def on_mount(self) -> None:
        """Open the field when the deaf time is over."""
        self.set_timer(DEAF_S, self._listen)

    def _listen(self) -> None:
        if self.wants_field():
            self.field.disabled = False
            self.field.focus()

    def wants_field(self) -> bool:
        """Return whether there is anything to type."""
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Hand over what was typed."""
        event.stop()
        if not self.is_deaf and not self._is_leaving:
            self.entered(event.value)

    def entered(self, value: str) -> None:
        """Take the field's text; an empty Enter is nothing."""
        typed = value.strip()
        if typed:
            self.field.value = ""
            self.submit(typed)

    def submit(self, typed: str) -> None:
        """Act on the typed word."""


def _squeeze(rows: list[Row], lines: int) -> list[Row]:
    """Return rows that fit: what is left out is in the middle and named; heading and keys always stand."""
    if len(rows) <= max(4, lines):
        return rows
    kept = max(1, lines - 3)
    return [*rows[:kept], message(f"… {len(rows) - kept - 2} lines do not fit", "warn", "squeezed"), *rows[-2:]]


def figure(found: dict[str, Any], name: str) -> float | None:
    """Return a number of a preview's row, None when missing or not a number."""
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except ValueError:
        return None
