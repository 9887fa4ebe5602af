"""Filters for terminals that show less: no colour (`NO_COLOR`), or no character beyond their own encoding.

They see every line just before it is written, borders, dialogs and messages of the framework included, so that no
part of the dashboard has to know what the terminal can show.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from perp_bot.tui.look import STYLES
from perp_bot.tui.spans import width_of

ASCII_GLYPHS = {
    "─": "-", "━": "-", "═": "=", "╌": ".", "│": "|", "┃": "|", "║": "|",
    "▲": "^", "▼": "v", "◂": "<", "▸": ">", "▶": ">", "●": "*", "○": "o",
    "✓": "v", "✗": "x", "…": "~", "·": ".", "–": "-", "—": "-", "’": "'",
    "█": "#", "▉": "#", "▊": "#", "▋": "#", "▌": "#", "▍": ":", "▎": ":", "▏": ":", "░": ".", "▐": "#",
    "▔": "-", "▁": "_", "▂": "_", "▃": "_", "▄": "_", "▀": "-",
}  # fmt: skip
_BOX_DRAWING = range(0x2500, 0x2580)
_UNKNOWN = "?"

_MARKED = frozenset(style.bgcolor.triplet for style in STYLES.values() if style.bgcolor is not None)


class NoColour(LineFilter):
    """Remove every colour. What a background marked (KILLED, an alert, the cursor) is shown in reverse video."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return `segments` with attributes only; padding may come without a style."""
        return [
            Segment(text, style if style is None else _without_colour(style), control)
            for text, style, control in segments
        ]


@lru_cache(1024)
def _without_colour(style: Style) -> Style:
    is_marked = style.bgcolor is not None and style.bgcolor.triplet in _MARKED
    plain = style.without_color
    return plain + Style(reverse=True) if is_marked else plain


class OwnGlyphs(LineFilter):
    """Replace what the terminal's encoding cannot hold by a character of the same width that it can."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.encoding = encoding

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return `segments` with every text writable."""
        return [
            segment if segment.text.isascii() else Segment(self.writable(segment.text), segment.style, segment.control)
            for segment in segments
        ]

    def writable(self, text: str) -> str:
        """Return `text` in the terminal's characters, as wide as it was."""
        return "".join(character if character.isascii() else self._instead(character) for character in text)

    def _instead(self, character: str) -> str:
        try:
            character.encode(self.encoding)
        except UnicodeEncodeError:
            pass
        else:
            return character
        found = ASCII_GLYPHS.get(character)
        if found is not None:
            return found
        return "+" if ord(character) in _BOX_DRAWING else _UNKNOWN * width_of(character)


def filters_for(encoding: str, *, no_color: bool) -> Sequence[LineFilter]:
    """Return what a terminal of this encoding needs."""
    found: list[LineFilter] = []
    if no_color:
        found.append(NoColour())
    if not _is_unicode(encoding):
        found.append(OwnGlyphs(encoding))
    return found


def terminal_encoding() -> str:
    """Return the encoding of the stream that the framework draws on (standard error, seen with Textual 8.2.8)."""
    stream = sys.__stderr__
    return getattr(stream, "encoding", None) or "utf-8"


def _is_unicode(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name.startswith("utf-")
    except LookupError:
        return False
