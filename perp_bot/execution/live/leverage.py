"""Leverage and margin mode of every traded coin, watched: read in turn, set again while the coin is flat.

The start sets them and reads them back; somebody may change them in the venue's app later. With a position open nothing
is changed: entries of that coin stop, and a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping

from perp_bot.config.model import Config
from perp_bot.core.account_events import CoinRead
from perp_bot.core.types import Instrument
from perp_bot.execution.live import wire
from perp_bot.execution.live.voice import Voice
from perp_bot.execution.live.wire import Action

READ_EVERY_S = 120.0  # each coin


class LeverageWatch:
    """Takes one coin's setting at a time."""

    def __init__(self, config: Config, instruments: Mapping[str, Instrument], voice: Voice) -> None:
        self._coins = config.trading.symbols
        self._wanted = (config.trading.leverage, config.trading.margin_mode == "cross")
        self._instruments = instruments
        self._voice = voice
        self._turn = 0
        self._next_s: float | None = None  # monotonic; the start has just set and read them all
        self._wrong: dict[str, str] = {}

    def due(self, now_s: float) -> str | None:
        """Return the coin whose setting should be read now; a wrong one is looked at again soon."""
        pause_s = READ_EVERY_S / len(self._coins)
        if self._next_s is None:
            self._next_s = now_s + pause_s
        if now_s < self._next_s:
            return None
        self._next_s = now_s + min(pause_s, 5.0 if self._wrong else pause_s)
        wrong = sorted(self._wrong)
        self._turn += 1
        return wrong[self._turn % len(wrong)] if wrong else self._coins[self._turn % len(self._coins)]

    def take(self, event: CoinRead, *, is_flat: bool) -> Action | None:
        """Take a reading; return the action that sets what is wrong, while that harms nothing."""
        symbol = event.symbol
        if (event.leverage, event.is_cross) == self._wanted:
            if self._wrong.pop(symbol, None) is not None:
                self._voice.tell("DRIFT", f"{symbol}: leverage is {_words(self._wanted)} again", symbol)
            return None
        found = _words((event.leverage, event.is_cross))
        text = f"{symbol}: leverage is {found} at the venue, {_words(self._wanted)} is configured"
        if symbol not in self._wrong:
            self._voice.tell("DRIFT", f"{text}{'; it is set again' if is_flat else ''}", symbol, grave=True)
        self._wrong[symbol] = text
        instrument = self._instruments.get(symbol)
        if not is_flat or instrument is None:
            return None
        return wire.update_leverage_action(instrument.asset_id, self._wanted[0], is_cross=self._wanted[1])

    def coin_troubles(self) -> dict[str, str]:
        """Return why no entry of a coin may be made, by coin; empty when all is as configured, as far as is known."""
        return dict(self._wrong)


def _words(setting: tuple[int, bool]) -> str:
    return f"{setting[0]}x {'cross' if setting[1] else 'isolated'}"
