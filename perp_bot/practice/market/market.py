"""The whole market: every coin by name, one seed, one origin, and which coins have been delisted on request."""

from __future__ import annotations

from perp_bot.core.timeframes import HOUR_MS
from perp_bot.practice.market.coin_market import CoinMarket
from perp_bot.practice.market.coins import COINS, CoinSpec
from perp_bot.practice.market.hours import RECORDED_HOURS, CoinHours, SourceHours
from perp_bot.practice.market.tape import addresses

_MOST_IDLE = 2
_idle: dict[tuple[int, int], list[dict[str, CoinMarket]]] = {}  # by seed and origin; each has one owner at a time


def _generated(seed: int, origin_ms: int) -> dict[str, CoinMarket]:
    """Return the coins' markets with nothing generated yet."""
    sources = {name: SourceHours(name, seed) for name in {coin.source for coin in COINS}}
    return {
        coin.name: CoinMarket(coin, index, seed, origin_ms, CoinHours(coin, sources[coin.source]))
        for index, coin in enumerate(COINS)
        if not coin.is_delisted
    }


class Market:
    """All coins of the venue. Hour 0 of the recording opens at `origin_ms`; same seed and origin, same bytes."""

    def __init__(self, seed: int, origin_ms: int) -> None:
        self.seed = seed
        self.origin_ms = origin_ms
        self.addresses = addresses(seed)
        self.specs: tuple[CoinSpec, ...] = COINS
        self._delisted_since: dict[str, int] = {}
        idle = _idle.get((seed, origin_ms), [])
        self._markets = idle.pop() if idle else _generated(seed, origin_ms)

    def give_back(self) -> None:
        """Let the next market of the same seed and origin in this process have what was generated for this one.

        To be called once, when nothing asks it any more: what is kept of a coin belongs to one thread at a time.
        """
        idle = _idle.setdefault((self.seed, self.origin_ms), [])
        if len(idle) < _MOST_IDLE:
            idle.append(self._markets)

    @property
    def recorded_until_ms(self) -> int:
        """First ms after the last recorded candle; what follows is bootstrapped."""
        return self.origin_ms + RECORDED_HOURS * HOUR_MS

    def knows(self, name: str) -> bool:
        """Return whether the coin is in the universe (case matters, as on the venue)."""
        return name in self._markets or any(coin.name == name for coin in COINS)

    def live(self, name: str, at_ms: int) -> CoinMarket | None:
        """Return the coin's market, None when it is unknown or delisted at that time."""
        since_ms = self._delisted_since.get(name)
        if since_ms is not None and at_ms >= since_ms:
            return None
        return self._markets.get(name)

    def history(self, name: str) -> CoinMarket | None:
        """Return the coin's market for its past, delisted since or not."""
        return self._markets.get(name)

    def delisted_since(self, name: str) -> int | None:
        """Return when the coin was delisted on request, None when it was not."""
        return self._delisted_since.get(name)

    def is_delisted(self, coin: CoinSpec, at_ms: int) -> bool:
        """Return whether the coin is delisted at that time, as recorded or on request."""
        return coin.is_delisted or self.live(coin.name, at_ms) is None

    def set_delisted(self, names: set[str], at_ms: int) -> None:
        """Delist exactly these coins from `at_ms` on; coins delisted earlier keep their time, others come back."""
        self._delisted_since = {name: self._delisted_since.get(name, at_ms) for name in names}
