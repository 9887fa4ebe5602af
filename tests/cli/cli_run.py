"""What running a command in a test gives; the fixture that runs it is `perpbot`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str


RunCommand = Callable[..., Ran]
