"""The venue's list of coins as one pass sees it: it changes between passes only, however many threads refresh it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perp_bot.core.types import Instrument
from perp_bot.trading.outside import Outside


class Listed:
    """What the venue lists; call it for the mapping that holds now."""

    def __init__(self, newest: Callable[[], Mapping[str, Instrument]]) -> None:
        self._newest = newest
        self._held = self._seen = newest()

    def __call__(self) -> Mapping[str, Instrument]:
        """Return the coins by symbol."""
        return self._held

    def look(self, outside: Outside) -> None:
        """Take the newest list; at the beginning of a pass."""
        found = outside.ask("instruments", list[Instrument] | None, self._changed)
        if found is not None:
            self._held = {item.symbol: item for item in found}

    def _changed(self) -> list[Instrument] | None:
        newest = self._newest()
        if newest is self._seen:
            return None
        self._seen = newest
        return list(newest.values())
