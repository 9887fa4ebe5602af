"""What the log filter keeps: level and text, decided on the bytes of a line."""

from __future__ import annotations

import re
from dataclasses import dataclass

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_RANK = {name: rank for rank, name in enumerate(LEVELS)} | {"WARN": 2, "FATAL": 4}
_LEVEL_FIELD = re.compile(rb'"level" ?: ?"([A-Za-z]+)"')
_LEVEL_WORD = re.compile(rb"\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b")


@dataclass(frozen=True, slots=True)
class LogFilter:
    """`level` is the least level shown; `text` a substring (any case), `!` first shows the lines without it."""

    level: str = "DEBUG"
    text: str = ""

    @property
    def is_open(self) -> bool:
        """Whether everything passes."""
        return self.level == "DEBUG" and not self.needle

    @property
    def needle(self) -> str:
        """The text looked for, without its prefix."""
        return self.text[1:] if self.text.startswith("!") else self.text

    @property
    def label(self) -> str:
        """For the pane's title."""
        parts = [] if self.level == "DEBUG" else [f"level>={self.level}"]
        if self.needle:
            parts.append(f"{'without' if self.text.startswith('!') else 'with'} '{self.needle}'")
        return " ".join(parts)

    def shifted(self, steps: int) -> LogFilter:
        """Return the filter with its level raised or lowered, ends held."""
        rank = min(len(LEVELS) - 1, max(0, LEVELS.index(self.level) + steps))
        return LogFilter(LEVELS[rank], self.text)


def rank_of(raw: bytes) -> int | None:
    """Return the rank of a line's level, None when it names none."""
    found = _LEVEL_FIELD.search(raw) or _LEVEL_WORD.search(raw)
    return None if found is None else _RANK.get(found.group(1).decode().upper())


class Matcher:
    """A compiled filter. A line that names no level passes every level: nothing is hidden by a guess."""

    def __init__(self, wanted: LogFilter) -> None:
        self._least = LEVELS.index(wanted.level)
        self._is_inverse = wanted.text.startswith("!")
        needle = wanted.needle
        self._pattern = re.compile(re.escape(needle.encode()), re.IGNORECASE) if needle else None

    def __call__(self, raw: bytes) -> bool:
        """Return whether the line is shown."""
        if self._pattern is not None and (self._pattern.search(raw) is None) is not self._is_inverse:
            return False
        if self._least == 0:
            return True
        rank = rank_of(raw)
        return rank is None or rank >= self._least
