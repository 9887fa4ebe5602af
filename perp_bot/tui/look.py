"""Semantic styles: what a colour means. Sign, glyph and word carry the meaning; colour only repeats it."""

from __future__ import annotations

from rich.style import Style
from textual.theme import Theme

BACKGROUND = "#10141a"
SURFACE = "#171d26"

STYLES: dict[str, Style] = {
    "": Style(),
    "text": Style(color="#e4e7eb"),
    "strong": Style(color="#ffffff", bold=True),
    "muted": Style(color="#98a2b0"),
    "title": Style(color="#7fb8ff", bold=True),
    "title_focus": Style(color="#10141a", bgcolor="#7fb8ff", bold=True),
    "rule": Style(color="#3c4756"),
    "gain": Style(color="#6fdc8c"),
    "loss": Style(color="#ff8f8f"),
    "ok": Style(color="#6fdc8c"),
    "warn": Style(color="#f5c451"),
    "bad": Style(color="#ff8f8f", bold=True),
    "danger": Style(color="#ffffff", bgcolor="#a4161a", bold=True),
    "caution": Style(color="#10141a", bgcolor="#f5c451", bold=True),
    "stale": Style(color="#8b95a3", italic=True),
    "accent": Style(color="#7fb8ff"),
    "reverse": Style(reverse=True, bold=True),
    "key": Style(color="#7fb8ff", bold=True),
    "off": Style(color="#6c7683"),
    "cursor": Style(bgcolor="#26364a"),
}

THEME = Theme(
    name="perpbot-dark",
    primary="#7fb8ff",
    secondary="#98a2b0",
    accent="#7fb8ff",
    foreground="#e4e7eb",
    background=BACKGROUND,
    surface=SURFACE,
    panel=SURFACE,
    success="#6fdc8c",
    warning="#f5c451",
    error="#ff8f8f",
    dark=True,
)


def style(name: str) -> Style:
    """Return the style of a semantic name."""
    return STYLES[name]


def signed(value: float | None) -> str:
    """Return the style name of a signed amount."""
    if value is None or value == 0:
        return "text"
    return "gain" if value > 0 else "loss"
