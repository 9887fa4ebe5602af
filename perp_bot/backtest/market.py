"""What a backtest runs on: the stored columns of each symbol, and where each of them came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perp_bot.core.types import Instrument

Column = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """Closed candles of one series as columns of equal length, oldest first, no open time twice. May have gaps."""

    timeframe: str
    open_ms: Times
    open: Column
    high: Column
    low: Column
    close: Column
    volume: Column

    def __len__(self) -> int:
        return len(self.open_ms)


@dataclass(frozen=True, slots=True, eq=False)
class Minutes:
    """Recorded mark and oracle of whole minutes (`asset_ctx_1m`), oldest first. NaN where not recorded."""

    minute_ms: Times
    mark_open: Column
    mark_high: Column
    mark_low: Column
    mark_close: Column
    oracle_open: Column
    oracle_close: Column


@dataclass(frozen=True, slots=True, eq=False)
class Funding:
    """Settled hourly rates, oldest first; an hour that is not here has no known rate."""

    hour_ms: Times
    rate: Column


@dataclass(frozen=True, slots=True, eq=False)
class SymbolMarket:
    """Everything that is known of one symbol."""

    symbol: str
    instrument: Instrument
    instrument_source: str  # "stored" or "bundled <date>": named in every report
    candles: Candles  # of the primary timeframe
    funding: Funding
    fine: Candles | None = None  # the finest stored series below the primary one, if any
    minutes: Minutes | None = None
    generated_rows: int = 0  # how many of `candles` a generator made (the practice venue's labels)
    generated_fine_rows: int = 0  # how many of `fine`


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """Regimes as they were recorded, oldest first: from `venue_ms` on, `regime` (index into `core.types.Regime`)."""

    venue_ms: Times
    regime: NDArray[np.int8]
    max_age_ms: int | None = None  # one older than this is not used; None: each holds until the next one


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """All symbols of one account, in config order."""

    timeframe: str
    symbols: tuple[SymbolMarket, ...]
    regimes: Regimes | None = None
    data_hash: str = ""  # of everything above; what `perpbot runs` stores and compares
    notes: tuple[str, ...] = ()  # what is missing or odd, one sentence each

    @property
    def rows(self) -> int:
        """Primary candles of all symbols together."""
        return sum(len(item.candles) for item in self.symbols)
