"""What live trading tells people, collected for the loop, which tells it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """Something a person should know of: a stable kind in capitals and a sentence."""

    kind: str
    text: str
    symbol: str | None
    is_grave: bool


class Voice:
    """Collects what is to be told."""

    def __init__(self) -> None:
        self._told: list[Told] = []

    def tell(self, kind: str, text: str, symbol: str | None, *, grave: bool = False) -> None:
        """Tell one thing."""
        self._told.append(Told(kind, text, symbol, grave))

    def take(self) -> tuple[Told, ...]:
        """Return and clear what was told."""
        told, self._told = tuple(self._told), []
        return told
