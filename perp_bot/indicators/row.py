"""Parameters of the indicator set and its values at one closed candle."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class IndicatorParams:
    """Periods of the set, in bars."""

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
    realized_vol: float | None = None
    hurst: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """Return the values by name, for the journal."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
