"""Numbers with their noun."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: `1 gap`, `1,200 gaps`; `many` where an s is not the plural."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
