"""Rows of styled text: the only form in which run-time text reaches the screen, never through markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

from perp_bot.core.visible import visible

Span = tuple[str, str]  # text and the name of a style in `look.STYLES`


def width_of(text: str) -> int:
    """Return the cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` padded or cut to exactly `width` cells; a cut ends in an ellipsis."""
    if width <= 0:
        return ""
    cells = width_of(text)
    if cells == width:
        return text
    if cells < width:
        pad = " " * (width - cells)
        return pad + text if right else text + pad
    return set_cell_size(text, width - 1) + "…"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a pane; `key` identifies it across refreshes (the cursor follows it)."""

    key: str
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """The row as plain text."""
        return "".join(text for text, _ in self.spans)


@dataclass(frozen=True, slots=True)
class PaneContent:
    """What a pane shows: a title, an optional column head that does not scroll, and rows."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""  # right side of the title, e.g. hidden columns
    head: Row | None = None
    title_style: str = "title"
    selectable: bool = False  # rows carry a cursor

    def __post_init__(self) -> None:
        """Make title and note harmless, as `row` does with the rows."""
        object.__setattr__(self, "title", visible(self.title))
        object.__setattr__(self, "note", visible(self.note))


def row(key: str, *spans: Span) -> Row:
    """Return a row with every text made visible and empty spans dropped."""
    return Row(key, tuple((visible(text), style) for text, style in spans if text))


def message(text: str, style: str = "muted", key: str = "message") -> Row:
    """Return a row with one sentence, for an empty pane and its reason."""
    return row(key, (" " + text, style))


def cut(spans: Iterable[Span], width: int) -> tuple[Span, ...]:
    """Return `spans` cut to `width` cells, with an ellipsis where something was lost."""
    kept: list[Span] = []
    left = width
    for text, style in spans:
        cells = width_of(text)
        if cells <= left:
            kept.append((text, style))
            left -= cells
            continue
        if left > 0:
            kept.append((fit(text, left), style))
        elif kept:
            last, last_style = kept[-1]
            kept[-1] = (fit(last + "..", width_of(last)), last_style)
        break
    return tuple(kept)


def first_lines(text: str, width: int, limit: int) -> list[str]:
    """Return `text` wrapped to at most `limit` lines; an ellipsis says when there was more."""
    lines = wrap(text, width)
    if len(lines) <= limit:
        return lines
    kept = lines[: max(1, limit)]
    kept[-1] = fit(f"{kept[-1]} …", min(width, width_of(kept[-1]) + 2))
    return kept


def cells_of(spans: Sequence[Span]) -> int:
    """Return the cells that `spans` take."""
    return sum(width_of(text) for text, _ in spans)


def wrap(text: str, width: int) -> list[str]:
    """Return `text` broken at spaces into lines of at most `width` cells (a longer word is cut into pieces)."""
    lines: list[str] = []
    current = ""
    for word in visible(text).split(" "):
        candidate = f"{current} {word}" if current else word
        if width_of(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        current = word
        while width_of(current) > max(1, width):
            head = current[: max(1, width)]
            while width_of(head) > max(1, width) and len(head) > 1:
                head = head[:-1]
            lines.append(head)
            current = current[len(head) :]
    return [*lines, current] if current or not lines else lines
