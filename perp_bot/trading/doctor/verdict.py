"""What a check says: how grave it is, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from perp_bot.core.errors import EXIT_FAILURE, EXIT_OK, EXIT_WARNINGS


class Level(StrEnum):
    """How grave it is; `skipped` has not been looked at, and its text says why."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line of the doctor; `fix` is empty where there is nothing to do."""

    name: str
    level: Level
    text: str
    fix: str = ""


def ok(name: str, text: str) -> Verdict:
    """Return what is well."""
    return Verdict(name, Level.OK, text)


def warning(name: str, text: str, fix: str) -> Verdict:
    """Return what a person should look at; trading goes on with it."""
    return Verdict(name, Level.WARNING, text, fix)


def failure(name: str, text: str, fix: str) -> Verdict:
    """Return what keeps trading from beginning or from being safe."""
    return Verdict(name, Level.FAILURE, text, fix)


def skipped(name: str, why: str) -> Verdict:
    """Return what was not looked at."""
    return Verdict(name, Level.SKIPPED, f"not checked: {why}")


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the command's exit code: 1 with a failure, 5 with warnings only, else 0."""
    levels = {verdict.level for verdict in verdicts}
    if Level.FAILURE in levels:
        return EXIT_FAILURE
    return EXIT_WARNINGS if Level.WARNING in levels else EXIT_OK
