"""Writes measured tables into a page, between the markers of each subject; the rest of the page stays as it is.

A subject's place is between the lines `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from perp_bot.bench.measure import Measurement, figure_text, machine
from perp_bot.core.errors import UsageError
from perp_bot.version import VERSION


def write_tables(path: Path, found: Sequence[Measurement]) -> None:
    """Replace the table of every subject in `found`.

    Raises:
        UsageError: the page cannot be read or written, or has no place for a subject.
    """
    try:
        page = path.read_text(encoding="utf-8")
        for subject in dict.fromkeys(item.subject for item in found):
            page = _replaced(page, path, subject, [item for item in found if item.subject == subject])
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --markdown takes a page that exists") from None


def check_places(path: Path, subjects: Sequence[str]) -> None:
    """Raise UsageError when the page has no place for one of the subjects: said before minutes are measured."""
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; --markdown takes a page that exists") from None
    for subject in subjects:
        _place(page, path, subject)


def table_of(found: Sequence[Measurement]) -> str:
    """Return the figures as a table, with the machine above it."""
    about = machine()
    memory = f", {about['memory_gib']} GiB" if about["memory_gib"] is not None else ""
    head = f"{about['cpu']}, {about['cores']} cores{memory}, {about['python']}, {about['platform']}, perpbot {VERSION}:"
    lines = [head, "", "| | median | p95 | unit | n | times ours | |", "|---|---:|---:|---|---:|---:|---|"]
    for item in found:
        ratio = "" if item.times_ours is None else f"{figure_text(item.times_ours)}x"
        cells = (
            item.name.strip(),
            figure_text(item.median),
            figure_text(item.p95),
            item.unit,
            f"{item.n}",
            ratio,
            item.detail,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _replaced(page: str, path: Path, subject: str, found: Sequence[Measurement]) -> str:
    begin, end = _place(page, path, subject)
    return f"{page[:begin]}\n\n{table_of(found)}\n\n{page[end:]}"


def _place(page: str, path: Path, subject: str) -> tuple[int, int]:
    first, last = f"<!-- bench:{subject} -->", f"<!-- /bench:{subject} -->"
    begin, end = page.find(first), page.find(last)
    if begin < 0 or end < begin:
        raise UsageError(f"{path} has no place for {subject!r}: a line {first} and a later line {last}")
    return begin + len(first), end
