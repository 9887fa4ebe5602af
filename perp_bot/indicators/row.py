"""Parameters of the indicator set and its values at one closed candle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

LEAST_HURST_PERIOD = 32  # R/S needs two chunk sizes of at least 8 returns, each fitting twice

_LEAST_PERIODS = {
    "zscore_lookback": 2,
    "bollinger_period": 2,
    "rsi_period": 1,
    "adx_period": 1,
    "atr_period": 1,
    "ema_period": 1,
    "macd_fast": 1,
    "macd_slow": 2,
    "macd_signal": 1,
    "vol_period": 2,
    "hurst_period": LEAST_HURST_PERIOD,
    "volume_period": 1,
}


def check_period(name: str, period: int, least: int = 1) -> None:
    """Raise ValueError unless `period` is a whole number of at least `least` bars."""
    if isinstance(period, bool) or not isinstance(period, int) or period < least:
        raise ValueError(f"{name} is {period!r}; allowed: whole numbers from {least}")


@dataclass(frozen=True, slots=True)
class IndicatorParams:
    """Periods of the set, in bars. ValueError for a period no value can be computed from."""

    zscore_lookback: int = 20
    bollinger_period: int = 20
    bollinger_std: float = 2.0
    rsi_period: int = 14
    adx_period: int = 14
    atr_period: int = 14
    ema_period: int = 20
    macd_fast: int = 12
    macd_slow: int = 26
    macd_signal: int = 9
    vol_period: int = 20
    hurst_period: int = 100
    volume_period: int = 20

    def __post_init__(self) -> None:
        for name, least in _LEAST_PERIODS.items():
            check_period(name, getattr(self, name), least)
        if not 0.0 < self.bollinger_std < math.inf:
            raise ValueError(f"bollinger_std is {self.bollinger_std!r}; allowed: a number above 0")
        if self.macd_fast >= self.macd_slow:
            raise ValueError(f"macd_fast is {self.macd_fast}; allowed: below macd_slow ({self.macd_slow})")


@dataclass(frozen=True, slots=True)
class IndicatorRow:
    """Values at the newest closed candle; None before warm-up or where undefined (a flat market has no z-score)."""

    zscore: float | None = None
    bb_upper: float | None = None
    bb_middle: float | None = None
    bb_lower: float | None = None
    rsi: float | None = None
    adx: float | None = None
    atr: float | None = None
    ema: float | None = None
    macd: float | None = None
    macd_signal: float | None = None
    macd_histogram: float | None = None
    macd_histogram_before: float | None = None  # one candle earlier, from the same window: a cross needs both
    realized_vol: float | None = None
    hurst: float | None = None  # variance ratio: 0.5 on a random walk, below it mean reversion
    hurst_rs: float | None = None  # classical R/S: 0.58 on a random walk
    volume_mean: float | None = None  # of the last `volume_period` candles, this one included; coins

    def as_dict(self) -> dict[str, float | None]:
        """Return the values by name, for the journal."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
