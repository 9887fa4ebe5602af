"""Who watches what the venue is asked and what happens to accounts, from the inside; for tests and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perp_bot.practice.exchange.core import UserEvent
from perp_bot.practice.exchange.exchange import Exchange


class Witness:
    """Told on the venue's thread, after the fact; this one forgets it all."""

    def asked(self, place: str, kind: str | None) -> None:
        """A request came to `info` or `exchange`, whatever it will be answered."""

    def acted(self, user: str, action: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        """A signed action was carried out, whatever its sender will hear of it."""

    def happened(self, exchange: Exchange, events: list[UserEvent], now_ms: int) -> None:
        """Something happened to accounts; the exchange is as it is after it."""
